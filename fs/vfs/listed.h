/*
 * listed: a listing of the account applied to the tree.
 */
#ifndef UPLOADFS_FS_VFS_LISTED_H
#define UPLOADFS_FS_VFS_LISTED_H

#include <stdbool.h>

struct inode;
struct listing_files;
struct vfs;

void vfs_apply_listing(void *arg, const struct listing_files *files); /* takes the lock */
/*
 * Under lock: i is about to be opened for writing. If it had to leave its name to
 * a newer File, and nobody has asked for it by another name since, then whoever
 * opens it knows it by the former one and means that.
 */
void vfs_take_name_back(struct vfs *s, struct inode *i);
/*
 * Under lock: the File that `from` stood for, which is detached and has lost its id, is shown in
 * dir once more, as an inode of its own. Without memory the next listing does it.
 */
void vfs_show_again(struct vfs *s, struct inode *from, struct inode *dir, const char *name,
		    const char *file_id);
bool vfs_is_listed(void *arg, const char *file_id); /* takes the lock */

#endif
