/*
 * source: guess a file's final size from the file that its writer copies from.
 *
 * The guess comes in three steps. predict_begin() copies what was written.
 * predict_note() reads /proc/TID/fdinfo while the writer waits for the reply to
 * its write. predict_finish() looks at the one file found. The last two may hang
 * for ever, in a foreign file system or in the lock of another thread of the
 * writer's (an epoll that asks a file): only the scout (fs/proc/scout.h) calls
 * them. None is called with a lock held.
 *
 * Nothing the writer may not read himself is read for him: see predict_finish().
 */
#ifndef UPLOADFS_FS_PROC_SOURCE_H
#define UPLOADFS_FS_PROC_SOURCE_H

#include <stdint.h>
#include <sys/types.h>

struct predict_query {
	pid_t tid; /* the writing process, which outlives its threads; or a thread of it */
	uid_t uid; /* its user and group, as FUSE names them */
	gid_t gid;
	int staged_fd;	/* our bytes so far; not used after predict_begin() */
	uint64_t start; /* offset in bytes where the last write began */
	uint64_t end;	/* offset where it ended */
	dev_t own_dev;	/* st_dev of the mount; 0: unknown, then only local disks count */
};

/* A look that has begun: holds a descriptor of /proc/TID, and two samples of our bytes. */
struct predict_look;

/*
 * Begins a look at the thread: 0 and a look that the caller frees; -ENOENT: no
 * guess; -ENOMEM. Blocks on nothing but the local disk.
 */
int predict_begin(const struct predict_query *q, struct predict_look **ret);

/*
 * Notes position and mount of each file the thread has open for reading. 0;
 * -ENOENT: no guess, also for a process with more than 256 descriptors; -EACCES:
 * the process can't be looked at; -ENOMEM. Call once, while the writer waits for
 * the reply. May block for ever.
 */
int predict_note(struct predict_look *l);

/*
 * 0 and the predicted size when the thread has exactly one regular file open
 * for reading, and either its position at predict_note() equals end, or that
 * position was 0 (sendfile, copy_file_range, mmap) and its bytes equal ours at
 * the beginning and at end. Files on the mount itself, empty ones (/proc and
 * /sys among them) and those open for appending don't count. The size is at
 * least end and above 0. -ENOENT: no guess.
 *
 * By position, no byte of the file is read. Bytes are compared on the writer's
 * own descriptor, received by pidfd_getfd(), never by opening the file again,
 * and only if all of this holds: the descriptor is open for reading, on a
 * regular file of a file system that is local by fstatfs(); the mode of the
 * file lets the writer's user read it; all four user IDs of the process are
 * that user's. Where the kernel refuses the descriptor, no bytes are compared.
 * May block for ever on the file's file system.
 */
int predict_finish(const struct predict_look *l, uint64_t *ret_size);

void predict_free(struct predict_look *l); /* NULL is a no-op */

#endif
