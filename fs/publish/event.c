/*
 * API calls, and the replies that their callbacks post to the publisher.
 */
#include "fs/publish/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publication.h"
#include "fs/stage/file.h"
#include "net/base/log.h"

struct publish_call *publish_call_new(struct publish *p, enum event_kind kind)
{
	struct publish_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->p = publish_ref(p);
	c->staged = staged_ref(p->staged);
	c->kind = kind;
	c->epoch = p->upload.epoch;
	return c;
}

void publish_call_free(struct publish_call *c)
{
	staged_unref(c->staged);
	publish_unref_later(c->p);
	free(c);
}

struct event *publish_event_new(enum event_kind kind, const struct api_error *err)
{
	struct event *ev = calloc(1, sizeof(*ev));

	if (!ev) {
		/* A lost reply would make the publication wait for ever. */
		log_error("out of memory");
		abort();
	}
	ev->kind = kind;
	if (err)
		ev->api_err = *err;
	return ev;
}

static char *copy(const char *s)
{
	char *copied = s ? strdup(s) : NULL;

	if (s && !copied) {
		log_error("out of memory");
		abort();
	}
	return copied;
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
	ev->epoch = c->epoch;
	ev->index = c->index;
	ev->version = c->version;
	publish_post(c->p, ev);
	publish_call_free(c);
}
