/*
 * clock: time, replaceable in tests.
 *
 * Any thread. Never blocks. Tests may replace the source with clock_set_source();
 * do so before other threads start.
 */
#ifndef UPLOADFS_NET_CLOCK_H
#define UPLOADFS_NET_CLOCK_H

#include <stdint.h>
#include <time.h>

uint64_t clock_mono_ms(void);	     /* monotonic milliseconds, arbitrary origin */
int64_t clock_wall_s(void);	     /* seconds since the epoch */
struct timespec clock_wall_ts(void); /* the same with nanoseconds */

struct clock_source {
	uint64_t (*mono_ms)(void);
	struct timespec (*wall)(void);
};
void clock_set_source(const struct clock_source *src); /* NULL: the system's clock */

#endif
