/* kept: what a state directory holds, read and changed without a daemon. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/stage/offline.h"
#include "fs/state/store.h"

static char dir[64];

static void make_data(const char *where, const char *id, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s.data", dir, where, id);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void make_record(bool aside, const char *id, enum record_state state)
{
	char purpose[] = "batch", name[] = "a b", md5[] = "x", file[] = "old";
	char *superseded[] = { file };
	struct statedb *db = NULL;
	struct record r;

	record_init(&r);
	r.state = state;
	r.purpose = purpose;
	r.path = name;
	r.md5 = md5;
	r.declared = 7;
	r.superseded = superseded;
	r.superseded_count = 1;
	assert_int_equal(statedb_open(dir, &db), 0);
	assert_int_equal(files_define(db), 0);
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_save(db, id, &r), 0);
	if (aside)
		assert_int_equal(files_set_aside(db, id), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	statedb_close(db);
}

static int setup(void **state)
{
	char path[128];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_offline.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/data", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/data/damaged", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	return 0;
}

static int remove_one(void *arg, const struct kept *k)
{
	(void)arg;
	return kept_discard(dir, k);
}

static int teardown(void **state)
{
	char path[128];

	(void)state;
	assert_int_equal(kept_scan(dir, remove_one, NULL), 0);
	snprintf(path, sizeof(path), "%s/data/damaged", dir);
	assert_int_equal(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/data", dir);
	assert_int_equal(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/state.db", dir);
	unlink(path);
	return rmdir(dir);
}

struct seen {
	char text[512];
	int fail_at;
};

static int note(void *arg, const struct kept *k)
{
	struct seen *s = arg;
	size_t at = strlen(s->text);

	snprintf(s->text + at, sizeof(s->text) - at, "%s:%d%d%d%d:%u ", k->id, k->err != 0,
		 k->set_aside, kept_is_closed(k), kept_is_open(k), (unsigned)k->size);
	return s->fail_at && --s->fail_at == 0 ? -EINTR : 0;
}

static void check_seen(const char *want)
{
	struct seen s = { "", 0 };

	assert_int_equal(kept_scan(dir, note, &s), 0);
	assert_string_equal(s.text, want);
}

static void test_scan(void **state)
{
	struct seen s = { "", 2 };

	(void)state;
	make_record(false, "c", RECORD_FAILED);
	make_data("data", "c", "12345");
	make_record(false, "a", RECORD_WRITING);
	make_record(false, "b", RECORD_COMPLETED);
	make_record(true, "d", RECORD_SEALED);
	make_data("data", "no-record", "1");
	make_data("data/damaged", "orphan", "12");
	make_data("data", "00000000000000aa", "123");
	check_seen("a:0001:0 b:0000:0 c:0010:5 d:0100:0 orphan:1100:2 00000000000000aa:1000:3 ");
	assert_int_equal(kept_scan(dir, note, &s), -EINTR);
	assert_string_equal(s.text, "a:0001:0 b:0000:0 ");
	/* Data without a record is datadir_open()'s; here it would stay. */
	make_record(false, "no-record", RECORD_EMPTY);
	check_seen("a:0001:0 b:0000:0 c:0010:5 no-record:0000:1 d:0100:0 orphan:1100:2 "
		   "00000000000000aa:1000:3 ");
}

static void test_nothing_there(void **state)
{
	struct seen s = { "", 0 };

	(void)state;
	assert_int_equal(kept_scan("/nonexistent", note, &s), 0);
	assert_string_equal(s.text, "");
}

static void test_garbage(void **state)
{
	struct statedb *db = NULL;

	(void)state;
	make_record(false, "x", RECORD_SEALED);
	assert_int_equal(statedb_open(dir, &db), 0);
	assert_int_equal(statedb_define(db, "UPDATE file SET state = 99"), 0);
	statedb_close(db);
	check_seen("x:1000:0 ");
}

/* A daemon has it. */
static void test_in_use(void **state)
{
	struct seen s = { "", 0 };
	struct statedb *db = NULL;
	int status = 0;
	pid_t pid;

	(void)state;
	make_record(false, "x", RECORD_SEALED);
	assert_int_equal(statedb_open(dir, &db), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(kept_scan(dir, note, &s) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	statedb_close(db);
}

static int close_one(void *arg, const struct kept *k)
{
	(void)arg;
	return kept_close(dir, k);
}

static int look(void *arg, const struct kept *k)
{
	assert_int_equal(k->err, 0);
	assert_int_equal(k->r.state, RECORD_SEALED);
	assert_int_equal(k->r.size, 5);
	assert_int_equal(k->r.declared, 0);
	assert_null(k->r.md5);
	assert_string_equal(k->r.path, "a b");
	assert_int_equal(k->r.superseded_count, 1);
	++*(int *)arg;
	return 0;
}

/* Closed with the bytes that are there; what was declared or hashed before does not count. */
static void test_close(void **state)
{
	int looked = 0;

	(void)state;
	make_record(false, "a", RECORD_ABORTED);
	assert_int_equal(kept_scan(dir, close_one, NULL), -ENOENT);
	make_data("data", "a", "12345");
	assert_int_equal(kept_scan(dir, close_one, NULL), 0);
	assert_int_equal(kept_scan(dir, look, &looked), 0);
	assert_int_equal(looked, 1);
}

/* What `recover publish` takes by itself, and what only by its name. */
static void test_closed(void **state)
{
	static const enum record_state closed[] = { RECORD_HELD, RECORD_SEALED, RECORD_COMPLETING,
						    RECORD_FAILED };
	struct kept k = { 0 };

	(void)state;
	for (unsigned s = 0; s <= RECORD_REMOVED; s++) {
		bool want = false;

		for (unsigned i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
			want |= s == closed[i];
		k.r.state = (enum record_state)s;
		assert_int_equal(kept_is_closed(&k), want);
		k.set_aside = true;
		assert_false(kept_is_closed(&k));
		k.set_aside = false;
		k.err = -EBADMSG;
		assert_false(kept_is_closed(&k));
		k.err = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
		cmocka_unit_test(test_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
