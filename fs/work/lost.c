#include "fs/work/lost.h"

#define RANGES_MAX 1024 /* failures; what is written between them makes more */

void lost_clear(struct lost *x)
{
	extents_release(&x->ranges);
	x->all = false;
	x->err = 0;
}

void lost_add(struct lost *x, uint64_t off, uint64_t len, int err)
{
	if (!x->err)
		extents_init(&x->ranges);
	x->err = err;
	if (x->ranges.n >= RANGES_MAX || extents_add(&x->ranges, off, off + len))
		x->all = true;
}

void lost_mend(struct lost *x, uint64_t off, uint64_t len)
{
	/* One more range would push the last one out. */
	if (x->all || x->ranges.n >= EXTENTS_MAX)
		return;
	/* Without memory it stays lost. */
	extents_remove(&x->ranges, off, len > UINT64_MAX - off ? UINT64_MAX : off + len);
	if (!x->ranges.n)
		lost_clear(x);
}

void lost_cut(struct lost *x, uint64_t size)
{
	if (size)
		lost_mend(x, size, UINT64_MAX);
	else
		lost_clear(x);
}

void lost_move(struct lost *x, struct lost *from)
{
	for (size_t k = 0; k < from->ranges.n; k++)
		lost_add(x, from->ranges.v[k].start,
			 from->ranges.v[k].end - from->ranges.v[k].start, from->err);
	if (from->all) {
		lost_add(x, 0, 0, from->err);
		x->all = true;
	}
	lost_clear(from);
}
