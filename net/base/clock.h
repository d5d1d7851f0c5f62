/*
 * clock: time, replaceable in tests.
 *
 * Any thread. Never blocks, but for clock_cond_wait(). Tests may replace the
 * source with clock_set_source(); do so before other threads start.
 */
#ifndef UPLOADFS_NET_BASE_CLOCK_H
#define UPLOADFS_NET_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

uint64_t clock_mono_ms(void);	     /* monotonic milliseconds, arbitrary origin */
int64_t clock_wall_s(void);	     /* seconds since the epoch */
struct timespec clock_wall_ts(void); /* seconds and nanoseconds since the epoch */

/* A condition for clock_cond_wait(). */
void clock_cond_init(pthread_cond_t *cond);
/*
 * Blocks until cond is signalled, until_ms of clock_mono_ms() is reached (UINT64_MAX: never), or a
 * second has passed, because the clock may be a replaced one. The caller checks its condition
 * again.
 */
void clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms);

struct clock_source {
	uint64_t (*mono_ms)(void);
	struct timespec (*wall)(void);
};
void clock_set_source(const struct clock_source *src); /* NULL: the system's clock */

#endif
