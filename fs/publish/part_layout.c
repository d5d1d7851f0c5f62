#include "fs/publish/part_layout.h"

#define LAYOUT_PIECES 4
#define LAYOUT_BLOCK_MIN (8ULL << 20) /* bytes; below it the round trips cost more than they save */

uint64_t layout_block(uint64_t part_size, unsigned parallel)
{
	uint64_t block = part_size / LAYOUT_PIECES;

	if (parallel == 1)
		return part_size;
	return block < LAYOUT_BLOCK_MIN || part_size % LAYOUT_PIECES ? part_size : block;
}

/* Number of large Parts; at least one byte follows them. size > 0. */
static uint64_t large(uint64_t size, uint64_t part_size)
{
	return (size - 1) / part_size;
}

uint32_t layout_count(uint64_t size, uint64_t part_size, uint64_t block)
{
	uint64_t n;

	if (!size)
		return 0;
	n = large(size, part_size);
	return (uint32_t)(n + (size - n * part_size + block - 1) / block);
}

void layout_part(uint64_t size, uint64_t part_size, uint64_t block, uint32_t i, uint64_t *ret_start,
		 uint64_t *ret_end)
{
	uint64_t n = large(size, part_size), len = part_size;

	*ret_start = i * part_size;
	if (i >= n) {
		len = block;
		*ret_start = n * part_size + (i - n) * len;
	}
	*ret_end = size - *ret_start < len ? size : *ret_start + len;
}
