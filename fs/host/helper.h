/*
 * helper: the program as mount(8) and umount(8) call it, under the name
 * mount.uploadfs or umount.fuse.uploadfs (links to uploadfs in /sbin). The
 * command lines are those of mount(8), "EXTERNAL HELPERS"; the exit statuses
 * are mount's, too. Start-up only, one thread.
 */
#ifndef UPLOADFS_FS_HOST_HELPER_H
#define UPLOADFS_FS_HOST_HELPER_H

#include <stdbool.h>

/* Exit statuses, of mount(8). */
#define HELPER_USAGE 1	 /* the command line */
#define HELPER_SYSTEM 2	 /* no memory, no such namespace */
#define HELPER_FAILED 32 /* not mounted, or not unmounted */

enum helper_kind { HELPER_NONE, HELPER_MOUNT, HELPER_UMOUNT };

/* By the last component of argv[0]. */
enum helper_kind helper_kind(const char *argv0);

/* A call as the helper. */
struct helper_call {
	char *argv[7]; /* for opts_parse(): points into the argv that was taken apart */
	int argc;
	const char *dir; /* the last word */
	bool sloppy;	 /* -s: options that are not known are skipped */
	bool fake;	 /* -f, mount: all but mounting */
	bool force;	 /* -f, umount */
	bool lazy;	 /* -l, umount */
};

/*
 * Takes argv apart, and with -N enters that mount namespace. 0, or an exit status after a message
 * to stderr.
 */
int helper_take(enum helper_kind kind, int argc, char **argv, struct helper_call *ret);

#endif
