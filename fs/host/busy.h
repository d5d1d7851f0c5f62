/*
 * busy: who is in a mount, as /proc tells: of processes of other users only root
 * is told. Asks no file system, so it can't hang. Any thread.
 */
#ifndef UPLOADFS_FS_HOST_BUSY_H
#define UPLOADFS_FS_HOST_BUSY_H

#include <stdbool.h>
#include <sys/types.h>

struct busy {
	pid_t pid;
	char name[32]; /* of the program; what a process calls itself: hostile */
};

/*
 * A process that would miss the mount at path: its working directory, root or program is there, or
 * it has something open there, be it for reading. Not counted: what is only mapped, a close() that
 * is waiting, what was opened with O_PATH, and who reads .uploadfs. False: none, or not to be told.
 */
bool busy_find(const char *path, struct busy *ret);

#endif
