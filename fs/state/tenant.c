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

int tenant_waiting(struct statedb *db, unsigned *ret)
{
	/* A File and an empty file are done, unless something else is still to be deleted. */
	static const char sql[] =
		"SELECT count(*) FROM file WHERE NOT set_aside AND NOT"
		" (NOT removed AND (state = ?2 OR (state = ?1 AND file_id IS NOT NULL))"
		" AND NOT EXISTS (SELECT 1 FROM superseded WHERE file = id)"
		" AND NOT EXISTS (SELECT 1 FROM abandoned WHERE file = id))";
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, sql,
			  STATEDB_ARGS(statedb_int(RECORD_COMPLETED), statedb_int(RECORD_EMPTY)),
			  take_count, ret);
	statedb_unlock(db);
	return rc;
}
