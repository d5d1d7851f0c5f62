/*
 * The write-ahead log: sync it for several callers at once; checkpoint it when it is time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/state/store_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define IDLE_BYTES (1UL << 20)	/* a smaller WAL is not worth a checkpoint */
#define FULL_BYTES (64UL << 20) /* checkpoint a larger WAL even under load */
/* Beyond that the WAL is emptied even if the disk is slow, and commits wait for it. */
#define LIMIT_BYTES (512UL << 20)
#define IDLE_MS 1000
#define SLOW_MS 50		/* a sync that takes longer: don't sync under the lock now */
#define REST_BYTES (128U << 10) /* to be copied under the lock */
#define ROUNDS 8

/* ---- durability ---- */

/* Under wal_lock. */
static void sync_once(struct statedb *s)
{
	uint64_t upto = s->committed;
	int rc;

	s->syncing = true;
	pthread_mutex_unlock(&s->wal_lock);
	rc = fdatasync(s->wal_fd) ? errno : 0;
	/* Pages that failed to reach the disk may be marked clean: never retry. */
	if (rc)
		statedb_break(s, strerror(rc));
	pthread_mutex_lock(&s->wal_lock);
	s->syncing = false;
	if (!rc && s->durable < upto)
		s->durable = upto;
	pthread_cond_broadcast(&s->synced);
}

int statedb_sync(struct statedb *s, uint64_t seq)
{
	int err;

	pthread_mutex_lock(&s->wal_lock);
	while (!s->broken && s->durable < seq) {
		if (s->syncing)
			pthread_cond_wait(&s->synced, &s->wal_lock);
		else
			sync_once(s);
	}
	/* Commits durable before the failure stay durable. */
	err = s->durable < seq ? s->broken : 0;
	pthread_mutex_unlock(&s->wal_lock);
	return err;
}

void statedb_sync_soon(struct statedb *s)
{
	pthread_mutex_lock(&s->wal_lock);
	s->sync_now = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->wal_lock);
}

uint64_t statedb_seq(struct statedb *s)
{
	uint64_t seq;

	pthread_mutex_lock(&s->wal_lock);
	seq = s->committed;
	pthread_mutex_unlock(&s->wal_lock);
	return seq;
}

/* ---- checkpoints ---- */

/* Called by SQLite after each commit, with the number of pages in the WAL. */
static int note_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct statedb *s = arg;
	uint64_t before;

	(void)db;
	(void)name;
	pthread_mutex_lock(&s->wal_lock);
	before = s->wal_bytes;
	s->wal_bytes = WAL_HEAD_BYTES + (uint64_t)pages * WAL_FRAME_BYTES;
	/* Between these bounds the thread looks once a second: a wake-up a commit is dear. */
	if ((before < IDLE_BYTES && s->wal_bytes >= IDLE_BYTES) || s->wal_bytes >= FULL_BYTES)
		pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->wal_lock);
	return SQLITE_OK;
}

/* Copy the rest; begin the WAL anew. */
static int checkpoint(struct statedb *s)
{
	static const char touch[] = "UPDATE meta SET value = value + 1 WHERE key = 'checkpoints'";
	int err;

	pthread_mutex_lock(&s->lock);
	err = statedb_copy_rest(s);
	pthread_mutex_unlock(&s->lock);
	if (err)
		return err;
	/*
	 * Write now: the first write restarts the WAL and syncs its header, which a FUSE thread
	 * should not wait for.
	 */
	err = statedb_begin(s);
	if (!err) {
		statedb_run(s, touch, NULL, NULL);
		err = statedb_commit(s, NULL);
	}
	return err;
}

/* Sync the WAL, whatever it holds, and tell how long that takes. */
static int time_sync(struct statedb *s, uint64_t *ret_ms)
{
	uint64_t begun = clock_mono_ms();
	int rc = fdatasync(s->wal_fd) ? errno : 0;

	if (rc)
		statedb_break(s, strerror(rc));
	*ret_ms = clock_mono_ms() - begun;
	return rc ? -EIO : 0;
}

int statedb_idle(struct statedb *s)
{
	uint64_t bytes, took = 0, left = REST_BYTES + 1;
	int err;

	pthread_mutex_lock(&s->wal_lock);
	bytes = s->wal_bytes;
	err = s->broken;
	pthread_mutex_unlock(&s->wal_lock);
	if (err || bytes < IDLE_BYTES)
		return err;
	/* Each round leaves what came during it. */
	for (unsigned n = 0; !err && left > REST_BYTES && n < ROUNDS; n++) {
		err = statedb_sync(s, statedb_seq(s));
		if (!err)
			err = statedb_copy_ahead(s, &left);
	}
	if (!err)
		err = time_sync(s, &took);
	/* The rest and the WAL's new header are synced under the lock: not on a slow disk. */
	if (!err && (took > SLOW_MS || left > REST_BYTES) && bytes < LIMIT_BYTES)
		return -EAGAIN;
	return err ? err : checkpoint(s);
}

/* True if a checkpoint is due. seen: the last commit at the previous check. Under wal_lock. */
static bool is_due(struct statedb *s, uint64_t seen)
{
	return s->wal_bytes >= FULL_BYTES || (s->wal_bytes >= IDLE_BYTES && s->committed == seen);
}

static void *keep_house(void *arg)
{
	struct statedb *s = arg;
	uint64_t seen, until;
	bool failed = false;

	pthread_mutex_lock(&s->wal_lock);
	while (!s->stop) {
		if (s->sync_now) {
			/* The growth, too, so that the first sync of a file need not. */
			s->sync_now = false;
			pthread_mutex_unlock(&s->wal_lock);
			statedb_sync(s, statedb_seq(s));
			pthread_mutex_lock(&s->wal_lock);
			continue;
		}
		if (s->broken || s->wal_bytes < IDLE_BYTES) {
			pthread_cond_wait(&s->work, &s->wal_lock);
			continue;
		}
		seen = s->committed;
		until = clock_mono_ms() + IDLE_MS;
		/* Full or slow disk: the bytes stay in the WAL; retry once a second. */
		while (!s->stop && !s->sync_now && (failed || s->wal_bytes < FULL_BYTES) &&
		       clock_mono_ms() < until)
			clock_cond_wait(&s->work, &s->wal_lock, until);
		if (s->stop || s->sync_now || !is_due(s, seen))
			continue;
		pthread_mutex_unlock(&s->wal_lock);
		failed = statedb_idle(s) != 0;
		pthread_mutex_lock(&s->wal_lock);
	}
	pthread_mutex_unlock(&s->wal_lock);
	return NULL;
}

/* ---- the thread ---- */

int statedb_wal_start(struct statedb *s)
{
	char *path;
	int rc;

	if (asprintf(&path, "%s-wal", s->path) < 0)
		return -ENOMEM;
	s->wal_fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	rc = s->wal_fd < 0 ? -errno : 0;
	free(path);
	if (rc)
		return rc;
	sqlite3_wal_hook(s->db, note_wal, s);
	rc = pthread_create(&s->thread, NULL, keep_house, s);
	s->has_thread = !rc;
	return -rc;
}

void statedb_wal_stop(struct statedb *s)
{
	if (!s->has_thread)
		return;
	pthread_mutex_lock(&s->wal_lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->wal_lock);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
}
