/*
 * The last byte of the File counts as there only once the request that brought
 * it has ended well: then the length is known to be right, and until then no
 * read can see the end of the File.
 */
#include "fs/content/fetch_reply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/content/fetch_life.h"
#include "fs/content/fetch_room.h"
#include "fs/content/fetch_shared.h"
#include "fs/remote/errmap.h"
#include "net/api/api.h"

#define FETCH_TEXT 512

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

/* Answers the waiters that take_ready() took; without the lock. */
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
 * The service sends everything whatever it is asked for: r, which gets it, is
 * the stream from now on, and the only request.
 */
static void become_stream(struct fetch_req *r)
{
	struct fetch *ft = r->ft;

	ft->range = FETCH_RANGE_NO;
	ft->f->ranges = false;
	r->stream = true;
	r->start = r->got = 0;
	r->end = ft->bytes;
	fetch_req_cancel_all(ft, r);
}

static void range_honoured(struct fetch *ft)
{
	ft->range = FETCH_RANGE_YES;
	ft->f->ranges = true;
}

/*
 * Notes what the start of r's content tells of the service, and how much of it is r's. 0, or -EIO
 * and r->bad. Under lock.
 */
static int req_take(struct fetch_req *r, uint64_t offset, size_t *len)
{
	bool first = r->got == r->start;

	if (first && !offset && r->start)
		become_stream(r);
	else if (first && r->start && r->ft->range == FETCH_RANGE_UNKNOWN)
		range_honoured(r->ft);
	if (offset != r->got) {
		r->bad = "the content came out of order";
		return -EIO;
	}
	/* Other requests bring the rest. */
	if (r->split && r->end - offset <= *len)
		*len = (size_t)(r->end - offset);
	/* More than was asked for, so everything. Ranges not from byte 0 on don't come here. */
	if (*len > r->end - offset && r->end < r->ft->bytes) {
		become_stream(r);
		r->got = offset;
	}
	if (*len > r->end - offset) {
		r->bad = "the content is longer than the File";
		return -EIO;
	}
	return 0;
}

static int content_write(struct fetch *ft, uint64_t offset, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len) {
		n = pwrite(ft->fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes up to end stand in the file. Under lock. */
static int req_progress(struct fetch_req *r, uint64_t offset, uint64_t end)
{
	struct fetch *ft = r->ft;
	int rc;

	r->got = end;
	rc = extents_add(&ft->have, offset, end < ft->bytes ? end : ft->bytes - 1);
	if (r->split && r->got >= r->end && !r->cancelled)
		fetch_req_cancel(r);
	return rc;
}

int fetch_reply_data(void *arg, uint64_t offset, const void *data, size_t len)
{
	struct fetch_req *r = arg;
	struct fetch *ft = r->ft;
	struct fetch_waiters ready;
	int rc;

	if (!len)
		return 0;
	pthread_mutex_lock(&ft->f->lock);
	rc = r->cancelled ? -ECANCELED : req_take(r, offset, &len);
	pthread_mutex_unlock(&ft->f->lock);
	/* Split at this very place: all of it is another's, and this one ends. */
	if (!rc && len)
		rc = content_write(ft, offset, data, len);
	/* To make room takes seconds: end the request, and go on from here when that is done. */
	r->no_room = rc == -ENOSPC;
	if (rc)
		return rc;
	fetch_waiters_init(&ready);
	pthread_mutex_lock(&ft->f->lock);
	rc = req_progress(r, offset, offset + len);
	fetch_shared_progress(ft, len);
	if (!rc)
		take_ready(ft, &ready);
	pthread_mutex_unlock(&ft->f->lock);
	answer_ready(ft, &ready);
	return rc;
}

/* A range was refused in a way that a whole content need not be. */
static bool range_refused(const struct fetch_req *r, const struct api_error *err)
{
	if (r->stream || !r->start)
		return false;
	/* 416 without a word on the size looks like an end. */
	if (err->kind == API_OK && r->got == r->start)
		return r->ft->range != FETCH_RANGE_YES;
	if (err->kind == API_ERR_BAD_REPLY)
		return true;
	return err->kind == API_ERR_HTTP && (err->http_status == 400 || err->http_status == 405 ||
					     err->http_status == 416 || err->http_status == 501);
}

/* r brought all its bytes: notes whether Range was honoured. Under lock. */
static int req_complete(struct fetch_req *r, bool ranged)
{
	struct fetch *ft = r->ft;

	if (ranged)
		range_honoured(ft);
	else if (r->start)
		ft->range = FETCH_RANGE_NO;
	return r->end == ft->bytes ? extents_add(&ft->have, r->end - 1, r->end) : 0;
}

/* Returns the outcome of r for its waiters: an errno with a text, or 0. Under lock. */
static int req_outcome(struct fetch_req *r, const struct api_error *err, bool ranged,
		       char text[FETCH_TEXT])
{
	int rc;

	if (r->bad) {
		snprintf(text, FETCH_TEXT, "%s: %" PRIu64 " bytes expected", r->bad, r->ft->bytes);
		return -EIO;
	}
	if (err->kind == API_OK && r->got >= r->end) {
		rc = req_complete(r, ranged);
		if (rc)
			snprintf(text, FETCH_TEXT, "out of memory");
		return rc;
	}
	if (r->cancelled)
		return 0;
	if (range_refused(r, err)) {
		r->ft->range = FETCH_RANGE_NO;
		return 0;
	}
	if (err->kind == API_OK) {
		snprintf(text, FETCH_TEXT, "the content ended at byte %" PRIu64 " of %" PRIu64,
			 r->got, r->ft->bytes);
		return -EIO;
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

	fetch_calm_down(ft);
	fetch_waiters_init(&keep);
	for (w = ft->waiters.head; w; w = next) {
		next = w->next;
		off = fetch_missing(ft, w->off, w->end);
		if (all || (off >= fetch_req_due(r) && off < r->end && !fetch_served(ft, off)))
			fetch_waiters_add(failed, w);
		else
			fetch_waiters_add(&keep, w);
	}
	fetch_waiters_init(&ft->waiters);
	fetch_waiters_move(&keep, &ft->waiters);
}

void fetch_reply_done(void *arg, const struct api_error *err, bool ranged)
{
	struct fetch_req *r = arg;
	struct fetch *ft = r->ft;
	struct fetch_waiters ready, failed, stuck;
	char text[FETCH_TEXT] = "";
	/* The api goes down: nothing new can be asked of it. */
	bool over = err->kind == API_ERR_CANCELLED && !r->cancelled;
	bool room = r->no_room && !over && !r->cancelled;
	int rc, pump_rc = 0;

	fetch_waiters_init(&ready);
	fetch_waiters_init(&failed);
	fetch_waiters_init(&stuck);
	pthread_mutex_lock(&ft->f->lock);
	r->active = false;
	api_req_unref(r->req);
	r->req = NULL;
	r->no_room = false;
	ft->wants_room = ft->wants_room || room;
	rc = room ? 0 : req_outcome(r, err, ranged, text);
	take_ready(ft, &ready);
	fetch_shared_store(ft);
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
	if (room)
		fetch_room_ask(ft->f);
	fetch_put(ft);
}
