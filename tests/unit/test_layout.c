/* layout: every byte is in one Part, whatever the sizes; where the small Parts are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/publish/part_layout.h"

#define MIB (1ULL << 20)

static void test_block(void **state)
{
	(void)state;
	assert_true(layout_block(64 * MIB, 4) == 16 * MIB);
	assert_true(layout_block(32 * MIB, 4) == 8 * MIB);
	/* Too small to be cut, or not to be cut in four. */
	assert_true(layout_block(32 * MIB - 4, 4) == 32 * MIB - 4);
	assert_true(layout_block(64 * MIB - 1, 4) == 64 * MIB - 1);
	assert_true(layout_block(65536, 4) == 65536);
	assert_true(layout_block(1, 4) == 1);
	/* One connection: nothing to be gained. */
	assert_true(layout_block(64 * MIB, 1) == 64 * MIB);
	assert_true(layout_block(64 * MIB, 2) == 16 * MIB);
}

/* The Parts of size follow each other without a gap; none is empty or longer than part_size. */
static void check(uint64_t size, uint64_t part_size)
{
	uint32_t count = layout_count(size, part_size, layout_block(part_size, 4)), i;
	uint64_t block = layout_block(part_size, 4), at = 0, start, end;

	for (i = 0; i < count; i++) {
		layout_part(size, part_size, block, i, &start, &end);
		assert_true(start == at && end > start && end - start <= part_size);
		assert_true(start % block == 0);
		/* Behind a small one comes no large one. */
		assert_true(end - start <= block || end - start == part_size);
		if (size - start <= part_size && start % part_size == 0)
			assert_true(end - start <= block);
		at = end;
	}
	assert_true(at == size);
}

static void test_every_byte_has_a_part(void **state)
{
	static const uint64_t part_sizes[] = { 1, 64, 65536, MIB, 32 * MIB, 48 * MIB, 64 * MIB };
	static const uint64_t borders[] = {
		1, 2, 15, 16, 17, 32, 48, 63, 64, 65, 96, 128, 200, 8192
	};
	size_t p, b;
	int off;

	(void)state;
	for (p = 0; p < sizeof(part_sizes) / sizeof(*part_sizes); p++) {
		uint64_t unit = part_sizes[p] < 64 ? 1 : part_sizes[p] / 64;

		for (b = 0; b < sizeof(borders) / sizeof(*borders); b++) {
			for (off = -1; off <= 1; off++)
				check(borders[b] * unit + (uint64_t)(off + 1), part_sizes[p]);
		}
	}
}

static void check_lengths(uint64_t size, const uint64_t *mib)
{
	uint32_t count = layout_count(size, 64 * MIB, 16 * MIB), i;
	uint64_t start, end;

	for (i = 0; i < count; i++) {
		layout_part(size, 64 * MIB, 16 * MIB, i, &start, &end);
		assert_true(end - start == mib[i] * MIB);
	}
	assert_int_equal(mib[count], 0);
}

static void test_where_the_small_ones_are(void **state)
{
	(void)state;
	check_lengths(5 * MIB, (uint64_t[]){ 5, 0 });
	check_lengths(16 * MIB, (uint64_t[]){ 16, 0 });
	check_lengths(17 * MIB, (uint64_t[]){ 16, 1, 0 });
	check_lengths(64 * MIB, (uint64_t[]){ 16, 16, 16, 16, 0 });
	check_lengths(65 * MIB, (uint64_t[]){ 64, 1, 0 });
	check_lengths(128 * MIB, (uint64_t[]){ 64, 16, 16, 16, 16, 0 });
	check_lengths(200 * MIB, (uint64_t[]){ 64, 64, 64, 8, 0 });
}

/* All of part_size but the last: what a service that wants large Parts in order takes. */
static void test_in_sequence(void **state)
{
	uint64_t start, end;

	(void)state;
	assert_int_equal(layout_count(129 * MIB, 64 * MIB, 64 * MIB), 3);
	layout_part(129 * MIB, 64 * MIB, 64 * MIB, 1, &start, &end);
	assert_true(start == 64 * MIB && end == 128 * MIB);
	layout_part(129 * MIB, 64 * MIB, 64 * MIB, 2, &start, &end);
	assert_true(start == 128 * MIB && end == 129 * MIB);
	assert_int_equal(layout_count(128 * MIB, 64 * MIB, 64 * MIB), 2);
}

static void test_count(void **state)
{
	(void)state;
	assert_int_equal(layout_count(0, 64, 64), 0);
	assert_int_equal(layout_count(1, 64, 64), 1);
	assert_int_equal(layout_count(64, 64, 64), 1);
	assert_int_equal(layout_count(65, 64, 64), 2);
	assert_int_equal(layout_count(8ULL << 30, 64 * MIB, 16 * MIB), 127 + 4);
	assert_int_equal(layout_count((8ULL << 30) - 1, 64 * MIB, 16 * MIB), 127 + 4);
	assert_int_equal(layout_count(8ULL << 30, 65536, 65536), 131072);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_every_byte_has_a_part),
		cmocka_unit_test(test_where_the_small_ones_are),
		cmocka_unit_test(test_in_sequence),
		cmocka_unit_test(test_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
