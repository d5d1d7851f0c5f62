/*
 * mountpoint: what has to be in order at the place of a mount, and what is done
 * about it. Start-up and the subcommands; one thread.
 */
#ifndef UPLOADFS_FS_HOST_MOUNTPOINT_H
#define UPLOADFS_FS_HOST_MOUNTPOINT_H

#include <stdbool.h>

/*
 * Make path ready for a mount: unmount what dead daemons left there (ENOTCONN, "Transport endpoint
 * is not connected"). allow_other: require that this user may mount with allow_other or allow_root.
 * Blocks for at most three seconds a mount. 0; -EBUSY (a living mount), -EPERM or another errno
 * after a log line.
 */
int mountpoint_prepare(const char *path, bool allow_other);
/*
 * Unmounts what is at path: as root by itself, else by fusermount3, which prints why it does not.
 * lazy: also when something is open there. 0, -EBUSY, -ENOENT (no fusermount3), another errno.
 */
int mountpoint_release(const char *path, bool lazy);
/*
 * Whether an errno of a call there says that the daemon is dead: ENOTCONN, or for who was waiting
 * for it when it died, ECONNABORTED.
 */
bool mountpoint_is_dead(int err);
/* Whether this user may mount with allow_other: root, or with a line in /etc/fuse.conf. */
bool mountpoint_may_allow_other(void);
/* The same, from a file like it. For tests. */
bool mountpoint_allows_other(const char *conf);

#endif
