/*
 * shared_job: what a worker of `shared` does for one File in the shared directory.
 *
 * One thread at a time has a job; stop, alive_ms and progress are for any thread. Every function
 * blocks as long as the file system does, perhaps for ever.
 */
#ifndef UPLOADFS_FS_CONTENT_SHARED_JOB_H
#define UPLOADFS_FS_CONTENT_SHARED_JOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/content/shared_dir.h"
#include "net/base/digest.h"

#define SHARED_BEAT_MS 1000 /* from one sign of life in the lock to the next */

struct shared_job {
	const char *dir;	 /* outlives the job */
	atomic_ullong *clean_ms; /* outlives it too: when dead hosts' files are looked for next */
	struct shared_name name;
	uint64_t bytes;
	char md5[DIGEST_HEX_SIZE];
	atomic_bool stop;	       /* ends a copy */
	atomic_uint_fast64_t alive_ms; /* when a copy last got along */
	atomic_uint_fast64_t progress; /* bytes of the download */
	bool locked;		       /* the lock is ours: we are to download it */
	char token[SHARED_TOKEN_SIZE];
	/* private */
	char holder[SHARED_TOKEN_SIZE];
	uint64_t beaten, waiting_ms, holder_at, gained;
	unsigned idle;
};

/*
 * Copy the content to fd. 0; -ENOENT: download it, perhaps with our lock; -EAGAIN: another host
 * downloads it, ask again; another negative errno.
 */
int shared_job_look(struct shared_job *j, int fd);
/* Store the content that stands in fd. 0 or negative errno. */
int shared_job_store(struct shared_job *j, int fd);
/* Content was stored: remove, every few hours, what dead hosts left beside it. */
void shared_job_clean(struct shared_job *j);
/* Tell the progress in the lock; give it up if the download stands still. */
void shared_job_beat(struct shared_job *j);
/* Give the lock back, if it is ours. */
void shared_job_unlock(struct shared_job *j);

#endif
