/*
 * Transactions, statements, and SQLite's errors as errnos.
 */
#include <errno.h>
#include <string.h>

#include "fs/state/store_impl.h"
#include "net/base/log.h"

/* ---- errors ---- */

void statedb_break(struct statedb *s, const char *what)
{
	bool first;

	pthread_mutex_lock(&s->wal_lock);
	first = !s->broken;
	s->broken = -EIO;
	pthread_cond_broadcast(&s->synced);
	pthread_mutex_unlock(&s->wal_lock);
	if (first)
		log_error("%s: %s; every change of files is refused with EIO until the next mount",
			  s->path, what);
}

/* Return 0, or the errno of a full disk or a quota, which SQLite reports as an I/O error. */
static int no_room(struct statedb *s, int code)
{
	int err = sqlite3_system_errno(s->db);

	if (code != SQLITE_IOERR_WRITE || (err != EDQUOT && err != EFBIG && err != ENOSPC))
		return 0;
	return -err;
}

int statedb_failed(struct statedb *s, int code)
{
	int err;

	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_TOOBIG:
		return -EMSGSIZE;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_IOERR:
		if (code == SQLITE_IOERR_NOMEM)
			return -ENOMEM;
		err = no_room(s, code);
		if (err)
			return err;
		break;
	default:
		break;
	}
	statedb_break(s, sqlite3_errmsg(s->db));
	return -EIO;
}

int statedb_error(struct statedb *s)
{
	int err;

	pthread_mutex_lock(&s->wal_lock);
	err = s->broken;
	pthread_mutex_unlock(&s->wal_lock);
	return err;
}

/* ---- statements ---- */

static int prepare(struct statedb *s, const char *sql, sqlite3_stmt **ret)
{
	struct statedb_prepared *p = s->prepared;
	int rc;

	for (unsigned i = 0; i < s->prepared_count; i++) {
		if (p[i].sql == sql) {
			*ret = p[i].stmt;
			return 0;
		}
	}
	if (s->prepared_count == STATEDB_STATEMENTS_MAX)
		return -ENOMEM;
	p += s->prepared_count;
	rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &p->stmt, NULL);
	if (rc != SQLITE_OK)
		return statedb_failed(s, rc);
	p->sql = sql;
	s->prepared_count++;
	*ret = p->stmt;
	return 0;
}

static int bind(struct statedb *s, sqlite3_stmt *stmt, const struct statedb_value *v)
{
	int rc = SQLITE_OK;

	for (int at = 1; v && rc == SQLITE_OK && v->kind != STATEDB_END; v++, at++) {
		if (v->kind == STATEDB_INT)
			rc = sqlite3_bind_int64(stmt, at, v->number);
		else
			rc = sqlite3_bind_text(stmt, at, v->text, -1, SQLITE_STATIC);
	}
	return rc == SQLITE_OK ? 0 : statedb_failed(s, rc);
}

static int run_rows(struct statedb *s, const char *sql, const struct statedb_value *args,
		    int (*fn)(void *arg, const struct statedb_row *row), void *arg)
{
	sqlite3_stmt *stmt = NULL;
	int rc, err;

	err = prepare(s, sql, &stmt);
	if (!err)
		err = bind(s, stmt, args);
	if (err)
		return err;
	while (!err && (rc = sqlite3_step(stmt)) != SQLITE_DONE) {
		if (rc != SQLITE_ROW)
			err = statedb_failed(s, rc);
		else if (fn)
			err = fn(arg, (const struct statedb_row *)stmt);
	}
	sqlite3_reset(stmt);
	/* The caller owns the values: don't keep pointers to them. */
	sqlite3_clear_bindings(stmt);
	return err;
}

int statedb_run(struct statedb *s, const char *sql, const struct statedb_value *args,
		int *ret_changed)
{
	int err = run_rows(s, sql, args, NULL, NULL);

	if (err && !s->failed)
		s->failed = err;
	if (ret_changed)
		*ret_changed = err ? 0 : sqlite3_changes(s->db);
	return err;
}

int statedb_each(struct statedb *s, const char *sql, const struct statedb_value *args,
		 int (*fn)(void *arg, const struct statedb_row *row), void *arg)
{
	return run_rows(s, sql, args, fn, arg);
}

static sqlite3_stmt *stmt_of(const struct statedb_row *row)
{
	return (sqlite3_stmt *)row;
}

int64_t statedb_row_int(const struct statedb_row *row, int column)
{
	return sqlite3_column_int64(stmt_of(row), column);
}

const char *statedb_row_text(const struct statedb_row *row, int column)
{
	return (const char *)sqlite3_column_text(stmt_of(row), column);
}

bool statedb_row_null(const struct statedb_row *row, int column)
{
	return sqlite3_column_type(stmt_of(row), column) == SQLITE_NULL;
}

/* ---- transactions ---- */

void statedb_lock(struct statedb *s)
{
	pthread_mutex_lock(&s->lock);
}

void statedb_unlock(struct statedb *s)
{
	pthread_mutex_unlock(&s->lock);
}

int statedb_begin(struct statedb *s)
{
	static const char sql[] = "BEGIN IMMEDIATE";
	int err = statedb_error(s);

	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	s->failed = 0;
	err = run_rows(s, sql, NULL, NULL, NULL);
	if (err)
		pthread_mutex_unlock(&s->lock);
	return err;
}

static void roll_back(struct statedb *s)
{
	static const char sql[] = "ROLLBACK";

	/* SQLite has already rolled back after most errors. */
	if (!sqlite3_get_autocommit(s->db))
		run_rows(s, sql, NULL, NULL, NULL);
}

int statedb_commit(struct statedb *s, uint64_t *ret_seq)
{
	static const char sql[] = "COMMIT";
	int err = s->failed;

	if (!err)
		err = run_rows(s, sql, NULL, NULL, NULL);
	if (err) {
		roll_back(s);
	} else {
		pthread_mutex_lock(&s->wal_lock);
		s->committed++;
		if (ret_seq)
			*ret_seq = s->committed;
		pthread_mutex_unlock(&s->wal_lock);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void statedb_rollback(struct statedb *s)
{
	roll_back(s);
	pthread_mutex_unlock(&s->lock);
}

int statedb_define(struct statedb *s, const char *sql)
{
	int rc, err = statedb_begin(s);

	if (err)
		return err;
	rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		s->failed = statedb_failed(s, rc);
	return statedb_commit(s, NULL);
}
