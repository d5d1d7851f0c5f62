/*
 * What others want of the list: a fetch, if what is known is too old.
 */
#include "fs/remote/listing.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/remote/listing_impl.h"
#include "net/base/clock.h"

#define PAGE_LIMIT 10000     /* the API's maximum */
#define FAILED_AGAIN_MS 1000 /* after a failure the next fetch waits so long */

/*
 * A list asked for again and again (a copy of many files) is fetched this long before it expires,
 * while the previous one still answers: no caller waits.
 */
#define AHEAD_MS 500  /* at most */
#define AHEAD_SHARE 2 /* of the time for which the newest part is believed */
#define AHEAD_WHOLE_SHARE 20

/* With an age of 0 no list is: something may have changed within its millisecond. */
static bool young(const struct listing *l, uint64_t since_ms, uint64_t max_age_ms)
{
	return l->known && max_age_ms && clock_mono_ms() - since_ms <= max_age_ms;
}

/* Under lock. A failed fetch took long: do not repeat it for each caller. */
static int failed_lately(const struct listing *l)
{
	return clock_mono_ms() - l->failed_ms <= FAILED_AGAIN_MS ? l->failed : 0;
}

/* Under lock. Young enough, but not for long. */
static bool ages(const struct listing *l, uint64_t since_ms, uint64_t max_age_ms, unsigned share)
{
	uint64_t ahead = max_age_ms / share < AHEAD_MS ? max_age_ms / share : AHEAD_MS;

	return !young(l, since_ms, max_age_ms - ahead);
}

/* Under lock: what a lookup goes by is fresh, but is it time to fetch it again, or all? */
static bool due_ahead(const struct listing *l, uint64_t max_age_ms, uint64_t whole_age_ms,
		      bool *ret_whole)
{
	if (l->fetching || l->stopping || failed_lately(l))
		return false;
	*ret_whole = ages(l, l->whole_ms, whole_age_ms, AHEAD_WHOLE_SHARE);
	return *ret_whole || ages(l, l->newest_ms, max_age_ms, AHEAD_SHARE);
}

/* w: NULL if no caller waits; else consumed. */
static void want(struct listing *l, bool whole, uint64_t max_age_ms, uint64_t whole_age_ms,
		 struct waiter *w)
{
	bool start = false, fresh, known;
	int err;

	pthread_mutex_lock(&l->lock);
	whole = whole || !young(l, l->whole_ms, whole_age_ms);
	known = l->known;
	fresh = whole ? young(l, l->whole_ms, whole_age_ms) : young(l, l->newest_ms, max_age_ms);
	err = fresh ? 0 : l->stopping ? -EINTR : failed_lately(l);
	if (!fresh && !err && l->fetching && l->late)
		err = -ETIMEDOUT;
	if (!fresh && !err) {
		if (w)
			listing_add_waiter(l, w, whole, max_age_ms, whole_age_ms);
		start = !l->fetching;
		w = NULL;
		pthread_cond_signal(&l->wake);
	} else if (fresh && !whole && due_ahead(l, max_age_ms, whole_age_ms, &whole)) {
		start = true;
	}
	if (start)
		listing_note_begin(l);
	pthread_mutex_unlock(&l->lock);
	if (w) {
		w->cb(w->arg, err, known);
		free(w);
	}
	if (start)
		listing_begin(l, whole);
}

static struct waiter *waiter_new(listing_cb *cb, void *arg)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		cb(arg, -ENOMEM, false);
		return NULL;
	}
	w->cb = cb;
	w->arg = arg;
	return w;
}

void listing_want(struct listing *l, uint64_t max_age_ms, listing_cb *cb, void *arg)
{
	struct waiter *w = waiter_new(cb, arg);

	if (w)
		want(l, true, max_age_ms, max_age_ms, w);
}

void listing_want_new(struct listing *l, uint64_t max_age_ms, uint64_t whole_age_ms, listing_cb *cb,
		      void *arg)
{
	struct waiter *w = waiter_new(cb, arg);

	if (w)
		want(l, false, max_age_ms, whole_age_ms, w);
}

void listing_refresh(struct listing *l, uint64_t max_age_ms)
{
	want(l, true, max_age_ms, max_age_ms, NULL);
}

bool listing_is_fetching(struct listing *l)
{
	bool fetching;

	pthread_mutex_lock(&l->lock);
	fetching = l->fetching;
	pthread_mutex_unlock(&l->lock);
	return fetching;
}

void listing_get_progress(struct listing *l, struct listing_progress *ret)
{
	pthread_mutex_lock(&l->lock);
	*ret = l->progress;
	ret->under_way = l->fetching;
	ret->known = l->known;
	pthread_mutex_unlock(&l->lock);
}

/* ---- life ---- */

int listing_new(const struct listing_config *cfg, struct listing **ret)
{
	struct listing *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->cfg = *cfg;
	l->walk.limit_max = PAGE_LIMIT;
	pthread_mutex_init(&l->lock, NULL);
	clock_cond_init(&l->wake);
	r = -pthread_create(&l->thread, NULL, listing_thread, l);
	if (r) {
		l->stopping = true;
		listing_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void listing_stop(struct listing *l)
{
	struct waiter *w;
	bool known, before;

	pthread_mutex_lock(&l->lock);
	before = l->stopping;
	l->stopping = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	if (before)
		return;
	pthread_join(l->thread, NULL);
	pthread_mutex_lock(&l->lock);
	w = listing_take_waiters(l, true);
	known = l->known;
	pthread_mutex_unlock(&l->lock);
	listing_answer(w, -EINTR, known);
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	listing_stop(l);
	if (l->reply.there && l->reply.err.kind == API_OK) {
		free(l->reply.page.files);
		free(l->reply.page.text);
	}
	listing_drop_pages(l);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
