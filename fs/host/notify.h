/*
 * notify: tells the service manager that started this process how it does:
 * lines of NAME=VALUE in one datagram to the socket $NOTIFY_SOCKET, the
 * protocol of sd_notify(3). Without that variable nobody wants to know.
 * Any thread, as long as none changes the environment.
 */
#ifndef UPLOADFS_FS_HOST_NOTIFY_H
#define UPLOADFS_FS_HOST_NOTIFY_H

/*
 * Each returns 0 when it was told, or nobody asks; -EINVAL: the variable names no socket of
 * Unix; another errno. They block for five seconds at most, while the manager's queue is full.
 */
int notify_ready(const char *status);
/* We are ending: asks the manager to wait for so many seconds. */
int notify_stopping(unsigned seconds, const char *status);

#endif
