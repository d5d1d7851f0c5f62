/*
 * The Upload of a publication: what it is made with, giving it up, and those given up whose
 * cancel was not answered yet. On the publisher thread, but on_side_cancel(), which only posts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publish_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

/* A cancel that nobody waits for; only publisher_drain() does. */
static void on_side_cancel(void *arg, const struct api_error *err, const struct api_upload *up)
{
	struct publish_call *c = arg;
	struct event *ev = publish_event_new(EV_ABANDONED, err);

	(void)up;
	if (err->kind != API_OK)
		log_debug("cancel of an Upload: HTTP %d %s", err->http_status, err->message);
	memcpy(ev->id, c->file_id, sizeof(ev->id));
	publish_post(c->p, ev);
	publish_side_call(c->p->pr, -1);
	publish_call_free(c);
}

int publish_note_upload(struct publish *p, uint64_t size)
{
	char *name = strdup(publish_filename(p)), *purpose = strdup(p->now.purpose);
	char *mime = strdup(publish_mime_type(p));

	if (!name || !purpose || !mime) {
		free(name);
		free(purpose);
		free(mime);
		return -ENOMEM;
	}
	free(p->upload_filename);
	free(p->upload_purpose);
	free(p->upload_mime);
	p->upload_filename = name;
	p->upload_purpose = purpose;
	p->upload_mime = mime;
	p->upload_bytes = size;
	p->upload_expiry = p->now.expires_after;
	p->upload_renames = p->now.renames;
	p->upload_created_wall = clock_wall_s();
	p->upload_deadline_ms = clock_mono_ms();
	p->upload_posted = false;
	return 0;
}

/* What it was created with stays known: a lookup may need it. */
void publish_forget_upload(struct publish *p)
{
	publish_drop_parts(p);
	/* Not cancelled: it may have been done already, and then its reply names
	 * the Upload that has to be cancelled (see publish_handle()). */
	api_req_unref(p->create_req);
	api_req_unref(p->post_req);
	p->create_req = p->post_req = NULL;
	p->upload_id[0] = '\0';
	p->upload_deadline_ms = 0;
	p->sending_ms = 0;
	p->epoch++;
}

/* Without memory for it a crash before the cancel leaves the Upload to expire by itself. */
static void remember_abandoned(struct publish *p, const char *upload_id)
{
	char **v = realloc(p->abandoned, (p->abandoned_count + 1) * sizeof(*v));
	char *id = strdup(upload_id);

	if (v)
		p->abandoned = v;
	if (v && id)
		v[p->abandoned_count++] = id;
	else
		free(id);
}

/*
 * An answer of any kind: it is cancelled, or was dead before. Without one it is
 * asked again when the service has answered something else.
 */
void publish_abandoned_answer(struct publish *p, const struct event *ev)
{
	bool answered = ev->api_err.kind == API_OK || ev->api_err.kind == API_ERR_HTTP;
	size_t i = p->abandoned_before;
	char *id;

	while (i < p->abandoned_count && strcmp(p->abandoned[i], ev->id))
		i++;
	if (i == p->abandoned_count)
		return;
	id = p->abandoned[i];
	if (answered) {
		p->abandoned[i] = p->abandoned[--p->abandoned_count];
		free(id);
	} else {
		p->abandoned[i] = p->abandoned[p->abandoned_before];
		p->abandoned[p->abandoned_before++] = id;
	}
}

void publish_cancel_by_id(struct publish *p, const char *upload_id)
{
	struct publish_call *c = publish_call_new(p, EV_PROBED);
	struct api_req *req;

	if (!c)
		return; /* it expires by itself */
	snprintf(c->file_id, sizeof(c->file_id), "%s", upload_id);
	remember_abandoned(p, upload_id);
	publish_save_step(p);
	publish_side_call(p->pr, 1);
	req = api_upload_cancel(p->pr->cfg.api, upload_id, on_side_cancel, c);
	if (!req) {
		publish_side_call(p->pr, -1);
		publish_call_free(c);
	}
	api_req_unref(req);
}

void publish_cancel_abandoned(struct publish *p)
{
	if (!p->abandoned_due)
		return;
	p->abandoned_due = false;
	while (p->abandoned_before > 0) {
		/* Noted anew by the call. */
		char *id = p->abandoned[--p->abandoned_before];

		p->abandoned[p->abandoned_before] = p->abandoned[--p->abandoned_count];
		publish_cancel_by_id(p, id);
		free(id);
	}
}

void publish_cancel_upload(struct publish *p)
{
	char id[API_ID_MAX + 1];

	memcpy(id, p->upload_id, sizeof(id));
	/* First: a record that is written now must not take it for one to go on with. */
	publish_forget_upload(p);
	p->phase = PHASE_IDLE;
	/* With a File it was completed, and nothing is left to cancel. */
	if (id[0] && !p->file_id[0])
		publish_cancel_by_id(p, id);
}
