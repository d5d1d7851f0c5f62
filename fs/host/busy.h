/*
 * busy: processes that use a mount, according to /proc, which shows other users' processes to root
 * only. It asks no file system, so it can't hang. Any thread.
 */
#ifndef UPLOADFS_FS_HOST_BUSY_H
#define UPLOADFS_FS_HOST_BUSY_H

#include <stdbool.h>
#include <sys/types.h>

struct busy {
	pid_t pid;
	char name[32]; /* of the program; chosen by the process: hostile */
};

/*
 * Find a process with its working directory, root, program or an open file in the mount at path.
 * Mapped files, waiting close() calls, O_PATH descriptors and readers of .uploadfs don't count.
 * False: none found.
 */
bool busy_find(const char *path, struct busy *ret);

#endif
