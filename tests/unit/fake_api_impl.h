/*
 * fake_api_impl: what the parts of the fake share: fake_api.c (the thread, the
 * calls), fake_api_store.c (what the service does and answers) and
 * fake_api_steer.c (what tests say and ask). Only these include it.
 *
 * One lock and one condition for all fakes: a request then stays usable after
 * the end of its service, and nothing here is about speed.
 */
#ifndef UPLOADFS_TESTS_FAKE_API_IMPL_H
#define UPLOADFS_TESTS_FAKE_API_IMPL_H

#include <pthread.h>

#include "tests/unit/fake_api.h"

#define FAULTS_MAX 32

struct blob {
	unsigned char *data; /* NULL: the pattern */
	uint64_t len;
};

struct part {
	struct part *next;
	char id[32];
	struct blob blob;
};

struct upload {
	struct upload *next;
	char id[32];
	char *filename, *purpose;
	uint64_t bytes;
	uint64_t expiry; /* of its File, seconds; 0: none */
	int64_t created_at;
	enum api_upload_status status;
	struct api *peer; /* who made it */
	uint64_t cancelled_ms;
	struct part *parts;
	struct file *file;
};

struct file {
	struct file *next;
	char id[32];
	char *filename, *purpose;
	struct blob blob;
	int64_t created_at, expires_at;
	uint64_t made_ms;
	char upload[32]; /* or "" */
	bool deleted;
	const struct api *deleter;
};

struct fault {
	enum fake_op op;
	unsigned nth, times, seen;
	struct api_error err;
};

struct api_req {
	struct api_req *next;
	struct api *api; /* NULL once its callback has returned */
	unsigned refs;
	enum fake_op op;
	size_t call;	  /* its place in the log */
	struct api *peer; /* whose call it is: api, or a peer of it */
	bool cancelled, worked, pass, idle;
	uint64_t expiry;
	/* what was asked */
	char *id, *filename, *purpose, *md5, **part_ids;
	size_t part_count;
	uint64_t offset, len;
	unsigned limit;
	bool desc;
	int fd;
	/* of a Part that is still being written: see fake_api_wait_live() */
	uint64_t (*ready)(void *arg, uint64_t at);
	void *ready_arg;
	bool fed;
	uint64_t got;
	unsigned char *torso;
	/* what comes of it */
	struct api_error fault, err;
	struct upload *up;
	struct part *part;
	struct file *file;
	uint64_t pos, end; /* contents */
	bool begun, ranged;
	/* who wants to know */
	union {
		api_upload_cb *upload;
		api_part_cb *part;
		api_file_cb *file;
		api_done_cb *done;
		api_page_cb *page;
		api_content_cb *content;
	} cb;
	api_data_cb *data_cb;
	void *arg;
};

struct api {
	struct api *base; /* of a peer; NULL: it has a service of its own */
	pthread_t thread;
	bool stopping;
	unsigned taken; /* calls that the thread works on */
	bool dated, with_upload;
	uint64_t lag_ms;
	struct api_req *later; /* completes that go on without their callers */
	struct api_req *queue, **queue_tail;
	struct upload *uploads;
	struct file *files; /* the oldest first */
	unsigned next_id, page_max;
	struct fault faults[FAULTS_MAX];
	unsigned fault_count;
	bool held[FAKE_OPS];
	enum fake_hold hold[FAKE_OPS];
	struct fake_content content;
	uint64_t live; /* bytes read of the last live Part */
	struct fake_call *calls;
	size_t call_count;
	unsigned started[FAKE_OPS], done[FAKE_OPS];
	unsigned active[FAKE_OPS], active_max[FAKE_OPS]; /* up to the callback */
};

extern pthread_mutex_t fake_lock;
extern pthread_cond_t fake_changed;

void fake_lock_take(void);
void fake_lock_give(void); /* wakes all who wait: what they wait for may have happened */

void *fake_need(void *p); /* aborts for NULL */
char *fake_copy(const char *s);

/* All under the lock. */
struct upload *fake_upload_find(struct api *api, const char *id);
struct file *fake_file_find(struct api *api, const char *id); /* not one that was deleted */
struct file *fake_file_add(struct api *api, const char *filename, const char *purpose,
			   struct blob blob);
void fake_blob_read(const struct blob *b, uint64_t offset, unsigned char *buf, size_t len);
/* Reads what is there by now of a live Part; true when that is all. */
bool fake_part_read(struct api_req *r);
void fake_req_work(struct api *api, struct api_req *r);
bool fake_req_runnable(const struct api *api, const struct api_req *r);
void fake_req_free(struct api_req *r);
bool fake_file_listed(const struct api *api, const struct file *f);
/* A step of a content; true when it has come to its end. Gives up the lock in between. */
bool fake_content_step(struct api *api, struct api_req *r);
bool fake_content_waits(const struct api *api, const struct api_req *r); /* at the gate */
/* Runs the callback; without the lock. */
void fake_req_reply(struct api_req *r);

#endif
