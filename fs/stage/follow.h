/*
 * follow: the watch of a staged file (staged_watch()). staged.lock is held.
 */
#ifndef UPLOADFS_FS_STAGE_FOLLOW_H
#define UPLOADFS_FS_STAGE_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

struct staged;

/* Offsets in bytes of the file. */
struct staged_watch {
	uint32_t id; /* 0: none yet */
	uint64_t start, end, step;
	uint64_t told; /* [start, told) may have been read */
	uint64_t at;   /* where the reader waits; UINT64_MAX: it does not */
	bool called;   /* on_fill was, for this at */
	bool torn, whole;
};

/* Content of [start, end) changed: the watch is torn if its reader had it. */
void staged_watch_touch(struct staged *st, uint64_t start, uint64_t end);
/* True, once, if on_fill is to be called for the reader. */
bool staged_watch_due(struct staged *st);

#endif
