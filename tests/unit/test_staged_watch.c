/* staging: reading what is being written. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/stage_area.h"

#define PART 65536ULL
#define STEP 4096ULL

static struct stage_area area;
static struct stage_hooks hooks;
static struct staged *st;

static int setup(void **state)
{
	(void)state;
	stage_area_open(&area, PART);
	assert_int_equal(staged_create(area.sg, &st), 0);
	stage_hooks_init(&hooks, st);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	staged_set_hooks(st, NULL);
	staged_unref(st);
	stage_area_close(&area);
	return 0;
}

static void test_steps(void **state)
{
	uint32_t id, version;

	(void)state;
	id = staged_watch(st, PART, 2 * PART, STEP);
	assert_int_equal(staged_watch_read(st, id, 0), 0);
	stage_fill(st, 0, PART, 1);
	assert_int_equal(staged_watch_read(st, id, 0), 0);
	stage_fill(st, PART, STEP - 1, 1);
	assert_int_equal(staged_watch_read(st, id, 0), 0);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.fill), 1); /* of the first part */
	stage_fill(st, PART + STEP - 1, 2, 1);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.fill), 2);
	/* Once, not with each write. */
	stage_fill(st, PART + STEP + 1, 3 * STEP, 1);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.fill), 2);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_MORE);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_NONE);
	assert_int_equal(staged_watch_read(st, id, 0), 4 * STEP);
	/* Who does not wait is not called. */
	stage_fill(st, PART + 4 * STEP, 4 * STEP, 1);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.fill), 2);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_NONE);
	assert_int_equal(staged_watch_read(st, id, 8 * STEP), 8 * STEP);
	assert_false(staged_watch_right(st, id, &version));
	/* The end counts whatever its length. */
	stage_fill(st, PART + 8 * STEP, PART - 8 * STEP, 1);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.fill), 3);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_MORE);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_NONE);
	assert_false(staged_watch_right(st, id, &version));
	assert_int_equal(staged_watch_read(st, id, 8 * STEP), PART);
	assert_true(staged_watch_right(st, id, &version));
	assert_int_equal(version, staged_version(st, PART, 2 * PART));
}

/* What may have been read and is written again; what was not may change. */
static void test_torn(void **state)
{
	static const uint64_t torn[][2] = { { 0, 1 }, { STEP - 1, 1 }, { 0, 3 * STEP } };
	static const uint64_t kept[][2] = { { STEP, 1 }, { 2 * STEP, STEP } };
	uint32_t id, version;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		const uint64_t *at = i < 3 ? torn[i] : kept[i - 3];

		stage_fill(st, 0, 2 * STEP, 1);
		assert_int_equal(staged_truncate(st, STEP), 0);
		id = staged_watch(st, 0, PART, STEP);
		assert_int_equal(staged_watch_read(st, id, 0), STEP);
		stage_fill(st, STEP, 2 * STEP, 1);
		stage_fill(st, at[0], at[1], 2);
		assert_int_equal(staged_watch_news(st, id) == STAGED_NEWS_TORN, i < 3);
		stage_fill(st, 3 * STEP, PART - 3 * STEP, 1);
		assert_int_equal(staged_watch_read(st, id, STEP), PART);
		assert_int_equal(staged_watch_right(st, id, &version), i >= 3);
		/* Behind it. */
		stage_fill(st, PART, 100, 1);
		assert_int_equal(staged_watch_right(st, id, &version), i >= 3);
	}
}

static void test_cut(void **state)
{
	uint32_t id, version;

	(void)state;
	stage_fill(st, 0, PART, 1);
	id = staged_watch(st, 0, PART, STEP);
	assert_int_equal(staged_watch_read(st, id, 0), PART);
	assert_true(staged_watch_right(st, id, &version));
	assert_int_equal(staged_truncate(st, PART - 1), 0);
	assert_false(staged_watch_right(st, id, &version));
	id = staged_watch(st, 0, PART, STEP);
	assert_int_equal(staged_watch_read(st, id, 0), PART - STEP);
	assert_int_equal(staged_fallocate(st, 3 /* a hole */, 10, 10), 0);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_TORN);
	/* Holes are bytes once it is sealed, until it is not. */
	stage_fill(st, PART - 1, 1, 1);
	assert_true(staged_seal(st));
	id = staged_watch(st, 0, PART, STEP);
	assert_int_equal(staged_watch_read(st, id, 0), PART);
	assert_true(staged_watch_right(st, id, &version));
	staged_unseal(st);
	assert_false(staged_watch_right(st, id, &version));
}

static void test_former(void **state)
{
	uint32_t id, next, version;

	(void)state;
	stage_fill(st, 0, STEP, 1);
	id = staged_watch(st, 0, PART, STEP);
	/* The same again, as long as nothing of it was read. */
	assert_int_equal(staged_watch(st, 0, PART, STEP), id);
	assert_int_equal(staged_watch_filled(st, id), STEP);
	assert_int_equal(staged_watch_read(st, id, 0), STEP);
	next = staged_watch(st, 0, PART, STEP);
	assert_int_not_equal(next, id);
	assert_int_equal(staged_watch_read(st, id, 0), 0);
	assert_int_equal(staged_watch_filled(st, id), 0);
	assert_int_equal(staged_watch_news(st, id), STAGED_NEWS_NONE);
	assert_false(staged_watch_right(st, id, &version));
}

/*
 * A reader beside two writers, one that appends and one that rewrites now and then: when all
 * is right in the end, then what was read are the bytes that stand.
 */
#define ROUNDS 300

static atomic_bool again;

static void *rewrite(void *arg)
{
	unsigned *seed = arg;

	for (unsigned i = 0; atomic_load(&again); i++)
		stage_fill(st, (*seed * 7919ULL + i * 104729ULL) % (PART - 600), 600, i);
	return NULL;
}

static void *append(void *arg)
{
	uint64_t at;

	for (at = 0; at < PART; at += 1024)
		stage_fill(st, at, 1024, *(unsigned *)arg);
	return NULL;
}

static void test_race(void **state)
{
	static unsigned char got[PART], now[PART];
	unsigned right = 0, with;
	pthread_t a, b;
	uint64_t at, n;
	uint32_t id, version;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		with = round % 3; /* every third time nobody rewrites */
		assert_int_equal(staged_truncate(st, 0), 0);
		id = staged_watch(st, 0, PART, STEP);
		atomic_store(&again, true);
		assert_int_equal(pthread_create(&a, NULL, append, &round), 0);
		if (with)
			assert_int_equal(pthread_create(&b, NULL, rewrite, &round), 0);
		for (at = 0; at < PART; at = n) {
			n = staged_watch_read(st, id, at);
			assert_true(n >= at);
			assert_int_equal(pread(staged_fd(st), got + at, n - at, (off_t)at), n - at);
		}
		atomic_store(&again, false);
		pthread_join(a, NULL);
		if (with)
			pthread_join(b, NULL);
		assert_int_equal(pread(staged_fd(st), now, PART, 0), PART);
		if (!staged_watch_right(st, id, &version))
			continue;
		right++;
		assert_memory_equal(got, now, PART);
		assert_int_equal(version, staged_version(st, 0, PART));
	}
	assert_true(right >= ROUNDS / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_former, setup, teardown),
		cmocka_unit_test_setup_teardown(test_race, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
