/*
 * purpose: the purposes' directories, and paths below them. Every call under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_PURPOSE_H
#define UPLOADFS_FS_VFS_PURPOSE_H

struct inode;
struct vfs;

/* purpose as a string that lives as long as the process; NULL: no memory, or too many of them. */
const char *vfs_purpose_word(const char *purpose);
int vfs_make_purposes(struct vfs *s);

/* A directory as the mount's options make it; NULL: out of memory. */
struct inode *vfs_make_dir(struct vfs *s, struct inode *parent, const char *name);
/* The purpose's directory, made as needed; NULL: not in this mount, or no memory. */
struct inode *vfs_purpose_dir(struct vfs *s, const char *purpose);
/*
 * The directory of path below the purpose, made as needed; cuts path at each '/'. *ret_name: its
 * last component. NULL: no such purpose here, a name that can't be created, or no memory.
 */
struct inode *vfs_walk(struct vfs *s, const char *purpose, char *path, char **ret_name);
/* The directory purpose/path, made as needed; NULL: no such purpose here, or no memory. */
struct inode *vfs_dir_for_path(struct vfs *s, const char *purpose, const char *path);

#endif
