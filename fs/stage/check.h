/*
 * check: the bytes of a staged file checked as JSON Lines, by the worker that hashes them.
 * staged.lock is held unless said otherwise.
 */
#ifndef UPLOADFS_FS_STAGE_CHECK_H
#define UPLOADFS_FS_STAGE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "net/base/jsonl.h"

struct staged;

/* lines has seen hash.pos bytes. A worker owns it while hash.busy. */
struct staged_lines {
	bool on;
	struct jsonl lines;
	struct jsonl *snaps; /* as hash.snaps; NULL: none */
};

/* hash.pos has reached the place of snapshot i. False: no memory; it can't be gone back to. */
bool staged_check_snapshot(struct staged *st, uint64_t i);
/* Go back to snapshot i; 0 is the beginning. */
void staged_check_rewind(struct staged *st, uint64_t i);
/* At the last unref; no lock. */
void staged_check_release(struct staged *st);

#endif
