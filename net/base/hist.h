/*
 * hist: how often something took how long, for the metrics.
 *
 * Any thread; never blocks. A reader sees each count whole, but not all of them
 * at one moment: the total of a snapshot is the sum of its own counts.
 */
#ifndef UPLOADFS_NET_BASE_HIST_H
#define UPLOADFS_NET_BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_BOUNDS 14

extern const uint64_t hist_bounds_ms[HIST_BOUNDS]; /* ascending; each bound is inclusive */

struct hist {				       /* zeroed: empty */
	atomic_ullong counts[HIST_BOUNDS + 1]; /* the last one: beyond the last bound */
	atomic_ullong sum_ms;
};

struct hist_snapshot {
	uint64_t counts[HIST_BOUNDS + 1];
	uint64_t sum_ms, total;
};

void hist_add(struct hist *h, uint64_t ms);
void hist_get(struct hist *h, struct hist_snapshot *ret);

#endif
