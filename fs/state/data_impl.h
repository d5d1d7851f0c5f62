/*
 * data_impl: struct datadir, for data.c (its files) and data_open.c (opening, clearing up).
 */
#ifndef UPLOADFS_FS_STATE_DATA_IMPL_H
#define UPLOADFS_FS_STATE_DATA_IMPL_H

#include <pthread.h>

#include "fs/state/data.h"
#include "fs/work/pool.h"

struct datadir {
	int fd; /* locked with flock() */
	struct statedb *db;
	char era[DATA_ERA_SIZE];
	struct hash_job unlinking;

	pthread_mutex_t lock;  /* a leaf, but for the pool's; protects the fields below */
	struct pool *disk;     /* or NULL: data is unlinked at once */
	struct doomed *doomed; /* data to unlink once the commits up to now are durable */
};

/* data.c: a datadir without a directory yet; free it by datadir_close(). NULL: out of memory. */
struct datadir *data_new(struct statedb *db);

#endif
