#include "fs/host/real.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/base/clock.h"
#include "net/base/fdio.h"

struct answer {
	int err;
	struct stat st;
	char path[PATH_MAX];
};

static bool find_name(const char *path, struct answer *a)
{
	return realpath(path, a->path) != NULL;
}

static bool find_stat(const char *path, struct answer *a)
{
	return stat(path, &a->st) == 0;
}

/* The child. */
static void answer(bool (*find)(const char *path, struct answer *a), const char *path, int fd)
{
	static struct answer a;
	uint64_t written;

	/* Ctrl-C ends it, whatever the parent does with it. */
	signal(SIGINT, SIG_DFL);
	if (!find(path, &a))
		a.err = errno;
	fdio_write(fd, &a, sizeof(a), &written);
	_exit(0);
}

/* Read all of ret from fd. 0, ETIMEDOUT, EIO. */
static int await(int fd, struct answer *ret)
{
	uint64_t end = clock_mono_ms() + REAL_WAIT_MS, now;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;
	ssize_t n;

	while (have < sizeof(*ret)) {
		now = clock_mono_ms();
		if (now >= end)
			return ETIMEDOUT;
		if (poll(&p, 1, (int)(end - now)) <= 0)
			continue;
		n = read(fd, (char *)ret + have, sizeof(*ret) - have);
		if (n > 0)
			have += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return EIO;
	}
	return 0;
}

/* Ask by a child. 0, or the errno. */
static int ask(bool (*find)(const char *path, struct answer *a), const char *path,
	       struct answer *ret)
{
	int fds[2], err;
	pid_t child;

	if (pipe2(fds, O_CLOEXEC))
		return errno;
	/* The child of a sanitizer's build writes what it finds buffered, too. */
	fflush(stdout);
	child = fork();
	if (!child)
		answer(find, path, fds[1]);
	err = child < 0 ? errno : 0;
	close(fds[1]);
	if (!err)
		err = await(fds[0], ret);
	close(fds[0]);
	if (err && child > 0)
		kill(child, SIGKILL);
	/* One that can't even be killed is left to init. */
	if (child > 0)
		while (waitpid(child, NULL, err ? WNOHANG : 0) < 0 && errno == EINTR)
			;
	return err ? err : ret->err;
}

char *real_path(const char *path)
{
	struct answer *a = malloc(sizeof(*a));
	int err = a ? ask(find_name, path, a) : ENOMEM;
	char *ret = err ? NULL : strdup(a->path);

	if (!err && !ret)
		err = ENOMEM;
	free(a);
	errno = err;
	return ret;
}

int real_stat(const char *path, struct stat *ret)
{
	struct answer *a = malloc(sizeof(*a));
	int err = a ? ask(find_stat, path, a) : ENOMEM;

	if (!err)
		*ret = a->st;
	free(a);
	return -err;
}
