/*
 * copyup: the content of a File as a staged file.
 */
#ifndef UPLOADFS_FS_VFS_COPYUP_H
#define UPLOADFS_FS_VFS_COPYUP_H

#include "fs/vfs/vfs.h"

struct fetch;
struct inode;

/*
 * Makes i's local side from its File's content, unless it
 * has one by then; calls cb. from: what a handle on i reads, or NULL: used when
 * the File was removed since; -ENOENT where the content is not here. The caller
 * holds a reference to i (nref) until cb. Takes vfs.lock itself; cb runs
 * without it, on any thread.
 */
void vfs_stage_content(struct vfs *s, struct inode *i, struct fetch *from, vfs_done_cb *cb,
		       void *arg);
/* Ends what is left of them with -EINTR; after the disk workers have ended. */
void vfs_end_stagings(struct vfs *s);

#endif
