/*
 * Live Parts: a Part that leaves while it is being written, so that little is left to
 * send at the close. On the publisher thread, but publish_live_read().
 *
 * One at a time for each file, the first that is not there yet. It is sent once: where
 * that fails, where it had to give way to Parts that are there, or where bytes of it
 * were written again, it waits until it is whole, as any other.
 */
#include "fs/publish/publish_impl.h"
#include "fs/stage/area.h"
#include "net/base/log.h"

#define LIVE_MISSES_MAX 3 /* Parts sent in vain, after which an Upload has no more of them */

/* The first Part that is neither there nor on its way; part_count: none. */
static uint32_t first_missing(const struct publish *p)
{
	uint64_t start, end;
	uint32_t i;

	for (i = 0; i < p->part_count; i++) {
		if (p->parts[i].state != PART_NONE)
			continue;
		publish_part_range(p, i, &start, &end);
		if (!staged_covered(p->staged, start, end))
			break;
	}
	return i;
}

bool publish_live_find(struct publish *p)
{
	uint64_t start, end, filled, step = p->pr->cfg.live_step;
	uint32_t i;

	if (p->live.on || p->live.misses >= LIVE_MISSES_MAX || p->pr->cfg.part_size < 2 * step)
		return false;
	i = first_missing(p);
	if (i == p->part_count || p->parts[i].missed)
		return false;
	if (i && publish_in_sequence(p) && p->parts[i - 1].state != PART_SENT)
		return false;
	publish_part_range(p, i, &start, &end);
	p->live.index = i;
	/* Also has us called when the first bytes of it are there. */
	p->live.watch = staged_watch(p->staged, start, end, step);
	filled = staged_watch_filled(p->staged, p->live.watch);
	return filled >= step && end - start - filled >= step;
}

uint64_t publish_live_read(void *arg, uint64_t at)
{
	const struct publish_live_reader *r = arg;

	return staged_watch_read(r->staged, r->watch, at);
}

void publish_live_look(struct publish *p)
{
	if (!p->live.on)
		return;
	switch (staged_watch_news(p->staged, p->live.watch)) {
	case STAGED_NEWS_TORN:
		api_req_cancel(p->parts[p->live.index].req);
		break;
	case STAGED_NEWS_MORE:
		api_part_feed(p->parts[p->live.index].req);
		break;
	case STAGED_NEWS_NONE:
		break;
	}
}

bool publish_live_ended(struct publish *p, const struct event *ev, uint32_t *ret_version)
{
	bool right = ev->api_err.kind == API_OK &&
		     staged_watch_right(p->staged, p->live.watch, ret_version);

	p->live.on = false;
	if (right)
		return true;
	p->parts[ev->index].missed = true;
	p->live.misses++;
	log_debug("%s/%s: Part %u could not leave while it was written: %s", p->now.purpose,
		  p->now.path, ev->index,
		  ev->api_err.kind == API_OK ? "it was written again" : ev->api_err.message);
	return false;
}
