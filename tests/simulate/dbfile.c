/* SQLite's files on our disk. A connection holds them alone, as the store's does. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/store_impl.h"
#include "tests/simulate/disk.h"
#include "tests/simulate/sim.h"

#define REGIONS 16
#define READ_LOCKS SQLITE_SHM_NLOCK

/* What the connections of a daemon share; in its memory. */
static struct shared {
	void *regions[REGIONS];
	int readers[READ_LOCKS];       /* of each lock of the shared memory; -1: one that writes */
	int readers_of_file, reserved; /* of the locks of the database itself */
	bool exclusive;
} shared[HOSTS];

struct dbfile {
	sqlite3_file base;
	struct disk_file *file;
	int lock;	      /* of the file: SQLITE_LOCK_... */
	int held[READ_LOCKS]; /* of the shared memory: 1 reads, -1 writes */
	int chunk;	      /* the file grows by so many bytes */
	bool remove;
	char path[96];
};

static int code_of(ssize_t err, int otherwise)
{
	return err == -ENOSPC ? SQLITE_FULL : otherwise;
}

static int db_unlock(sqlite3_file *file, int how);

static int db_close(sqlite3_file *file)
{
	struct dbfile *d = (struct dbfile *)file;

	db_unlock(file, SQLITE_LOCK_NONE);
	if (d->remove)
		disk_unlink(d->file->host, d->path);
	disk_put(d->file);
	return SQLITE_OK;
}

static int db_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 off)
{
	struct dbfile *d = (struct dbfile *)file;
	ssize_t n = disk_read(d->file, buf, (size_t)len, (uint64_t)off);

	if (n == len)
		return SQLITE_OK;
	memset((char *)buf + n, 0, (size_t)(len - n));
	return SQLITE_IOERR_SHORT_READ;
}

static int db_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 off)
{
	struct dbfile *d = (struct dbfile *)file;
	const char *p = buf;

	/* A short write is tried again, as in SQLite's own. */
	while (len) {
		ssize_t n = disk_write(d->file, p, (size_t)len, (uint64_t)off);

		if (n < 0)
			return code_of(n, SQLITE_IOERR_WRITE);
		p += n;
		off += n;
		len -= (int)n;
	}
	return SQLITE_OK;
}

static int db_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct dbfile *d = (struct dbfile *)file;

	if (d->chunk)
		size = (size + d->chunk - 1) / d->chunk * d->chunk;
	disk_truncate(d->file, (uint64_t)size);
	return SQLITE_OK;
}

static int db_sync(sqlite3_file *file, int flags)
{
	struct dbfile *d = (struct dbfile *)file;

	(void)flags;
	return disk_sync(d->file) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int db_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	*ret = (sqlite3_int64)((struct dbfile *)file)->file->len;
	return SQLITE_OK;
}

static struct shared *shared_of(const struct dbfile *d)
{
	return &shared[d->file->host];
}

static int db_lock(sqlite3_file *file, int how)
{
	struct dbfile *d = (struct dbfile *)file;
	struct shared *s = shared_of(d);

	if (how <= d->lock)
		return SQLITE_OK;
	if (d->lock == SQLITE_LOCK_NONE) {
		if (s->exclusive)
			return SQLITE_BUSY;
		s->readers_of_file++;
		d->lock = SQLITE_LOCK_SHARED;
	}
	if (how >= SQLITE_LOCK_RESERVED && d->lock < SQLITE_LOCK_RESERVED) {
		if (s->reserved)
			return SQLITE_BUSY;
		s->reserved = 1;
		d->lock = SQLITE_LOCK_RESERVED;
	}
	if (how == SQLITE_LOCK_EXCLUSIVE) {
		if (s->readers_of_file > 1)
			return SQLITE_BUSY;
		s->exclusive = true;
		d->lock = how;
	}
	return SQLITE_OK;
}

static int db_unlock(sqlite3_file *file, int how)
{
	struct dbfile *d = (struct dbfile *)file;
	struct shared *s = shared_of(d);

	if (how >= d->lock)
		return SQLITE_OK;
	if (d->lock == SQLITE_LOCK_EXCLUSIVE)
		s->exclusive = false;
	if (d->lock >= SQLITE_LOCK_RESERVED)
		s->reserved = 0;
	if (how == SQLITE_LOCK_NONE)
		s->readers_of_file--;
	d->lock = how;
	return SQLITE_OK;
}

static int db_reserved(sqlite3_file *file, int *ret)
{
	*ret = shared_of((struct dbfile *)file)->reserved;
	return SQLITE_OK;
}

/* ---- shared memory, among the connections of one daemon ---- */

static int shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
	struct shared *s = shared_of((struct dbfile *)file);

	*ret = NULL;
	if (region >= REGIONS)
		return SQLITE_IOERR_SHMMAP;
	if (!s->regions[region] && extend)
		s->regions[region] = calloc(1, (size_t)size);
	*ret = s->regions[region];
	return SQLITE_OK;
}

static bool can_lock(const struct shared *s, const struct dbfile *d, int i, bool reads)
{
	if (reads)
		return s->readers[i] >= 0;
	return s->readers[i] == (d->held[i] > 0 ? 1 : 0);
}

static int shm_lock(sqlite3_file *file, int from, int count, int flags)
{
	struct dbfile *d = (struct dbfile *)file;
	struct shared *s = shared_of(d);
	bool reads = flags & SQLITE_SHM_SHARED;

	co_point();
	for (int i = from; i < from + count && (flags & SQLITE_SHM_LOCK); i++)
		if (!d->held[i] && !can_lock(s, d, i, reads))
			return SQLITE_BUSY;
	for (int i = from; i < from + count; i++) {
		if (flags & SQLITE_SHM_LOCK && !d->held[i]) {
			d->held[i] = reads ? 1 : -1;
			s->readers[i] += d->held[i];
		} else if (flags & SQLITE_SHM_UNLOCK && d->held[i]) {
			s->readers[i] -= d->held[i];
			d->held[i] = 0;
		}
	}
	return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *file)
{
	(void)file;
}

static int shm_unmap(sqlite3_file *file, int remove)
{
	struct shared *s = shared_of((struct dbfile *)file);

	for (unsigned i = 0; remove && i < REGIONS; i++) {
		free(s->regions[i]);
		s->regions[i] = NULL;
	}
	return SQLITE_OK;
}

void dbfile_forget(unsigned host)
{
	memset(&shared[host], 0, sizeof(shared[host]));
}

static int db_control(sqlite3_file *file, int op, void *arg)
{
	struct dbfile *d = (struct dbfile *)file;

	if (op == SQLITE_FCNTL_CHUNK_SIZE) {
		d->chunk = *(int *)arg;
		return SQLITE_OK;
	}
	if (op == SQLITE_FCNTL_SIZE_HINT && d->chunk) {
		uint64_t size = (uint64_t) * (sqlite3_int64 *)arg;

		size = (size + (uint64_t)d->chunk - 1) / (uint64_t)d->chunk * (uint64_t)d->chunk;
		if (size > d->file->len && size - d->file->len > disk_free_bytes(d->file->host))
			return SQLITE_FULL;
		if (size > d->file->len)
			disk_truncate(d->file, size);
		return SQLITE_OK;
	}
	return SQLITE_NOTFOUND;
}

static int db_sector(sqlite3_file *file)
{
	(void)file;
	return 4096;
}

static int db_traits(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = db_close,
	.xRead = db_read,
	.xWrite = db_write,
	.xTruncate = db_truncate,
	.xSync = db_sync,
	.xFileSize = db_size,
	.xLock = db_lock,
	.xUnlock = db_unlock,
	.xCheckReservedLock = db_reserved,
	.xFileControl = db_control,
	.xSectorSize = db_sector,
	.xDeviceCharacteristics = db_traits,
	.xShmMap = shm_map,
	.xShmLock = shm_lock,
	.xShmBarrier = shm_barrier,
	.xShmUnmap = shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
		    int *ret_flags)
{
	struct dbfile *d = (struct dbfile *)file;
	unsigned host;

	(void)vfs;
	memset(d, 0, sizeof(*d));
	if (!path)
		return SQLITE_CANTOPEN;
	d->file = disk_find(path, &host);
	if (!d->file && !(flags & SQLITE_OPEN_CREATE))
		return SQLITE_CANTOPEN;
	if (!d->file)
		d->file = disk_make(host, path, false);
	d->file->refs++;
	d->remove = flags & SQLITE_OPEN_DELETEONCLOSE;
	snprintf(d->path, sizeof(d->path), "%s", path);
	d->base.pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
	unsigned host;

	(void)vfs;
	if (!disk_find(path, &host))
		return SQLITE_IOERR_DELETE_NOENT;
	disk_unlink(host, path);
	if (sync)
		disk_sync_entries(host);
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret)
{
	unsigned host;
	const struct disk_file *f = disk_find(path, &host);

	(void)vfs;
	*ret = f && (flags != SQLITE_ACCESS_EXISTS || f->len);
	return SQLITE_OK;
}

static int vfs_full(sqlite3_vfs *vfs, const char *path, int size, char *ret)
{
	(void)vfs;
	snprintf(ret, (size_t)size, "%s", path);
	return SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int len, char *ret)
{
	(void)vfs;
	for (int i = 0; i < len; i++)
		ret[i] = (char)luck_bits(LUCK_RANDOM);
	return len;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	if (co_self())
		co_block_until(NULL, sim_ms + 1 + (uint64_t)us / 1000);
	return us;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	*ret = 2460000.5;
	return SQLITE_OK;
}

static int vfs_error(sqlite3_vfs *vfs, int len, char *ret)
{
	(void)vfs;
	(void)len;
	(void)ret;
	return 0;
}

static sqlite3_vfs vfs_sim = {
	.iVersion = 1,
	.szOsFile = sizeof(struct dbfile),
	.mxPathname = 90,
	.zName = STATEDB_VFS,
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full,
	.xRandomness = vfs_random,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_error,
};

void dbfile_reset(void)
{
	memset(shared, 0, sizeof(shared));
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_RESET);
}

void dbfile_init(void)
{
	/* No mutexes: a coroutine may wait in here. */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_initialize();
	sqlite3_vfs_register(&vfs_sim, 1);
}
