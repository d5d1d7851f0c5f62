/*
 * notify: report this process's state to the service manager that started it, by the protocol of
 * sd_notify(3): lines of NAME=VALUE in one datagram to the socket $NOTIFY_SOCKET. Without that
 * variable nothing is sent. Any thread, as long as none changes the environment.
 */
#ifndef UPLOADFS_FS_HOST_NOTIFY_H
#define UPLOADFS_FS_HOST_NOTIFY_H

/*
 * 0: sent, or the variable is not set; -EINVAL: the variable names no Unix socket; another errno.
 * Both block for at most five seconds while the manager's queue is full.
 */
int notify_ready(const char *status);
/* Report that this process is ending; ask the manager to wait so many seconds. */
int notify_stopping(unsigned seconds, const char *status);

#endif
