/*
 * One row: the service and the account behind the files of the store.
 */
#include "fs/state/tenant.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/files.h"
#include "fs/state/store.h"

struct texts {
	char *service, *account;
};

static int take_texts(void *arg, const struct statedb_row *row)
{
	struct texts *t = arg;
	const char *service = statedb_row_text(row, 0), *account = statedb_row_text(row, 1);

	t->service = strdup(service ? service : "");
	t->account = strdup(account ? account : "");
	return t->service && t->account ? 0 : -ENOMEM;
}

int tenant_get(struct statedb *db, char **ret_service, char **ret_account)
{
	struct texts t = { NULL, NULL };
	int rc = statedb_define(db, "CREATE TABLE IF NOT EXISTS tenant ("
				    " one INTEGER PRIMARY KEY CHECK (one = 1),"
				    " service TEXT NOT NULL, account TEXT NOT NULL)");

	if (rc)
		return rc;
	statedb_lock(db);
	rc = statedb_each(db, "SELECT service, account FROM tenant", NULL, take_texts, &t);
	statedb_unlock(db);
	if (rc) {
		free(t.service);
		free(t.account);
		return rc;
	}
	*ret_service = t.service;
	*ret_account = t.account;
	return 0;
}

int tenant_set(struct statedb *db, const char *service, const char *account)
{
	uint64_t seq = 0;
	int rc = statedb_begin(db);

	if (rc)
		return rc;
	statedb_run(db, "INSERT OR REPLACE INTO tenant (one, service, account) VALUES (1, ?1, ?2)",
		    STATEDB_ARGS(statedb_text(service), statedb_text(account)), NULL);
	rc = statedb_commit(db, &seq);
	return rc ? rc : statedb_sync(db, seq);
}

static int take_count(void *arg, const struct statedb_row *row)
{
	*(unsigned *)arg = (unsigned)statedb_row_int(row, 0);
	return 0;
}

/* A File and an empty file are done, unless something else is still to be deleted. */
#define WAITING                                                                  \
	"NOT set_aside AND NOT"                                                  \
	" (NOT removed AND (state = ?2 OR (state = ?1 AND file_id IS NOT NULL))" \
	" AND NOT EXISTS (SELECT 1 FROM superseded WHERE file = id)"             \
	" AND NOT EXISTS (SELECT 1 FROM abandoned WHERE file = id))"

static int count(struct statedb *db, const char *sql, unsigned *ret)
{
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, sql,
			  STATEDB_ARGS(statedb_int(RECORD_COMPLETED), statedb_int(RECORD_EMPTY)),
			  take_count, ret);
	statedb_unlock(db);
	return rc;
}

int tenant_waiting(struct statedb *db, unsigned *ret)
{
	return count(db, "SELECT count(*) FROM file WHERE " WAITING, ret);
}

int tenant_unrefused(struct statedb *db, unsigned *ret)
{
	return count(db,
		     "SELECT count(*) FROM file WHERE " WAITING " AND NOT EXISTS"
		     " (SELECT 1 FROM refusal WHERE file = id AND refusal.status IN (401, 403))",
		     ret);
}

/* ---- the key ---- */

static int take_key(void *arg, const struct statedb_row *row)
{
	struct tenant_key *k = arg;

	tenant_release_key(k);
	k->print = statedb_row_dup(row, 0);
	k->from = statedb_row_dup(row, 1);
	return k->print && k->from ? 0 : -ENOMEM;
}

int tenant_get_key(struct statedb *db, struct tenant_key *ret)
{
	struct tenant_key k = { strdup(""), strdup("") };
	int rc = statedb_define(db, "CREATE TABLE IF NOT EXISTS tenant_key ("
				    " one INTEGER PRIMARY KEY CHECK (one = 1),"
				    " print TEXT NOT NULL, source TEXT NOT NULL)");

	if (!rc && (!k.print || !k.from))
		rc = -ENOMEM;
	if (!rc) {
		statedb_lock(db);
		rc = statedb_each(db, "SELECT print, source FROM tenant_key", NULL, take_key, &k);
		statedb_unlock(db);
	}
	if (rc)
		tenant_release_key(&k);
	else
		*ret = k;
	return rc;
}

void tenant_release_key(struct tenant_key *k)
{
	free(k->print);
	free(k->from);
	*k = (struct tenant_key){ 0 };
}

int tenant_set_key(struct statedb *db, const char *print, const char *from)
{
	uint64_t seq = 0;
	int rc = statedb_begin(db);

	if (rc)
		return rc;
	statedb_run(db, "INSERT OR REPLACE INTO tenant_key (one, print, source) VALUES (1, ?1, ?2)",
		    STATEDB_ARGS(statedb_text(print), statedb_text(from)), NULL);
	rc = statedb_commit(db, &seq);
	return rc ? rc : statedb_sync(db, seq);
}

struct ids {
	char **v;
	unsigned count;
};

static int take_id(void *arg, const struct statedb_row *row)
{
	struct ids *ids = arg;

	ids->v[ids->count] = statedb_row_dup(row, 0);
	return ids->v[ids->count] ? (ids->count++, 0) : -ENOMEM;
}

int tenant_witnesses(struct statedb *db, unsigned max, char **ret, unsigned *ret_count)
{
	static const char sql[] =
		"SELECT file_id, min(rank) FROM (SELECT file_id, 1 AS rank FROM superseded"
		" UNION ALL SELECT file_id, 2 FROM file"
		" WHERE file_id IS NOT NULL AND file_id <> '' AND NOT removed"
		" UNION ALL SELECT file_id, 3 FROM cached UNION ALL SELECT file_id, 4 FROM attr)"
		" GROUP BY file_id ORDER BY 2, 1 LIMIT ?1";
	struct ids ids = { ret, 0 };
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, sql, STATEDB_ARGS(statedb_int(max)), take_id, &ids);
	statedb_unlock(db);
	if (rc)
		while (ids.count)
			free(ret[--ids.count]);
	*ret_count = ids.count;
	return rc;
}
