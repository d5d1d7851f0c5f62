/*
 * Write the rows of staged files.
 */
#include "fs/state/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/store.h"

/* Columns that a database of an earlier build lacks. */
struct columns {
	bool synced, upload;
};

static int note_column(void *arg, const struct statedb_row *row)
{
	const char *name = statedb_row_text(row, 1);
	struct columns *there = arg;

	if (!name)
		return -ENOMEM;
	there->synced |= !strcmp(name, "synced");
	there->upload |= !strcmp(name, "upload_purpose");
	return 0;
}

static int add_columns(struct statedb *db)
{
	struct columns there = { 0 };
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, "PRAGMA table_info(file)", NULL, note_column, &there);
	statedb_unlock(db);
	/* That build synced all closed files. */
	if (!rc && !there.synced)
		rc = statedb_define(db,
				    "ALTER TABLE file ADD COLUMN synced INTEGER NOT NULL DEFAULT 1;"
				    "ALTER TABLE file ADD COLUMN era TEXT");
	if (!rc && !there.upload)
		rc = statedb_define(db, "ALTER TABLE file ADD COLUMN upload_purpose TEXT;"
					"ALTER TABLE file ADD COLUMN upload_mime TEXT;"
					"ALTER TABLE file ADD COLUMN upload_expiry INTEGER");
	return rc;
}

int files_define(struct statedb *db)
{
	static const char sql[] =
		"CREATE TABLE IF NOT EXISTS file ("
		" id TEXT PRIMARY KEY, state INTEGER NOT NULL, set_aside INTEGER NOT NULL,"
		" purpose TEXT NOT NULL, path TEXT NOT NULL, removed INTEGER NOT NULL,"
		" mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
		" mtime_s INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
		" filename TEXT, mime_type TEXT, size INTEGER NOT NULL,"
		" part_size INTEGER NOT NULL, part_block INTEGER NOT NULL,"
		" declared INTEGER NOT NULL, expires_after INTEGER NOT NULL,"
		" upload_id TEXT, upload_bytes INTEGER NOT NULL, upload_created INTEGER NOT NULL,"
		" upload_created_at INTEGER NOT NULL, md5 TEXT, synced INTEGER NOT NULL DEFAULT 0,"
		" era TEXT, file_id TEXT,"
		" err INTEGER NOT NULL, error TEXT, request_id TEXT, in_doubt INTEGER NOT NULL,"
		" created INTEGER NOT NULL) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS part ("
		" file TEXT NOT NULL REFERENCES file ON DELETE CASCADE,"
		" idx INTEGER NOT NULL, part_id TEXT NOT NULL, PRIMARY KEY (file, idx))"
		" WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS superseded ("
		" file TEXT NOT NULL REFERENCES file ON DELETE CASCADE,"
		" file_id TEXT NOT NULL, UNIQUE (file, file_id));"
		"CREATE TABLE IF NOT EXISTS abandoned ("
		" file TEXT NOT NULL REFERENCES file ON DELETE CASCADE,"
		" upload_id TEXT NOT NULL, UNIQUE (file, upload_id));"
		"CREATE TABLE IF NOT EXISTS copy ("
		" file TEXT PRIMARY KEY REFERENCES file ON DELETE CASCADE) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS moved ("
		" file TEXT PRIMARY KEY REFERENCES file ON DELETE CASCADE,"
		" file_id TEXT NOT NULL) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS doubt ("
		" file TEXT PRIMARY KEY REFERENCES file ON DELETE CASCADE,"
		" md5 TEXT, expires_at INTEGER NOT NULL) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS stranger ("
		" file TEXT NOT NULL REFERENCES file ON DELETE CASCADE,"
		" file_id TEXT NOT NULL, UNIQUE (file, file_id));"
		"CREATE TABLE IF NOT EXISTS refusal ("
		" file TEXT PRIMARY KEY REFERENCES file ON DELETE CASCADE, kind INTEGER NOT NULL,"
		" status INTEGER NOT NULL, print TEXT NOT NULL) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS checked ("
		" file TEXT PRIMARY KEY REFERENCES file ON DELETE CASCADE) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS doomed (id TEXT PRIMARY KEY) WITHOUT ROWID";

	int rc = statedb_define(db, sql);

	return rc ? rc : add_columns(db);
}

/* ---- writing ---- */

static int save_row(struct statedb *db, const char *id, const struct record *r, unsigned what)
{
	static const char sql[] =
		"INSERT INTO file (id, state, set_aside, purpose, path, removed, mode, uid, gid,"
		" mtime_s, mtime_ns, filename, mime_type, size, part_size, part_block, declared,"
		" expires_after, upload_id, upload_bytes, upload_created, upload_created_at, md5,"
		" file_id, err, error, request_id, in_doubt, created, synced, era, upload_purpose,"
		" upload_mime, upload_expiry)"
		" VALUES (?1, ?2, 0, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
		" ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31,"
		" ?32)"
		" ON CONFLICT (id) DO UPDATE SET state = ?2, filename = ?10, mime_type = ?11,"
		" size = ?12, part_size = ?13, part_block = ?14, declared = ?15,"
		" expires_after = ?16, upload_id = ?17, upload_bytes = ?18, upload_created = ?19,"
		" upload_created_at = ?20, md5 = ?21, file_id = ?22, err = ?23, error = ?24,"
		" request_id = ?25, in_doubt = ?26, created = ?27, synced = ?28, era = ?29,"
		" upload_purpose = ?30, upload_mime = ?31, upload_expiry = ?32,"
		" purpose = CASE WHEN ?33 THEN ?3 ELSE purpose END,"
		" path = CASE WHEN ?33 THEN ?4 ELSE path END,"
		" mode = CASE WHEN ?34 THEN ?5 ELSE mode END,"
		" uid = CASE WHEN ?34 THEN ?6 ELSE uid END,"
		" gid = CASE WHEN ?34 THEN ?7 ELSE gid END";

	return statedb_run(
		db, sql,
		STATEDB_ARGS(statedb_text(id), statedb_int(r->state), statedb_text(r->purpose),
			     statedb_text(r->path), statedb_int(r->mode), statedb_int(r->uid),
			     statedb_int(r->gid), statedb_int(r->mtime_s), statedb_int(r->mtime_ns),
			     statedb_text(r->filename), statedb_text(r->mime_type),
			     statedb_int((int64_t)r->size), statedb_int((int64_t)r->part_size),
			     statedb_int((int64_t)r->part_block), statedb_int((int64_t)r->declared),
			     statedb_int((int64_t)r->expires_after), statedb_text(r->upload_id),
			     statedb_int((int64_t)r->upload_bytes), statedb_int(r->upload_created),
			     statedb_int(r->upload_created_at), statedb_text(r->md5),
			     statedb_text(r->file_id), statedb_int(r->err), statedb_text(r->error),
			     statedb_text(r->request_id), statedb_int(r->in_doubt),
			     statedb_int(r->created_s), statedb_int(r->synced),
			     statedb_text(r->era), statedb_text(r->upload_purpose),
			     statedb_text(r->upload_mime), statedb_int((int64_t)r->upload_expiry),
			     statedb_int(what & FILES_PLACE), statedb_int(what & FILES_OWNER)),
		NULL);
}

/* Lists of which the row may have some: the others need no statement to be empty. */
enum {
	LIST_PARTS = 1,
	LIST_SUPERSEDED = 2,
	LIST_ABANDONED = 4,
	LIST_DOUBT = 8,
	LIST_STRANGERS = 16,
	LIST_REFUSAL = 32,
	LIST_CHECKED = 64,
	LIST_ALL = 127
};

static unsigned lists_of(const struct record *r)
{
	return (r->part_count ? LIST_PARTS : 0U) | (r->superseded_count ? LIST_SUPERSEDED : 0U) |
	       (r->abandoned_count ? LIST_ABANDONED : 0U) |
	       (r->doubt_md5 || r->expires_at ? LIST_DOUBT : 0U) |
	       (r->stranger_count ? LIST_STRANGERS : 0U) | (r->refused ? LIST_REFUSAL : 0U) |
	       (r->check ? LIST_CHECKED : 0U);
}

static int save_ids(struct statedb *db, const char *clear, const char *add, const char *id,
		    char **ids, size_t count)
{
	int rc = statedb_run(db, clear, STATEDB_ARGS(statedb_text(id)), NULL);

	for (size_t i = 0; !rc && i < count; i++)
		rc = statedb_run(db, add, STATEDB_ARGS(statedb_text(id), statedb_text(ids[i])),
				 NULL);
	return rc;
}

static int save_parts(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM part WHERE file = ?1";
	static const char add[] = "INSERT OR REPLACE INTO part (file, idx, part_id)"
				  " VALUES (?1, ?2, ?3)";
	int rc = statedb_run(db, clear, STATEDB_ARGS(statedb_text(id)), NULL);

	for (size_t i = 0; !rc && i < r->part_count; i++)
		rc = statedb_run(db, add,
				 STATEDB_ARGS(statedb_text(id), statedb_int(r->parts[i].index),
					      statedb_text(r->parts[i].id)),
				 NULL);
	return rc;
}

static const char add_superseded[] = "INSERT OR IGNORE INTO superseded (file, file_id)"
				     " SELECT id, ?2 FROM file WHERE id = ?1";

static int save_superseded(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM superseded WHERE file = ?1";

	return save_ids(db, clear, add_superseded, id, r->superseded, r->superseded_count);
}

static int save_abandoned(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM abandoned WHERE file = ?1";
	static const char add[] = "INSERT OR IGNORE INTO abandoned (file, upload_id)"
				  " VALUES (?1, ?2)";

	return save_ids(db, clear, add, id, r->abandoned, r->abandoned_count);
}

static int save_doubt(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM doubt WHERE file = ?1";
	static const char add[] = "INSERT OR REPLACE INTO doubt (file, md5, expires_at)"
				  " VALUES (?1, ?2, ?3)";

	if (!r->doubt_md5 && !r->expires_at)
		return statedb_run(db, clear, STATEDB_ARGS(statedb_text(id)), NULL);
	return statedb_run(db, add,
			   STATEDB_ARGS(statedb_text(id), statedb_text(r->doubt_md5),
					statedb_int(r->expires_at)),
			   NULL);
}

static int save_strangers(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM stranger WHERE file = ?1";
	static const char add[] = "INSERT OR IGNORE INTO stranger (file, file_id)"
				  " VALUES (?1, ?2)";

	return save_ids(db, clear, add, id, r->strangers, r->stranger_count);
}

static int save_refusal(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM refusal WHERE file = ?1";
	static const char add[] = "INSERT OR REPLACE INTO refusal (file, kind, status, print)"
				  " VALUES (?1, ?2, ?3, ?4)";

	if (!r->refused)
		return statedb_run(db, clear, STATEDB_ARGS(statedb_text(id)), NULL);
	return statedb_run(db, add,
			   STATEDB_ARGS(statedb_text(id), statedb_int(r->refused),
					statedb_int(r->refused_status),
					statedb_text(r->refused_print ? r->refused_print : "")),
			   NULL);
}

int files_set_check(struct statedb *db, const char *id, bool on)
{
	static const char set[] = "INSERT OR IGNORE INTO checked (file) VALUES (?1)";
	static const char clear[] = "DELETE FROM checked WHERE file = ?1";

	return statedb_run(db, on ? set : clear, STATEDB_ARGS(statedb_text(id)), NULL);
}

static int save_check(struct statedb *db, const char *id, const struct record *r)
{
	return files_set_check(db, id, r->check);
}

static int save_lists(struct statedb *db, const char *id, const struct record *r, unsigned lists)
{
	static const struct {
		unsigned list;
		int (*save)(struct statedb *db, const char *id, const struct record *r);
	} all[] = {
		{ LIST_PARTS, save_parts },	    { LIST_SUPERSEDED, save_superseded },
		{ LIST_ABANDONED, save_abandoned }, { LIST_DOUBT, save_doubt },
		{ LIST_STRANGERS, save_strangers }, { LIST_REFUSAL, save_refusal },
		{ LIST_CHECKED, save_check },
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(all) / sizeof(all[0]); i++)
		if (lists & all[i].list)
			rc = all[i].save(db, id, r);
	return rc;
}

int files_save_over(struct statedb *db, const char *id, const struct record *r, unsigned what,
		    struct files_lists *lists)
{
	unsigned had = lists->exact ? lists->some : LIST_ALL, has = lists_of(r);
	int rc;

	if ((unsigned)r->state > RECORD_REMOVED || !r->purpose || !r->path)
		return -EINVAL;
	rc = save_row(db, id, r, what);
	if (!rc)
		rc = save_lists(db, id, r, had | has);
	if (!rc)
		*lists = (struct files_lists){ .exact = true, .some = has };
	return rc;
}

int files_save(struct statedb *db, const char *id, const struct record *r)
{
	struct files_lists lists = { .exact = false };

	return files_save_over(db, id, r, 0, &lists);
}

int files_set_place(struct statedb *db, const char *id, const char *purpose, const char *path)
{
	return statedb_run(
		db, "UPDATE file SET purpose = ?2, path = ?3 WHERE id = ?1",
		STATEDB_ARGS(statedb_text(id), statedb_text(purpose), statedb_text(path)), NULL);
}

int files_set_wishes(struct statedb *db, const char *id, const char *mime_type,
		     uint64_t expires_after, uint64_t declared)
{
	return statedb_run(db,
			   "UPDATE file SET mime_type = ?2, expires_after = ?3, declared = ?4"
			   " WHERE id = ?1",
			   STATEDB_ARGS(statedb_text(id), statedb_text(mime_type),
					statedb_int((int64_t)expires_after),
					statedb_int((int64_t)declared)),
			   NULL);
}

int files_set_owner(struct statedb *db, const char *id, uint32_t mode, uint32_t uid, uint32_t gid)
{
	return statedb_run(db, "UPDATE file SET mode = ?2, uid = ?3, gid = ?4 WHERE id = ?1",
			   STATEDB_ARGS(statedb_text(id), statedb_int(mode), statedb_int(uid),
					statedb_int(gid)),
			   NULL);
}

int files_set_mtime(struct statedb *db, const char *id, int64_t s, uint32_t ns)
{
	return statedb_run(db, "UPDATE file SET mtime_s = ?2, mtime_ns = ?3 WHERE id = ?1",
			   STATEDB_ARGS(statedb_text(id), statedb_int(s), statedb_int(ns)), NULL);
}

int files_set_removed(struct statedb *db, const char *id)
{
	/*
	 * Clear file_id: a File from before stays, and a File of the publication is in its next
	 * save.
	 */
	return statedb_run(db, "UPDATE file SET removed = 1, file_id = NULL WHERE id = ?1",
			   STATEDB_ARGS(statedb_text(id)), NULL);
}

int files_set_aside(struct statedb *db, const char *id)
{
	return statedb_run(db, "UPDATE file SET set_aside = 1 WHERE id = ?1",
			   STATEDB_ARGS(statedb_text(id)), NULL);
}

int files_add_superseded(struct statedb *db, const char *id, const char *file_id)
{
	return statedb_run(db, add_superseded,
			   STATEDB_ARGS(statedb_text(id), statedb_text(file_id)), NULL);
}

int files_set_copy(struct statedb *db, const char *id, bool copy, const char *moved)
{
	static const char set[] = "INSERT OR IGNORE INTO copy (file)"
				  " SELECT id FROM file WHERE id = ?1";
	static const char set_moved[] = "INSERT OR REPLACE INTO moved (file, file_id)"
					" SELECT id, ?2 FROM file WHERE id = ?1";
	int rc = statedb_run(db, copy ? set : "DELETE FROM copy WHERE file = ?1",
			     STATEDB_ARGS(statedb_text(id)), NULL);

	if (rc)
		return rc;
	if (copy && moved)
		return statedb_run(db, set_moved,
				   STATEDB_ARGS(statedb_text(id), statedb_text(moved)), NULL);
	return statedb_run(db, "DELETE FROM moved WHERE file = ?1", STATEDB_ARGS(statedb_text(id)),
			   NULL);
}

int files_reopen(struct statedb *db, const char *id, uint64_t size)
{
	static const char own_file[] = "INSERT OR IGNORE INTO superseded (file, file_id)"
				       " SELECT id, file_id FROM file"
				       " WHERE id = ?1 AND file_id IS NOT NULL";
	/* A complete Upload takes no cancel; any other is still to be cancelled. */
	static const char reopen[] =
		"UPDATE file SET state = ?2, md5 = NULL, file_id = NULL, size = ?3, declared = 0,"
		" upload_id = CASE state WHEN ?4 THEN NULL ELSE upload_id END,"
		" in_doubt = CASE state WHEN ?4 THEN 0 ELSE in_doubt END WHERE id = ?1";
	int rc = statedb_run(db, own_file, STATEDB_ARGS(statedb_text(id)), NULL);

	if (!rc)
		rc = statedb_run(db, "DELETE FROM part WHERE file = ?1",
				 STATEDB_ARGS(statedb_text(id)), NULL);
	return rc ? rc
		  : statedb_run(db, reopen,
				STATEDB_ARGS(statedb_text(id), statedb_int(RECORD_WRITING),
					     statedb_int((int64_t)size),
					     statedb_int(RECORD_COMPLETED)),
				NULL);
}

int files_take_place(struct statedb *db, const char *id)
{
	return statedb_run(db,
			   "UPDATE file SET removed = 1, file_id = NULL"
			   " WHERE id <> ?1 AND (purpose, path) ="
			   " (SELECT purpose, path FROM file WHERE id = ?1)",
			   STATEDB_ARGS(statedb_text(id)), NULL);
}

int files_spare(struct statedb *db, const char *id, const char *file_id)
{
	return statedb_run(db, "DELETE FROM superseded WHERE file = ?1 AND file_id = ?2",
			   STATEDB_ARGS(statedb_text(id), statedb_text(file_id)), NULL);
}

int files_drop(struct statedb *db, const char *id)
{
	return statedb_run(db, "DELETE FROM file WHERE id = ?1", STATEDB_ARGS(statedb_text(id)),
			   NULL);
}

int files_doom(struct statedb *db, const char *id)
{
	int rc = files_drop(db, id);

	return rc ? rc
		  : statedb_run(db, "INSERT OR IGNORE INTO doomed (id) VALUES (?1)",
				STATEDB_ARGS(statedb_text(id)), NULL);
}

int files_forgive(struct statedb *db, const char *id)
{
	return statedb_run(db, "DELETE FROM doomed WHERE id = ?1", STATEDB_ARGS(statedb_text(id)),
			   NULL);
}
