/*
 * lifetime: the expires_after that a new File gets: of the File it replaces, else the mount's.
 */
#ifndef UPLOADFS_FS_VFS_LIFETIME_H
#define UPLOADFS_FS_VFS_LIFETIME_H

struct inode;
struct vfs;

/* i's publication is new: set its lifetime. Under lock. */
void lifetime_begin(struct vfs *s, struct inode *i);
/* i is about to replace other: take its lifetime, unless an attribute set one. Under lock. */
void lifetime_take(struct inode *i, const struct inode *other);

#endif
