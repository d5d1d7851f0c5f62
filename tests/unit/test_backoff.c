/* backoff: delays, and what servers write into Retry-After. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/http/backoff.h"

static void assert_between(uint64_t value, uint64_t low, uint64_t high)
{
	assert_true(value >= low && value <= high);
}

static void test_growth(void **state)
{
	static const uint64_t full[] = { 500, 1000, 2000, 4000, 8000, 8000, 8000 };
	uint64_t d, min, max;
	uint32_t seed;
	unsigned i;

	(void)state;
	for (i = 0; i < 7; i++) {
		min = UINT64_MAX;
		max = 0;
		for (seed = 0; seed < 2000; seed++) {
			d = backoff_delay_ms(i, -1, seed);
			assert_int_equal(d, backoff_delay_ms(i, -1, seed));
			min = d < min ? d : min;
			max = d > max ? d : max;
		}
		assert_true(max <= full[i] && max > full[i] * 99 / 100);
		assert_true(min >= full[i] * 3 / 4 && min < full[i] * 76 / 100);
	}
	assert_between(backoff_delay_ms(63, -1, 1), 6000, 8000);
	assert_between(backoff_delay_ms(UINT32_MAX, -1, 1), 6000, 8000);
}

static void test_server_wins(void **state)
{
	(void)state;
	assert_int_equal(backoff_delay_ms(0, 1, 7), 1);
	assert_int_equal(backoff_delay_ms(9, 30000, 7), 30000);
	assert_int_equal(backoff_delay_ms(0, 120000, 7), 120000);
	assert_between(backoff_delay_ms(0, 120001, 7), 375, 500);
	assert_between(backoff_delay_ms(0, 0, 7), 375, 500);
	assert_between(backoff_delay_ms(0, INT64_MAX, 7), 375, 500);
}

static void test_seconds(void **state)
{
	(void)state;
	assert_int_equal(backoff_parse_retry_after("0", 0), 0);
	assert_int_equal(backoff_parse_retry_after("3", 0), 3000);
	assert_int_equal(backoff_parse_retry_after(" 1.5 ", 0), 1500);
	assert_int_equal(backoff_parse_retry_after("0.0015", 0), 1);
	assert_true(backoff_parse_retry_after("99999999999999999999999999", 0) > 120000);
	assert_int_equal(backoff_parse_retry_after("-1", 0), -1);
	assert_int_equal(backoff_parse_retry_after("", 0), -1);
	assert_int_equal(backoff_parse_retry_after("inf", 0), -1);
	assert_int_equal(backoff_parse_retry_after("0x10", 0), -1);
	assert_int_equal(backoff_parse_retry_after("1e3", 0), -1);
	assert_int_equal(backoff_parse_retry_after("soon", 0), -1);
	assert_int_equal(backoff_parse_retry_after(NULL, 0), -1);
	assert_int_equal(backoff_parse_retry_after_ms("250"), 250);
	assert_int_equal(backoff_parse_retry_after_ms("250.9"), 250);
	assert_int_equal(backoff_parse_retry_after_ms("x"), -1);
	assert_int_equal(backoff_parse_retry_after_ms(NULL), -1);
}

static void test_date(void **state)
{
	const int64_t t = 784111777; /* RFC 9110's example date */

	(void)state;
	assert_int_equal(backoff_parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), t);
	assert_int_equal(backoff_parse_date("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
	assert_int_equal(backoff_parse_date("1"), -1);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", t - 5), 5000);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", t + 5), 0);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Now 1994 08:49:37 GMT", t), -1);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 anF 1994 08:49:37 GMT", t), -1);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Nov 1994 08:49:37 CET", t), -1);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMTx", t), -1);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Nov 1994 28:49:37 GMT", t), -1);
	assert_int_equal(backoff_parse_retry_after("Sun, 06 Nov 1994", t), -1);
	assert_true(backoff_parse_retry_after("Fri, 01 Jan 9999 00:00:00 GMT", 0) > 120000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_server_wins),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
