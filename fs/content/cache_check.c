#include "fs/content/cache_check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER (256U << 10)

int cache_hash_range(int fd, uint64_t off, uint64_t len, struct digest *d)
{
	char *buf = malloc(BUFFER);
	int rc = buf ? 0 : -ENOMEM;
	ssize_t n;

	while (!rc && len) {
		n = pread(fd, buf, len < BUFFER ? (size_t)len : BUFFER, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			rc = n < 0 ? -errno : -EIO;
		else
			rc = digest_update(d, buf, (size_t)n);
		off += rc ? 0 : (uint64_t)n;
		len -= rc ? 0 : (uint64_t)n;
	}
	free(buf);
	return rc;
}

int cache_hash(int fd, uint64_t bytes, char ret_md5[DIGEST_HEX_SIZE])
{
	struct digest *d = digest_new();
	int rc = d ? cache_hash_range(fd, 0, bytes, d) : -ENOMEM;

	if (!rc)
		rc = digest_hex(d, ret_md5);
	digest_free(d);
	return rc;
}
