/*
 * Bring staged data and its row to stable storage; begin to write it back early.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/data.h"
#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"
#include "fs/state/store.h"
#include "net/base/digest.h"
#include "net/base/fdio.h"
#include "net/base/log.h"

#define BACK_STEP (16ULL << 20) /* bytes written before their write-back begins */
#define COPY_BUFFER (256U << 10)
#define NO_PAGE (1LL << 60) /* behind every file */

/* ---- a sync that failed ---- */

/*
 * The pages that failed may be clean in memory: from now on reading proves nothing, and the next
 * fdatasync() returns 0. Only an MD5 of before can tell (note_sure()).
 */
static void break_bytes(struct staged *st, int err)
{
	bool first;

	pthread_mutex_lock(&st->lock);
	first = !st->broken;
	st->broken = true;
	pthread_mutex_unlock(&st->lock);
	if (first)
		log_error(DATA_DIR "/%s: its bytes did not reach the disk: %s; check the disk of "
				   "state_dir",
			  st->id, strerror(-err));
}

/* No write-back has failed so far: an MD5 that is known is that of the bytes written. */
static void note_sure(struct staged *st)
{
	pthread_mutex_lock(&st->lock);
	if (staged_final(st) && staged_hash_hex(st, st->sure_md5) == 0)
		st->sure_at = st->changes;
	pthread_mutex_unlock(&st->lock);
}

/* Keep the descriptor open until done(). It, or negative errno. */
static int use(struct staged *st)
{
	int fd;

	pthread_mutex_lock(&st->lock);
	fd = staged_fd_locked(st);
	st->syncs += fd >= 0;
	pthread_mutex_unlock(&st->lock);
	return fd;
}

static void done(struct staged *st)
{
	pthread_mutex_lock(&st->lock);
	st->syncs--;
	pthread_mutex_unlock(&st->lock);
}

/* What a copy has to be, and of which bytes. False: nobody can tell. */
static bool sure_bytes(struct staged *st, char ret_md5[DIGEST_HEX_SIZE], uint64_t *ret_size,
		       uint64_t *ret_changes)
{
	bool sure;

	pthread_mutex_lock(&st->lock);
	sure = staged_final(st) && st->fate != STAGED_GIVEN && !st->removed &&
	       st->sure_at == st->changes;
	memcpy(ret_md5, st->sure_md5, DIGEST_HEX_SIZE);
	*ret_size = st->size;
	*ret_changes = st->changes;
	pthread_mutex_unlock(&st->lock);
	return sure;
}

static int copy_all(int from, int to, uint64_t size, struct digest *d)
{
	unsigned char *buf = malloc(COPY_BUFFER);
	uint64_t at = 0;
	int rc = buf ? 0 : -ENOMEM;

	while (!rc && at < size) {
		size_t want = size - at < COPY_BUFFER ? (size_t)(size - at) : COPY_BUFFER;
		ssize_t n = pread(from, buf, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			rc = n ? -errno : -EIO;
		if (!rc)
			rc = digest_update(d, buf, (size_t)n);
		if (!rc)
			rc = fdio_write(to, buf, (size_t)n, NULL);
		at += rc ? 0 : (uint64_t)n;
	}
	free(buf);
	return rc;
}

/* Copy size bytes to the new file fd, and sync them; -EIO if they are not those of md5. */
static int copy_synced(int from, int fd, uint64_t size, const char *md5)
{
	struct digest *d = digest_new();
	char hex[DIGEST_HEX_SIZE];
	int rc = d ? 0 : -ENOMEM;

	if (!rc)
		rc = copy_all(from, fd, size, d);
	if (!rc)
		rc = digest_hex(d, hex);
	digest_free(d);
	if (!rc && strcmp(hex, md5))
		rc = -EIO;
	if (!rc && fdatasync(fd))
		rc = -errno;
	return rc;
}

/* The copy takes the place of the data, under its name and its descriptor. */
static int swap(struct staged *st, int fd, const char *name, uint64_t changes)
{
	char data[DATA_NAME_SIZE];
	int dirfd = datadir_fd(st->sg->data), rc = 0;
	struct stat sb;

	data_name(data, st->id);
	pthread_mutex_lock(&st->record_lock);
	pthread_mutex_lock(&st->lock);
	if (!staged_final(st) || st->changes != changes || st->fate == STAGED_GIVEN || st->removed)
		rc = -EIO;
	if (!rc && fstat(st->fd, &sb) == 0) {
		const struct timespec times[2] = { sb.st_atim, sb.st_mtim };

		if (futimens(fd, times))
			log_debug("%s: %s", name, strerror(errno));
	}
	if (!rc && renameat(dirfd, name, dirfd, data))
		rc = -errno;
	/* Others use the number of the descriptor: it stays. */
	if (!rc && dup3(fd, st->fd, O_CLOEXEC) < 0)
		rc = -errno;
	if (!rc) {
		st->broken = false;
		st->dir_synced = false;
	}
	pthread_mutex_unlock(&st->lock);
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}

/* Under sync_lock. 0: the data lies in a new file, synced but for its name. */
static int copy_anew(struct staged *st, int from)
{
	char md5[DIGEST_HEX_SIZE], name[DATA_NAME_SIZE];
	int dirfd = datadir_fd(st->sg->data), fd, rc;
	uint64_t size, changes;

	if (!sure_bytes(st, md5, &size, &changes))
		return -EIO;
	snprintf(name, sizeof(name), "%s" DATA_COPY, st->id);
	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = copy_synced(from, fd, size, md5);
	if (!rc)
		rc = swap(st, fd, name, changes);
	if (rc)
		unlinkat(dirfd, name, 0);
	else
		log_warn(DATA_DIR "/%s: its bytes were copied to another place of the disk",
			 st->id);
	close(fd);
	return rc;
}

/* ---- data and row ---- */

static int sync_name(struct staged *st)
{
	int rc;

	if (atomic_load(&st->dir_synced))
		return 0;
	if (atomic_load(&st->sg->dir_broken))
		return -EIO;
	rc = datadir_sync(st->sg->data);
	if (rc) {
		atomic_store(&st->sg->dir_broken, true);
		log_error("the directory of staged files can't be synced: %s; no fsync succeeds "
			  "until the next mount",
			  strerror(-rc));
		return rc;
	}
	atomic_store(&st->dir_synced, true);
	return 0;
}

static bool is_broken(struct staged *st, uint64_t *ret_changes)
{
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = st->broken;
	*ret_changes = st->changes;
	pthread_mutex_unlock(&st->lock);
	return ret;
}

/* Under sync_lock. */
static int sync_data(struct staged *st, int fd)
{
	uint64_t changes;
	int rc = 0;

	if (is_broken(st, &changes))
		rc = copy_anew(st, fd);
	else if (fdatasync(fd))
		rc = -errno;
	if (rc) {
		break_bytes(st, rc);
		return rc;
	}
	rc = sync_name(st);
	if (rc)
		return rc;
	pthread_mutex_lock(&st->lock);
	if (st->synced < changes)
		st->synced = changes;
	pthread_mutex_unlock(&st->lock);
	return 0;
}

int staged_sync(struct staged *st)
{
	int fd, rc;

	pthread_mutex_lock(&st->sync_lock);
	fd = use(st);
	rc = fd < 0 ? fd : sync_data(st, fd);
	if (fd >= 0)
		done(st);
	pthread_mutex_unlock(&st->sync_lock);
	return rc;
}

bool staged_synced(struct staged *st)
{
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = staged_is_synced(st);
	pthread_mutex_unlock(&st->lock);
	return ret;
}

bool staged_broken(struct staged *st)
{
	uint64_t changes;

	return is_broken(st, &changes);
}

int staged_check(struct staged *st)
{
	uint64_t changes;
	int fd, rc = 0;

	/* Not while a sync runs, which may wait for the disk: it will tell. */
	if (pthread_mutex_trylock(&st->sync_lock))
		return 0;
	fd = use(st);
	if (fd < 0 || is_broken(st, &changes))
		rc = fd < 0 ? fd : -EIO;
	/* Waits for no page, and tells errors of all; some file systems don't have it. */
	else if (sync_file_range(fd, NO_PAGE, 1, SYNC_FILE_RANGE_WAIT_BEFORE) &&
		 (errno == EIO || errno == ENOSPC || errno == EDQUOT))
		rc = -errno;
	if (!rc)
		note_sure(st);
	if (fd >= 0)
		done(st);
	pthread_mutex_unlock(&st->sync_lock);
	if (rc)
		break_bytes(st, rc);
	return rc;
}

int staged_sync_record(struct staged *st)
{
	uint64_t seq = atomic_load(&st->saved);

	if (!staged_has_name(st))
		return -ENOENT;
	if (!seq || atomic_load(&st->row_stale))
		return -ENODATA;
	return statedb_sync(st->sg->db, seq);
}

bool staged_row_is_stale(const struct staged *st)
{
	return atomic_load(&st->row_stale);
}

int staged_await_change(struct staged *st)
{
	uint64_t seq = atomic_load(&st->barrier);
	int rc;

	if (atomic_load(&st->row_stale))
		return -ENODATA;
	rc = seq ? statedb_sync(st->sg->db, seq) : 0;
	/* Unless the row told of closed bytes once more meanwhile, and no longer does. */
	if (!rc)
		atomic_compare_exchange_strong(&st->barrier, &seq, 0);
	return rc;
}

void staged_compared(struct staged *st, bool right)
{
	pthread_mutex_lock(&st->lock);
	st->spoiled = !right;
	if (right)
		snprintf(st->era, sizeof(st->era), "%s", datadir_era(st->sg->data));
	pthread_mutex_unlock(&st->lock);
}

/* ---- write-back ---- */

static bool write_some_back(struct hash_job *job)
{
	struct staged *st = (struct staged *)((char *)job - offsetof(struct staged, back_job));
	uint64_t from, to;
	int fd = use(st);

	if (fd < 0)
		return false;
	pthread_mutex_lock(&st->lock);
	from = st->back_from;
	to = st->back_to;
	st->back_from = st->back_to = 0;
	pthread_mutex_unlock(&st->lock);
	/* It only begins: a sync tells of errors. */
	if (to > from &&
	    sync_file_range(fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE))
		log_debug(DATA_DIR "/%s: write-back: %s", st->id, strerror(errno));
	done(st);
	return false;
}

void staged_write_back(struct staged *st, uint64_t start, uint64_t end)
{
	struct staging *sg = st->sg;

	struct pool *disk;

	pthread_mutex_lock(&sg->lock);
	disk = sg->disk;
	pthread_mutex_unlock(&sg->lock);
	if (!disk || start >= end)
		return;
	if (st->back_from == st->back_to) {
		st->back_from = start;
		st->back_to = end;
	}
	if (start < st->back_from)
		st->back_from = start;
	if (end > st->back_to)
		st->back_to = end;
	if (st->back_to - st->back_from < BACK_STEP)
		return;
	/* Once: a worker may be reading it. */
	if (!st->back_job.run)
		st->back_job.run = write_some_back;
	pthread_mutex_lock(&sg->lock);
	if (sg->disk)
		pool_queue(sg->disk, &st->back_job);
	pthread_mutex_unlock(&sg->lock);
}

void staged_end_write_back(struct staged *st)
{
	struct pool *disk;

	pthread_mutex_lock(&st->sg->lock);
	disk = st->sg->disk;
	pthread_mutex_unlock(&st->sg->lock);
	/* Without workers no job of theirs is left. */
	if (disk && st->back_job.run)
		pool_remove(disk, &st->back_job);
}
