/*
 * fake_api: net/api/api.h in memory, for tests of what stands above it.
 *
 * A test that begins with the line "uses: fake_api" (as a comment) is linked
 * with this instead of the client library. api_new() makes a service of its
 * own, empty, without a network: struct api is the fake, and the functions
 * below steer and watch it. Calls run on a thread of the fake, in the order of
 * their start (contents by turns, a chunk each), callbacks on that thread,
 * never from within a call, as the real library has it.
 *
 * Any function may be called from any thread, callbacks included, except the
 * fake_api_wait_*(), which block.
 */
#ifndef UPLOADFS_TESTS_FAKE_API_H
#define UPLOADFS_TESTS_FAKE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/api/api.h"

enum fake_op {
	FAKE_CREATE,
	FAKE_PART,
	FAKE_COMPLETE,
	FAKE_CANCEL,
	FAKE_LIST,
	FAKE_GET,
	FAKE_DELETE,
	FAKE_CONTENT,
	FAKE_UPLOAD, /* POST /files */
	FAKE_OPS     /* their number; in the functions below: all of them */
};

/* api_new() with a plain configuration; aborts the test when it fails. */
struct api *fake_api_new(void);

/*
 * Faults. The nth call of op from now on (1: the next) and the times - 1 after
 * it end with err. Nothing is done on the service then, unless
 * err->maybe_applied is set: all is done, and only the reply is lost. With
 * API_OK all goes well, but after retries for err->retrying_ms, and the reply has
 * the Date err->server_time. Several may be
 * set; each counts for itself.
 */
void fake_api_fail(struct api *api, enum fake_op op, unsigned nth, unsigned times,
		   const struct api_error *err);
void fake_api_fail_clear(struct api *api);
/* An API_ERR_HTTP as the service words it, or any other kind with status 0. */
struct api_error fake_api_error(enum api_err_kind kind, int http_status, const char *code,
				const char *message);

enum fake_hold {
	FAKE_HOLD_WORK, /* nothing of the call is done before the release; no body read */
	FAKE_HOLD_REPLY /* the work is done, the callback waits. Not for contents */
};
/* From now on calls of op are held. A cancel ends a held call all the same. */
void fake_api_hold(struct api *api, enum fake_op op, enum fake_hold how);
/* Ends the hold and releases what is held. */
void fake_api_release(struct api *api, enum fake_op op);
/* Lets the first count held calls of op go; the hold stays. */
void fake_api_release_some(struct api *api, enum fake_op op, unsigned count);

/* Breaks the connections of Parts that wait to be fed. */
void fake_api_cut_live(struct api *api);

/*
 * The deadline is long (30 s) and meant for tests that fail: false then.
 * calls: that many calls of op were started since api_new(). done: that many
 * callbacks of op have returned. idle: nothing is under way or held.
 */
bool fake_api_wait_calls(struct api *api, enum fake_op op, unsigned count);
bool fake_api_wait_done(struct api *api, enum fake_op op, unsigned count);
/* Of the Part that is live now, or was last, that many bytes were read. */
bool fake_api_wait_live(struct api *api, uint64_t bytes);
bool fake_api_wait_idle(struct api *api);

/* The log of calls since api_new(), in the order of their start. */
struct fake_call {
	enum fake_op op;
	char id[API_ID_MAX + 1]; /* the upload or file it is about, or "" */
	char filename[256];	 /* create, upload */
	char purpose[64];	 /* create, upload, list */
	char md5[64];		 /* complete, upload; "" when none was given */
	char text[256];		 /* complete: the part ids, with a space between; list: after */
	uint64_t offset, len;	 /* part, content; create, complete, upload: len is bytes;
				  * list: its limit */
	size_t part_count;	 /* complete */
	bool done, cancelled;	 /* its callback has returned; it was cancelled before that */
	enum api_err_kind kind;	 /* when done: how it ended */
};
unsigned fake_api_calls(struct api *api, enum fake_op op); /* started so far */
/* The nth (from 0) call of op; false when there was none. */
bool fake_api_call(struct api *api, enum fake_op op, unsigned nth, struct fake_call *ret);
unsigned fake_api_active_max(struct api *api, enum fake_op op); /* most at once so far */

/* Uploads. */
enum api_upload_status fake_api_upload_status(struct api *api, const char *upload_id);
unsigned fake_api_uploads(struct api *api, enum api_upload_status status); /* how many of them */
/* Marks a pending Upload: what is asked of it from now on is refused (400). */
void fake_api_upload_expire(struct api *api, const char *upload_id);

/*
 * Files. The id is chosen by the fake and written to ret_id. created_at grows by one each time; the
 * File of an Upload has the Upload's.
 */
void fake_api_add_file(struct api *api, const char *filename, const char *purpose, const void *data,
		       size_t len, char ret_id[API_ID_MAX + 1]);
/* One of any size without memory, with bytes as fake_api_pattern() makes them. */
void fake_api_add_pattern(struct api *api, const char *filename, const char *purpose,
			  uint64_t bytes, char ret_id[API_ID_MAX + 1]);
/* Fills buf with the bytes that lie at offset in such a File. */
void fake_api_pattern(uint64_t offset, void *buf, size_t len);
unsigned fake_api_files(struct api *api); /* how many there are */
/* The nth (from 0) File of that name, the oldest first; false when there is none. */
bool fake_api_find(struct api *api, const char *filename, unsigned nth,
		   char ret_id[API_ID_MAX + 1]);
/* Reads up to len bytes of its content; returns how many, or -1 when there is no such File. */
ssize_t fake_api_read(struct api *api, const char *file_id, uint64_t offset, void *buf, size_t len);
uint64_t fake_api_file_bytes(struct api *api, const char *file_id); /* UINT64_MAX: none */
/* Lists are cut to so many entries a page, whatever the limit asked for; 0: not. */
void fake_api_page_max(struct api *api, unsigned entries);

/*
 * How contents are handed out, for all Files. A zeroed struct is the default.
 */
struct fake_content {
	size_t chunk;	   /* bytes of one data callback; 0: 64 KiB */
	bool refuse;	   /* 400 Not allowed to download files of purpose: … */
	bool ignore_range; /* all is sent from the first byte on, and handed on */
	bool refuse_range; /* 416 for an offset above 0 */
	bool gated;	   /* a request that began below gate stops there until the gate moves */
	uint64_t gate;	   /* bytes from the start of the File; see fake_api_gate() */
	uint64_t quota;	 /* if not 0: a request waits after so many bytes, until that is changed */
	uint64_t cut;	 /* if not 0: a connection error at this byte of the File */
	uint64_t length; /* if not 0: Files seem to be so long, shorter or longer */
};
void fake_api_content(struct api *api, const struct fake_content *how);
/* Opens the gate up to that byte. */
void fake_api_gate(struct api *api, uint64_t gate);

/*
 * Several hosts on one service, step by step: fake_api_peer.c. Everything above takes the first
 * one's api; a peer is good for the calls of net/api/api.h, and to tell hosts apart.
 */

/* Another host's api on the same service. api_free() cancels its calls and waits for their end. */
struct api *fake_api_peer(struct api *api);
void fake_api_peer_end(struct api *peer); /* api_free() of a peer */
/*
 * created_at is clock_wall_s() from now on, Uploads expire by that clock, and a File has its own
 * created_at or, with_upload, that of its Upload.
 */
void fake_api_dated(struct api *api, bool with_upload);
void fake_api_lag(struct api *api, uint64_t ms); /* lists show a File so long after it was made */
/* True if nothing is left to do but calls that are held. */
bool fake_api_settled(struct api *api);

struct fake_wait {
	size_t call; /* for fake_api_end() */
	enum fake_op op;
	char id[API_ID_MAX + 1], filename[256];
	uint64_t offset;
};
/* The held calls of a host, sorted; at most max. Returns their number. */
size_t fake_api_waiting(struct api *api, const struct api *peer, struct fake_wait *v, size_t max);
/*
 * Lets one held call go: it ends with err, or well for NULL. work: it is done at the service. later
 * (a complete that ends with err): it is done by fake_api_run_later().
 */
void fake_api_end(struct api *api, size_t call, const struct api_error *err, bool work, bool later);
/* Does these completes. late: also of Uploads that were cancelled in the last eight seconds. */
void fake_api_run_later(struct api *api, bool late);

struct fake_file {
	char id[API_ID_MAX + 1], upload[API_ID_MAX + 1], filename[256];
	const struct api *deleter; /* NULL: nobody, or it is there */
	bool deleted, listed;
	uint64_t bytes;
	int64_t created_at;
};
/* The nth (from 0) File that was ever made; false: there were not so many. */
bool fake_api_file_at(struct api *api, size_t nth, struct fake_file *ret);

#endif
