/*
 * The requests' side of a fetch: what is asked of the service, and what
 * becomes of its answers.
 *
 * The main stream runs from the first byte missing to the end, so a reader who
 * goes from front to back causes one request. A read far ahead of it gets a
 * stretch of its own into the same sparse file. A service that turns out to
 * ignore Range sends everything each time: stretches end then, and all wait
 * for the main stream.
 *
 * The last byte of the File counts as there only once the request that brought
 * it has ended well: then the length is known to be right, and until then no
 * read can see the end of the File.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/cache.h"
#include "fs/errmap.h"
#include "fs/fetch_impl.h"
#include "net/api.h"

#define FETCH_ROOM (256ULL << 20) /* bytes the cache gives back when the disk is full */

uint64_t fetch_missing(const struct fetch *ft, uint64_t start, uint64_t end, uint64_t *ret_lo,
		       uint64_t *ret_hi)
{
	const struct extents *x = &ft->have;
	uint64_t lo = 0, hi = ft->bytes;
	size_t i;

	for (i = 0; i < x->n; i++) {
		if (x->v[i].start > start) {
			hi = x->v[i].start;
			break;
		}
		lo = x->v[i].end;
		if (lo > start)
			start = lo;
	}
	if (start >= end)
		return end;
	if (ret_lo)
		*ret_lo = lo;
	if (ret_hi)
		*ret_hi = hi;
	return start;
}

/* The first byte that the request has not brought yet; see the last byte above. */
static uint64_t req_due(const struct fetch_req *r)
{
	return r->end == r->ft->bytes && r->got == r->end ? r->end - 1 : r->got;
}

/* The main stream that is under way, or NULL. */
static struct fetch_req *fetch_main(struct fetch *ft)
{
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		if (ft->reqs[i].active && ft->reqs[i].main && !ft->reqs[i].cancelled)
			return &ft->reqs[i];
	}
	return NULL;
}

/*
 * May stretches be asked for? Not where Range is ignored, nor in so many pieces
 * that the list of extents would begin to forget some.
 */
static bool fetch_may_stretch(const struct fetch *ft)
{
	return ft->range != FETCH_RANGE_NO && ft->have.n < EXTENTS_MAX / 2;
}

/* Is the byte at off on its way, and near? */
static bool fetch_served(struct fetch *ft, uint64_t off)
{
	const struct fetch_req *r;
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		r = &ft->reqs[i];
		if (!r->active || r->cancelled || off < req_due(r) || off >= r->end)
			continue;
		if (off - req_due(r) <= FETCH_FAR || (r->main && !fetch_may_stretch(ft)))
			return true;
	}
	return false;
}

static void req_cancel(struct fetch_req *r)
{
	r->cancelled = true;
	api_req_cancel(r->req);
}

void fetch_cancel_all(struct fetch *ft)
{
	unsigned i;

	ft->main_wanted = false;
	for (i = 0; i < FETCH_REQS; i++) {
		if (ft->reqs[i].active && !ft->reqs[i].cancelled)
			req_cancel(&ft->reqs[i]);
	}
}

/* Does a read wait for something that r is to bring? */
static bool req_wanted(const struct fetch_req *r)
{
	const struct fetch_waiter *w;
	uint64_t off;

	for (w = r->ft->waiters.head; w; w = w->next) {
		off = fetch_missing(r->ft, w->off, w->end, NULL, NULL);
		if (off >= req_due(r) && off < r->end)
			return true;
	}
	return false;
}

/* All requests are taken: ends a stretch that nobody waits for, if there is one. */
static void fetch_make_way(struct fetch *ft)
{
	struct fetch_req *r;
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		if (ft->reqs[i].cancelled)
			return; /* way is being made */
	}
	for (i = 0; i < FETCH_REQS; i++) {
		r = &ft->reqs[i];
		if (!r->main && !req_wanted(r)) {
			req_cancel(r);
			return;
		}
	}
}

static int req_data(void *arg, uint64_t offset, const void *data, size_t len);
static void req_done(void *arg, const struct api_error *err, bool ranged);

/* Takes the free request r for [start, end) and submits it. */
static int req_start(struct fetch_req *r, uint64_t start, uint64_t end, bool is_main)
{
	struct fetch *ft = r->ft;
	/* To the end without a bound, so that content that is too long shows. */
	uint64_t len = end == ft->bytes && is_main ? UINT64_MAX : end - start;

	r->cancelled = false;
	r->main = is_main;
	r->start = r->got = start;
	r->end = end;
	r->bad = NULL;
	r->req = api_file_content(ft->f->api, ft->id, start, len, req_data, req_done, r);
	if (!r->req)
		return -ENOMEM;
	r->active = true;
	ft->nbusy++;
	return 0;
}

static int main_start(struct fetch *ft, struct fetch_req *r)
{
	uint64_t start = extents_contiguous(&ft->have), hi = ft->bytes;

	fetch_missing(ft, start, ft->bytes, NULL, &hi);
	/* Where Range is honoured for sure, what is there already is left out. */
	ft->main_wanted = true;
	return req_start(r, start, ft->range == FETCH_RANGE_YES ? hi : ft->bytes, true);
}

/* A stretch around off for a read that ends at end. */
static int stretch_start(struct fetch *ft, struct fetch_req *r, uint64_t off, uint64_t end)
{
	uint64_t lo = 0, hi = ft->bytes, start = off - off % FETCH_ALIGN;

	fetch_missing(ft, off, off + 1, &lo, &hi);
	/* A reader that goes on where the last stretch ended gets a longer one. */
	if (!lo || off - lo >= FETCH_ALIGN || !ft->ahead)
		ft->ahead = FETCH_AHEAD;
	else if (ft->ahead < FETCH_AHEAD_MAX)
		ft->ahead *= 2;
	if (start < lo)
		start = lo;
	end += FETCH_ALIGN - 1;
	end = end - end % FETCH_ALIGN + ft->ahead;
	return req_start(r, start, end < hi ? end : hi, false);
}

/* The byte at off is missing and not on its way, for a read that ends at end. */
static int fetch_ask(struct fetch *ft, uint64_t off, uint64_t end)
{
	struct fetch_req *r = NULL, *stream = fetch_main(ft);
	bool far = off - extents_contiguous(&ft->have) > FETCH_FAR;
	unsigned i;

	if (stream && !fetch_may_stretch(ft))
		return 0;
	for (i = 0; i < FETCH_REQS && !r; i++) {
		if (!ft->reqs[i].active)
			r = &ft->reqs[i];
	}
	if (!r) {
		fetch_make_way(ft);
		return 0;
	}
	if (!stream && (!far || !fetch_may_stretch(ft)))
		return main_start(ft, r);
	return stretch_start(ft, r, off, end);
}

int fetch_pump(struct fetch *ft)
{
	struct fetch_waiter *w;
	int rc = 0, one;
	uint64_t off;

	if (!ft->nref)
		return 0;
	for (w = ft->waiters.head; w; w = w->next) {
		off = fetch_missing(ft, w->off, w->end, NULL, NULL);
		if (off >= w->end || fetch_served(ft, off))
			continue;
		one = fetch_ask(ft, off, w->end);
		if (one)
			rc = one;
	}
	off = extents_contiguous(&ft->have);
	if (ft->main_wanted && off < ft->bytes && !fetch_main(ft)) {
		one = fetch_ask(ft, off, off + 1);
		if (one)
			ft->main_wanted = false;
	}
	return rc;
}

void fetch_take_unserved(struct fetch *ft, struct fetch_waiters *ret)
{
	struct fetch_waiters keep;
	struct fetch_waiter *w, *next;

	fetch_waiters_init(&keep);
	for (w = ft->waiters.head; w; w = next) {
		next = w->next;
		if (fetch_served(ft, fetch_missing(ft, w->off, w->end, NULL, NULL)))
			fetch_waiters_add(&keep, w);
		else
			fetch_waiters_add(ret, w);
	}
	fetch_waiters_init(&ft->waiters);
	fetch_waiters_move(&keep, &ft->waiters);
}

/* Content was added: moves the waiters whose bytes are there to ret. */
static void take_ready(struct fetch *ft, struct fetch_waiters *ret)
{
	struct fetch_waiters keep;
	struct fetch_waiter *w, *next;

	fetch_waiters_init(&keep);
	for (w = ft->waiters.head; w; w = next) {
		next = w->next;
		fetch_waiters_add(extents_cover(&ft->have, w->off, w->end) ? ret : &keep, w);
	}
	fetch_waiters_init(&ft->waiters);
	fetch_waiters_move(&keep, &ft->waiters);
	if (ret->head)
		ft->answering = true;
	if (extents_contiguous(&ft->have) >= ft->bytes)
		ft->whole = true;
}

/* Answers those that take_ready() took; without the lock. */
static void answer_ready(struct fetch *ft, struct fetch_waiters *ready)
{
	if (!ready->head)
		return;
	fetch_waiters_answer(ready, 0, "", ft->fd);
	pthread_mutex_lock(&ft->f->lock);
	ft->answering = false;
	pthread_mutex_unlock(&ft->f->lock);
}

/*
 * Ends the requests whose rest another one has brought. Stretches that are
 * overtaken before their first byte comes are what a service that ignores Range
 * looks like: it sends what lies before the stretch first.
 */
static void cancel_overtaken(struct fetch *ft)
{
	struct fetch_req *r;
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		r = &ft->reqs[i];
		if (!r->active || r->cancelled || r->got >= r->end ||
		    !extents_cover(&ft->have, r->got, r->end))
			continue;
		if (!r->main && r->got == r->start && ft->range == FETCH_RANGE_UNKNOWN &&
		    ++ft->overtaken == FETCH_OVERTAKEN)
			ft->range = FETCH_RANGE_NO;
		req_cancel(r);
	}
}

static int content_write(struct fetch *ft, uint64_t offset, const void *data, size_t len)
{
	const char *p = data;
	bool made_room = false;
	ssize_t n;

	while (len) {
		n = pwrite(ft->fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOSPC && !made_room) {
			made_room = true;
			if (cache_shrink(ft->f->cache, FETCH_ROOM))
				continue;
			errno = ENOSPC;
		}
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int req_data(void *arg, uint64_t offset, const void *data, size_t len)
{
	struct fetch_req *r = arg;
	struct fetch *ft = r->ft;
	struct fetch_waiters ready;
	int rc;

	if (!len)
		return 0;
	/* got, end and bad belong to this thread while the request is active. */
	if (offset != r->got || len > r->end - offset) {
		r->bad = offset == r->got ? "the content is longer than the File"
					  : "the content came out of order";
		return -EIO;
	}
	rc = content_write(ft, offset, data, len);
	if (rc)
		return rc;
	fetch_waiters_init(&ready);
	pthread_mutex_lock(&ft->f->lock);
	r->got = offset + len;
	rc = extents_add(&ft->have, offset, r->got < ft->bytes ? r->got : req_due(r));
	if (!rc) {
		take_ready(ft, &ready);
		cancel_overtaken(ft);
	}
	pthread_mutex_unlock(&ft->f->lock);
	answer_ready(ft, &ready);
	return rc;
}

/* A stretch was refused in a way that a whole content need not be. */
static bool range_refused(const struct fetch_req *r, const struct api_error *err)
{
	if (r->main || !r->start)
		return false;
	if (err->kind == API_ERR_BAD_REPLY)
		return true;
	return err->kind == API_ERR_HTTP && (err->http_status == 400 || err->http_status == 405 ||
					     err->http_status == 416 || err->http_status == 501);
}

/* r brought all that it was asked for: takes what that teaches. Under lock. */
static int req_complete(struct fetch_req *r, bool ranged)
{
	struct fetch *ft = r->ft;

	if (r->start)
		ft->range = ranged ? FETCH_RANGE_YES : FETCH_RANGE_NO;
	return r->end == ft->bytes ? extents_add(&ft->have, r->end - 1, r->end) : 0;
}

/* What the end of r means to those who wait for it: an errno and a text, or 0. Under lock. */
static int req_outcome(struct fetch_req *r, const struct api_error *err, bool ranged,
		       char text[FETCH_TEXT])
{
	int rc;

	if (r->bad) {
		snprintf(text, FETCH_TEXT, "%s: %" PRIu64 " bytes expected", r->bad, r->ft->bytes);
		return -EIO;
	}
	if (err->kind == API_OK && r->got == r->end) {
		rc = req_complete(r, ranged);
		if (rc)
			snprintf(text, FETCH_TEXT, "out of memory");
		return rc;
	}
	if (r->cancelled)
		return 0;
	if (err->kind == API_OK) {
		snprintf(text, FETCH_TEXT, "the content ended at byte %" PRIu64 " of %" PRIu64,
			 r->got, r->end);
		return -EIO;
	}
	if (range_refused(r, err)) {
		r->ft->range = FETCH_RANGE_NO;
		return 0;
	}
	errmap_text(err, ERRMAP_READ, text, FETCH_TEXT);
	rc = errmap(err, ERRMAP_READ);
	return rc ? rc : -EIO;
}

/* Under lock: r failed; its waiters go to failed, unless another request brings theirs. */
static void req_fail(struct fetch_req *r, bool all, struct fetch_waiters *failed)
{
	struct fetch *ft = r->ft;
	struct fetch_waiters keep;
	struct fetch_waiter *w, *next;
	uint64_t off;

	if (r->main)
		ft->main_wanted = false;
	fetch_waiters_init(&keep);
	for (w = ft->waiters.head; w; w = next) {
		next = w->next;
		off = fetch_missing(ft, w->off, w->end, NULL, NULL);
		if (all || (off >= req_due(r) && off < r->end && !fetch_served(ft, off)))
			fetch_waiters_add(failed, w);
		else
			fetch_waiters_add(&keep, w);
	}
	fetch_waiters_init(&ft->waiters);
	fetch_waiters_move(&keep, &ft->waiters);
}

static void req_done(void *arg, const struct api_error *err, bool ranged)
{
	struct fetch_req *r = arg;
	struct fetch *ft = r->ft;
	struct fetch_waiters ready, failed, stuck;
	char text[FETCH_TEXT] = "";
	/* The api goes down: nothing new can be asked of it. */
	bool over = err->kind == API_ERR_CANCELLED && !r->cancelled;
	int rc, pump_rc = 0;

	fetch_waiters_init(&ready);
	fetch_waiters_init(&failed);
	fetch_waiters_init(&stuck);
	pthread_mutex_lock(&ft->f->lock);
	r->active = false;
	api_req_unref(r->req);
	r->req = NULL;
	rc = req_outcome(r, err, ranged, text);
	take_ready(ft, &ready);
	if (rc)
		req_fail(r, over, &failed);
	if (!over)
		pump_rc = fetch_pump(ft);
	if (pump_rc)
		fetch_take_unserved(ft, &stuck);
	pthread_mutex_unlock(&ft->f->lock);
	answer_ready(ft, &ready);
	fetch_waiters_answer(&failed, rc, text, -1);
	fetch_waiters_answer(&stuck, pump_rc, "cannot start a request", -1);
	fetch_put(ft);
}
