#include "fs/host/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *statedir_tmp(void)
{
	static char path[64];

	if (!path[0])
		snprintf(path, sizeof(path), "/var/tmp/uploadfs-%u", (unsigned)geteuid());
	return path;
}

/* Make statedir_tmp() if path lies in it, or see that nobody else made it. 0 or negative errno. */
static int make_tmp(const char *path)
{
	const char *tmp = statedir_tmp();
	size_t len = strlen(tmp);
	struct stat st;
	int fd, r = 0;

	if (strncmp(path, tmp, len) || (path[len] && path[len] != '/'))
		return 0;
	if (mkdir(tmp, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? -EPERM : -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_uid != geteuid() || ((st.st_mode & 077) && fchmod(fd, 0700) < 0))
		r = -EPERM;
	close(fd);
	return r;
}

int statedir_make(const char *path)
{
	char *p = strdup(path), *slash;
	int r;

	if (!p)
		return -ENOMEM;
	r = make_tmp(path);
	for (slash = strchr(p + 1, '/'); !r && slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		/* Parents may be readable; only the state directory is private. */
		if (mkdir(p, 0755) < 0 && errno != EEXIST)
			r = -errno;
		*slash = '/';
	}
	if (!r && mkdir(p, 0700) < 0 && errno != EEXIST)
		r = -errno;
	free(p);
	return r;
}

/* True if the directory is empty or already a state directory. */
static bool is_ours(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool empty = true;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((e = readdir(d)) != NULL)
		empty &= !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	closedir(d);
	return empty || faccessat(dirfd, "lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int check_private(int dirfd)
{
	struct stat st;

	if (fstat(dirfd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	if (!(st.st_mode & 077))
		return 0;
	/* Do not chmod a /tmp named by mistake. */
	if (!is_ours(dirfd) || fchmod(dirfd, 0700) < 0)
		return -EPERM;
	return 0;
}

static void read_pid(int fd, int *ret_pid)
{
	char buf[32] = { 0 };

	if (pread(fd, buf, sizeof(buf) - 1, 0) > 0)
		*ret_pid = (int)strtol(buf, NULL, 10);
}

/* Retry: an unmount returns before its daemon has drained and released the lock. */
static int lock_patiently(int fd, unsigned wait_ms)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	for (;;) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK || wait_ms < 50)
			return -errno;
		wait_ms -= 50;
		nanosleep(&pause, NULL);
	}
}

int statedir_open(const char *path, unsigned wait_ms, int *ret_fd, int *ret_pid)
{
	char pid[32];
	int dirfd, fd = -1, r = statedir_make(path);

	*ret_pid = 0;
	if (r)
		return r;
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	r = check_private(dirfd);
	if (r)
		goto out;
	fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	r = lock_patiently(fd, wait_ms);
	if (r) {
		read_pid(fd, ret_pid);
		goto out;
	}
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* The pid serves the message of a second daemon. */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
		r = -errno;
out:
	close(dirfd);
	if (r && fd >= 0)
		close(fd);
	if (!r)
		*ret_fd = fd;
	return r;
}
