/*
 * publish_impl: what publish.c (queue, inputs, snapshot) and publish_steps.c
 * (actions and replies) share. Nobody else includes it.
 */
#ifndef UPLOADFS_FS_PUBLISH_IMPL_H
#define UPLOADFS_FS_PUBLISH_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/hasher.h"
#include "fs/publish.h"
#include "net/api.h"

#define PUBLISH_RESTARTS_MAX 3	/* new Uploads for one close, beside those that expired */
#define PUBLISH_BAD_REPLIES_MAX 3	/* replies that fail the checks before it is an error */
#define PUBLISH_LOOKUPS_MAX 4	/* a new File may be "not found" for a moment (api.md, U) */

enum event_kind {
	EV_CREATED, EV_PART, EV_COMPLETED, EV_PROBED, EV_LOOKED_UP, EV_DELETED, EV_SYNCED
};

/* A reply on its way from the network thread to the publisher. */
struct event {
	struct event *next;
	enum event_kind kind;
	unsigned epoch;		/* of the Upload it belongs to; older ones are ignored */
	uint32_t index, version;	/* of a Part */
	int err;		/* EV_SYNCED */
	struct api_error api_err;
	char id[API_ID_MAX + 1];	/* Upload, Part or File id */
	uint64_t bytes;
	int64_t created_at, expires_at;
};

/* What other threads want; under publisher.lock. */
struct publish_inputs {
	uint64_t predicted, declared, expires_after;
	bool sealed, held, dropped, aborted, retry, reopen, changed;
	char *purpose, *path, *hold_name, *mime;	/* owned */
	char **superseded;
	size_t superseded_count;
	uint64_t hold_deadline_ms;
	uint32_t mode, uid, gid;
};

/* What follows when the File of a complete in doubt is not there. */
enum after_lookup { LOOKUP_THEN_PROBE, LOOKUP_THEN_FAIL, LOOKUP_THEN_ANEW };

enum part_state { PART_NONE, PART_SENDING, PART_SENT };

struct part {
	enum part_state state;
	uint32_t version;	/* of the staged bytes when it was sent */
	char *id;
	struct api_req *req;	/* while PART_SENDING */
};

struct publish {
	struct publisher *pr;
	atomic_uint refs;
	struct staged *staged;
	void (*ended)(void *arg, struct publish *p, const struct publish_result *r);
	void (*release)(void *arg);
	void *arg;

	/* under publisher.lock */
	struct publish_inputs in;
	struct event *events, **events_tail;
	struct publish *run_next;	/* run queue */
	bool run_queued;
	struct publish *all_prev, *all_next;
	struct publish_wait *waits;
	struct publish_info info;
	bool durable_done;

	/* the publisher thread's own from here on */
	enum publish_phase phase;
	enum publish_outcome outcome;
	struct publish_inputs now;	/* copy of in; strings of its own */
	unsigned epoch;
	char upload_id[API_ID_MAX + 1];
	char *upload_filename, *upload_purpose;	/* what it was created with */
	uint64_t upload_bytes;
	int64_t upload_created_at;	/* the server's clock */
	int64_t upload_created_wall;	/* ours, seconds */
	uint64_t upload_deadline_ms;	/* ours, monotonic; 0: none */
	struct api_req *create_req;
	struct part *parts;
	uint32_t part_count;
	unsigned sending;
	bool stream_failed, complete_unknown, synced, syncing;
	bool stale_unknown;	/* the complete in doubt was of bytes that were rewritten since */
	bool recorded;		/* the first record was written */
	enum after_lookup after_lookup;
	unsigned restarts, bad_replies, lookups, retries;
	struct api_error first_err;	/* what is reported if a probe finds the Upload alive */
	char md5[DIGEST_HEX_SIZE];
	char file_id[API_ID_MAX + 1];
	int64_t file_created_at, file_expires_at;
	int err;
	char error[640], request_id[128];
	uint64_t wake_ms;	/* monotonic; 0: none */
	uint64_t lookup_due_ms, retry_due_ms;
	uint64_t sealed_ms;
	struct hash_job sync_job;
	int sync_err;		/* the job's, until it has ended */
};

struct publisher {
	struct publisher_config cfg;
	pthread_t thread;
	pthread_mutex_t lock;	/* a leaf */
	pthread_cond_t wake;	/* for the thread: CLOCK_MONOTONIC */
	pthread_cond_t idle;	/* for publisher_drain() */
	struct publish *run_head, **run_tail;
	struct publish *all;
	bool stop, draining, stepping;
	unsigned side_calls;	/* cancels nobody waits for */
	uint64_t completed;
};

/* publish.c */
void publish_post(struct publish *p, struct event *ev);	/* takes ev; NULL: a mere wake-up */
void publish_finish(struct publish *p, enum publish_outcome outcome);	/* to PHASE_ENDED: snapshot, owner, waiters */
void publish_snapshot(struct publish *p);
void publish_tell_durable(struct publish *p, int err);
void publish_side_call(struct publisher *pr, int delta);
bool publish_begin_retry(struct publish *p);	/* false: writing went on in the meantime */
void publish_end_hold(struct publish *p);
bool publish_wants_durable(struct publish *p);
void publish_superseded_gone(struct publish *p, const char *file_id);
int publish_inputs_copy(struct publish_inputs *dst, const struct publish_inputs *src);
void publish_inputs_release(struct publish_inputs *in);

/* publish_steps.c */
void publish_step(struct publish *p);			/* until there is nothing more to do now */
void publish_handle(struct publish *p, const struct event *ev);
void publish_forget_upload(struct publish *p);
void publish_release_steps(struct publish *p);
const char *publish_filename(const struct publish *p);	/* wanted now */
bool publish_sealed(const struct publish *p);

/* publish_lookup.c: looks for the File; EV_LOOKED_UP with its id, or "" when it isn't there */
void publish_start_lookup(struct publish *p);

/* publish_record.c */
int publish_save_record(struct publish *p, bool durable);
int publish_load_record(struct publish *p, const struct record *r);

#endif
