#include "fs/host/busy.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/host/mounts.h"

struct search {
	const char *path; /* of the mount */
	dev_t dev;
};

/* With no field wanted a mount of FUSE tells its device also to who may not enter it. */
static bool is_there(const struct search *s, int dir, const char *link)
{
	struct statx st;

	return statx(dir, link, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) == 0 &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == s->dev;
}

/* Skip readers of .uploadfs: `status --watch` ends by itself. */
static bool is_control(const struct search *s, int dir, const char *link)
{
	static const char control[] = "/.uploadfs/";
	size_t len = strlen(s->path);
	char text[4500];
	ssize_t n = readlinkat(dir, link, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return !strncmp(text, s->path, len) && !strncmp(text + len, control, strlen(control));
}

/* A cp into a directory keeps that open, also while its close() waits. */
static bool is_mere_path(int proc, const char *fd)
{
	char name[64], text[256], *flags;
	bool is = false;
	ssize_t n;
	int f;

	snprintf(name, sizeof(name), "fdinfo/%.20s", fd);
	f = openat(proc, name, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return false;
	n = read(f, text, sizeof(text) - 1);
	close(f);
	text[n > 0 ? n : 0] = '\0';
	flags = strstr(text, "flags:");
	if (flags)
		is = strtoul(flags + strlen("flags:"), NULL, 8) & O_PATH;
	return is;
}

static bool has_open(const struct search *s, int proc)
{
	int fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool found = false;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!found && (e = readdir(d)) != NULL)
		found = isdigit((unsigned char)*e->d_name) && is_there(s, fd, e->d_name) &&
			!is_control(s, fd, e->d_name) && !is_mere_path(proc, e->d_name);
	closedir(d);
	return found;
}

static void read_name(int proc, char *ret, size_t size)
{
	int fd = openat(proc, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	if (fd >= 0)
		close(fd);
	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

static bool uses(const struct search *s, int dir, const char *pid, struct busy *ret)
{
	int proc = openat(dir, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool found;

	if (proc < 0)
		return false; /* it has ended */
	found = is_there(s, proc, "cwd") || is_there(s, proc, "root") || is_there(s, proc, "exe") ||
		has_open(s, proc);
	if (found) {
		ret->pid = (pid_t)strtol(pid, NULL, 10);
		read_name(proc, ret->name, sizeof(ret->name));
	}
	close(proc);
	return found;
}

static bool device_of(const char *path, dev_t *ret)
{
	const struct mount_entry *e;
	struct mount_list list;

	if (mounts_read(&list))
		return false;
	e = mounts_find(&list, path);
	if (e)
		*ret = e->dev;
	mounts_free(&list);
	return e != NULL;
}

bool busy_find(const char *path, struct busy *ret)
{
	struct search s = { .path = path };
	const struct dirent *e;
	bool found = false;
	DIR *d;

	if (!device_of(path, &s.dev))
		return false;
	d = opendir("/proc");
	while (d && !found && (e = readdir(d)) != NULL)
		found = isdigit((unsigned char)*e->d_name) && uses(&s, dirfd(d), e->d_name, ret);
	if (d)
		closedir(d);
	return found;
}
