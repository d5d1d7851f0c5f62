/*
 * Facts about a service: one row a fact.
 */
#include "fs/state/learned.h"

#include <errno.h>
#include <stdbool.h>

#include "fs/state/store.h"

int learned_define(struct statedb *db)
{
	return statedb_define(db, "CREATE TABLE IF NOT EXISTS learned ("
				  " service TEXT NOT NULL, name TEXT NOT NULL,"
				  " number INTEGER NOT NULL, PRIMARY KEY (service, name))"
				  " WITHOUT ROWID");
}

struct found {
	bool is;
	int64_t number;
};

static int take_number(void *arg, const struct statedb_row *row)
{
	struct found *f = arg;

	f->is = true;
	f->number = statedb_row_int(row, 0);
	return 0;
}

int learned_get(struct statedb *db, const char *service, const char *name, int64_t *ret)
{
	struct found f = { .is = false };
	int rc;

	statedb_lock(db);
	rc = statedb_each(db, "SELECT number FROM learned WHERE service = ?1 AND name = ?2",
			  STATEDB_ARGS(statedb_text(service), statedb_text(name)), take_number, &f);
	statedb_unlock(db);
	if (!rc && !f.is)
		rc = -ENOENT;
	if (!rc)
		*ret = f.number;
	return rc;
}

int learned_set(struct statedb *db, const char *service, const char *name, int64_t number)
{
	uint64_t seq = 0;
	int rc = statedb_begin(db);

	if (rc)
		return rc;
	statedb_run(db,
		    "INSERT OR REPLACE INTO learned (service, name, number) VALUES (?1, ?2, ?3)",
		    STATEDB_ARGS(statedb_text(service), statedb_text(name), statedb_int(number)),
		    NULL);
	rc = statedb_commit(db, &seq);
	return rc ? rc : statedb_sync(db, seq);
}
