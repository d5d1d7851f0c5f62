/*
 * Services without Uploads: the file goes as a whole, by POST /files.
 *
 * Uploads count as absent after POST /uploads was refused twice as missing (404, 405, 501) and GET
 * /files answered in between: a wrong base URL has neither, and a proxy may answer anything for a
 * moment while the service behind it is replaced. Once an Upload was made they count as present for
 * the life of the mount. Publisher thread, but the callbacks.
 */
#include "fs/publish/whole.h"

#include <errno.h>
#include <stdio.h>

#include "fs/publish/doubt.h"
#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/lookup.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/refused.h"
#include "fs/publish/same.h"
#include "fs/publish/service.h"
#include "fs/publish/strangers.h"
#include "fs/publish/upload.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define POST_SLACK_S 2 /* a Date has whole seconds */

/* ---- callbacks: net thread ---- */

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	(void)page;
	publish_post_reply(arg, publish_call_reply(arg, err));
}

static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	struct event *ev = publish_call_reply(arg, err);

	if (file)
		publish_event_file(ev, file);
	publish_post_reply(arg, ev);
}

/* ---- is it so? ---- */

static bool looks_absent(const struct api_error *err)
{
	int s = err->http_status;

	return err->kind == API_ERR_HTTP && (s == 404 || s == 405 || s == 501);
}

static void ask(struct publish *p)
{
	struct publish_call *c = publish_call_new(p, EV_ASKED);
	struct api_req *req = NULL;

	p->phase = PHASE_ASKING;
	if (c)
		req = api_file_list(p->pr->cfg.api, NULL, NULL, 1, true, on_page, c);
	if (!req) {
		if (c)
			publish_call_free(c);
		p->phase = PHASE_IDLE;
		publish_fail_memory(p);
	}
	api_req_unref(req);
}

void publish_whole_ask(struct publish *p)
{
	p->refused.asking = true;
	ask(p);
}

bool publish_whole_refused(struct publish *p, const struct api_error *err)
{
	struct publisher *pr = p->pr;

	if (!looks_absent(err) || pr->service.uploads == UPLOADS_THERE)
		return false;
	if (pr->service.uploads == UPLOADS_UNKNOWN) {
		p->failure.first_err = *err;
		ask(p);
	} else if (pr->service.uploads == UPLOADS_DOUBTED) {
		pr->service.uploads = UPLOADS_ABSENT;
		log_warn("the service has no /uploads (HTTP %d): files go as a whole by POST "
			 "/files, up to %llu MiB, after their close",
			 err->http_status, API_FILE_MAX >> 20);
	}
	return true;
}

static void key_asked(struct publish *p, const struct api_error *err)
{
	char text[sizeof(p->failure.error)];

	p->refused.ask_first = p->refused.asking = false;
	p->phase = p->upload.id[0] ? PHASE_OPEN : PHASE_IDLE;
	if (err->kind != API_OK) {
		publish_fail_api(p, err);
	} else if (refused_bars(p)) {
		snprintf(text, sizeof(text), "%s", p->failure.error);
		publish_fail(p, p->failure.err, text, p->failure.request_id);
		p->failure.http_status = p->refused.http_status;
	}
}

void publish_handle_asked(struct publish *p, const struct event *ev)
{
	if (p->phase != PHASE_ASKING)
		return;
	if (p->refused.asking) {
		key_asked(p, &ev->api_err);
		return;
	}
	p->phase = PHASE_IDLE;
	if (ev->api_err.kind != API_OK)
		/*
		 * Neither /uploads nor /files: the base URL is wrong; report the create's refusal.
		 */
		publish_fail_api(p,
				 looks_absent(&ev->api_err) ? &p->failure.first_err : &ev->api_err);
	else if (p->pr->service.uploads == UPLOADS_UNKNOWN)
		p->pr->service.uploads = UPLOADS_DOUBTED;
}

/* ---- sending ---- */

static struct api_req *post(struct publish *p, int fd, struct publish_call *c)
{
	struct api_upload_spec spec = {
		.filename = p->upload.filename,
		.purpose = p->upload.purpose,
		.mime_type = p->upload.mime,
		.bytes = p->upload.bytes,
		.expires_after_s = p->upload.expiry,
	};
	struct api_file_body body = {
		.fd = fd,
		.md5_hex = p->md5,
		.fairness = (uintptr_t)p,
		/* p lives until the callback: the call has a reference */
		.moving = &p->parts.moving,
	};

	return api_file_upload(p->pr->cfg.api, &spec, &body, on_file, c);
}

void publish_act_post(struct publish *p, uint64_t size)
{
	struct publish_call *c;
	int fd, r;

	/* Bytes that did not reach the disk are tried once more, or fail: see ACT_SYNC. */
	if (staged_check(p->staged) || !publish_may_ask(p))
		return;
	c = publish_call_new(p, EV_POSTED);
	/* Opened with the call's reference, so that it stays open. */
	fd = staged_fd(p->staged);
	r = !c ? -ENOMEM : fd < 0 ? fd : publish_note_upload(p, size);
	p->upload.created_at = publish_service_time(p->pr);
	if (!p->upload.created_at)
		p->upload.created_at = clock_wall_s();
	p->upload.created_at -= POST_SLACK_S;
	p->upload.posted = true;
	p->upload.posted_ms = clock_mono_ms();
	p->phase = PHASE_POSTING;
	publish_note_strangers(p);
	/* Durable before the POST: from here on the File may exist. */
	if (!r)
		r = publish_save_record(p, true);
	if (!r)
		p->upload.post_req = post(p, fd, c);
	if (p->upload.post_req) {
		p->parts.sending_ms = clock_mono_ms();
		return;
	}
	if (c)
		publish_call_free(c);
	p->phase = PHASE_IDLE;
	publish_fail_local(p, r ? r : -ENOMEM, "starting to send the file");
}

/* The reply is about a File that was there before. */
static void doubt_another(struct publish *p, const struct api_error *err)
{
	struct api_error other = *err;

	other.kind = API_ERR_BAD_REPLY;
	other.maybe_applied = true;
	snprintf(other.message, sizeof(other.message), "the reply names a File that was there");
	publish_doubt(p, &other);
}

static void posted(struct publish *p, const struct event *ev)
{
	publish_note_known(p, ev);
	publish_file_exists(p, ev);
}

void publish_handle_posted(struct publish *p, const struct event *ev)
{
	const struct api_error *err = &ev->api_err;

	if (p->phase != PHASE_POSTING)
		return;
	api_req_unref(p->upload.post_req);
	p->upload.post_req = NULL;
	p->phase = PHASE_IDLE;
	if (err->kind == API_OK && publish_doubt_knows(p, ev->id))
		doubt_another(p, err);
	else if (err->kind == API_OK)
		posted(p, ev);
	else if (err->maybe_applied)
		publish_doubt(p, err);
	else if (err->kind == API_ERR_LOCAL && err->local_errno == -EBADMSG)
		publish_fail_damaged(p);
	else if (!p->now.dropped)
		publish_fail_api(p, err);
}

void publish_fail_size(struct publish *p)
{
	char text[160];

	snprintf(text, sizeof(text),
		 "the service has no /uploads, and its /files takes %llu MiB at most; "
		 "split the file",
		 API_FILE_MAX >> 20);
	publish_fail(p, -EFBIG, text, "");
}
