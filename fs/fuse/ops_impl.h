/*
 * ops_impl: shared by the files of fs/fuse. Private to fs/fuse.
 */
#ifndef UPLOADFS_FS_FUSE_OPS_IMPL_H
#define UPLOADFS_FS_FUSE_OPS_IMPL_H

#include <stdatomic.h>

#include "fs/fuse/ops.h"
#include "fs/vfs/vfs.h"

/*
 * Seconds the kernel may cache an entry: a File never changes, and the kernel makes all changes
 * here itself. A file being written has a timeout of 0, and so has everything with list_ttl=0.
 */
#define SETTLED_S 1.0

typedef void ops_gone(struct vfs *s, const void *arg);

/*
 * A path request parked until the service replies; interruptible. It is the argument of the
 * callback, which calls ops_unpark() first and frees it at the end. A fatal signal of the caller is
 * answered with EINTR meanwhile; the operation goes on, and the callback must give back a result
 * that nobody takes. Not for requests on an open file: the kernel closes the file as soon as they
 * are answered.
 */
struct ops_parked {
	fuse_req_t req; /* answer it only if ops_unpark() returned true */
	struct vfs *s;
	struct fuse_file_info fi;
	size_t size;
	/* private to park.c */
	pid_t tid;
	ops_gone *gone;
	_Atomic int state;
};

/* Park req. NULL: req is answered (no memory, or a fatal signal is pending). */
struct ops_parked *ops_park(fuse_req_t req);
/* The same; gone(p->s, p) runs before the caller's EINTR, and can end the operation. */
struct ops_parked *ops_park_for(fuse_req_t req, ops_gone *gone);
/* End the parking. False: req was answered meanwhile and is freed. Any thread; call once. */
bool ops_unpark(struct ops_parked *p);

/*
 * hold.c: a request held for 20 ms; embedded in the caller's allocation. over() runs on a thread of
 * its own, without locks; err is 0, or -EINTR when the mount ends.
 */
struct ops_hold {
	void (*over)(struct ops_hold *h, int err);
	/* private to hold.c */
	struct ops_hold *next;
	uint64_t until_ms;
	bool held;
};
/* Hold h. False: not held (no thread, or the mount ends); over() does not run. */
bool ops_hold(struct ops_hold *h);
/* Take h back. True: h was held and over() will not run. Any thread; h may be zeroed. */
bool ops_hold_take(struct ops_hold *h);

/* reply.c */
void ops_entry(const struct vfs_entry *e, struct fuse_entry_param *ret);
/* Reply with an entry; undo the lookup if the caller is gone. */
void ops_reply_entry(fuse_req_t req, const struct vfs_entry *e);
struct vfs_caller ops_caller(fuse_req_t req);
struct vfs *ops_vfs(fuse_req_t req);

static inline struct handle *ops_handle(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* file.c */
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		  struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);

/* read.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);

#endif
