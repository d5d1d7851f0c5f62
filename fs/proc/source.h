/*
 * source: guess a file's final size from the file that its writer copies from.
 *
 * Reads /proc/PID/fd, fdinfo and at most a few KiB of one source file; blocks
 * on procfs and the local disk only: a source on a FUSE mount (ours above all)
 * or a network file system is never read, stat()ed only from the kernel's
 * cache (AT_STATX_DONT_SYNC), and never when it lies on the mount itself.
 * Any thread, but only while the writer waits for the reply to its write, and
 * with no lock held: /proc/PID/fd of a process inside execve() blocks until its
 * close-on-exec files were closed, and that may wait for one of our replies.
 */
#ifndef UPLOADFS_FS_PROC_SOURCE_H
#define UPLOADFS_FS_PROC_SOURCE_H

#include <stdint.h>
#include <sys/types.h>

struct predict_query {
	pid_t tid;	/* the writing thread, as FUSE names it */
	int staged_fd;	/* our bytes so far */
	uint64_t start; /* offset in bytes where the last write began */
	uint64_t end;	/* offset where it ended */
	dev_t own_dev;	/* st_dev of the mount; 0: unknown, then only local disks count */
};

/*
 * 0 and the predicted size when exactly one regular file is open for reading
 * there and either its position equals end, or it was not moved (pos 0:
 * sendfile, copy_file_range, mmap), it lies on a local disk, and its bytes
 * equal ours at the beginning and at end. Files on the mount itself, empty
 * ones (/proc and /sys among them) and those open for appending don't count.
 * The size is at least end and above 0. -ENOENT: no guess, also for a process
 * with more than 256 descriptors; -EACCES: the process can't be looked at.
 */
int predict_observe(const struct predict_query *q, uint64_t *ret_size);

#endif
