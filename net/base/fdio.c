#include "net/base/fdio.h"

#include <errno.h>
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
