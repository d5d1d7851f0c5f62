/*
 * uploadfs umount: asks the daemon to end, waits for its end, and names unpublished files.
 * fusermount3 would not wait for publications.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/left.h"
#include "fs/cli/mount.h"
#include "fs/host/busy.h"
#include "fs/host/helper.h"
#include "fs/host/mountpoint.h"
#include "net/base/clock.h"
#include "net/base/compat.h"
#include "net/base/json.h"

#define ANSWER_S 10
#define TEARDOWN_S 60 /* beyond drain_timeout, for what the daemon still does */
#define NAMED_MAX 10  /* files named */

static const char help[] =
	"usage: uploadfs umount [--timeout SECONDS] [--force] MOUNTPOINT\n"
	"Refuses new writers, waits until closed files are published (at most the\n"
	"mount's drain_timeout), unmounts, and names the unpublished files, which stay in\n"
	"the state directory: the next mount publishes closed ones; unclosed ones\n"
	"(aborted) wait for you. Empty files stay there and are not named. Like umount,\n"
	"it refuses while files are open or a program is in one of the directories. It\n"
	"also unmounts the mount of a dead daemon.\n"
	"  --force     unmounts even if in use; files open for writing become aborted\n"
	"  --timeout   seconds to wait (default: drain_timeout and a minute); unmounting\n"
	"              goes on after that\n"
	"Exit status: 0 unmounted, all is published; 1 not unmounted, or something is\n"
	"  not published, aborted files too; 2 wrong usage; 3 the time is over; 4 no\n"
	"  such mount, no answer.\n";

/* ---- before ---- */

static int refuse_open_files(const char *mount, const struct json *doc)
{
	unsigned named = 0;

	cli_error("%s: files are being written; close them, or use --force", mount);
	for (const struct json *f = json_first(json_get(doc, "files")); f; f = json_next(f)) {
		const char *status = cli_text(f, "status");

		if (strcmp(status, "writing") && strcmp(status, "streaming"))
			continue;
		if (named++ < NAMED_MAX)
			fprintf(stderr, "  %s\n", cli_clean(cli_text(f, "path")));
	}
	if (named > NAMED_MAX)
		fprintf(stderr, "  and %u more\n", named - NAMED_MAX);
	return CLI_FAILED;
}

static int refuse_users(const char *mount, const struct busy *who)
{
	cli_error("%s: it is busy: process %d (%s) is in it; fuser -vm %s names all; end them, or "
		  "use --force",
		  mount, (int)who->pid, who->name, mount);
	return CLI_FAILED;
}

/* Owner of the process, from /proc/PID/status: root owns /proc/PID if core dumps are off. */
static int uid_of(pid_t pid, uid_t *ret)
{
	char path[64], *line = NULL;
	size_t size = 0;
	unsigned uid;
	int r = -ESRCH;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (r && getline(&line, &size, f) > 0) {
		if (sscanf(line, "Uid: %u", &uid) != 1)
			continue;
		*ret = uid;
		r = 0;
	}
	free(line);
	fclose(f);
	return r;
}

/* An end that is waited for. */
struct ending {
	const char *mount;
	dev_t dev;
	int pidfd;	 /* of the daemon; -1: it can't be seen from here */
	uint64_t end_ms; /* monotonic; 0: no limit */
};

static bool same_inode(const char *path, const struct json *doc, const char *key)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == cli_number(doc, key);
}

/*
 * Open a pidfd of the daemon, to see its end. The document is not trusted: the process must belong
 * to the mount's owner, and its number must be one of our PID namespace, where it would be a
 * stranger's otherwise. Returns -1 if it can't be seen.
 */
static int watch_daemon(const struct json *doc, uid_t mount_uid)
{
	pid_t pid = (pid_t)cli_number(doc, "pid");
	uid_t uid = 0;
	int fd;

	if (pid <= 0 || !same_inode("/proc/self/ns/pid", doc, "pid_namespace"))
		return -1;
	fd = compat_pidfd_open(pid);
	if (fd >= 0 && (uid_of(pid, &uid) || uid != mount_uid)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* ---- the end ---- */

#define LOOK_MS 50
#define DEAD_LOOK_S 1 /* for an answer of a mount whose daemon can't be seen */

static bool has_ended(const struct ending *e)
{
	struct pollfd p = { .fd = e->pidfd, .events = POLLIN };
	struct json *doc = NULL;
	int r;

	if (e->pidfd >= 0)
		return poll(&p, 1, LOOK_MS) > 0;
	cli_sleep_ms(LOOK_MS);
	if (cli_is_gone(e->mount, e->dev))
		return true;
	r = cli_read_status(e->mount, DEAD_LOOK_S, &doc, NULL);
	json_free(doc);
	return r == -ENOTCONN;
}

static int wait_end(const struct ending *e)
{
	while (!has_ended(e)) {
		if (e->end_ms && clock_mono_ms() >= e->end_ms) {
			cli_error("%s: the time is over; its daemon goes on until it is done",
				  e->mount);
			return CLI_TIMEOUT;
		}
	}
	/* The daemon unmounts in its own mount namespace; ours may have a copy that is left. */
	if (e->pidfd >= 0 ? cli_is_gone(e->mount, e->dev) : cli_gone_soon(e->mount, e->dev))
		return CLI_OK;
	return cli_detach(e->mount) ? CLI_FAILED : CLI_OK;
}

/* Name unpublished files from the records, or from the last status without records. */
static int tell_left(const struct json *doc, uid_t mount_uid)
{
	const char *dir = cli_text(doc, "state_dir");
	uid_t self = geteuid();
	struct stat st;
	int r = -EACCES;

	/* Read the directory with its owner's rights, also as root: it is the owner's. */
	if (mount_uid == self || seteuid(mount_uid) == 0) {
		/* In a container the daemon's path is not ours. */
		if (stat(dir, &st))
			r = errno == ENOENT && *dir ? -EXDEV : -EACCES;
		else if (!same_inode(dir, doc, "state_dir_inode"))
			r = -EXDEV;
		else if (st.st_uid == mount_uid)
			r = cli_tell_left(dir, true);
		if (mount_uid != self && seteuid(self))
			r = -errno;
	}
	if (r == -EXDEV) {
		cli_error("unmounted; whether all is published stands in %s of the daemon's "
			  "container, not here: look at its log, or uploadfs recover list there",
			  dir);
	} else if (r < 0) {
		cli_error("unmounted; whether all is published can't be read from %s: %s; its user "
			  "can: uploadfs recover list",
			  *dir ? dir : "its state directory", strerror(-r));
		return CLI_FAILED;
	}
	return r ? CLI_FAILED : CLI_OK;
}

static int end_daemon(struct ending *e, const struct json *doc, uid_t uid)
{
	int r;

	e->pidfd = watch_daemon(doc, uid);
	if (!e->end_ms)
		e->end_ms =
			clock_mono_ms() + (cli_number(doc, "drain_timeout") + TEARDOWN_S) * 1000ULL;
	r = cli_ask_end(e->mount, ANSWER_S);
	if (r) {
		cli_error("%s: its daemon can't be told to end: %s; do it as the user who mounted "
			  "it, or as root",
			  e->mount, strerror(-r));
		r = CLI_FAILED;
	} else {
		r = wait_end(e);
	}
	if (e->pidfd >= 0)
		close(e->pidfd);
	return r != CLI_OK ? r : tell_left(doc, uid);
}

static int remove_dead(const char *mount, dev_t dev)
{
	if (cli_gone_soon(mount, dev)) {
		cli_error("%s: it was being unmounted already", mount);
		return CLI_OK;
	}
	if (cli_detach(mount))
		return CLI_FAILED;
	cli_error("%s: its daemon had died; the next mount takes up its files", mount);
	return CLI_OK;
}

static int umount_one(const char *mount, uid_t uid, bool force, uint64_t end_ms)
{
	struct json *doc = NULL;
	struct ending e = { .mount = mount, .dev = cli_mount_dev(mount), .end_ms = end_ms };
	int r = cli_read_status(mount, ANSWER_S, &doc, NULL);
	struct busy who;

	if (r == -ENOTCONN)
		return remove_dead(mount, e.dev);
	if (r)
		return cli_no_status(mount, r);
	if (!force && cli_total(doc, "writing") + cli_total(doc, "streaming"))
		r = refuse_open_files(mount, doc);
	else if (!force && busy_find(mount, &who))
		r = refuse_users(mount, &who);
	else
		r = end_daemon(&e, doc, uid);
	json_free(doc);
	return r;
}

/* ---- for umount(8) ---- */

static int release(const char *mount, const struct helper_call *call)
{
	int r;

	if (call->force && !call->lazy && geteuid() == 0)
		r = umount2(mount, MNT_FORCE | UMOUNT_NOFOLLOW) ? -errno : 0;
	else
		r = mountpoint_release(mount, call->lazy);
	if (r)
		cli_error("%s: %s", mount, r == -EBUSY ? "it is busy" : strerror(-r));
	return r;
}

/*
 * Unmount at once, or report busy, as umount does; then wait for the daemon, which sends closed
 * files for drain_timeout at most: a shutdown must not cut its network. Name the files that are not
 * published; the exit status is still that of an unmount.
 */
static int release_and_wait(const char *mount, uid_t uid, const struct helper_call *call)
{
	struct ending e = { .mount = mount, .dev = cli_mount_dev(mount), .pidfd = -1 };
	struct json *doc = NULL;
	int r;

	if (cli_read_status(mount, ANSWER_S, &doc, NULL) == 0) {
		e.pidfd = watch_daemon(doc, uid);
		e.end_ms =
			clock_mono_ms() + (cli_number(doc, "drain_timeout") + TEARDOWN_S) * 1000ULL;
	}
	r = release(mount, call);
	if (!r && e.pidfd >= 0) {
		wait_end(&e);
		tell_left(doc, uid);
	}
	if (e.pidfd >= 0)
		close(e.pidfd);
	json_free(doc);
	return r;
}

int cli_umount_helper(const struct helper_call *call)
{
	char *mount = NULL;
	uid_t uid;
	int r;

	cli_name = "umount";
	if (cli_find_mount(call->dir, &mount, &uid) != CLI_OK)
		return HELPER_FAILED;
	r = call->lazy || call->force ? release(mount, call) : release_and_wait(mount, uid, call);
	free(mount);
	return r ? HELPER_FAILED : 0;
}

int cli_umount(int argc, char **argv)
{
	unsigned timeout_s = UINT32_MAX;
	bool force = false;
	const struct cli_option options[] = { { "--timeout", NULL, &timeout_s },
					      { "--force", &force, NULL },
					      { NULL, NULL, NULL } };
	const char *path = NULL;
	uint64_t end_ms = 0;
	char *mount = NULL;
	size_t n;
	uid_t uid;
	int r = cli_args(argc, argv, help, options, &path, 1, &n);

	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (!path) {
		cli_error("name a MOUNTPOINT; see uploadfs umount --help");
		return CLI_USAGE;
	}
	if (timeout_s != UINT32_MAX)
		end_ms = clock_mono_ms() + timeout_s * 1000ULL;
	r = cli_find_mount(path, &mount, &uid);
	/* `umount .` must not be in what it unmounts. */
	if (r == CLI_OK && chdir("/"))
		r = CLI_FAILED;
	if (r == CLI_OK)
		r = umount_one(mount, uid, force, end_ms);
	free(mount);
	return r;
}
