/*
 * Room in the write-ahead log: allocated ahead, so that a full disk can't keep a commit from making
 * room on it. A checkpoint empties the log without giving its space back.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/state/store_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define GROWN_BYTES (8UL << 20)	   /* at the start: a sync then writes bytes, but no new size */
#define STEP_BYTES (1UL << 20)	   /* of growing later on */
#define AMPLE_BYTES (64UL << 20)   /* with less than this free a checkpoint comes before growing */
#define SMALL_SHARE 16		   /* of what is free, then */
#define SMALL_BYTES (1UL << 20)	   /* but no less */
#define DB_STEP_BYTES (1 << 20)	   /* the database's size is a multiple of it */
#define RESERVE_BYTES (512U << 10) /* for changes that give room back */
#define CHANGE_BYTES (64U << 10)   /* of one change */
#define AGAIN_MS 1000		   /* between two checkpoints that find a full disk */

/* 0 or negative errno: nothing was written. */
static int write_zeros(int fd, uint64_t from, uint64_t upto)
{
	static const char zeros[65536];

	for (uint64_t at = from; at < upto;) {
		size_t len = upto - at < sizeof(zeros) ? (size_t)(upto - at) : sizeof(zeros);
		ssize_t n = pwrite(fd, zeros, len, (off_t)at);
		int err = n < 0 ? errno : ENOSPC;

		if (n < 0 && err == EINTR)
			continue;
		if (n <= 0) {
			if (ftruncate(fd, (off_t)from))
				log_debug("state.db-wal: %s", strerror(errno));
			return -err;
		}
		at += (uint64_t)n;
	}
	return 0;
}

/* Allocate the WAL up to there; SQLite reads zeros behind the last commit as the end. */
static int grow_to(struct statedb *s, uint64_t upto)
{
	struct stat st;
	int rc = 0;

	if (fstat(s->wal_fd, &st))
		return -errno;
	/* A large commit has grown it. */
	if (s->wal_size < (uint64_t)st.st_size)
		s->wal_size = (uint64_t)st.st_size;
	if (s->wal_size < upto)
		rc = write_zeros(s->wal_fd, s->wal_size, upto);
	if (!rc && s->wal_size < upto)
		s->wal_size = upto;
	return rc;
}

static uint64_t free_bytes(const struct statedb *s)
{
	struct statvfs room;

	return fstatvfs(s->wal_fd, &room) ? 0 : (uint64_t)room.f_bavail * room.f_frsize;
}

static uint64_t size_at_start(const struct statedb *s)
{
	uint64_t left = free_bytes(s), share = left / SMALL_SHARE;

	if (left >= AMPLE_BYTES || share > GROWN_BYTES)
		return GROWN_BYTES;
	return share < SMALL_BYTES ? SMALL_BYTES : share;
}

static uint64_t used_bytes(struct statedb *s)
{
	uint64_t used;

	pthread_mutex_lock(&s->wal_lock);
	used = s->wal_bytes;
	pthread_mutex_unlock(&s->wal_lock);
	return used;
}

/* A checkpoint has to find room in the database, too: give it space in steps, the first one now. */
static void grow_database(struct statedb *s)
{
	int step = DB_STEP_BYTES;

	sqlite3_file_control(s->db, NULL, SQLITE_FCNTL_CHUNK_SIZE, &step);
	statedb_copy_steps(s, step);
	statedb_copy_rest(s);
}

void statedb_grow(struct statedb *s)
{
	/* Take the lock so that nobody appends meanwhile. */
	pthread_mutex_lock(&s->lock);
	grow_database(s);
	if (grow_to(s, size_at_start(s)))
		grow_to(s, RESERVE_BYTES);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&s->wal_lock);
	s->sync_now = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->wal_lock);
}

/* The disk is nearly full: use the WAL once more from its start. */
static void empty_on_full_disk(struct statedb *s)
{
	uint64_t now = clock_mono_ms();

	if (s->full_ms && now - s->full_ms < AGAIN_MS)
		return;
	/* The database itself may have to grow for it. */
	s->full_ms = statedb_copy_rest(s) ? now : 0;
}

bool statedb_beyond_reserve(struct statedb *s)
{
	return !s->wal_size || used_bytes(s) + CHANGE_BYTES + RESERVE_BYTES <= s->wal_size;
}

int statedb_make_room(struct statedb *s, bool freeing)
{
	uint64_t want = freeing ? CHANGE_BYTES : CHANGE_BYTES + RESERVE_BYTES;
	uint64_t used = used_bytes(s);
	int rc;

	if (!s->wal_size || used + want <= s->wal_size)
		return 0;
	if (free_bytes(s) >= AMPLE_BYTES && grow_to(s, used + want + STEP_BYTES) == 0)
		return 0;
	empty_on_full_disk(s);
	used = used_bytes(s);
	rc = used + want <= s->wal_size ? 0 : grow_to(s, used + want);
	return freeing ? 0 : rc;
}
