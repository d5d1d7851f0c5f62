/* The next step of a complete in doubt, as a pure function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/publish/doubt.h"

#define NOW 100000000U

/* A close waits; complete was repeated, its Upload was found completed; a look just ended. */
static struct doubt_view completed(enum doubt_found found)
{
	return (struct doubt_view){ .wanted = true,
				    .upload = true,
				    .refused = true,
				    .waited_for = true,
				    .asked_now = true,
				    .cancel = DOUBT_REFUSED,
				    .found = found,
				    .now_ms = NOW,
				    .looked_ms = NOW - 100,
				    .began_ms = NOW - 1000,
				    .ends_ms = NOW + 4000000,
				    .patience_ms = DOUBT_PATIENCE_MS };
}

static struct doubt_view cancelled(enum doubt_found found)
{
	struct doubt_view v = completed(found);

	v.cancel = DOUBT_CANCELLED;
	v.upload = false;
	v.settled_ms = NOW - 200;
	return v;
}

/* Two looks after the end, a minute apart. */
static struct doubt_view at_the_end(struct doubt_view v)
{
	v.ends_ms = NOW - 200000;
	v.missed_ms = NOW - 100000;
	return v;
}

static enum doubt_step next(struct doubt_view v)
{
	uint64_t at;

	return doubt_next(&v, &at);
}

static void test_repeat_then_cancel(void **state)
{
	struct doubt_view v = completed(FOUND_NOT_LOOKED);

	(void)state;
	v.refused = v.asked_now = false;
	v.cancel = DOUBT_UNASKED;
	v.may_repeat = true;
	assert_int_equal(next(v), DOUBT_REPEAT);
	v.may_repeat = false;
	assert_int_equal(next(v), DOUBT_LOOK); /* the next try repeats it */
	v.refused = true;
	assert_int_equal(next(v), DOUBT_CANCEL);
	v.refused = false;
	v.wanted = false;
	assert_int_equal(next(v), DOUBT_CANCEL);
	v.wanted = v.expired = v.may_repeat = true;
	assert_int_equal(next(v), DOUBT_CANCEL);
	v.asked_now = true;
	assert_int_equal(next(v), DOUBT_LOOK);
}

/* Its answer has to decide before a File is taken that nobody could compare. */
static void test_like_asks_first(void **state)
{
	struct doubt_view v = completed(FOUND_LIKE);

	(void)state;
	v.refused = v.asked_now = false;
	v.cancel = DOUBT_UNASKED;
	v.dated = v.plausible = true;
	assert_int_equal(next(v), DOUBT_CANCEL);
	v.found = FOUND_SAME;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.dated = v.plausible = false;
	assert_int_equal(next(v), DOUBT_CANCEL);
}

static void test_adopt(void **state)
{
	struct doubt_view v = completed(FOUND_SAME);

	(void)state;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.rival = true;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.dated = v.plausible = true;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v = completed(FOUND_LIKE);
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.dated = v.plausible = true;
	assert_int_equal(next(v), DOUBT_ADOPT);
	/* Another file of this host may have made it, unless the created_at always tells. */
	v.rival = true;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.always = true;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.rival = v.always = false;
	v.later = true;
	assert_int_equal(next(v), DOUBT_ADOPT);
	/* Without its answer the Upload's second has to tell. */
	v.cancel = DOUBT_ASKED;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.later = false;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.found = FOUND_OTHERS;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
}

/* The Upload lived until then: a File that only looks like ours is another host's. */
static void test_cancelled(void **state)
{
	struct doubt_view v = cancelled(FOUND_LIKE);

	(void)state;
	assert_int_equal(next(v), DOUBT_OVER); /* of another second: none */
	v.dated = v.plausible = true;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	assert_int_not_equal(next(at_the_end(v)), DOUBT_OVER);
	v.forced = true;
	assert_int_equal(next(v), DOUBT_OVER);
	v = cancelled(FOUND_SAME);
	assert_int_equal(next(v), DOUBT_OVER);
	v.dated = v.plausible = true;
	assert_int_equal(next(v), DOUBT_ADOPT); /* complete was still running */
	v = cancelled(FOUND_NONE);
	assert_int_equal(next(v), DOUBT_OVER);
	v.settled_ms = NOW;
	assert_int_equal(next(v), DOUBT_LOOK);
}

/* Where another host's File is as likely, our bytes stay. */
static void test_inferred(void **state)
{
	struct doubt_view v = completed(FOUND_SAME);

	(void)state;
	assert_true(doubt_infers(&v)); /* of another second */
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.always = true; /* learned since the list was taken, which had it */
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.always = false;
	v.dated = true;
	assert_false(doubt_infers(&v));
	v.undated = true;
	assert_true(doubt_infers(&v)); /* another host may have written the same bytes */
	v.undated = false;
	v.cancel = DOUBT_CANCELLED;
	assert_true(doubt_infers(&v)); /* our Upload lived when it was cancelled */
	v.always = true;
	assert_false(doubt_infers(&v));
	v = completed(FOUND_LIKE);
	v.dated = v.always = true;
	assert_true(doubt_infers(&v));
}

/* What would be deleted needs more. */
static void test_unwanted(void **state)
{
	struct doubt_view v = completed(FOUND_SAME);

	(void)state;
	v.wanted = false;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.dated = v.plausible = true;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.later = true;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	v.later = false;
	v.found = FOUND_LIKE;
	assert_int_equal(next(v), DOUBT_ADOPT);
	v.cancel = DOUBT_ASKED;
	assert_int_not_equal(next(v), DOUBT_ADOPT);
	assert_int_equal(next(at_the_end(v)), DOUBT_OVER);
	v.cancel = DOUBT_CANCELLED;
	v.settled_ms = NOW - 200;
	assert_int_equal(next(v), DOUBT_OVER);
}

static void test_the_end(void **state)
{
	struct doubt_view v = completed(FOUND_NONE);

	(void)state;
	assert_int_equal(next(v), DOUBT_LOOK);
	assert_int_equal(next(at_the_end(v)), DOUBT_OVER);
	v = at_the_end(v);
	v.missed_ms = v.looked_ms - DOUBT_APART_MS + 1;
	assert_int_not_equal(next(v), DOUBT_OVER);
	/* Beside a File that may be ours no second one is made. */
	assert_int_not_equal(next(at_the_end(completed(FOUND_OTHERS))), DOUBT_OVER);
	v = completed(FOUND_UNSURE);
	v.forced = true;
	assert_int_not_equal(next(v), DOUBT_OVER);
	v.found = FOUND_OTHERS;
	assert_int_equal(next(v), DOUBT_OVER);
}

/* A close waits only so long; without one the looks go on. */
static void test_patience(void **state)
{
	struct doubt_view v = completed(FOUND_NONE);

	(void)state;
	v.began_ms = NOW - DOUBT_PATIENCE_MS;
	assert_int_equal(next(v), DOUBT_FAIL);
	v.waited_for = false;
	assert_int_equal(next(v), DOUBT_LOOK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repeat_then_cancel),
		cmocka_unit_test(test_like_asks_first),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_inferred),
		cmocka_unit_test(test_unwanted),
		cmocka_unit_test(test_the_end),
		cmocka_unit_test(test_patience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
