/*
 * attrs_kept: keep attributes and directories over remounts. Call everything but vfs_sweep_end()
 * under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_ATTRS_KEPT_H
#define UPLOADFS_FS_VFS_ATTRS_KEPT_H

#include <stdbool.h>

struct inode;
struct vfs;

/* Load the attributes set on i's File. False: none are known, the File was not made here. */
bool vfs_recall(struct vfs *s, struct inode *i);
void vfs_remember(struct vfs *s, struct inode *i); /* store a File's attributes, or a directory */
/* Store a File's attributes with the next transaction (statedb_later()). */
void vfs_remember_later(struct vfs *s, struct inode *i);
void vfs_forget_file(struct vfs *s, const char *file_id);
/*
 * Around a whole listing: begin, mark each File, end. vfs_sweep_end() forgets the unmarked Files,
 * and their content in the cache; call it without the lock.
 */
void vfs_sweep_begin(struct vfs *s);
void vfs_sweep_mark(struct vfs *s, const char *file_id);
void vfs_sweep_end(struct vfs *s);
void vfs_forget_dir(struct vfs *s, struct inode *dir); /* dir is empty */
/*
 * Commit the move of dir to `name` in `to`: one transaction for its row and all rows below.
 * Everything below dir is local. The tree stays as it is. 0 or negative errno; an error changes
 * nothing.
 */
int vfs_move_dir(struct vfs *s, const struct inode *dir, const struct inode *to, const char *name);
/* Keep dir from now on when it becomes empty, also over a remount. */
void vfs_keep_dir(struct vfs *s, struct inode *dir);
/*
 * Store the times of directories whose entries have changed. Call at the end of each change of
 * entries.
 */
void vfs_keep_changed(struct vfs *s);
/* The same with the next transaction (statedb_later()). */
void vfs_keep_changed_later(struct vfs *s);
void vfs_load_dirs(struct vfs *s);

#endif
