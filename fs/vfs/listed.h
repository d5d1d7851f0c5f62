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
 * Give i its former name back before it is opened for writing. Acts only if i left the name to a
 * newer File and no lookup has found i under its new name since: the opener then knows i by the
 * former name. Under lock.
 */
void vfs_take_name_back(struct vfs *s, struct inode *i);
/*
 * Show the File of `from` in dir again, as an inode of its own. `from` is detached and has lost its
 * id. Without memory the next listing shows the File. Under lock.
 */
void vfs_show_again(struct vfs *s, struct inode *from, struct inode *dir, const char *name,
		    const char *file_id);
bool vfs_is_listed(void *arg, const char *file_id); /* takes the lock */

#endif
