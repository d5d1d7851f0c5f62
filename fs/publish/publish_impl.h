/*
 * publish_impl: what the files of fs/publish share; below, by file. Nobody else includes it.
 */
#ifndef UPLOADFS_FS_PUBLISH_PUBLISH_IMPL_H
#define UPLOADFS_FS_PUBLISH_PUBLISH_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/remote/errmap.h"
#include "fs/work/pool.h"
#include "fs/publish/publisher.h"
#include "fs/publish/budget.h"
#include "fs/publish/doubt.h"
#include "net/api/api.h"

#define PUBLISH_RESTARTS_MAX 3	       /* new Uploads for one close, beside those that expired */
#define PUBLISH_BAD_REPLIES_MAX 3      /* replies that fail the checks before it is an error */
#define PUBLISH_LIVE_STEP (1ULL << 20) /* bytes; less is not worth a request, nor a wake-up */

enum event_kind {
	EV_CREATED,
	EV_PART,
	EV_ASKED,  /* whether the service has /files */
	EV_POSTED, /* the reply to POST /files */
	EV_COMPLETED,
	EV_PROBED,
	EV_LOOKED_UP,
	EV_CHECKED, /* the content of a candidate */
	EV_DELETED,
	EV_SYNCED,
	EV_ABANDONED /* the cancel of an Upload that was given up was answered */
};

/* A File that may be ours. */
struct lookup_found {
	char id[API_ID_MAX + 1];
	int64_t created_at, expires_at;
};

enum lookup_content {
	CONTENT_SAME,	 /* the MD5 is ours */
	CONTENT_OTHER,	 /* it is not */
	CONTENT_REFUSED, /* the service hands out no content of this purpose */
	CONTENT_UNSURE	 /* could not be read now */
};

/* A reply on its way from the network thread to the publisher. */
struct event {
	struct event *next;
	enum event_kind kind;
	unsigned epoch;		 /* of the Upload it belongs to; older ones are ignored */
	uint32_t index, version; /* of a Part */
	bool undecided;		 /* EV_LOOKED_UP: the list was not whole, or a size is unknown */
	bool alone;		 /* EV_CHECKED: it was the only candidate */
	enum lookup_content content;	      /* EV_CHECKED */
	enum api_upload_status upload_status; /* EV_PROBED, with API_OK */
	struct lookup_found *found;	      /* EV_LOOKED_UP, EV_CHECKED: owned */
	size_t found_count;
	int err; /* EV_SYNCED; version tells of which sync */
	struct api_error api_err;
	char id[API_ID_MAX + 1]; /* Upload, Part or File id */
	uint64_t bytes;
	int64_t created_at, expires_at;
};

/* What other threads want; under publisher.lock. */
struct publish_inputs {
	uint64_t predicted, declared, expires_after;
	bool sealed, held, dropped, aborted, retry, reopen, changed, forced;
	char *purpose, *path, *hold_name, *mime; /* owned */
	char **superseded;
	size_t superseded_count;
	uint64_t hold_deadline_ms;
	unsigned renames; /* how often publish_rename() was called */
	uint32_t mode, uid, gid;
	int abort_err; /* as given to publish_abort() */
	bool abort_write;
};

enum part_state { PART_NONE, PART_SENDING, PART_SENT };

struct part {
	enum part_state state;
	bool missed;	  /* it was live in vain */
	uint32_t version; /* of the staged bytes when it was sent */
	char *id;
	struct api_req *req; /* while PART_SENDING */
};

/* The Part that leaves while it is written; see parts.c. */
struct publish_live {
	bool on; /* it is on its way */
	uint32_t index, watch;
	unsigned misses;
};

/* What publish_live_read() goes by, on the network thread. */
struct publish_live_reader {
	struct staged *staged;
	uint32_t watch;
};

/* The Upload, and what it was made with: a lookup needs that after the Upload is gone. */
struct upload {
	unsigned epoch; /* counts Uploads: replies of an earlier one are ignored */
	char id[API_ID_MAX + 1];
	char *filename, *purpose, *mime; /* owned */
	uint64_t bytes, expiry;
	unsigned renames;     /* now.renames at that time */
	int64_t created_at;   /* the server's clock, seconds */
	int64_t created_wall; /* our clock, seconds */
	uint64_t deadline_ms; /* our clock, monotonic; 0: none */
	bool posted;	      /* by POST /files: there is no Upload */
	struct api_req *create_req, *post_req;
};

/* Uploads given up whose cancel was not answered yet; the record has them. */
struct abandoned {
	char **ids;
	size_t count;
	size_t before; /* the first so many are to be cancelled: no cancel is under way */
	bool due;      /* cancel these now: the service answers */
};

/* The Parts of the Upload. */
struct parts {
	struct part *v;
	uint32_t count;
	unsigned sending;    /* under way, the live one included */
	uint64_t sending_ms; /* when the first Part of this Upload left, monotonic; 0: none did */
	struct publish_live live;
	atomic_ullong moving; /* bytes of Parts under way that have left; any thread */
};

/* How the publication ended, and its File. */
struct outcome {
	enum publish_outcome kind;
	char file_id[API_ID_MAX + 1];
	int64_t created_at, expires_at; /* of the File, seconds */
	bool news;			/* the File was not announced yet */
	bool emptied;			/* in the cleanup of an empty file, which has no File */
};

/* Why it failed. */
struct failure {
	int err, http_status;
	char error[640], request_id[128];
	struct api_error first_err;  /* reported if a probe finds the Upload alive */
	enum errmap_call first_call; /* the call that first_err answered */
	bool complete_refused;	     /* first_err refused complete */
};

/* Tries, and what limits them. */
struct retry {
	unsigned restarts, bad_replies, retries;
	unsigned again; /* tries of its requests beyond the first of each */
	struct publish_budget budget;
	uint64_t due_ms;    /* the next try by itself, monotonic; 0: none */
	bool stream_failed; /* send no more before the close */
};

/* What the record on disk says. */
struct recorded {
	/* Held from the look at whether writing began anew until the record is written. */
	pthread_mutex_t lock;
	bool begun;	    /* the first record was written */
	bool unsaved;	    /* a reply told of a step that the durable record does not have */
	bool removal_noted; /* dropped: the record says so */
	bool removed;	    /* dropped: data and record are gone from the disk */
};

/* The staged data on its way to stable storage. */
struct sync {
	bool done;
	bool under_way;	  /* job is queued or runs, and has a reference */
	uint32_t started; /* round when job was queued */
	uint32_t round;	  /* a sync of an earlier round says nothing about the bytes now */
	struct hash_job job;
};

/* What other threads see; under publisher.lock. */
struct observed {
	struct publish_info info;
	struct publish_wait *waits;
	bool durable_done;
	int durable_err; /* told to those who wait for durability */
	bool telling;	 /* owner.ended() runs: on its thread the end is known */
};

/* The callbacks of struct publish_spec. */
struct owner {
	void (*ended)(void *arg, struct publish *p, const struct publish_result *r);
	void (*deleted)(void *arg, const char *file_id);
	void (*release)(void *arg);
	void *arg;
};

struct publish {
	struct publisher *pr;
	atomic_uint refs;
	struct staged *staged;
	struct owner owner;

	/* under publisher.lock */
	struct publish_inputs in;
	struct event *events, **events_tail;
	struct publish *run_next; /* run queue */
	bool run_queued;
	struct publish *all_prev, *all_next;
	struct observed observed;

	/* the publisher thread's own from here on; recorded.lock is any thread's */
	enum publish_phase phase;
	struct publish_inputs now; /* copy of in; strings of its own */
	struct upload upload;
	struct abandoned abandoned;
	struct parts parts;
	struct outcome outcome;
	struct failure failure;
	struct retry retry;
	struct recorded recorded;
	struct sync sync;
	struct doubt doubt;
	char md5[DIGEST_HEX_SIZE];
	char md5_then[DIGEST_HEX_SIZE]; /* of the bytes when they were written; "": not known */
	uint64_t sealed_ms;		/* monotonic; 0: not closed */
	uint64_t wake_ms;		/* monotonic; 0: none */
};

/* Does the service have Uploads? Kept for the life of the mount, once it is sure. */
enum publish_uploads {
	UPLOADS_UNKNOWN,
	UPLOADS_DOUBTED, /* a create was refused so, and /files has answered since */
	UPLOADS_THERE,
	UPLOADS_ABSENT
};

/* What its replies tell of the service; the publisher thread's own. */
struct service {
	enum publish_uploads uploads;
	int64_t date_s;	       /* its last Date, seconds; 0: none */
	uint64_t date_mono_ms; /* when that came */
	/* Has each File so far had the created_at of its Upload? */
	enum { CREATED_UNKNOWN, CREATED_WITH_UPLOAD, CREATED_LATER } created_at;
};

struct publisher {
	struct publisher_config cfg;
	pthread_t thread;
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t wake;  /* for the thread: CLOCK_MONOTONIC */
	pthread_cond_t idle;  /* for publisher_drain() */
	struct service service;
	struct publish *run_head, **run_tail;
	struct publish *all;
	bool stop, stepping;
	atomic_bool draining; /* what fails now is for the next daemon */
	unsigned side_calls;  /* cancels nobody waits for */
	uint64_t completed;
	uint64_t ended[OUTCOME_DROPPED + 1];
	atomic_ullong parts, bytes; /* any thread */
	struct hist times;
};

/* publication.c */
void publish_post(struct publish *p, struct event *ev); /* takes ev; NULL: a mere wake-up */
/* Under publisher.lock: false for one whose last reference goes right now. */
bool publish_take_ref(struct publish *p);
void publish_queue_locked(struct publish *p); /* a wake-up, under publisher.lock */
void publish_side_call(struct publisher *pr, int delta);

void publish_destroy(struct publish *p);

/* inputs.c */
char *publish_dup(const char *s, bool *failed); /* NULL for NULL; sets *failed without memory */
bool publish_begin_retry(struct publish *p);	/* false: writing went on in the meantime */
/* False: it was renamed, held or written anew meanwhile. */
bool publish_end_hold(struct publish *p);
void publish_superseded_gone(struct publish *p, const char *file_id);
/* publish_reopen() came and was not looked at yet. */
bool publish_reopening(struct publish *p);
int publish_copy_inputs(struct publish *p, struct publish_inputs *dst);
int publish_inputs_supersede(struct publish_inputs *in, const char *file_id);
int publish_inputs_copy(struct publish_inputs *dst, const struct publish_inputs *src);
void publish_inputs_release(struct publish_inputs *in);

/* observe.c */
/* To PHASE_ENDED: snapshot, owner. The waiters are told after the step. */
void publish_finish(struct publish *p, enum publish_outcome outcome);
void publish_snapshot(struct publish *p);
bool publish_wants_durable(struct publish *p);
void publish_tell_durable(struct publish *p, int err);
void publish_tell_waiters(struct publish *p); /* those whose wait is over */
void publish_tell_stopped(struct publish *p); /* all: -EINTR */

/* step.c; filename, sealed: publication.c */
void publish_step(struct publish *p);		       /* until there is nothing more to do now */
const char *publish_filename(const struct publish *p); /* wanted now */
bool publish_sealed(const struct publish *p);

/* What a call to the API carries along until its callback. */
struct publish_call {
	struct publish *p; /* referenced */
	enum event_kind kind;
	unsigned epoch;
	uint32_t index, version;
	struct publish_live_reader reader; /* of a live Part */
	char file_id[API_ID_MAX + 1];	   /* or the Upload's, of a cancel nobody waits for */
};
struct publish_call *publish_call_new(struct publish *p, enum event_kind kind); /* NULL: memory */
void publish_call_free(struct publish_call *c);
struct event *publish_event_new(enum event_kind kind, const struct api_error *err);
/* Takes both; in a callback. */
void publish_post_reply(struct publish_call *c, struct event *ev);

/* act.c: one for each publish_action that does more than change the phase */
void publish_act_create(struct publish *p, uint64_t size);
/* Notes what is about to be sent, and under which name. 0 or -ENOMEM. */
int publish_note_upload(struct publish *p, uint64_t size);
void publish_act_complete(struct publish *p);
void publish_act_probe(struct publish *p);
void publish_act_sync(struct publish *p);
void publish_act_cleanup(struct publish *p);
void publish_act_empty(struct publish *p);
void publish_act_end(struct publish *p, enum publish_outcome outcome);
void publish_act_reopen(struct publish *p);
void publish_cancel_upload(struct publish *p); /* if there is one; to PHASE_IDLE */
void publish_cancel_by_id(struct publish *p, const char *upload_id);
void publish_cancel_abandoned(struct publish *p); /* those of abandoned_before, when due */
void publish_abandoned_answer(struct publish *p, const struct event *ev);
const char *publish_mime_type(const struct publish *p);
void publish_forget_upload(struct publish *p); /* without a word to the server */
/* Takes the sync back, waiting if it runs, and its reference. Publisher thread, or after it. */
void publish_end_sync(struct publish *p);

/* parts.c; ranges, counts and drop_parts: publication.c */
void publish_act_send(struct publish *p);
void publish_act_send_live(struct publish *p);
void publish_drop_parts(struct publish *p); /* ends those on their way */
/* Bytes of Part i of the Upload; how many there are of so many bytes; their small length. */
void publish_part_range(const struct publish *p, uint32_t i, uint64_t *ret_start,
			uint64_t *ret_end);
uint32_t publish_part_count(const struct publish *p, uint64_t bytes);
uint64_t publish_part_block(const struct publish *p);
/*
 * With parallel=1 Parts arrive in ascending order, whatever happens: some services number them
 * as they come.
 */
bool publish_in_sequence(const struct publish *p);
bool publish_part_is_ready(const struct publish *p, uint32_t i, bool sealed);
/* Of the bytes of Part i, which changes when they do (staging.h). */
uint32_t publish_part_version(const struct publish *p, uint32_t i);

/* replies.c */
void publish_handle(struct publish *p, const struct event *ev);
void publish_note_error(struct publish *p, int err, const char *text, const char *request_id);
/* in PHASE_VERIFYING: has the pool come to the end? */
void publish_verified(struct publish *p);
void publish_fail_damaged(struct publish *p);
void publish_fail_errno(struct publish *p, int err, const char *what);
/* These cancel the Upload; before the close they only mean that nothing streams until then. */
void publish_fail_local(struct publish *p, int err, const char *what);
void publish_fail_memory(struct publish *p);
/* Before the close a failure only stops streaming: true. After it: false, nothing done. */
bool publish_stream_fails(struct publish *p, const char *text);
void publish_fail(struct publish *p, int err, const char *text, const char *request_id);

void publish_fail_api(struct publish *p, const struct api_error *err);
/* Its File is there: what it supersedes is next. */
void publish_file_exists(struct publish *p, const struct event *ev);
bool publish_is_refusal(const struct api_error *err);
/* Hashes the staged file again: is it still what was written? Then reports first_err. */
void publish_verify(struct publish *p);

/* doubt.c */
/* The service may have done what it was asked for; err is what came instead of a reply. */
void publish_doubt(struct publish *p, const struct api_error *err);
void publish_doubt_try(struct publish *p); /* a new try, or whoever wanted the File removed it */
void publish_doubt_end(struct publish *p); /* also before p is freed */
void publish_doubt_cancelled(struct publish *p, const struct event *ev);
void publish_doubt_looked(struct publish *p, const struct event *ev);
void publish_doubt_checked(struct publish *p, const struct event *ev);
bool publish_is_draining(const struct publish *p);

/* parts.c: the live one */
bool publish_live_find(struct publish *p); /* live.index may begin to leave */
/* For struct api_part_body; arg: struct publish_live_reader, any thread. */
uint64_t publish_live_read(void *arg, uint64_t at);
void publish_live_look(struct publish *p); /* has it fed, or ended when it is torn */
/* The reply is there: is it the Part, and of which version? Else it has to be sent as any other. */
bool publish_live_ended(struct publish *p, const struct event *ev, uint32_t *ret_version);

/* whole.c: services without Uploads */
/* A create was refused: is it that? False: an ordinary refusal. */
bool publish_whole_refused(struct publish *p, const struct api_error *err);
void publish_handle_asked(struct publish *p, const struct event *ev);
void publish_act_post(struct publish *p, uint64_t size);
void publish_handle_posted(struct publish *p, const struct event *ev);
void publish_fail_size(struct publish *p);

/* lookup.c: EV_LOOKED_UP with the candidates of a whole list */
void publish_start_lookup(struct publish *p);
/* EV_CHECKED: has f the bytes of the publication? False: out of memory, or no MD5 is known. */
bool publish_check_content(struct publish *p, const struct lookup_found *f, bool alone);

/* record.c */
int publish_save_record(struct publish *p, bool durable);
/*
 * A reply has told of a step. publish_save_step() makes that durable if it is not yet: called
 * before anything else is asked of the service that it can see, and at the end of a look, so that
 * several steps that come at once are one record.
 */
void publish_note_step(struct publish *p);
void publish_save_step(struct publish *p);
/* Something of it is, or may be, at the service, and would have to go with it. */
bool publish_owes_service(const struct publish *p);
void publish_save_writing(struct publish *p); /* any thread */
int publish_load_record(struct publish *p, const struct record *r);

#endif
