/*
 * prefix: the MD5 of a staged file's beginnings, noted as it is hashed, and compared with those of
 * a File that it may equal. staged.lock is held unless said otherwise.
 */
#ifndef UPLOADFS_FS_STAGE_PREFIX_H
#define UPLOADFS_FS_STAGE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "net/base/digest.h"

struct staged;

/* v[i] is the MD5 of the first (i + 1) * part_size bytes, i < count. */
struct staged_prefix {
	unsigned char (*v)[DIGEST_SIZE];
	uint32_t count, room;
	/* of the File, by steps of its own; step 0: none */
	uint64_t step;
	unsigned char (*known)[DIGEST_SIZE];
	uint64_t known_count;
	bool differs; /* from the File */
};

/* The first end of a prefix in (pos, end), or end. */
uint64_t staged_prefix_stop(const struct staged *st, uint64_t pos, uint64_t end);
/* hash.pos has moved on to the end of a stretch, hash.cur is its state. */
void staged_prefix_note(struct staged *st);
/* Bytes from pos on are to be hashed again. */
void staged_prefix_cut(struct staged *st, uint64_t pos);
/* At the last unref; no lock. */
void staged_prefix_release(struct staged *st);

#endif
