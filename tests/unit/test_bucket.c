/* bucket: never more than the rate in any time, and all of it where somebody takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/http/bucket.h"

#define START 123456789

static void test_no_limit(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 0, START);
	assert_int_equal(bucket_take(&b, START, 1 << 30), 1 << 30);
	assert_true(bucket_owe(&b, START, 1 << 30));
	assert_int_equal(bucket_when(&b, START), START);
}

/* Takes all there is, looking every step ms, for ms; how much that was. */
static uint64_t drain(struct bucket *b, uint64_t *now, uint64_t ms, uint64_t step)
{
	uint64_t end = *now + ms, got = 0;
	size_t n;

	while (*now < end) {
		*now += step;
		do {
			n = bucket_take(b, *now, SIZE_MAX);
			got += n;
		} while (n);
	}
	return got;
}

static void test_rate(void **state)
{
	static const uint64_t rates[] = { 1024,	   1500,     4099,	 1000003,
					  1 << 20, 50 << 20, 1ULL << 33, BUCKET_RATE_MAX };
	static const uint64_t steps[] = { 1, 7, 50 };
	struct bucket b;
	uint64_t now, got, all;
	size_t r, s;

	(void)state;
	for (r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
		for (s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
			/* Of the fastest a great many shares. */
			uint64_t ms = rates[r] > 1 << 30 ? steps[s] * 4 : steps[s] * 1000;

			now = START;
			bucket_init(&b, rates[r], now);
			got = drain(&b, &now, ms, steps[s]);
			all = rates[r] / 1000 * ms + rates[r] % 1000 * ms / 1000;
			assert_true(got <= all);
			assert_true(all - got < bucket_share(&b) + 1);
		}
	}
}

static void test_after_a_rest(void **state)
{
	struct bucket b;
	uint64_t now = START, got;

	(void)state;
	bucket_init(&b, 1 << 20, now);
	now += 1000ULL * 3600 * 24 * 365;
	got = drain(&b, &now, 1, 1);
	/* An eighth of a second's worth, not that of a year. */
	assert_true(got <= (1 << 17) && got > (1 << 17) - bucket_share(&b));
	/* A clock that stands still gives nothing. */
	assert_int_equal(bucket_take(&b, now, SIZE_MAX), 0);
	assert_int_equal(bucket_take(&b, now - 500, SIZE_MAX), 0);
}

static void test_shares(void **state)
{
	struct bucket b;
	size_t share;

	(void)state;
	bucket_init(&b, 1024, START);
	share = bucket_share(&b);
	assert_int_equal(share, 1024);
	assert_int_equal(bucket_when(&b, START), START + 1000);
	assert_int_equal(bucket_take(&b, START + 999, SIZE_MAX), 0);
	/* Less than a share where less is wanted. */
	assert_int_equal(bucket_take(&b, START + 999, 22), 22);
	assert_int_equal(bucket_take(&b, START + 1000 + 21, SIZE_MAX), 0);
	assert_int_equal(bucket_take(&b, START + 1000 + 22, SIZE_MAX), share);
	bucket_return(&b, share);
	assert_int_equal(bucket_take(&b, START + 1000 + 22, SIZE_MAX), share);
	/* What is given back does not add up beyond what it holds. */
	bucket_return(&b, 1 << 20);
	assert_int_equal(bucket_take(&b, START + 1000 + 22, SIZE_MAX), share);
	assert_int_equal(bucket_take(&b, START + 1000 + 22, SIZE_MAX), share);
	assert_int_equal(bucket_take(&b, START + 1000 + 22, SIZE_MAX), 0);
	bucket_init(&b, 1ULL << 32, START);
	assert_int_equal(bucket_share(&b), 64 << 10);
}

static void test_owing(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 100 << 10, START);
	assert_true(bucket_owe(&b, START, 200 << 10));
	assert_false(bucket_owe(&b, START, 1));
	assert_false(bucket_owe(&b, START + 1999, 1));
	assert_true(bucket_owe(&b, START + 2000, 1));
	assert_false(bucket_owe(&b, START + 2000, 1));
	/* A share of 3200 bytes after that. */
	assert_int_equal(bucket_when(&b, START + 2000), START + 2000 + 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_limit),     cmocka_unit_test(test_rate),
		cmocka_unit_test(test_after_a_rest), cmocka_unit_test(test_shares),
		cmocka_unit_test(test_owing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
