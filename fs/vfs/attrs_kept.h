/*
 * attrs_kept: attributes and directories kept over remounts. Every call under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_ATTRS_KEPT_H
#define UPLOADFS_FS_VFS_ATTRS_KEPT_H

struct inode;
struct vfs;

void vfs_recall(struct vfs *s, struct inode *i);   /* what was set on its File */
void vfs_remember(struct vfs *s, struct inode *i); /* a File's attributes, or a directory */
void vfs_forget_file(struct vfs *s, const char *file_id);
/* Around a whole listing: mark each File; end (not under lock) forgets the Files that are gone. */
void vfs_sweep_begin(struct vfs *s);
void vfs_sweep_mark(struct vfs *s, const char *file_id);
void vfs_sweep_end(struct vfs *s);
void vfs_forget_dir(struct vfs *s, struct inode *dir); /* nothing is below it */
/*
 * Commits that dir, in which all is local, is `name` in `to`: its row and those of all below it in
 * one transaction. The tree is as before. 0 or negative errno: then nothing changed.
 */
int vfs_move_dir(struct vfs *s, const struct inode *dir, const struct inode *to, const char *name);
/* From now on dir stays when it becomes empty, also over a remount. */
void vfs_keep_dir(struct vfs *s, struct inode *dir);
void vfs_load_dirs(struct vfs *s);

#endif
