/*
 * statedir: the directory of one mount's state, and the lock that keeps a
 * second daemon out of it. Start-up only; blocks on the local disk.
 */
#ifndef UPLOADFS_FS_HOST_STATEDIR_H
#define UPLOADFS_FS_HOST_STATEDIR_H

/*
 * Makes path and what leads to it (0700), and takes the lock. *ret_fd holds the
 * lock until it is closed. -EWOULDBLOCK: another daemon has it and did not give
 * it up within wait_ms milliseconds; its pid, when known, is in *ret_pid.
 * -EPERM: somebody else's directory, or open to others and not to be mended.
 */
int statedir_open(const char *path, unsigned wait_ms, int *ret_fd, int *ret_pid);

#endif
