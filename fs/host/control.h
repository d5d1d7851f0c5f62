/*
 * control: requests to a daemon through its mount, where a process number of another PID namespace
 * would name a stranger.
 */
#ifndef UPLOADFS_FS_HOST_CONTROL_H
#define UPLOADFS_FS_HOST_CONTROL_H

#include <sys/ioctl.h>

/*
 * ioctl of MOUNT/.uploadfs/status, without an argument: finish what is under way and end, as after
 * SIGTERM. Returns at once. EPERM: the caller is neither root nor the daemon's user.
 */
#define CONTROL_END _IO('U', 1)

#endif
