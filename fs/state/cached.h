/*
 * cached: rows of cached content. Table cached: File id → data file, and what is known of it. A
 * staged file becomes cached content by one transaction: files_drop() and cached_put(). The data
 * file keeps its name.
 *
 * Functions marked "in a transaction" are called between statedb_begin() and statedb_commit();
 * after an error the commit fails with it. The others take the lock of the store. Threads: any.
 * Blocks as statedb_commit() does.
 */
#ifndef UPLOADFS_FS_STATE_CACHED_H
#define UPLOADFS_FS_STATE_CACHED_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/state/data.h"
#include "net/base/digest.h"

struct statedb;

struct cached {
	char data[DATA_ID_SIZE];   /* id of the data file */
	uint64_t bytes;		   /* its whole size */
	char md5[DIGEST_HEX_SIZE]; /* of its bytes; "": unknown */
	bool synced;		   /* the bytes are on stable storage */
	char era[DATA_ERA_SIZE];   /* datadir_era() when they were written; "": unknown */
	int64_t used_s;		   /* time of the last use, seconds since the epoch */
};

/* Set the strings of c; md5 may be "". */
void cached_fill(struct cached *c, const char *data, const char *md5, const char *era);

/* Make the missing table. Call once, before all else. */
int cached_define(struct statedb *db);

/* In a transaction: make c the content of file_id; doom the data of a former row (files_doom()). */
int cached_put(struct statedb *db, const char *file_id, const struct cached *c);
/* In a transaction: if data is the content of file_id, drop the row and doom the data. */
int cached_drop(struct statedb *db, const char *file_id, const char *data);
/* In a transaction: note the time of the last use. Without a row nothing happens. */
int cached_touch(struct statedb *db, const char *file_id, int64_t used_s);
/* In a transaction: note that data was read back right, so that it is on stable storage. */
int cached_set_synced(struct statedb *db, const char *file_id, const char *data);

/* True if data is the content of a File, or the store can't be read. */
bool cached_has_data(struct statedb *db, const char *data);
/*
 * Call fn for each row, the least recently used first. The caller holds the lock of the store; fn
 * may not use the store. Stop at fn's error and return it.
 */
int cached_each(struct statedb *db,
		int (*fn)(void *arg, const char *file_id, const struct cached *c), void *arg);

#endif
