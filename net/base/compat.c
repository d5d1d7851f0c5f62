#include "net/base/compat.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* Linux 5.3, on every architecture */
#endif

int compat_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

#if __GLIBC_PREREQ(2, 32)

const char *compat_errno_name(int err)
{
	return strerrorname_np(err);
}

const char *compat_errno_text(int err)
{
	return strerrordesc_np(err);
}

#else

const char *compat_errno_name(int err)
{
#define NAME(e)       \
	{             \
		e, #e \
	}
	static const struct {
		int err;
		const char *name;
	} names[] = { NAME(EPERM),	  NAME(ENOENT),	   NAME(EINTR),	       NAME(EIO),
		      NAME(EBADF),	  NAME(EAGAIN),	   NAME(ENOMEM),       NAME(EACCES),
		      NAME(EBUSY),	  NAME(EEXIST),	   NAME(EXDEV),	       NAME(ENOTDIR),
		      NAME(EISDIR),	  NAME(EINVAL),	   NAME(EMFILE),       NAME(EFBIG),
		      NAME(ENOSPC),	  NAME(EROFS),	   NAME(EPIPE),	       NAME(ERANGE),
		      NAME(ENAMETOOLONG), NAME(ENOTEMPTY), NAME(ENODATA),      NAME(EPROTO),
		      NAME(EBADMSG),	  NAME(EMSGSIZE),  NAME(EOPNOTSUPP),   NAME(ECONNREFUSED),
		      NAME(ECONNRESET),	  NAME(ETIMEDOUT), NAME(EHOSTUNREACH), NAME(EDQUOT),
		      NAME(ESTALE),	  NAME(ECANCELED), NAME(ENOTCONN) };
#undef NAME

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].err == err)
			return names[i].name;
	}
	return NULL;
}

const char *compat_errno_text(int err)
{
	const char *text = strerror(err); /* no locale is set anywhere */

	return strncmp(text, "Unknown error", 13) ? text : NULL;
}

#endif
