/*
 * API calls, and the replies that their callbacks post to the publisher.
 */
#include "fs/publish/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publication.h"
#include "fs/stage/file.h"

struct publish_call *publish_call_new(struct publish *p, enum event_kind kind)
{
	struct publish_call *c = calloc(1, sizeof(*c));
	struct event *ev = publish_event_new(kind);

	if (!c || !ev) {
		free(c);
		free(ev);
		return NULL;
	}
	c->ev = ev;
	c->p = publish_ref(p);
	c->staged = staged_ref(p->staged);
	c->kind = kind;
	c->epoch = p->upload.epoch;
	return c;
}

/* All but the reference to the publication. */
static void release_call(struct publish_call *c)
{
	staged_unref(c->staged);
	if (c->ev)
		publish_event_free(c->ev);
	free(c);
}

void publish_call_free(struct publish_call *c)
{
	publish_unref_later(c->p);
	release_call(c);
}

struct event *publish_event_new(enum event_kind kind)
{
	struct event *ev = calloc(1, sizeof(*ev));

	if (ev)
		ev->kind = kind;
	return ev;
}

struct event *publish_call_reply(struct publish_call *c, const struct api_error *err)
{
	struct event *ev = c->ev;

	c->ev = NULL;
	ev->api_err = *err;
	return ev;
}

static char *copy(const char *s)
{
	return s ? strdup(s) : NULL;
}

void publish_event_file(struct event *ev, const struct api_file *file)
{
	snprintf(ev->id, sizeof(ev->id), "%s", file->id);
	ev->bytes = file->bytes;
	ev->created_at = file->created_at;
	ev->expires_at = file->expires_at;
	ev->filename = copy(file->filename_unknown ? NULL : file->filename);
	ev->purpose = copy(file->purpose_unknown ? NULL : file->purpose);
	ev->failed = file->failed;
	ev->details = copy(file->details);
}

void publish_post_reply(struct publish_call *c, struct event *ev)
{
	struct publish *p = c->p;

	ev->epoch = c->epoch;
	ev->index = c->index;
	ev->version = c->version;
	/* Before the post: never the last reference to the staged file, whose end blocks. */
	release_call(c);
	publish_post_last(p, ev);
}
