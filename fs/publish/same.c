#include "fs/publish/same.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/lookup.h"
#include "fs/publish/observe.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/service.h"
#include "fs/publish/upload.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define LIFETIME_SLACK_S 60 /* a lifetime may be counted from the Upload or from its File */

/* ---- what is known of Files ---- */

void publish_note_known(struct publish *p, const struct event *ev)
{
	struct known_file k = { .filename = p->upload.filename,
				.purpose = p->upload.purpose,
				.mime_type = p->upload.mime,
				.expires_after = p->upload.expiry,
				.bytes = p->upload.bytes };
	int err = 0;

	/* In doubt the File may be of former bytes. */
	if (!p->pr->cfg.db || p->doubt.unknown || ev->failed || !p->md5[0] ||
	    staged_size(p->staged) != k.bytes)
		return;
	memcpy(k.md5, p->md5, sizeof(k.md5));
	err = staged_prefixes(p->staged, &k.step, &k.prefixes, &k.prefix_count);
	if (!err)
		err = known_put_later(p->pr->cfg.db, ev->id, staged_id(p->staged), &k);
	if (err)
		log_debug("%s: its MD5 is not kept: %s", ev->id, strerror(-err));
	free(k.prefixes);
}

void publish_forget_known(struct publish *p, const char *file_id)
{
	if (p->pr->cfg.db)
		known_drop(p->pr->cfg.db, file_id);
}

/* ---- the File that may have these bytes ---- */

static bool alike_lifetime(uint64_t a, uint64_t b)
{
	return a == b || (a && b && a + LIFETIME_SLACK_S >= b && b + LIFETIME_SLACK_S >= a);
}

/* True if the File is what would be made of the same bytes. */
static bool fits(const struct publish *p, const struct known_file *k)
{
	return !strcmp(k->filename, publish_filename(p)) && !strcmp(k->purpose, p->now.purpose) &&
	       !strcmp(k->mime_type, publish_mime_type(p)) &&
	       alike_lifetime(k->expires_after, p->now.expires_after);
}

static bool expect(struct publish *p, const char *file_id)
{
	struct known_file k;

	if (!*file_id || known_get(p->pr->cfg.db, file_id, &k))
		return false;
	if (strcmp(k.filename, publish_filename(p)) || strcmp(k.purpose, p->now.purpose) ||
	    staged_expect(p->staged, k.step, k.prefixes, k.prefix_count)) {
		known_release(&k);
		return false;
	}
	p->same.known = k;
	snprintf(p->same.file_id, sizeof(p->same.file_id), "%s", file_id);
	return true;
}

/* Choose the File anew when others are replaced, or under another name. */
static void look(struct publish *p)
{
	struct same_content *s = &p->same;
	bool found = false;

	if (s->looked && s->choices == p->now.choices && s->renames == p->now.renames)
		return;
	s->looked = true;
	s->choices = p->now.choices;
	s->renames = p->now.renames;
	s->refused = false;
	if (s->file_id[0])
		staged_expect(p->staged, 0, NULL, 0);
	s->file_id[0] = '\0';
	known_release(&s->known);
	for (size_t i = p->now.superseded_count; !found && i > 0; i--)
		found = expect(p, p->now.superseded[i - 1]);
	if (!found)
		expect(p, p->now.likely);
}

void publish_same_view(struct publish *p, struct publish_view *v)
{
	const struct same_content *s = &p->same;

	if (p->pr->cfg.resend || !p->pr->cfg.db || v->phase == PHASE_ENDED)
		return;
	look(p);
	if (!s->file_id[0] || s->refused || !fits(p, &s->known) || !v->size_known ||
	    v->size != s->known.bytes || !v->size)
		return;
	/* Without its rename the one at the target is not replaced. */
	if (v->sealed && !v->held && !publish_inputs_has(&p->now, s->file_id))
		return;
	v->same = v->sealed && v->md5_known && !strcmp(p->md5, s->known.md5);
	v->maybe_same = v->md5_known ? v->same : !staged_differs(p->staged);
}

void publish_same_reset(struct publish *p)
{
	/* Compare again from the first byte. */
	p->same.looked = false;
}

/* ---- is it still there? ---- */

/* On the network thread. */
static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	struct event *ev = publish_call_reply(arg, err);

	if (file) {
		publish_event_file(ev, file);
		ev->undecided = file->bytes_unknown;
	}
	publish_post_reply(arg, ev);
}

void publish_act_keep(struct publish *p)
{
	struct publish_call *c = publish_call_new(p, EV_KEPT);
	struct api_req *req = NULL;

	p->phase = PHASE_CHECKING;
	publish_save_step(p);
	if (c)
		req = api_file_get(p->pr->cfg.api, p->same.file_id, on_file, c);
	if (!req) {
		if (c)
			publish_call_free(c);
		p->phase = PHASE_IDLE;
		p->same.refused = true;
	}
	api_req_unref(req);
}

/* Nine tenths of its lifetime are left, so that who writes a file again and again always has it. */
static bool is_fresh(const struct publish *p, const struct event *ev)
{
	int64_t lifetime = ev->expires_at - ev->created_at, now = publish_service_time(p->pr);

	if (!now)
		now = clock_wall_s();
	return !ev->expires_at ||
	       (lifetime > 0 && ev->expires_at - now >= lifetime - lifetime / 10);
}

/* NULL: the File stands as it is known. Else what is wrong. */
static const char *what_changed(const struct publish *p, const struct event *ev)
{
	if (ev->api_err.kind != API_OK)
		return "the service does not show it";
	if (ev->failed || ev->undecided || ev->bytes != p->same.known.bytes || !ev->filename ||
	    strcmp(ev->filename, p->same.known.filename) || !ev->purpose ||
	    strcmp(ev->purpose, p->same.known.purpose) || strcmp(ev->id, p->same.file_id))
		return "the service shows another";
	return is_fresh(p, ev) ? NULL : "it will expire soon";
}

static void log_kept(const struct publish *p)
{
	const struct log_field fields[] = {
		{ "event", "unchanged", 0 },	    { "purpose", p->upload.purpose, 0 },
		{ "path", p->upload.filename, 0 },  { "file_id", p->outcome.file_id, 0 },
		{ "bytes", NULL, p->upload.bytes },
	};

	log_event(LOG_LVL_INFO, fields, sizeof(fields) / sizeof(fields[0]),
		  "%s/%s: the same content as %s, which stays; nothing was sent", p->upload.purpose,
		  p->upload.filename, p->outcome.file_id);
}

void publish_handle_kept(struct publish *p, const struct event *ev)
{
	const char *wrong = what_changed(p, ev);

	if (p->phase != PHASE_CHECKING)
		return;
	p->phase = PHASE_IDLE;
	if (wrong)
		log_info("%s/%s: the same content as %s, but %s: it is sent", p->now.purpose,
			 p->now.path, p->same.file_id, wrong);
	if (ev->api_err.http_status == 404)
		publish_forget_known(p, p->same.file_id);
	if (wrong || publish_note_upload(p, p->same.known.bytes)) {
		p->same.refused = true;
		return;
	}
	/* From here on a rename that is given up comes too late. */
	if (publish_is_unwanted(p) || !publish_may_ask(p))
		return;
	/* Before the commit that names the File: no crash may leave it among those to delete. */
	publish_superseded_gone(p, ev->id);
	publish_file_exists(p, ev);
	log_kept(p);
}
