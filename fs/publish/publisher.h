/*
 * publisher: from a staged file to a File.
 *
 * struct publisher is one thread with a queue; struct publish is one staged file on its way. The
 * thread alone changes a publication, so it needs no lock. Other threads set inputs and read a
 * snapshot, both behind the publisher's lock. Callbacks of net, stage and the pool only post.
 *
 * Unless said otherwise functions may be called from any thread, do not block, and take only the
 * publisher's lock, which is a leaf.
 */
#ifndef UPLOADFS_FS_PUBLISH_PUBLISHER_H
#define UPLOADFS_FS_PUBLISH_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/publish/next.h"
#include "net/api/api.h"
#include "net/base/digest.h"
#include "net/base/hist.h"

struct api;
struct pool;
struct publish;
struct publisher;
struct record;
struct staged;
struct statedb;

struct publisher_config {
	struct api *api; /* borrowed until publisher_stop() */
	/*
	 * The store behind the staged files; it keeps what the publisher learns of `service`, a
	 * base URL or the like. Both borrowed until publisher_free(). NULL: keep nothing.
	 */
	struct statedb *db;
	const char *service;
	/* organization and project, and a fingerprint of the key (32 hex digits); NULL: unknown */
	const char *tenant, *key_print;
	struct pool *disk;  /* borrowed: the worker that syncs staged data */
	unsigned parallel;  /* Parts of one file handed to the queue at once */
	uint64_t part_size; /* bytes; the staging area's */
	uint64_t live_step; /* bytes of a live Part handed on together; 0: 1 MiB */
	bool keep_old;	    /* do not delete superseded Files, but those that a rename moves */
	bool no_delete;	    /* with keep_old: not even those */
	bool sync_always;   /* sync the data before each complete */
	bool resend;	    /* send bytes, too, that the File they replace has already */
	/*
	 * After a 401: true if there is another key now, and the step is taken again. NULL: never.
	 */
	bool (*renew_key)(void *arg);
	void *renew_key_arg;
	/*
	 * True if the File was made, changed or superseded here. Publisher thread, without locks.
	 * NULL: none was.
	 */
	bool (*is_known)(void *arg, const char *file_id);
	/*
	 * Notes which Files are listed now; is_before() tells later whether file_id was among them.
	 * As is_known().
	 */
	uint64_t (*mark)(void *arg);
	bool (*is_before)(void *arg, const char *file_id, uint64_t mark);
	/*
	 * Call fn for the id of each File of that name and size that a listing has shown. Publisher
	 * thread, without locks. NULL: none was shown. The argument is is_known_arg.
	 */
	void (*each_listed)(void *arg, const char *purpose, const char *filename, uint64_t bytes,
			    void (*fn)(void *fn_arg, const char *file_id), void *fn_arg);
	void *is_known_arg;		     /* of these four */
	unsigned retry_first_s, retry_max_s; /* delays of the background retry; 0: 30 and 600 */
	uint64_t retry_budget_ms;	     /* see budget.h; 0: no limit */
	uint64_t complete_ms; /* a close waits this long while complete only fails; 0: 4 s */
	bool ending;	      /* publisher_drain() follows at once: log lines promise no next try */
};

/* 0 and *ret, or negative errno. */
int publisher_new(const struct publisher_config *cfg, struct publisher **ret);
/* The key changed; print is copied. What was refused for the former one is tried again. */
void publisher_set_key(struct publisher *pr, const char *print);
/*
 * Block until nothing is under way (held files do not count) or timeout_s is over. Returns the
 * number of files closed but not published.
 */
unsigned publisher_drain(struct publisher *pr, unsigned timeout_s);
/*
 * Join the thread: no more calls to the API. Calls the waits left with -EINTR on the calling
 * thread; later ones are never called. keep_all: before that, bring what is not published to stable
 * storage. Blocks.
 *
 * Then the caller frees the API, whose last replies stay unread, and the disk worker, releases its
 * publications (each holds its staged file until then), and calls publisher_free().
 */
void publisher_stop(struct publisher *pr, bool keep_all);
/*
 * Answer the waits that began after publisher_stop() (-EINTR). Call it once nothing begins one any
 * more, and before what their callbacks use ends.
 */
void publisher_end_waits(struct publisher *pr);
void publisher_free(struct publisher *pr); /* NULL is a no-op */
struct publisher_counts {
	unsigned active; /* closed, not ended */
	unsigned failed, aborted, held;
	unsigned queued; /* waiting for the thread to look */
	/* since the start */
	uint64_t completed;
	uint64_t ended[OUTCOME_DROPPED + 1]; /* by outcome; a retry that fails counts again */
	uint64_t parts, bytes;		     /* Parts that arrived; bytes of completed Files */
	struct hist_snapshot times;	     /* from the close to the File */
};
void publisher_get_counts(struct publisher *pr, struct publisher_counts *ret);

struct publish_result {
	enum publish_outcome outcome;
	/* negative errno for OUTCOME_FAILED; -EIO for a File that can't be used; else 0 */
	int err;
	const char *error; /* its text, or NULL */
	/* for OUTCOME_COMPLETED; valid until the callback returns */
	const char *file_id, *filename, *purpose, *md5;
	uint64_t bytes;
	int64_t created_at, expires_at;
	bool kept; /* no new File: the one of file_id was replaced by its own bytes */
};

struct publish_spec {
	struct staged *staged;	    /* referenced by the publication */
	const char *purpose, *path; /* copied; path is the filename too */
	const char *hold_name;	    /* filename to send while the name is temporary, or NULL */
	const char *superseded;	    /* File id to delete once done, or NULL */
	uint32_t mode, uid, gid;    /* for the record */
	/*
	 * Called on the publisher thread, without locks, each time the publication ends (it may be
	 * reopened and end again), before its waiters. Within the call publish_get_info() shows the
	 * end; other threads see the publication under way until it returns.
	 */
	void (*ended)(void *arg, struct publish *p, const struct publish_result *r);
	/*
	 * Same thread, without locks: the File exists, and the record says so durably; the Files it
	 * supersedes are not deleted yet. NULL: not called.
	 */
	void (*appeared)(void *arg, struct publish *p, const char *file_id);
	/* Same thread, without locks: a superseded File, or its own, was deleted. */
	void (*deleted)(void *arg, const char *file_id);
	void (*release)(void *arg); /* once, with the last reference; any thread */
	void *arg;
};

/*
 * Make a publication with one reference, save its first record and set the staged file's hooks.
 * NULL with errno: out of memory or no record; release did not run.
 */
struct publish *publish_new(struct publisher *pr, const struct publish_spec *spec);
/*
 * Recovery: take up a publication from its record: state, Upload and Parts. Seals the staged file
 * of a closed one, which starts by itself. NULL: out of memory.
 */
struct publish *publish_recover(struct publisher *pr, const struct publish_spec *spec,
				const struct record *r);
struct publish *publish_ref(struct publish *p);
void publish_unref(struct publish *p); /* NULL is a no-op; the last one calls release() */

/* Predict the final size in bytes; 0: not known (any more). */
void publish_predict(struct publish *p, uint64_t size);
/*
 * Declare the size in bytes: another size at the close fails with -EIO. 0: none. This and the next
 * two survive kill -9 when they return. 0 or negative errno: then nothing changed.
 */
int publish_declare(struct publish *p, uint64_t size);
int publish_set_mime(struct publish *p, const char *mime_type); /* copied */
int publish_set_expiry(struct publish *p, uint64_t seconds);
/*
 * The lines have to be JSON objects (net/base/jsonl.h), or not: a fault fails with -EINVAL before a
 * File is made. Survives kill -9 when it returns. 0 or negative errno: then nothing changed.
 */
int publish_set_check(struct publish *p, bool on);
/*
 * The name is temporary, and its rename is going to replace this File: bytes that it has already
 * are not sent before it is known whether they differ.
 */
void publish_set_likely(struct publish *p, const char *file_id);
/*
 * Set another name; purpose, path and hold_name (NULL: none) are copied. An Upload made under the
 * old one is given up. 0 or -ENOMEM.
 */
int publish_rename(struct publish *p, const char *purpose, const char *path, const char *hold_name);
/* Delete file_id, too, once this File is complete. 0 or -ENOMEM. */
int publish_supersede(struct publish *p, const char *file_id);
/*
 * Keep the record from being saved until the unlock: a commit of the caller's, and what the
 * publication is told of it, are one step. Any thread; take no lock but the publisher's meanwhile.
 */
void publish_lock_record(struct publish *p);
void publish_unlock_record(struct publish *p);
/*
 * Take that request back before the file is sealed (or while it is held), so that no step has acted
 * on it. Any thread.
 */
void publish_take_back(struct publish *p, const char *file_id);
/* Do not delete file_id after all. Publisher thread only: from a wait's cb. */
void publish_spare(struct publish *p, const char *file_id);
/* An ended empty file: delete the Files it supersedes now. */
void publish_reap(struct publish *p);
/*
 * Commit mode and owner to the record, also of an empty, failed or aborted file. 0 or negative
 * errno: then nothing changed.
 */
int publish_set_owner(struct publish *p, uint32_t mode, uint32_t uid, uint32_t gid);

/*
 * If in doubt: send again after the next listing without its File, the one that is under way
 * included. A try that is about to fail is followed by another one.
 */
void publish_force(struct publish *p);
/* Publish the file, closed and staged_seal()ed by the caller, under its name. Ends a hold. */
void publish_seal(struct publish *p);
/* The same; publish_wait() or publish_wake() has to follow, and is when the thread looks at it. */
void publish_seal_first(struct publish *p);
void publish_wake(struct publish *p);
/*
 * The same for a temporary name, but complete waits for a rename, at most timeout_s: then the file
 * is published under the name it has. filename, copied: for the Upload. 0 or -ENOMEM.
 */
int publish_hold(struct publish *p, const char *filename, unsigned timeout_s);
/*
 * Cancel; the staged file stays. err 0: the writer was killed; -EIO: a close was told so; with
 * write: the negative errno of a failed write. err is logged unless 0.
 */
void publish_abort(struct publish *p, int err, bool write);
/*
 * End it with -ECANCELED as aborted, silently, unless complete was asked. False: it was, or nothing
 * is under way.
 */
bool publish_withdraw(struct publish *p);
/*
 * Write again after an end (completed: the new File supersedes the last one), or in a hold. True:
 * the record says that the file is being written; the caller unseals it, and calls
 * publish_await_change() where a change of bytes is -EINPROGRESS. False: a publication is under
 * way; wait for its end.
 */
bool publish_reopen(struct publish *p);
/*
 * Wait until bytes may change (staged_await_change()). Blocks on the disk; hold no lock. 0 or
 * negative errno.
 */
int publish_await_change(struct publish *p);
/*
 * fsync: bring the record to stable storage, and write it anew if it was dropped. Blocks on the
 * disk; hold no lock. 0; -ENOENT: removed; another negative errno.
 */
int publish_sync_record(struct publish *p);
/* True if reads have to wait UNTIL_PROVEN. */
bool publish_is_unproven(struct publish *p);
/*
 * The file was removed or overwritten: cancel, delete the File if it appears all the same, and
 * remove data and record from the disk. The staged file's fd stays good. Earlier Files, its own or
 * superseded, stay.
 */
void publish_drop(struct publish *p);
/*
 * True if f is probably the File of a removed file that goes once the reply about it came: one of
 * that name and size, while a removed file is being published. A doubt does not count.
 */
bool publisher_unmakes(struct publisher *pr, const struct api_file *f);

/*
 * A wait. cb runs on the publisher thread (or that of publisher_stop() or publisher_end_waits())
 * exactly once, unless publish_wait_cancel() returns true.
 */
enum publish_until {
	UNTIL_ENDED,	/* the publication ended, was not under way, or is dropped in doubt */
	UNTIL_KEPT,	/* the record of a sealed file tells of it: it survives a kill */
	UNTIL_DURABLE,	/* data and record of a sealed file are on stable storage */
	UNTIL_WRITABLE, /* publish_reopen() may succeed: as UNTIL_ENDED, or held and kept */
	UNTIL_OPENABLE, /* as UNTIL_WRITABLE, or dropped: a doubt may last for an hour then */
	UNTIL_PROVEN	/* the bytes of an earlier daemon were compared with their MD5 */
};
struct publish_wait {
	struct publish *p; /* set by publish_wait(), referenced */
	enum publish_until until;
	void (*cb)(void *arg, int err); /* 0, or the negative errno of the failure */
	void *arg;
	struct publish_wait *next;
	bool linked;
};
/* Set w->until, cb and arg first. w is the caller's, until cb ran or the wait was cancelled. */
void publish_wait(struct publish *p, struct publish_wait *w);
/* True: cb will not run. False: it ran or is running. */
bool publish_wait_cancel(struct publish_wait *w);

/* The snapshot. Strings are copies. */
struct publish_info {
	const char *status; /* one of the words of docs/semantics.md; static */
	enum publish_outcome outcome;
	bool under_way; /* closed, and not ended since */
	bool in_doubt;	/* its File may exist, and is looked for */
	bool inferred;	/* completed, but its File may be another host's; the bytes stay */
	bool spoiled;	/* the bytes of an earlier daemon are not those that were closed */
	int err;
	int http_status; /* of the failure; 0: none, or not known */
	uint64_t upload_bytes;
	uint64_t sent_bytes; /* of Parts that arrived, and what has left of others */
	unsigned parts_done, parts_total;
	/*
	 * clock_mono_ms() of: this status; the first Part of this Upload; the next try by itself.
	 * 0: none
	 */
	uint64_t since_ms, sending_ms, retry_ms;
	char upload_id[API_ID_MAX + 1], file_id[API_ID_MAX + 1], request_id[128];
	char md5[DIGEST_HEX_SIZE];
	char mime_type[128]; /* wished for; "": by the name's ending */
	char error[640];
};
void publish_get_info(struct publish *p, struct publish_info *ret);

/* One publication of a list. */
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
 * All publications at one moment but those dropped, in no order. Call it without vfs's and the
 * publisher's lock, then publish_rows_free(). 0 or -ENOMEM.
 */
int publisher_list(struct publisher *pr, struct publish_rows *ret);
void publish_rows_free(struct publish_rows *rows); /* frees the rows, not *rows */

#endif
