/*
 * store_impl: what store.c (transactions, SQL), store_open.c (opening, damage)
 * and store_wal.c (syncs, checkpoints) share. Nobody else includes it.
 *
 * Lock order: store.lock, then store.wal_lock.
 */
#ifndef UPLOADFS_FS_STATE_STORE_IMPL_H
#define UPLOADFS_FS_STATE_STORE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/state/store.h"

#define STATEDB_STATEMENTS_MAX 64
#define STATEDB_UUID_SIZE 33

struct statedb_prepared {
	const char *sql; /* the caller's constant; known by its address */
	sqlite3_stmt *stmt;
};

struct statedb {
	char *path; /* of state.db */
	char uuid[STATEDB_UUID_SIZE];
	bool intact;

	pthread_mutex_t lock; /* of the connection and of what follows */
	sqlite3 *db;
	struct statedb_prepared prepared[STATEDB_STATEMENTS_MAX];
	unsigned prepared_count;
	int failed; /* the first error of a statement in this transaction */

	/* Our own descriptor of the WAL, for syncs outside the lock. Open until db is closed. */
	int wal_fd;

	pthread_mutex_t wal_lock; /* of what follows */
	pthread_cond_t synced;	  /* durable, syncing or broken changed */
	pthread_cond_t work;	  /* for the thread: stop, or something to checkpoint */
	uint64_t committed;	  /* number of the last commit */
	uint64_t durable;	  /* commits up to this one survive a power cut */
	uint64_t wal_bytes;	  /* in the WAL since its last checkpoint */
	bool syncing;		  /* a thread is in fdatasync() */
	int broken;		  /* 0, or -EIO for good */
	bool grown;		  /* and not synced yet */
	bool stop;
	bool has_thread;
	pthread_t thread;
};

/* store.c */
/* The negative errno for a code of SQLite; breaks the store where that is final. Under lock. */
int statedb_failed(struct statedb *s, int code);
/* From now on every change is refused. */
void statedb_break(struct statedb *s, const char *what);

/* store_wal.c */
int statedb_wal_start(struct statedb *s); /* after the first read of the database */
void statedb_wal_stop(struct statedb *s); /* ends the thread; the descriptor stays open */

#endif
