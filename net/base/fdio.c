#include "net/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/base/log.h"

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

int fdio_told(int err)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	struct rlimit files = { 0 };

	if ((err != -EMFILE && err != -ENFILE) || atomic_flag_test_and_set(&told))
		return err;
	getrlimit(RLIMIT_NOFILE, &files);
	log_error("no more files can be opened: %s %llu; raise it with %s, or close some; what "
		  "needs one fails until then",
		  err == -EMFILE ? "the limit of this process is"
				 : "the limit of the host is reached, not this process's of",
		  (unsigned long long)files.rlim_cur,
		  err == -EMFILE ? "ulimit -n, or LimitNOFILE= of the service"
				 : "sysctl fs.file-max");
	return err;
}
