/*
 * publish: from a staged file to a File.
 *
 * struct publisher is one thread with a queue; struct publish is one staged
 * file on its way. Everything that happens to a publication happens on the
 * publisher thread, so it needs no lock; what other threads want of it is a
 * handful of inputs behind the publisher's lock, and what they may see of it is
 * a snapshot behind the same lock. Callbacks of net, of staging and of the
 * pool only post.
 *
 * Unless said otherwise functions may be called from any thread, do not block,
 * and take only the publisher's lock, which is a leaf.
 */
#ifndef UPLOADFS_FS_PUBLISH_PUBLISHER_H
#define UPLOADFS_FS_PUBLISH_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/publish/next.h"
#include "net/base/digest.h"
#include "net/base/hist.h"

struct api;
struct pool;
struct publish;
struct publisher;
struct record;
struct staged;

struct publisher_config {
	struct api *api;    /* borrowed until publisher_stop() */
	struct pool *disk;  /* borrowed: a worker on which staged data is synced */
	unsigned parallel;  /* Parts of one file handed to the queue at once */
	uint64_t part_size; /* bytes; the staging area's */
	uint64_t live_step; /* bytes of a live Part that are handed on together; 0: 1 MiB */
	bool keep_old;	    /* leave superseded Files */
	/*
	 * After a 401: true when there is another key now, and the request may be sent again. Or
	 * NULL.
	 */
	bool (*renew_key)(void *arg);
	void *renew_key_arg;
	/* Is the File one that was made, changed or superseded here? Publisher thread, without
	 * locks. NULL: none is. */
	bool (*is_known)(void *arg, const char *file_id);
	void *is_known_arg;
	unsigned retry_first_s, retry_max_s; /* delays of the background retry; 0: 30 and 600 */
	uint64_t retry_budget_ms;	     /* see publish_budget.h; 0: no limit */
	bool ending; /* publisher_drain() follows at once: a log line promises no next try */
};

int publisher_new(const struct publisher_config *cfg, struct publisher **ret);
/*
 * Waits until nothing is under way (held files do not count) or timeout_s is
 * over. Returns the number of files that are closed but not published. Blocks.
 */
unsigned publisher_drain(struct publisher *pr, unsigned timeout_s);
/*
 * Taking down: publisher_stop() joins the thread (no more calls to the API) and
 * tells those who still wait -EINTR, on the calling thread; who comes later is
 * not told any more. Then the caller frees the API, whose last replies are kept
 * unread, and the disk worker, then releases its publications, then calls
 * publisher_free(). Each publication holds its staged file until its release.
 */
void publisher_stop(struct publisher *pr);
void publisher_free(struct publisher *pr); /* NULL is a no-op */
struct publisher_counts {
	unsigned active; /* closed, not ended */
	unsigned failed, aborted, held;
	unsigned queued; /* that the thread has to look at */
	/* since the start */
	uint64_t completed;
	uint64_t ended[OUTCOME_DROPPED + 1]; /* by outcome; a retry that fails counts again */
	uint64_t parts, bytes;		     /* Parts that arrived; bytes of completed Files */
	struct hist_snapshot times;	     /* from the close to the File */
};
void publisher_get_counts(struct publisher *pr, struct publisher_counts *ret);

struct publish_result {
	enum publish_outcome outcome;
	int err;	   /* negative errno for OUTCOME_FAILED, else 0 */
	const char *error; /* its text, or NULL */
	/* for OUTCOME_COMPLETED; valid until the callback returns */
	const char *file_id, *filename, *purpose, *md5;
	uint64_t bytes;
	int64_t created_at, expires_at;
};

struct publish_spec {
	struct staged *staged;	    /* referenced by the publication */
	const char *purpose, *path; /* copied; path is the filename too */
	const char *hold_name;	    /* what to send it under while the name is temporary */
	const char *superseded;	    /* File id to delete once done, or NULL */
	uint32_t mode, uid, gid;    /* for the record */
	/*
	 * Runs on the publisher thread each time the publication ends (it may be
	 * reopened and end again), before its waiters are told. No locks held.
	 * publish_get_info() called from within it shows the end; to everybody
	 * else the publication is under way until it has returned.
	 */
	void (*ended)(void *arg, struct publish *p, const struct publish_result *r);
	/* The same thread, no locks held: a File that it superseded, or its own, is no more. */
	void (*deleted)(void *arg, const char *file_id);
	void (*release)(void *arg); /* once, with the last reference; any thread */
	void *arg;
};

/*
 * One reference for the caller; sets the staged file's hooks. NULL: out of
 * memory (release did not run).
 */
struct publish *publish_new(struct publisher *pr, const struct publish_spec *spec);
/*
 * Recovery: takes up a publication from its record: state, Upload and Parts as
 * they stood. A closed one starts by itself; the staged file is sealed here.
 */
struct publish *publish_recover(struct publisher *pr, const struct publish_spec *spec,
				const struct record *r);
struct publish *publish_ref(struct publish *p);
void publish_unref(struct publish *p); /* NULL is a no-op; the last one calls release() */

/* The size the file will have, if the guess or declaration is right; 0: not known (any more). */
void publish_predict(struct publish *p, uint64_t size);
/* Bytes close() must find, or the publication fails with -EIO; 0: none. */
void publish_declare(struct publish *p, uint64_t size);
/* Copied; NULL: by the ending. */
void publish_set_mime(struct publish *p, const char *mime_type);
void publish_set_expiry(struct publish *p, uint64_t seconds);
/*
 * Another name; purpose, path and hold_name (NULL: none) are copied. An Upload made under the old
 * one is given up. 0 or -ENOMEM.
 */
int publish_rename(struct publish *p, const char *purpose, const char *path, const char *hold_name);
/* One more File to delete once this one is complete. */
int publish_supersede(struct publish *p, const char *file_id);
/* That one is not to be deleted after all. On the publisher thread only: from a wait's cb. */
void publish_spare(struct publish *p, const char *file_id);
/* Kept in the record, also of what is empty, failed or aborted. */
void publish_set_owner(struct publish *p, uint32_t mode, uint32_t uid, uint32_t gid);

/* The next listing without its File ends the doubt whether there is one: it is sent again. */
void publish_force(struct publish *p);
/* The file was closed and staged_seal()ed by the caller: publish it under its name. Ends a hold. */
void publish_seal(struct publish *p);
/* Closed under a temporary name: the same, but complete waits. filename: what the Upload is made
 * with. After timeout_s it is published under the name it has. */
int publish_hold(struct publish *p, const char *filename, unsigned timeout_s);
/*
 * Its writer was killed (err 0), a close was told so (-EIO), or a write failed (write, and err is
 * its negative errno): cancel; the staged file stays. With err there is a line in the log.
 */
void publish_abort(struct publish *p, int err, bool write);
/*
 * Writing goes on after an end (completed: the new File will supersede the last
 * one), or while it is held and durable. True: the caller now unseals the staged
 * file; its record says already that it is being written (this blocks on the
 * local disk). False: a publication is under way; wait for its end.
 */
bool publish_reopen(struct publish *p);
/*
 * Removed or overwritten: cancel, and delete the File if it comes to exist all
 * the same. Data and record go from the disk; the staged file's fd stays good.
 * A File that was there before, its own or one to supersede, is left alone.
 */
void publish_drop(struct publish *p);

/*
 * Waiting. cb runs on the publisher thread (or that of publisher_stop()),
 * exactly once, unless publish_wait_cancel() returns true.
 */
enum publish_until {
	UNTIL_ENDED,   /* the publication is over (or was not under way: at once) */
	UNTIL_DURABLE, /* data and record of a sealed file are on stable storage */
	UNTIL_WRITABLE /* publish_reopen() is worth a try: as UNTIL_ENDED, or held and durable */
};
struct publish_wait {
	struct publish *p; /* set by publish_wait(), referenced */
	enum publish_until until;
	void (*cb)(void *arg, int err); /* 0, or the negative errno of the failure */
	void *arg;
	struct publish_wait *next;
	bool linked;
};
/* w is the caller's and must live until its cb ran or it was cancelled. */
void publish_wait(struct publish *p, struct publish_wait *w);
/* True: cb will not run. False: it ran or is running. */
bool publish_wait_cancel(struct publish_wait *w);

/* What can be seen. Strings are copies. */
struct publish_info {
	const char *status; /* one of the words of docs/semantics.md; static */
	enum publish_outcome outcome;
	bool under_way; /* a close was seen and the end was not */
	bool in_doubt;	/* its File may exist, and is looked for */
	int err;
	int http_status; /* of the failure; 0: none, or not known */
	uint64_t upload_bytes;
	uint64_t sent_bytes; /* of its Parts: those that are in, and what has left of the others */
	unsigned parts_done, parts_total;
	/* clock_mono_ms(): when it got this status; when the first Part of this Upload left, and
	 * when it is tried again by itself, or 0 */
	uint64_t since_ms, sending_ms, retry_ms;
	char upload_id[128], file_id[128], request_id[128];
	char md5[DIGEST_HEX_SIZE];
	char error[640];
};
void publish_get_info(struct publish *p, struct publish_info *ret);

/* All publications at one moment, but for those whose file was removed. */
struct publish_row {
	char *purpose, *path;
	uint64_t size; /* bytes of the staged file */
	struct publish_info info;
};
struct publish_rows {
	struct publish_row *v;
	size_t count;
};
/*
 * In no order. Not under vfs's lock nor the publisher's. 0 or -ENOMEM; the caller calls
 * publish_rows_free().
 */
int publisher_list(struct publisher *pr, struct publish_rows *ret);
void publish_rows_free(struct publish_rows *rows); /* what it holds */

#endif
