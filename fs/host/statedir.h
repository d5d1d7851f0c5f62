/*
 * statedir: the directory of one mount's state, and the lock that keeps a
 * second daemon out of it. Start-up only; blocks on the local disk.
 */
#ifndef UPLOADFS_FS_HOST_STATEDIR_H
#define UPLOADFS_FS_HOST_STATEDIR_H

/*
 * The place of state directories if the default can't hold them: /var/tmp/uploadfs-UID.
 * Everybody can make files in /var/tmp: statedir_make() and statedir_open() make and accept it only
 * as a directory of this user's, closed to others (-EPERM). Valid for ever.
 */
const char *statedir_tmp(void);

/* Makes path (0700) and what leads to it, where it isn't there. 0 or negative errno. */
int statedir_make(const char *path);

/*
 * Create path and its parents (0700) and take the lock; closing *ret_fd releases it. 0;
 * -EWOULDBLOCK: another daemon still holds the lock after wait_ms milliseconds, its pid in *ret_pid
 * if known; -EPERM: the directory belongs to another user, or chmod can't close it to others;
 * another errno.
 */
int statedir_open(const char *path, unsigned wait_ms, int *ret_fd, int *ret_pid);

#endif
