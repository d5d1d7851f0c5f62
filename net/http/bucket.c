#include "net/http/bucket.h"

#define SHARES 32U	      /* in a second's worth */
#define SHARE_MIN 1024U	      /* bytes: less would be all headers */
#define SHARE_MAX (64U << 10) /* more gains nothing */
#define FULL_PARTS 8U	      /* a bucket holds this fraction of a second's bytes */
#define MILLI 1000	      /* of struct bucket's bytes */

size_t bucket_share(const struct bucket *b)
{
	uint64_t share = b->rate / SHARES;

	if (!b->rate)
		return SIZE_MAX;
	return share < SHARE_MIN ? SHARE_MIN : share > SHARE_MAX ? SHARE_MAX : (size_t)share;
}

void bucket_init(struct bucket *b, uint64_t rate, uint64_t now)
{
	uint64_t full = rate / FULL_PARTS;

	*b = (struct bucket){ .rate = rate, .at = now };
	/* Twice: with a share in it, what comes until somebody looks is not lost. */
	if (rate && full < 2 * bucket_share(b))
		full = 2 * bucket_share(b);
	b->full = (int64_t)(full * MILLI);
}

/* Adds the bytes since the last call. A byte a second is a thousandth of one in a millisecond. */
static void fill(struct bucket *b, uint64_t now)
{
	uint64_t ms = now > b->at ? now - b->at : 0;

	b->at += ms;
	if (b->rate && ms > (uint64_t)(b->full - b->level) / b->rate)
		b->level = b->full;
	else
		b->level += (int64_t)(b->rate * ms);
}

size_t bucket_take(struct bucket *b, uint64_t now, size_t want)
{
	size_t share = bucket_share(b), there;

	if (!b->rate)
		return want;
	fill(b, now);
	there = b->level > 0 ? (size_t)(b->level / MILLI) : 0;
	if (want > share)
		want = share;
	if (there < want)
		return 0;
	b->level -= (int64_t)want * MILLI;
	return want;
}

bool bucket_owe(struct bucket *b, uint64_t now, size_t len)
{
	if (!b->rate)
		return true;
	fill(b, now);
	if (b->level < 0)
		return false;
	b->level -= (int64_t)len * MILLI;
	return true;
}

void bucket_return(struct bucket *b, size_t len)
{
	b->level += (int64_t)len * MILLI;
	if (b->level > b->full)
		b->level = b->full;
}

uint64_t bucket_when(struct bucket *b, uint64_t now)
{
	int64_t lacks;

	if (!b->rate)
		return now;
	fill(b, now);
	lacks = (int64_t)bucket_share(b) * MILLI - b->level;
	return lacks <= 0 ? now : now + ((uint64_t)lacks + b->rate - 1) / b->rate;
}
