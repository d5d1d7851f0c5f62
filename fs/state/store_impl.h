/*
 * store_impl: shared by store_error.c (errors), store_room.c (room in the WAL), store.c
 * (transactions, SQL), store_wal.c (syncs, its thread) and store_open.c (opening, damage). Private
 * to these. Lock order: store.lock, then store.wal_lock.
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
	int failed; /* the first error of a statement in this transaction */

	uint64_t wal_size; /* allocated bytes of the WAL, as far as we grew it; 0: never grown */
	uint64_t full_ms;  /* clock_mono_ms() of the last checkpoint that failed on a full disk */

	/* Our own descriptor of the WAL, for syncs outside the lock. Close it only after db. */
	int wal_fd;

	pthread_mutex_t wal_lock; /* protects the fields below */
	pthread_cond_t synced;	  /* signals changes of durable, syncing, broken */
	pthread_cond_t work;	  /* wakes the thread: stop, or a checkpoint is due */
	uint64_t committed;	  /* number of the last commit */
	uint64_t durable;	  /* commits up to this one survive a power cut */
	uint64_t wal_bytes;	  /* used in the WAL since its last checkpoint */
	bool syncing;		  /* a thread is in fdatasync() */
	int broken;		  /* 0, or -EIO, which is final */
	bool grown;		  /* the WAL was grown and not synced since */
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
/* Refuse every change from now on. */
void statedb_break(struct statedb *s, const char *what);

/* store_room.c */
/*
 * Make room in the WAL for one transaction: grow it, or empty it where the disk is full. freeing:
 * the transaction may use the reserve, and is never refused. 0; -ENOSPC, -EDQUOT, -EFBIG: only the
 * reserve is left. Under lock. Blocks on the disk only where that is nearly full.
 */
int statedb_make_room(struct statedb *s, bool freeing);
/*
 * Copy the WAL into the database; the next commit begins it anew, in the space that it has. 0 or
 * negative errno. Under lock.
 */
int statedb_empty_wal(struct statedb *s);

/* store_wal.c */
int statedb_wal_start(struct statedb *s); /* call after the first read of the database */
void statedb_wal_stop(struct statedb *s); /* ends the thread; the descriptor stays open */

#endif
