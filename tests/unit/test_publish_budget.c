/* uses: fake_api */
/* How long the requests of one publication may be retried. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fs/publish/budget.h"
#include "tests/unit/publish_rig.h"

#define START 1000000ULL

static struct publish_budget b;

static int setup(void **state)
{
	(void)state;
	publish_budget_start(&b, START);
	return 0;
}

static void good_replies_cost_nothing(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 1000; i++)
		publish_budget_note(&b, START + i * 1000, 0);
	assert_int_equal(b.spent_ms, 0);
	assert_false(publish_budget_over(&b, 1));
}

static void one_after_the_other_add_up(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 10; i++)
		publish_budget_note(&b, START + i * 100, 100);
	assert_int_equal(b.spent_ms, 1000);
	assert_false(publish_budget_over(&b, 1000));
	assert_true(publish_budget_over(&b, 999));
}

static void at_the_same_time_counts_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		publish_budget_note(&b, START + 100 + i, 100);
	assert_int_equal(b.spent_ms, 103);
}

static void what_was_before_the_start_does_not_count(void **state)
{
	(void)state;
	publish_budget_note(&b, START + 10, 5000);
	assert_int_equal(b.spent_ms, 10);
	publish_budget_note(&b, START + 10, UINT64_MAX);
	assert_int_equal(b.spent_ms, 10);
}

static void good_times_make_up_for_bad_ones(void **state)
{
	uint64_t now = START;

	(void)state;
	/* A bad minute in each hour, for a day. */
	for (unsigned i = 0; i < 24; i++) {
		now += 3600000;
		publish_budget_note(&b, now, 60000);
		assert_false(publish_budget_over(&b, 60000));
	}
	/* Nearly always bad: not for long. */
	for (unsigned i = 0; i < 11; i++) {
		now += 61000;
		publish_budget_note(&b, now, 60000);
	}
	assert_true(publish_budget_over(&b, 600000));
}

static void no_limit(void **state)
{
	(void)state;
	publish_budget_note(&b, START + 1000000, 1000000);
	assert_false(publish_budget_over(&b, 0));
}

/* ---- what a publication makes of it ---- */

#define PARTS 6u

static struct rig g;

/* Answers so many Parts, each after a minute of retrying; what the closer is told then. */
static int answer_slowly(struct told *t, unsigned parts)
{
	for (unsigned i = 1; i <= parts; i++) {
		assert_true(fake_api_wait_calls(g.api, FAKE_PART, i));
		rig_clock_advance(60000);
		fake_api_release_some(g.api, FAKE_PART, 1);
		assert_true(fake_api_wait_done(g.api, FAKE_PART, i));
	}
	return told_err(t);
}

static void slow_close(struct pub *f, struct told *t, uint64_t budget_ms)
{
	struct api_error slow = fake_api_error(API_OK, 200, "", "");

	rig_open(&g);
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	g.cfg.parallel = 1;
	g.cfg.retry_budget_ms = budget_ms;
	assert_int_equal(publisher_new(&g.cfg, &g.pr), 0);
	slow.retrying_ms = 60000;
	fake_api_fail(g.api, FAKE_PART, 1, PARTS, &slow);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, PARTS * RIG_PART, 1);
	staged_seal(f->st);
	publish_seal(f->p);
	pub_wait(f, t, UNTIL_ENDED);
}

static void a_close_ends_when_it_is_spent(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	(void)state;
	slow_close(&f, &t, 150000);
	assert_int_equal(answer_slowly(&t, 3), -EIO);
	assert_non_null(strstr(pub_info(&f).error, "only after retries, which took 1"));
	/* What is there is of use: the Upload stays, and the next try sends the other Parts. */
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 1);
	fake_api_fail_clear(g.api);
	fake_api_release(g.api, FAKE_PART);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), PARTS);
	pub_check_file(&f, "a");
	rig_close(&g, pubs, 1);
}

static void a_close_within_it_succeeds(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	(void)state;
	slow_close(&f, &t, 7 * 60000);
	assert_int_equal(answer_slowly(&t, PARTS), 0);
	pub_check_file(&f, "a");
	rig_close(&g, pubs, 1);
}

static void a_stream_waits_for_its_close(void **state)
{
	struct api_error slow = fake_api_error(API_OK, 200, "", "");
	struct pub f, *pubs[] = { &f };

	(void)state;
	rig_open(&g);
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	g.cfg.retry_budget_ms = 50000;
	assert_int_equal(publisher_new(&g.cfg, &g.pr), 0);
	slow.retrying_ms = 60000;
	fake_api_fail(g.api, FAKE_PART, 1, 1, &slow);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 3 * RIG_PART);
	stage_fill(f.st, 0, RIG_PART, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 1));
	rig_clock_advance(60000);
	fake_api_release(g.api, FAKE_PART);
	pub_wait_status(&f, "writing");
	assert_int_equal(atomic_load(&f.ends), 0);
	stage_fill(f.st, RIG_PART, 2 * RIG_PART, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	pub_check_file(&f, "a");
	rig_close(&g, pubs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(good_replies_cost_nothing, setup),
		cmocka_unit_test_setup(one_after_the_other_add_up, setup),
		cmocka_unit_test_setup(at_the_same_time_counts_once, setup),
		cmocka_unit_test_setup(what_was_before_the_start_does_not_count, setup),
		cmocka_unit_test_setup(good_times_make_up_for_bad_ones, setup),
		cmocka_unit_test_setup(no_limit, setup),
		cmocka_unit_test(a_close_ends_when_it_is_spent),
		cmocka_unit_test(a_close_within_it_succeeds),
		cmocka_unit_test(a_stream_waits_for_its_close),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
