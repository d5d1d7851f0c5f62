/*
 * Finding a mount and reading its status.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/mount.h"
#include "fs/host/control.h"
#include "fs/host/mountpoint.h"
#include "fs/host/mounts.h"
#include "fs/host/real.h"
#include "fs/status/json.h"
#include "net/base/buf.h"
#include "net/base/clock.h"
#include "net/base/json.h"

/* ---- which mount ---- */

static const struct mount_entry *named(const struct mount_list *list, const char *path)
{
	/* realpath() fails on a dead mount: compare the path as given. */
	char *real = real_path(path);
	const struct mount_entry *e = mounts_find(list, real ? real : path);

	free(real);
	return e;
}

static int say_which(const struct mount_list *list, const char *path)
{
	if (path)
		cli_error("%s is not the mountpoint of an uploadfs; see uploadfs mounts", path);
	else if (!list->count)
		cli_error("nothing is mounted by uploadfs here");
	else
		cli_error("%zu are mounted; name one of those that uploadfs mounts shows",
			  list->count);
	return CLI_NO_MOUNT;
}

int cli_find_mount(const char *path, char **ret_path, uid_t *ret_uid)
{
	const struct mount_entry *e;
	struct mount_list list;
	int r = mounts_read(&list);

	if (r) {
		cli_error("/proc/self/mountinfo: %s", strerror(-r));
		return CLI_FAILED;
	}
	e = path ? named(&list, path) : mounts_only(&list, geteuid());
	r = e ? CLI_OK : say_which(&list, path);
	if (e) {
		*ret_path = strdup(e->path);
		*ret_uid = e->uid;
		r = *ret_path ? CLI_OK : CLI_FAILED;
	}
	mounts_free(&list);
	return r;
}

/* ---- its status ---- */

/*
 * Open MOUNT/.uploadfs/status. The file system may be a program of another user, who must not
 * choose what is opened here: no link is followed, and nothing but a plain file is taken. fd or
 * negative errno, -EBADMSG: it is something else.
 */
static int open_status(const char *mount)
{
	const int how = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	char path[4400];
	struct stat st;
	int dir, fd;

	snprintf(path, sizeof(path), "%s/.uploadfs", mount);
	dir = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	fd = dir < 0 ? -1 : openat(dir, "status", how);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR || errno == ENXIO ? -EBADMSG : -errno;
	close(dir);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -EBADMSG;
}

/* The child: copy the document into the pipe; the exit status is the errno. */
static void copy_out(const char *mount, int out)
{
	static char block[65536];
	ssize_t n = 1;
	int fd;

	/* Ctrl-C must end a wait for a mount that hangs, whatever the parent does with it. */
	signal(SIGINT, SIG_DFL);
	fd = open_status(mount);
	if (fd < 0)
		_exit(-fd);
	while ((n = read(fd, block, sizeof(block))) > 0)
		for (ssize_t at = 0, w; at < n; at += w)
			if ((w = write(out, block + at, (size_t)(n - at))) < 0)
				_exit(EPIPE);
	_exit(n < 0 ? errno : 0);
}

/* Read to the end. 0, -ETIMEDOUT, or another errno. */
static int collect(int fd, unsigned timeout_s, struct buf *text)
{
	uint64_t end = clock_mono_ms() + timeout_s * 1000ULL;
	static char block[65536];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_mono_ms();
		ssize_t n;

		if (now >= end)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)(end - now)) <= 0)
			continue;
		n = read(fd, block, sizeof(block));
		if (n == 0)
			return text->err;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && buf_add(text, block, (size_t)n))
			return text->err;
	}
}

/* The child: ask through the mount; the exit status is the errno. */
static void ask_end(const char *mount, int out)
{
	int fd;

	(void)out;
	signal(SIGINT, SIG_DFL);
	fd = open_status(mount);
	_exit(fd < 0 ? -fd : ioctl(fd, CONTROL_END) ? errno : 0);
}

/* Run one of the above, which may hang, in a child, and take what it writes. */
static int run_child(void (*child)(const char *mount, int out), const char *mount,
		     unsigned timeout_s, struct buf *text)
{
	int fds[2], state, r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		r = -errno;
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid == 0)
		child(mount, fds[1]);
	close(fds[1]);
	r = collect(fds[0], timeout_s, text);
	close(fds[0]);
	if (r) {
		/* Not waited for: a request that the daemon has taken can't be given up, and holds
		 * even a killed process. */
		kill(pid, SIGKILL);
		waitpid(pid, &state, WNOHANG);
		return r;
	}
	while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(state))
		return -EIO;
	return mountpoint_is_dead(WEXITSTATUS(state)) ? -ENOTCONN : -WEXITSTATUS(state);
}

int cli_read_status(const char *mount, unsigned timeout_s, struct json **ret, struct buf *ret_text)
{
	struct json *status = NULL;
	struct buf text;
	int r;

	buf_init(&text, STATUS_TEXT_MAX);
	r = run_child(copy_out, mount, timeout_s, &text);
	if (!r &&
	    (json_parse(buf_str(&text), text.len, &status) || cli_number(status, "format") != 1))
		r = -EBADMSG;
	if (!r && ret_text)
		r = buf_add(ret_text, text.data, text.len);
	buf_release(&text);
	if (r)
		json_free(status);
	else
		*ret = status;
	return r;
}

int cli_ask_end(const char *mount, unsigned timeout_s)
{
	struct buf text;
	int r;

	buf_init(&text, 1);
	r = run_child(ask_end, mount, timeout_s, &text);
	buf_release(&text);
	/* It was ending already. */
	return r == -ENOTCONN ? 0 : r;
}

int cli_no_status(const char *mount, int err)
{
	if (err == -ENOTCONN)
		cli_error("%s was left behind by a daemon that died; uploadfs umount %s removes "
			  "it, and the next mount takes up its files",
			  mount, mount);
	else if (err == -ETIMEDOUT)
		cli_error("%s does not answer; look at the log of its daemon", mount);
	else if (err == -EACCES)
		cli_error("%s belongs to another user, who did not mount it with allow_other",
			  mount);
	else if (err == -EBADMSG || err == -ENOENT)
		cli_error("%s has no status this version can read: its daemon is of another one",
			  mount);
	else
		cli_error("%s: %s", mount, strerror(-err));
	return CLI_NO_MOUNT;
}

/* 0 with the device number of the topmost mount at this path, 0 if there is none; else an errno. */
static int find_dev(const char *mount, dev_t *ret)
{
	const struct mount_entry *e;
	struct mount_list list;
	int r = mounts_read(&list);

	if (r)
		return r;
	e = mounts_find(&list, mount);
	*ret = e ? e->dev : 0;
	mounts_free(&list);
	return 0;
}

dev_t cli_mount_dev(const char *mount)
{
	dev_t dev = 0;

	find_dev(mount, &dev);
	return dev;
}

bool cli_is_gone(const char *mount, dev_t dev)
{
	dev_t now;

	return find_dev(mount, &now) == 0 && now != dev;
}

bool cli_gone_soon(const char *mount, dev_t dev)
{
	for (unsigned i = 0; i < 40; i++) {
		if (cli_is_gone(mount, dev))
			return true;
		cli_sleep_ms(50);
	}
	return false;
}

uint64_t cli_number(const struct json *obj, const char *key)
{
	uint64_t n = 0;

	json_u64(json_get(obj, key), &n);
	return n;
}

const char *cli_text(const struct json *obj, const char *key)
{
	const char *s = json_get_str(obj, key);

	return s ? s : "";
}

uint64_t cli_total(const struct json *doc, const char *key)
{
	return cli_number(json_get(doc, "totals"), key);
}

int cli_detach(const char *mount)
{
	int r = mountpoint_release(mount, true);

	/* fusermount3 prints its own error. */
	if (r == -ENOENT && geteuid() != 0)
		cli_error("fusermount3 is not there; install the package fuse3");
	else if (r && geteuid() == 0)
		cli_error("%s: %s", mount, strerror(-r));
	else if (r)
		cli_error("%s is still mounted: fusermount3 could not unmount it%s", mount,
			  access("/etc/mtab", F_OK) ? "; it wants /etc/mtab, which is not there: "
						      "ln -s /proc/self/mounts /etc/mtab"
						    : "");
	return r;
}
