/*
 * node: an entry's attributes, the check of a new name, the log line of a failure.
 */
#ifndef UPLOADFS_FS_VFS_NODE_H
#define UPLOADFS_FS_VFS_NODE_H

#include <stdbool.h>

struct inode;
struct vfs;
struct vfs_caller;
struct vfs_entry;

void vfs_fill(struct vfs *s, struct inode *i, struct vfs_entry *ret); /* under lock */
bool vfs_is_purpose_writable(struct vfs *s, const struct inode *dir); /* under lock */
/* Log which directories the root has instead of `name`, at most once a minute. */
void vfs_tell_purposes(const char *name);
/*
 * May `name` be created in `dir`? 0, or -ENOTDIR, -ENOENT, -EPERM, -EINVAL, -ENAMETOOLONG. Under
 * lock.
 */
int vfs_check_new(struct vfs *s, const struct inode *dir, const char *name);

/*
 * The entry that a caller means by `name` in dir. A listing may have put another File there after
 * the kernel looked the name up: then it is the one that left the name, or NULL if that one is
 * gone. Under lock.
 */
struct inode *vfs_find_meant(struct vfs *s, const struct inode *dir, const char *name);

/*
 * Give a new entry of a setgid directory the directory's group; a new directory inherits the bit,
 * too. Under lock.
 */
void vfs_inherit_group(const struct inode *dir, struct inode *i);
/*
 * Drop the setuid bit, and setgid where the group may execute, before who changes i's content.
 * root may keep them. Under lock.
 */
void vfs_drop_privileges(struct vfs *s, struct inode *i, const struct vfs_caller *who);

/*
 * Log one line: the file, what failed, and why. text: the reason; NULL: the words for the errno
 * err. Takes vfs.lock. The caller holds a reference to i.
 */
void vfs_log_failed(struct vfs *s, const struct inode *i, const char *what, int err,
		    const char *text);

#endif
