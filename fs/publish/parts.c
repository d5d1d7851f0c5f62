/*
 * The Parts of an Upload: which bytes are which, which one may leave, and handing it to the
 * API. On the publisher thread, but on_part(), which only posts.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fs/publish/part_layout.h"
#include "fs/publish/publish_impl.h"
#include "fs/stage/area.h"
#include "net/base/clock.h"

bool publish_in_sequence(const struct publish *p)
{
	return p->pr->cfg.parallel == 1;
}

uint64_t publish_part_block(const struct publish *p)
{
	return layout_block(p->pr->cfg.part_size, p->pr->cfg.parallel);
}

uint32_t publish_part_count(const struct publish *p, uint64_t bytes)
{
	return layout_count(bytes, p->pr->cfg.part_size, publish_part_block(p));
}

void publish_part_range(const struct publish *p, uint32_t i, uint64_t *ret_start, uint64_t *ret_end)
{
	layout_part(p->upload_bytes, p->pr->cfg.part_size, publish_part_block(p), i, ret_start,
		    ret_end);
}

uint32_t publish_part_version(const struct publish *p, uint32_t i)
{
	uint64_t start, end;

	publish_part_range(p, i, &start, &end);
	return staged_version(p->staged, start, end);
}

bool publish_part_is_ready(const struct publish *p, uint32_t i, bool sealed)
{
	uint64_t start, end;

	if (p->parts[i].state != PART_NONE)
		return false;
	if (i && publish_in_sequence(p) && p->parts[i - 1].state != PART_SENT)
		return false;
	publish_part_range(p, i, &start, &end);
	return sealed || staged_covered(p->staged, start, end);
}

/* On the network thread. */
static void on_part(void *arg, const struct api_error *err, const struct api_part *part)
{
	struct event *ev = publish_event_new(EV_PART, err);

	if (part)
		snprintf(ev->id, sizeof(ev->id), "%s", part->id);
	publish_post_reply(arg, ev);
}

/* Hands Part i to the queue: all of it is there, or it is live. */
static void send_part(struct publish *p, uint32_t i, bool live)
{
	struct api_part_body body = { .fd = staged_fd(p->staged),
				      .fairness = (uintptr_t)p,
				      /* p lives until the callback: the call has a reference */
				      .moving = &p->moving };
	struct publish_call *c = publish_call_new(p, EV_PART);
	uint64_t end;

	if (!c) {
		publish_fail_memory(p);
		return;
	}
	publish_part_range(p, i, &body.offset, &end);
	body.len = end - body.offset;
	c->index = i;
	/* The version before any byte is read: whatever changes from here on shows. */
	c->version = publish_part_version(p, i);
	if (live) {
		c->reader = (struct publish_live_reader){ p->staged, p->live.watch };
		body.ready = publish_live_read;
		body.ready_arg = &c->reader;
	}
	publish_save_step(p);
	p->parts[i].req = api_part_add(p->pr->cfg.api, p->upload_id, &body, on_part, c);
	if (!p->parts[i].req) {
		publish_call_free(c);
		publish_fail_memory(p);
		return;
	}
	p->parts[i].state = PART_SENDING;
	p->live.on |= live;
	if (!p->sending_ms)
		p->sending_ms = clock_mono_ms();
	p->sending++;
}

void publish_act_send(struct publish *p)
{
	bool sealed = publish_sealed(p);
	uint32_t i = 0;

	while (i < p->part_count && !publish_part_is_ready(p, i, sealed))
		i++;
	if (i < p->part_count)
		send_part(p, i, false);
}

void publish_act_send_live(struct publish *p)
{
	send_part(p, p->live.index, true);
}

void publish_drop_parts(struct publish *p)
{
	for (uint32_t i = 0; i < p->part_count; i++) {
		if (p->parts[i].req) {
			api_req_cancel(p->parts[i].req);
			api_req_unref(p->parts[i].req);
		}
		free(p->parts[i].id);
	}
	free(p->parts);
	p->parts = NULL;
	p->part_count = 0;
	p->sending = 0;
	p->live.on = false;
}
