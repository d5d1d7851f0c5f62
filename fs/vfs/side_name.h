/*
 * side_name: the name that a file is published under. Under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_SIDE_NAME_H
#define UPLOADFS_FS_VFS_SIDE_NAME_H

struct inode;
struct rename_intent;
struct staged_side;
struct vfs;

/*
 * Path and purpose of i's File to be: its intent's, or its own. *ret is the caller's. 0 or negative
 * errno.
 */
int side_path(struct vfs *s, const struct inode *i, const char **ret_purpose, char **ret);
/*
 * "dir/.NAME.XXXXXX" -> "dir/NAME", allocated: the name to send a temporary name under. NULL: not a
 * temporary name, or no memory.
 */
char *side_hold_name(const struct inode *i, const char *path);
/* l stands for the File, too: it is hidden, and deleted with it or before. 0 or -ENOMEM. */
int side_note_superseded(struct staged_side *l, const char *file_id);

/*
 * Commit i's new name and tell its publication. Call after a move of i, or when an intent of it
 * begins or ends. i has a local side. Under lock. 0 or negative errno.
 */
int side_renamed(struct vfs *s, struct inode *i);
/* Tell i's publication its committed name. Under lock. 0 or negative errno. */
int side_told(struct vfs *s, struct inode *i);
/*
 * Do side_renamed() in one transaction with what a rename over victim (or NULL) entails: i's
 * publication supersedes victim's Files. Without an intent, victim's bytes are removed, too; i's
 * intent keeps its Files as its victims.
 */
int side_moved(struct vfs *s, struct inode *i, struct inode *victim);
/* Undo side_moved() of an open intent t, which is closed. 0 or negative errno. Under lock. */
int side_moved_back(struct vfs *s, struct inode *i, struct rename_intent *t);

#endif
