#include "net/clock.h"

#include <stddef.h>

static const struct clock_source *source;

void clock_set_source(const struct clock_source *src)
{
	source = src;
}

uint64_t clock_mono_ms(void)
{
	struct timespec ts;

	if (source && source->mono_ms)
		return source->mono_ms();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct timespec clock_wall_ts(void)
{
	struct timespec ts;

	if (source && source->wall)
		return source->wall();
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

int64_t clock_wall_s(void)
{
	return clock_wall_ts().tv_sec;
}
