/*
 * recover: put the staged files of an earlier daemon back into the tree.
 *
 * Call it once, before the mount answers. Closed files are published, unclosed files come back as
 * aborted, damaged records are set aside and logged, never fatal.
 */
#ifndef UPLOADFS_FS_DAEMON_RECOVER_H
#define UPLOADFS_FS_DAEMON_RECOVER_H

struct staging;
struct vfs;

/* 0, or a negative errno when the staging area can't be read. Blocks on the local disk. */
int recover_all(struct staging *sg, struct vfs *s);

#endif
