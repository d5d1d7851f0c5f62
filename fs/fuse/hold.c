/*
 * Hold closes for a moment when the kernel does not tell which process closes. An INTERRUPT follows
 * the FLUSH of a killed process within 0.1 ms, because its signal is still pending; no INTERRUPT
 * follows the FLUSH of close() or exit().
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/fuse/ops_impl.h"
#include "net/base/clock.h"

#define HOLD_MS 20

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	/* under lock */
	bool started, ended;
	pthread_t thread;
	struct ops_hold *first, **last; /* ordered by until_ms */
} holds = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Under lock. */
static void take_first(struct ops_hold **ret)
{
	struct ops_hold *h = holds.first;

	holds.first = h->next;
	if (!holds.first)
		holds.last = &holds.first;
	h->held = false;
	*ret = h;
}

static void *hold_main(void *arg)
{
	struct ops_hold *h;
	bool ended;

	(void)arg;
	pthread_mutex_lock(&holds.lock);
	while (holds.first || !holds.ended) {
		ended = holds.ended;
		if (!ended && (!holds.first || holds.first->until_ms > clock_mono_ms())) {
			clock_cond_wait(&holds.more, &holds.lock,
					holds.first ? holds.first->until_ms : UINT64_MAX);
			continue;
		}
		take_first(&h);
		pthread_mutex_unlock(&holds.lock);
		h->over(h, ended ? -EINTR : 0);
		pthread_mutex_lock(&holds.lock);
	}
	pthread_mutex_unlock(&holds.lock);
	return NULL;
}

/* Under lock. */
static bool start(void)
{
	if (holds.ended)
		return false;
	if (holds.started)
		return true;
	clock_cond_init(&holds.more);
	holds.last = &holds.first;
	holds.started = pthread_create(&holds.thread, NULL, hold_main, NULL) == 0;
	return holds.started;
}

bool ops_hold(struct ops_hold *h)
{
	bool ok;

	pthread_mutex_lock(&holds.lock);
	ok = start();
	if (ok) {
		h->until_ms = clock_mono_ms() + HOLD_MS;
		h->held = true;
		h->next = NULL;
		*holds.last = h;
		holds.last = &h->next;
		pthread_cond_signal(&holds.more);
	}
	pthread_mutex_unlock(&holds.lock);
	return ok;
}

bool ops_hold_take(struct ops_hold *h)
{
	struct ops_hold **at;
	bool was;

	pthread_mutex_lock(&holds.lock);
	was = h->held;
	if (was) {
		for (at = &holds.first; *at != h; at = &(*at)->next)
			;
		*at = h->next;
		if (!h->next)
			holds.last = at;
		h->held = false;
	}
	pthread_mutex_unlock(&holds.lock);
	return was;
}

void ops_end_holds(void)
{
	bool started;

	pthread_mutex_lock(&holds.lock);
	holds.ended = true;
	started = holds.started;
	if (started)
		pthread_cond_signal(&holds.more);
	pthread_mutex_unlock(&holds.lock);
	if (started)
		pthread_join(holds.thread, NULL);
}
