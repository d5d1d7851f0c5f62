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
#include "fs/work/pool.h"

#define STAGED_ID_LEN 16    /* hex digits */
#define STAGED_NAME_SIZE 32 /* ID with an ending, and NUL */
#define STAGED_DATA ".data" /* the ending of a data file */
#define STAGED_COPY ".copy" /* of data that is copied anew, after a failed sync */

struct staging {
	int dirfd; /* locked with flock() */
	uint64_t part_size, size_max, reserve;
	struct pool *pool;
	struct statedb *db;
	struct hash_job unlinking;
	bool write_back;	/* begin to write bytes back while they come */
	atomic_bool dir_broken; /* a sync of the directory failed: never believe a later one */

	pthread_mutex_t lock;  /* of what follows */
	struct pool *disk;     /* or NULL: data is unlinked at once */
	struct doomed *doomed; /* data to unlink once the commits up to now are durable */
	uint64_t used;	       /* bytes of all staged files */
	unsigned files;
	uint64_t room;	   /* bytes that may still be written before the disk is asked again */
	uint64_t asked_ms; /* when it was asked last, clock_mono_ms() */
};

/* ret: id and ending. */
void staging_name(char ret[STAGED_NAME_SIZE], const char *id, const char *ending);
/* True if id is STAGED_ID_LEN hex digits. */
bool staging_id_valid(const char *id);
/*
 * Take growth bytes from the area, and see that the disk has room for fresh bytes about to be
 * written. 0 or -ENOSPC: nothing is taken.
 */
int staging_charge(struct staging *sg, uint64_t growth, uint64_t fresh);
/* Count bytes that are there already, even past the maximum. */
void staging_adopt(struct staging *sg, uint64_t bytes);
/* Give bytes back to the area. */
void staging_release(struct staging *sg, uint64_t bytes);
/* Count one file more or less: +1 or -1. */
void staging_count(struct staging *sg, int files);
/*
 * Unlink ID.data once all commits up to now are durable, on the disk worker if there is one. The
 * caller has committed files_doom().
 */
void staging_doom(struct staging *sg, const char *id);

#endif
