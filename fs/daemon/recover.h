/*
 * recover: what an earlier daemon left in the staging area, back into the tree.
 *
 * Once, before the mount answers. Closed files are published, files whose
 * writer had not closed them come back as aborted, and damaged records are set
 * aside and reported, never fatal.
 */
#ifndef UPLOADFS_FS_DAEMON_RECOVER_H
#define UPLOADFS_FS_DAEMON_RECOVER_H

struct staging;
struct vfs;

/* 0, or a negative errno when the staging area can't be read. Blocks on the local disk. */
int recover_all(struct staging *sg, struct vfs *s);

#endif
