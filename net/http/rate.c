/*
 * At most so many bytes a second, over all transfers. curl's own limit is one connection's: here
 * one bucket is given out in turns, each a small share, and who gets none waits in a queue.
 */
#include "net/base/clock.h"
#include "net/http/http_impl.h"

void http_rate_init(struct http_rate *r, uint64_t rate)
{
	TAILQ_INIT(&r->queue);
	bucket_init(&r->bucket, rate, clock_mono_ms());
}

static void join(struct http_rate *r, struct http_xfer *x)
{
	if (x->queued_at)
		return;
	TAILQ_INSERT_TAIL(&r->queue, x, rate_link);
	x->queued_at = r;
}

/* A share of its own for x, unless others wait for theirs. */
static void give(struct http_rate *r, struct http_xfer *x, size_t want)
{
	if (!x->queued_at && TAILQ_EMPTY(&r->queue))
		x->granted = bucket_take(&r->bucket, clock_mono_ms(), want);
	if (!x->granted)
		join(r, x);
}

size_t http_rate_send(struct http_xfer *x, size_t want)
{
	struct http_rate *r = &x->http->up_rate;

	if (!r->bucket.rate)
		return want;
	if (!x->granted)
		give(r, x, want);
	if (want > x->granted)
		want = x->granted;
	x->granted -= want;
	return want;
}

bool http_rate_receive(struct http_xfer *x, size_t len)
{
	struct http_rate *r = &x->http->down_rate;
	bool free_to = x->let || (!x->queued_at && TAILQ_EMPTY(&r->queue));

	if (!r->bucket.rate)
		return true;
	x->let = false;
	if (free_to && bucket_owe(&r->bucket, clock_mono_ms(), len))
		return true;
	join(r, x);
	return false;
}

static void leave_queue(struct http_xfer *x)
{
	if (x->queued_at)
		TAILQ_REMOVE(&x->queued_at->queue, x, rate_link);
	x->queued_at = NULL;
}

void http_rate_leave(struct http_xfer *x)
{
	leave_queue(x);
	bucket_return(&x->http->up_rate.bucket, x->granted);
	x->granted = 0;
}

bool http_rate_waits(const struct http_xfer *x)
{
	return x->queued_at != NULL;
}

static CURLcode go_on_sending(struct http_xfer *x)
{
	struct bucket *b = &x->http->up_rate.bucket;

	x->granted = bucket_take(b, clock_mono_ms(), bucket_share(b));
	return http_xfer_resume(x);
}

static CURLcode go_on_receiving(struct http_xfer *x)
{
	x->let = true;
	/* What curl kept of the reply is handed over in here, so it may fail in here. */
	return curl_easy_pause(x->easy, CURLPAUSE_CONT);
}

/* Lets those go on whose turn it is; when to look again. */
static uint64_t take_turns(struct http_rate *r, bool up, uint64_t now)
{
	struct http_xfer *x;
	CURLcode code;

	while ((x = TAILQ_FIRST(&r->queue)) && bucket_when(&r->bucket, now) <= now) {
		leave_queue(x);
		code = up ? go_on_sending(x) : go_on_receiving(x);
		if (code)
			http_finish(x, code);
	}
	return x ? bucket_when(&r->bucket, now) : UINT64_MAX;
}

uint64_t http_rate_turn(struct http *h, uint64_t now)
{
	uint64_t up = take_turns(&h->up_rate, true, now),
		 down = take_turns(&h->down_rate, false, now);

	return up < down ? up : down;
}
