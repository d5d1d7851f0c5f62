/*
 * Who waits for a fetch of the list, and for which.
 */
#include <stdlib.h>

#include "fs/remote/listing_impl.h"
#include "net/base/clock.h"

/* Under lock. Returns whether w has all it waits for, now that a fetch is over. */
static bool is_served(const struct listing *l, struct waiter *w)
{
	if (l->whole && l->begun >= w->whole_fetch)
		w->whole = false;
	return !w->whole && l->begun >= w->fetch;
}

/*
 * Under lock: takes out those whose wait is over. Others want more than the newest part, or came
 * after the pages were asked for.
 */
struct waiter *listing_take_waiters(struct listing *l, bool all)
{
	struct waiter *over = NULL, *w, **at = &l->waiters;

	while ((w = *at) != NULL) {
		if (!all && !is_served(l, w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = over;
		over = w;
	}
	return over;
}

/* Consumes the waiters. */
void listing_answer(struct waiter *w, int err, bool known)
{
	struct waiter *next;

	for (; w; w = next) {
		next = w->next;
		w->cb(w->arg, err, known);
		free(w);
	}
}

/* Under lock. Returns whether a waiter wants the whole list. */
bool listing_whole_wanted(const struct listing *l)
{
	const struct waiter *w = l->waiters;

	while (w && !w->whole)
		w = w->next;
	return w != NULL;
}

/* Under lock. Returns the number of the first fetch whose pages are no older than age_ms. */
static uint32_t first_fetch(const struct listing *l, uint64_t age_ms)
{
	bool joins = l->fetching && age_ms && clock_mono_ms() - l->asked_ms <= age_ms;

	return joins ? l->begun : l->begun + 1;
}

/* Under lock. */
void listing_add_waiter(struct listing *l, struct waiter *w, bool whole, uint64_t max_age_ms,
			uint64_t whole_age_ms)
{
	if (!l->waiters)
		l->waited_ms = clock_mono_ms();
	w->whole = whole;
	w->whole_fetch = first_fetch(l, whole_age_ms);
	w->fetch = first_fetch(l, max_age_ms);
	w->next = l->waiters;
	l->waiters = w;
}
