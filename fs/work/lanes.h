/*
 * lanes: MD5 of stretches of several files at once, as a crew of the pool. Each file has a lane.
 * In turn, a piece of each file is read, and all pieces go through MD5 side by side; a lane whose
 * stretch is done is given back at once, and the next file in the queue takes it.
 */
#ifndef UPLOADFS_FS_WORK_LANES_H
#define UPLOADFS_FS_WORK_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/work/pool.h"
#include "net/base/digest.h"
#include "net/base/jsonl.h"

/* Bytes [pos, end) of fd are due, for d and for the check of lines (NULL: none). */
struct lane_stretch {
	int fd;
	struct digest *d;
	struct jsonl *lines;
	uint64_t pos, end;
};

/* Embedded in its owner. Both functions run on a worker and block on locks at most. */
struct lane_job {
	struct hash_job job; /* by lane_job_init(); pool_queue() and pool_remove() */
	/* Say what to hash now, some MiB at most. False: nothing. end() follows in both cases. */
	bool (*begin)(struct lane_job *j, struct lane_stretch *ret);
	/*
	 * The lane is over. d and lines have the bytes up to pos: not all where the job is to leave
	 * the pool.
	 * err: 0, -ENODATA (fd ends before), or another negative errno: then the state of d is
	 * undefined. Returns true if there is more to hash now.
	 */
	bool (*end)(struct lane_job *j, uint64_t pos, int err);
};

/* Zero job, and set the rest. */
void lane_job_init(struct lane_job *j);

#endif
