/*
 * publish_budget: how long the requests of one publication may be retried, all
 * together.
 *
 * Each request has its own limit (retry_timeout). A service that answers each
 * of a hundred Parts just before that limit would keep a close waiting for
 * hours; this is what ends it. It is counted in time, not in tries: time in
 * which some request of the publication was being retried fills the account,
 * time in which none was empties it, so that a file that streams for a day may
 * have a bad minute now and then. Pure; the caller's lock or thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_BUDGET_H
#define UPLOADFS_FS_PUBLISH_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_RETRY_TIMEOUTS 5 /* the account of a publication, in units of retry_timeout */

struct publish_budget {
	uint64_t spent_ms; /* of retrying, at seen_ms */
	uint64_t seen_ms;  /* monotonic; up to when everything is counted */
};

void publish_budget_start(struct publish_budget *b, uint64_t now_ms);
/*
 * A request has ended that was retried for so long (api_error.retrying_ms; 0:
 * not at all). Requests that were retried at the same time count once.
 */
void publish_budget_note(struct publish_budget *b, uint64_t now_ms, uint64_t retrying_ms);
/* Whether more than limit_ms (0: no limit) is spent. */
bool publish_budget_over(const struct publish_budget *b, uint64_t limit_ms);

#endif
