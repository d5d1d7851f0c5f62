/*
 * wait: a call that waits for a publication.
 */
#ifndef UPLOADFS_FS_VFS_WAIT_H
#define UPLOADFS_FS_VFS_WAIT_H

#include <stdbool.h>

#include "fs/publish/publisher.h"
#include "fs/vfs/vfs.h"

struct waiting {
	struct publish_wait w; /* first; vfs_wait_cancel() cancels it */
	struct vfs *s;
	bool cancelled; /* cancelled before it waited; under vfs.lock */
	vfs_done_cb *cb;
	void *arg;
};
/* Allocate one; the callback frees it. NULL: out of memory. */
struct waiting *waiting_new(enum publish_until until, vfs_done_cb *cb, void *arg);

#endif
