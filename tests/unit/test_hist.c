/* hist: each time in its bucket, the bounds included, and nothing lost between threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/hist.h"

#define THREADS 4
#define ADDS 20000

static struct hist h;

static int setup(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	return 0;
}

static void test_bounds(void **state)
{
	struct hist_snapshot s;

	(void)state;
	for (unsigned i = 0; i < HIST_BOUNDS; i++) {
		assert_true(i == 0 || hist_bounds_ms[i] > hist_bounds_ms[i - 1]);
		hist_add(&h, hist_bounds_ms[i]);
		hist_get(&h, &s);
		assert_int_equal(s.counts[i], i == 0 ? 1 : 2);
		hist_add(&h, hist_bounds_ms[i] + 1);
		hist_get(&h, &s);
		assert_int_equal(s.counts[i + 1], 1);
	}
	assert_int_equal(s.total, 2 * HIST_BOUNDS);
}

static void test_sum(void **state)
{
	struct hist_snapshot s;

	(void)state;
	hist_get(&h, &s);
	assert_int_equal(s.total, 0);
	hist_add(&h, 0);
	hist_add(&h, 7);
	hist_add(&h, UINT32_MAX);
	hist_get(&h, &s);
	assert_int_equal(s.total, 3);
	assert_int_equal(s.counts[0], 1);
	assert_int_equal(s.counts[HIST_BOUNDS], 1);
	assert_int_equal(s.sum_ms, 7 + (uint64_t)UINT32_MAX);
}

static void *add_many(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ADDS; i++)
		hist_add(&h, i % 1000);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t t[THREADS];
	struct hist_snapshot s;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, add_many, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	hist_get(&h, &s);
	assert_int_equal(s.total, THREADS * ADDS);
	assert_int_equal(s.sum_ms, THREADS * (ADDS / 1000) * 499500ULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bounds, setup),
		cmocka_unit_test_setup(test_sum, setup),
		cmocka_unit_test_setup(test_threads, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
