/* The API key: read from a file or the environment, and scrubbed there. */
#include "fs/config/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/config/say.h"

#define KEY_MAX 4096 /* bytes of a key file's first line */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Copy the key in len bytes at s without surrounding blanks. */
static int copy_key(const char *s, size_t len, char **ret)
{
	char *key;
	size_t i;

	while (len && is_blank(*s)) {
		s++;
		len--;
	}
	while (len && is_blank(s[len - 1]))
		len--;
	if (!len)
		return -EINVAL;
	/* Refuse bytes that end a header line or split its value. */
	for (i = 0; i < len; i++) {
		if (s[i] <= ' ' || s[i] > '~')
			return -EINVAL;
	}
	key = strndup(s, len);
	if (!key)
		return -ENOMEM;
	*ret = key;
	return 0;
}

static bool skip(const char **s, size_t *len, const char *prefix)
{
	size_t n = strlen(prefix);

	if (*len < n || memcmp(*s, prefix, n))
		return false;
	*s += n;
	*len -= n;
	return true;
}

/* Copy the key from a line: the key alone, or a shell's assignment of it. */
static int copy_key_line(const char *s, size_t len, char **ret)
{
	while (len && is_blank(s[len - 1]))
		len--;
	while (skip(&s, &len, " ") || skip(&s, &len, "\t") || skip(&s, &len, "export "))
		;
	if ((skip(&s, &len, "OPENAI_API_KEY=") || skip(&s, &len, "AZURE_OPENAI_API_KEY=")) &&
	    len >= 2 && (*s == '"' || *s == '\'') && s[len - 1] == *s) {
		s++;
		len -= 2;
	}
	return copy_key(s, len, ret);
}

/* Read at most size bytes of fd. Returns the number of bytes or a negative errno. */
static ssize_t read_start(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, text + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* any: the path keeps others out, as a mounted secret's does; nobody else may write in any case. */
static int check_private(int fd, bool any)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (any ? 022 : 077)))
		return -EPERM;
	return 0;
}

int opts_read_key_file(const char *path, bool any, char **ret_key)
{
	char text[KEY_MAX + 1];
	const char *end;
	ssize_t n;
	int fd, rc;

	/* Do not block on a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	rc = check_private(fd, any);
	if (rc)
		goto out;
	n = read_start(fd, text, sizeof(text));
	if (n < 0) {
		rc = (int)n;
		goto out;
	}
	end = memchr(text, '\n', (size_t)n);
	if (!end && n > KEY_MAX)
		rc = -EINVAL;
	else
		rc = copy_key_line(text, end ? (size_t)(end - text) : (size_t)n, ret_key);
	explicit_bzero(text, sizeof(text));
out:
	close(fd);
	return rc;
}

int opts_key_file_fail(const char *what, const char *path, int rc, const char *holds)
{
	struct stat st;

	switch (rc) {
	case -EPERM:
		if (stat(path, &st) == 0 && (st.st_mode & 022))
			return opts_fail("others can write the %s %s; run chmod 600 %s", what, path,
					 path);
		if (stat(path, &st) == 0 && (st.st_mode & 044))
			return opts_fail("others can read the %s %s; run chmod 600 %s, or use -o "
					 "key_mode=any if only this container can reach it",
					 what, path, path);
		return opts_fail("the %s %s belongs to another user; chown it to yourself", what,
				 path);
	case -EISDIR:
		return opts_fail("the %s %s is not a regular file; put %s into the first line of "
				 "one",
				 what, path, holds);
	case -EINVAL:
		return opts_fail("the %s %s holds no %s; put %s into its first line", what, path,
				 strcmp(what, "key file") ? "login" : "key", holds);
	default:
		return opts_fail("the %s %s: %s; give one that you can read", what, path,
				 strerror(-rc));
	}
}

void opts_scrub_env(const char *name)
{
	size_t len = strlen(name);
	char **e;

	/* Scrub every occurrence: unsetenv() leaves the bytes in memory. */
	for (e = environ; e && *e; e++) {
		if (!strncmp(*e, name, len) && (*e)[len] == '=')
			explicit_bzero(*e + len + 1, strlen(*e + len + 1));
	}
	unsetenv(name);
}

int opts_take_env_key(const char *name, char **ret_key)
{
	const char *value = getenv(name);
	char *key = NULL;
	int rc = 0;

	if (value && *value)
		rc = copy_key(value, strlen(value), &key);
	opts_scrub_env(name);
	if (!rc)
		*ret_key = key;
	return rc;
}
