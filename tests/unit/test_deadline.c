/* deadline: called once when it is over, and not when the end comes first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>

#include "fs/host/deadline.h"

static atomic_uint called;

static void over(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void test_over(void **state)
{
	(void)state;
	assert_int_equal(deadline_start(1, over, &called), 0);
	while (!atomic_load(&called))
		sched_yield();
	deadline_end();
	assert_int_equal(atomic_load(&called), 1);
}

static void test_ended_first(void **state)
{
	(void)state;
	atomic_store(&called, 0);
	deadline_end();
	assert_int_equal(deadline_start(3600000, over, &called), 0);
	/* The first one counts. */
	assert_int_equal(deadline_start(0, over, &called), 0);
	deadline_end();
	deadline_end();
	assert_int_equal(atomic_load(&called), 0);
	assert_int_equal(deadline_start(0, over, &called), 0);
	while (!atomic_load(&called))
		sched_yield();
	deadline_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_over),
		cmocka_unit_test(test_ended_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
