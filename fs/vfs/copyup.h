/*
 * copyup: the content of a File as a staged file.
 */
#ifndef UPLOADFS_FS_VFS_COPYUP_H
#define UPLOADFS_FS_VFS_COPYUP_H

#include "fs/vfs/vfs.h"

struct fetch;
struct inode;

/*
 * Give i a local side with its File's content unless i has one by then, then call cb. from: the
 * content a handle on i reads, or NULL. from replaces a File removed meanwhile; the error is
 * -ENOENT if from is NULL or its content is not here. The caller holds a reference to i (nref)
 * until cb. Takes vfs.lock; cb runs without it, on any thread.
 */
void vfs_stage_content(struct vfs *s, struct inode *i, struct fetch *from, vfs_done_cb *cb,
		       void *arg);
/* End the remaining copies with -EINTR. Call after the disk workers have ended. */
void vfs_end_stagings(struct vfs *s);

#endif
