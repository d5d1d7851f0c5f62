/*
 * The directory of data files, and what waits to be unlinked.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/state/data_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/digest.h"
#include "net/base/fdio.h"
#include "net/base/log.h"

#define CREATE_ATTEMPTS 8

struct doomed {
	struct doomed *next;
	char id[DATA_ID_SIZE];
	bool gone;
};

bool data_id_valid(const char *id)
{
	return strlen(id) == DATA_ID_LEN && strspn(id, "0123456789abcdef") == DATA_ID_LEN;
}

void data_name(char ret[DATA_NAME_SIZE], const char *id)
{
	snprintf(ret, DATA_NAME_SIZE, "%s" DATA_END, id);
}

/* ---- files ---- */

static int random_id(char ret[DATA_ID_SIZE])
{
	uint64_t n;
	int rc;

	rc = digest_random(&n, sizeof(n));
	if (!rc)
		snprintf(ret, DATA_ID_SIZE, "%016llx", (unsigned long long)n);
	return rc;
}

int datadir_open_file(struct datadir *d, const char *id, int flags)
{
	char name[DATA_NAME_SIZE];
	int fd;

	data_name(name, id);
	fd = openat(d->fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int datadir_create(struct datadir *d, char ret_id[DATA_ID_SIZE], int *ret_fd)
{
	int fd = -EEXIST, rc;

	for (int tries = 0; fd == -EEXIST && tries < CREATE_ATTEMPTS; tries++) {
		rc = random_id(ret_id);
		if (rc)
			return rc;
		fd = datadir_open_file(d, ret_id, O_RDWR | O_CREAT | O_EXCL);
	}
	if (fd < 0)
		return fdio_told(fd);
	*ret_fd = fd;
	return 0;
}

static int unlink_data(const struct datadir *d, const char *id)
{
	char name[DATA_NAME_SIZE];

	data_name(name, id);
	return unlinkat(d->fd, name, 0) && errno != ENOENT ? -errno : 0;
}

void datadir_unmake(struct datadir *d, const char *id)
{
	unlink_data(d, id);
}

void datadir_protect(struct datadir *d, const char *id)
{
	char name[DATA_NAME_SIZE];

	data_name(name, id);
	if (fchmodat(d->fd, name, 0400, 0))
		log_debug("%s: %s", name, strerror(errno));
}

int datadir_set_aside(struct datadir *d, const char *id)
{
	char name[DATA_NAME_SIZE];
	int to, rc = 0;

	if (mkdirat(d->fd, DATA_DAMAGED, 0700) && errno != EEXIST)
		return -errno;
	to = openat(d->fd, DATA_DAMAGED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	data_name(name, id);
	if (renameat(d->fd, name, to, name) && errno != ENOENT)
		rc = -errno;
	close(to);
	return rc;
}

int datadir_sync(struct datadir *d)
{
	return fsync(d->fd) ? -errno : 0;
}

const char *datadir_era(const struct datadir *d)
{
	return d->era;
}

int datadir_fd(const struct datadir *d)
{
	return d->fd;
}

/* ---- data that is to be unlinked ---- */

/* Note that the data on list is gone, and free it. */
static void forgive_list(struct datadir *d, struct doomed *list)
{
	struct doomed *next;
	int rc = statedb_begin_freeing(d->db);

	for (; list; list = next) {
		next = list->next;
		if (!rc && list->gone)
			files_forgive(d->db, list->id);
		free(list);
	}
	if (!rc)
		statedb_commit(d->db, NULL);
}

/* Unlink the data on list and free it; what fails stays noted for the next open. */
static void unlink_list(struct datadir *d, struct doomed *list)
{
	/* A power cut must not bring back a row whose data is gone. */
	int rc = statedb_sync(d->db, statedb_seq(d->db));

	/* Outside a transaction: a large file takes a second. */
	for (struct doomed *one = list; one; one = one->next)
		one->gone = !rc && unlink_data(d, one->id) == 0;
	forgive_list(d, list);
}

void datadir_flush(struct datadir *d)
{
	struct doomed *list;

	pthread_mutex_lock(&d->lock);
	list = d->doomed;
	d->doomed = NULL;
	pthread_mutex_unlock(&d->lock);
	if (list)
		unlink_list(d, list);
}

static bool unlink_some(struct hash_job *job)
{
	datadir_flush((struct datadir *)((char *)job - offsetof(struct datadir, unlinking)));
	return false;
}

void datadir_doom(struct datadir *d, const char *id)
{
	struct doomed *one = malloc(sizeof(*one));
	bool queued;

	/* Out of memory: the next open unlinks it. */
	if (!one)
		return;
	snprintf(one->id, sizeof(one->id), "%s", id);
	pthread_mutex_lock(&d->lock);
	one->next = d->doomed;
	d->doomed = one;
	queued = d->disk != NULL;
	if (queued)
		pool_queue(d->disk, &d->unlinking);
	pthread_mutex_unlock(&d->lock);
	if (!queued)
		datadir_flush(d);
}

void datadir_set_worker(struct datadir *d, struct pool *disk)
{
	struct pool *before;

	pthread_mutex_lock(&d->lock);
	before = d->disk;
	d->disk = disk;
	pthread_mutex_unlock(&d->lock);
	if (before)
		pool_remove(before, &d->unlinking);
	datadir_flush(d);
}

struct datadir *data_new(struct statedb *db)
{
	struct datadir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->fd = -1;
	d->db = db;
	d->unlinking.run = unlink_some;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

void datadir_close(struct datadir *d)
{
	if (!d)
		return;
	datadir_flush(d);
	if (d->fd >= 0)
		close(d->fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
