/* uses: fake_api */
/* Services without Uploads: when that is believed, and the file as one request. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define KIB 1024ULL
#define EVER 1000000U
#define SERVICE_CLOCK 1700000000 /* what the fake's Files are dated from */

static struct rig g;
static struct pub first; /* by make_absent(); with a publication until finish() */

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	return 0;
}

static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f, &first };

	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	rig_close(&g, pubs, first.p ? 2 : 1);
}

static void refuse(enum fake_op op, unsigned times, int status)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, status, "", "no such place");

	err.server_time = SERVICE_CLOCK;
	fake_api_fail(g.api, op, 1, times, &err);
}

static void lose(enum api_err_kind kind, int status)
{
	struct api_error err = fake_api_error(kind, status, "", "lost");

	err.maybe_applied = true;
	fake_api_fail(g.api, FAKE_UPLOAD, 1, 1, &err);
}

static void check_calls(unsigned creates, unsigned lists, unsigned uploads)
{
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), creates);
	assert_int_equal(fake_api_calls(g.api, FAKE_LIST), lists);
	assert_int_equal(fake_api_calls(g.api, FAKE_UPLOAD), uploads);
}

static void check_file(struct pub *f, const char *name)
{
	struct publish_info info = pub_info(f);

	assert_string_equal(info.status, "completed");
	assert_int_equal(info.err, 0);
	assert_int_equal(info.parts_total, 0);
	assert_string_equal(info.upload_id, "");
	assert_string_equal(info.file_id, f->file_id);
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(f, name);
}

static void close_one(struct pub *f, const char *name, uint64_t len, int want)
{
	pub_new(&g, f, name, NULL, NULL);
	stage_fill(f->st, 0, len, 1);
	assert_int_equal(pub_close(f), want);
}

/* The mount is sure of it afterwards. */
static void make_absent(void)
{
	refuse(FAKE_CREATE, EVER, 404);
	close_one(&first, "first", 10, 0);
	check_calls(2, 1, 1);
}

/* ---- is it so? ---- */

static void absent(int status)
{
	struct fake_call call;
	struct pub f;

	rig_open(&g);
	refuse(FAKE_CREATE, EVER, status);
	close_one(&f, "dir/a.jsonl", 200 * KIB, 0);
	check_calls(2, 1, 1);
	check_file(&f, "dir/a.jsonl");
	assert_true(fake_api_call(g.api, FAKE_UPLOAD, 0, &call));
	assert_string_equal(call.purpose, "user_data");
	assert_string_equal(call.md5, pub_info(&f).md5);
	/* From here on it is known. */
	pub_reopen(&f);
	stage_fill(f.st, 0, 100, 2);
	assert_int_equal(pub_close(&f), 0);
	check_calls(2, 1, 2);
	check_file(&f, "dir/a.jsonl");
	finish(&f);
}

static void test_absent(void **state)
{
	(void)state;
	absent(404);
	absent(405);
	absent(501);
}

/* A wrong base URL: neither is there. What is told is what the create was told. */
static void test_nothing_there(void **state)
{
	struct pub f;

	(void)state;
	refuse(FAKE_CREATE, EVER, 404);
	refuse(FAKE_LIST, EVER, 404);
	close_one(&f, "a", 100, -EINVAL);
	check_calls(1, 1, 0);
	assert_non_null(strstr(pub_info(&f).error, "no such place"));
	assert_non_null(strstr(pub_info(&f).error, "/uploads"));
	fake_api_fail_clear(g.api);
	assert_int_equal(pub_close(&f), 0);
	check_calls(2, 1, 0);
	pub_check_file(&f, "a");
	finish(&f);
}

/* Something stood before the service for a moment. */
static void test_refused_once(void **state)
{
	struct pub f;

	(void)state;
	refuse(FAKE_CREATE, 1, 404);
	close_one(&f, "a", 100, 0);
	check_calls(2, 1, 0);
	assert_int_equal(pub_info(&f).parts_done, 1);
	finish(&f);
}

/* What was there once does not go away: a refusal is one. */
static void test_there_before(void **state)
{
	struct pub f;

	(void)state;
	close_one(&f, "a", 100, 0);
	refuse(FAKE_CREATE, EVER, 404);
	pub_reopen(&f);
	stage_fill(f.st, 0, 50, 2);
	assert_int_equal(pub_close(&f), -EINVAL);
	check_calls(2, 0, 0);
	fake_api_fail_clear(g.api);
	assert_int_equal(pub_close(&f), 0);
	finish(&f);
}

static void test_list_fails(void **state)
{
	struct pub f;

	(void)state;
	refuse(FAKE_CREATE, EVER, 404);
	refuse(FAKE_LIST, 1, 503);
	close_one(&f, "a", 100, -EIO);
	check_calls(1, 1, 0);
	assert_int_equal(pub_close(&f), 0);
	check_calls(3, 2, 1);
	check_file(&f, "a");
	finish(&f);
}

/* ---- sending ---- */

/* Nothing leaves before the close, and what was foreseen does not matter. */
static void test_after_the_close(void **state)
{
	struct pub f;

	(void)state;
	refuse(FAKE_CREATE, EVER, 404);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 200 * KIB);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 2));
	stage_fill(f.st, 0, 150 * KIB, 1);
	pub_wait_status(&f, "writing");
	check_calls(2, 1, 0);
	assert_int_equal(pub_close(&f), 0);
	check_calls(2, 1, 1);
	check_file(&f, "a");
	finish(&f);
}

static void test_held(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	make_absent();
	pub_new(&g, &f, ".a.Xb3dE9", "a", NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	assert_int_equal(publish_hold(f.p, "a", 3600), 0);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), 0);
	check_calls(2, 1, 1);
	assert_int_equal(publish_rename(f.p, "user_data", "a", NULL), 0);
	publish_seal(f.p);
	pub_wait_ends(&f, 1);
	check_calls(2, 1, 2);
	assert_string_equal(pub_info(&f).status, "completed");
	pub_check_file(&f, "a");
	finish(&f);
}

static void test_too_large(void **state)
{
	struct pub f;

	(void)state;
	make_absent();
	pub_new(&g, &f, "a", NULL, NULL);
	stage_put(f.st, API_FILE_MAX, "x", 1);
	assert_int_equal(pub_close(&f), -EFBIG);
	assert_non_null(strstr(pub_info(&f).error, "no /uploads"));
	assert_non_null(strstr(pub_info(&f).error, "512 MiB"));
	check_calls(2, 1, 1);
	finish(&f);
}

/* The name was changed while it was on its way: sent again under the new one. */
static void test_renamed_on_its_way(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	refuse(FAKE_CREATE, EVER, 404);
	fake_api_hold(g.api, FAKE_UPLOAD, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_UPLOAD, 1));
	assert_int_equal(publish_rename(f.p, "user_data", "b", NULL), 0);
	fake_api_release(g.api, FAKE_UPLOAD);
	assert_int_equal(told_err(&t), 0);
	check_file(&f, "b");
	check_calls(2, 1, 2);
	finish(&f);
}

/* The disk changed it behind our back: no File of that. */
static void test_damaged(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	refuse(FAKE_CREATE, EVER, 404);
	fake_api_hold(g.api, FAKE_UPLOAD, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_UPLOAD, 1));
	assert_int_equal(pwrite(staged_fd(f.st), "damage", 6, 50), 6);
	fake_api_release(g.api, FAKE_UPLOAD);
	assert_int_equal(told_err(&t), -EIO);
	assert_non_null(strstr(pub_info(&f).error, "check the disk"));
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

/* ---- doubt ---- */

static void lost(enum api_err_kind kind, int status)
{
	struct told t;
	struct pub f;

	rig_open(&g);
	refuse(FAKE_CREATE, EVER, 404);
	lose(kind, status);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100 * KIB, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	/* The service's clock stands: ours runs only once it is known when the file left. */
	assert_true(fake_api_wait_done(g.api, FAKE_UPLOAD, 1));
	g.hurry = true;
	assert_int_equal(told_err(&t), 0);
	check_calls(2, 2, 1);
	check_file(&f, "a");
	finish(&f);
}

/* It was done, the reply did not come: looked for, found, not sent again. */
static void test_lost_reply(void **state)
{
	(void)state;
	lost(API_ERR_CONNECT, 0);
	lost(API_ERR_TIMEOUT, 0);
	lost(API_ERR_HTTP, 503);
	lost(API_ERR_BAD_REPLY, 200);
}

static void ignore(void *arg, const struct api_error *err)
{
	(void)arg;
	assert_int_equal(err->kind, API_OK);
}

/* It was not done: looked for in vain, then sent again. */
static void test_lost_and_not_done(void **state)
{
	char id[API_ID_MAX + 1];
	struct told t;
	struct pub f;

	(void)state;
	make_absent();
	lose(API_ERR_CONNECT, 0);
	fake_api_hold(g.api, FAKE_LIST, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_done(g.api, FAKE_UPLOAD, 2));
	assert_true(fake_api_wait_calls(g.api, FAKE_LIST, 2));
	assert_true(fake_api_find(g.api, "a", 0, id));
	api_req_unref(api_file_delete(g.api, id, ignore, NULL));
	assert_true(fake_api_wait_done(g.api, FAKE_DELETE, 1));
	fake_api_release(g.api, FAKE_LIST);
	g.hurry = true;
	/* It may yet appear: sent again only when that can't be any more. */
	assert_int_equal(told_err(&t), -EIO);
	assert_int_equal(fake_api_calls(g.api, FAKE_UPLOAD), 2);
	rig_clock_advance(2 * 3600 * 1000ULL);
	pub_wait_status(&f, "completed");
	assert_int_equal(fake_api_calls(g.api, FAKE_UPLOAD), 3);
	assert_true(fake_api_find(g.api, "a", 0, id));
	assert_string_equal(id, f.file_id);
	pub_check_file(&f, "a");
	finish(&f);
}

/* Removed while it was on its way: if it came to be a File, that goes, too. */
static void test_dropped_on_its_way(void **state)
{
	static const enum fake_hold how[] = { FAKE_HOLD_WORK, FAKE_HOLD_REPLY };
	struct pub f;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		if (i)
			rig_open(&g);
		g.hurry = true;
		refuse(FAKE_CREATE, EVER, 404);
		fake_api_hold(g.api, FAKE_UPLOAD, how[i]);
		pub_new(&g, &f, "a", NULL, NULL);
		stage_fill(f.st, 0, 100, 1);
		staged_seal(f.st);
		publish_seal(f.p);
		assert_true(fake_api_wait_calls(g.api, FAKE_UPLOAD, 1));
		publish_drop(f.p);
		pub_wait_ends(&f, 1);
		assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
		fake_api_release(g.api, FAKE_UPLOAD);
		assert_true(fake_api_wait_idle(g.api));
		assert_int_equal(fake_api_files(g.api), 0);
		finish(&f);
	}
}

/* The daemon dies with the request on its way. done: the service had it all. */
static void crash(bool done)
{
	struct pub f, *const pubs[] = { &f };
	struct record r;
	char id[64];

	rig_open(&g);
	g.hurry = true;
	refuse(FAKE_CREATE, EVER, 404);
	fake_api_hold(g.api, FAKE_UPLOAD, done ? FAKE_HOLD_REPLY : FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	assert_true(fake_api_wait_calls(g.api, FAKE_UPLOAD, 1));
	rig_crash(&g, pubs, 1);
	rig_restart(&g);
	assert_true(rig_load_record(&g, id, &r));
	assert_int_equal(r.state, RECORD_COMPLETING);
	assert_null(r.upload_id);
	record_release(&r);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_int_equal(pub_info(&f).err, 0);
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(&f, "a");
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_UPLOAD), 1);
	finish(&f);
}

static void test_crash(void **state)
{
	(void)state;
	crash(true);
	/* What is held is let go at the end of a daemon: the bytes had left. */
	crash(false);
}

/* The service's clock is set back before the POST: its File is older than the last reply. */
static void test_clock_set_back(void **state)
{
	struct api_error late = fake_api_error(API_ERR_HTTP, 404, "", "no such place");
	struct api_error ok = fake_api_error(API_OK, 0, "", "");
	struct pub f;

	(void)state;
	late.server_time = SERVICE_CLOCK + 7200;
	ok.server_time = SERVICE_CLOCK;
	fake_api_fail(g.api, FAKE_CREATE, 1, EVER, &late);
	close_one(&first, "first", 10, 0);
	pub_free(&first);
	fake_api_fail(g.api, FAKE_LIST, 1, EVER, &ok);
	lose(API_ERR_TIMEOUT, 0);
	close_one(&f, "a", 100, 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_UPLOAD), 2);
	assert_int_equal(fake_api_files(g.api), 2);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent),
		cmocka_unit_test_setup(test_nothing_there, setup),
		cmocka_unit_test_setup(test_refused_once, setup),
		cmocka_unit_test_setup(test_there_before, setup),
		cmocka_unit_test_setup(test_list_fails, setup),
		cmocka_unit_test_setup(test_after_the_close, setup),
		cmocka_unit_test_setup(test_held, setup),
		cmocka_unit_test_setup(test_too_large, setup),
		cmocka_unit_test_setup(test_renamed_on_its_way, setup),
		cmocka_unit_test_setup(test_damaged, setup),
		cmocka_unit_test(test_lost_reply),
		cmocka_unit_test_setup(test_lost_and_not_done, setup),
		cmocka_unit_test_setup(test_dropped_on_its_way, setup),
		cmocka_unit_test(test_crash),
		cmocka_unit_test_setup(test_clock_set_back, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
