/*
 * store_impl: shared by store_error.c (errors), store_room.c (room in the WAL), store.c
 * (transactions, SQL), store_later.c (changes that join them), store_wal.c (syncs, its thread),
 * store_copy.c (the copy of the WAL into the database) and store_open.c (opening, damage). Private
 * to these. Lock order: store.lock, then store.copy_lock, then store.wal_lock.
 */
#ifndef UPLOADFS_FS_STATE_STORE_IMPL_H
#define UPLOADFS_FS_STATE_STORE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/state/store.h"

#define STATEDB_STATEMENTS_MAX 128
#define STATEDB_UUID_SIZE 33
/*
 * Keeps other processes out, and the WAL's index in memory: no shared memory is needed, and
 * connections of this process go together.
 */
#define STATEDB_VFS "unix-excl"
#define WAL_HEAD_BYTES 32
#define WAL_FRAME_BYTES (24 + 4096) /* of a page */

struct statedb_prepared {
	const char *sql; /* the caller's constant; found by its address */
	sqlite3_stmt *stmt;
};

struct statedb {
	char *path; /* of state.db */
	char uuid[STATEDB_UUID_SIZE];
	bool intact;

	pthread_mutex_t lock; /* protects the connection and the fields below */
	sqlite3 *db;
	struct statedb_prepared prepared[STATEDB_STATEMENTS_MAX];
	unsigned prepared_count;
	int failed;		      /* the first error of a statement in this transaction */
	struct statedb_later *joined; /* of others, in this transaction */

	uint64_t wal_size; /* allocated bytes of the WAL, as far as we grew it; 0: never grown */
	uint64_t full_ms;  /* clock_mono_ms() of the last checkpoint that failed on a full disk */

	/* Our own descriptor of the WAL, for syncs outside the lock. Close it only after db. */
	int wal_fd;

	/* Two more connections, so that the copy into the database needs no lock of commits. */
	pthread_mutex_t copy_lock; /* protects the fields below */
	sqlite3 *keeper;	   /* copies the WAL into the database */
	sqlite3 *pin;		   /* reads: while pinned, a commit can't begin the WAL anew */
	bool pinned;
	uint64_t copied; /* bytes of the WAL that are in the database; while pinned */

	pthread_mutex_t wal_lock;    /* protects the fields below */
	pthread_cond_t synced;	     /* signals changes of durable, syncing, broken */
	pthread_cond_t work;	     /* wakes the thread: stop, or a checkpoint is due */
	uint64_t committed;	     /* number of the last commit */
	uint64_t durable;	     /* commits up to this one survive a power cut */
	uint64_t wal_bytes;	     /* used in the WAL since its last checkpoint */
	bool syncing;		     /* a thread is in fdatasync() */
	int broken;		     /* 0, or -EIO, which is final */
	struct statedb_later *later; /* for the next transaction, oldest first */
	bool sync_now;		     /* the thread is to sync the WAL */
	bool stop;
	bool has_thread;
	pthread_t thread;
};

/* store.c */
/* Prepare the rollback, which then needs no memory. 0 or negative errno. */
int statedb_prepare(struct statedb *s);

/* store_error.c */
/*
 * Return the negative errno for a code of SQLite; break the store if the error is final. Under
 * lock.
 */
int statedb_failed(struct statedb *s, int code);
/* The same for another connection, under its lock. */
int statedb_failed_at(struct statedb *s, sqlite3 *db, int code);
/* Refuse every change from now on. */
void statedb_break(struct statedb *s, const char *what);

/* store_later.c */
/* Run what statedb_later() left, in a transaction that has just begun. 0 or negative errno. */
int statedb_join(struct statedb *s);
/* The transaction has ended: what joined it is done, or waits for the next. Under lock. */
void statedb_end_joined(struct statedb *s, bool committed);
bool statedb_has_later(struct statedb *s);
struct statedb_later *statedb_take_later(struct statedb *s);
/* Free them, undone if err. */
void statedb_drop_later(struct statedb_later *all, int err);

/* store_room.c */
/*
 * Make room in the WAL for one transaction: grow it, or empty it where the disk is full. freeing:
 * the transaction may use the reserve, and is never refused. 0; -ENOSPC, -EDQUOT, -EFBIG: only the
 * reserve is left. Under lock. Blocks on the disk only where that is nearly full.
 */
int statedb_make_room(struct statedb *s, bool freeing);
/* After it: true if the transaction needs nothing of the reserve. Under lock. */
bool statedb_beyond_reserve(struct statedb *s);
/* store_copy.c */
int statedb_copy_open(struct statedb *s); /* call after the first read of the database */
void statedb_copy_close(struct statedb *s);
/* The database grows in steps of so many bytes. Under lock. */
void statedb_copy_steps(struct statedb *s, int bytes);
/*
 * Copy into the database what the WAL holds, and sync that, without the lock: commits go on, and
 * append to the WAL. 0 or negative errno. *ret_left: bytes that came meanwhile.
 */
int statedb_copy_ahead(struct statedb *s, uint64_t *ret_left);
/* Copy the rest, and let the next commit begin the WAL anew. Under lock. 0 or negative errno. */
int statedb_copy_rest(struct statedb *s);

/* store_wal.c */
int statedb_wal_start(struct statedb *s); /* call after the first read of the database */
void statedb_wal_stop(struct statedb *s); /* ends the thread; the descriptor stays open */

#endif
