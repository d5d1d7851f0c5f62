/* buf: growth, the maximum, sticky errors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/buf.h"

static void test_empty(void **state)
{
	struct buf b = { .max = 10 };

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(b.len, 0);
	buf_release(&b);
	assert_int_equal(b.max, 10);
	buf_release(&b);
}

static void test_expect(void **state)
{
	struct buf b;
	char *data;

	(void)state;
	buf_init(&b, 1000);
	/* More than it may hold: as if nothing had been said. */
	buf_expect(&b, 1001);
	buf_expect(&b, SIZE_MAX);
	assert_null(b.data);
	assert_int_equal(buf_adds(&b, "abc"), 0);
	buf_expect(&b, 997);
	assert_string_equal(buf_str(&b), "abc");
	data = b.data;
	while (b.len < 1000)
		assert_int_equal(buf_addc(&b, 'x'), 0);
	assert_ptr_equal(b.data, data);
	assert_int_equal(strlen(buf_str(&b)), 1000);
	/* What is there already is enough. */
	buf_reset(&b);
	buf_expect(&b, 500);
	assert_ptr_equal(b.data, data);
	assert_int_equal(buf_add(&b, data, 0), 0);
	buf_release(&b);
	buf_expect(&b, 10);
	assert_string_equal(buf_str(&b), "");
	buf_release(&b);
}

static void test_append(void **state)
{
	struct buf b;
	unsigned i;

	(void)state;
	buf_init(&b, 1 << 20);
	for (i = 0; i < 10000; i++)
		assert_int_equal(buf_addf(&b, "%04u", i), 0);
	assert_int_equal(b.len, 40000);
	assert_memory_equal(b.data + 4 * 9999, "9999", 5);
	assert_memory_equal(b.data + 4 * 1234, "1234", 4);
	buf_reset(&b);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_adds(&b, "ab"), 0);
	assert_int_equal(buf_addc(&b, 'c'), 0);
	assert_int_equal(buf_add(&b, "d\0e", 3), 0);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "abcd\0e", 7);
	buf_release(&b);
}

static void test_max(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	assert_int_equal(buf_adds(&b, "abcde"), 0);
	assert_true(b.size <= 6);
	assert_int_equal(buf_addc(&b, 'f'), -EMSGSIZE);
	assert_string_equal(buf_str(&b), "abcde");
	assert_int_equal(b.err, -EMSGSIZE);
	/* Sticky, even for what would fit. */
	assert_int_equal(buf_adds(&b, ""), -EMSGSIZE);
	buf_reset(&b);
	assert_int_equal(buf_addf(&b, "%s", "123456"), -EMSGSIZE);
	assert_int_equal(b.len, 0);
	assert_string_equal(buf_str(&b), "");
	buf_reset(&b);
	assert_int_equal(buf_addf(&b, "%d", 12345), 0);
	assert_string_equal(buf_str(&b), "12345");
	assert_int_equal(buf_add(&b, "x", SIZE_MAX), -EMSGSIZE);
	assert_string_equal(buf_str(&b), "12345");
	buf_release(&b);
	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_addc(&b, 'x'), -EMSGSIZE);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_expect),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_max),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
