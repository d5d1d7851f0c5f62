#include "net/base/clock.h"

#include <stdatomic.h>
#include <stddef.h>

#define WAIT_MAX_MS 1000

/* Threads of a store may read the clock while a test sets it. */
static const struct clock_source *_Atomic source;

void clock_set_source(const struct clock_source *src)
{
	atomic_store(&source, src);
}

uint64_t clock_mono_ms(void)
{
	const struct clock_source *src = atomic_load(&source);
	struct timespec ts;

	if (src && src->mono_ms)
		return src->mono_ms();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct timespec clock_wall_ts(void)
{
	const struct clock_source *src = atomic_load(&source);
	struct timespec ts;

	if (src && src->wall)
		return src->wall();
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
