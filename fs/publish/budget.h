/*
 * budget: a limit for the time that all requests of one publication are retried.
 *
 * Each request has its own limit (retry_timeout). A service that answers each of a hundred Parts
 * just before it would keep a close waiting for hours: the budget ends that. Time in which some
 * request was being retried adds to it, time in which none was takes from it, so that a file that
 * streams for a day may have a bad minute now and then. Pure; the caller locks.
 */
#ifndef UPLOADFS_FS_PUBLISH_BUDGET_H
#define UPLOADFS_FS_PUBLISH_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_RETRY_TIMEOUTS 5 /* the limit, in units of retry_timeout */

struct publish_budget {
	uint64_t spent_ms; /* time of retries left to pay off, at seen_ms */
	uint64_t seen_ms;  /* monotonic; time up to here is counted */
};

void publish_budget_start(struct publish_budget *b, uint64_t now_ms);
/*
 * Count a request that ended after retrying_ms of retries (api_error; 0: none). Retries at the same
 * time count once.
 */
void publish_budget_note(struct publish_budget *b, uint64_t now_ms, uint64_t retrying_ms);
/* True if more than limit_ms is spent. 0: no limit. */
bool publish_budget_over(const struct publish_budget *b, uint64_t limit_ms);

#endif
