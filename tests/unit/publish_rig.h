/* publish_rig: a publisher with a staging area, workers and the service in memory, for tests. */
#ifndef UPLOADFS_TESTS_PUBLISH_RIG_H
#define UPLOADFS_TESTS_PUBLISH_RIG_H

#include <stdatomic.h>

#include "fs/publish/publisher.h"
#include "fs/state/files.h"
#include "tests/unit/fake_api.h"
#include "tests/unit/stage_area.h"

#define RIG_PART 65536ULL /* bytes of a Part */

struct rig {
	struct stage_area area;
	struct api *api;
	struct pool *disk;
	struct publisher *pr;
	struct publisher_config cfg;
	bool hurry;		    /* the clock runs while rig_wait() polls */
	atomic_uint made, released; /* publications */
};

/* A staged file and its publication, as the file system has it. */
struct pub {
	struct rig *rig;
	struct staged *st;
	struct publish *p;
	atomic_uint ends;
	atomic_int outcome, err;      /* of the last end */
	char file_id[API_ID_MAX + 1]; /* of the last completed one; read when ends tells */
};

/* A waiter and what it was told. */
struct told {
	struct publish_wait w;
	struct rig *rig;
	atomic_uint calls;
	atomic_int err;
};

/* To be called once, before anything else: the clock can be moved then. */
void rig_init(void);
void rig_clock_advance(uint64_t ms);
/* Time stands still from now on, but for rig_clock_advance(); or it runs again. */
void rig_clock_stop(void);
void rig_clock_run(void);

void rig_open(struct rig *g);
/* As a daemon that dies, but for the service: staged files and records stay on disk. */
void rig_crash(struct rig *g, struct pub *const *pubs, size_t count);
/* The next daemon on what is left. */
void rig_restart(struct rig *g);
/* Ends everything; fails when a publication or a staged file is left over. */
void rig_close(struct rig *g, struct pub *const *pubs, size_t count);
/* Polls until cond(arg), lets the publisher look at p (or NULL) when the clock runs. */
void rig_wait(struct rig *g, struct publish *p, bool (*cond)(void *arg), void *arg);

void pub_new(struct rig *g, struct pub *f, const char *path, const char *hold_name,
	     const char *superseded);
/* False: there is none. */
bool rig_load_record(struct rig *g, const char *id, struct record *ret);
void rig_save_record(struct rig *g, const char *id, const struct record *r);
/* Loads the record of id and takes it up. */
void pub_recover(struct rig *g, struct pub *f, const char *id, const char *path,
		 const char *hold_name);
void pub_free(struct pub *f);
void pub_wait(struct pub *f, struct told *t, enum publish_until until);
int told_err(struct told *t); /* waits for it */
/* Seals and waits for the end. */
int pub_close(struct pub *f);
/* Opens it for writing again. */
void pub_reopen(struct pub *f);
void pub_wait_ends(struct pub *f, unsigned ends);
void pub_wait_status(struct pub *f, const char *status);
struct publish_info pub_info(struct pub *f);
void pub_load_record(struct pub *f, struct record *ret);
/* The one File of that name has the bytes of the staged file. */
void pub_check_file(struct pub *f, const char *filename);

#endif
