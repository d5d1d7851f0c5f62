/*
 * sync: bring the staged data to stable storage, on the disk worker.
 */
#ifndef UPLOADFS_FS_PUBLISH_SYNC_H
#define UPLOADFS_FS_PUBLISH_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/work/pool.h"

struct event;
struct publish;

/* The staged data on its way to stable storage. */
struct sync {
	bool under_way;	  /* job is queued or runs, and has a reference */
	int err;	  /* of the last one, for these bytes; 0: none failed */
	uint32_t started; /* round when job was queued */
	uint32_t round;	  /* a sync of an earlier round says nothing about the bytes now */
	struct event *ev; /* of its end, while the job has not run; owned */
	struct hash_job job;
};

/*
 * Queue the sync and reference p; EV_SYNCED tells the end. Without memory the sync has failed.
 * Publisher thread.
 */
void publish_act_sync(struct publish *p);
/*
 * Remove the sync from the queue, waiting if it runs, and drop its reference. No-op without one.
 * Publisher thread, or after its end.
 */
void publish_end_sync(struct publish *p);

#endif
