/* extents: against a bitmap, the bound, the invariants. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/work/extents.h"

#define UNITS 300

static void check_invariants(const struct extents *x)
{
	size_t i;

	assert_true(x->n <= EXTENTS_MAX);
	for (i = 0; i < x->n; i++) {
		assert_true(x->v[i].start < x->v[i].end);
		if (i)
			assert_true(x->v[i - 1].end < x->v[i].start);
	}
}

static void check_model(const struct extents *x, const unsigned char *bits, uint64_t scale)
{
	unsigned a, b, run = 0;

	while (run < UNITS && bits[run])
		run++;
	assert_int_equal(extents_contiguous(x), run * scale);
	for (a = 0; a < UNITS; a++) {
		bool all = true;

		for (b = a; b <= UNITS; b++) {
			assert_int_equal(extents_cover(x, a * scale, b * scale), all);
			all = all && b < UNITS && bits[b];
		}
	}
}

static void test_against_bitmap(void **state)
{
	unsigned seed, step, a, b;
	struct extents x;

	(void)state;
	for (seed = 1; seed <= 12; seed++) {
		unsigned char bits[UNITS] = { 0 };
		/* Also offsets that do not fit 32 bits. */
		uint64_t scale = seed % 2 ? 1 : 100000007ULL;

		srandom(seed);
		extents_init(&x);
		for (step = 0; step < 250; step++) {
			bool add = random() % 5 > 1;

			a = (unsigned)random() % UNITS;
			b = a + (unsigned)random() % (seed % 3 ? 12 : 90);
			b = b > UNITS ? UNITS : b;
			if (add)
				assert_int_equal(extents_add(&x, a * scale, b * scale), 0);
			else
				assert_int_equal(extents_remove(&x, a * scale, b * scale), 0);
			memset(bits + a, add, b - a);
			check_invariants(&x);
			if (step % 10 == 0)
				check_model(&x, bits, scale);
		}
		check_model(&x, bits, scale);
		extents_release(&x);
	}
}

/* The gap that a byte lies in, or the next one. */
static void test_gaps(void **state)
{
	struct extents x;
	uint64_t lo, hi;

	(void)state;
	extents_init(&x);
	assert_int_equal(extents_gap(&x, 7, 100, &lo, &hi), 7);
	assert_true(lo == 0 && hi == 100);
	extents_allow(&x, 2);
	assert_int_equal(extents_add(&x, 10, 20), 0);
	assert_int_equal(extents_add(&x, 30, 40), 0);
	assert_int_equal(extents_gap(&x, 5, 100, &lo, &hi), 5);
	assert_true(lo == 0 && hi == 10);
	for (uint64_t at = 10; at <= 20; at++) {
		assert_int_equal(extents_gap(&x, at, 100, &lo, &hi), 20);
		assert_true(lo == 20 && hi == 30);
	}
	assert_int_equal(extents_gap(&x, 25, 100, &lo, &hi), 25);
	assert_true(lo == 20 && hi == 30);
	assert_int_equal(extents_gap(&x, 90, 100, &lo, &hi), 90);
	assert_true(lo == 40 && hi == 100);
	assert_int_equal(extents_add(&x, 50, 60), 0);
	assert_int_equal(x.n, 2);
	extents_release(&x);
}

static void test_sequential_is_one(void **state)
{
	struct extents x;
	uint64_t at;

	(void)state;
	extents_init(&x);
	for (at = 0; at < 8ULL << 30; at += 64 << 10)
		assert_int_equal(extents_add(&x, at, at + (64 << 10)), 0);
	assert_int_equal(x.n, 1);
	assert_int_equal(extents_contiguous(&x), 8ULL << 30);
	assert_int_equal(extents_remove(&x, 5, UINT64_MAX), 0);
	assert_int_equal(extents_contiguous(&x), 5);
	assert_false(extents_cover(&x, 0, 6));
	assert_int_equal(extents_remove(&x, 0, UINT64_MAX), 0);
	assert_int_equal(x.n, 0);
	assert_int_equal(extents_contiguous(&x), 0);
	extents_release(&x);
}

/* More than the maximum: the highest are forgotten, whichever came last. */
static void test_bound(void **state)
{
	struct extents x;
	uint64_t i;

	(void)state;
	extents_init(&x);
	for (i = 0; i < EXTENTS_MAX + 100; i++)
		assert_int_equal(extents_add(&x, i * 10 + 10, i * 10 + 15), 0);
	check_invariants(&x);
	assert_int_equal(x.n, EXTENTS_MAX);
	assert_true(extents_cover(&x, EXTENTS_MAX * 10, EXTENTS_MAX * 10 + 5));
	assert_false(extents_cover(&x, EXTENTS_MAX * 10 + 10, EXTENTS_MAX * 10 + 11));
	/* One at the front pushes the last one out; a split does so too. */
	assert_int_equal(extents_add(&x, 0, 5), 0);
	assert_int_equal(x.n, EXTENTS_MAX);
	assert_true(extents_cover(&x, 0, 5));
	assert_false(extents_cover(&x, EXTENTS_MAX * 10, EXTENTS_MAX * 10 + 5));
	assert_int_equal(extents_remove(&x, 12, 13), 0);
	check_invariants(&x);
	assert_int_equal(x.n, EXTENTS_MAX);
	assert_true(extents_cover(&x, 10, 12) && extents_cover(&x, 13, 15));
	assert_false(extents_cover(&x, 12, 13));
	/* The last of them may be split as well. */
	i = x.v[x.n - 1].start;
	assert_int_equal(extents_remove(&x, i + 1, i + 2), 0);
	check_invariants(&x);
	assert_true(extents_cover(&x, i, i + 1));
	/* Filling the gaps makes one of all. */
	assert_int_equal(extents_add(&x, 0, 1 << 20), 0);
	assert_int_equal(x.n, 1);
	extents_release(&x);
}

static void test_empty_ranges(void **state)
{
	struct extents x;

	(void)state;
	extents_init(&x);
	assert_int_equal(extents_add(&x, 5, 5), 0);
	assert_int_equal(extents_remove(&x, 0, UINT64_MAX), 0);
	assert_int_equal(x.n, 0);
	assert_true(extents_cover(&x, 7, 7));
	assert_false(extents_cover(&x, 0, 1));
	assert_int_equal(extents_add(&x, UINT64_MAX - 1, UINT64_MAX), 0);
	assert_true(extents_cover(&x, UINT64_MAX - 1, UINT64_MAX));
	extents_release(&x);
	extents_release(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_bitmap),	  cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_sequential_is_one), cmocka_unit_test(test_bound),
		cmocka_unit_test(test_empty_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
