/*
 * Open the directory of data files, and clear up what a dead daemon left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/state/cached.h"
#include "fs/state/data_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/boot.h"
#include "net/base/fdio.h"
#include "net/base/log.h"

#define UUID_FILE "uuid"
#define UUID_LEN 32
#define MNT_ID_UNIQUE 0x4000U /* STATX_MNT_ID_UNIQUE of linux/stat.h */
#define FORMER_DIR "staging"  /* what data/ was called */
#define FORMER_CACHE "cache"  /* where content was, by File id; it is fetched again */
#define FORMER_FETCH ".fetch"

/* ---- listing ---- */

struct id_list {
	char (*v)[DATA_ID_SIZE];
	size_t n, cap;
};

/* True if name is an id and ending; ret: the id. */
static bool split_name(const char *name, const char *ending, char ret[DATA_ID_SIZE])
{
	char id[DATA_ID_SIZE];

	if (strlen(name) < DATA_ID_LEN || strcmp(name + DATA_ID_LEN, ending))
		return false;
	memcpy(id, name, DATA_ID_LEN);
	id[DATA_ID_LEN] = '\0';
	if (!data_id_valid(id))
		return false;
	memcpy(ret, id, sizeof(id));
	return true;
}

static int id_list_add(struct id_list *l, const char *id)
{
	size_t cap = l->cap ? l->cap * 2 : 64;
	char(*v)[DATA_ID_SIZE];

	if (l->n == l->cap) {
		v = realloc(l->v, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	memcpy(l->v[l->n++], id, DATA_ID_SIZE);
	return 0;
}

static int id_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The ids of all files with that ending, sorted; the caller frees ret->v. */
static int list_ids(int dirfd, const char *ending, struct id_list *ret)
{
	struct id_list l = { NULL, 0, 0 };
	char id[DATA_ID_SIZE];
	struct dirent *de;
	int fd, rc = 0;
	DIR *dir;

	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (!rc && (errno = 0, de = readdir(dir)))
		if (split_name(de->d_name, ending, id))
			rc = id_list_add(&l, id);
	if (!rc)
		rc = -errno;
	closedir(dir);
	if (rc) {
		free(l.v);
		return rc;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), id_compare);
	*ret = l;
	return 0;
}

/* ---- the directory ---- */

/* Fail if there are records of a former version: their data would be taken for orphans. */
static int refuse_records(int dirfd)
{
	struct id_list l = { NULL, 0, 0 };
	int rc = list_ids(dirfd, ".rec", &l);

	free(l.v);
	if (rc || !l.n)
		return rc;
	log_error("%s/ holds %zu file(s) of an earlier version of uploadfs, which are not "
		  "published; publish or discard them with that version (uploadfs recover), or "
		  "choose another state_dir",
		  FORMER_DIR, l.n);
	return -EPROTONOSUPPORT;
}

/* Read data/uuid. -ENOENT: none, or an empty one, as a power cut leaves it. */
static int read_uuid(int dirfd, char ret[UUID_LEN + 1])
{
	int fd = openat(dirfd, UUID_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, ret, UUID_LEN, 0);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n <= 0)
		return n ? (int)n : -ENOENT;
	ret[n] = '\0';
	return 0;
}

static int write_uuid(int dirfd, const char *uuid)
{
	int fd = openat(dirfd, UUID_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);
	int rc;

	if (fd < 0)
		return -errno;
	rc = fdio_write(fd, uuid, strlen(uuid), NULL);
	if (!rc && fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

/*
 * True if the data files belong to db. A directory without a UUID belongs to it if it is empty, or
 * was made by a version without UUIDs (former).
 */
static int check_uuid(int dirfd, struct statedb *db, bool former, bool *ret_ours)
{
	struct id_list l = { NULL, 0, 0 };
	char uuid[UUID_LEN + 1];
	int rc = read_uuid(dirfd, uuid);

	*ret_ours = !rc && !strcmp(uuid, statedb_uuid(db));
	if (rc != -ENOENT)
		return rc;
	rc = list_ids(dirfd, DATA_END, &l);
	free(l.v);
	if (rc || (l.n && !(former && statedb_is_intact(db))))
		return rc;
	*ret_ours = true;
	return write_uuid(dirfd, statedb_uuid(db));
}

/* Open name below at; -ENOENT, ... */
static int open_below(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/*
 * Take over staging/ of a version before: it becomes data/ by one rename, and a link under the
 * former name leads there. 0 also without one.
 */
static int take_former(int state_fd, struct statedb *db)
{
	int fd = open_below(state_fd, FORMER_DIR), rc;
	bool ours;

	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR ? 0 : fd;
	rc = refuse_records(fd);
	if (!rc)
		rc = check_uuid(fd, db, true, &ours);
	if (!rc && renameat2(state_fd, FORMER_DIR, state_fd, DATA_DIR, RENAME_NOREPLACE))
		rc = errno == EEXIST ? 0 : -errno;
	close(fd);
	return rc;
}

/* Unlink all files of a directory of a version before, and the directory if nothing is left. */
static void remove_former(int at, const char *name)
{
	int fd = open_below(at, name);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((de = readdir(dir)) != NULL)
		unlinkat(fd, de->d_name, 0);
	closedir(dir);
	if (unlinkat(at, name, AT_REMOVEDIR))
		log_debug("%s: %s", name, strerror(errno));
}

/* Make data/, or take over the former directory, and lock it. */
static int open_dir(const char *state_dir, struct statedb *db, int *ret_fd)
{
	int at = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, rc;

	if (at < 0)
		return -errno;
	rc = take_former(at, db);
	if (!rc && mkdirat(at, DATA_DIR, 0700) && errno != EEXIST)
		rc = -errno;
	fd = rc ? rc : open_below(at, DATA_DIR);
	if (fd >= 0) {
		remove_former(at, FORMER_CACHE "/" FORMER_FETCH);
		remove_former(at, FORMER_CACHE);
	}
	/* Scripts that look for the former name find the files. */
	if (fd >= 0 && symlinkat(DATA_DIR, at, FORMER_DIR) && errno != EEXIST)
		log_debug("%s: %s", FORMER_DIR, strerror(errno));
	close(at);
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* A mount's id is unique for a boot since Linux 6.8; before, a later mount may get it again. */
static void name_era(struct datadir *d)
{
	struct statx sx = { 0 };

	if (statx(d->fd, "", AT_EMPTY_PATH, STATX_MNT_ID | MNT_ID_UNIQUE, &sx))
		sx.stx_mnt_id = 0;
	if (boot_id()[0])
		snprintf(d->era, sizeof(d->era), "%s/%llu", boot_id(),
			 (unsigned long long)sx.stx_mnt_id);
}

/* ---- what a dead daemon left ---- */

static int sweep_doomed(void *arg, const char *id)
{
	if (data_id_valid(id))
		datadir_doom(arg, id);
	return 0;
}

/*
 * Data without a row: the daemon died before the first commit. Its name is not known: set it aside,
 * or unlink it if empty.
 */
static int sweep_orphan(struct datadir *d, const char *id)
{
	char name[DATA_NAME_SIZE];
	struct stat sb;

	data_name(name, id);
	if (fstatat(d->fd, name, &sb, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (sb.st_size) {
		log_error(DATA_DIR "/%s: no record says what it is; set aside in " DATA_DIR
				   "/" DATA_DAMAGED,
			  id);
		return datadir_set_aside(d, id);
	}
	datadir_unmake(d, id);
	return 0;
}

/* The daemon died while it copied data anew. */
static int sweep_copies(struct datadir *d)
{
	struct id_list l = { NULL, 0, 0 };
	char name[DATA_NAME_SIZE];
	int rc = list_ids(d->fd, DATA_COPY, &l);

	for (size_t i = 0; i < l.n; i++) {
		snprintf(name, sizeof(name), "%s" DATA_COPY, l.v[i]);
		unlinkat(d->fd, name, 0);
	}
	free(l.v);
	return rc;
}

static int sweep_orphans(struct datadir *d, bool ours)
{
	struct id_list l = { NULL, 0, 0 };
	size_t i, left = 0;
	int rc;

	rc = list_ids(d->fd, DATA_END, &l);
	for (i = 0; i < l.n && !rc; i++) {
		if (files_has(d->db, l.v[i]) || cached_has_data(d->db, l.v[i]) ||
		    files_is_doomed(d->db, l.v[i]))
			continue;
		if (ours)
			rc = sweep_orphan(d, l.v[i]);
		else
			left++;
	}
	free(l.v);
	if (!rc && left)
		log_error(DATA_DIR "/ belongs to another state.db: %zu file(s) in it have no "
				   "record and stay where they are; see uploadfs recover list",
			  left);
	return rc;
}

static int sweep(struct datadir *d)
{
	bool ours;
	int rc;

	rc = check_uuid(d->fd, d->db, false, &ours);
	if (!rc)
		rc = files_each(d->db, FILES_DOOMED, sweep_doomed, d);
	if (!rc)
		rc = sweep_copies(d);
	if (!rc)
		rc = sweep_orphans(d, ours && statedb_is_intact(d->db));
	return rc;
}

int datadir_open(const char *state_dir, struct statedb *db, struct datadir **ret)
{
	struct datadir *d = data_new(db);
	int rc = d ? 0 : -ENOMEM;

	if (!rc)
		rc = files_define(db);
	if (!rc)
		rc = cached_define(db);
	if (!rc)
		rc = open_dir(state_dir, db, &d->fd);
	if (!rc)
		rc = refuse_records(d->fd);
	if (!rc)
		rc = sweep(d);
	if (!rc)
		name_era(d);
	if (rc) {
		datadir_close(d);
		return rc;
	}
	*ret = d;
	return 0;
}
