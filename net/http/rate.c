#include "net/http/rate.h"

#include "net/base/clock.h"

void http_rate_init(struct http_rate *r, uint64_t rate)
{
	TAILQ_INIT(&r->queue);
	bucket_init(&r->bucket, rate, clock_mono_ms());
}

static void join(struct http_rate *r, struct http_turn *t)
{
	if (t->queued_at)
		return;
	TAILQ_INSERT_TAIL(&r->queue, t, link);
	t->queued_at = r;
}

/* Grants t a share, unless others wait for theirs. */
static void give(struct http_rate *r, struct http_turn *t, size_t want)
{
	if (!t->queued_at && TAILQ_EMPTY(&r->queue))
		t->granted = bucket_take(&r->bucket, clock_mono_ms(), want);
	if (!t->granted)
		join(r, t);
}

size_t http_rate_send(struct http_rate *up, struct http_turn *t, size_t want)
{
	if (!up->bucket.rate)
		return want;
	if (!t->granted)
		give(up, t, want);
	if (want > t->granted)
		want = t->granted;
	t->granted -= want;
	return want;
}

bool http_rate_receive(struct http_rate *down, struct http_turn *t, size_t len)
{
	bool free_to = t->let || (!t->queued_at && TAILQ_EMPTY(&down->queue));

	if (!down->bucket.rate)
		return true;
	t->let = false;
	if (free_to && bucket_owe(&down->bucket, clock_mono_ms(), len))
		return true;
	join(down, t);
	return false;
}

static void leave_queue(struct http_turn *t)
{
	if (t->queued_at)
		TAILQ_REMOVE(&t->queued_at->queue, t, link);
	t->queued_at = NULL;
}

void http_rate_leave(struct http_rate *up, struct http_turn *t)
{
	leave_queue(t);
	bucket_return(&up->bucket, t->granted);
	t->granted = 0;
}

static struct http_turn *next_turn(struct http_rate *r, uint64_t now)
{
	struct http_turn *t = TAILQ_FIRST(&r->queue);

	if (!t || bucket_when(&r->bucket, now) > now)
		return NULL;
	leave_queue(t);
	return t;
}

struct http_xfer *http_rate_next_up(struct http_rate *up, uint64_t now)
{
	struct http_turn *t = next_turn(up, now);

	if (!t)
		return NULL;
	t->granted = bucket_take(&up->bucket, clock_mono_ms(), bucket_share(&up->bucket));
	return t->xfer;
}

struct http_xfer *http_rate_next_down(struct http_rate *down, uint64_t now)
{
	struct http_turn *t = next_turn(down, now);

	if (!t)
		return NULL;
	t->let = true;
	return t->xfer;
}

uint64_t http_rate_due(struct http_rate *r, uint64_t now)
{
	return TAILQ_EMPTY(&r->queue) ? UINT64_MAX : bucket_when(&r->bucket, now);
}
