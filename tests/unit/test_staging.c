/* staging: the area on disk, life of a staged file, space, damage, what is left of it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/state/cached.h"
#include "fs/state/files.h"
#include "tests/unit/stage_area.h"

#define PART (64 << 10)

/* Not to be released: its strings are literals. */
static struct record make_record(enum record_state state, uint64_t size)
{
	struct record r;

	record_init(&r);
	r.state = state;
	r.purpose = (char *)(uintptr_t) "batch";
	r.path = (char *)(uintptr_t) "dir/x.jsonl";
	r.size = size;
	r.part_size = PART;
	r.synced = true;
	return r;
}

static void save(struct staged *st, enum record_state state, uint64_t size)
{
	struct record r = make_record(state, size);

	assert_int_equal(staged_save_record(st, &r, true), 0);
}

static uint64_t used(struct stage_area *a)
{
	struct staging_space sp;

	assert_int_equal(staging_get_space(a->sg, &sp), 0);
	assert_true(sp.disk_size >= sp.disk_free && sp.disk_size > 0);
	return sp.used;
}

static unsigned files(struct stage_area *a)
{
	struct staging_space sp;

	assert_int_equal(staging_get_space(a->sg, &sp), 0);
	return sp.files;
}

static void damage(const struct stage_area *a, const char *id, const char *ending, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%s", a->staging, id, ending);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_life(void **state)
{
	struct stage_area a;
	struct staged *st, *other;
	struct stat sb;
	char id[32];

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(stat(a.staging, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0700);
	assert_int_equal(staged_create(a.sg, &st), 0);
	assert_int_equal(staged_create(a.sg, &other), 0);
	assert_string_not_equal(staged_id(st), staged_id(other));
	snprintf(id, sizeof(id), "%s", staged_id(st));
	assert_int_equal(strspn(id, "0123456789abcdef"), 16);
	assert_int_equal(fstat(staged_fd(st), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	save(st, RECORD_WRITING, 0);
	stage_fill(st, 0, 1000, 1);
	assert_int_equal(used(&a), 1000);
	assert_int_equal(files(&a), 2);
	assert_int_equal(staged_sync(st), 0);
	assert_ptr_equal(staged_ref(st), st);
	staged_unref(st);
	assert_true(stage_exists(&a, id, ".data") && stage_exists(&a, id, ".rec"));
	staged_unref(st);
	assert_false(stage_exists(&a, id, ".data") || stage_exists(&a, id, ".rec"));
	assert_int_equal(used(&a), 0);
	assert_int_equal(files(&a), 1);
	staged_unref(other);
	staged_unref(NULL);
	staging_close(NULL);
	stage_area_close(&a);
}

static void save_plain(struct stage_area *a, const char *id, struct record r)
{
	assert_int_equal(statedb_begin(a->db), 0);
	assert_int_equal(files_save(a->db, id, &r), 0);
	assert_int_equal(statedb_commit(a->db, NULL), 0);
}

static int collect(void *arg, const char *id)
{
	char *all = arg;

	snprintf(all + strlen(all), 400 - strlen(all), "%s ", id);
	return 0;
}

static int stop_at_once(void *arg, const char *id)
{
	(void)id;
	++*(int *)arg;
	return -EINTR;
}

static void test_keep_and_open(void **state)
{
	char id[32], all[400] = "", hex[DIGEST_HEX_SIZE], want[DIGEST_HEX_SIZE];
	struct stage_area a;
	struct staged *st;
	struct record r;
	int calls = 0;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 3 * PART / 2, 1);
	stage_check_md5(st);
	assert_int_equal(staged_md5(st, want), 0);
	assert_int_equal(staged_sync(st), 0);
	save(st, RECORD_SEALED, 3 * PART / 2);
	staged_keep(st);
	staged_unref(st);
	assert_int_equal(used(&a), 0);
	stage_area_reopen(&a);
	assert_int_equal(staging_scan(a.sg, collect, all), 0);
	assert_int_equal(strlen(all), 17);
	assert_memory_equal(all, id, 16);
	assert_int_equal(staging_scan(a.sg, stop_at_once, &calls), -EINTR);
	assert_int_equal(calls, 1);

	assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
	assert_string_equal(staged_id(st), id);
	assert_int_equal(r.state, RECORD_SEALED);
	assert_string_equal(r.path, "dir/x.jsonl");
	record_release(&r);
	assert_int_equal(staged_size(st), 3 * PART / 2);
	assert_true(staged_covered(st, 0, 3 * PART / 2));
	assert_false(staged_covered(st, 0, 3 * PART / 2 + 1));
	assert_int_equal(used(&a), 3 * PART / 2);
	stage_check_md5(st);
	assert_int_equal(staged_md5(st, hex), 0);
	assert_string_equal(hex, want);
	staged_unseal(st);
	/* Parts that this daemon never wrote have versions too. */
	assert_int_equal(staged_truncate(st, PART / 2), 0);
	assert_int_equal(staged_version(st, 0, PART), 1);
	assert_int_equal(staged_version(st, PART, 2 * PART), 1);
	stage_check_md5(st);
	/* Smaller parts than those it was written with. */
	staged_unref(st);
	save_plain(&a, id, make_record(RECORD_SEALED, PART / 2));
	a.cfg.part_size = 100;
	stage_area_reopen(&a);
	assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
	record_release(&r);
	assert_int_equal(staged_truncate(st, 10), 0);
	assert_int_equal(staged_version(st, 32600, 32700), 1);
	/* What was opened stays, unless told otherwise. */
	staged_unref(st);
	assert_true(stage_exists(&a, id, ".data") && stage_exists(&a, id, ".rec"));
	stage_area_close(&a);
}

static void check_open(struct stage_area *a, const char *id, int want)
{
	struct staged *st = NULL;
	struct record r;

	assert_int_equal(staged_open(a->sg, id, &r, &st), want);
	if (!want) {
		record_release(&r);
		staged_unref(st);
	} else {
		assert_null(st);
		assert_int_equal(files(a), 0);
	}
}

static void test_open_damaged(void **state)
{
	static const char no_such[] = "0123456789abcdef";
	struct stage_area a;
	struct staged *st;
	char id[32], all[400] = "";
	int i;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 100, 1);
	assert_int_equal(staged_sync(st), 0);
	save(st, RECORD_SEALED, 100);
	staged_keep(st);
	staged_unref(st);
	check_open(&a, no_such, -ENOENT);
	check_open(&a, "../../etc/passwd", -EINVAL);
	check_open(&a, "0123456789abcdeF", -EINVAL);
	check_open(&a, "", -EINVAL);
	check_open(&a, id, 0);
	/* Less data than its record knows of: lost by the disk if it was closed, else truncated. */
	damage(&a, id, ".data", "fifty");
	check_open(&a, id, -EBADMSG);
	for (i = RECORD_WRITING; i <= RECORD_REMOVED; i++) {
		bool open = i == RECORD_WRITING || i == RECORD_ABORTED || i == RECORD_EMPTY ||
			    i == RECORD_REMOVED;

		save_plain(&a, id, make_record((enum record_state)i, 100));
		check_open(&a, id, open ? 0 : -EBADMSG);
	}
	assert_int_equal(statedb_define(a.db, "UPDATE file SET state = 99"), 0);
	check_open(&a, id, -EBADMSG);
	assert_int_equal(staging_set_aside(a.sg, id), 0);
	assert_int_equal(staging_scan(a.sg, collect, all), 0);
	assert_string_equal(all, "");
	assert_true(stage_exists(&a, id, ".rec") && !stage_exists(&a, id, ".data"));
	snprintf(a.staging + strlen(a.staging), 20, "/damaged");
	assert_true(stage_exists(&a, id, ".data"));
	a.staging[strlen(a.staging) - strlen("/damaged")] = '\0';
	assert_int_equal(staging_set_aside(a.sg, "../x"), -EINVAL);
	assert_int_equal(staging_set_aside(a.sg, no_such), 0);
	stage_area_close(&a);
}

static void test_sweep(void **state)
{
	static const char whole[] = "00000000000000aa", bare[] = "00000000000000bb";
	static const char empty[] = "00000000000000cc", doomed[] = "00000000000000dd";
	struct stage_area a;
	struct datadir *second = NULL;

	(void)state;
	stage_area_open(&a, PART);
	damage(&a, whole, ".data", "text");
	save_plain(&a, whole, make_record(RECORD_SEALED, 4));
	damage(&a, bare, ".data", "text");
	damage(&a, empty, ".data", "");
	/* The daemon died between the commit that dropped its row and the unlink. */
	damage(&a, doomed, ".data", "text");
	save_plain(&a, doomed, make_record(RECORD_SEALED, 4));
	assert_int_equal(statedb_begin(a.db), 0);
	assert_int_equal(files_doom(a.db, doomed), 0);
	assert_int_equal(statedb_commit(a.db, NULL), 0);
	damage(&a, "README", "", "not ours");
	assert_int_equal(datadir_open(a.dir, a.db, &second), -EBUSY);
	assert_null(second);
	assert_true(stage_exists(&a, doomed, ".data"));
	stage_area_reopen(&a);
	assert_true(stage_exists(&a, whole, ".data") && stage_exists(&a, whole, ".rec"));
	assert_true(stage_exists(&a, "README", ""));
	assert_false(stage_exists(&a, bare, ".data") || stage_exists(&a, empty, ".data"));
	assert_true(stage_exists(&a, "damaged/00000000000000bb", ".data"));
	assert_false(stage_exists(&a, "damaged/00000000000000cc", ".data"));
	assert_false(stage_exists(&a, doomed, ".data"));
	assert_false(stage_exists(&a, "damaged/00000000000000dd", ".data"));
	stage_area_close(&a);
}

/*
 * Bytes that were to replace a File, and of which a power cut left nothing, are as good as never
 * written: the File is what the name is, also for the mount after the next. What a sync had
 * promised comes back as aborted, and supersedes nothing.
 */
static void test_no_data_over_a_file(void **state)
{
	static const enum record_state states[] = { RECORD_WRITING, RECORD_ABORTED, RECORD_HELD,
						    RECORD_SEALED };
	static const char id[] = "00000000000000aa";
	char old[] = "file-old", *superseded[] = { old };
	struct staged *st = NULL;
	struct stage_area a;
	struct record r;

	(void)state;
	stage_area_open(&a, PART);
	for (size_t i = 0; i < 2 * sizeof(states) / sizeof(states[0]); i++) {
		bool synced = i % 2;

		r = make_record(states[i / 2], 4);
		r.superseded = superseded;
		r.superseded_count = 1;
		r.synced = synced;
		save_plain(&a, id, r);
		for (unsigned mount = 0; mount < 2; mount++) {
			assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
			assert_int_equal(r.state, synced ? RECORD_ABORTED : RECORD_REMOVED);
			assert_int_equal(r.superseded_count, 0);
			assert_false(r.synced);
			assert_int_equal(staged_size(st), 0);
			record_release(&r);
			staged_keep(st);
			staged_unref(st);
			stage_area_reopen(&a);
		}
		assert_int_equal(statedb_begin(a.db), 0);
		assert_int_equal(files_drop(a.db, id), 0);
		assert_int_equal(statedb_commit(a.db, NULL), 0);
		stage_area_reopen(&a);
	}
	stage_area_close(&a);
}

/*
 * A row whose data is gone supersedes nothing; of one that is a File nothing is left, unless it has
 * Files to delete.
 */
static void test_no_data(void **state)
{
	static const char sealed[] = "00000000000000aa", completed[] = "00000000000000bb";
	static const char owing[] = "00000000000000cc";
	char old[] = "file-old", *superseded[] = { old };
	struct record r = make_record(RECORD_SEALED, 4);
	struct staged *st = NULL;
	struct stage_area a;

	(void)state;
	r.superseded = superseded;
	r.superseded_count = 1;
	stage_area_open(&a, PART);
	save_plain(&a, sealed, r);
	r.state = RECORD_COMPLETED;
	save_plain(&a, owing, r);
	r.superseded_count = 0;
	save_plain(&a, completed, r);
	check_open(&a, completed, -ENOENT);
	assert_false(stage_exists(&a, completed, ".rec"));
	assert_int_equal(staged_open(a.sg, sealed, &r, &st), 0);
	assert_int_equal(r.state, RECORD_ABORTED);
	assert_int_equal(r.superseded_count, 0);
	assert_int_equal(staged_size(st), 0);
	record_release(&r);
	staged_unref(st);
	assert_int_equal(staged_open(a.sg, owing, &r, &st), 0);
	assert_int_equal(r.state, RECORD_COMPLETED);
	assert_int_equal(r.superseded_count, 1);
	assert_false(r.synced);
	record_release(&r);
	staged_unref(st);
	stage_area_close(&a);
}

static void test_bad_config(void **state)
{
	struct staging_config cfg;
	struct staging *sg = NULL;
	struct datadir *data = NULL;
	struct stage_area a;

	(void)state;
	stage_area_open(&a, PART);
	cfg = a.cfg;
	cfg.part_size = 0;
	assert_int_equal(staging_open(&cfg, &sg), -EINVAL);
	cfg = a.cfg;
	cfg.pool = NULL;
	assert_int_equal(staging_open(&cfg, &sg), -EINVAL);
	cfg = a.cfg;
	cfg.data = NULL;
	assert_int_equal(staging_open(&cfg, &sg), -EINVAL);
	assert_null(sg);
	assert_int_equal(datadir_open("/nonexistent/for/sure", a.db, &data), -ENOENT);
	assert_int_equal(datadir_open("/dev/null", a.db, &data), -ENOTDIR);
	assert_null(data);
	stage_area_close(&a);
}

static void test_size_max(void **state)
{
	struct stage_area a;
	struct staged *s, *t;
	int fd;

	(void)state;
	stage_area_open(&a, PART);
	a.cfg.size_max = 10000;
	stage_area_reopen(&a);
	assert_int_equal(staged_create(a.sg, &s), 0);
	assert_int_equal(staged_create(a.sg, &t), 0);
	stage_fill(s, 0, 6000, 1);
	assert_int_equal(staged_write_begin(t, 0, 4001, &fd), -ENOSPC);
	assert_int_equal(staged_truncate(t, 4001), -ENOSPC);
	assert_int_equal(staged_fallocate(t, 0, 0, 4001), -ENOSPC);
	assert_int_equal(staged_size(t), 0);
	/* What a write under way has taken is taken; a short one gives back. */
	assert_int_equal(staged_write_begin(t, 0, 4000, &fd), 0);
	assert_int_equal(staged_write_begin(s, 6000, 1, &fd), -ENOSPC);
	assert_int_equal(staged_write_begin(t, 1000, 3000, &fd), 0);
	staged_write_end(t, 0, 4000, 0);
	assert_int_equal(used(&a), 10000);
	staged_write_end(t, 1000, 3000, 0);
	assert_int_equal(used(&a), 6000);
	stage_fill(t, 0, 4000, 2);
	/* Rewriting takes nothing. */
	stage_fill(s, 0, 6000, 3);
	assert_int_equal(staged_write_begin(s, 5999, 2, &fd), -ENOSPC);
	assert_int_equal(staged_truncate(t, 100), 0);
	assert_int_equal(used(&a), 6100);
	stage_fill(s, 6000, 3900, 4);
	assert_int_equal(used(&a), 10000);
	staged_unref(s);
	assert_int_equal(used(&a), 100);
	/* A failing operation leaves the count alone. */
	assert_int_equal(staged_truncate(t, UINT64_MAX), -EFBIG);
	assert_int_equal(used(&a), 100);
	staged_unref(t);
	assert_int_equal(used(&a), 0);
	stage_area_close(&a);
}

/* More is to be left free than there is: only what is there already can be written. */
static void test_reserve(void **state)
{
	struct stage_area a;
	struct staged *st;
	struct record r;
	char id[32];
	int fd;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 1000, 1);
	save(st, RECORD_WRITING, 0);
	staged_keep(st);
	staged_unref(st);
	a.cfg.reserve = 1ULL << 60;
	stage_area_reopen(&a);
	assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
	record_release(&r);
	assert_int_equal(staged_write_begin(st, 1000, 1, &fd), -ENOSPC);
	assert_int_equal(staged_write_begin(st, 999, 2, &fd), -ENOSPC);
	assert_int_equal(staged_truncate(st, 1001), -ENOSPC);
	assert_int_equal(staged_fallocate(st, FALLOC_FL_KEEP_SIZE, 1000, 1), -ENOSPC);
	stage_fill(st, 0, 1000, 2);
	assert_int_equal(staged_truncate(st, 500), 0);
	assert_int_equal(used(&a), 500);
	staged_unref(st);
	/* A reserve that can be kept lets everything pass, also past many questions. */
	a.cfg.reserve = 4096;
	stage_area_reopen(&a);
	assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
	record_release(&r);
	assert_int_equal(staged_truncate(st, 70 << 20), 0);
	stage_fill(st, 70 << 20, 1 << 20, 1);
	stage_fill(st, 0, 1 << 20, 1);
	staged_unref(st);
	stage_area_close(&a);
}

struct taker {
	struct statedb *db;
	int rc;
	unsigned calls;
};

static int take(void *arg, const char *data)
{
	struct taker *t = arg;
	struct cached row = { .bytes = 1000 };

	t->calls++;
	if (t->rc)
		return t->rc;
	cached_fill(&row, data, "", "");
	assert_int_equal(statedb_begin(t->db), 0);
	assert_int_equal(files_drop(t->db, data), 0);
	assert_int_equal(cached_put(t->db, "file-1", &row), 0);
	return statedb_commit(t->db, NULL);
}

static void test_give(void **state)
{
	char id[32], hex[DIGEST_HEX_SIZE];
	struct record r = make_record(RECORD_COMPLETED, 1000);
	struct stage_area a;
	struct taker t = { .rc = -ENOSPC };
	struct staged *st;
	int fd;

	(void)state;
	stage_area_open(&a, PART);
	t.db = a.db;
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 1000, 1);
	save(st, RECORD_COMPLETED, 1000);
	assert_int_equal(staged_give(st, take, &t), -ENOSPC);
	assert_int_equal(staged_write_begin(st, 0, 1, &fd), 0);
	assert_int_equal(staged_give(st, take, &t), -EBUSY);
	staged_write_end(st, 0, 1, 0);
	assert_true(stage_exists(&a, id, ".data") && stage_exists(&a, id, ".rec"));
	assert_int_equal(used(&a), 1000);

	t.rc = 0;
	assert_int_equal(staged_give(st, take, &t), 0);
	assert_int_equal(t.calls, 2);
	/* The same file under the same name; only its row is another one. */
	assert_true(stage_exists(&a, id, ".data") && !stage_exists(&a, id, ".rec"));
	assert_int_equal(used(&a), 0);
	assert_int_equal(files(&a), 0);
	/* The bytes are another's: readable, never to be changed, not to be removed. */
	assert_int_equal(staged_write_begin(st, 0, 1, &fd), -EBUSY);
	assert_int_equal(staged_truncate(st, 1), -EBUSY);
	assert_int_equal(staged_fallocate(st, 0, 0, 2000), -EBUSY);
	assert_int_equal(staged_save_record(st, &r, false), -ESTALE);
	assert_int_equal(staged_give(st, take, &t), -ESTALE);
	stage_check_md5(st);
	assert_int_equal(staged_md5(st, hex), 0);
	staged_unseal(st);
	assert_int_equal(staged_write_begin(st, 0, 1, &fd), -EBUSY);
	staged_remove(st);
	staged_unref(st);
	assert_int_equal(used(&a), 0);
	assert_int_equal(files(&a), 0);
	stage_area_reopen(&a);
	assert_true(stage_exists(&a, id, ".data"));
	stage_area_close(&a);
}

/* The data of another database, or of one that was damaged, is left alone. */
static void test_other_database(void **state)
{
	static const char orphan[] = "00000000000000aa", doomed[] = "00000000000000bb";
	struct stage_area a;
	char path[160];

	(void)state;
	stage_area_open(&a, PART);
	damage(&a, orphan, ".data", "text");
	staging_close(a.sg);
	datadir_close(a.data);
	statedb_close(a.db);
	snprintf(path, sizeof(path), "%s/state.db", a.dir);
	assert_int_equal(unlink(path), 0);
	a.sg = NULL;
	a.data = NULL;
	a.db = NULL;
	for (int i = 0; i < 2; i++) {
		stage_area_reopen(&a);
		assert_true(stage_exists(&a, orphan, ".data"));
		assert_false(stage_exists(&a, "damaged/00000000000000aa", ".data"));
	}
	/* What this database doomed goes all the same. */
	damage(&a, doomed, ".data", "text");
	assert_int_equal(statedb_begin(a.db), 0);
	assert_int_equal(files_doom(a.db, doomed), 0);
	assert_int_equal(statedb_commit(a.db, NULL), 0);
	stage_area_reopen(&a);
	assert_false(stage_exists(&a, doomed, ".data"));
	assert_true(stage_exists(&a, orphan, ".data"));
	stage_area_close(&a);
}

/* staging/ of the version before becomes data/, its rows stand. */
static void test_former_directory(void **state)
{
	static const char orphan[] = "00000000000000aa";
	char id[32], path[220], former[120];
	struct datadir *data = NULL;
	struct stage_area a;
	struct staged *st;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 1000, 1);
	save(st, RECORD_SEALED, 1000);
	staged_keep(st);
	staged_unref(st);
	staging_close(a.sg);
	datadir_close(a.data);
	a.sg = NULL;
	a.data = NULL;
	damage(&a, "uuid", "", "");
	damage(&a, orphan, ".data", "text");
	snprintf(former, sizeof(former), "%s/staging", a.dir);
	assert_int_equal(unlink(former), 0);
	assert_int_equal(rename(a.staging, former), 0);
	snprintf(path, sizeof(path), "%s/00000000000000aa.rec", former);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(datadir_open(a.dir, a.db, &data), -EPROTONOSUPPORT);
	assert_null(data);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/cache", a.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/cache/.fetch", a.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/cache/.fetch/1", a.dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(path, sizeof(path), "%s/cache/file-1", a.dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	stage_area_reopen(&a);
	snprintf(path, sizeof(path), "%s/cache", a.dir);
	assert_int_equal(access(path, F_OK), -1);
	check_open(&a, id, 0);
	assert_true(stage_exists(&a, "damaged/00000000000000aa", ".data"));
	/* The former name leads to the same files. */
	snprintf(path, sizeof(path), "%s/%s.data", former, id);
	assert_int_equal(access(path, F_OK), 0);
	stage_area_close(&a);
}

struct saver {
	struct staged *st;
	uint64_t size;
	int rc;
};

static void *save_often(void *arg)
{
	struct saver *s = arg;
	struct record r = make_record(RECORD_WRITING, s->size);
	int i;

	for (i = 0; i < 300 && !s->rc; i++)
		s->rc = staged_save_record(s->st, &r, false);
	return NULL;
}

/* Two threads save at once: neither fails, and a whole record stands. */
static void test_concurrent_saves(void **state)
{
	struct saver s[2];
	pthread_t t[2];
	struct stage_area a;
	struct staged *st;
	struct record r;
	int i;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	for (i = 0; i < 2; i++) {
		s[i] = (struct saver){ st, (uint64_t)i + 7, 0 };
		assert_int_equal(pthread_create(&t[i], NULL, save_often, &s[i]), 0);
	}
	for (i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(s[i].rc, 0);
	}
	assert_int_equal(files_load(a.db, staged_id(st), &r), 0);
	assert_true(r.size == 7 || r.size == 8);
	record_release(&r);
	staged_unref(st);
	stage_area_close(&a);
}

/* An adopted file of many parts that something else has cut, when a write is short. */
/* A rename is in the row of a file that has one, with and without a victim. */
static void test_rename(void **state)
{
	const struct staged_place to = { .purpose = "batch", .path = "new" };
	struct staged *st, *victim;
	struct stage_area a;
	char id[2][40];
	struct record r;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	save(st, RECORD_WRITING, 0);
	assert_int_equal(staged_rename(st, &to), 0);
	assert_int_equal(files_load(a.db, staged_id(st), &r), 0);
	assert_string_equal(r.path, "new");
	record_release(&r);
	assert_int_equal(staged_create(a.sg, &victim), 0);
	save(victim, RECORD_WRITING, 0);
	snprintf(id[0], sizeof(id[0]), "%s", staged_id(st));
	snprintf(id[1], sizeof(id[1]), "%s", staged_id(victim));
	assert_int_equal(staged_rename(st, &(struct staged_place){ .purpose = "batch",
								   .path = "newer",
								   .victim = victim }),
			 0);
	assert_int_equal(files_load(a.db, id[0], &r), 0);
	assert_string_equal(r.path, "newer");
	record_release(&r);
	assert_int_equal(files_load(a.db, id[1], &r), 0);
	assert_int_equal(r.state, RECORD_REMOVED);
	record_release(&r);
	staged_remove(victim);
	staged_unref(victim);
	staged_remove(st);
	staged_unref(st);
	stage_area_close(&a);
}

static enum record_state state_of(struct stage_area *a, const char *id)
{
	struct record r;
	enum record_state ret;

	assert_int_equal(files_load(a->db, id, &r), 0);
	ret = r.state;
	record_release(&r);
	return ret;
}

/* Only a file that is to take the place of others of its name removes them, once it is a File. */
static void test_takes_place(void **state)
{
	struct staged *st, *other;
	struct stage_area a;
	char id[40];

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	assert_int_equal(staged_create(a.sg, &other), 0);
	snprintf(id, sizeof(id), "%s", staged_id(other));
	save(other, RECORD_WRITING, 0);
	save(st, RECORD_COMPLETED, 0);
	assert_int_equal(state_of(&a, id), RECORD_WRITING);
	staged_intend(st, true);
	save(st, RECORD_SEALED, 0);
	assert_int_equal(state_of(&a, id), RECORD_WRITING);
	save(st, RECORD_COMPLETED, 0);
	assert_int_equal(state_of(&a, id), RECORD_REMOVED);
	staged_remove(other);
	staged_unref(other);
	staged_remove(st);
	staged_unref(st);
	stage_area_close(&a);
}

static void test_cut_behind_our_back(void **state)
{
	struct stage_area a;
	struct staged *st;
	struct record r;
	char id[32];
	int fd;

	(void)state;
	stage_area_open(&a, 100);
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 1 << 20, 1);
	save(st, RECORD_WRITING, 1 << 20);
	staged_keep(st);
	staged_unref(st);
	stage_area_reopen(&a);
	assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
	record_release(&r);
	assert_int_equal(ftruncate(staged_fd(st), 50), 0);
	assert_int_equal(staged_write_begin(st, 0, 10, &fd), 0);
	staged_write_end(st, 0, 10, 5);
	assert_int_equal(staged_size(st), 50);
	assert_int_equal(staged_version(st, (1 << 20) - 1, 1 << 20), 1);
	staged_unref(st);
	stage_area_close(&a);
}

/* A file at rest holds no descriptor: removed, it is still there for who has it open. */
static void test_removed_at_rest(void **state)
{
	struct staged *st, *handle;
	struct stage_area a;
	struct record r;
	char id[32];
	int fd = -1;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	snprintf(id, sizeof(id), "%s", staged_id(st));
	stage_fill(st, 0, 100, 1);
	save(st, RECORD_WRITING, 100);
	staged_keep(st);
	staged_unref(st);
	stage_area_reopen(&a);
	assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
	record_release(&r);
	handle = staged_ref(st);
	staged_remove(st);
	staged_unref(st);
	assert_false(stage_exists(&a, id, ".data"));
	assert_int_equal(staged_write_begin(handle, 100, 10, &fd), 0);
	assert_int_equal(pwrite(fd, "0123456789", 10, 100), 10);
	staged_write_end(handle, 100, 10, 10);
	assert_int_equal(staged_size(handle), 110);
	staged_unref(handle);
	stage_area_close(&a);
}

/* Leaves st to the next daemon and reads its row. */
static void reload(struct stage_area *a, char id[32], struct record *ret)
{
	stage_area_reopen(a);
	assert_int_equal(files_load(a->db, id, ret), 0);
}

/* A copy of a File counts once complete was asked, or once it was changed. */
static void test_copy(void **state)
{
	static const enum record_state states[] = { RECORD_WRITING, RECORD_SEALED, RECORD_FAILED,
						    RECORD_COMPLETING, RECORD_COMPLETED };
	struct stage_area a;
	struct staged *st;
	struct record r;
	char id[32];

	(void)state;
	for (size_t k = 0; k < 2 * sizeof(states) / sizeof(states[0]); k++) {
		enum record_state s = states[k / 2];
		bool changed = k % 2;

		stage_area_open(&a, PART);
		assert_int_equal(staged_create(a.sg, &st), 0);
		snprintf(id, sizeof(id), "%s", staged_id(st));
		stage_fill(st, 0, 100, 1);
		assert_int_equal(staged_mark_copy(st, "file-moved"), 0);
		save(st, s, 100);
		if (changed)
			stage_fill(st, 0, 10, 2);
		assert_int_equal(staged_is_copy(st), !changed);
		assert_int_equal(staged_moves(st, "file-moved"), !changed);
		assert_false(staged_moves(st, "file-other"));
		staged_keep(st);
		staged_unref(st);
		reload(&a, id, &r);
		assert_int_equal(r.state, changed || s == RECORD_COMPLETING || s == RECORD_COMPLETED
						  ? s
						  : RECORD_REMOVED);
		assert_int_equal(r.copy, !changed);
		assert_int_equal(!r.moved, changed);
		record_release(&r);
		assert_int_equal(staged_open(a.sg, id, &r, &st), 0);
		assert_int_equal(staged_moves(st, "file-moved"), !changed);
		record_release(&r);
		staged_unref(st);
		stage_area_close(&a);
	}
}

/* What is sealed stays a copy: the write is refused first. */
static void test_copy_sealed(void **state)
{
	struct stage_area a;
	struct staged *st;
	int fd;

	(void)state;
	stage_area_open(&a, PART);
	assert_int_equal(staged_create(a.sg, &st), 0);
	stage_fill(st, 0, 100, 1);
	assert_int_equal(staged_mark_copy(st, NULL), 0);
	staged_seal(st);
	assert_int_equal(staged_write_begin(st, 0, 10, &fd), -EBUSY);
	assert_int_equal(staged_truncate(st, 10), -EBUSY);
	assert_true(staged_is_copy(st));
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 10), 0);
	assert_false(staged_is_copy(st));
	staged_unref(st);
	stage_area_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rename),
		cmocka_unit_test(test_takes_place),
		cmocka_unit_test(test_cut_behind_our_back),
		cmocka_unit_test(test_removed_at_rest),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_sealed),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_keep_and_open),
		cmocka_unit_test(test_open_damaged),
		cmocka_unit_test(test_sweep),
		cmocka_unit_test(test_no_data),
		cmocka_unit_test(test_no_data_over_a_file),
		cmocka_unit_test(test_bad_config),
		cmocka_unit_test(test_size_max),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_give),
		cmocka_unit_test(test_concurrent_saves),
		cmocka_unit_test(test_other_database),
		cmocka_unit_test(test_former_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
