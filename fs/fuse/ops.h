/*
 * ops: the table of low-level FUSE operations: convert, call vfs, reply.
 *
 * Each request is answered exactly once; a request whose answer takes the
 * network is parked: its fuse_req_t is the argument of vfs's callback.
 */
#ifndef UPLOADFS_FS_FUSE_OPS_H
#define UPLOADFS_FS_FUSE_OPS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct vfs;

struct ops_context {
	struct vfs *vfs;
	void (*ready)(void *arg); /* once the kernel has said hello */
	void *arg;
};

/* userdata of the session is a struct ops_context. */
extern const struct fuse_lowlevel_ops ops_table;

/*
 * After the session's loop: answers the closes that are still held with EINTR, and ends the thread
 * that holds them. Returns when it has ended.
 */
void ops_end_holds(void);

#endif
