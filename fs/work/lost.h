/*
 * lost: the bytes of a file whose write failed and that nobody has written since, and the reason.
 * Not thread-safe; offsets and lengths in bytes.
 */
#ifndef UPLOADFS_FS_WORK_LOST_H
#define UPLOADFS_FS_WORK_LOST_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/work/extents.h"

/* All zero: nothing is lost. */
struct lost {
	int err;  /* negative errno of the last failure; 0: nothing is lost */
	bool all; /* any byte may be lost */
	struct extents ranges;
};

/*
 * Add [off, off + len), whose write failed with err. Without memory, or after very many failures,
 * the whole file counts as lost.
 */
void lost_add(struct lost *x, uint64_t off, uint64_t len, int err);
/* The bytes [off, off + len) were written. */
void lost_mend(struct lost *x, uint64_t off, uint64_t len);
/* The file was cut to size: what was lost behind it is no loss. */
void lost_cut(struct lost *x, uint64_t size);
/* Add what from has, and clear from. */
void lost_move(struct lost *x, struct lost *from);
/* Nothing is lost any more. Frees the memory. */
void lost_clear(struct lost *x);

#endif
