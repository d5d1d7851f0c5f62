#include "fs/state/known.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/store.h"

void known_release(struct known_file *k)
{
	free(k->filename);
	free(k->purpose);
	free(k->mime_type);
	free(k->prefixes);
	memset(k, 0, sizeof(*k));
}

int known_define(struct statedb *db)
{
	/* Numbers grow with the age of the rows. */
	return statedb_define(db, "CREATE TABLE IF NOT EXISTS known ("
				  " number INTEGER PRIMARY KEY AUTOINCREMENT,"
				  " file_id TEXT NOT NULL UNIQUE, filename TEXT NOT NULL,"
				  " purpose TEXT NOT NULL, mime_type TEXT NOT NULL,"
				  " expires_after INTEGER NOT NULL, bytes INTEGER NOT NULL,"
				  " md5 TEXT NOT NULL, step INTEGER NOT NULL,"
				  " prefixes BLOB NOT NULL, maker TEXT NOT NULL)");
}

static int put_row(struct statedb *db, const char *file_id, const char *maker,
		   const struct known_file *k)
{
	static const char put[] =
		"INSERT OR REPLACE INTO known (file_id, filename, purpose, mime_type,"
		" expires_after, bytes, md5, step, prefixes, maker)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
	static const char trim[] = "DELETE FROM known WHERE number <="
				   " (SELECT max(number) FROM known) - ?1";
	const void *prefixes = k->prefix_count ? (const void *)k->prefixes : "";
	int rc = statedb_run(db, put,
			     STATEDB_ARGS(statedb_text(file_id), statedb_text(k->filename),
					  statedb_text(k->purpose), statedb_text(k->mime_type),
					  statedb_int((int64_t)k->expires_after),
					  statedb_int((int64_t)k->bytes), statedb_text(k->md5),
					  statedb_int((int64_t)k->step),
					  statedb_blob(prefixes, k->prefix_count * DIGEST_SIZE),
					  statedb_text(maker)),
			     NULL);

	return rc ? rc : statedb_run(db, trim, STATEDB_ARGS(statedb_int(KNOWN_MAX)), NULL);
}

static int claim_row(struct statedb *db, const char *file_id, const char *maker)
{
	return statedb_run(db,
			   "INSERT OR IGNORE INTO known (file_id, filename, purpose, mime_type,"
			   " expires_after, bytes, md5, step, prefixes, maker)"
			   " VALUES (?1, '', '', '', 0, 0, '', 0, x'', ?2)",
			   STATEDB_ARGS(statedb_text(file_id), statedb_text(maker)), NULL);
}

struct later {
	struct statedb_later base;
	char *file_id, *maker;
	struct known_file k; /* without a filename: only a claim */
};

static int run_later(struct statedb *db, struct statedb_later *base)
{
	struct later *l = (struct later *)base;

	if (l->k.filename)
		return put_row(db, l->file_id, l->maker, &l->k);
	return claim_row(db, l->file_id, l->maker);
}

static void free_later(struct statedb_later *base)
{
	struct later *l = (struct later *)base;

	known_release(&l->k);
	free(l->file_id);
	free(l->maker);
	free(l);
}

/* NULL: no memory. */
static struct later *later_new(const char *file_id, const char *maker)
{
	struct later *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->base.run = run_later;
	l->base.free = free_later;
	l->file_id = strdup(file_id);
	l->maker = strdup(maker);
	if (l->file_id && l->maker)
		return l;
	free_later(&l->base);
	return NULL;
}

/* Copy all that *from points to. False: no memory; known_release() then. */
static bool copy_known(const struct known_file *from, struct known_file *ret)
{
	size_t len = from->prefix_count * DIGEST_SIZE;

	*ret = *from;
	ret->filename = strdup(from->filename);
	ret->purpose = strdup(from->purpose);
	ret->mime_type = strdup(from->mime_type);
	ret->prefixes = malloc(len + 1);
	if (ret->prefixes && len)
		memcpy(ret->prefixes, from->prefixes, len);
	return ret->filename && ret->purpose && ret->mime_type && ret->prefixes;
}

int known_put_later(struct statedb *db, const char *file_id, const char *maker,
		    const struct known_file *k)
{
	struct later *l = later_new(file_id, maker);

	if (!l)
		return -ENOMEM;
	if (!copy_known(k, &l->k)) {
		free_later(&l->base);
		return -ENOMEM;
	}
	statedb_later(db, &l->base);
	return 0;
}

int known_claim_later(struct statedb *db, const char *file_id, const char *maker)
{
	struct later *l = later_new(file_id, maker);

	if (!l)
		return -ENOMEM;
	statedb_later(db, &l->base);
	return 0;
}

int known_drop(struct statedb *db, const char *file_id)
{
	int rc = statedb_begin(db);

	if (rc)
		return rc;
	statedb_run(db, "DELETE FROM known WHERE file_id = ?1", STATEDB_ARGS(statedb_text(file_id)),
		    NULL);
	return statedb_commit(db, NULL);
}

struct loading {
	struct known_file k;
	bool found;
};

static int load_row(void *arg, const struct statedb_row *row)
{
	struct loading *l = arg;
	struct known_file *k = &l->k;
	const char *md5 = statedb_row_text(row, 3);
	const void *prefixes;
	size_t len;

	l->found = true;
	if (!md5 || strlen(md5) != DIGEST_HEX_SIZE - 1)
		return -EBADMSG;
	memcpy(k->md5, md5, DIGEST_HEX_SIZE);
	k->expires_after = (uint64_t)statedb_row_int(row, 4);
	k->bytes = (uint64_t)statedb_row_int(row, 5);
	k->step = (uint64_t)statedb_row_int(row, 6);
	prefixes = statedb_row_blob(row, 7, &len);
	if (!k->step || len % DIGEST_SIZE || len / DIGEST_SIZE > k->bytes / k->step)
		return -EBADMSG;
	k->prefix_count = len / DIGEST_SIZE;
	k->prefixes = malloc(len + 1);
	k->filename = statedb_row_dup(row, 0);
	k->purpose = statedb_row_dup(row, 1);
	k->mime_type = statedb_row_dup(row, 2);
	if (!k->prefixes || !k->filename || !k->purpose || !k->mime_type)
		return -ENOMEM;
	if (len)
		memcpy(k->prefixes, prefixes, len);
	return 0;
}

int known_get(struct statedb *db, const char *file_id, struct known_file *ret)
{
	struct loading l = { .found = false };
	int rc;

	statedb_lock(db);
	rc = statedb_each(db,
			  "SELECT filename, purpose, mime_type, md5, expires_after, bytes, step,"
			  " prefixes FROM known WHERE file_id = ?1",
			  STATEDB_ARGS(statedb_text(file_id)), load_row, &l);
	statedb_unlock(db);
	if (!rc && !l.found)
		rc = -ENOENT;
	if (rc)
		known_release(&l.k);
	else
		*ret = l.k;
	return rc;
}

static int note_found(void *arg, const struct statedb_row *row)
{
	(void)row;
	*(bool *)arg = true;
	return 0;
}

bool known_as_of_another(struct statedb *db, const char *file_id, const char *maker)
{
	bool found = false;
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, "SELECT 1 FROM known WHERE file_id = ?1 AND maker != ?2",
			  STATEDB_ARGS(statedb_text(file_id), statedb_text(maker)), note_found,
			  &found);
	statedb_unlock(db);
	return !rc && found;
}
