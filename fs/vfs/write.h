/*
 * write: whether a handle may write to its local side now.
 */
#ifndef UPLOADFS_FS_VFS_WRITE_H
#define UPLOADFS_FS_VFS_WRITE_H

#include <stdbool.h>

struct handle;
struct publish;
struct vfs;

/*
 * Return 0 if h may write to its local side now, seals aside; else -EBADF, -EBUSY, or -EPERM for a
 * File that is kept. Take over a
 * killed writer's file if h was opened after the kill: *ret_revived is then true, for
 * handle_not_written(). Under lock.
 */
int handle_writable(struct vfs *s, struct handle *h, bool *ret_revived);
/* Undo a revival after a failed write: the file is a killed writer's again. Under lock. */
void handle_not_written(struct handle *h, bool revived);

/*
 * A change of bytes is -EINPROGRESS (*r): wait for pub, without locks, and drop its reference.
 * True: try again. NULL: false.
 */
bool handle_await_change(struct publish *pub, int *r);

#endif
