#include "fs/work/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void extents_init(struct extents *x)
{
	memset(x, 0, sizeof(*x));
	x->max = EXTENTS_MAX;
}

void extents_allow(struct extents *x, size_t max)
{
	x->max = max;
}

void extents_release(struct extents *x)
{
	free(x->v);
	extents_init(x);
}

/* Index of the first extent that ends at or after pos; n when there is none. */
static size_t first_reaching(const struct extents *x, uint64_t pos)
{
	size_t lo = 0, hi = x->n, mid;

	/* Nearly every write continues the last extent. */
	if (hi && x->v[hi - 1].start <= pos)
		return x->v[hi - 1].end >= pos ? hi - 1 : hi;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (x->v[mid].end < pos)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Room for one more than the maximum: what is too many is cut off afterwards. */
static int reserve_one(struct extents *x)
{
	size_t cap = x->cap ? x->cap * 2 : 8;
	struct extent *v;

	if (x->n < x->cap)
		return 0;
	if (cap > x->max + 1)
		cap = x->max + 1;
	v = realloc(x->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	x->v = v;
	x->cap = cap;
	return 0;
}

static int insert_at(struct extents *x, size_t i, uint64_t start, uint64_t end)
{
	int rc = reserve_one(x);

	if (rc)
		return rc;
	memmove(x->v + i + 1, x->v + i, (x->n - i) * sizeof(*x->v));
	x->v[i].start = start;
	x->v[i].end = end;
	x->n++;
	if (x->n > x->max)
		x->n = x->max;
	return 0;
}

/* Drops the extents [from, to). */
static void drop(struct extents *x, size_t from, size_t to)
{
	if (from >= to)
		return;
	memmove(x->v + from, x->v + to, (x->n - to) * sizeof(*x->v));
	x->n -= to - from;
}

int extents_add(struct extents *x, uint64_t start, uint64_t end)
{
	size_t i, last;

	if (start >= end)
		return 0;
	i = first_reaching(x, start);
	if (i == x->n || x->v[i].start > end)
		return insert_at(x, i, start, end);
	/* Swallow every extent that the new one overlaps or touches. */
	last = i;
	while (last + 1 < x->n && x->v[last + 1].start <= end)
		last++;
	if (start < x->v[i].start)
		x->v[i].start = start;
	if (end < x->v[last].end)
		end = x->v[last].end;
	if (end > x->v[i].end)
		x->v[i].end = end;
	drop(x, i + 1, last + 1);
	return 0;
}

int extents_remove(struct extents *x, uint64_t start, uint64_t end)
{
	size_t i, to;
	uint64_t tail;
	int rc;

	if (start >= end)
		return 0;
	i = first_reaching(x, start);
	if (i < x->n && x->v[i].end == start)
		i++;
	if (i < x->n && x->v[i].start < start) {
		tail = x->v[i].end;
		if (tail > end) {
			rc = insert_at(x, i + 1, end, tail);
			if (rc)
				return rc;
		}
		x->v[i].end = start;
		i++;
	}
	for (to = i; to < x->n && x->v[to].end <= end; to++)
		;
	if (to < x->n && x->v[to].start < end)
		x->v[to].start = end;
	drop(x, i, to);
	return 0;
}

bool extents_cover(const struct extents *x, uint64_t start, uint64_t end)
{
	size_t i;

	if (start >= end)
		return true;
	/* If it ends at start, no other begins there: extents are not adjacent. */
	i = first_reaching(x, start);
	return i < x->n && x->v[i].start <= start && x->v[i].end >= end;
}

uint64_t extents_gap(const struct extents *x, uint64_t start, uint64_t limit, uint64_t *ret_lo,
		     uint64_t *ret_hi)
{
	size_t i = first_reaching(x, start);

	*ret_lo = i ? x->v[i - 1].end : 0;
	if (i < x->n && x->v[i].start <= start) {
		start = *ret_lo = x->v[i].end;
		i++;
	}
	*ret_hi = i < x->n ? x->v[i].start : limit;
	return start;
}

uint64_t extents_end(const struct extents *x, uint64_t start)
{
	size_t i = first_reaching(x, start);

	return i < x->n && x->v[i].start <= start ? x->v[i].end : start;
}

uint64_t extents_contiguous(const struct extents *x)
{
	return x->n && x->v[0].start == 0 ? x->v[0].end : 0;
}
