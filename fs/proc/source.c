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
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* Linux 5.3, on every architecture */
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* Linux 5.6 */
#endif
#define PIDFD_OF_THREAD O_EXCL /* PIDFD_THREAD of linux/pidfd.h, Linux 6.9 */

#define FDS_MAX 256		/* a process with more has no guess */
#define SAMPLE 4096		/* bytes compared at either end of what was written */
#define MOUNTINFO_MAX (1 << 20) /* bytes of mountinfo looked at */

struct source {	      /* a file open for reading, as fdinfo tells of it */
	int fd;	      /* its number in the writer */
	uint64_t pos; /* bytes */
	unsigned long mnt_id;
};

struct predict_look {
	struct predict_query q;
	int proc;			  /* O_PATH of /proc/TID: stays this thread's */
	size_t len;			  /* bytes of each sample; 0: there is none */
	char first[SAMPLE], last[SAMPLE]; /* ours, from 0, and up to q.end */
	size_t count;
	struct source sources[FDS_MAX];
};

/* Where looking at a file's bytes stays on this machine and asks no daemon. */
static const char *const local_types[] = { "bcachefs", "btrfs",	 "erofs", "exfat",   "ext2",
					   "ext3",     "ext4",	 "f2fs",  "iso9660", "jfs",
					   "msdos",    "nilfs2", "ntfs3", "ramfs",   "reiserfs",
					   "squashfs", "tmpfs",	 "udf",	  "ufs",     "vfat",
					   "xfs",      "zfs",	 NULL };

/* The same, as fstatfs() names them. */
static const uint64_t local_magics[] = {
	0xca451a4e, /* bcachefs */
	0x9123683e, /* btrfs */
	0xe0f5e1e2, /* erofs */
	0x2011bab0, /* exfat */
	0xef53,	    /* ext2, ext3, ext4 */
	0xf2f52010, /* f2fs */
	0x9660,	    /* iso9660 */
	0x3153464a, /* jfs */
	0x4d44,	    /* msdos, vfat */
	0x3434,	    /* nilfs2 */
	0x7366746e, /* ntfs3 */
	0x858458f6, /* ramfs */
	0x52654973, /* reiserfs */
	0x73717368, /* squashfs */
	0x01021994, /* tmpfs */
	0x15013346, /* udf */
	0x00011954, /* ufs */
	0x58465342, /* xfs */
	0x2fc12fc1, /* zfs */
};

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

/* Opens a file below /proc/TID for reading, as a stream; NULL: it is gone, or hidden. */
static FILE *open_proc(const struct predict_look *l, const char *name)
{
	int fd = openat(l->proc, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f && fd >= 0)
		close(fd);
	return f;
}

static bool on_local_disk(const struct predict_look *l, unsigned long mnt_id)
{
	/* The writer's own list: it may live in another mount namespace. */
	FILE *f = open_proc(l, "mountinfo");
	size_t size = 0, seen = 0;
	char *line = NULL;
	bool local = false;
	ssize_t n;

	while (f && !local && seen < MOUNTINFO_MAX && (n = getline(&line, &size, f)) > 0) {
		seen += (size_t)n;
		local = line_is_local(line, mnt_id);
	}
	free(line);
	if (f)
		fclose(f);
	return local;
}

/* ---- the first step ---- */

/*
 * Is it a regular file, by the kernel's cache? To tell of another kind may take a lock that is held
 * for ever: that of an epoll, while it asks a file whose file system does not answer.
 */
static bool is_regular(const struct predict_look *l, const char *number)
{
	char path[32];
	struct statx sx;

	snprintf(path, sizeof(path), "fd/%.16s", number);
	return !statx(l->proc, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &sx) &&
	       S_ISREG(sx.stx_mode);
}

/* Position and mount from fdinfo. False when it is gone, or not open for reading. */
static bool read_fdinfo(int dirfd, const char *name, struct source *ret)
{
	unsigned long flags;
	char text[512];
	const char *at;
	ssize_t n;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	if (strncmp(text, "pos:", 4))
		return false;
	ret->fd = (int)strtol(name, NULL, 10);
	ret->pos = strtoull(text + 4, NULL, 10);
	at = strstr(text, "\nflags:");
	flags = at ? strtoul(at + 7, NULL, 8) : O_PATH;
	at = strstr(text, "\nmnt_id:");
	ret->mnt_id = at ? strtoul(at + 8, NULL, 10) : 0;
	return !(flags & (O_PATH | O_APPEND)) && (flags & O_ACCMODE) != O_WRONLY;
}

/* 0, or -ENOENT: none is open for reading, or there are too many files to tell. */
static int note_sources(struct predict_look *l, DIR *dir)
{
	unsigned seen = 0;
	struct dirent *e;

	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		if (++seen > FDS_MAX)
			return -ENOENT;
		l->count += is_regular(l, e->d_name) &&
			    read_fdinfo(dirfd(dir), e->d_name, &l->sources[l->count]);
	}
	return l->count ? 0 : -ENOENT;
}

int predict_note(struct predict_look *l)
{
	DIR *dir;
	int fd, rc;

	fd = openat(l->proc, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES || errno == EPERM ? -EACCES : -ENOENT;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	rc = note_sources(l, dir);
	closedir(dir);
	return rc;
}

int predict_begin(const struct predict_query *q, struct predict_look **ret)
{
	struct predict_look *l;
	char path[64];
	size_t len;

	if (q->tid <= 0 || !q->end || q->end > INT64_MAX || q->start >= q->end)
		return -ENOENT;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->q = *q;
	snprintf(path, sizeof(path), "/proc/%d", (int)l->q.tid);
	l->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->proc < 0) {
		predict_free(l);
		return -ENOENT;
	}
	/* Copied, so that a look that hangs holds no staged file. */
	len = q->end < SAMPLE ? (size_t)q->end : SAMPLE;
	if (pread(q->staged_fd, l->first, len, 0) == (ssize_t)len &&
	    pread(q->staged_fd, l->last, len, (off_t)(q->end - len)) == (ssize_t)len)
		l->len = len;
	l->q.staged_fd = -1;
	*ret = l;
	return 0;
}

void predict_free(struct predict_look *l)
{
	if (!l)
		return;
	if (l->proc >= 0)
		close(l->proc);
	free(l);
}

/* ---- the second step ---- */

/*
 * The size of a regular file that may be the source; 0: it is none. From the
 * kernel's cache, so that a file on a network is not asked for.
 */
static uint64_t size_of(const struct predict_look *l, const struct source *s)
{
	char path[32];
	struct statx sx;

	snprintf(path, sizeof(path), "fd/%d", s->fd);
	if (statx(l->proc, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_SIZE,
		  &sx) ||
	    !S_ISREG(sx.stx_mode))
		return 0;
	if (l->q.own_dev && makedev(sx.stx_dev_major, sx.stx_dev_minor) == l->q.own_dev)
		return 0;
	/* Files of /proc and /sys say 0; an empty file is nobody's source. */
	return sx.stx_size;
}

/* The one source and its size; NULL: none, or several. */
static const struct source *find_source(const struct predict_look *l, uint64_t *ret_size)
{
	const struct source *found = NULL;

	for (size_t i = 0; i < l->count; i++) {
		uint64_t size = size_of(l, &l->sources[i]);

		if (!size)
			continue;
		if (found)
			return NULL;
		found = &l->sources[i];
		*ret_size = size;
	}
	return found;
}

/*
 * Does the position say that the source was read exactly as far as we were
 * written? Not where the file may be our own output: that is so on a mount of
 * which own_dev isn't known, hence on none but a local disk.
 */
static bool follows(const struct predict_look *l, const struct source *s)
{
	return s->pos == l->q.end && (l->q.own_dev || on_local_disk(l, s->mnt_id));
}

/* Are real, effective, saved and file system user ID of the thread all the writer's? */
static bool is_one_user(const struct predict_look *l)
{
	unsigned id[4], uid = l->q.uid;
	FILE *f = open_proc(l, "status");
	char *line = NULL;
	size_t size = 0;
	bool one = false;

	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "Uid: %u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4)
			one = id[0] == uid && id[1] == uid && id[2] == uid && id[3] == uid;
	free(line);
	if (f)
		fclose(f);
	return one;
}

/* A duplicate of the writer's descriptor; negative errno where the kernel refuses. */
static int receive(const struct predict_look *l, int number)
{
	int fd, err, pidfd = (int)syscall(SYS_pidfd_open, l->q.tid, 0);

	if (pidfd < 0) /* not the first thread of its process */
		pidfd = (int)syscall(SYS_pidfd_open, l->q.tid, PIDFD_OF_THREAD);
	if (pidfd < 0)
		return -errno;
	/* l->proc answers: the number was still the writer's when the pidfd was made. */
	if (!is_one_user(l)) {
		close(pidfd);
		return -EPERM;
	}
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	err = errno;
	close(pidfd);
	return fd < 0 ? -err : fd;
}

static bool is_local(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < sizeof(local_magics) / sizeof(local_magics[0]); i++)
		if ((uint64_t)(unsigned long)fs.f_type == local_magics[i])
			return true;
	return false;
}

/* By the mode: a process that has become another user's may hold more than that user may read. */
static bool may_read(const struct predict_query *q, const struct stat *st)
{
	if (!q->uid)
		return true;
	if (st->st_uid == q->uid)
		return st->st_mode & S_IRUSR;
	if (st->st_gid == q->gid)
		return st->st_mode & S_IRGRP;
	return st->st_mode & S_IROTH;
}

/* Could the writer read just this, through just this descriptor? */
static bool is_readable(const struct predict_look *l, int fd, struct stat *ret)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && !(flags & (O_PATH | O_APPEND)) && (flags & O_ACCMODE) != O_WRONLY &&
	       is_local(fd) && fstat(fd, ret) == 0 && S_ISREG(ret->st_mode) &&
	       may_read(&l->q, ret) && is_one_user(l);
}

static bool same_bytes(int fd, const char *ours, uint64_t at, size_t len)
{
	char theirs[SAMPLE];

	return pread(fd, theirs, len, (off_t)at) == (ssize_t)len && !memcmp(ours, theirs, len);
}

/* Do the source's bytes equal ours at the beginning and at the end of what was written? */
static bool looks_alike(const struct predict_look *l, const struct source *s, uint64_t *ret_size)
{
	struct stat st;
	bool same;
	int fd;

	/* Closing what is received is a close() to its file system: none but a local one. */
	if (!l->len || s->pos || !on_local_disk(l, s->mnt_id))
		return false;
	fd = receive(l, s->fd);
	if (fd < 0)
		return false;
	/* By now the number may stand for any other file: nothing above is believed. */
	same = is_readable(l, fd, &st) && (uint64_t)st.st_size >= l->q.end &&
	       same_bytes(fd, l->first, 0, l->len) &&
	       same_bytes(fd, l->last, l->q.end - l->len, l->len);
	if (same)
		*ret_size = (uint64_t)st.st_size;
	close(fd);
	return same;
}

int predict_finish(const struct predict_look *l, uint64_t *ret_size)
{
	const struct source *s;
	uint64_t size = 0;

	s = find_source(l, &size);
	if (!s || size < l->q.end)
		return -ENOENT;
	if (!follows(l, s) && !looks_alike(l, s, &size))
		return -ENOENT;
	*ret_size = size;
	return 0;
}
