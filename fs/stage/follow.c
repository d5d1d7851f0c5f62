/*
 * The watch of a staged file: a reader of bytes that are being written.
 *
 * Bytes offered to the reader count as read at once: a write that lands while they are read ends
 * later (staged_write_end()) and tears them.
 */
#include "fs/stage/follow.h"

#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"
#include "fs/stage/version.h"

#define NOBODY UINT64_MAX /* the reader does not wait */

/* st->lock is held up to staged_watch(). */

/* The end of the readable bytes, by whole steps: small writes must not become small reads. */
static uint64_t limit_now(const struct staged *st)
{
	const struct staged_watch *w = &st->watch;
	uint64_t limit;

	if (staged_final(st) && w->end <= st->size)
		return w->end;
	limit = extents_end(&st->written, w->start);
	return limit >= w->end ? w->end : limit - (limit - w->start) % w->step;
}

bool staged_watch_due(struct staged *st)
{
	struct staged_watch *w = &st->watch;

	if (!w->id || w->at == NOBODY || w->called || limit_now(st) <= w->at)
		return false;
	w->called = true;
	return true;
}

void staged_watch_touch(struct staged *st, uint64_t start, uint64_t end)
{
	struct staged_watch *w = &st->watch;

	if (w->id && start < w->told && end > w->start)
		w->torn = true;
}

uint32_t staged_watch(struct staged *st, uint64_t start, uint64_t end, uint64_t step)
{
	struct staged_watch *w = &st->watch;
	uint32_t id;

	pthread_mutex_lock(&st->lock);
	/* The same watch, nothing read yet: keep it, and do not call on_fill twice. */
	if (w->id && w->start == start && w->end == end && w->told == start && !w->torn) {
		id = w->id;
	} else {
		id = w->id + 1 ? w->id + 1 : 1;
		*w = (struct staged_watch){ .id = id,
					    .start = start,
					    .end = end,
					    .step = step,
					    .at = start,
					    .told = start };
	}
	pthread_mutex_unlock(&st->lock);
	return id;
}

uint64_t staged_watch_filled(struct staged *st, uint32_t id)
{
	uint64_t ret = 0;

	pthread_mutex_lock(&st->lock);
	if (st->watch.id == id)
		ret = limit_now(st) - st->watch.start;
	pthread_mutex_unlock(&st->lock);
	return ret;
}

uint64_t staged_watch_read(struct staged *st, uint32_t id, uint64_t at)
{
	struct staged_watch *w = &st->watch;
	uint64_t limit, ret = 0;

	pthread_mutex_lock(&st->lock);
	if (w->id == id) {
		limit = limit_now(st);
		ret = limit - w->start;
		if (limit > w->told)
			w->told = limit;
		if (ret <= at && limit < w->end) {
			w->at = limit;
			w->called = false;
		}
	}
	pthread_mutex_unlock(&st->lock);
	return ret;
}

enum staged_news staged_watch_news(struct staged *st, uint32_t id)
{
	struct staged_watch *w = &st->watch;
	enum staged_news ret = STAGED_NEWS_NONE;
	uint64_t limit;

	pthread_mutex_lock(&st->lock);
	if (w->id == id) {
		limit = limit_now(st);
		if (w->torn) {
			ret = STAGED_NEWS_TORN;
		} else if ((w->at != NOBODY && limit > w->at) || (limit == w->end && !w->whole)) {
			ret = STAGED_NEWS_MORE;
			w->at = NOBODY;
			w->whole = limit == w->end;
		}
	}
	pthread_mutex_unlock(&st->lock);
	return ret;
}

bool staged_watch_right(struct staged *st, uint32_t id, uint32_t *ret_version)
{
	const struct staged_watch *w = &st->watch;
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = w->id == id && !w->torn && w->told == w->end;
	if (ret)
		*ret_version = staged_version_locked(st, w->start, w->end);
	pthread_mutex_unlock(&st->lock);
	return ret;
}
