/*
 * retry: the tries of a publication, and their limits.
 */
#ifndef UPLOADFS_FS_PUBLISH_RETRY_H
#define UPLOADFS_FS_PUBLISH_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/publish/budget.h"

#define PUBLISH_RESTARTS_MAX 3	  /* new Uploads for one close, beside those that expired */
#define PUBLISH_BAD_REPLIES_MAX 3 /* replies that fail the checks before it is an error */

/* The publisher thread's own. */
struct retry {
	unsigned restarts, bad_replies, retries;
	unsigned again; /* tries of its requests beyond the first of each */
	struct publish_budget budget;
	uint64_t due_ms;    /* the next try by itself, monotonic; 0: none */
	bool by_itself;	    /* the try that is due: nobody asked for it */
	bool stream_failed; /* send no more before the close */
};

#endif
