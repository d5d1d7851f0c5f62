/*
 * unlink: an entry goes from its directory.
 */
#ifndef UPLOADFS_FS_VFS_UNLINK_H
#define UPLOADFS_FS_VFS_UNLINK_H

struct inode;
struct staged_side;
struct vfs;

/* Under lock: i goes from its directory, which stays even when it is empty now. */
struct staged_side *vfs_detach(struct vfs *s, struct inode *i);

#endif
