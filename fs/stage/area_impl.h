/*
 * area_impl: struct staging, and its counts of bytes and files, for fs/stage only.
 *
 * Lock order: staged.sync_lock, staged.record_lock, staged.lock, staging.lock, the pool's own; none
 * of them is held in a hook.
 */
#ifndef UPLOADFS_FS_STAGE_AREA_IMPL_H
#define UPLOADFS_FS_STAGE_AREA_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/stage/area.h"
#include "fs/state/data.h"
#include "fs/work/pool.h"

struct staging {
	struct datadir *data;
	atomic_bool dir_broken; /* a sync of data/ failed: never believe a later one */
	uint64_t part_size, size_max, reserve;
	struct pool *pool;
	struct statedb *db;

	pthread_mutex_t lock; /* of what follows */
	struct pool *disk;    /* or NULL: write-back is left to the kernel */
	uint64_t used;	      /* bytes of all staged files */
	unsigned files;
	uint64_t room;	   /* bytes that may still be written before the disk is asked again */
	uint64_t asked_ms; /* when it was asked last, clock_mono_ms() */
};

/*
 * Take growth bytes from the area, and see that the disk has room for fresh bytes about to be
 * written. 0 or -ENOSPC: nothing is taken.
 */
int staging_charge(struct staging *sg, uint64_t growth, uint64_t fresh);
/* Count bytes that are there already, even past the maximum. */
void staging_adopt(struct staging *sg, uint64_t bytes);
/* Give bytes back to the area. */
void staging_release(struct staging *sg, uint64_t bytes);
/* Number of staged files. */
unsigned staging_files(struct staging *sg);
/* Count one file more or less: +1 or -1. */
void staging_count(struct staging *sg, int files);

#endif
