#include "fs/stage/area.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "fs/stage/area_impl.h"
#include "fs/state/data.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/clock.h"

#define ROOM_ASKED_BYTES (64ULL << 20) /* ask the disk again after this many bytes */
#define ROOM_ASKED_MS 1000	       /* or after this time */

int staging_open(const struct staging_config *cfg, struct staging **ret)
{
	struct staging *sg;

	if (!cfg->part_size || !cfg->pool || !cfg->db || !cfg->data)
		return -EINVAL;
	sg = calloc(1, sizeof(*sg));
	if (!sg)
		return -ENOMEM;
	sg->data = cfg->data;
	sg->part_size = cfg->part_size;
	sg->size_max = cfg->size_max;
	sg->reserve = cfg->reserve;
	sg->pool = cfg->pool;
	sg->db = cfg->db;
	pthread_mutex_init(&sg->lock, NULL);
	*ret = sg;
	return 0;
}

void staging_set_worker(struct staging *sg, struct pool *disk)
{
	pthread_mutex_lock(&sg->lock);
	sg->disk = disk;
	pthread_mutex_unlock(&sg->lock);
}

void staging_close(struct staging *sg)
{
	if (!sg)
		return;
	pthread_mutex_destroy(&sg->lock);
	free(sg);
}

int staging_get_space(struct staging *sg, struct staging_space *ret)
{
	struct statvfs vfs;

	if (fstatvfs(datadir_fd(sg->data), &vfs))
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
		if (fstatvfs(datadir_fd(sg->data), &vfs))
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

unsigned staging_files(struct staging *sg)
{
	unsigned n;

	pthread_mutex_lock(&sg->lock);
	n = sg->files;
	pthread_mutex_unlock(&sg->lock);
	return n;
}

int staging_scan(struct staging *sg, int (*fn)(void *arg, const char *id), void *arg)
{
	return files_each(sg->db, FILES_STAGED, fn, arg);
}

int staging_set_aside(struct staging *sg, const char *id)
{
	int rc;

	if (!data_id_valid(id))
		return -EINVAL;
	rc = datadir_set_aside(sg->data, id);
	if (!rc)
		rc = statedb_begin(sg->db);
	if (rc)
		return rc;
	files_set_aside(sg->db, id);
	return statedb_commit(sg->db, NULL);
}
