/*
 * shared: content of Files in a directory that hosts share, looked at before the service is asked.
 *
 * Threads of its own touch the directory, since a file server may hang; one more thread gives a
 * look-up up that hangs. While a thread hangs nothing else is looked up. A mount that downloads
 * holds a lock there, a file that tells its progress; others wait for it within a limit.
 *
 * Any thread; never blocks unless said otherwise.
 */
#ifndef UPLOADFS_FS_CONTENT_SHARED_H
#define UPLOADFS_FS_CONTENT_SHARED_H

#include <stdint.h>

#define SHARED_HANG_MS 5000  /* without progress: a look-up is given up */
#define SHARED_WAIT_MS 10000 /* for another's download, and more while it gets along */
#define SHARED_PACE 4194304  /* bytes a second of it that earn more waiting */
#define SHARED_IDLE_BEATS 3  /* seconds without progress after which our lock is given up */

struct shared;
struct shared_file;

/*
 * Start the threads, and look at the directory: blocks for SHARED_HANG_MS at most. service: its
 * name tells its Files from those of others. 0; -ENOTDIR, -EPERM (every user may write there), or
 * another negative errno. A directory that hangs is 0.
 */
int shared_open(const char *dir, const char *service, struct shared **ret);
/*
 * Answer look-ups by -ECANCELED, finish what is being stored within a few seconds, give the locks
 * back. No callback runs afterwards, or is called for a later shared_get(). NULL is a no-op.
 */
void shared_stop(struct shared *s);
/* After shared_stop(), and shared_end() of every file. A thread that hangs is left. NULL: no-op. */
void shared_close(struct shared *s);

/* NULL: its File can't be shared, or no memory. md5: "" if not known. End it by shared_end(). */
struct shared_file *shared_begin(struct shared *s, const char *file_id, uint64_t bytes,
				 const char *md5);
/*
 * Look for the content and copy it to fd (the caller's, who may close it). cb is called once, from
 * another thread, perhaps before this returns: 0: all of it stands in fd, and is as right as it
 * can be known to be; a negative errno: fetch it; -ECANCELED after shared_cancel() or
 * shared_stop(). Negative errno: cb is not called. Once for each file.
 */
typedef void shared_cb(void *arg, int err);
int shared_get(struct shared_file *f, int fd, shared_cb *cb, void *arg);
/* Nobody wants the answer of shared_get() any more. */
void shared_cancel(struct shared_file *f);
/* The download brought so many bytes more. */
void shared_progress(struct shared_file *f, uint64_t bytes);
/* Store the whole content, which stands in fd (the caller's, who may close it) and stays. */
void shared_put(struct shared_file *f, int fd);
/* Not while a callback is due. What shared_put() was told goes on. NULL is a no-op. */
void shared_end(struct shared_file *f);

#endif
