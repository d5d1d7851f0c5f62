/*
 * The row of a staged file in the store: saved, renamed, dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/data.h"
#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/log.h"

/* The bytes are about to change: that is durable before they do, if the row is believed. */
static void open_bytes(struct staged *st, uint64_t seq)
{
	if (st->firm)
		atomic_store(&st->barrier, seq);
	st->firm = false;
	atomic_store(&st->row_stale, false);
}

/* What the staged file itself knows of r's bytes. */
static void put_bytes(struct staged *st, struct record *r)
{
	pthread_mutex_lock(&st->lock);
	/* Spoiled bytes are to be compared again, however well they are synced. */
	r->synced = staged_is_synced(st) && !st->spoiled;
	r->era = st->era[0] ? st->era : NULL;
	pthread_mutex_unlock(&st->lock);
}

static int write_row(struct staged *st, const struct record *given)
{
	struct record copy = *given, *r = &copy; /* borrows all its strings */
	struct statedb *db = st->sg->db;
	struct files_lists lists = st->lists;
	uint64_t seq;
	bool takes;
	int rc;

	put_bytes(st, r);
	/* A known file has to become a File before its room can be used again. */
	rc = st->has_row ? statedb_begin_freeing(db) : statedb_begin(db);
	if (rc)
		return rc;
	/* staged_rename() may have set a newer name than the publication knows. */
	rc = files_save_over(db, st->id, r, FILES_OWNER | (st->placed ? 0U : FILES_PLACE), &lists);
	if (!rc && atomic_load(&st->copy))
		rc = files_set_copy(db, st->id, true, st->moved);
	takes = st->takes_place && (r->state == RECORD_COMPLETED || r->state == RECORD_EMPTY);
	if (!rc && takes)
		rc = files_take_place(db, st->id);
	if (rc) {
		statedb_rollback(db);
		return rc;
	}
	rc = statedb_commit(db, &seq);
	if (rc)
		return rc;
	st->has_row = true;
	st->lists = lists;
	atomic_store(&st->saved, seq);
	st->takes_place = st->takes_place && !takes;
	if (r->state == RECORD_WRITING)
		open_bytes(st, seq);
	else
		st->firm = r->synced;
	return 0;
}

int staged_save_record(struct staged *st, const struct record *r, bool durable)
{
	int rc;

	pthread_mutex_lock(&st->record_lock);
	/* Only under this lock fate becomes GIVEN. */
	rc = staged_has_name(st) ? write_row(st, r) : -ESTALE;
	pthread_mutex_unlock(&st->record_lock);
	return rc || !durable ? rc : staged_sync_record(st);
}

/* Under record_lock. */
static int reopen_row(struct staged *st, const struct record *r)
{
	struct statedb *db = st->sg->db;
	uint64_t seq;
	int rc;

	if (!st->has_row)
		return write_row(st, r);
	rc = statedb_begin_freeing(db);
	if (rc)
		return rc;
	st->lists.exact = false;
	files_reopen(db, st->id, r->size);
	for (size_t i = 0; i < r->superseded_count; i++)
		files_add_superseded(db, st->id, r->superseded[i]);
	rc = statedb_commit(db, &seq);
	if (rc)
		return rc;
	atomic_store(&st->saved, seq);
	open_bytes(st, seq);
	return 0;
}

int staged_save_writing(struct staged *st, const struct record *r)
{
	int rc;

	pthread_mutex_lock(&st->record_lock);
	rc = staged_has_name(st) ? reopen_row(st, r) : -ESTALE;
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}

/* Under record_lock: commit the mark. */
static int save_copy(struct staged *st, bool copy, const char *moved)
{
	struct statedb *db = st->sg->db;
	uint64_t seq;
	int rc = statedb_begin(db);

	if (rc)
		return rc;
	files_set_copy(db, st->id, copy, moved);
	rc = statedb_commit(db, &seq);
	if (!rc)
		atomic_store(&st->saved, seq);
	return rc;
}

/* Under record_lock. moved is consumed. */
static void set_copy(struct staged *st, bool copy, char *moved)
{
	free(st->moved);
	st->moved = moved;
	atomic_store(&st->copy, copy);
}

int staged_mark_copy(struct staged *st, const char *moved)
{
	char *id = moved ? strdup(moved) : NULL;
	int rc = moved && !id ? -ENOMEM : 0;

	pthread_mutex_lock(&st->record_lock);
	/* The first save writes the mark. */
	if (!rc && st->has_row && staged_has_name(st))
		rc = save_copy(st, true, id);
	if (!rc)
		set_copy(st, true, id);
	else
		free(id);
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}

bool staged_moves(struct staged *st, const char *file_id)
{
	bool ret;

	pthread_mutex_lock(&st->record_lock);
	ret = st->moved && !strcmp(st->moved, file_id);
	pthread_mutex_unlock(&st->record_lock);
	return ret;
}

bool staged_is_copy(const struct staged *st)
{
	return atomic_load(&st->copy);
}

int staged_disown(struct staged *st)
{
	int rc = 0;

	if (!atomic_load(&st->copy))
		return 0;
	pthread_mutex_lock(&st->record_lock);
	if (st->has_row && staged_has_name(st))
		rc = save_copy(st, false, NULL);
	if (!rc)
		set_copy(st, false, NULL);
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}

void staged_intend(struct staged *st, bool takes_place)
{
	pthread_mutex_lock(&st->record_lock);
	st->takes_place = takes_place;
	pthread_mutex_unlock(&st->record_lock);
}

int staged_rename(struct staged *st, const struct staged_place *to)
{
	const char *const *superseded = to->superseded, *const *spared = to->spared;
	struct statedb *db = st->sg->db;
	uint64_t seq;
	int rc;

	pthread_mutex_lock(&st->record_lock);
	/* No row yet: the first save inserts it, with the name of that time. */
	if (!st->has_row && !to->victim) {
		pthread_mutex_unlock(&st->record_lock);
		return 0;
	}
	rc = statedb_begin(db);
	if (rc)
		goto out;
	st->lists.exact = false;
	files_set_place(db, st->id, to->purpose, to->path);
	for (; superseded && *superseded; superseded++)
		files_add_superseded(db, st->id, *superseded);
	for (; spared && *spared; spared++)
		files_spare(db, st->id, *spared);
	if (to->victim)
		files_set_removed(db, to->victim->id);
	rc = statedb_commit(db, &seq);
	if (!rc && st->has_row) {
		st->placed = true;
		atomic_store(&st->saved, seq);
	}
out:
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}

/* Take record_lock, and begin to change columns of the row. -ENOENT: the first save has them. */
static int begin_columns(struct staged *st)
{
	int rc;

	pthread_mutex_lock(&st->record_lock);
	rc = st->has_row && staged_has_name(st) ? statedb_begin_freeing(st->sg->db) : -ENOENT;
	if (rc)
		pthread_mutex_unlock(&st->record_lock);
	return rc;
}

static int commit_columns(struct staged *st)
{
	uint64_t seq;
	int rc = statedb_commit(st->sg->db, &seq);

	if (!rc)
		atomic_store(&st->saved, seq);
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}

int staged_save_wishes(struct staged *st, const char *mime_type, uint64_t expires_after,
		       uint64_t declared)
{
	int rc = begin_columns(st);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	files_set_wishes(st->sg->db, st->id, mime_type, expires_after, declared);
	return commit_columns(st);
}

int staged_save_owner(struct staged *st, uint32_t mode, uint32_t uid, uint32_t gid)
{
	int rc = begin_columns(st);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	files_set_owner(st->sg->db, st->id, mode, uid, gid);
	return commit_columns(st);
}

int staged_save_check(struct staged *st, bool on)
{
	int rc = begin_columns(st);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	st->lists.exact = false;
	files_set_check(st->sg->db, st->id, on);
	return commit_columns(st);
}

void staged_placed(struct staged *st)
{
	pthread_mutex_lock(&st->record_lock);
	/* Without a row the first save inserts it, under the name that counts then. */
	st->placed = st->has_row;
	pthread_mutex_unlock(&st->record_lock);
}

int staged_unlink(struct staged *st)
{
	int rc = statedb_begin_freeing(st->sg->db);

	if (rc)
		return rc;
	files_set_removed(st->sg->db, st->id);
	return statedb_commit(st->sg->db, NULL);
}

/* Under record_lock. */
static int drop_row(struct staged *st)
{
	struct statedb *db = st->sg->db;
	uint64_t seq;
	int rc;

	if (!st->has_row)
		return 0;
	rc = statedb_begin_freeing(db);
	if (rc)
		return rc;
	files_drop(db, st->id);
	rc = statedb_commit(db, &seq);
	if (!rc) {
		st->has_row = st->lists.exact = false;
		atomic_store(&st->saved, 0);
		open_bytes(st, seq);
	}
	return rc;
}

void staged_drop_record(struct staged *st)
{
	int rc = 0;

	pthread_mutex_lock(&st->record_lock);
	if (staged_has_name(st))
		rc = drop_row(st);
	if (rc)
		atomic_store(&st->row_stale, true);
	pthread_mutex_unlock(&st->record_lock);
	if (rc)
		log_error(DATA_DIR "/%s: its record is wrong and can't be dropped: %s", st->id,
			  strerror(-rc));
}
