/*
 * listing: the account's Files, fetched page by page and kept for a while.
 *
 * There are two kinds of fetch: of the whole list, which tells what is there
 * and what is not, and of its newest part, up to Files that are known already,
 * which only tells what came to be. Any number of callers share one fetch.
 *
 * A thread of its own takes in what comes: it asks for the next page before it looks at the
 * one that came, so that the service makes the one while the other is shown. What was fetched
 * is handed to apply(), newest first, and not kept here: all at once when the fetch
 * is over, but the pages of the very first one each as it comes.
 *
 * Threads: any; apply(), known() and the callbacks run on that thread (a callback also at once,
 * when what is known is young enough, and listing_stop() on its caller's), without locks
 * held. Never blocks, but for listing_stop(), which waits for that thread.
 */
#ifndef UPLOADFS_FS_REMOTE_LISTING_H
#define UPLOADFS_FS_REMOTE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/api/api.h"

struct listing;

struct listing_page {
	size_t count;
	struct api_file *files;
	char *text; /* holds the Files' strings */
};

struct listing_files {
	uint32_t number; /* counts the fetches, from 1 */
	bool first;	 /* the first fetch: no File was named before */
	bool whole;	 /* Files not named under this number are gone */
	size_t before;	 /* Files that this fetch handed over already, all of them newer */
	/* Newest first. A File may stand in it twice when others were removed meanwhile. */
	const struct listing_page *pages;
	size_t page_count;
	size_t count; /* of Files */
};

/* Of the fetch under way. */
struct listing_progress {
	bool under_way;
	bool known; /* a whole list was applied before */
	uint64_t pages, files;
	uint64_t began_ms; /* monotonic */
};

struct listing_config {
	struct api *api;
	const char *purpose; /* NULL: all; borrowed */
	/* Strings live until it returns. */
	void (*apply)(void *arg, const struct listing_files *files);
	/* Returns whether an earlier apply() named that File; false if it is known another way. */
	bool (*known)(void *arg, const char *file_id);
	void *arg;
};

int listing_new(const struct listing_config *cfg, struct listing **ret);
/* Before api_free(): stops fetching, and answers waiters with -EINTR. */
void listing_stop(struct listing *l);
void listing_free(struct listing *l); /* after listing_stop() and api_free(); NULL is a no-op */

/*
 * Calls cb once a whole list no older than max_age_ms was applied: at once, or after a fetch, also
 * one under way whose pages were asked for no longer ago (0: after this call). err: negative errno
 * when that fetch failed, -ETIMEDOUT when it took longer than 10 s, or 60 s if no older list is
 * known (it goes on, and until its end others are told the same at once); known tells whether an
 * older one stands.
 */
typedef void listing_cb(void *arg, int err, bool known);
void listing_want(struct listing *l, uint64_t max_age_ms, listing_cb *cb, void *arg);
/*
 * Like listing_want() for a lookup of a new File: calls cb once the newest Files as of max_age_ms
 * ago, and a whole list no older than whole_age_ms, were applied. A caller that comes shortly
 * before either age is reached starts a fetch without waiting for it: half of max_age_ms before (at
 * most 500 ms), and for the whole list a twentieth of whole_age_ms (the same).
 */
void listing_want_new(struct listing *l, uint64_t max_age_ms, uint64_t whole_age_ms, listing_cb *cb,
		      void *arg);
/* Starts a fetch of the whole list if it is older than max_age_ms; does not wait. */
void listing_refresh(struct listing *l, uint64_t max_age_ms);
/*
 * Returns whether a fetch is under way; if not, the previous one has been applied. For tests: a
 * fetch that nobody waits for calls nothing back, and the api is idle before apply() has run.
 */
bool listing_is_fetching(struct listing *l);
void listing_get_progress(struct listing *l, struct listing_progress *ret);

#endif
