/* pace: see pace.h. */
#include "net/server/pace.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "net/base/clock.h"

/* A shorter wait is not worth a system call; the budget carries it over. */
#define PACE_MIN_US 1000
#define PACE_SLICE_MS 60000

int pace_wait(const struct pace *p, int sock, uint64_t ms)
{
	uint64_t start = clock_mono_ms(), gone;
	struct pollfd fds[2] = {
		{ .fd = p->stop_fd, .events = POLLIN },
		{ .fd = sock, .events = POLLRDHUP },
	};

	while ((gone = clock_mono_ms() - start) < ms) {
		uint64_t left = ms - gone;

		if (poll(fds, 2, left > PACE_SLICE_MS ? PACE_SLICE_MS : (int)left) < 0 &&
		    errno != EINTR)
			return -errno;
		if (fds[0].revents)
			return -ECANCELED;
		if (fds[1].revents)
			return -EPIPE;
	}
	return 0;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int pace_bytes(struct pace *p, enum pace_way way, size_t len)
{
	uint64_t now, *due = &p->due_us[way];

	if (!p->rate)
		return 0;
	now = now_us();
	if (*due < now)
		*due = now;
	*due += (uint64_t)((double)len * 1e6 / (double)p->rate);
	if (*due - now < PACE_MIN_US)
		return 0;
	return pace_wait(p, -1, (*due - now) / 1000);
}
