/*
 * The copy of the write-ahead log into the database: ahead, beside commits, and the rest.
 */
#include <errno.h>

#include "fs/state/store_impl.h"

static int open_one(struct statedb *s, sqlite3 **ret)
{
	static const char settings[] = "PRAGMA mmap_size = 0; PRAGMA synchronous = NORMAL;"
				       "PRAGMA wal_autocheckpoint = 0;"
				       "SELECT count(*) FROM meta";
	int rc = sqlite3_open_v2(s->path, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
				 STATEDB_VFS);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(*ret, settings, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : *ret ? statedb_failed_at(s, *ret, rc) : -ENOMEM;
}

int statedb_copy_open(struct statedb *s)
{
	int rc = open_one(s, &s->keeper);

	return rc ? rc : open_one(s, &s->pin);
}

void statedb_copy_close(struct statedb *s)
{
	sqlite3_close(s->pin);
	sqlite3_close(s->keeper);
	s->pin = s->keeper = NULL;
}

void statedb_copy_steps(struct statedb *s, int bytes)
{
	pthread_mutex_lock(&s->copy_lock);
	sqlite3_file_control(s->keeper, NULL, SQLITE_FCNTL_CHUNK_SIZE, &bytes);
	pthread_mutex_unlock(&s->copy_lock);
}

/* Under copy_lock. */
static int unpin(struct statedb *s)
{
	int rc = s->pinned ? sqlite3_exec(s->pin, "COMMIT", NULL, NULL, NULL) : SQLITE_OK;

	s->pinned = false;
	return rc == SQLITE_OK ? 0 : statedb_failed_at(s, s->pin, rc);
}

/*
 * Read from the present end of the WAL on. While that lasts a commit appends: the one that finds
 * all copied would begin the WAL anew, and sync its header before it returns. Under copy_lock; the
 * WAL holds what is not copied.
 */
static int pin_end(struct statedb *s)
{
	int err = unpin(s), rc;

	if (err)
		return err;
	rc = sqlite3_exec(s->pin, "BEGIN; SELECT count(*) FROM meta", NULL, NULL, NULL);
	s->pinned = !sqlite3_get_autocommit(s->pin);
	return rc == SQLITE_OK ? 0 : statedb_failed_at(s, s->pin, rc);
}

static uint64_t used(struct statedb *s)
{
	uint64_t bytes;

	pthread_mutex_lock(&s->wal_lock);
	bytes = s->wal_bytes;
	pthread_mutex_unlock(&s->wal_lock);
	return bytes;
}

/* Under copy_lock. */
static int copy_to_pin(struct statedb *s)
{
	int pages = 0, done = 0, rc, err = pin_end(s);

	if (err)
		return err;
	rc = sqlite3_wal_checkpoint_v2(s->keeper, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &done);
	if (rc != SQLITE_OK)
		return statedb_failed_at(s, s->keeper, rc);
	s->copied = WAL_HEAD_BYTES + (uint64_t)done * WAL_FRAME_BYTES;
	return 0;
}

int statedb_copy_ahead(struct statedb *s, uint64_t *ret_left)
{
	uint64_t now;
	int err = 0;

	pthread_mutex_lock(&s->copy_lock);
	if (!s->pinned || used(s) > s->copied)
		err = copy_to_pin(s);
	now = used(s);
	*ret_left = now > s->copied ? now - s->copied : 0;
	pthread_mutex_unlock(&s->copy_lock);
	return err;
}

int statedb_copy_rest(struct statedb *s)
{
	int pages = 0, done = 0, rc, err;

	pthread_mutex_lock(&s->copy_lock);
	err = unpin(s);
	rc = err ? SQLITE_OK
		 : sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &done);
	if (rc != SQLITE_OK)
		err = statedb_failed(s, rc);
	pthread_mutex_unlock(&s->copy_lock);
	if (err)
		return err;
	pthread_mutex_lock(&s->wal_lock);
	/* The next commit begins at the start of the file. */
	if (pages == done)
		s->wal_bytes = 0;
	pthread_mutex_unlock(&s->wal_lock);
	return 0;
}
