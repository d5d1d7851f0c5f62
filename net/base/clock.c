#include "net/base/clock.h"

#include <stddef.h>

#define WAIT_MAX_MS 1000

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

void clock_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

void clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms)
{
	uint64_t now = clock_mono_ms(), ms = until_ms > now ? until_ms - now : 0;
	struct timespec ts;

	if (until_ms == UINT64_MAX) {
		pthread_cond_wait(cond, lock);
		return;
	}
	if (ms > WAIT_MAX_MS)
		ms = WAIT_MAX_MS;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	pthread_cond_timedwait(cond, lock, &ts);
}
