/* ops_impl: what the files of fs/fuse share. Nobody else includes it. */
#ifndef UPLOADFS_FS_FUSE_OPS_IMPL_H
#define UPLOADFS_FS_FUSE_OPS_IMPL_H

#include <stdatomic.h>

#include "fs/fuse/ops.h"
#include "fs/vfs/vfs.h"

/* A File never changes, and what changes here the kernel itself changes: so it
 * may remember for a moment. What is being written is asked for each time. */
#define SETTLED_S 1.0

/*
 * A request by name, whose answer may have to wait for the service. It is the
 * argument of the callback, which calls ops_unpark() first and frees it in the
 * end. A fatal signal of the caller is answered with EINTR meanwhile; what was
 * asked for goes on, and the callback has to give back what nobody takes. Not for
 * requests on an open file: the kernel closes it as soon as they are answered.
 */
struct ops_parked {
	fuse_req_t req; /* to be answered if ops_unpark() says so */
	struct vfs *s;
	struct fuse_file_info fi;
	size_t size;
	/* park.c's */
	pid_t tid;
	_Atomic int state;
};

/* NULL: answered (no memory, or the caller is being ended already). */
struct ops_parked *ops_park(fuse_req_t req);
/* False: the request was answered meanwhile, and is no more. Any thread; once. */
bool ops_unpark(struct ops_parked *p);

/*
 * hold.c: a request held for 20 ms, as a part of what the caller allocates. over() runs on a thread
 * of its own, without locks; err is 0, or -EINTR when the mount ends.
 */
struct ops_hold {
	void (*over)(struct ops_hold *h, int err);
	/* hold.c's */
	struct ops_hold *next;
	uint64_t until_ms;
	bool held;
};
/* False: not held (no thread could be started, or the mount ends), and over() does not run. */
bool ops_hold(struct ops_hold *h);
/* True: it was held; over() does not run any more. Any thread; h may be zero. */
bool ops_hold_take(struct ops_hold *h);

/* reply.c */
void ops_entry(const struct vfs_entry *e, struct fuse_entry_param *ret);
/* Replies with an entry, and takes the lookup back if nobody takes the reply. */
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
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		  struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);

#endif
