/*
 * mountpoint: checks and repairs before a mount, and unmounting. Start-up and the subcommands; one
 * thread.
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
 * The descriptor N of a mount point "/dev/fd/N": /dev/fuse, opened and mounted by the parent; -1
 * for any other path. Whether N is open is not checked.
 */
int mountpoint_fd(const char *path);
/*
 * Check that N is /dev/fuse, above the standard descriptors, and close it on exec. 0, -EBADF or
 * -EINVAL.
 */
int mountpoint_take_fd(int fd);
/*
 * The reason why fusermount3 mounts nothing for this user, which it tells in riddles; NULL: it may.
 * Static.
 */
const char *mountpoint_refusal(void);
/*
 * What to do if AppArmor lets fusermount3 mount only in some places (Ubuntu from 24.10), which the
 * kernel tells as EACCES; NULL: it does not confine it, or root mounts. Static.
 */
const char *mountpoint_confined(void);
/*
 * Unmount path: directly as root, else by fusermount3, which prints its own errors. lazy: even if
 * files are open there. 0, -EBUSY, -ENOENT (no fusermount3), another errno.
 */
int mountpoint_release(const char *path, bool lazy);
/*
 * True if this errno of a call on a mount means that its daemon is dead: ENOTCONN, or ECONNABORTED
 * for a call that was waiting when the daemon died.
 */
bool mountpoint_is_dead(int err);
/* True if this user may mount with allow_other: root, or with a line in /etc/fuse.conf. */
bool mountpoint_may_allow_other(void);
/* True if conf, a file like /etc/fuse.conf, has that line. For tests. */
bool mountpoint_allows_other(const char *conf);

#endif
