/*
 * The store when the disk or memory fails it for a moment: what make torture found, one by one.
 * SQLite's own hooks make its reads and its allocations fail.
 */
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/stage_area.h"

#define PART 65536ULL

static sqlite3_mem_methods memory; /* SQLite's own */
static atomic_bool no_memory;

static void *some_malloc(int n)
{
	return atomic_load(&no_memory) ? NULL : memory.xMalloc(n);
}

static void *some_realloc(void *old, int n)
{
	return atomic_load(&no_memory) ? NULL : memory.xRealloc(old, n);
}

static sqlite3_syscall_ptr real_pread;
static atomic_bool bad_disk;

/* The head of the database is read, so that it opens; the pages behind can't be. */
static ssize_t some_pread(int fd, void *buf, size_t n, off_t at)
{
	if (atomic_load(&bad_disk) && at >= 4 * 4096) {
		errno = EIO;
		return -1;
	}
	return ((ssize_t(*)(int, void *, size_t, off_t))real_pread)(fd, buf, n, at);
}

static int define(struct statedb *s)
{
	return statedb_define(s, "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, n INTEGER)");
}

static int put(struct statedb *s, const char *k, int64_t n)
{
	int rc = statedb_begin(s);

	if (rc)
		return rc;
	statedb_run(s, "INSERT INTO t VALUES (?1, ?2)",
		    STATEDB_ARGS(statedb_text(k), statedb_int(n)), NULL);
	return statedb_commit(s, NULL);
}

static int take_int(void *arg, const struct statedb_row *row)
{
	*(int64_t *)arg = statedb_row_int(row, 0);
	return 0;
}

static int64_t count(struct statedb *s)
{
	int64_t n = -1;

	statedb_lock(s);
	assert_int_equal(statedb_each(s, "SELECT count(*) FROM t", NULL, take_int, &n), 0);
	statedb_unlock(s);
	return n;
}

/* A page that can't be read for a moment is no damage: the database stays where it is. */
static void test_unread_page(void **state)
{
	struct stage_area a;
	struct statedb *s = NULL;
	char k[64], uuid[64];

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(define(a.db), 0);
	for (int64_t i = 0; i < 500; i++) {
		snprintf(k, sizeof(k), "a key of some length %lld", (long long)i);
		assert_int_equal(put(a.db, k, i), 0);
	}
	snprintf(uuid, sizeof(uuid), "%s", statedb_uuid(a.db));
	staging_close(a.sg);
	datadir_close(a.data);
	statedb_close(a.db);
	a.sg = NULL;
	a.data = NULL;
	a.db = NULL;

	atomic_store(&bad_disk, true);
	assert_int_equal(statedb_open(a.dir, &s), -EIO);
	atomic_store(&bad_disk, false);
	assert_null(s);
	stage_area_reopen(&a);
	assert_true(statedb_is_intact(a.db));
	assert_string_equal(statedb_uuid(a.db), uuid);
	assert_int_equal(define(a.db), 0);
	assert_int_equal(count(a.db), 500);
	stage_area_close(&a);
}

/* Without memory to roll back, the next change begins with that. */
static void test_rollback_without_memory(void **state)
{
	struct stage_area a;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(define(a.db), 0);
	assert_int_equal(statedb_begin(a.db), 0);
	statedb_run(a.db, "INSERT INTO t VALUES ('lost', 1)", NULL, NULL);
	atomic_store(&no_memory, true);
	statedb_rollback(a.db);
	atomic_store(&no_memory, false);
	assert_int_equal(put(a.db, "a", 1), 0);
	assert_int_equal(put(a.db, "b", 1), 0);
	assert_int_equal(count(a.db), 2);
	assert_int_equal(statedb_error(a.db), 0);
	stage_area_close(&a);
}

static int take_text(void *arg, const struct statedb_row *row)
{
	const char *text;

	atomic_store(&no_memory, true);
	text = statedb_row_text(row, 0);
	atomic_store(&no_memory, false);
	*(bool *)arg = text != NULL;
	return 0;
}

/* A text that there is no memory for is an error, not a column without a value. */
static void test_text_without_memory(void **state)
{
	struct stage_area a;
	bool there = true;
	int rc;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(define(a.db), 0);
	assert_int_equal(put(a.db, "a", 1234567), 0);
	statedb_lock(a.db);
	/* A number becomes a text when it is asked for. */
	rc = statedb_each(a.db, "SELECT n FROM t", NULL, take_text, &there);
	statedb_unlock(a.db);
	assert_false(there);
	assert_int_equal(rc, -ENOMEM);
	stage_area_close(&a);
}

static void save_row(struct stage_area *a, const char *id)
{
	char purpose[] = "user_data", path[] = "a";
	struct record r;

	record_init(&r);
	r.state = RECORD_SEALED;
	r.purpose = purpose;
	r.path = path;
	r.size = 4;
	assert_int_equal(statedb_begin(a->db), 0);
	assert_int_equal(files_save(a->db, id, &r), 0);
	assert_int_equal(statedb_commit(a->db, NULL), 0);
}

/* What the store can't tell just then is no orphan: staged bytes stay where they are. */
static void test_orphans_of_an_unread_store(void **state)
{
	static const char id[] = "00000000000000aa", name[] = "00000000000000aa.data";
	struct stage_area a;
	char path[160], set_aside[176];
	FILE *data;

	(void)state;
	stage_area_open(&a, PART);
	snprintf(path, sizeof(path), "%s/%s", a.staging, name);
	snprintf(set_aside, sizeof(set_aside), "%s/damaged/%s", a.staging, name);
	data = fopen(path, "w");
	assert_non_null(data);
	assert_int_equal(fputs("text", data) >= 0, 1);
	assert_int_equal(fclose(data), 0);
	save_row(&a, id);
	staging_close(a.sg);
	datadir_close(a.data);
	statedb_close(a.db);
	a.sg = NULL;
	a.data = NULL;
	assert_int_equal(statedb_open(a.dir, &a.db), 0);
	/* Each question about a row fails. */
	assert_int_equal(statedb_define(a.db, "ALTER TABLE file RENAME TO file_elsewhere"), 0);
	assert_true(files_has(a.db, id));
	if (datadir_open(a.dir, a.db, &a.data))
		a.data = NULL;
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(set_aside, F_OK), -1);
	datadir_close(a.data);
	a.data = NULL;
	/* That was final for this store. */
	statedb_close(a.db);
	assert_int_equal(statedb_open(a.dir, &a.db), 0);
	assert_int_equal(statedb_define(a.db, "DROP TABLE IF EXISTS file"), 0);
	assert_int_equal(statedb_define(a.db, "ALTER TABLE file_elsewhere RENAME TO file"), 0);
	stage_area_reopen(&a);
	assert_true(files_has(a.db, id));
	assert_int_equal(access(path, F_OK), 0);
	stage_area_close(&a);
}

static int hook(void)
{
	sqlite3_mem_methods ours;
	sqlite3_vfs *vfs;

	/* Nor from what each connection holds ready. */
	if (sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) ||
	    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory))
		return -1;
	ours = memory;
	ours.xMalloc = some_malloc;
	ours.xRealloc = some_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) || sqlite3_initialize())
		return -1;
	vfs = sqlite3_vfs_find(NULL);
	real_pread = vfs->xGetSystemCall(vfs, "pread64");
	if (!real_pread)
		return -1;
	return vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr)some_pread);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unread_page),
		cmocka_unit_test(test_rollback_without_memory),
		cmocka_unit_test(test_text_without_memory),
		cmocka_unit_test(test_orphans_of_an_unread_store),
	};

	if (hook()) {
		fprintf(stderr, "SQLite can't be hooked\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
