/*
 * ops: the table of low-level FUSE operations: convert, call vfs, reply. Answer each request
 * exactly once. Park a request whose answer takes the network: its fuse_req_t is the argument of
 * vfs's callback.
 */
#ifndef UPLOADFS_FS_FUSE_OPS_H
#define UPLOADFS_FS_FUSE_OPS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct vfs;

struct ops_context {
	struct vfs *vfs;
	void (*ready)(void *arg); /* called once the kernel has sent INIT */
	void *arg;
	/* Called for the ioctl end_cmd of a file of .uploadfs, if its caller may end the daemon. */
	unsigned end_cmd;
	void (*end)(void *arg);
};

/* The session's userdata is a struct ops_context. */
extern const struct fuse_lowlevel_ops ops_table;

/* Serve requests on at most this many threads until the session ends. 0 or negative errno. */
int ops_loop(struct fuse_session *session, unsigned threads);
/*
 * Answer the closes still held with EINTR and end the holding thread. Call after the session's
 * loop. Returns when the thread has ended.
 */
void ops_end_holds(void);

#endif
