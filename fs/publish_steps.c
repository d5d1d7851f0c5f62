/*
 * What a publication does: carries out the actions of publish_next() and takes
 * in the replies. All of it on the publisher thread, but the callbacks of net
 * and of the disk worker, which only post.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/errmap.h"
#include "fs/publish_impl.h"
#include "fs/staging.h"
#include "net/clock.h"
#include "net/log.h"

/* What a call to the API carries along until its callback. */
struct call {
	struct publish *p;	/* referenced */
	enum event_kind kind;
	unsigned epoch;
	uint32_t index, version;
	char file_id[API_ID_MAX + 1];
};

bool publish_sealed(const struct publish *p)
{
	return p->now.sealed && staged_sealed_quiet(p->staged);
}

const char *publish_filename(const struct publish *p)
{
	return p->now.hold_name ? p->now.hold_name : p->now.path;
}

static const char *mime_type(const struct publish *p)
{
	return p->now.mime ? p->now.mime : api_mime_type(publish_filename(p));
}

/* ---- callbacks: net thread ---- */

static struct call *call_new(struct publish *p, enum event_kind kind)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->p = publish_ref(p);
	c->kind = kind;
	c->epoch = p->epoch;
	return c;
}

static void call_free(struct call *c)
{
	publish_unref(c->p);
	free(c);
}

static struct event *event_new(enum event_kind kind, const struct api_error *err)
{
	struct event *ev = calloc(1, sizeof(*ev));

	if (!ev) {
		/* Without its reply a publication would wait for ever. */
		log_error("out of memory");
		abort();
	}
	ev->kind = kind;
	if (err)
		ev->api_err = *err;
	return ev;
}

static void post_reply(struct call *c, struct event *ev)
{
	ev->epoch = c->epoch;
	ev->index = c->index;
	ev->version = c->version;
	publish_post(c->p, ev);
	call_free(c);
}

static void on_upload(void *arg, const struct api_error *err, const struct api_upload *up)
{
	struct call *c = arg;
	struct event *ev = event_new(c->kind, err);

	if (up && c->kind == EV_COMPLETED) {
		snprintf(ev->id, sizeof(ev->id), "%s", up->file.id);
		ev->bytes = up->file.bytes;
		ev->created_at = up->file.created_at;
		ev->expires_at = up->file.expires_at;
	} else if (up) {
		snprintf(ev->id, sizeof(ev->id), "%s", up->id);
		ev->bytes = up->bytes;
		ev->created_at = up->created_at;
		ev->expires_at = up->expires_at;
	}
	post_reply(c, ev);
}

static void on_part(void *arg, const struct api_error *err, const struct api_part *part)
{
	struct event *ev = event_new(EV_PART, err);

	if (part)
		snprintf(ev->id, sizeof(ev->id), "%s", part->id);
	post_reply(arg, ev);
}

static void on_deleted(void *arg, const struct api_error *err)
{
	struct call *c = arg;
	struct event *ev = event_new(EV_DELETED, err);

	memcpy(ev->id, c->file_id, sizeof(ev->id));
	post_reply(c, ev);
}

/* A cancel that nobody waits for; only publisher_drain() does. */
static void on_side_cancel(void *arg, const struct api_error *err, const struct api_upload *up)
{
	struct call *c = arg;

	(void)up;
	if (err->kind != API_OK)
		log_debug("cancel of an Upload: HTTP %d %s", err->http_status, err->message);
	publish_side_call(c->p->pr, -1);
	call_free(c);
}

/* ---- the Upload ---- */

static void drop_parts(struct publish *p)
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
}

/* What it was created with stays known: a lookup may need it. */
void publish_forget_upload(struct publish *p)
{
	drop_parts(p);
	/* Not cancelled: it may have been done already, and then its reply names
	 * the Upload that has to be cancelled (see publish_handle()). */
	api_req_unref(p->create_req);
	p->create_req = NULL;
	p->upload_id[0] = '\0';
	p->upload_deadline_ms = 0;
	p->epoch++;
}

void publish_release_steps(struct publish *p)
{
	drop_parts(p);
	api_req_unref(p->create_req);
	free(p->upload_filename);
	free(p->upload_purpose);
}

static void cancel_by_id(struct publish *p, const char *upload_id)
{
	struct call *c = call_new(p, EV_PROBED);
	struct api_req *req;

	if (!c)
		return;		/* it expires by itself */
	publish_side_call(p->pr, 1);
	req = api_upload_cancel(p->pr->cfg.api, upload_id, on_side_cancel, c);
	if (!req) {
		publish_side_call(p->pr, -1);
		call_free(c);
	}
	api_req_unref(req);
}

static void cancel_upload(struct publish *p)
{
	if (p->upload_id[0])
		cancel_by_id(p, p->upload_id);
	publish_forget_upload(p);
	p->phase = PHASE_IDLE;
}

/* ---- failing ---- */

static void note_error(struct publish *p, int err, const char *text, const char *request_id)
{
	p->err = err;
	snprintf(p->error, sizeof(p->error), "%s", text);
	snprintf(p->request_id, sizeof(p->request_id), "%s", request_id);
}

static void fail(struct publish *p, int err, const char *text, const char *request_id)
{
	uint64_t delay = p->pr->cfg.retry_first_s;

	note_error(p, err, text, request_id);
	for (unsigned i = 0; i < p->retries && delay < p->pr->cfg.retry_max_s; i++)
		delay *= 2;
	if (delay > p->pr->cfg.retry_max_s)
		delay = p->pr->cfg.retry_max_s;
	p->retry_due_ms = clock_mono_ms() + delay * 1000;
	p->retries++;
	log_error("%s/%s: not published: %s; the bytes are kept, next try in %llu s", p->now.purpose,
		  p->now.path, text, (unsigned long long)delay);
	p->phase = PHASE_ENDED;
	p->outcome = OUTCOME_FAILED;
	publish_save_record(p, true);
	publish_finish(p, OUTCOME_FAILED);
}

/* Before the close a failure only means that nothing streams until then. */
static bool stream_fails(struct publish *p, const char *text)
{
	if (p->now.sealed && !p->now.held)
		return false;
	log_info("%s/%s: sending while it is written failed (%s); it will be sent at the close",
		 p->now.purpose, p->now.path, text);
	p->stream_failed = true;
	cancel_upload(p);
	return true;
}

static void fail_api(struct publish *p, const struct api_error *err)
{
	char text[sizeof(p->error)];

	errmap_text(err, ERRMAP_WRITE, text, sizeof(text));
	if (stream_fails(p, text))
		return;
	/* Parts on a server that can't be reached may be of use when it can;
	 * anything else is given up at once, so that no Upload stays pending. */
	if (err->kind != API_ERR_CONNECT)
		cancel_upload(p);
	fail(p, errmap(err, ERRMAP_WRITE), text, err->request_id);
}

static void fail_local(struct publish *p, int err, const char *what)
{
	char text[sizeof(p->error)];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(-err));
	if (stream_fails(p, text))
		return;
	cancel_upload(p);
	fail(p, err, text, "");
}

static void fail_memory(struct publish *p)
{
	fail_local(p, -ENOMEM, "starting a request");
}

/* Refused for what we sent or for the Upload's state; not for who we are or how busy they are. */
static bool is_refusal(const struct api_error *err)
{
	int s = err->http_status;

	return err->kind == API_ERR_HTTP && s >= 400 && s < 500 && s != 401 && s != 403 && s != 408 &&
	       s != 409 && s != 429;
}

/* ---- actions ---- */

static void act_create(struct publish *p, uint64_t size)
{
	struct api_upload_spec spec = { 0 };
	struct call *c = call_new(p, EV_CREATED);
	char *name = strdup(publish_filename(p)), *purpose = strdup(p->now.purpose);

	if (!c || !name || !purpose)
		goto fail;
	free(p->upload_filename);
	free(p->upload_purpose);
	p->upload_filename = name;
	p->upload_purpose = purpose;
	p->upload_bytes = size;
	p->upload_created_wall = clock_wall_s();
	p->upload_deadline_ms = clock_mono_ms();
	spec.filename = name;
	spec.purpose = purpose;
	spec.mime_type = mime_type(p);
	spec.bytes = size;
	spec.expires_after_s = p->now.expires_after;
	p->create_req = api_upload_create(p->pr->cfg.api, &spec, on_upload, c);
	if (!p->create_req) {
		call_free(c);
		fail_memory(p);
		return;
	}
	p->phase = PHASE_CREATING;
	return;
fail:
	if (c)
		call_free(c);
	free(name);
	free(purpose);
	fail_memory(p);
}

static uint64_t part_start(const struct publish *p, uint32_t i)
{
	return i * p->pr->cfg.part_size;
}

static uint64_t part_end(const struct publish *p, uint32_t i)
{
	uint64_t end = part_start(p, i) + p->pr->cfg.part_size;

	return end < p->upload_bytes ? end : p->upload_bytes;
}

static bool part_is_ready(const struct publish *p, uint32_t i, bool sealed)
{
	return p->parts[i].state == PART_NONE &&
	       (sealed || staged_covered(p->staged, part_start(p, i), part_end(p, i)));
}

static void act_send(struct publish *p)
{
	struct api_part_body body = { .fd = staged_fd(p->staged), .fairness = (uintptr_t)p };
	bool sealed = publish_sealed(p);
	struct call *c;
	uint32_t i = 0;

	while (i < p->part_count && !part_is_ready(p, i, sealed))
		i++;
	if (i == p->part_count)
		return;
	c = call_new(p, EV_PART);
	if (!c) {
		fail_memory(p);
		return;
	}
	body.offset = part_start(p, i);
	body.len = part_end(p, i) - body.offset;
	c->index = i;
	/* The version before any byte is read: whatever changes from here on shows. */
	c->version = staged_part_version(p->staged, i);
	p->parts[i].req = api_part_add(p->pr->cfg.api, p->upload_id, &body, on_part, c);
	if (!p->parts[i].req) {
		call_free(c);
		fail_memory(p);
		return;
	}
	p->parts[i].state = PART_SENDING;
	p->sending++;
}

static void act_complete(struct publish *p)
{
	const char **ids = malloc(p->part_count * sizeof(*ids));
	struct call *c = call_new(p, EV_COMPLETED);
	struct api_req *req = NULL;
	int r;

	if (!ids || !c)
		goto out;
	for (uint32_t i = 0; i < p->part_count; i++)
		ids[i] = p->parts[i].id;
	p->phase = PHASE_COMPLETING;
	/* From here on the File may exist, whatever becomes of us. */
	r = publish_save_record(p, true);
	if (r) {
		p->phase = PHASE_OPEN;
		free(ids);
		call_free(c);
		fail_local(p, r, "writing the record before complete");
		return;
	}
	req = api_upload_complete(p->pr->cfg.api, p->upload_id, ids, p->part_count, p->md5,
				  p->upload_bytes, on_upload, c);
out:
	free(ids);
	if (!req) {
		if (c)
			call_free(c);
		p->phase = PHASE_OPEN;
		fail_memory(p);
	}
	api_req_unref(req);
}

static void act_probe(struct publish *p)
{
	struct call *c = call_new(p, EV_PROBED);
	struct api_req *req = NULL;

	/* Parts that are still on their way would only be refused, too. */
	for (uint32_t i = 0; i < p->part_count; i++)
		api_req_cancel(p->parts[i].req);
	p->phase = PHASE_PROBING;
	if (c)
		req = api_upload_cancel(p->pr->cfg.api, p->upload_id, on_upload, c);
	if (!req) {
		if (c)
			call_free(c);
		p->phase = PHASE_OPEN;
		fail_memory(p);
	}
	api_req_unref(req);
}

static struct publish *of_sync_job(struct hash_job *job)
{
	return (struct publish *)((char *)job - offsetof(struct publish, sync_job));
}

static bool run_sync(struct hash_job *job)
{
	struct publish *p = of_sync_job(job);

	p->sync_err = staged_sync(p->staged);
	return false;
}

/* Only now may the job be queued again, or go with its publication. */
static void sync_ended(struct hash_job *job)
{
	struct publish *p = of_sync_job(job);
	struct event *ev = event_new(EV_SYNCED, NULL);

	ev->err = p->sync_err;
	publish_post(p, ev);
	publish_unref(p);
}

static void act_sync(struct publish *p)
{
	p->syncing = true;
	publish_ref(p);		/* run_sync()'s */
	p->sync_job.run = run_sync;
	p->sync_job.ended = sync_ended;
	hasher_queue(p->pr->cfg.disk, &p->sync_job);
}

static void end_completed(struct publish *p)
{
	uint64_t ms = clock_mono_ms() - p->sealed_ms;

	p->err = 0;
	p->error[0] = '\0';
	p->complete_unknown = false;
	p->retries = 0;
	if (p->now.dropped) {
		publish_finish(p, OUTCOME_DROPPED);
		return;
	}
	log_info("%s/%s: published as %s, %llu bytes in %u parts, md5 %s, %llu ms after the close",
		 p->upload_purpose, p->upload_filename, p->file_id,
		 (unsigned long long)p->upload_bytes, p->part_count, p->md5,
		 (unsigned long long)ms);
	publish_finish(p, OUTCOME_COMPLETED);
}

/* One File to delete at a time; the reply brings us back here. */
static void act_cleanup(struct publish *p)
{
	const char *id = NULL;
	struct call *c;
	struct api_req *req;

	if (p->now.dropped && p->file_id[0])
		id = p->file_id;
	else if (p->now.superseded_count && !p->pr->cfg.keep_old)
		id = p->now.superseded[0];
	if (!id) {
		publish_save_record(p, false);
		end_completed(p);
		return;
	}
	c = call_new(p, EV_DELETED);
	if (!c) {
		end_completed(p);
		return;
	}
	snprintf(c->file_id, sizeof(c->file_id), "%s", id);
	p->phase = PHASE_DELETING;
	req = api_file_delete(p->pr->cfg.api, id, on_deleted, c);
	if (!req) {
		call_free(c);
		end_completed(p);
	}
	api_req_unref(req);
}

static void act_end(struct publish *p, enum publish_outcome outcome)
{
	if (outcome == OUTCOME_DROPPED) {
		staged_discard(p->staged);
	} else {
		p->phase = PHASE_ENDED;
		p->outcome = outcome;
		publish_save_record(p, outcome == OUTCOME_EMPTY);
	}
	publish_finish(p, outcome);
}

static void act_reopen(struct publish *p)
{
	bool retry = p->now.retry && !p->now.dropped && !p->now.aborted;

	p->now.retry = false;
	/* Somebody began to write it anew: that is seen at the next look. */
	if (retry && !publish_begin_retry(p))
		return;
	p->outcome = OUTCOME_NONE;
	p->restarts = p->bad_replies = p->lookups = 0;
	p->stream_failed = p->synced = false;
	p->retry_due_ms = 0;
	p->phase = p->upload_id[0] ? PHASE_OPEN : PHASE_IDLE;
}

/* ---- replies ---- */

static void handle_created(struct publish *p, const struct event *ev)
{
	uint64_t ttl_ms = API_UPLOAD_TTL_S * 1000ULL;

	api_req_unref(p->create_req);
	p->create_req = NULL;
	p->phase = PHASE_IDLE;
	if (ev->api_err.kind != API_OK) {
		/* A reply that can't be read may hide an Upload; it expires by itself. */
		if (ev->api_err.kind != API_ERR_BAD_REPLY ||
		    ++p->bad_replies >= PUBLISH_BAD_REPLIES_MAX)
			fail_api(p, &ev->api_err);
		return;
	}
	p->part_count = publish_part_count(p->upload_bytes, p->pr->cfg.part_size);
	p->parts = calloc(p->part_count, sizeof(*p->parts));
	memcpy(p->upload_id, ev->id, sizeof(p->upload_id));
	p->phase = PHASE_OPEN;
	if (!p->parts) {
		p->part_count = 0;
		fail_memory(p);
		return;
	}
	p->upload_created_at = ev->created_at;
	if (ev->expires_at > ev->created_at && ev->expires_at - ev->created_at < 86400)
		ttl_ms = (uint64_t)(ev->expires_at - ev->created_at) * 1000;
	p->upload_deadline_ms += ttl_ms;	/* counted from before create was sent */
	publish_save_record(p, false);
}

static void refused(struct publish *p, const struct api_error *err, bool maybe_complete)
{
	p->first_err = *err;
	if (maybe_complete) {
		p->complete_unknown = true;
		p->after_lookup = is_refusal(err) ? LOOKUP_THEN_PROBE : LOOKUP_THEN_FAIL;
		p->phase = PHASE_LOOKUP;
		p->lookups = 0;
		p->lookup_due_ms = clock_mono_ms();
	} else if (is_refusal(err)) {
		act_probe(p);
	} else {
		fail_api(p, err);
	}
}

static void handle_part(struct publish *p, const struct event *ev)
{
	struct part *part;

	if (ev->index >= p->part_count)
		return;
	part = &p->parts[ev->index];
	api_req_unref(part->req);
	part->req = NULL;
	part->state = PART_NONE;
	p->sending--;
	if (p->phase != PHASE_OPEN)
		return;		/* being probed: the Upload goes anyway */
	if (ev->api_err.kind != API_OK) {
		if (ev->api_err.kind != API_ERR_BAD_REPLY ||
		    ++p->bad_replies >= PUBLISH_BAD_REPLIES_MAX)
			refused(p, &ev->api_err, false);
		return;
	}
	if (staged_part_version(p->staged, ev->index) != ev->version)
		return;		/* rewritten while it left: sent again */
	free(part->id);
	part->id = strdup(ev->id);
	if (!part->id)
		return;
	part->version = ev->version;
	part->state = PART_SENT;
	publish_save_record(p, false);
}

static void file_exists(struct publish *p, const struct event *ev)
{
	memcpy(p->file_id, ev->id, sizeof(p->file_id));
	p->file_created_at = ev->created_at;
	p->file_expires_at = ev->expires_at;
	p->complete_unknown = false;
	p->phase = PHASE_CLEANUP;
	publish_save_record(p, false);
}

static void handle_completed(struct publish *p, const struct event *ev)
{
	const struct api_error *err = &ev->api_err;

	p->phase = PHASE_OPEN;
	if (err->kind == API_OK) {
		file_exists(p, ev);
		return;
	}
	refused(p, err, err->maybe_applied || err->kind == API_ERR_BAD_REPLY || p->complete_unknown);
}

/* The Upload was refused something. If it could still be cancelled it was alive: the refusal was meant. */
static void handle_probed(struct publish *p, const struct event *ev)
{
	bool alive = ev->api_err.kind == API_OK, dead = is_refusal(&ev->api_err);

	publish_forget_upload(p);
	p->phase = PHASE_IDLE;
	if (alive || !dead || ++p->restarts > PUBLISH_RESTARTS_MAX) {
		fail_api(p, &p->first_err);
		return;
	}
	log_info("%s/%s: the Upload is gone, a new one is made", p->now.purpose, p->now.path);
	if (!p->now.sealed)
		p->stream_failed = true;	/* each byte twice at the most */
}

static void handle_looked_up(struct publish *p, const struct event *ev)
{
	if (p->phase != PHASE_LOOKUP)
		return;
	if (ev->api_err.kind != API_OK) {
		p->phase = p->upload_id[0] ? PHASE_OPEN : PHASE_IDLE;
		fail_api(p, &ev->api_err);
		return;
	}
	if (ev->id[0] && !p->stale_unknown) {
		log_info("%s/%s: complete's reply was lost, but the File is there",
			 p->upload_purpose, p->upload_filename);
		file_exists(p, ev);
		return;
	}
	if (!ev->id[0] && ++p->lookups < PUBLISH_LOOKUPS_MAX) {
		p->lookup_due_ms = clock_mono_ms() + (250ULL << p->lookups);
		return;
	}
	if (ev->id[0])
		publish_supersede(p, ev->id);
	p->complete_unknown = p->stale_unknown = false;
	p->phase = p->upload_id[0] ? PHASE_OPEN : PHASE_IDLE;
	if (p->after_lookup == LOOKUP_THEN_ANEW)
		cancel_upload(p);
	else if (p->after_lookup == LOOKUP_THEN_PROBE && p->upload_id[0])
		act_probe(p);
	else
		fail_api(p, &p->first_err);
}

static void handle_deleted(struct publish *p, const struct event *ev)
{
	const struct api_error *err = &ev->api_err;

	if (p->phase != PHASE_DELETING)
		return;
	if (err->kind != API_OK && err->http_status != 404)
		log_warn("%s/%s: the File it replaces, %s, could not be deleted: HTTP %d %s",
			 p->now.purpose, p->now.path, ev->id, err->http_status, err->message);
	publish_superseded_gone(p, ev->id);
	if (!strcmp(ev->id, p->file_id))
		p->file_id[0] = '\0';
	p->phase = PHASE_CLEANUP;
}

void publish_handle(struct publish *p, const struct event *ev)
{
	if (ev->kind == EV_SYNCED) {
		p->syncing = false;
		/* A file that was reopened meanwhile is synced again at its next close. */
		if (!p->now.sealed)
			return;
		p->synced = ev->err == 0;
		if (ev->err) {
			publish_tell_durable(p, ev->err);
			fail_local(p, ev->err, "syncing the staged file");
		}
		return;
	}
	if (ev->epoch != p->epoch) {
		if (ev->kind == EV_CREATED && ev->api_err.kind == API_OK)
			cancel_by_id(p, ev->id);
		return;
	}
	switch (ev->kind) {
	case EV_CREATED:
		handle_created(p, ev);
		break;
	case EV_PART:
		handle_part(p, ev);
		break;
	case EV_COMPLETED:
		handle_completed(p, ev);
		break;
	case EV_PROBED:
		handle_probed(p, ev);
		break;
	case EV_LOOKED_UP:
		handle_looked_up(p, ev);
		break;
	case EV_DELETED:
		handle_deleted(p, ev);
		break;
	default:
		break;
	}
}

/* ---- the step ---- */

static void view_parts(struct publish *p, struct publish_view *v)
{
	for (uint32_t i = 0; i < p->part_count; i++) {
		struct part *part = &p->parts[i];

		/* Before the close a rewritten Part waits: it may be rewritten again. */
		if (part->state == PART_SENT && v->sealed &&
		    part->version != staged_part_version(p->staged, i))
			part->state = PART_NONE;
		v->missing += part->state != PART_SENT;
		v->ready += part_is_ready(p, i, v->sealed);
	}
	v->sending = p->sending;
	v->slot = p->sending < p->pr->cfg.parallel;
}

static void view_size(const struct publish *p, struct publish_view *v)
{
	uint64_t size = staged_size(p->staged);

	if (v->sealed) {
		v->size = size;
		v->size_known = true;
		return;
	}
	v->size = p->now.declared ? p->now.declared : p->now.predicted;
	/* More bytes than foreseen: the guess was wrong. */
	v->size_known = v->size > 0 && v->size <= STAGED_SIZE_MAX && size <= v->size;
}

static void make_view(struct publish *p, struct publish_view *v)
{
	int r = 0;

	*v = (struct publish_view){
		.phase = p->phase,
		.outcome = p->outcome,
		.dropped = p->now.dropped,
		.aborted = p->now.aborted,
		.held = p->now.held,
		.retry = p->now.retry,
		.sealed = publish_sealed(p),
		.stream_failed = p->stream_failed,
		.complete_unknown = p->complete_unknown,
		.synced = p->synced,
		.syncing = p->syncing,
	};
	view_size(p, v);
	if (p->phase == PHASE_OPEN) {
		v->mismatch = (v->size_known && v->size != p->upload_bytes) ||
			      strcmp(p->upload_filename, publish_filename(p)) != 0 ||
			      strcmp(p->upload_purpose, p->now.purpose) != 0;
		v->expired = clock_mono_ms() >= p->upload_deadline_ms;
		view_parts(p, v);
	}
	if (v->sealed) {
		r = staged_md5(p->staged, p->md5);
		v->md5_known = r == 0;
		v->md5_err = r == -EAGAIN ? 0 : r;
	}
}

static void act_cancel(struct publish *p, const struct publish_view *v)
{
	if (v->expired && !v->dropped && !v->aborted && !v->sealed) {
		log_info("%s/%s: the Upload expired; what is missing is sent at the close",
			 p->now.purpose, p->now.path);
		p->stream_failed = true;
	}
	cancel_upload(p);
}

static void act(struct publish *p, enum publish_action action, const struct publish_view *v)
{
	switch (action) {
	case ACT_CREATE:
		act_create(p, v->size);
		break;
	case ACT_SEND:
		act_send(p);
		break;
	case ACT_SYNC:
		act_sync(p);
		break;
	case ACT_COMPLETE:
		act_complete(p);
		break;
	case ACT_CANCEL:
		act_cancel(p, v);
		break;
	case ACT_LOOKUP:
		p->after_lookup = LOOKUP_THEN_ANEW;
		p->phase = PHASE_LOOKUP;
		p->lookups = 0;
		p->lookup_due_ms = clock_mono_ms();
		break;
	case ACT_FAIL_READ:
		fail_local(p, v->md5_err, "reading the staged file");
		break;
	case ACT_REOPEN:
		act_reopen(p);
		break;
	case ACT_CLEANUP:
		act_cleanup(p);
		break;
	case ACT_END_EMPTY:
		act_end(p, OUTCOME_EMPTY);
		break;
	case ACT_END_ABORTED:
		act_end(p, OUTCOME_ABORTED);
		break;
	case ACT_END_DROPPED:
		act_end(p, OUTCOME_DROPPED);
		break;
	case ACT_WAIT:
		break;
	}
}

/* Writing went on after an end: a new publication of the same staged file. */
static void start_over(struct publish *p)
{
	p->now.reopen = false;
	if (p->phase == PHASE_ENDED && p->outcome == OUTCOME_COMPLETED && p->file_id[0]) {
		publish_supersede(p, p->file_id);
		p->file_id[0] = '\0';
	}
	if (p->complete_unknown)
		p->stale_unknown = true;
	cancel_upload(p);
	p->upload_bytes = 0;
	p->outcome = OUTCOME_NONE;
	p->stream_failed = p->synced = false;
	p->restarts = p->bad_replies = p->lookups = p->retries = 0;
	p->retry_due_ms = p->sealed_ms = 0;
	p->md5[0] = '\0';
	note_error(p, 0, "", "");
	publish_save_record(p, false);
}

static bool due(uint64_t *when)
{
	if (!*when || *when > clock_mono_ms())
		return false;
	*when = 0;
	return true;
}

static void check_timers(struct publish *p)
{
	if (p->now.held && due(&p->now.hold_deadline_ms)) {
		log_info("%s/%s: no rename came, published under this name", p->now.purpose,
			 p->now.path);
		publish_end_hold(p);
	}
	if (p->phase == PHASE_LOOKUP && due(&p->lookup_due_ms))
		publish_start_lookup(p);
	if (p->phase == PHASE_ENDED && p->outcome == OUTCOME_FAILED && p->now.sealed &&
	    due(&p->retry_due_ms))
		p->now.retry = true;
}

static void earliest(uint64_t *at, uint64_t when)
{
	if (when && (!*at || when < *at))
		*at = when;
}

static void set_timer(struct publish *p)
{
	uint64_t at = 0;

	if (p->now.held)
		earliest(&at, p->now.hold_deadline_ms);
	if (p->phase == PHASE_LOOKUP)
		earliest(&at, p->lookup_due_ms);
	if (p->phase == PHASE_OPEN)
		earliest(&at, p->upload_deadline_ms);
	if (p->phase == PHASE_ENDED && p->outcome == OUTCOME_FAILED && p->now.sealed)
		earliest(&at, p->retry_due_ms);
	p->wake_ms = at;
}

static void check_durable(struct publish *p)
{
	int r;

	if (!p->synced || !publish_wants_durable(p))
		return;
	r = publish_save_record(p, true);
	publish_tell_durable(p, r);
}

static bool check_declared(struct publish *p)
{
	char text[160];
	uint64_t size = staged_size(p->staged);

	if (!p->now.declared || size == p->now.declared || !publish_sealed(p) || p->now.dropped ||
	    (p->phase != PHASE_IDLE && p->phase != PHASE_OPEN))
		return true;
	snprintf(text, sizeof(text),
		 "closed with %llu bytes, but user.upload.size declared %llu; write the rest or set "
		 "user.upload.publish",
		 (unsigned long long)size, (unsigned long long)p->now.declared);
	cancel_upload(p);
	fail(p, -EIO, text, "");
	return false;
}

void publish_step(struct publish *p)
{
	struct publish_view v;
	enum publish_action action;

	if (p->now.reopen)
		start_over(p);
	if (!p->recorded || p->now.changed) {
		p->recorded = true;
		publish_save_record(p, false);
	}
	if (p->now.sealed && !p->sealed_ms)
		p->sealed_ms = clock_mono_ms();
	check_timers(p);
	do {
		if (!check_declared(p))
			break;
		make_view(p, &v);
		action = publish_next(&v);
		act(p, action, &v);
	} while (action != ACT_WAIT);
	check_durable(p);
	set_timer(p);
}
