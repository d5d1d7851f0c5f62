/* lost: bytes whose write failed stay lost until the last one is written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/work/lost.h"

static void test_each_byte_counts(void **state)
{
	struct lost x = { 0 };

	(void)state;
	lost_add(&x, 0, 100, -EIO);
	lost_add(&x, 500, 100, -ENOSPC);
	assert_int_equal(x.err, -ENOSPC);
	/* The later one alone, then all but one byte. */
	lost_mend(&x, 500, 100);
	assert_int_equal(x.err, -ENOSPC);
	lost_mend(&x, 0, 40);
	lost_mend(&x, 41, 59);
	assert_int_equal(x.err, -ENOSPC);
	lost_mend(&x, 40, 1);
	assert_int_equal(x.err, 0);
	lost_mend(&x, 0, 10);
	assert_int_equal(x.err, 0);
}

static void test_cut(void **state)
{
	struct lost x = { 0 };

	(void)state;
	lost_add(&x, 100, 100, -EIO);
	lost_cut(&x, 150);
	assert_int_equal(x.err, -EIO);
	lost_cut(&x, 100);
	assert_int_equal(x.err, 0);
	lost_add(&x, 100, 100, -EIO);
	lost_cut(&x, 0);
	assert_int_equal(x.err, 0);
}

static void test_moved(void **state)
{
	struct lost x = { 0 }, from = { 0 };

	(void)state;
	lost_move(&x, &from);
	assert_int_equal(x.err, 0);
	lost_add(&x, 0, 10, -EIO);
	lost_add(&from, 20, 10, -EACCES);
	lost_move(&x, &from);
	assert_int_equal(from.err, 0);
	assert_int_equal(x.err, -EACCES);
	lost_mend(&x, 20, 10);
	assert_int_equal(x.err, -EACCES);
	lost_mend(&x, 0, 10);
	assert_int_equal(x.err, 0);
}

/* No failure is forgotten, however many there are, and however much is written in between. */
static void test_very_many(void **state)
{
	struct lost x = { 0 }, to = { 0 };

	(void)state;
	lost_add(&x, 0, UINT64_MAX, -EIO);
	for (uint64_t k = 0; k < 10000; k++)
		lost_mend(&x, k * 10, 1);
	lost_mend(&x, 0, 99000);
	assert_int_equal(x.err, -EIO);
	lost_clear(&x);
	for (uint64_t k = 0; k < 10000; k++)
		lost_add(&x, k * 10, 1, -EIO);
	lost_move(&to, &x);
	lost_mend(&to, 0, 99000);
	assert_int_equal(to.err, -EIO);
	lost_cut(&to, 0);
	assert_int_equal(to.err, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_byte_counts),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_very_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
