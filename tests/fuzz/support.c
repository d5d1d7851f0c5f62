#include "tests/fuzz/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/base/fdio.h"

static char dir[256];
static int dir_fd = -1;

void fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

char *fuzz_text(const uint8_t *data, size_t size)
{
	/* No data is NULL, which strndup() may not be given. */
	char *text = size ? strndup((const char *)data, size) : strdup("");

	must(text);
	return text;
}

/* How many continuation bytes follow on c; -1: it begins no character. */
static int followers(unsigned char c)
{
	if (c < 0x80)
		return 0;
	if (c < 0xc2 || c > 0xf4)
		return -1;
	return c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
}

bool fuzz_printable(const char *text, bool utf8)
{
	const unsigned char *s = (const unsigned char *)text;
	int n, i;

	for (; *s; s++) {
		if (*s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0))
			return false;
		n = utf8 ? followers(*s) : 0;
		if (n < 0)
			return false;
		for (i = 0; i < n; i++) {
			if ((*++s & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}

static void remove_dir(void)
{
	close(dir_fd);
	rmdir(dir);
}

const char *fuzz_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (dir_fd >= 0)
		return dir;
	snprintf(dir, sizeof(dir), "%s/uploadfs-fuzz.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	must(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir_fd >= 0);
	must(!atexit(remove_dir));
	return dir;
}

int fuzz_dir_fd(void)
{
	fuzz_dir();
	return dir_fd;
}

void fuzz_put(const char *name, const void *data, size_t len)
{
	int fd = openat(fuzz_dir_fd(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0);
	must(!fdio_write(fd, data, len, NULL));
	must(!close(fd));
}

void fuzz_get(const char *name, struct buf *ret)
{
	int fd = openat(fuzz_dir_fd(), name, O_RDONLY | O_CLOEXEC);
	char chunk[4096];
	ssize_t n;

	must(fd >= 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		must(!buf_add(ret, chunk, (size_t)n));
	must(!n);
	must(!close(fd));
}

void fuzz_remove(const char *name)
{
	must(!unlinkat(fuzz_dir_fd(), name, 0) || errno == ENOENT);
}
