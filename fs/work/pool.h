/*
 * pool: worker threads with a queue of jobs.
 *
 * A job is queued when it has something to do; one worker at a time takes it, does a bounded
 * stretch, and puts it back while there is more, so that many jobs take turns. A crew is one worker
 * with several jobs of a kind at once; it takes more of them from the queue while it runs.
 */
#ifndef UPLOADFS_FS_WORK_POOL_H
#define UPLOADFS_FS_WORK_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define POOL_WIDTH_MAX 16

struct pool;

/* threads: 1..8. 0, -EINVAL, -ENOMEM or -EAGAIN. The other functions: any thread. */
int pool_new(unsigned threads, struct pool **ret);
/* Joins the threads; queued work is dropped. NULL is a no-op. */
void pool_free(struct pool *h);

/*
 * A piece of work, embedded in its owner, zeroed but for run, or crew and width. A job that is
 * queued again while it runs is run again. Both functions run on a worker, with 1 MiB of stack for
 * buffers.
 */
struct hash_job {
	/* A bounded stretch (some MiB). Returns true when there is more to do now. */
	bool (*run)(struct hash_job *job);
	/*
	 * Or, with run NULL: do job, and up to width - 1 others that pool_take() returns, and hand
	 * each back by pool_give() once its stretch is done. Returns without any.
	 */
	void (*crew)(struct pool *h, struct hash_job *job);
	unsigned width; /* the same for all jobs of a pool that have a crew; 1..POOL_WIDTH_MAX */
	/*
	 * NULL or a callback. Runs on the worker once run() reported no more work and the job was
	 * not queued again. The pool has let go of the job, so the callback may free it.
	 */
	void (*ended)(struct hash_job *job);
	struct hash_job *next; /* pool's, as all that follows; under its lock */
	enum { POOL_NO, POOL_LATER, POOL_NOW } queued, again;
	bool running, removing;
};
void pool_queue(struct pool *h, struct hash_job *job);
/*
 * The same for a job that can wait for company: it runs once any job of the pool is queued by
 * pool_queue(), or half a crew waits so. A crew that is full takes the least time for each job.
 */
void pool_queue_later(struct pool *h, struct hash_job *job);
/* In crew() only. The next job in the queue, which now runs; NULL: none, or it has no crew. */
struct hash_job *pool_take(struct pool *h);
/* In crew() only. job has run; more: it has more to do. The crew forgets it. */
void pool_give(struct pool *h, struct hash_job *job, bool more);
/* In crew() only. True if the job is to be handed back at once. */
bool pool_unwanted(struct pool *h, const struct hash_job *job);
/*
 * Takes the job out; returns when it is neither queued nor running (so it may
 * wait for one stretch). Not from run() or crew(). The job may be queued anew afterwards.
 */
void pool_remove(struct pool *h, struct hash_job *job);

/* Returns the number of jobs that wait for a worker, or for company. */
unsigned pool_length(struct pool *h);

#endif
