/*
 * real: a path's real name and attributes, also when its file system does not answer. Before
 * threads: forks.
 */
#ifndef UPLOADFS_FS_HOST_REAL_H
#define UPLOADFS_FS_HOST_REAL_H

#include <sys/stat.h>

#define REAL_WAIT_MS 5000

/*
 * realpath(path, NULL), by a child that is killed after REAL_WAIT_MS. The caller frees it. NULL and
 * errno: ETIMEDOUT without an answer, as of a file server that is down.
 */
char *real_path(const char *path);
/* stat(), in the same way. 0 or negative errno, -ETIMEDOUT without an answer. */
int real_stat(const char *path, struct stat *ret);

#endif
