#include "fs/proc/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FDS_MAX 256		/* a process with more has no guess */
#define SAMPLE 4096		/* bytes compared at either end of what was written */
#define MOUNTINFO_MAX (1 << 20) /* bytes of mountinfo looked at */

struct source {		    /* a regular file open for reading */
	int fd;		    /* its number in the writer */
	uint64_t pos, size; /* bytes */
	unsigned long mnt_id;
	dev_t dev;
	ino_t ino;
};

/* Where looking at a file's bytes stays on this machine and asks no daemon. */
static const char *const local_types[] = { "bcachefs", "btrfs",	   "erofs", "exfat",   "ext2",
					   "ext3",     "ext4",	   "f2fs",  "iso9660", "jfs",
					   "msdos",    "nilfs2",   "ntfs3", "overlay", "ramfs",
					   "reiserfs", "squashfs", "tmpfs", "udf",     "ufs",
					   "vfat",     "xfs",	   "zfs",   NULL };

static bool is_local_type(const char *type, size_t len)
{
	size_t i;

	for (i = 0; local_types[i]; i++) {
		if (strlen(local_types[i]) == len && !memcmp(local_types[i], type, len))
			return true;
	}
	return false;
}

/*
 * Is the line of mountinfo that of this mount, and its file system a local
 * one? "ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAG…] - TYPE SOURCE …"
 */
static bool line_is_local(const char *line, unsigned long mnt_id)
{
	const char *type;

	if (strtoul(line, NULL, 10) != mnt_id)
		return false;
	type = strstr(line, " - ");
	if (!type)
		return false;
	type += 3;
	return is_local_type(type, strcspn(type, " \n"));
}

static bool on_local_disk(pid_t tid, unsigned long mnt_id)
{
	size_t size = 0, seen = 0;
	char path[64], *line = NULL;
	bool local = false;
	ssize_t n;
	FILE *f;

	/* The writer's own list: it may live in another mount namespace. */
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!local && seen < MOUNTINFO_MAX && (n = getline(&line, &size, f)) > 0) {
		seen += (size_t)n;
		local = line_is_local(line, mnt_id);
	}
	free(line);
	fclose(f);
	return local;
}

/* Position and mount from /proc/TID/fdinfo/FD. False when it is gone or of no use. */
static bool read_fdinfo(pid_t tid, struct source *s)
{
	char path[64], text[512];
	const char *at;
	unsigned long flags;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)tid, s->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	if (strncmp(text, "pos:", 4))
		return false;
	s->pos = strtoull(text + 4, NULL, 10);
	at = strstr(text, "\nflags:");
	flags = at ? strtoul(at + 7, NULL, 8) : O_PATH;
	at = strstr(text, "\nmnt_id:");
	s->mnt_id = at ? strtoul(at + 8, NULL, 10) : 0;
	return !(flags & (O_PATH | O_APPEND));
}

/*
 * Is descriptor fd of the writer one that may be its source? Whether it is
 * open for reading is asked of the link in /proc, which doesn't touch the file.
 */
static bool is_source(const struct predict_query *q, int dirfd, const char *name,
		      struct source *ret)
{
	struct source s = { .fd = (int)strtol(name, NULL, 10) };
	struct stat link;
	struct statx sx;

	if (fstatat(dirfd, name, &link, AT_SYMLINK_NOFOLLOW) || !(link.st_mode & S_IRUSR))
		return false;
	if (statx(dirfd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
		  STATX_TYPE | STATX_SIZE | STATX_INO, &sx))
		return false;
	s.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor);
	s.ino = sx.stx_ino;
	s.size = sx.stx_size;
	/* Files of /proc and /sys say 0; an empty file is nobody's source. */
	if (!S_ISREG(sx.stx_mode) || !s.size || (q->own_dev && s.dev == q->own_dev))
		return false;
	if (!read_fdinfo(q->tid, &s))
		return false;
	*ret = s;
	return true;
}

/* 0 and the one source; -ENOENT: none, several, or too many files to tell. */
static int find_source(const struct predict_query *q, DIR *dir, struct source *ret)
{
	unsigned seen = 0, found = 0;
	struct dirent *e;
	struct source s;

	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		if (++seen > FDS_MAX)
			return -ENOENT;
		if (!is_source(q, dirfd(dir), e->d_name, &s))
			continue;
		if (++found > 1)
			return -ENOENT;
		*ret = s;
	}
	return found == 1 ? 0 : -ENOENT;
}

static bool same_bytes(int a, int b, uint64_t at, size_t len)
{
	char x[SAMPLE], y[SAMPLE];

	return pread(a, x, len, (off_t)at) == (ssize_t)len &&
	       pread(b, y, len, (off_t)at) == (ssize_t)len && !memcmp(x, y, len);
}

/* Do the source's bytes equal ours at the beginning and at the end of what was written? */
static bool looks_alike(const struct predict_query *q, int dirfd, const struct source *s)
{
	size_t len = q->end < SAMPLE ? (size_t)q->end : SAMPLE;
	struct stat st;
	char name[16];
	bool same;
	int fd;

	snprintf(name, sizeof(name), "%d", s->fd);
	/* By now the number may stand for a FIFO: don't wait, and look again at what it is. */
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return false;
	same = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == s->ino &&
	       st.st_dev == s->dev && same_bytes(q->staged_fd, fd, 0, len) &&
	       same_bytes(q->staged_fd, fd, q->end - len, len);
	close(fd);
	return same;
}

/*
 * Does the position say that the source was read exactly as far as we were
 * written? Not where the file may be our own output: that is so on a mount of
 * which own_dev isn't known, hence on none but a local disk.
 */
static bool follows(const struct predict_query *q, const struct source *s)
{
	return s->pos == q->end && (q->own_dev || on_local_disk(q->tid, s->mnt_id));
}

int predict_observe(const struct predict_query *q, uint64_t *ret_size)
{
	struct source s = { .fd = -1 };
	char path[64];
	int rc, err;
	DIR *dir;

	if (q->tid <= 0 || !q->end || q->end > INT64_MAX || q->start >= q->end)
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)q->tid);
	dir = opendir(path);
	if (!dir) {
		err = errno;
		return err == EACCES || err == EPERM ? -EACCES : -ENOENT;
	}
	rc = find_source(q, dir, &s);
	if (!rc && s.size < q->end)
		rc = -ENOENT;
	if (!rc && !follows(q, &s) &&
	    (s.pos || !on_local_disk(q->tid, s.mnt_id) || !looks_alike(q, dirfd(dir), &s)))
		rc = -ENOENT;
	closedir(dir);
	if (!rc)
		*ret_size = s.size;
	return rc;
}
