/*
 * mountpoint: what has to be in order at the place of a mount, and what is done
 * about it. Start-up and the subcommands; one thread.
 */
#ifndef UPLOADFS_FS_HOST_MOUNTPOINT_H
#define UPLOADFS_FS_HOST_MOUNTPOINT_H

#include <stdbool.h>

struct opts;

/*
 * Before a mount: takes away what daemons that died have left there (ENOTCONN, "Transport endpoint
 * is not connected"), and sees whether one that lives is mounted there, and allow_other allowed.
 * Asks what is mounted there, in a child process and for three seconds at most. 0; -EBUSY, -EPERM
 * or another errno after a log line.
 */
int mountpoint_prepare(const struct opts *o);
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
