/* files: rows of staged files, who writes which column, and lists that go with their row. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/state/files.h"
#include "fs/state/store.h"

static char dir[64], path[96];
static struct statedb *db;

static void reopen(void)
{
	statedb_close(db);
	assert_int_equal(statedb_open(dir, &db), 0);
	assert_int_equal(files_define(db), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_state_files.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/state.db", dir);
	db = NULL;
	reopen();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	statedb_close(db);
	unlink(path);
	return rmdir(dir);
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static char *superseded[] = { (char *)(uintptr_t) "file-2", (char *)(uintptr_t) "file-1" };
static char *abandoned[] = { (char *)(uintptr_t) "upload-1" };
static struct record_part parts[] = { { 0, (char *)(uintptr_t) "p0" },
				      { 7, (char *)(uintptr_t) "p7" } };

/* All fields differ from their defaults. Its strings are literals. */
static struct record make(void)
{
	return (struct record){ .state = RECORD_COMPLETING,
				.purpose = text("fine-tune"),
				.path = text("a b/\xff\n'%"),
				.filename = text("x.jsonl"),
				.mime_type = text("text/plain"),
				.size = UINT64_MAX,
				.part_size = 1,
				.part_block = 2,
				.declared = 3,
				.expires_after = 4,
				.upload_id = text("upload-2"),
				.upload_purpose = text("vision"),
				.upload_mime = text("text/x-a"),
				.upload_expiry = 13,
				.upload_bytes = 5,
				.upload_created = -6,
				.upload_created_at = INT64_MAX,
				.parts = parts,
				.part_count = 2,
				.md5 = text("0123"),
				.file_id = text("file-3"),
				.superseded = superseded,
				.superseded_count = 2,
				.abandoned = abandoned,
				.abandoned_count = 1,
				.err = -EIO,
				.error = text("no \"such\" thing"),
				.request_id = text("req"),
				.in_doubt = 1,
				.doubt_md5 = text("4567"),
				.expires_at = 12,
				.strangers = superseded,
				.stranger_count = 2,
				.mode = 0640,
				.uid = UINT32_MAX,
				.gid = 8,
				.mtime_s = -9,
				.mtime_ns = 10,
				.created_s = 11 };
}

static void save(const char *id, const struct record *r)
{
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_save(db, id, r), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
}

static void same_text(const char *a, const char *b)
{
	assert_true(!a == !b);
	assert_true(!a || !strcmp(a, b));
}

static void check(const char *id, const struct record *want)
{
	struct record r;

	assert_int_equal(files_load(db, id, &r), 0);
	assert_int_equal(r.state, want->state);
	same_text(r.purpose, want->purpose);
	same_text(r.path, want->path);
	same_text(r.filename, want->filename);
	same_text(r.mime_type, want->mime_type);
	same_text(r.upload_id, want->upload_id);
	same_text(r.upload_purpose, want->upload_purpose);
	same_text(r.upload_mime, want->upload_mime);
	assert_int_equal(r.upload_expiry, want->upload_expiry);
	same_text(r.md5, want->md5);
	same_text(r.file_id, want->file_id);
	same_text(r.error, want->error);
	same_text(r.request_id, want->request_id);
	assert_true(r.size == want->size && r.part_size == want->part_size &&
		    r.part_block == want->part_block && r.declared == want->declared &&
		    r.expires_after == want->expires_after);
	assert_true(r.upload_bytes == want->upload_bytes &&
		    r.upload_created == want->upload_created &&
		    r.upload_created_at == want->upload_created_at);
	assert_true(r.err == want->err && r.in_doubt == want->in_doubt && r.mode == want->mode &&
		    r.uid == want->uid && r.gid == want->gid);
	assert_true(r.mtime_s == want->mtime_s && r.mtime_ns == want->mtime_ns &&
		    r.created_s == want->created_s);
	assert_int_equal(r.part_count, want->part_count);
	for (size_t i = 0; i < r.part_count; i++) {
		assert_int_equal(r.parts[i].index, want->parts[i].index);
		assert_string_equal(r.parts[i].id, want->parts[i].id);
	}
	assert_int_equal(r.superseded_count, want->superseded_count);
	for (size_t i = 0; i < r.superseded_count; i++)
		assert_string_equal(r.superseded[i], want->superseded[i]);
	same_text(r.doubt_md5, want->doubt_md5);
	assert_true(r.expires_at == want->expires_at);
	assert_int_equal(r.stranger_count, want->stranger_count);
	for (size_t i = 0; i < r.stranger_count; i++)
		assert_string_equal(r.strangers[i], want->strangers[i]);
	assert_int_equal(r.abandoned_count, want->abandoned_count);
	for (size_t i = 0; i < r.abandoned_count; i++)
		assert_string_equal(r.abandoned[i], want->abandoned[i]);
	record_release(&r);
}

static int take(void *arg, const struct statedb_row *row)
{
	*(int64_t *)arg = statedb_row_int(row, 0);
	return 0;
}

static int64_t count_rows(const char *sql)
{
	int64_t n = -1;

	statedb_lock(db);
	assert_int_equal(statedb_each(db, sql, NULL, take, &n), 0);
	statedb_unlock(db);
	return n;
}

static void test_round_trip(void **state)
{
	struct record full = make(), r;
	struct record least = { .state = RECORD_EMPTY, .purpose = text("p"), .path = text("") };

	(void)state;
	save("full", &full);
	save("least", &least);
	for (int i = 0; i < 2; i++) {
		check("full", &full);
		check("least", &least);
		assert_int_equal(files_load(db, "none", &r), -ENOENT);
		assert_true(files_has(db, "full") && !files_has(db, "none"));
		reopen();
	}
	for (int s = RECORD_WRITING; s <= RECORD_REMOVED; s++) {
		least.state = (enum record_state)s;
		save("least", &least);
		check("least", &least);
		assert_non_null(record_state_name(least.state));
	}
}

static void test_refused(void **state)
{
	struct record r = make();

	(void)state;
	assert_int_equal(statedb_begin(db), 0);
	r.path = NULL;
	assert_int_equal(files_save(db, "x", &r), -EINVAL);
	r = make();
	r.state = (enum record_state)99;
	assert_int_equal(files_save(db, "x", &r), -EINVAL);
	statedb_rollback(db);
	assert_false(files_has(db, "x"));
	r = make();
	save("x", &r);
	assert_int_equal(statedb_define(db, "UPDATE file SET state = -1"), 0);
	assert_int_equal(files_load(db, "x", &r), -EBADMSG);
}

/* A later save of the publisher leaves the columns of the vfs side, and replaces the lists. */
static void test_columns(void **state)
{
	struct record want = make(), later = make();

	(void)state;
	save("x", &want);
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_set_place(db, "x", "vision", "q"), 0);
	assert_int_equal(files_set_owner(db, "x", 0600, 1, 2), 0);
	assert_int_equal(files_set_mtime(db, "x", 3, 4), 0);
	assert_int_equal(files_add_superseded(db, "x", "file-9"), 0);
	assert_int_equal(files_add_superseded(db, "x", "file-9"), 0);
	/* Of what is not there nothing is made. */
	assert_int_equal(files_set_place(db, "none", "vision", "q"), 0);
	assert_int_equal(files_add_superseded(db, "none", "file-9"), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	assert_false(files_has(db, "none"));
	assert_int_equal(count_rows("SELECT count(*) FROM superseded"), 3);
	later.state = RECORD_FAILED;
	later.part_count = 1;
	later.superseded_count = 1;
	later.abandoned_count = 0;
	later.upload_id = NULL;
	later.size = 77;
	save("x", &later);
	later.purpose = text("vision");
	later.path = text("q");
	later.mode = 0600;
	later.uid = 1;
	later.gid = 2;
	later.mtime_s = 3;
	later.mtime_ns = 4;
	check("x", &later);
	/* Removed is removed, whatever is saved afterwards. */
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_set_removed(db, "x"), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	save("x", &later);
	later.state = RECORD_REMOVED;
	check("x", &later);
}

/* A save that knows what the one before left in the lists, and writes the vfs side's columns. */
static void test_save_over(void **state)
{
	struct record full = make(), none = make(), want;
	struct files_lists lists = { 0 }, kept;

	(void)state;
	none.part_count = none.superseded_count = none.abandoned_count = none.stranger_count = 0;
	none.doubt_md5 = NULL;
	none.expires_at = 0;
	none.path = text("new");
	none.mode = 0600;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(statedb_begin(db), 0);
		assert_int_equal(files_save_over(db, "x", &full, FILES_OWNER, &lists), 0);
		assert_int_equal(statedb_commit(db, NULL), 0);
		want = full;
		want.path = i ? text("new") : full.path;
		check("x", &want);
		/* Rolled back: the lists are what they were. */
		kept = lists;
		assert_int_equal(statedb_begin(db), 0);
		assert_int_equal(files_save_over(db, "x", &none, FILES_PLACE, &lists), 0);
		statedb_rollback(db);
		check("x", &want);
		lists = kept;
		for (int again = 0; again < 2; again++) {
			assert_int_equal(statedb_begin(db), 0);
			assert_int_equal(files_save_over(db, "x", &none, FILES_PLACE, &lists), 0);
			assert_int_equal(statedb_commit(db, NULL), 0);
			want = none;
			want.mode = full.mode;
			check("x", &want);
		}
	}
	/* Another change of the lists, of which the next save is told. */
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_add_superseded(db, "x", "file-9"), 0);
	lists = (struct files_lists){ 0 };
	assert_int_equal(files_save_over(db, "x", &none, 0, &lists), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	check("x", &want);
}

/* One transaction: a name moves, its victim goes, and inherits its File to what replaces it. */
static void test_transaction(void **state)
{
	struct record r = make();

	(void)state;
	save("source", &r);
	save("victim", &r);
	for (int commit = 0; commit < 2; commit++) {
		assert_int_equal(statedb_begin(db), 0);
		assert_int_equal(files_set_place(db, "source", "batch", "new"), 0);
		assert_int_equal(files_add_superseded(db, "source", "file-7"), 0);
		assert_int_equal(files_drop(db, "victim"), 0);
		if (commit)
			assert_int_equal(statedb_commit(db, NULL), 0);
		else
			statedb_rollback(db);
		reopen();
		assert_int_equal(files_has(db, "victim"), !commit);
		assert_int_equal(count_rows("SELECT count(*) FROM file WHERE path = 'new'"),
				 commit);
		/* Its lists go with a row. */
		assert_int_equal(count_rows("SELECT count(*) FROM superseded"), commit ? 3 : 4);
		assert_int_equal(count_rows("SELECT count(*) FROM part"), commit ? 2 : 4);
		assert_int_equal(count_rows("SELECT count(*) FROM abandoned"), commit ? 1 : 2);
	}
}

static int collect(void *arg, const char *id)
{
	char *all = arg;

	snprintf(all + strlen(all), 100 - strlen(all), "%s ", id);
	/* It may change the rows. */
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_doom(db, id), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	return strcmp(id, "stop") ? 0 : -EINTR;
}

static void check_each(enum files_which which, int want_err, const char *want)
{
	char all[100] = "";

	assert_int_equal(files_each(db, which, collect, all), want_err);
	assert_string_equal(all, want);
}

static void test_each(void **state)
{
	struct record r = make();

	(void)state;
	save("b", &r);
	save("a", &r);
	save("d", &r);
	save("stop", &r);
	save("t", &r);
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_set_aside(db, "d"), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	check_each(FILES_STAGED, -EINTR, "a b stop ");
	check_each(FILES_SET_ASIDE, 0, "d ");
	check_each(FILES_STAGED, 0, "t ");
	reopen();
	check_each(FILES_DOOMED, -EINTR, "a b d stop ");
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_forgive(db, "stop"), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	check_each(FILES_DOOMED, 0, "a b d t ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip), TEST(test_refused),     TEST(test_columns),
		TEST(test_save_over),  TEST(test_transaction), TEST(test_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
