/*
 * Write and read the rows of cached content.
 */
#include "fs/state/cached.h"

#include <stdio.h>
#include <string.h>

#include "fs/state/files.h"
#include "fs/state/store.h"

int cached_define(struct statedb *db)
{
	static const char sql[] = "CREATE TABLE IF NOT EXISTS cached ("
				  " file_id TEXT PRIMARY KEY, data TEXT NOT NULL UNIQUE,"
				  " bytes INTEGER NOT NULL, md5 TEXT NOT NULL,"
				  " synced INTEGER NOT NULL, era TEXT NOT NULL,"
				  " used_s INTEGER NOT NULL) WITHOUT ROWID";

	return statedb_define(db, sql);
}

void cached_fill(struct cached *c, const char *data, const char *md5, const char *era)
{
	snprintf(c->data, sizeof(c->data), "%s", data);
	snprintf(c->md5, sizeof(c->md5), "%s", md5);
	snprintf(c->era, sizeof(c->era), "%s", era);
}

/* ---- writing ---- */

static int take_data(void *arg, const struct statedb_row *row)
{
	snprintf(arg, DATA_ID_SIZE, "%s", statedb_row_text(row, 0));
	return 0;
}

int cached_put(struct statedb *db, const char *file_id, const struct cached *c)
{
	static const char former[] = "SELECT data FROM cached WHERE file_id = ?1";
	static const char sql[] =
		"INSERT OR REPLACE INTO cached (file_id, data, bytes, md5, synced, era, used_s)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	char data[DATA_ID_SIZE] = "";
	int rc = statedb_each(db, former, STATEDB_ARGS(statedb_text(file_id)), take_data, data);

	if (!rc && data[0] && strcmp(data, c->data))
		rc = files_doom(db, data);
	if (rc)
		return rc;
	return statedb_run(db, sql,
			   STATEDB_ARGS(statedb_text(file_id), statedb_text(c->data),
					statedb_int((int64_t)c->bytes), statedb_text(c->md5),
					statedb_int(c->synced), statedb_text(c->era),
					statedb_int(c->used_s)),
			   NULL);
}

int cached_drop(struct statedb *db, const char *file_id, const char *data)
{
	static const char sql[] = "DELETE FROM cached WHERE file_id = ?1 AND data = ?2";
	int changed = 0;
	int rc = statedb_run(db, sql, STATEDB_ARGS(statedb_text(file_id), statedb_text(data)),
			     &changed);

	return rc || !changed ? rc : files_doom(db, data);
}

int cached_touch(struct statedb *db, const char *file_id, int64_t used_s)
{
	return statedb_run(db, "UPDATE cached SET used_s = ?2 WHERE file_id = ?1",
			   STATEDB_ARGS(statedb_text(file_id), statedb_int(used_s)), NULL);
}

int cached_set_synced(struct statedb *db, const char *file_id, const char *data)
{
	return statedb_run(db, "UPDATE cached SET synced = 1 WHERE file_id = ?1 AND data = ?2",
			   STATEDB_ARGS(statedb_text(file_id), statedb_text(data)), NULL);
}

/* ---- reading ---- */

static int note_found(void *arg, const struct statedb_row *row)
{
	(void)row;
	*(bool *)arg = true;
	return 0;
}

bool cached_has_data(struct statedb *db, const char *data)
{
	bool found = false;
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, "SELECT 1 FROM cached WHERE data = ?1",
			  STATEDB_ARGS(statedb_text(data)), note_found, &found);
	statedb_unlock(db);
	return found || rc;
}

struct reader {
	int (*fn)(void *arg, const char *file_id, const struct cached *c);
	void *arg;
};

static void copy_text(const struct statedb_row *row, int column, char *ret, size_t size)
{
	const char *text = statedb_row_text(row, column);

	snprintf(ret, size, "%s", text ? text : "");
}

static int read_row(void *arg, const struct statedb_row *row)
{
	const struct reader *r = arg;
	const char *file_id = statedb_row_text(row, 0);
	struct cached c = { .bytes = (uint64_t)statedb_row_int(row, 2),
			    .synced = statedb_row_int(row, 4) != 0,
			    .used_s = statedb_row_int(row, 6) };

	copy_text(row, 1, c.data, sizeof(c.data));
	copy_text(row, 3, c.md5, sizeof(c.md5));
	copy_text(row, 5, c.era, sizeof(c.era));
	/* Nothing of ours writes such a row. */
	if (!file_id || !data_id_valid(c.data))
		return 0;
	return r->fn(r->arg, file_id, &c);
}

int cached_each(struct statedb *db,
		int (*fn)(void *arg, const char *file_id, const struct cached *c), void *arg)
{
	static const char sql[] = "SELECT file_id, data, bytes, md5, synced, era, used_s"
				  " FROM cached ORDER BY used_s, file_id";
	struct reader r = { fn, arg };

	return statedb_each(db, sql, NULL, read_row, &r);
}
