/*
 * layout: which bytes of a file are which Part of its Upload.
 *
 * Parts are large, since each costs a round trip and the service's own time. But
 * what is left to send when the last byte was written is the last one, over one
 * connection. So the last part_size or less of a file goes in blocks: a quarter
 * of part_size each, unless that would be too small to pay. With one connection
 * (parallel=1) there is nothing to gain by that, and a service that wants Parts in
 * order may want large ones: there every Part but the last has part_size.
 *
 * Pure, any thread. Sizes in bytes. The layout depends on nothing but the size and
 * the two lengths, so that a Part found in a record is the same bytes as then.
 */
#ifndef UPLOADFS_FS_PUBLISH_PART_LAYOUT_H
#define UPLOADFS_FS_PUBLISH_PART_LAYOUT_H

#include <stdint.h>

/*
 * The length of the small Parts; every border of a Part is a multiple of it. part_size > 0;
 * parallel: Parts under way at once, > 0.
 */
uint64_t layout_block(uint64_t part_size, unsigned parallel);
/* Number of Parts of size bytes; 0 for none. At most 2^32 - 1 for the sizes an Upload can have. */
uint32_t layout_count(uint64_t size, uint64_t part_size, uint64_t block);
/* Part i, below the count, is [*ret_start, *ret_end). */
void layout_part(uint64_t size, uint64_t part_size, uint64_t block, uint32_t i, uint64_t *ret_start,
		 uint64_t *ret_end);

#endif
