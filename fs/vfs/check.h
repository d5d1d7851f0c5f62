/*
 * check: whether a file's lines have to be JSON objects before it becomes a File: by its attribute,
 * else that of the nearest directory, else the mount's for the purposes batch and fine-tune. Under
 * vfs.lock, unless said otherwise.
 */
#ifndef UPLOADFS_FS_VFS_CHECK_H
#define UPLOADFS_FS_VFS_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/vfs/vfs.h"

struct inode;

#define CHECK_XATTR "user.upload.check"

enum line_check { CHECK_UNSET, CHECK_NONE, CHECK_JSONL }; /* as stored: append only */

/* i's publication is new: set its check. */
void check_begin(struct vfs *s, struct inode *i);
/* i is about to be in dir: set its check anew, unless an attribute set it. */
void check_moved(struct vfs *s, struct inode *i, const struct inode *dir);
/*
 * Set it for a file that is no File yet, or for what is written below a directory. 0; -EINVAL: text
 * is neither "none" nor "jsonl"; -EPERM: a File, or no Files are made there; or an errno of the
 * store.
 */
int check_set(struct vfs *s, struct inode *i, const char *text);
/* Let it inherit again. Errors as check_set(); -ENODATA: it was not set. */
int check_remove(struct vfs *s, struct inode *i);
/* A directory's own, or what holds for a file. */
enum line_check check_of(struct vfs *s, const struct inode *i);
/* The value of the attribute; "": none. */
const char *check_word(enum line_check check);
/* Pass it to cb; -ENODATA without one. Takes vfs.lock. */
void check_answer(struct vfs *s, uint64_t ino, vfs_xattr_cb *cb, void *arg);
/* Load those of an earlier mount, after vfs_load_dirs(). */
void check_load(struct vfs *s);

#endif
