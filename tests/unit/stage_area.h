/* stage_area: a staging area in a directory of its own, for tests. */
#ifndef UPLOADFS_TESTS_STAGE_AREA_H
#define UPLOADFS_TESTS_STAGE_AREA_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/work/pool.h"
#include "fs/stage/area.h"
#include "fs/stage/file.h"
#include "fs/state/data.h"
#include "fs/state/files.h"
#include "fs/state/store.h"

struct stage_area {
	char dir[64];	  /* a new directory under TMPDIR or /tmp */
	char staging[96]; /* DIR/data */
	struct pool *pool;
	struct statedb *db; /* DIR/state.db */
	struct datadir *data;
	struct staging *sg;
	struct staging_config cfg;
};

/* part_size and the like may be changed in cfg before stage_area_reopen(). */
void stage_area_open(struct stage_area *a, uint64_t part_size);
void stage_area_reopen(struct stage_area *a);
void stage_area_close(struct stage_area *a); /* removes the directory */

/* The three steps of a write; the bytes must all land. */
void stage_put(struct staged *st, uint64_t off, const void *data, uint64_t len);
/* The same with bytes made from seed and offset. */
void stage_fill(struct staged *st, uint64_t off, uint64_t len, unsigned seed);

/* MD5 of the first size bytes of fd, read plainly. */
void stage_md5_of(int fd, uint64_t size, char ret_hex[DIGEST_HEX_SIZE]);
/* Seals when needed, waits for the MD5 and compares it with that of the file. */
void stage_check_md5(struct staged *st);

/* Counts calls of the hooks; stage_hooks_wait() waits until counter >= want, or fails. */
struct stage_hooks {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned fill, quiet, digest;
};
void stage_hooks_init(struct stage_hooks *h, struct staged *st);
void stage_hooks_wait(struct stage_hooks *h, const unsigned *counter, unsigned want);
unsigned stage_hooks_get(struct stage_hooks *h, const unsigned *counter);

/* ".rec" is the row, other endings are files. */
bool stage_exists(const struct stage_area *a, const char *id, const char *ending);
/* Polls until cond(arg) is true; fails the test after a minute. */
void stage_wait(bool (*cond)(void *arg), void *arg);

#endif
