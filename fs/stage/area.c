#include "fs/stage/area.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/stage/stage_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define DAMAGED_DIR "damaged"
#define ROOM_ASKED_BYTES (64ULL << 20) /* the disk is asked again after so many bytes */
#define ROOM_ASKED_MS 1000	       /* or after so long */

bool staging_id_valid(const char *id)
{
	return strlen(id) == STAGED_ID_LEN && strspn(id, "0123456789abcdef") == STAGED_ID_LEN;
}

void staging_name(char ret[STAGED_NAME_SIZE], const char *id, const char *ending)
{
	snprintf(ret, STAGED_NAME_SIZE, "%s%s", id, ending);
}

/* Whether name is an id followed by ending; the id goes to ret. */
static bool split_name(const char *name, const char *ending, char ret[STAGED_ID_LEN + 1])
{
	char id[STAGED_ID_LEN + 1];

	if (strlen(name) < STAGED_ID_LEN || strcmp(name + STAGED_ID_LEN, ending))
		return false;
	memcpy(id, name, STAGED_ID_LEN);
	id[STAGED_ID_LEN] = '\0';
	if (!staging_id_valid(id))
		return false;
	memcpy(ret, id, sizeof(id));
	return true;
}

struct id_list {
	char (*v)[STAGED_ID_LEN + 1];
	size_t n, cap;
};

static int id_list_add(struct id_list *l, const char *id)
{
	size_t cap = l->cap ? l->cap * 2 : 64;
	char(*v)[STAGED_ID_LEN + 1];

	if (l->n == l->cap) {
		v = realloc(l->v, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	memcpy(l->v[l->n++], id, STAGED_ID_LEN + 1);
	return 0;
}

static int id_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The ids of all files with that ending, sorted; the caller frees ret->v. */
static int list_ids(const struct staging *sg, const char *ending, struct id_list *ret)
{
	struct id_list l = { NULL, 0, 0 };
	char id[STAGED_ID_LEN + 1];
	struct dirent *de;
	int fd, rc = 0;
	DIR *dir;

	fd = openat(sg->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

/* Records that were being written when the daemon died: their former versions stand. */
static int sweep_temporaries(struct staging *sg)
{
	char name[STAGED_NAME_SIZE];
	struct id_list l;
	size_t i;
	int rc;

	rc = list_ids(sg, STAGED_RECORD ".tmp", &l);
	if (rc)
		return rc;
	for (i = 0; i < l.n; i++) {
		staging_name(name, l.v[i], STAGED_RECORD ".tmp");
		if (unlinkat(sg->dirfd, name, 0) && errno != ENOENT)
			rc = -errno;
	}
	free(l.v);
	return rc;
}

/*
 * Data without a record: the daemon died before the first record was saved.
 * Nobody can tell what it was to become, so it is set aside, or removed if
 * there is nothing in it.
 */
static int sweep_orphan(struct staging *sg, const char *id)
{
	char name[STAGED_NAME_SIZE];
	struct stat sb;

	staging_name(name, id, STAGED_RECORD);
	if (!fstatat(sg->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (errno != ENOENT)
		return -errno;
	staging_name(name, id, STAGED_DATA);
	if (fstatat(sg->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (sb.st_size) {
		log_error("staging/%s: no record says what it is; set aside in staging/damaged",
			  id);
		return staging_set_aside(sg, id);
	}
	return unlinkat(sg->dirfd, name, 0) ? -errno : 0;
}

static int sweep(struct staging *sg)
{
	struct id_list l;
	size_t i;
	int rc;

	rc = sweep_temporaries(sg);
	if (!rc)
		rc = list_ids(sg, STAGED_DATA, &l);
	if (rc)
		return rc;
	for (i = 0; i < l.n && !rc; i++)
		rc = sweep_orphan(sg, l.v[i]);
	free(l.v);
	return rc;
}

static int open_dir(const char *dir, int *ret_fd)
{
	int fd, rc;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int staging_open(const struct staging_config *cfg, struct staging **ret)
{
	struct staging *sg;
	int rc;

	if (!cfg->part_size || !cfg->pool)
		return -EINVAL;
	sg = calloc(1, sizeof(*sg));
	if (!sg)
		return -ENOMEM;
	rc = open_dir(cfg->dir, &sg->dirfd);
	if (rc) {
		free(sg);
		return rc;
	}
	sg->part_size = cfg->part_size;
	sg->size_max = cfg->size_max;
	sg->reserve = cfg->reserve;
	sg->pool = cfg->pool;
	pthread_mutex_init(&sg->lock, NULL);
	rc = sweep(sg);
	if (rc) {
		staging_close(sg);
		return rc;
	}
	*ret = sg;
	return 0;
}

void staging_close(struct staging *sg)
{
	if (!sg)
		return;
	close(sg->dirfd);
	pthread_mutex_destroy(&sg->lock);
	free(sg);
}

uint64_t staging_part_size(const struct staging *sg)
{
	return sg->part_size;
}

int staging_get_space(struct staging *sg, struct staging_space *ret)
{
	struct statvfs vfs;

	if (fstatvfs(sg->dirfd, &vfs))
		return -errno;
	ret->disk_size = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	ret->disk_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	pthread_mutex_lock(&sg->lock);
	ret->used = sg->used;
	ret->files = sg->files;
	pthread_mutex_unlock(&sg->lock);
	return 0;
}

/* Under sg->lock. Asking for each write would cost a system call for every 4 KiB. */
static int check_room(struct staging *sg, uint64_t fresh)
{
	uint64_t now, left;
	struct statvfs vfs;

	if (!sg->reserve || !fresh)
		return 0;
	now = clock_mono_ms();
	if (fresh > sg->room || now - sg->asked_ms >= ROOM_ASKED_MS) {
		if (fstatvfs(sg->dirfd, &vfs))
			return -errno;
		left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
		left = left > sg->reserve ? left - sg->reserve : 0;
		sg->room = 0;
		if (fresh > left)
			return -ENOSPC;
		sg->room = left < fresh + ROOM_ASKED_BYTES ? left : fresh + ROOM_ASKED_BYTES;
		sg->asked_ms = now;
	}
	sg->room -= fresh;
	return 0;
}

int staging_charge(struct staging *sg, uint64_t growth, uint64_t fresh)
{
	int rc = 0;

	pthread_mutex_lock(&sg->lock);
	if (growth && sg->size_max && (sg->used > sg->size_max || growth > sg->size_max - sg->used))
		rc = -ENOSPC;
	if (!rc)
		rc = check_room(sg, fresh);
	if (!rc)
		sg->used += growth;
	pthread_mutex_unlock(&sg->lock);
	return rc;
}

void staging_adopt(struct staging *sg, uint64_t bytes)
{
	pthread_mutex_lock(&sg->lock);
	sg->used += bytes;
	pthread_mutex_unlock(&sg->lock);
}

void staging_release(struct staging *sg, uint64_t bytes)
{
	pthread_mutex_lock(&sg->lock);
	sg->used -= bytes;
	pthread_mutex_unlock(&sg->lock);
}

void staging_count(struct staging *sg, int files)
{
	pthread_mutex_lock(&sg->lock);
	sg->files += (unsigned)files;
	pthread_mutex_unlock(&sg->lock);
}

int staging_scan(struct staging *sg, int (*fn)(void *arg, const char *id), void *arg)
{
	struct id_list l;
	size_t i;
	int rc;

	/* The whole list first: fn moves files about while it is called. */
	rc = list_ids(sg, STAGED_RECORD, &l);
	if (rc)
		return rc;
	for (i = 0; i < l.n && !rc; i++)
		rc = fn(arg, l.v[i]);
	free(l.v);
	return rc;
}

/* 0, also when there is no such file (then *missing is counted up). */
static int move_aside(int from, int to, const char *id, const char *ending, int *missing)
{
	char name[STAGED_NAME_SIZE];

	staging_name(name, id, ending);
	if (!renameat(from, name, to, name))
		return 0;
	if (errno != ENOENT)
		return -errno;
	(*missing)++;
	return 0;
}

int staging_set_aside(struct staging *sg, const char *id)
{
	int to, rc, missing = 0;

	if (!staging_id_valid(id))
		return -EINVAL;
	if (mkdirat(sg->dirfd, DAMAGED_DIR, 0700) && errno != EEXIST)
		return -errno;
	to = openat(sg->dirfd, DAMAGED_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	/* The record last: while it stands, the next scan finds what was not moved yet. */
	rc = move_aside(sg->dirfd, to, id, STAGED_DATA, &missing);
	if (!rc)
		rc = move_aside(sg->dirfd, to, id, STAGED_RECORD, &missing);
	close(to);
	return !rc && missing == 2 ? -ENOENT : rc;
}
