/*
 * store: STATE_DIR/state.db, the SQLite database of what a mount must know again.
 *
 * Every change is a transaction. statedb_commit() returns once the change
 * survives kill -9; statedb_sync() returns once it survives a power cut. attrs.h
 * and files.h define the tables; no other folder writes SQL, and no other file
 * includes sqlite3.h.
 *
 * Threads: any. statedb_begin() and statedb_lock() take the one lock of the
 * connection, a leaf below vfs.lock: take no other lock under it, except the
 * private ones of fs/state. A commit writes a few pages to the page cache. The
 * store's own thread copies the WAL into the database beside it. A commit waits
 * for the disk only while that thread begins the WAL anew, which it does when a
 * sync has just taken less than 50 ms, or at 512 MiB; or where the disk is so
 * full that the commit has to empty the WAL itself.
 *
 * Failure: an I/O error, corruption or a failed sync is final. Every later
 * change and sync returns -EIO until the store is opened again. A full disk
 * (-ENOSPC, -EDQUOT, -EFBIG) rolls back and is not final.
 *
 * Open one store per directory and process, after the last fork. Don't open
 * state.db or its WAL elsewhere in the process: closing such a descriptor
 * drops SQLite's lock.
 */
#ifndef UPLOADFS_FS_STATE_STORE_H
#define UPLOADFS_FS_STATE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct statedb;

/*
 * Open or make dir/state.db (0600); dir exists. A damaged database and its WAL are renamed to
 * state.db.damaged-TIME, and a new one is made. -EBUSY: another process has it open.
 * -EPROTONOSUPPORT: made by a later version. -EBADMSG: not a regular file. -EIO, -ENOMEM, -ENOSPC,
 * ...
 */
int statedb_open(const char *dir, struct statedb **ret);
/* The same, but a damaged database stays where it is: -EBADMSG. For readers without a daemon. */
int statedb_open_as_is(const char *dir, struct statedb **ret);
void statedb_close(struct statedb *s); /* checkpoints; NULL is a no-op */
/*
 * Grow the WAL to 8 MiB: a sync then writes no new size, and commits fit on a disk that got full.
 * With less than 64 MiB free: to a sixteenth of that, but 1 MiB at least, as far as it fits. From
 * now on WAL and database grow ahead of what they take, and the last 512 KiB of the WAL are a
 * reserve for statedb_begin_freeing(). For the daemon.
 */
void statedb_grow(struct statedb *s);

/* False if the open set a damaged database aside; rows may be missing. */
bool statedb_is_intact(const struct statedb *s);
/* Return 32 hex digits made with the database; valid as long as s. */
const char *statedb_uuid(const struct statedb *s);

/*
 * Run a transaction: begin takes the lock; commit and rollback release it, also on error. A commit
 * after a failed statement rolls back and returns the statement's error. *ret_seq (may be NULL) is
 * the number for statedb_sync().
 */
int statedb_begin(struct statedb *s);
/*
 * The same for a change that gives room back, or that something has to follow which does: it may
 * use the reserve of a full disk.
 */
int statedb_begin_freeing(struct statedb *s);
int statedb_commit(struct statedb *s, uint64_t *ret_seq);
void statedb_rollback(struct statedb *s);

/*
 * A change that goes along with the next transaction, whoever makes it: run() is called in it, with
 * statements and no more, then free(). After an error in run() it is dropped, with a warning in the
 * log; if the transaction comes to nothing it waits for the next one. Whoever needs it in the store
 * by some time calls statedb_flush() then; readers of the store don't see it before. It costs less
 * than a transaction of its own.
 */
struct statedb_later {
	int (*run)(struct statedb *s, struct statedb_later *l);
	void (*free)(struct statedb_later *l);
	struct statedb_later *next;
};
void statedb_later(struct statedb *s, struct statedb_later *l);
/* Commit what statedb_later() has left, if there is some. 0, or negative errno: it is dropped. */
int statedb_flush(struct statedb *s);

/* Take the lock without a transaction, for reading. */
void statedb_lock(struct statedb *s);
void statedb_unlock(struct statedb *s);

/*
 * Wait until commit `seq` and all before it survive a power cut. Blocks on the disk: call it
 * without locks. One sync serves all waiting callers.
 */
int statedb_sync(struct statedb *s, uint64_t seq);
/* Make all commits durable on the store's own thread; wait for nothing. */
void statedb_sync_soon(struct statedb *s);
/* Return the number of the last commit. statedb_sync(s, statedb_seq(s)) makes all durable. */
uint64_t statedb_seq(struct statedb *s);
/* Return 0, or the final error that every change gets from now on. */
int statedb_error(struct statedb *s);

/*
 * Copy the WAL into the database if it holds 1 MiB or more, and begin it anew. Commits go on. The
 * store's own thread calls it after a second without commits, or at 64 MiB. -EAGAIN: the disk is
 * slow, or commits come too fast: the WAL goes on as it is.
 */
int statedb_idle(struct statedb *s);

/* ---- SQL; for fs/state only ---- */

enum statedb_kind { STATEDB_END, STATEDB_INT, STATEDB_TEXT, STATEDB_BLOB };

struct statedb_value {
	enum statedb_kind kind;
	int64_t number;	  /* of a blob: its bytes */
	const char *text; /* NULL is SQL's NULL */
};

static inline struct statedb_value statedb_int(int64_t number)
{
	return (struct statedb_value){ .kind = STATEDB_INT, .number = number };
}

static inline struct statedb_value statedb_text(const char *text)
{
	return (struct statedb_value){ .kind = STATEDB_TEXT, .text = text };
}

/* bytes: not NULL */
static inline struct statedb_value statedb_blob(const void *bytes, size_t len)
{
	return (struct statedb_value){ .kind = STATEDB_BLOB,
				       .number = (int64_t)len,
				       .text = (const char *)bytes };
}

/* The values of ?1, ?2, ... */
#define STATEDB_ARGS(...) ((const struct statedb_value[]){ __VA_ARGS__, { .kind = STATEDB_END } })

/* Run statements that define tables. Takes the lock. */
int statedb_define(struct statedb *s, const char *sql);

/*
 * Run one statement inside a transaction. sql is a string constant: it is prepared once and found
 * by its address. args may be NULL. *ret_changed (may be NULL) is the number of changed rows.
 * -EEXIST: a constraint refused.
 */
int statedb_run(struct statedb *s, const char *sql, const struct statedb_value *args,
		int *ret_changed);

/*
 * Call fn for each row; the caller holds the lock. A non-zero value from fn stops the loop and is
 * returned. fn may not use the store.
 */
struct statedb_row;
int statedb_each(struct statedb *s, const char *sql, const struct statedb_value *args,
		 int (*fn)(void *arg, const struct statedb_row *row), void *arg);
int64_t statedb_row_int(const struct statedb_row *row, int column);
const char *statedb_row_text(const struct statedb_row *row,
			     int column); /* valid until fn returns; or NULL */
/* The same of a blob and its length; NULL if it is empty. */
const void *statedb_row_blob(const struct statedb_row *row, int column, size_t *ret_len);
/* Return a copy, which the caller frees; NULL: SQL's NULL, or no memory. */
char *statedb_row_dup(const struct statedb_row *row, int column);
bool statedb_row_null(const struct statedb_row *row, int column);

#endif
