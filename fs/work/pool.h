/*
 * pool: the digest workers. MD5 of staged files on threads of their own,
 * following the contiguous bytes as they are written.
 *
 * A staged file is queued when it has bytes to hash; one worker at a time
 * takes it, reads a stretch, and puts it back while there is more, so that
 * many files take turns. Snapshots of the MD5 state are kept every
 * POOL_SNAPSHOT bytes, so that a rewrite hashes again only from the snapshot
 * before its first byte.
 */
#ifndef UPLOADFS_FS_WORK_POOL_H
#define UPLOADFS_FS_WORK_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_SNAPSHOT (16ULL << 20) /* bytes between two snapshots */

struct pool;

/* threads: 1..8. 0, -EINVAL, -ENOMEM or -EAGAIN. The other functions: any thread. */
int pool_new(unsigned threads, struct pool **ret);
/* Joins the threads; queued work is dropped. NULL is a no-op. */
void pool_free(struct pool *h);

/*
 * A piece of hashing work, embedded in its owner, zeroed but for run. run() does a bounded stretch
 * (some MiB) on a worker and returns true when there is more to do now; it has 1 MiB of stack for
 * its buffer. A job that is queued again while it runs is run again.
 */
struct hash_job {
	bool (*run)(struct hash_job *job);
	/*
	 * NULL or a callback. Runs on the worker once run() reported no more work and the job was
	 * not queued again. The pool has let go of the job, so the callback may free it.
	 */
	void (*ended)(struct hash_job *job);
	struct hash_job *next;		       /* pool's */
	bool queued, running, again, removing; /* pool's, under its lock */
};
void pool_queue(struct pool *h, struct hash_job *job);
/*
 * Takes the job out; returns when it is neither queued nor running (so it may
 * wait for one stretch). Not from run(). The job may be queued anew afterwards.
 */
void pool_remove(struct pool *h, struct hash_job *job);

/* Returns the number of jobs that wait for a worker. */
unsigned pool_length(struct pool *h);

#endif
