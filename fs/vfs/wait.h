/*
 * wait: a call that waits for a publication.
 */
#ifndef UPLOADFS_FS_VFS_WAIT_H
#define UPLOADFS_FS_VFS_WAIT_H

#include <stdbool.h>

#include "fs/publish/publisher.h"
#include "fs/vfs/vfs.h"

struct waiting {
	struct publish_wait w; /* first: what vfs_wait_cancel() cancels */
	struct vfs *s;
	bool cancelled; /* before it waited; under vfs.lock */
	vfs_done_cb *cb;
	void *arg;
};
/* NULL: out of memory. */
struct waiting *waiting_new(enum publish_until until, vfs_done_cb *cb, void *arg);

#endif
