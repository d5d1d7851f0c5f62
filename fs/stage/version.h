/*
 * version: a number for each part of a staged file that changes with its bytes. staged.lock is
 * held.
 */
#ifndef UPLOADFS_FS_STAGE_VERSION_H
#define UPLOADFS_FS_STAGE_VERSION_H

#include <stdint.h>

struct staged;

/* Make room for the versions of [0, end). 0 or -ENOMEM. */
int staged_reserve_versions(struct staged *st, uint64_t end);
/* staged_version(). */
uint32_t staged_version_locked(const struct staged *st, uint64_t start, uint64_t end);

#endif
