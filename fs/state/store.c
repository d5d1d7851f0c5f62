/*
 * Transactions and statements.
 */
#include <errno.h>
#include <string.h>

#include "fs/state/store_impl.h"

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
		else if (v->kind == STATEDB_BLOB)
			rc = sqlite3_bind_blob64(stmt, at, v->text, (sqlite3_uint64)v->number,
						 SQLITE_STATIC);
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
		/* A text that there was no memory for read as NULL. */
		if (!err && sqlite3_errcode(s->db) == SQLITE_NOMEM)
			err = -ENOMEM;
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

const void *statedb_row_blob(const struct statedb_row *row, int column, size_t *ret_len)
{
	const void *bytes = sqlite3_column_blob(stmt_of(row), column);

	*ret_len = bytes ? (size_t)sqlite3_column_bytes(stmt_of(row), column) : 0;
	return bytes;
}

char *statedb_row_dup(const struct statedb_row *row, int column)
{
	const char *text = statedb_row_text(row, column);

	return text ? strdup(text) : NULL;
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

static const char rollback_sql[] = "ROLLBACK";

static void roll_back(struct statedb *s)
{
	/* SQLite has already rolled back after most errors. */
	if (!sqlite3_get_autocommit(s->db))
		run_rows(s, rollback_sql, NULL, NULL, NULL);
}

int statedb_prepare(struct statedb *s)
{
	sqlite3_stmt *stmt;

	return prepare(s, rollback_sql, &stmt);
}

static int begin_joined(struct statedb *s)
{
	static const char sql[] = "BEGIN IMMEDIATE";
	int join, err = run_rows(s, sql, NULL, NULL, NULL);

	/* What gives room back does not have to share the reserve. */
	if (err || !statedb_has_later(s) || !statedb_beyond_reserve(s))
		return err;
	join = statedb_join(s);
	if (!join)
		return 0;
	/* The caller's change does not fail with those of others. */
	roll_back(s);
	statedb_drop_later(s->joined, join);
	s->joined = NULL;
	s->failed = 0;
	if (!sqlite3_get_autocommit(s->db))
		return -ENOMEM;
	return run_rows(s, sql, NULL, NULL, NULL);
}

static int begin(struct statedb *s, bool freeing)
{
	int err = statedb_error(s);

	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	s->failed = 0;
	/* There was no memory for an earlier rollback. */
	roll_back(s);
	if (!sqlite3_get_autocommit(s->db))
		err = -ENOMEM;
	if (!err)
		err = statedb_make_room(s, freeing);
	if (!err)
		err = begin_joined(s);
	if (err)
		pthread_mutex_unlock(&s->lock);
	return err;
}

int statedb_begin(struct statedb *s)
{
	return begin(s, false);
}

int statedb_begin_freeing(struct statedb *s)
{
	return begin(s, true);
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
	statedb_end_joined(s, !err);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void statedb_rollback(struct statedb *s)
{
	roll_back(s);
	statedb_end_joined(s, false);
	pthread_mutex_unlock(&s->lock);
}

int statedb_flush(struct statedb *s)
{
	int rc;

	if (!statedb_has_later(s))
		return 0;
	rc = statedb_begin(s);
	if (!rc)
		rc = statedb_commit(s, NULL);
	if (rc)
		statedb_drop_later(statedb_take_later(s), rc);
	return rc;
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
