/*
 * real: a path's real name, also when its file system does not answer. Before threads: forks.
 */
#ifndef UPLOADFS_FS_HOST_REAL_H
#define UPLOADFS_FS_HOST_REAL_H

#define REAL_WAIT_MS 5000

/*
 * realpath(path, NULL), by a child that is killed after REAL_WAIT_MS. The caller frees it. NULL and
 * errno: ETIMEDOUT without an answer, as of a file server that is down.
 */
char *real_path(const char *path);

#endif
