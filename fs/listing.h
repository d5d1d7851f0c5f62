/*
 * listing: the account's Files, fetched page by page and kept for a while.
 *
 * Any number of callers share one fetch. The listing itself is handed to
 * apply() as a whole, newest first, and not kept here. Threads: any;
 * apply() and the callbacks run on the network thread (a callback also at
 * once, when what is known is young enough), without locks held.
 */
#ifndef UPLOADFS_FS_LISTING_H
#define UPLOADFS_FS_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "net/api.h"

struct listing;

struct listing_config {
	struct api *api;
	const char *purpose; /* NULL: all; borrowed */
	/* number counts the fetches; files[0] is the newest. Strings live until it returns. */
	void (*apply)(void *arg, uint32_t number, const struct api_file *files, size_t n);
	void *arg;
};

int listing_new(const struct listing_config *cfg, struct listing **ret);
void listing_free(struct listing *l); /* after api_free(); NULL is a no-op */

/*
 * Calls cb once a listing no older than max_age_ms was applied: at once, or
 * after a fetch. err: negative errno when that fetch failed; known tells
 * whether an older listing stands.
 */
typedef void listing_cb(void *arg, int err, bool known);
void listing_want(struct listing *l, uint64_t max_age_ms, listing_cb *cb, void *arg);

#endif
