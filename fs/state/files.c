/*
 * Write and read the rows of staged files.
 */
#include "fs/state/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/store.h"

static const char *const state_names[] = {
	[RECORD_WRITING] = "writing",	  [RECORD_HELD] = "held",
	[RECORD_SEALED] = "sealed",	  [RECORD_COMPLETING] = "completing",
	[RECORD_COMPLETED] = "completed", [RECORD_FAILED] = "failed",
	[RECORD_ABORTED] = "aborted",	  [RECORD_EMPTY] = "empty",
	[RECORD_REMOVED] = "removed",
};
#define STATE_COUNT (sizeof(state_names) / sizeof(state_names[0]))

const char *record_state_name(enum record_state state)
{
	return state_names[state];
}

void record_init(struct record *r)
{
	memset(r, 0, sizeof(*r));
}

static void free_ids(char **ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(ids[i]);
	free(ids);
}

void record_release(struct record *r)
{
	char *const strings[] = { r->purpose,	     r->path,	    r->filename, r->mime_type,
				  r->upload_id,	     r->md5,	    r->file_id,	 r->error,
				  r->request_id,     r->doubt_md5,  r->era,	 r->refused_print,
				  r->upload_purpose, r->upload_mime };

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		free(strings[i]);
	for (size_t i = 0; i < r->part_count; i++)
		free(r->parts[i].id);
	free(r->parts);
	free_ids(r->superseded, r->superseded_count);
	free_ids(r->abandoned, r->abandoned_count);
	free_ids(r->strangers, r->stranger_count);
	record_init(r);
}

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

static int save_row(struct statedb *db, const char *id, const struct record *r)
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
		" upload_purpose = ?30, upload_mime = ?31, upload_expiry = ?32";

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
			     statedb_text(r->upload_mime), statedb_int((int64_t)r->upload_expiry)),
		NULL);
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

static int save_doubt(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear[] = "DELETE FROM doubt WHERE file = ?1";
	static const char add[] = "INSERT OR REPLACE INTO doubt (file, md5, expires_at)"
				  " VALUES (?1, ?2, ?3)";
	static const char clear_strangers[] = "DELETE FROM stranger WHERE file = ?1";
	static const char add_stranger[] = "INSERT OR IGNORE INTO stranger (file, file_id)"
					   " VALUES (?1, ?2)";
	int rc;

	if (r->doubt_md5 || r->expires_at)
		rc = statedb_run(db, add,
				 STATEDB_ARGS(statedb_text(id), statedb_text(r->doubt_md5),
					      statedb_int(r->expires_at)),
				 NULL);
	else
		rc = statedb_run(db, clear, STATEDB_ARGS(statedb_text(id)), NULL);
	return rc ? rc
		  : save_ids(db, clear_strangers, add_stranger, id, r->strangers,
			     r->stranger_count);
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

static int save_check(struct statedb *db, const char *id, const struct record *r)
{
	static const char set[] = "INSERT OR IGNORE INTO checked (file) VALUES (?1)";
	static const char clear[] = "DELETE FROM checked WHERE file = ?1";

	return statedb_run(db, r->check ? set : clear, STATEDB_ARGS(statedb_text(id)), NULL);
}

int files_save(struct statedb *db, const char *id, const struct record *r)
{
	static const char clear_superseded[] = "DELETE FROM superseded WHERE file = ?1";
	static const char clear_abandoned[] = "DELETE FROM abandoned WHERE file = ?1";
	static const char add_abandoned[] = "INSERT OR IGNORE INTO abandoned (file, upload_id)"
					    " VALUES (?1, ?2)";
	int rc;

	if ((unsigned)r->state >= STATE_COUNT || !r->purpose || !r->path)
		return -EINVAL;
	rc = save_row(db, id, r);
	if (!rc)
		rc = save_parts(db, id, r);
	if (!rc)
		rc = save_ids(db, clear_superseded, add_superseded, id, r->superseded,
			      r->superseded_count);
	if (!rc)
		rc = save_ids(db, clear_abandoned, add_abandoned, id, r->abandoned,
			      r->abandoned_count);
	if (!rc)
		rc = save_refusal(db, id, r);
	if (!rc)
		rc = save_check(db, id, r);
	return rc ? rc : save_doubt(db, id, r);
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

int files_set_copy(struct statedb *db, const char *id, bool copy)
{
	static const char set[] = "INSERT OR IGNORE INTO copy (file)"
				  " SELECT id FROM file WHERE id = ?1";

	return statedb_run(db, copy ? set : "DELETE FROM copy WHERE file = ?1",
			   STATEDB_ARGS(statedb_text(id)), NULL);
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

/* ---- reading ---- */

static int copy_text(const struct statedb_row *row, int column, char **ret)
{
	const char *text = statedb_row_text(row, column);

	if (!text)
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

struct loading {
	struct record r;
	bool found;
};

static int load_strings(const struct statedb_row *row, struct record *r)
{
	char **const at[] = { &r->purpose,    &r->path, &r->filename,	    &r->mime_type,
			      &r->upload_id,  &r->md5,	&r->file_id,	    &r->error,
			      &r->request_id, &r->era,	&r->upload_purpose, &r->upload_mime };
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(at) / sizeof(at[0]); i++)
		rc = copy_text(row, (int)i, at[i]);
	return rc;
}

static int load_row(void *arg, const struct statedb_row *row)
{
	struct loading *l = arg;
	struct record *r = &l->r;
	int64_t state = statedb_row_int(row, 12);

	l->found = true;
	if (state < 0 || state >= (int64_t)STATE_COUNT)
		return -EBADMSG;
	r->state = statedb_row_int(row, 13) ? RECORD_REMOVED : (enum record_state)state;
	r->mode = (uint32_t)statedb_row_int(row, 14);
	r->uid = (uint32_t)statedb_row_int(row, 15);
	r->gid = (uint32_t)statedb_row_int(row, 16);
	r->mtime_s = statedb_row_int(row, 17);
	r->mtime_ns = (uint32_t)statedb_row_int(row, 18);
	r->size = (uint64_t)statedb_row_int(row, 19);
	r->part_size = (uint64_t)statedb_row_int(row, 20);
	r->part_block = (uint64_t)statedb_row_int(row, 21);
	r->declared = (uint64_t)statedb_row_int(row, 22);
	r->expires_after = (uint64_t)statedb_row_int(row, 23);
	r->upload_bytes = (uint64_t)statedb_row_int(row, 24);
	r->upload_created = statedb_row_int(row, 25);
	r->upload_created_at = statedb_row_int(row, 26);
	r->err = (int)statedb_row_int(row, 27);
	r->in_doubt = (uint32_t)statedb_row_int(row, 28);
	r->created_s = statedb_row_int(row, 29);
	r->synced = statedb_row_int(row, 30);
	r->copy = statedb_row_int(row, 31);
	r->upload_expiry = (uint64_t)statedb_row_int(row, 32);
	r->check = statedb_row_int(row, 33);
	return load_strings(row, r);
}

/*
 * A copy counts only once its File may exist: until then the File it was made from stands, and
 * what is left is its Upload to cancel.
 */
static void drop_copy(struct record *r)
{
	if (!r->copy || r->state == RECORD_COMPLETING || r->state == RECORD_COMPLETED ||
	    r->state == RECORD_REMOVED)
		return;
	r->state = RECORD_REMOVED;
	free(r->file_id);
	r->file_id = NULL;
	free_ids(r->superseded, r->superseded_count);
	r->superseded = NULL;
	r->superseded_count = 0;
}

/* Return v with room for one more than n elements, or NULL; n implies the capacity. */
static void *grow(void *v, size_t n, size_t size)
{
	return n & (n - 1) ? v : realloc(v, (n ? n * 2 : 1) * size);
}

static int add_id(char ***ids, size_t *count, const struct statedb_row *row)
{
	char **v = grow(*ids, *count, sizeof(*v));

	if (!v)
		return -ENOMEM;
	*ids = v;
	v[*count] = NULL;
	if (copy_text(row, 0, &v[*count]))
		return -ENOMEM;
	(*count)++;
	return 0;
}

static int load_part(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;
	struct record_part *v = grow(r->parts, r->part_count, sizeof(*v));

	if (!v)
		return -ENOMEM;
	r->parts = v;
	v += r->part_count;
	v->id = NULL;
	v->index = (uint32_t)statedb_row_int(row, 1);
	if (copy_text(row, 0, &v->id))
		return -ENOMEM;
	r->part_count++;
	return 0;
}

static int load_superseded(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;

	return add_id(&r->superseded, &r->superseded_count, row);
}

static int load_abandoned(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;

	return add_id(&r->abandoned, &r->abandoned_count, row);
}

static int load_doubt(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;

	r->expires_at = statedb_row_int(row, 1);
	return copy_text(row, 0, &r->doubt_md5);
}

static int load_refusal(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;

	r->refused = (uint32_t)statedb_row_int(row, 1);
	r->refused_status = (int)statedb_row_int(row, 2);
	return copy_text(row, 0, &r->refused_print);
}

static int load_stranger(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;

	return add_id(&r->strangers, &r->stranger_count, row);
}

/* Under the lock. */
static int load(struct statedb *db, const char *id, struct loading *l)
{
	static const char sql[] =
		"SELECT purpose, path, filename, mime_type, upload_id, md5, file_id, error,"
		" request_id, era, upload_purpose, upload_mime, state, removed, mode, uid, gid,"
		" mtime_s, mtime_ns, size,"
		" part_size, part_block, declared, expires_after, upload_bytes, upload_created,"
		" upload_created_at, err, in_doubt, created, synced,"
		" EXISTS (SELECT 1 FROM copy WHERE file = id), upload_expiry,"
		" EXISTS (SELECT 1 FROM checked WHERE file = id) FROM file"
		" WHERE id = ?1";
	const struct statedb_value args[] = { statedb_text(id), { .kind = STATEDB_END } };
	int rc = statedb_each(db, sql, args, load_row, l);

	if (!rc && !l->found)
		rc = -ENOENT;
	if (!rc)
		rc = statedb_each(db, "SELECT part_id, idx FROM part WHERE file = ?1 ORDER BY idx",
				  args, load_part, &l->r);
	if (!rc)
		rc = statedb_each(db,
				  "SELECT file_id FROM superseded WHERE file = ?1 ORDER BY rowid",
				  args, load_superseded, &l->r);
	if (!rc)
		rc = statedb_each(db,
				  "SELECT upload_id FROM abandoned WHERE file = ?1 ORDER BY rowid",
				  args, load_abandoned, &l->r);
	if (!rc)
		rc = statedb_each(db, "SELECT md5, expires_at FROM doubt WHERE file = ?1", args,
				  load_doubt, &l->r);
	if (!rc)
		rc = statedb_each(db, "SELECT file_id FROM stranger WHERE file = ?1 ORDER BY rowid",
				  args, load_stranger, &l->r);
	if (!rc)
		rc = statedb_each(db, "SELECT print, kind, status FROM refusal WHERE file = ?1",
				  args, load_refusal, &l->r);
	if (!rc)
		drop_copy(&l->r);
	return rc;
}

int files_load(struct statedb *db, const char *id, struct record *ret)
{
	struct loading l = { .found = false };
	int rc;

	record_init(&l.r);
	statedb_lock(db);
	rc = load(db, id, &l);
	statedb_unlock(db);
	if (rc)
		record_release(&l.r);
	else
		*ret = l.r;
	return rc;
}

static int note_found(void *arg, const struct statedb_row *row)
{
	(void)row;
	*(bool *)arg = true;
	return 0;
}

static bool has_row(struct statedb *db, const char *sql, const char *id)
{
	bool found = false;
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, sql, STATEDB_ARGS(statedb_text(id)), note_found, &found);
	statedb_unlock(db);
	return found || rc;
}

bool files_has(struct statedb *db, const char *id)
{
	return has_row(db, "SELECT 1 FROM file WHERE id = ?1", id);
}

bool files_is_doomed(struct statedb *db, const char *id)
{
	return has_row(db, "SELECT 1 FROM doomed WHERE id = ?1", id);
}

bool files_knows(struct statedb *db, const char *file_id)
{
	static const char sql[] = "SELECT 1 FROM file WHERE file_id = ?1 UNION ALL"
				  " SELECT 1 FROM superseded WHERE file_id = ?1";
	bool found = false;
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, sql, STATEDB_ARGS(statedb_text(file_id)), note_found, &found);
	statedb_unlock(db);
	return found || rc;
}

struct id_list {
	char **v;
	size_t count;
};

static int list_id(void *arg, const struct statedb_row *row)
{
	struct id_list *l = arg;

	return add_id(&l->v, &l->count, row);
}

int files_each(struct statedb *db, enum files_which which, int (*fn)(void *arg, const char *id),
	       void *arg)
{
	static const char *const sql[] = {
		[FILES_STAGED] = "SELECT id FROM file WHERE NOT set_aside ORDER BY id",
		[FILES_SET_ASIDE] = "SELECT id FROM file WHERE set_aside ORDER BY id",
		[FILES_DOOMED] = "SELECT id FROM doomed ORDER BY id",
	};
	struct id_list l = { NULL, 0 };
	int rc;

	/* Read the whole list first: fn changes rows. */
	statedb_lock(db);
	rc = statedb_each(db, sql[which], NULL, list_id, &l);
	statedb_unlock(db);
	for (size_t i = 0; !rc && i < l.count; i++)
		rc = fn(arg, l.v[i]);
	free_ids(l.v, l.count);
	return rc;
}
