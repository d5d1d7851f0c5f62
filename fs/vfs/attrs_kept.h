/*
 * attrs_kept: keep attributes and directories over remounts. Call everything but vfs_sweep_end()
 * under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_ATTRS_KEPT_H
#define UPLOADFS_FS_VFS_ATTRS_KEPT_H

struct inode;
struct vfs;

void vfs_recall(struct vfs *s, struct inode *i);   /* load the attributes set on i's File */
void vfs_remember(struct vfs *s, struct inode *i); /* store a File's attributes, or a directory */
void vfs_forget_file(struct vfs *s, const char *file_id);
/*
 * Around a whole listing: begin, mark each File, end. vfs_sweep_end() forgets the unmarked Files;
 * call it without the lock.
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
void vfs_load_dirs(struct vfs *s);

#endif
