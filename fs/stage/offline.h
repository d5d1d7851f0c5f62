/*
 * offline: the unpublished files of a state directory, without a daemon.
 *
 * Hold the lock of the directory (statedir.h) for changes. Blocks on the local disk. One thread.
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
	int err;	 /* negative errno: its record can't be read */
	uint64_t size;	 /* bytes of its data; 0 without */
	bool has_data;
	bool set_aside;	    /* in damaged/ */
	struct statedb *db; /* for kept_close() and kept_discard(), within fn */
};

/*
 * Call fn for each staged file in order of the ids, then for those set aside. k is valid until fn
 * returns. Stops at fn's error and returns it. 0, also without a state.db; -EBUSY: a
 * daemon has it; -EBADMSG: the database is damaged, and stays as it is; another negative errno.
 */
int kept_scan(const char *state_dir, int (*fn)(void *arg, const struct kept *k), void *arg);

/* True if closed by its writer and, by its record, not a File yet. */
bool kept_is_closed(const struct kept *k);
/* True if not closed: its writer was killed, or the daemon ended first. */
bool kept_is_open(const struct kept *k);

/*
 * Mark an unclosed file closed: the next daemon publishes it as it stands. 0 or negative errno.
 */
int kept_close(const char *state_dir, const struct kept *k);
/* Remove row and data. 0 or negative errno. */
int kept_discard(const char *state_dir, const struct kept *k);

#endif
