/*
 * keep: what -o no_delete keeps from being deleted or overwritten.
 */
#ifndef UPLOADFS_FS_VFS_KEEP_H
#define UPLOADFS_FS_VFS_KEEP_H

struct inode;
struct vfs;

/* 0, or -EPERM with a line in the log if i is a File that may not be deleted. Under lock. */
int vfs_may_delete(struct vfs *s, const struct inode *i);
/* The same if it may not be replaced by other bytes. */
int vfs_may_replace(struct vfs *s, const struct inode *i);

#endif
