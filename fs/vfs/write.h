/*
 * write: may a handle write to its local side now.
 */
#ifndef UPLOADFS_FS_VFS_WRITE_H
#define UPLOADFS_FS_VFS_WRITE_H

#include <stdbool.h>

struct handle;

/*
 * Under lock: 0 when h may write to its local side now, but for the seal; a
 * killed writer's file that was opened since is taken over. -EBADF, -EBUSY.
 * *ret_revived: it was, for handle_not_written().
 */
int handle_writable(struct handle *h, bool *ret_revived);
/* Under lock: nothing came of what h was to do: revived, the file is a killed writer's again. */
void handle_not_written(struct handle *h, bool revived);

#endif
