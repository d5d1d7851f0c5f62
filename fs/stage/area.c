#include "fs/stage/area.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/stage/area_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define DAMAGED_DIR "damaged"
#define ROOM_ASKED_BYTES (64ULL << 20) /* ask the disk again after this many bytes */
#define ROOM_ASKED_MS 1000	       /* or after this time */

bool staging_id_valid(const char *id)
{
	return strlen(id) == STAGED_ID_LEN && strspn(id, "0123456789abcdef") == STAGED_ID_LEN;
}

void staging_name(char ret[STAGED_NAME_SIZE], const char *id, const char *ending)
{
	snprintf(ret, STAGED_NAME_SIZE, "%s%s", id, ending);
}

/* True if name is an id and ending; ret: the id. */
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

/* ---- data that is to be unlinked ---- */

struct doomed {
	struct doomed *next;
	char id[STAGED_ID_LEN + 1];
};

static int unlink_data(const struct staging *sg, const char *id)
{
	char name[STAGED_NAME_SIZE];

	staging_name(name, id, STAGED_DATA);
	return unlinkat(sg->dirfd, name, 0) && errno != ENOENT ? -errno : 0;
}

/* Unlink the data on list and free it; what fails stays noted for the next open. */
static void unlink_list(struct staging *sg, struct doomed *list)
{
	struct doomed *next;
	int rc;

	/* A power cut must not bring back a row whose data is gone. */
	rc = statedb_sync(sg->db, statedb_seq(sg->db));
	if (!rc)
		rc = statedb_begin(sg->db);
	for (; list; list = next) {
		next = list->next;
		if (!rc && unlink_data(sg, list->id) == 0)
			files_forgive(sg->db, list->id);
		free(list);
	}
	if (!rc)
		statedb_commit(sg->db, NULL);
}

static struct doomed *take_doomed(struct staging *sg)
{
	struct doomed *list;

	pthread_mutex_lock(&sg->lock);
	list = sg->doomed;
	sg->doomed = NULL;
	pthread_mutex_unlock(&sg->lock);
	return list;
}

static bool unlink_some(struct hash_job *job)
{
	struct staging *sg = (struct staging *)((char *)job - offsetof(struct staging, unlinking));
	struct doomed *list = take_doomed(sg);

	if (list)
		unlink_list(sg, list);
	return false;
}

void staging_doom(struct staging *sg, const char *id)
{
	struct doomed *d = malloc(sizeof(*d));
	bool queued;

	/* Out of memory: the next open unlinks it. */
	if (!d)
		return;
	snprintf(d->id, sizeof(d->id), "%s", id);
	d->next = NULL;
	pthread_mutex_lock(&sg->lock);
	queued = sg->disk != NULL;
	if (queued) {
		d->next = sg->doomed;
		sg->doomed = d;
		pool_queue(sg->disk, &sg->unlinking);
	}
	pthread_mutex_unlock(&sg->lock);
	if (!queued)
		unlink_list(sg, d);
}

void staging_set_worker(struct staging *sg, struct pool *disk)
{
	pthread_mutex_lock(&sg->lock);
	sg->disk = disk;
	pthread_mutex_unlock(&sg->lock);
}

/* ---- what a dead daemon left ---- */

static int sweep_doomed(void *arg, const char *id)
{
	struct staging *sg = arg;

	if (!staging_id_valid(id))
		return 0;
	staging_doom(sg, id);
	return 0;
}

/*
 * Data without a row: the daemon died before the first commit. Its name is not known: set it aside,
 * or remove it if empty.
 */
static int sweep_orphan(struct staging *sg, const char *id)
{
	char name[STAGED_NAME_SIZE];
	struct stat sb;

	if (files_has(sg->db, id))
		return 0;
	staging_name(name, id, STAGED_DATA);
	if (fstatat(sg->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (sb.st_size) {
		log_error("staging/%s: no record says what it is; set aside in staging/damaged",
			  id);
		return staging_set_aside(sg, id);
	}
	return unlinkat(sg->dirfd, name, 0) ? -errno : 0;
}

/* Fail if there are records of a former version: their data would be taken for orphans. */
static int refuse_former(struct staging *sg)
{
	struct id_list l = { NULL, 0, 0 };
	int rc = list_ids(sg, ".rec", &l);

	free(l.v);
	if (rc || !l.n)
		return rc;
	log_error("staging/ holds %zu file(s) of an earlier version of uploadfs, which are not "
		  "published; publish or discard them with that version (uploadfs recover), or "
		  "choose another state_dir",
		  l.n);
	return -EPROTONOSUPPORT;
}

/* The daemon died while it copied data anew (staged_sync()). */
static int sweep_copies(struct staging *sg)
{
	struct id_list l = { NULL, 0, 0 };
	char name[STAGED_NAME_SIZE];
	int rc = list_ids(sg, STAGED_COPY, &l);

	for (size_t i = 0; i < l.n; i++) {
		staging_name(name, l.v[i], STAGED_COPY);
		unlinkat(sg->dirfd, name, 0);
	}
	free(l.v);
	return rc;
}

static int sweep(struct staging *sg)
{
	struct id_list l = { NULL, 0, 0 };
	size_t i;
	int rc;

	rc = refuse_former(sg);
	if (!rc)
		rc = sweep_copies(sg);
	if (rc)
		return rc;
	rc = files_each(sg->db, FILES_DOOMED, sweep_doomed, sg);
	/* A damaged database may have lost rows: leave data without a row in place. */
	if (rc || !statedb_is_intact(sg->db))
		return rc;
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

	if (!cfg->part_size || !cfg->pool || !cfg->db)
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
	sg->write_back = cfg->write_back;
	sg->pool = cfg->pool;
	sg->db = cfg->db;
	sg->unlinking.run = unlink_some;
	pthread_mutex_init(&sg->lock, NULL);
	rc = files_define(sg->db);
	if (!rc)
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
	unlink_some(&sg->unlinking);
	close(sg->dirfd);
	pthread_mutex_destroy(&sg->lock);
	free(sg);
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

/* Under sg->lock. Ask the disk rarely: asking at each write costs a system call for every 4 KiB. */
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
	return files_each(sg->db, FILES_STAGED, fn, arg);
}

/* Move ID.data to damaged/. 0, also without data. */
static int move_data_aside(struct staging *sg, const char *id)
{
	char name[STAGED_NAME_SIZE];
	int to, rc = 0;

	if (mkdirat(sg->dirfd, DAMAGED_DIR, 0700) && errno != EEXIST)
		return -errno;
	to = openat(sg->dirfd, DAMAGED_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	staging_name(name, id, STAGED_DATA);
	if (renameat(sg->dirfd, name, to, name) && errno != ENOENT)
		rc = -errno;
	close(to);
	return rc;
}

int staging_set_aside(struct staging *sg, const char *id)
{
	int rc;

	if (!staging_id_valid(id))
		return -EINVAL;
	rc = move_data_aside(sg, id);
	if (!rc)
		rc = statedb_begin(sg->db);
	if (rc)
		return rc;
	files_set_aside(sg->db, id);
	return statedb_commit(sg->db, NULL);
}
