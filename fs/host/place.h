/*
 * place: the kind of file system a directory lies on, and whether it does for a state directory.
 *
 * Start-up only; blocks on that file system.
 */
#ifndef UPLOADFS_FS_HOST_PLACE_H
#define UPLOADFS_FS_HOST_PLACE_H

#include <stdbool.h>

enum place_kind {
	PLACE_LOCAL,	/* or unknown */
	PLACE_NETWORK,	/* NFS, Lustre and the like: locks may not work there */
	PLACE_FUSE,	/* served by a program, which may end first, or wait for us */
	PLACE_VOLATILE, /* tmpfs, or an overlay that never syncs: gone after a power cut */
};

struct place {
	enum place_kind kind;
	char name[64]; /* "nfs", "fuse.sshfs", "tmpfs", ... */
};

/* Look at path, or at the nearest directory above it that exists. */
void place_look(const char *path, struct place *ret);
/*
 * Try in dir what a state directory needs: both kinds of lock, rename, fsync of a file and of the
 * directory. 0; or a negative errno, and *ret_what is what failed.
 */
int place_try(const char *dir, const char **ret_what);

#endif
