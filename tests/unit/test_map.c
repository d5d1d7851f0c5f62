/* map against a plain array, through growth and many removals. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/map.h"

#define COUNT 5000

struct item {
	char id[16];
	bool in;
};

static void check(const struct map *m, struct item *items)
{
	size_t i, live = 0, pos = 0;
	struct item *it;

	for (i = 0; i < COUNT; i++) {
		assert_ptr_equal(map_get(m, items[i].id), items[i].in ? &items[i] : NULL);
		live += items[i].in;
	}
	assert_int_equal(m->live, live);
	while ((it = map_each(m, &pos))) {
		assert_true(it->in);
		live--;
	}
	assert_int_equal(live, 0);
}

static void test_random_changes(void **state)
{
	struct item *items = calloc(COUNT, sizeof(*items));
	struct map m = { 0 };
	unsigned seed = 7;
	size_t i, n;

	(void)state;
	assert_non_null(items);
	for (i = 0; i < COUNT; i++)
		snprintf(items[i].id, sizeof(items[i].id), "id-%zu", i);
	check(&m, items);
	for (n = 0; n < 20 * COUNT; n++) {
		struct item *it = &items[(size_t)rand_r(&seed) % COUNT];

		if (it->in) {
			assert_int_equal(map_put(&m, it->id, it), -EEXIST);
			map_del(&m, it->id);
		} else {
			map_del(&m, it->id);
			assert_int_equal(map_put(&m, it->id, it), 0);
		}
		it->in = !it->in;
		if (n % COUNT == 0)
			check(&m, items);
	}
	check(&m, items);
	/* Tombstones do not pile up. */
	assert_true(m.size <= 16 * COUNT);
	map_release(&m);
	free(items);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_changes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
