/*
 * store: STATE_DIR/state.db, the SQLite database of what a mount must know again.
 *
 * Every change is a transaction. store_commit() returns once the change
 * survives kill -9; store_sync() returns once it survives a power cut. attrs.h
 * and files.h define the tables; no other folder writes SQL, and no other file
 * includes sqlite3.h.
 *
 * Threads: any. store_begin() and store_lock() take the one lock of the
 * connection, a leaf below vfs.lock: take no other lock under it, except the
 * private ones of fs/state. A commit writes a few pages to the page cache. It
 * waits for the disk only while a checkpoint runs, on the store's own thread.
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

struct store;

/*
 * Opens dir/state.db, or makes it (0600); dir exists. A damaged database is
 * renamed to state.db.damaged-TIME with its WAL, and a new one is made.
 * -EBUSY: another process has it open. -EPROTONOSUPPORT: made by a later
 * version. -EBADMSG: not a regular file. -EIO, -ENOMEM, -ENOSPC, ...
 */
int store_open(const char *dir, struct store **ret);
void store_close(struct store *s); /* checkpoints; NULL is a no-op */

/* False: a damaged database was set aside at the open, so rows may be missing. */
bool store_is_intact(const struct store *s);
/* 32 hex digits, made with the database; valid as long as s. */
const char *store_uuid(const struct store *s);

/*
 * A transaction: begin takes the lock; commit and rollback release it, also on
 * error. A commit after a failed statement rolls back and returns the
 * statement's error. *ret_seq (may be NULL) is the number for store_sync().
 */
int store_begin(struct store *s);
int store_commit(struct store *s, uint64_t *ret_seq);
void store_rollback(struct store *s);

/* The lock without a transaction, for reading. */
void store_lock(struct store *s);
void store_unlock(struct store *s);

/*
 * Waits until the commit with that number, and those before it, survive a
 * power cut. Blocks on the disk: call it without locks. One sync serves all
 * callers that wait.
 */
int store_sync(struct store *s, uint64_t seq);
/* The number of the last commit. store_sync(s, store_seq(s)) makes all of them durable. */
uint64_t store_seq(struct store *s);
/* 0, or the errno that every change gets from now on. */
int store_error(struct store *s);

/*
 * Copies the WAL into the database if it holds 1 MiB or more. Takes up to some
 * hundred ms, during which commits wait. The store's own thread calls it when
 * no commit came for a second, or at 64 MiB.
 */
int store_idle(struct store *s);

/* ---- SQL; for fs/state only ---- */

enum store_kind { STORE_END, STORE_INT, STORE_TEXT };

struct store_value {
	enum store_kind kind;
	int64_t number;
	const char *text; /* NULL is SQL's NULL */
};

static inline struct store_value store_int(int64_t number)
{
	return (struct store_value){ .kind = STORE_INT, .number = number };
}

static inline struct store_value store_text(const char *text)
{
	return (struct store_value){ .kind = STORE_TEXT, .text = text };
}

/* The values of ?1, ?2, ... */
#define STORE_ARGS(...) ((const struct store_value[]){ __VA_ARGS__, { .kind = STORE_END } })

/* Runs statements that define tables; takes the lock itself. */
int store_define(struct store *s, const char *sql);

/*
 * Runs one statement inside a transaction. sql is a string constant: it is
 * prepared once and known by its address. args may be NULL. *ret_changed (may
 * be NULL) is the number of rows it changed. -EEXIST: a constraint refused.
 */
int store_run(struct store *s, const char *sql, const struct store_value *args, int *ret_changed);

/*
 * Calls fn for each row, under the lock, which the caller holds. A value other
 * than 0 from fn ends it and is returned. fn may not use the store.
 */
struct store_row;
int store_each(struct store *s, const char *sql, const struct store_value *args,
	       int (*fn)(void *arg, const struct store_row *row), void *arg);
int64_t store_row_int(const struct store_row *row, int column);
const char *store_row_text(const struct store_row *row, int column); /* until fn returns; or NULL */
bool store_row_null(const struct store_row *row, int column);

#endif
