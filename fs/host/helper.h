/*
 * helper: the command lines of mount(8) and umount(8), which call the program as
 * mount.uploadfs or umount.fuse.uploadfs (links to uploadfs in /sbin). They and the exit statuses
 * follow mount(8), "EXTERNAL HELPERS". Start-up only, one thread.
 */
#ifndef UPLOADFS_FS_HOST_HELPER_H
#define UPLOADFS_FS_HOST_HELPER_H

#include <stdbool.h>

/* Exit statuses, of mount(8). */
#define HELPER_USAGE 1	 /* wrong command line */
#define HELPER_SYSTEM 2	 /* no memory, no such namespace */
#define HELPER_FAILED 32 /* not mounted, or not unmounted */

enum helper_kind { HELPER_NONE, HELPER_MOUNT, HELPER_UMOUNT };

/* The kind that the last component of argv[0] names. */
enum helper_kind helper_kind(const char *argv0);

/* A call as the helper. */
struct helper_call {
	char *argv[7]; /* for opts_parse(): points into the argv given to helper_take() */
	int argc;
	const char *dir; /* the last word */
	bool sloppy;	 /* -s: skip unknown options */
	bool fake;	 /* -f, mount: do everything but mount */
	bool force;	 /* -f, umount */
	bool lazy;	 /* -l, umount */
};

/*
 * Parse argv; with -N, enter that mount namespace. 0, or an exit status after a message to stderr.
 */
int helper_take(enum helper_kind kind, int argc, char **argv, struct helper_call *ret);

#endif
