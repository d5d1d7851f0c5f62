/*
 * walk: through a list page by page: with a limit that the service bears, and never in a circle.
 * Pure but for a log line; one thread at a time.
 */
#ifndef UPLOADFS_FS_REMOTE_WALK_H
#define UPLOADFS_FS_REMOTE_WALK_H

#include <stdbool.h>

#include "net/api/api.h"

struct walk {
	unsigned limit_max; /* entries a page that the service was not seen to refuse */
	unsigned pages, mark_at;
	char mark[API_ID_MAX + 1]; /* the place of an earlier page; "": none yet */
};

/* Starts at the list's beginning. What is known of the limit stays; before the first: limit_max. */
void walk_begin(struct walk *w);
/*
 * Returns whether the page that begins behind last_id may be asked for. False: it brings nothing
 * new, for the walk has been there, or there is no place to go on.
 */
bool walk_goes_on(struct walk *w, const char *last_id);
/*
 * A page of *limit entries was refused with err. True: ask for it again with *limit, which is
 * smaller now.
 */
bool walk_shrink(struct walk *w, unsigned *limit, const struct api_error *err);

#endif
