/*
 * The Upload of a publication: made, given up, cancelled; and the Uploads given up whose cancel was
 * not answered yet. Publisher thread, but on_side_cancel(), which only posts.
 */
#include "fs/publish/upload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/event.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define TWINS_MAX 5

/* The answer to a cancel that only publisher_drain() waits for. */
static void on_side_cancel(void *arg, const struct api_error *err, const struct api_upload *up)
{
	struct publish_call *c = arg;
	struct event *ev = publish_call_reply(c, err);

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
	free(p->upload.filename);
	free(p->upload.purpose);
	free(p->upload.mime);
	p->upload.filename = name;
	p->upload.purpose = purpose;
	p->upload.mime = mime;
	p->upload.bytes = size;
	p->upload.expiry = p->now.expires_after;
	p->upload.renames = p->now.renames;
	p->upload.created_wall = clock_wall_s();
	p->upload.deadline_ms = clock_mono_ms();
	p->upload.posted = p->upload.sync_begun = false;
	if (p->pr->cfg.mark)
		p->upload.mark = p->pr->cfg.mark(p->pr->cfg.is_known_arg);
	return 0;
}

/* True if q's Upload, or its complete in doubt, may become a File that looks like p's. */
static bool is_alike(const struct publish *p, const struct publish *q)
{
	bool open = q->doubt.unknown || (q->upload.id[0] && !q->outcome.file_id[0] &&
					 q->outcome.kind != OUTCOME_DROPPED);

	return q != p && open && q->upload.bytes == p->upload.bytes &&
	       !strcmp(q->upload.filename, p->upload.filename) &&
	       !strcmp(q->upload.purpose, p->upload.purpose);
}

static bool find_alike(const struct publish *p, bool same_time)
{
	const struct publish *q;
	bool found = false;

	pthread_mutex_lock(&p->pr->lock);
	for (q = p->pr->all; q && !found; q = q->all_next)
		found = (!same_time || q->upload.created_at == p->upload.created_at) &&
			is_alike(p, q);
	pthread_mutex_unlock(&p->pr->lock);
	return found;
}

bool publish_has_rival(const struct publish *p)
{
	return find_alike(p, false);
}

bool publish_created_twin(struct publish *p)
{
	bool found = find_alike(p, true);

	/* A service whose time stands still must not keep a close waiting. */
	if (!found || p->upload.twins >= TWINS_MAX)
		return false;
	p->upload.twins++;
	p->upload.not_before_ms = clock_mono_ms() + 1000;
	log_debug("%s/%s: another Upload of that name was made in the same second: one more is "
		  "made in the next",
		  p->upload.purpose, p->upload.filename);
	publish_cancel_upload(p);
	return true;
}

/* Keep upload.filename and the like: lookup needs them. */
void publish_forget_upload(struct publish *p)
{
	publish_drop_parts(p);
	/*
	 * Do not cancel the calls: a create may be done already, and its reply names the Upload
	 * that publish_handle() cancels.
	 */
	api_req_unref(p->upload.create_req);
	api_req_unref(p->upload.post_req);
	p->upload.create_req = p->upload.post_req = NULL;
	p->upload.id[0] = '\0';
	p->upload.deadline_ms = 0;
	p->parts.sending_ms = 0;
	p->upload.epoch++;
}

/* Out of memory: a crash before the cancel leaves the Upload to expire by itself. */
static void remember_abandoned(struct publish *p, const char *upload_id)
{
	char **v = realloc(p->abandoned.ids, (p->abandoned.count + 1) * sizeof(*v));
	char *id = strdup(upload_id);

	if (v)
		p->abandoned.ids = v;
	if (v && id)
		v[p->abandoned.count++] = id;
	else
		free(id);
}

/*
 * After any answer the Upload is cancelled or was dead: forget it. Without one, cancel again once
 * the service answers another call.
 */
void publish_abandoned_answer(struct publish *p, const struct event *ev)
{
	bool answered = ev->api_err.kind == API_OK || ev->api_err.kind == API_ERR_HTTP ||
			api_took_effect(&ev->api_err);
	size_t i = p->abandoned.before;
	char *id;

	while (i < p->abandoned.count && strcmp(p->abandoned.ids[i], ev->id))
		i++;
	if (i == p->abandoned.count)
		return;
	id = p->abandoned.ids[i];
	if (answered) {
		p->abandoned.ids[i] = p->abandoned.ids[--p->abandoned.count];
		free(id);
	} else {
		p->abandoned.ids[i] = p->abandoned.ids[p->abandoned.before];
		p->abandoned.ids[p->abandoned.before++] = id;
	}
}

void publish_cancel_by_id(struct publish *p, const char *upload_id)
{
	struct publish_call *c = publish_call_new(p, EV_ABANDONED);
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
	if (!p->abandoned.due)
		return;
	p->abandoned.due = false;
	while (p->abandoned.before > 0) {
		/* publish_cancel_by_id() notes it again. */
		char *id = p->abandoned.ids[--p->abandoned.before];

		p->abandoned.ids[p->abandoned.before] = p->abandoned.ids[--p->abandoned.count];
		publish_cancel_by_id(p, id);
		free(id);
	}
}

void publish_cancel_upload(struct publish *p)
{
	char id[API_ID_MAX + 1];

	memcpy(id, p->upload.id, sizeof(id));
	/* Forget it first: a record written now must not offer it to go on with. */
	publish_forget_upload(p);
	p->phase = PHASE_IDLE;
	/* With a File the Upload is completed: nothing to cancel. */
	if (id[0] && !p->outcome.file_id[0])
		publish_cancel_by_id(p, id);
}
