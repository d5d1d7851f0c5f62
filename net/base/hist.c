#include "net/base/hist.h"

#include <string.h>

const uint64_t hist_bounds_ms[HIST_BOUNDS] = { 5,    10,   25,	 50,	100,   250,   500,
					       1000, 2500, 5000, 10000, 30000, 60000, 300000 };

void hist_add(struct hist *h, uint64_t ms)
{
	unsigned i = 0;

	while (i < HIST_BOUNDS && ms > hist_bounds_ms[i])
		i++;
	atomic_fetch_add(&h->counts[i], 1);
	atomic_fetch_add(&h->sum_ms, ms);
}

void hist_get(struct hist *h, struct hist_snapshot *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i <= HIST_BOUNDS; i++) {
		ret->counts[i] = atomic_load(&h->counts[i]);
		ret->total += ret->counts[i];
	}
	ret->sum_ms = atomic_load(&h->sum_ms);
}
