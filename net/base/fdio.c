#include "net/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int fdio_write(int fd, const void *data, size_t len, uint64_t *written)
{
	const char *at = data;
	ssize_t n;

	while (len) {
		n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
		if (written)
			*written += (uint64_t)n;
	}
	return 0;
}

int fdio_fill_standard(void)
{
	for (int fd = 0; fd < 3; fd++) {
		/* The lowest number that is free, so this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -errno;
	}
	return 0;
}
