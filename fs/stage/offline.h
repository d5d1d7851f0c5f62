/*
 * kept: what a state directory holds of files that are not published, read
 * without a daemon. Whoever changes anything holds the lock of the directory
 * (statedir.h). Blocks on the local disk. One thread.
 */
#ifndef UPLOADFS_FS_STAGE_OFFLINE_H
#define UPLOADFS_FS_STAGE_OFFLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/state/files.h"

struct statedb;

struct kept {
	const char *id;	 /* of the staged file */
	struct record r; /* when err is 0 */
	int err;	 /* why its record can't be read */
	uint64_t size;	 /* bytes of its data; 0 without */
	bool has_data;
	bool set_aside;	    /* in damaged/ */
	struct statedb *db; /* for kept_close() and kept_discard(), within fn */
};

/*
 * Calls fn for each staged file, in order of the ids, then for those that were set aside. k is
 * valid until fn returns. Stops at fn's error and returns it. 0 also when there is no state.db;
 * -EBUSY: a daemon has it; another negative errno.
 */
int kept_scan(const char *state_dir, int (*fn)(void *arg, const struct kept *k), void *arg);

/* Closed by its writer, and not a File as far as the record knows. */
bool kept_is_closed(const struct kept *k);
/* Not closed: its writer was killed, or the daemon ended before. */
bool kept_is_open(const struct kept *k);

/*
 * Makes a closed file of one that was not: the next daemon publishes it as it stands. 0 or a
 * negative errno.
 */
int kept_close(const char *state_dir, const struct kept *k);
/* Removes row and data. 0 or a negative errno. */
int kept_discard(const char *state_dir, const struct kept *k);

#endif
