/*
 * part_layout: the bytes of each Part of an Upload.
 *
 * Parts are large, since each costs a round trip and time of the service. After the last byte was
 * written only the last Part is left to send, over one connection; so the last part_size bytes or
 * less go in blocks of a quarter of part_size, unless that is too small to pay. With one connection
 * (parallel=1) blocks gain nothing, and a service that wants Parts in order may want large ones:
 * there every Part but the last has part_size.
 *
 * Pure, any thread. Sizes in bytes. The layout depends on the size and the two lengths alone, so
 * that a Part in a record names the same bytes later.
 */
#ifndef UPLOADFS_FS_PUBLISH_PART_LAYOUT_H
#define UPLOADFS_FS_PUBLISH_PART_LAYOUT_H

#include <stdint.h>

/*
 * The length of a block; every border of a Part is a multiple of it. part_size > 0; parallel: Parts
 * under way at once, > 0.
 */
uint64_t layout_block(uint64_t part_size, unsigned parallel);
/* Number of Parts of size bytes; 0 for no bytes. Fits 32 bits for any size of an Upload. */
uint32_t layout_count(uint64_t size, uint64_t part_size, uint64_t block);
/* Part i, below the count, is [*ret_start, *ret_end). */
void layout_part(uint64_t size, uint64_t part_size, uint64_t block, uint32_t i, uint64_t *ret_start,
		 uint64_t *ret_end);

#endif
