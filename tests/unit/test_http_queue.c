/* http_queue: the policy: what is tried again, for how long, and whose turn it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/http/queue.h"

static bool worth(enum http_fail fail, int status, int should_retry, bool quota)
{
	struct http_result res = { .fail = fail };

	http_head_init(&res.head);
	res.head.status = status;
	res.head.should_retry = should_retry;
	return hq_worth_retry(&res, quota);
}

static void test_statuses(void **state)
{
	static const int yes[] = { 408, 409, 429, 500, 502, 503, 504, 520, 599 };
	static const int no[] = { 200, 201, 301, 302, 400, 401, 403, 404, 405, 413, 416, 422 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		assert_true(worth(HTTP_REPLIED, yes[i], -1, false));
		assert_false(worth(HTTP_REPLIED, yes[i], 0, false));
	}
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		assert_false(worth(HTTP_REPLIED, no[i], -1, false));
		assert_int_equal(worth(HTTP_REPLIED, no[i], 1, false), no[i] > 299);
	}
	assert_false(worth(HTTP_REPLIED, 429, -1, true));
	assert_false(worth(HTTP_REPLIED, 429, 1, true));
}

static void test_failures(void **state)
{
	(void)state;
	assert_true(worth(HTTP_FAIL_CONNECT, 0, -1, false));
	assert_true(worth(HTTP_FAIL_BROKEN, 0, -1, false));
	assert_true(worth(HTTP_FAIL_BROKEN, 200, 0, false));
	assert_true(worth(HTTP_FAIL_TLS, 0, -1, false));
	assert_true(worth(HTTP_FAIL_TIMEOUT, 0, -1, false));
	assert_false(worth(HTTP_FAIL_VERIFY, 0, -1, false));
	assert_false(worth(HTTP_FAIL_TOO_BIG, 200, -1, false));
	assert_false(worth(HTTP_FAIL_LOCAL, 0, -1, false));
	assert_false(worth(HTTP_FAIL_REFUSED, 0, -1, false));
}

static void test_time(void **state)
{
	(void)state;
	/* Two retries in any case, however slow the failures were. */
	assert_true(hq_in_time(0, 1000, 999999, 10));
	assert_true(hq_in_time(1, 1000, 999999, 10));
	assert_false(hq_in_time(2, 1000, 999999, 10));
	assert_true(hq_in_time(2, 1000, 1010, 10));
	assert_false(hq_in_time(2, 1000, 1011, 10));
	assert_true(hq_in_time(100, 1000, 121000, 120000));
}

static struct hq_job jobs[64];

/* Adds job i for the file of that letter. */
static void add(struct hq_turns *t, unsigned i, char file)
{
	memset(&jobs[i], 0, sizeof(jobs[i]));
	jobs[i].fairness = (uint64_t)file;
	hq_turns_add(t, &jobs[i]);
}

static struct hq_job *take_next(struct hq_turns *t)
{
	struct hq_job *job = hq_turns_next(t);

	if (job)
		hq_turns_take(t, job);
	return job;
}

/* Takes all, and gives them as "a0b2a1": file and number. */
static const char *take_all(struct hq_turns *t)
{
	static char text[256];
	struct hq_job *job;
	size_t at = 0;

	text[0] = '\0';
	while ((job = take_next(t)))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%c%d", (int)job->fairness,
				       (int)(job - jobs));
	return text;
}

static void test_turns(void **state)
{
	struct hq_turns t;
	unsigned i;

	(void)state;
	hq_turns_init(&t);
	assert_null(take_next(&t));
	for (i = 0; i < 4; i++)
		add(&t, i, 'a');
	add(&t, 4, 'b');
	add(&t, 5, 'b');
	add(&t, 6, 'c');
	assert_string_equal(take_all(&t), "a0b4c6a1b5a2a3");
	/* Of one file they go in order. */
	for (i = 0; i < 4; i++)
		add(&t, i, 'a');
	assert_string_equal(take_all(&t), "a0a1a2a3");
}

/* A file that comes late does not wait for all of one that came early, nor pass it for ever. */
static void test_late_comer(void **state)
{
	struct hq_turns t;
	unsigned i;

	(void)state;
	hq_turns_init(&t);
	for (i = 0; i < 6; i++)
		add(&t, i, 'a');
	assert_ptr_equal(take_next(&t), &jobs[0]);
	assert_ptr_equal(take_next(&t), &jobs[1]);
	add(&t, 10, 'b');
	assert_ptr_equal(take_next(&t), &jobs[10]);
	/* It has had its turn: while a waits, its next one comes after a's. */
	assert_ptr_equal(take_next(&t), &jobs[2]);
	add(&t, 11, 'b');
	add(&t, 12, 'b');
	assert_string_equal(take_all(&t), "b11a3b12a4a5");
}

static void test_again_and_remove(void **state)
{
	struct hq_turns t;

	(void)state;
	hq_turns_init(&t);
	add(&t, 0, 'a');
	add(&t, 1, 'a');
	add(&t, 2, 'b');
	assert_ptr_equal(take_next(&t), &jobs[0]);
	assert_ptr_equal(take_next(&t), &jobs[2]);
	/* A part that failed goes before what has not been sent yet. */
	hq_turns_add_again(&t, &jobs[0]);
	add(&t, 3, 'b');
	hq_turns_remove(&t, &jobs[1]);
	assert_string_equal(take_all(&t), "a0b3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),   cmocka_unit_test(test_failures),
		cmocka_unit_test(test_time),	   cmocka_unit_test(test_turns),
		cmocka_unit_test(test_late_comer), cmocka_unit_test(test_again_and_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
