/*
 * extents: which byte ranges of a staged file have been written.
 *
 * A sorted list of disjoint, non-adjacent half-open ranges, bounded: at most
 * EXTENTS_MAX are kept, or as many as extents_allow() says, and when there are
 * more the highest ones are forgotten, which only means that their parts leave
 * at the close instead of earlier. Not thread-safe; offsets and lengths in bytes.
 */
#ifndef UPLOADFS_FS_WORK_EXTENTS_H
#define UPLOADFS_FS_WORK_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXTENTS_MAX 4096

struct extent {
	uint64_t start, end;
};

struct extents {
	struct extent *v;
	size_t n, cap, max;
};

void extents_init(struct extents *x);
/* Keep up to max ranges (16 bytes each). On an empty list. */
void extents_allow(struct extents *x, size_t max);
void extents_release(struct extents *x);
/* Adds [start, end). 0 or -ENOMEM (then nothing is changed). */
int extents_add(struct extents *x, uint64_t start, uint64_t end);
/* Takes [start, end) out (a punched hole, a truncation with end = UINT64_MAX). 0 or -ENOMEM. */
int extents_remove(struct extents *x, uint64_t start, uint64_t end);
bool extents_cover(const struct extents *x, uint64_t start, uint64_t end);
/*
 * Returns the first byte from start on that lies in no range. Around it, none lies in
 * [*ret_lo, *ret_hi); limit: *ret_hi where no range follows.
 */
uint64_t extents_gap(const struct extents *x, uint64_t start, uint64_t limit, uint64_t *ret_lo,
		     uint64_t *ret_hi);
/* Returns the end of the range that holds start: bytes [start, result) are all written. */
uint64_t extents_end(const struct extents *x, uint64_t start);
/* Returns the end of the range that starts at 0: bytes [0, result) are all written. */
uint64_t extents_contiguous(const struct extents *x);

#endif
