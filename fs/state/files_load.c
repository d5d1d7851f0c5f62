/*
 * Read the rows of staged files, and the records they become.
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
	char *const strings[] = { r->purpose,	     r->path,	     r->filename, r->mime_type,
				  r->upload_id,	     r->md5,	     r->file_id,  r->error,
				  r->request_id,     r->doubt_md5,   r->era,	  r->refused_print,
				  r->upload_purpose, r->upload_mime, r->moved };

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

static int load_moved(void *arg, const struct statedb_row *row)
{
	struct record *r = arg;

	return copy_text(row, 0, &r->moved);
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
	if (!rc && l->r.copy)
		rc = statedb_each(db, "SELECT file_id FROM moved WHERE file = ?1", args, load_moved,
				  &l->r);
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
