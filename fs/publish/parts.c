/*
 * The Parts of an Upload: choose the next one and hand it to the API. Publisher thread, but
 * on_part(), which only posts, and publish_live_read(), which reads for the network thread.
 *
 * A live Part leaves while it is written, so that little is left to send at the close. A file has
 * one at a time, its first missing Part, and sends it live once. If that fails, if ready Parts take
 * its place, or if its bytes are rewritten, the Part is sent as any other once it is complete.
 */
#include "fs/publish/parts.h"

#include <stdio.h>

#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define LIVE_MISSES_MAX 3 /* live Parts sent in vain before the Upload sends no more */

bool publish_part_is_ready(const struct publish *p, uint32_t i, bool sealed)
{
	uint64_t start, end;

	if (p->parts.v[i].state != PART_NONE)
		return false;
	if (i && publish_in_sequence(p) && p->parts.v[i - 1].state != PART_SENT)
		return false;
	publish_part_range(p, i, &start, &end);
	return sealed || staged_covered(p->staged, start, end);
}

/* On the network thread. */
static void on_part(void *arg, const struct api_error *err, const struct api_part *part)
{
	struct event *ev = publish_call_reply(arg, err);

	if (part)
		snprintf(ev->id, sizeof(ev->id), "%s", part->id);
	publish_post_reply(arg, ev);
}

/* Hand Part i to the queue: it is complete, or live. */
static void send_part(struct publish *p, uint32_t i, bool live)
{
	struct api_part_body body = { .fairness = (uintptr_t)p,
				      /* p lives until the callback: the call has a reference */
				      .moving = &p->parts.moving };
	struct publish_call *c = publish_call_new(p, EV_PART);
	uint64_t end;

	if (!c) {
		publish_fail_memory(p);
		return;
	}
	/* Opened with the call's reference, so that it stays open. */
	body.fd = staged_fd(p->staged);
	if (body.fd < 0) {
		publish_call_free(c);
		publish_fail_local(p, body.fd, "opening the staged file");
		return;
	}
	publish_part_range(p, i, &body.offset, &end);
	body.len = end - body.offset;
	c->index = i;
	/* Take the version before any byte is read: later changes show. */
	c->version = publish_part_version(p, i);
	if (live) {
		c->reader = (struct publish_live_reader){ p->staged, p->parts.live.watch };
		body.ready = publish_live_read;
		body.ready_arg = &c->reader;
	}
	publish_save_step(p);
	p->parts.v[i].req = api_part_add(p->pr->cfg.api, p->upload.id, &body, on_part, c);
	if (!p->parts.v[i].req) {
		publish_call_free(c);
		publish_fail_memory(p);
		return;
	}
	p->parts.v[i].state = PART_SENDING;
	p->parts.live.on |= live;
	if (!p->parts.sending_ms)
		p->parts.sending_ms = clock_mono_ms();
	p->parts.sending++;
}

void publish_act_send(struct publish *p)
{
	bool sealed = publish_sealed(p);
	uint32_t i = 0;

	while (i < p->parts.count && !publish_part_is_ready(p, i, sealed))
		i++;
	if (i < p->parts.count)
		send_part(p, i, false);
}

void publish_act_send_live(struct publish *p)
{
	send_part(p, p->parts.live.index, true);
}

/* The first Part that is not complete, nor sent or under way; parts.count: none. */
static uint32_t first_missing(const struct publish *p)
{
	uint64_t start, end;
	uint32_t i;

	for (i = 0; i < p->parts.count; i++) {
		if (p->parts.v[i].state != PART_NONE)
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

	if (p->parts.live.on || p->parts.live.misses >= LIVE_MISSES_MAX ||
	    p->pr->cfg.part_size < 2 * step)
		return false;
	i = first_missing(p);
	if (i == p->parts.count || p->parts.v[i].missed)
		return false;
	if (i && publish_in_sequence(p) && p->parts.v[i - 1].state != PART_SENT)
		return false;
	publish_part_range(p, i, &start, &end);
	p->parts.live.index = i;
	/* The watch also calls on_fill when its first bytes are written. */
	p->parts.live.watch = staged_watch(p->staged, start, end, step);
	filled = staged_watch_filled(p->staged, p->parts.live.watch);
	return filled >= step && end - start - filled >= step;
}

uint64_t publish_live_read(void *arg, uint64_t at)
{
	const struct publish_live_reader *r = arg;

	return staged_watch_read(r->staged, r->watch, at);
}

void publish_live_look(struct publish *p)
{
	if (!p->parts.live.on)
		return;
	switch (staged_watch_news(p->staged, p->parts.live.watch)) {
	case STAGED_NEWS_TORN:
		api_req_cancel(p->parts.v[p->parts.live.index].req);
		break;
	case STAGED_NEWS_MORE:
		api_part_feed(p->parts.v[p->parts.live.index].req);
		break;
	case STAGED_NEWS_NONE:
		break;
	}
}

bool publish_live_ended(struct publish *p, const struct event *ev, uint32_t *ret_version)
{
	bool right = ev->api_err.kind == API_OK &&
		     staged_watch_right(p->staged, p->parts.live.watch, ret_version);

	p->parts.live.on = false;
	if (right)
		return true;
	p->parts.v[ev->index].missed = true;
	p->parts.live.misses++;
	log_debug("%s/%s: Part %u could not leave while it was written: %s", p->now.purpose,
		  p->now.path, ev->index,
		  ev->api_err.kind == API_OK ? "it was written again" : ev->api_err.message);
	return false;
}
