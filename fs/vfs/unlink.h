/*
 * unlink: remove an entry from its directory.
 */
#ifndef UPLOADFS_FS_VFS_UNLINK_H
#define UPLOADFS_FS_VFS_UNLINK_H

struct inode;
struct staged_side;
struct vfs;

/*
 * Take i out of its directory; the directory stays even if it is empty now. Under lock. Returns an
 * argument for side_release(), or NULL.
 */
struct staged_side *vfs_detach(struct vfs *s, struct inode *i);

#endif
