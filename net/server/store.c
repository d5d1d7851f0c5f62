/* store: see store.h. */
#include "net/server/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/base/fdio.h"
#include "net/base/log.h"
#include "net/server/model.h"

#define RECORD_MAX (16u << 20)
#define NAME_SIZE (2 * ID_SIZE + 16)

struct store {
	int root, uploads, files, data; /* directories, or -1 */
	int lock;
	bool forgets; /* a sink: no directories */
};

static int open_dir(int at, const char *name, bool make, int *ret)
{
	int fd;

	if (make && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	/* Follow a link only for DIR itself, which is the user's choice. */
	fd = openat(at, name,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | (at == AT_FDCWD ? 0 : O_NOFOLLOW));
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

/* Refuse a directory whose files others could replace. */
static int check_owner(int fd)
{
	struct stat sb;

	if (fstat(fd, &sb) < 0)
		return -errno;
	if (sb.st_uid != geteuid() && sb.st_uid != 0)
		return -EPERM;
	return (sb.st_mode & 022) && !(sb.st_mode & S_ISVTX) ? -EPERM : 0;
}

static int open_checked(int at, const char *name, bool write, int *ret)
{
	int err = open_dir(at, name, write, ret);

	return err || !write ? err : check_owner(*ret);
}

static int take_lock(struct store *st)
{
	st->lock = openat(st->root, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (st->lock < 0)
		return -errno;
	if (flock(st->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

/* Call cb(arg, name) for each name in a directory but "." and "..". */
static int each_name(int dir, int (*cb)(void *arg, const char *name), void *arg)
{
	int err = 0, fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *de;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		err = -errno;
		close(fd);
		return err;
	}
	while (!err && (errno = 0, de = readdir(d))) {
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			err = cb(arg, de->d_name);
	}
	if (!err && errno)
		err = -errno;
	closedir(d);
	return err;
}

static int unlink_tmp(void *arg, const char *name)
{
	const char *dot = strchr(name, '.');

	if (dot && !strcmp(dot, ".tmp"))
		unlinkat(*(const int *)arg, name, 0);
	return 0;
}

int store_open(const char *dir, bool write, struct store **ret)
{
	struct store *st = malloc(sizeof(*st));
	int err;

	if (!st)
		return -ENOMEM;
	*st = (struct store){ -1, -1, -1, -1, -1, false };
	err = open_checked(AT_FDCWD, dir, write, &st->root);
	if (!err && write)
		err = take_lock(st);
	if (!err)
		err = open_checked(st->root, "uploads", write, &st->uploads);
	if (!err)
		err = open_checked(st->root, "files", write, &st->files);
	if (!err)
		err = open_checked(st->root, "data", write, &st->data);
	if (!err && write) {
		each_name(st->uploads, unlink_tmp, &st->uploads);
		each_name(st->files, unlink_tmp, &st->files);
	}
	if (err)
		store_close(st);
	else
		*ret = st;
	return err;
}

int store_open_forgetful(struct store **ret)
{
	struct store *st = malloc(sizeof(*st));

	if (!st)
		return -ENOMEM;
	*st = (struct store){ -1, -1, -1, -1, -1, true };
	*ret = st;
	return 0;
}

bool store_forgets(const struct store *st)
{
	return st->forgets;
}

void store_close(struct store *st)
{
	int *fds, i;

	if (!st)
		return;
	fds = (int[]){ st->data, st->files, st->uploads, st->root, st->lock };
	for (i = 0; i < 5; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(st);
}

static int kind_dir(const struct store *st, enum store_kind kind)
{
	return kind == STORE_UPLOADS ? st->uploads : st->files;
}

int store_record_write(struct store *st, enum store_kind kind, const char *id,
		       const struct buf *text, bool durable)
{
	int dir = kind_dir(st, kind), fd, err;
	char name[NAME_SIZE], tmp[NAME_SIZE];

	if (st->forgets && !text->err)
		return 0;
	if (text->err)
		return text->err;
	snprintf(name, sizeof(name), "%s.json", id);
	snprintf(tmp, sizeof(tmp), "%s.tmp", id);
	/* What a crash left, or a name that somebody prepared: never write into that. */
	unlinkat(dir, tmp, 0);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = fdio_write(fd, buf_str(text), text->len, NULL);
	if (!err && durable && fdatasync(fd) < 0)
		err = -errno;
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && renameat(dir, tmp, dir, name) < 0)
		err = -errno;
	if (!err && durable && fsync(dir) < 0)
		return -errno;
	if (err)
		unlinkat(dir, tmp, 0);
	return err;
}

int store_record_remove(struct store *st, enum store_kind kind, const char *id)
{
	int dir = kind_dir(st, kind);
	char name[NAME_SIZE];

	if (st->forgets)
		return 0;
	snprintf(name, sizeof(name), "%s.json", id);
	/* A removal whose sync failed is repeated. */
	if ((unlinkat(dir, name, 0) < 0 && errno != ENOENT) || fsync(dir) < 0)
		return -errno;
	return 0;
}

/* Open for reading; -EINVAL: not a plain file. A FIFO is not waited for. */
static int open_plain(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), err = 0;
	struct stat sb;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &sb) < 0)
		err = -errno;
	else if (!S_ISREG(sb.st_mode))
		err = -EINVAL;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int read_record(int dir, const char *name, struct buf *text)
{
	char chunk[8192];
	int err = 0, fd = open_plain(dir, name);

	if (fd < 0)
		return fd;
	buf_reset(text);
	while (!err) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n == 0)
			break;
		err = n < 0 ? -errno : buf_add(text, chunk, (size_t)n);
	}
	close(fd);
	return err;
}

int store_record_read(struct store *st, enum store_kind kind, const char *id, struct buf *text)
{
	char name[ID_SIZE + 8];

	if (st->forgets)
		return -ENOENT;
	snprintf(name, sizeof(name), "%s.json", id);
	return read_record(kind_dir(st, kind), name, text);
}

struct record_walk {
	int dir;
	const char *prefix;
	store_record_cb *cb;
	void *arg;
	struct buf text;
};

static int record_name(void *arg, const char *name)
{
	struct record_walk *walk = arg;
	const char *dot = strchr(name, '.');
	char id[ID_SIZE];
	int err;

	if (!dot || strcmp(dot, ".json") || (size_t)(dot - name) >= sizeof(id))
		return 0;
	snprintf(id, sizeof(id), "%.*s", (int)(dot - name), name);
	if (!id_valid(id, walk->prefix))
		return 0;
	err = read_record(walk->dir, name, &walk->text);
	if (err == -ENOENT)
		return 0;
	if (err) {
		log_error("record %s: %s", name, strerror(-err));
		return err;
	}
	return walk->cb(walk->arg, id, buf_str(&walk->text), walk->text.len);
}

int store_record_each(struct store *st, enum store_kind kind, store_record_cb *cb, void *arg)
{
	struct record_walk walk = { .dir = kind_dir(st, kind), .cb = cb, .arg = arg };
	int err;

	if (st->forgets)
		return 0;
	walk.prefix = kind == STORE_UPLOADS ? ID_UPLOAD : ID_FILE;
	buf_init(&walk.text, RECORD_MAX);
	err = each_name(walk.dir, record_name, &walk);
	buf_release(&walk.text);
	return err;
}

int store_data_make(struct store *st, const char *owner)
{
	if (st->forgets)
		return 0;
	return mkdirat(st->data, owner, 0700) < 0 ? -errno : 0;
}

static int unlink_name(void *arg, const char *name)
{
	unlinkat(*(const int *)arg, name, 0);
	return 0;
}

void store_data_remove(struct store *st, const char *owner)
{
	int dir;

	if (st->forgets)
		return;
	if (open_dir(st->data, owner, false, &dir) < 0)
		return;
	each_name(dir, unlink_name, &dir);
	close(dir);
	if (unlinkat(st->data, owner, AT_REMOVEDIR) < 0)
		log_warn("data of %s not removed: %s", owner, strerror(errno));
}

void store_data_sweep(struct store *st, const char *owner)
{
	int dir;

	if (st->forgets)
		return;
	if (open_dir(st->data, owner, false, &dir) < 0)
		return;
	each_name(dir, unlink_tmp, &dir);
	close(dir);
}

struct data_walk {
	store_data_cb *cb;
	void *arg;
};

static int data_name(void *arg, const char *name)
{
	const struct data_walk *walk = arg;

	if (!id_valid(name, ID_UPLOAD) && !id_valid(name, ID_FILE))
		return 0;
	return walk->cb(walk->arg, name);
}

int store_data_each(struct store *st, store_data_cb *cb, void *arg)
{
	struct data_walk walk = { cb, arg };

	if (st->forgets)
		return 0;
	return each_name(st->data, data_name, &walk);
}

static void part_path(char path[NAME_SIZE], const char *owner, const char *id, bool committed)
{
	snprintf(path, NAME_SIZE, "%s/%s%s", owner, id, committed ? "" : ".tmp");
}

int store_part_create(struct store *st, const char *owner, const char *id, int *ret_fd)
{
	char path[NAME_SIZE];
	int fd;

	part_path(path, owner, id, false);
	if (st->forgets)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	else
		fd = openat(st->data, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
			    0600);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int store_part_commit(struct store *st, const char *owner, const char *id)
{
	char from[NAME_SIZE], to[NAME_SIZE];

	if (st->forgets)
		return 0;
	part_path(from, owner, id, false);
	part_path(to, owner, id, true);
	return renameat(st->data, from, st->data, to) < 0 ? -errno : 0;
}

void store_part_remove(struct store *st, const char *owner, const char *id, bool committed)
{
	char path[NAME_SIZE];

	if (st->forgets)
		return;
	part_path(path, owner, id, committed);
	unlinkat(st->data, path, 0);
}

int store_part_open(struct store *st, const char *owner, const char *id, int *ret_fd)
{
	char path[NAME_SIZE];
	int fd;

	part_path(path, owner, id, true);
	if (st->forgets) {
		fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	} else {
		fd = open_plain(st->data, path);
	}
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int store_part_sync(struct store *st, const char *owner, const char *id)
{
	int fd = -1, err = st->forgets ? 0 : store_part_open(st, owner, id, &fd);

	if (err || st->forgets)
		return err;
	if (fdatasync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

int store_owner_sync(struct store *st, const char *owner)
{
	int dir = -1, err = st->forgets ? 0 : open_dir(st->data, owner, false, &dir);

	if (err || st->forgets)
		return err;
	if (fsync(dir) < 0 || fsync(st->data) < 0)
		err = -errno;
	close(dir);
	return err;
}

struct part_walk {
	int dir;
	store_part_cb *cb;
	void *arg;
};

static int part_name(void *arg, const char *name)
{
	const struct part_walk *walk = arg;
	struct stat sb;

	if (!id_valid(name, ID_PART) || fstatat(walk->dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(sb.st_mode))
		return 0;
	return walk->cb(walk->arg, name, (uint64_t)sb.st_size, sb.st_mtim);
}

int store_part_each(struct store *st, const char *owner, store_part_cb *cb, void *arg)
{
	struct part_walk walk = { .cb = cb, .arg = arg };
	int err = st->forgets ? 0 : open_dir(st->data, owner, false, &walk.dir);

	if (err || st->forgets)
		return err;
	err = each_name(walk.dir, part_name, &walk);
	close(walk.dir);
	return err;
}
