/* uses: fake_api */
/* parallel=1: Parts arrive one after the other, in ascending order, whatever becomes of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define KIB 1024ULL

static struct rig g;

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	g.cfg.parallel = 1;
	assert_int_equal(publisher_new(&g.cfg, &g.pr), 0);
	return 0;
}

static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f };

	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	rig_close(&g, pubs, 1);
}

/* The indexes of all Parts that were sent, in the order of sending: "0 1 2". */
static void check_sent(const char *want)
{
	struct fake_call call;
	char got[128] = "";
	size_t at = 0;
	unsigned i;

	for (i = 0; fake_api_call(g.api, FAKE_PART, i, &call); i++)
		at += (size_t)snprintf(got + at, sizeof(got) - at, "%s%u", i ? " " : "",
				       (unsigned)(call.offset / RIG_PART));
	assert_string_equal(got, want);
	assert_int_equal(fake_api_active_max(g.api, FAKE_PART), 1);
}

/* Complete listed so many Parts, each of which came after the one before it. */
static void check_complete(unsigned nr, unsigned parts)
{
	char *rest, *id, *before = NULL;
	struct fake_call call;
	unsigned n = 0;

	assert_true(fake_api_call(g.api, FAKE_COMPLETE, nr, &call));
	for (rest = call.text; (id = strsep(&rest, " ")); before = id, n++)
		assert_true(!before || strverscmp(before, id) < 0);
	assert_int_equal(n, parts);
}

static void test_written_backwards(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 4 * RIG_PART);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	for (unsigned i = 3; i > 0; i--)
		stage_fill(f.st, i * RIG_PART, RIG_PART, 1);
	pub_wait_status(&f, "streaming");
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 0);
	stage_fill(f.st, 0, RIG_PART, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 4));
	assert_int_equal(pub_close(&f), 0);
	check_sent("0 1 2 3");
	check_complete(0, 4);
	pub_check_file(&f, "a");
	finish(&f);
}

/* What lies behind a Part that is sent again has to be sent again, too. */
static void test_rewritten_after_it_was_sent(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 4 * RIG_PART);
	stage_fill(f.st, 0, 3 * RIG_PART, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 3));
	stage_fill(f.st, RIG_PART + 5, 100, 2);
	stage_fill(f.st, 3 * RIG_PART, RIG_PART, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 4));
	assert_int_equal(pub_close(&f), 0);
	check_sent("0 1 2 3 1 2 3");
	check_complete(0, 4);
	pub_check_file(&f, "a");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	finish(&f);
}

/* The one on its way comes too late for its number, and is sent once more. */
static void test_rewritten_while_a_later_one_is_sent(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 3 * RIG_PART);
	stage_fill(f.st, 0, RIG_PART, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	stage_fill(f.st, RIG_PART, 2 * RIG_PART, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 2));
	stage_fill(f.st, 0, 100, 2);
	staged_seal(f.st);
	publish_seal(f.p);
	fake_api_release(g.api, FAKE_PART);
	pub_wait_ends(&f, 1);
	assert_int_equal(pub_info(&f).err, 0);
	check_sent("0 1 0 1 2");
	check_complete(0, 3);
	pub_check_file(&f, "a");
	finish(&f);
}

/* All Parts but the last have part_size, and a Part that failed is the next to be sent. */
static void test_part_refused_once(void **state)
{
	struct api_error err = fake_api_error(API_ERR_BAD_REPLY, 200, "", "no Part");
	struct fake_call call;
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_PART, 2, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 3 * RIG_PART + 7, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent("0 1 1 2 3");
	check_complete(0, 4);
	assert_true(fake_api_call(g.api, FAKE_PART, 4, &call));
	assert_int_equal(call.len, 7);
	finish(&f);
}

/* nth: the Part whose reply does not come; the one sent in its place is refused. */
static void lose_then_refuse(unsigned nth, const struct api_error *lost, unsigned refusals)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 400, "", "overtaken");

	fake_api_fail(g.api, FAKE_PART, nth, 1, lost);
	fake_api_fail(g.api, FAKE_PART, nth + 1, refusals, &err);
}

/* The service began with an abandoned Part after the one that was sent in its place. */
static void test_overtaken(void **state)
{
	struct api_error lost = fake_api_error(API_ERR_BAD_REPLY, 200, "", "no Part");
	struct pub f;

	(void)state;
	lose_then_refuse(2, &lost, 1);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 3 * RIG_PART, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent("0 1 1 0 1 2");
	check_complete(0, 3);
	pub_check_file(&f, "a");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	assert_int_equal(fake_api_calls(g.api, FAKE_CANCEL), 1);
	finish(&f);
}

/* The request queue sent the Part twice. */
static void test_overtaken_by_its_own_retry(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 400, "", "overtaken");
	struct pub f;

	(void)state;
	err.attempts = 2;
	fake_api_fail(g.api, FAKE_PART, 2, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 3 * RIG_PART, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent("0 1 0 1 2");
	pub_check_file(&f, "a");
	finish(&f);
}

/* A new Upload has no abandoned Part: what it refuses is refused. */
static void test_refused_in_a_new_upload(void **state)
{
	struct api_error lost = fake_api_error(API_ERR_BAD_REPLY, 200, "", "no Part");
	struct pub f;

	(void)state;
	lose_then_refuse(1, &lost, 2);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 2 * RIG_PART, 1);
	assert_int_equal(pub_close(&f), -EINVAL);
	check_sent("0 0 0");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	finish(&f);
}

/* Each Part was answered: the refusal is told at once. */
static void test_refused_without_a_stray(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 400, "", "too small");
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_PART, 2, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 2 * RIG_PART, 1);
	assert_int_equal(pub_close(&f), -EINVAL);
	check_sent("0 1");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	finish(&f);
}

static bool two_recorded(void *arg)
{
	struct record r;
	bool ok;

	pub_load_record(arg, &r);
	/* Before the data is on stable storage nothing is taken up: the record says "writing". */
	ok = r.state == RECORD_SEALED && r.part_count == 2;
	record_release(&r);
	return ok;
}

/* After a crash it goes on where it was, and not with what was in beyond a gap. */
static void test_taken_up(void **state)
{
	struct record r;
	struct pub f, *const pubs[] = { &f };
	char id[64];

	(void)state;
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	stage_fill(f.st, 0, 4 * RIG_PART, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(fake_api_wait_calls(g.api, FAKE_PART, i + 1));
		fake_api_release_some(g.api, FAKE_PART, 1);
	}
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 3));
	rig_wait(&g, NULL, two_recorded, &f);
	rig_crash(&g, pubs, 1);
	fake_api_release(g.api, FAKE_PART);
	assert_true(fake_api_wait_idle(g.api));
	rig_restart(&g);
	/* As another daemon left it that sent two at once. */
	assert_true(rig_load_record(&g, id, &r));
	r.parts[1].index = 2;
	rig_save_record(&g, id, &r);
	record_release(&r);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_int_equal(pub_info(&f).err, 0);
	check_sent("0 1 2 1 2 3");
	check_complete(0, 4);
	pub_check_file(&f, "a");
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_written_backwards, setup),
		cmocka_unit_test_setup(test_rewritten_after_it_was_sent, setup),
		cmocka_unit_test_setup(test_rewritten_while_a_later_one_is_sent, setup),
		cmocka_unit_test_setup(test_part_refused_once, setup),
		cmocka_unit_test_setup(test_overtaken, setup),
		cmocka_unit_test_setup(test_overtaken_by_its_own_retry, setup),
		cmocka_unit_test_setup(test_refused_in_a_new_upload, setup),
		cmocka_unit_test_setup(test_refused_without_a_stray, setup),
		cmocka_unit_test_setup(test_taken_up, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
