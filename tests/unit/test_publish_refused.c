/* uses: fake_api */
/* What the service refused is not sent again by itself, over mounts too. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define EVER 1000000
#define DAY_MS 86400000ULL
#define BYTES (2 * RIG_PART + 10) /* three Parts */

static struct rig g;
static char id[64];

static void crash(struct pub *f)
{
	struct pub *const pubs[] = { f };

	snprintf(id, sizeof(id), "%s", staged_id(f->st));
	rig_crash(&g, pubs, 1);
}

static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f };

	assert_true(fake_api_wait_idle(g.api));
	rig_close(&g, pubs, 1);
}

static void refuse(enum fake_op op, int status)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, status, "", "no");

	fake_api_fail(g.api, op, 1, EVER, &err);
}

/* A file whose close fails so. */
static void make_fail(struct pub *f, enum fake_op op, int status, int err)
{
	rig_open(&g);
	g.cfg.key_print = "first";
	publisher_set_key(g.pr, "first");
	refuse(op, status);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, BYTES, 1);
	assert_int_equal(pub_close(f), err);
	assert_true(fake_api_wait_idle(g.api));
}

static unsigned sent(void)
{
	return fake_api_calls(g.api, FAKE_CREATE) + fake_api_calls(g.api, FAKE_PART) +
	       fake_api_calls(g.api, FAKE_COMPLETE);
}

/* Until the thread has looked at it. */
static void look(struct pub *f)
{
	struct told t;

	pub_wait(f, &t, UNTIL_KEPT);
	told_err(&t);
}

/* Longer than any delay between tries. */
static void wait_a_day(struct pub *f)
{
	for (int i = 0; i < 3; i++) {
		rig_clock_advance(DAY_MS);
		look(f);
		assert_true(fake_api_wait_idle(g.api));
		look(f);
	}
}

static void done(struct pub *f)
{
	pub_wait_status(f, "completed");
	pub_check_file(f, "a");
	assert_int_equal(fake_api_files(g.api), 1);
	assert_int_equal(pub_info(f).err, 0);
	finish(f);
}

static const struct {
	int status, err;
} about_file[] = { { 400, -EINVAL }, { 413, -EFBIG }, { 415, -EINVAL }, { 422, -EINVAL } };

static void test_not_by_itself(void **state)
{
	static const enum fake_op ops[] = { FAKE_CREATE, FAKE_PART, FAKE_COMPLETE };
	struct pub f;

	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		unsigned calls;

		make_fail(&f, ops[i / 4], about_file[i % 4].status, about_file[i % 4].err);
		calls = sent();
		assert_int_equal(pub_info(&f).retry_ms, 0);
		wait_a_day(&f);
		assert_int_equal(sent(), calls);
		crash(&f);
		rig_restart(&g);
		pub_recover(&g, &f, id, "a", NULL);
		wait_a_day(&f);
		assert_int_equal(sent(), calls);
		assert_string_equal(pub_info(&f).status, "failed");
		assert_false(pub_info(&f).under_way);
		assert_int_equal(pub_info(&f).http_status, about_file[i % 4].status);
		assert_non_null(strstr(pub_info(&f).error, "no"));
		fake_api_fail_clear(g.api);
		assert_int_equal(pub_close(&f), 0); /* as user.upload.publish does it */
		done(&f);
	}
}

static void by_name(struct pub *f)
{
	assert_int_equal(publish_rename(f->p, "fine-tune", "a", NULL), 0);
}

static void by_type(struct pub *f)
{
	publish_set_mime(f->p, "text/x-mine");
}

static void by_lifetime(struct pub *f)
{
	publish_set_expiry(f->p, 7200);
}

static void by_bytes(struct pub *f)
{
	pub_reopen(f);
	stage_fill(f->st, BYTES, 10, 1);
	assert_int_equal(pub_close(f), 0);
}

static void by_options(struct pub *f)
{
	crash(f);
	g.cfg.parallel = 1;
	rig_restart(&g);
	pub_recover(&g, f, id, "a", NULL);
}

static void by_tenant(struct pub *f)
{
	crash(f);
	g.cfg.tenant = "another project";
	rig_restart(&g);
	pub_recover(&g, f, id, "a", NULL);
}

static void test_a_change_sends_it(void **state)
{
	void (*const changes[])(struct pub *) = { by_name,  by_type,	by_lifetime,
						  by_bytes, by_options, by_tenant };
	struct pub f;

	(void)state;
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		make_fail(&f, FAKE_COMPLETE, 400, -EINVAL);
		fake_api_fail_clear(g.api);
		changes[i](&f);
		done(&f);
	}
}

/* Without room in the account: that changes without the file. */
static void test_quota(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 400, "", "file storage quota");
	struct pub f;

	(void)state;
	rig_open(&g);
	fake_api_fail(g.api, FAKE_CREATE, 1, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	assert_int_equal(pub_close(&f), -EDQUOT);
	assert_true(pub_info(&f).retry_ms > 0);
	rig_clock_advance(31000);
	publish_set_owner(f.p, 0600, 0, 0);
	done(&f);
}

/* The key was refused: small requests, and no bytes. */
static void test_key(void **state)
{
	static const enum fake_op ops[] = { FAKE_CREATE, FAKE_PART, FAKE_COMPLETE };
	struct pub f;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		unsigned parts, small;

		make_fail(&f, ops[i / 2], i % 2 ? 401 : 403, -EACCES);
		if (i % 2)
			refuse(FAKE_LIST, 401);
		parts = fake_api_calls(g.api, FAKE_PART);
		small = fake_api_calls(g.api, FAKE_OPS);
		assert_true(pub_info(&f).retry_ms > 0);
		wait_a_day(&f);
		assert_int_equal(fake_api_calls(g.api, FAKE_PART), parts);
		assert_true(fake_api_calls(g.api, FAKE_OPS) > small);
		crash(&f);
		rig_restart(&g);
		pub_recover(&g, &f, id, "a", NULL);
		wait_a_day(&f);
		assert_int_equal(fake_api_calls(g.api, FAKE_PART), parts);
		fake_api_fail_clear(g.api);
		publisher_set_key(g.pr, "second");
		done(&f);
	}
}

/* One key that comes back goes on where it was. */
static void test_key_is_taken_again(void **state)
{
	struct pub f;
	unsigned parts;

	(void)state;
	make_fail(&f, FAKE_COMPLETE, 403, -EACCES);
	parts = fake_api_calls(g.api, FAKE_PART);
	fake_api_fail_clear(g.api);
	rig_clock_advance(31000);
	publish_set_owner(f.p, 0600, 0, 0);
	pub_wait_status(&f, "completed");
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), parts);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_by_itself),
		cmocka_unit_test(test_a_change_sends_it),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_key_is_taken_again),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
