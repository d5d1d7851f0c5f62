/*
 * compat: what older C libraries lack (glibc before 2.32 and 2.36). Any thread.
 */
#ifndef UPLOADFS_NET_BASE_COMPAT_H
#define UPLOADFS_NET_BASE_COMPAT_H

#include <sys/types.h>
#include <time.h>

_Static_assert(sizeof(time_t) >= 8, "uploadfs needs 64-bit time: build it on a 64-bit machine");

/* "ENOENT" for ENOENT, as strerrorname_np(); static. NULL: not a known number. */
const char *compat_errno_name(int err);
/* "No such file or directory" for ENOENT, as strerrordesc_np(); static. NULL: as above. */
const char *compat_errno_text(int err);
/* As pidfd_open(2), without flags: a descriptor, or -1 and errno. */
int compat_pidfd_open(pid_t pid);

#endif
