/*
 * lifetime: the expires_after that a new File gets: of its attribute, else of the File it replaces,
 * else of the nearest directory that has one, else the mount's. Under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_LIFETIME_H
#define UPLOADFS_FS_VFS_LIFETIME_H

#include <stdint.h>

#include "fs/vfs/vfs.h"

struct inode;

#define LIFETIME_XATTR "user.upload.expires_after"

/* i's publication is new: set its lifetime. */
void lifetime_begin(struct vfs *s, struct inode *i);
/*
 * i is about to be in dir, in the place of other (or NULL): set its lifetime anew, unless an
 * attribute set it.
 */
void lifetime_moved(struct vfs *s, struct inode *i, const struct inode *dir,
		    const struct inode *other);

/* Seconds within the API's bounds; -EINVAL after a log line that names them. */
int lifetime_parse(const char *text, uint64_t *ret);
/*
 * Set the lifetime that Files made below dir inherit. 0; -EINVAL as lifetime_parse(); -EPERM: no
 * Files are made there; -ENOENT: dir was removed; or an errno of the store.
 */
int lifetime_set(struct vfs *s, struct inode *dir, const char *text);
/* Seconds; 0: not set, or no directory. Takes vfs.lock, as the next one does. */
uint32_t lifetime_of_dir(struct vfs *s, uint64_t ino);
/* Pass lifetime_of_dir() to cb as text; -ENODATA for 0. */
void lifetime_answer(struct vfs *s, uint64_t ino, vfs_xattr_cb *cb, void *arg);
/* Load those of an earlier mount, after vfs_load_dirs(). */
void lifetime_load(struct vfs *s);

#endif
