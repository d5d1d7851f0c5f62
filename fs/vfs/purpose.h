/*
 * purpose: the directories of purposes, and paths below them. Call all but vfs_purpose_word() under
 * vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_PURPOSE_H
#define UPLOADFS_FS_VFS_PURPOSE_H

struct inode;
struct vfs;

/*
 * Return purpose as a string that lives as long as the process. NULL: no memory, or too many
 * purposes.
 */
const char *vfs_purpose_word(const char *purpose);
int vfs_make_purposes(struct vfs *s);

/* Make a directory with the mount's mode and owner. NULL: out of memory. */
struct inode *vfs_make_dir(struct vfs *s, struct inode *parent, const char *name);
/* Return the purpose's directory; make it if missing. NULL: not in this mount, or no memory. */
struct inode *vfs_purpose_dir(struct vfs *s, const char *purpose);
/*
 * Return the directory that holds path below the purpose; make missing ones. Cuts path at each '/'.
 * *ret_name: the last component. NULL: no such purpose here, a name that can't be created, or no
 * memory.
 */
struct inode *vfs_walk(struct vfs *s, const char *purpose, char *path, char **ret_name);
/*
 * Return the directory purpose/path; make missing ones. NULL: no such purpose here, a name that
 * can't be created, or no memory.
 */
struct inode *vfs_dir_for_path(struct vfs *s, const char *purpose, const char *path);

#endif
