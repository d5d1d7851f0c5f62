#include "fs/host/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/host/mounts.h"
#include "net/base/compat.h"
#include "net/base/log.h"

#define APPARMOR_PROFILE "/etc/apparmor.d/fusermount3"

#define ASK_MS 3000
#define DEAD_MAX 16 /* mounts one above the other: each start after a crash may have left one */
#define FUSE_CONF "/etc/fuse.conf"

/* ---- unmounting ---- */

static int run_fusermount(const char *path, bool lazy)
{
	extern char **environ;
	const char *argv[] = { "fusermount3", lazy ? "-uz" : "-u", "--", path, NULL };
	int state, r;
	pid_t pid;

	/* Without PATH, posix_spawnp() searches /bin and /usr/bin. */
	r = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ);
	if (r)
		return -r;
	while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(state) && WEXITSTATUS(state) == 0 ? 0 : -EBUSY;
}

int mountpoint_release(const char *path, bool lazy)
{
	if (geteuid() != 0)
		return run_fusermount(path, lazy);
	return umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) ? -errno : 0;
}

const char *mountpoint_refusal(void)
{
	if (geteuid() == 0 || getpwuid(geteuid()))
		return NULL;
	return "fusermount3 mounts only for a user with a name, and this one has none in "
	       "/etc/passwd; add one, mount as root, or have a parent mount on /dev/fd/N";
}

const char *mountpoint_confined(void)
{
	if (geteuid() == 0 || access(APPARMOR_PROFILE, F_OK))
		return NULL;
	return "AppArmor lets fusermount3 mount only where its profile " APPARMOR_PROFILE
	       " allows it (below a home directory, /mnt, /media, /tmp, /run/user): mount there, "
	       "or have root put \"mount fstype=fuse.uploadfs -> DIRECTORY/,\" and \"umount "
	       "DIRECTORY/,\" into /etc/apparmor.d/local/fusermount3 and run "
	       "apparmor_parser -r " APPARMOR_PROFILE;
}

/* ---- mounted by the parent ---- */

int mountpoint_fd(const char *path)
{
	static const char prefix[] = "/dev/fd/";
	const char *digits = path + strlen(prefix);
	size_t len;

	if (strncmp(path, prefix, strlen(prefix)))
		return -1;
	len = strspn(digits, "0123456789");
	if (!len || len > 6 || digits[len])
		return -1;
	return (int)strtol(digits, NULL, 10);
}

int mountpoint_take_fd(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -EBADF;
	if (fd <= STDERR_FILENO || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 229))
		return -EINVAL;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) ? -errno : 0;
}

/* ---- what is there ---- */

bool mountpoint_is_dead(int err)
{
	return err == ENOTCONN || err == ECONNABORTED;
}

/*
 * True if the daemon of the mount at path is dead. Asks statvfs(), which is never cached, unlike
 * stat(); in a child, since it blocks on a daemon that hangs.
 */
static bool is_dead(const char *path)
{
	struct pollfd p = { .events = POLLIN };
	struct statvfs st;
	pid_t pid;
	int state;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0)
		_exit(statvfs(path, &st) ? errno : 0);
	p.fd = compat_pidfd_open(pid);
	if (p.fd >= 0 && poll(&p, 1, ASK_MS) != 1) {
		/* Not waited for: a request that a daemon has taken holds even a killed process. */
		close(p.fd);
		kill(pid, SIGKILL);
		waitpid(pid, &state, WNOHANG);
		return false;
	}
	if (p.fd >= 0)
		close(p.fd);
	while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(state) && mountpoint_is_dead(WEXITSTATUS(state));
}

static int remove_dead(const char *path)
{
	int r = mountpoint_release(path, true);

	if (r)
		log_error("%s was left behind by a daemon that died, and can't be unmounted: %s; "
			  "run umount -l %s as root",
			  path, strerror(-r), path);
	else
		log_info("%s was left behind by a daemon that died: unmounted", path);
	return r;
}

/* One look at the table. 1: look again. */
static int look(const char *path)
{
	const struct mount_entry *e;
	struct mount_list list;
	int r = 0;

	if (mounts_read(&list))
		return 0; /* no /proc: let mount() fail */
	e = mounts_find(&list, path);
	if (e && is_dead(e->path)) {
		r = remove_dead(e->path);
		r = r ? r : 1;
	} else if (e) {
		log_error("%s is mounted on %s already; see uploadfs status, or unmount it first",
			  e->source, e->path);
		r = -EBUSY;
	}
	mounts_free(&list);
	return r;
}

static void warn_if_full(const char *path)
{
	const struct dirent *e;
	DIR *d = opendir(path);
	bool full = false;

	while (d && !full && (e = readdir(d)) != NULL)
		full = strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	if (d)
		closedir(d);
	if (full)
		log_warn("%s is not empty: what is in it is hidden until it is unmounted", path);
}

static int check_directory(const char *path)
{
	struct stat st;
	int r = stat(path, &st) ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;

	if (r)
		log_error("mountpoint %s: %s; name an empty directory", path, strerror(r));
	else
		warn_if_full(path);
	return -r;
}

/* ---- allow_other ---- */

bool mountpoint_allows_other(const char *conf)
{
	char *line = NULL, word[32], more[2];
	FILE *f = fopen(conf, "re");
	bool found = false;
	size_t size = 0;

	while (f && !found && getline(&line, &size, f) > 0)
		found = sscanf(line, "%31s%1s", word, more) == 1 &&
			!strcmp(word, "user_allow_other");
	free(line);
	if (f)
		fclose(f);
	return found;
}

bool mountpoint_may_allow_other(void)
{
	return geteuid() == 0 || mountpoint_allows_other(FUSE_CONF);
}

int mountpoint_prepare(const char *path, bool allow_other)
{
	int r = 1;

	if (mountpoint_fd(path) >= 0)
		return 0;
	if (allow_other && !mountpoint_may_allow_other()) {
		log_error("allow_other and allow_root are root's here; have the line "
			  "user_allow_other put into " FUSE_CONF ", or mount without");
		return -EPERM;
	}
	for (unsigned n = 0; r == 1 && n < DEAD_MAX; n++)
		r = look(path);
	return r < 0 ? r : check_directory(path);
}
