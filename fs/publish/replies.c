/*
 * The effects of each reply. Publisher thread.
 */
#include "fs/publish/replies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/act.h"
#include "fs/publish/doubt.h"
#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/lookup.h"
#include "fs/publish/parts.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/retry.h"
#include "fs/publish/same.h"
#include "fs/publish/service.h"
#include "fs/publish/sync.h"
#include "fs/publish/upload.h"
#include "fs/publish/whole.h"
#include "fs/remote/errmap.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define CREATED_SLACK_S 2 /* a Date has whole seconds */

/*
 * The service's clock when create was sent, at the latest: for a reply that tells no created_at.
 * deadline_ms still has the time of the request.
 */
static int64_t created_at_guess(const struct publish *p, const struct event *ev)
{
	int64_t took_s = (int64_t)((clock_mono_ms() - p->upload.deadline_ms) / 1000);
	int64_t now = ev->api_err.server_time ? ev->api_err.server_time : clock_wall_s();

	return now - took_s - CREATED_SLACK_S;
}

static void handle_created(struct publish *p, const struct event *ev)
{
	uint64_t ttl_ms = API_UPLOAD_TTL_S * 1000ULL;

	api_req_unref(p->upload.create_req);
	p->upload.create_req = NULL;
	p->phase = PHASE_IDLE;
	if (publish_whole_refused(p, &ev->api_err))
		return;
	if (ev->api_err.kind != API_OK) {
		/* An unreadable reply may hide an Upload, which expires by itself. */
		if (ev->api_err.kind != API_ERR_BAD_REPLY ||
		    ++p->retry.bad_replies >= PUBLISH_BAD_REPLIES_MAX)
			publish_fail_api(p, &ev->api_err);
		return;
	}
	p->pr->service.uploads = UPLOADS_THERE;
	p->abandoned.due = true;
	p->parts.count = publish_part_count(p, p->upload.bytes);
	p->parts.v = calloc(p->parts.count, sizeof(*p->parts.v));
	memcpy(p->upload.id, ev->id, sizeof(p->upload.id));
	p->phase = PHASE_OPEN;
	if (!p->parts.v) {
		p->parts.count = 0;
		publish_fail_memory(p);
		return;
	}
	p->upload.created_at = ev->created_at ? ev->created_at : created_at_guess(p, ev);
	p->upload.created_ms = clock_mono_ms();
	p->upload.expires_at = p->upload.created_at + API_UPLOAD_TTL_S;
	if (ev->expires_at > ev->created_at && ev->expires_at - ev->created_at < 86400) {
		p->upload.expires_at = ev->expires_at;
		ttl_ms = (uint64_t)(ev->expires_at - ev->created_at) * 1000;
	}
	p->upload.deadline_ms += ttl_ms; /* counted from before create was sent */
	if (publish_created_twin(p))
		return;
	publish_note_step(p);
}

static void refused(struct publish *p, const struct api_error *err, enum errmap_call call,
		    bool maybe_complete)
{
	p->failure.first_err = *err;
	p->failure.first_call = call;
	if (maybe_complete) {
		publish_doubt(p, err);
	} else if (publish_is_refusal(err)) {
		publish_act_probe(p);
	} else {
		publish_fail_api(p, err);
	}
}

/* True if an attempt was sent to which no usable answer came. */
static bool left_stray(const struct api_error *err)
{
	return err->attempts > 1 ||
	       (err->attempts && err->kind != API_OK && err->kind != API_ERR_HTTP);
}

static void handle_part(struct publish *p, const struct event *ev)
{
	uint32_t version = ev->version;
	struct part *part;
	bool live, right;

	if (ev->index >= p->parts.count)
		return;
	part = &p->parts.v[ev->index];
	live = p->parts.live.on && p->parts.live.index == ev->index;
	right = !live || publish_live_ended(p, ev, &version);
	api_req_unref(part->req);
	part->req = NULL;
	part->state = PART_NONE;
	p->parts.sending--;
	p->parts.stray |= p->phase == PHASE_OPEN && left_stray(&ev->api_err);
	p->failure.complete_refused = false;
	/* A probed Upload is given up anyway. A live Part that is not right is sent again. */
	if (p->phase != PHASE_OPEN || !right)
		return;
	/* Cut while it was sent: the version tells what to send again. */
	if (ev->api_err.kind == API_ERR_LOCAL && ev->api_err.local_errno == -ENODATA &&
	    version != publish_part_version(p, ev->index))
		return;
	if (ev->api_err.kind != API_OK) {
		if (ev->api_err.kind != API_ERR_BAD_REPLY ||
		    ++p->retry.bad_replies >= PUBLISH_BAD_REPLIES_MAX)
			refused(p, &ev->api_err, ERRMAP_PART, false);
		return;
	}
	/* The version shows a rewrite during the transfer at the close. */
	free(part->id);
	part->id = strdup(ev->id);
	if (!part->id)
		return;
	part->version = version;
	part->state = PART_SENT;
	atomic_fetch_add(&p->pr->parts, 1);
	publish_note_step(p);
}

/* What shows that the reply is about another File than the one asked for; NULL: it is ours. */
static const char *names_another(const struct publish *p, const struct event *ev)
{
	const struct publisher_config *cfg = &p->pr->cfg;

	if (ev->filename && strcmp(ev->filename, p->upload.filename))
		return "name";
	if (ev->purpose && strcmp(ev->purpose, p->upload.purpose))
		return "purpose";
	if (publish_doubt_knows(p, ev->id) ||
	    (cfg->is_before && cfg->is_before(cfg->is_known_arg, ev->id, p->upload.mark)))
		return "id, which was there before";
	return NULL;
}

/* The reply is about another's File. Ours exists perhaps: the service has answered 2xx. */
static bool refuse_another(struct publish *p, const struct event *ev)
{
	const char *what = names_another(p, ev);
	struct api_error err = ev->api_err;

	if (!what)
		return false;
	err.kind = API_ERR_BAD_REPLY;
	err.maybe_applied = true;
	snprintf(err.message, sizeof(err.message), "the reply names another File (by its %s)",
		 what);
	publish_doubt(p, &err);
	return true;
}

static void handle_completed(struct publish *p, const struct event *ev)
{
	const struct api_error *err = &ev->api_err;

	p->phase = PHASE_OPEN;
	p->failure.complete_refused = true;
	if (err->kind == API_OK) {
		if (refuse_another(p, ev))
			return;
		if (!err->maybe_applied && !p->doubt.unknown && ev->created_at)
			publish_service_note_created(p->pr, ev->created_at == p->upload.created_at,
						     p->upload.open_ms);
		publish_note_known(p, ev);
		publish_file_exists(p, ev);
		return;
	}
	p->doubt.answered = publish_is_refusal(err) && !err->maybe_applied && !p->doubt.unknown;
	refused(p, err, ERRMAP_WRITE,
		p->doubt.answered || err->maybe_applied || err->kind == API_ERR_BAD_REPLY ||
			p->doubt.unknown);
}

void publish_verified(struct publish *p)
{
	char now[DIGEST_HEX_SIZE];
	int r = staged_md5(p->staged, now);

	if (r == -EAGAIN)
		return;
	p->phase = PHASE_IDLE;
	if (r)
		publish_fail_local(p, r, "reading the staged file");
	else if (strcmp(now, p->md5_then))
		publish_fail_damaged(p);
	else
		publish_fail_api(p, &p->failure.first_err);
}

/*
 * True if a Part may have been refused for its place only: the service began with an abandoned one
 * after it. In a new Upload there is none.
 */
static bool is_overtaken(const struct publish *p)
{
	return publish_in_sequence(p) && p->parts.stray && !p->failure.complete_refused;
}

/*
 * The answer to cancel tells whether the refused Upload was alive. If so, report the refusal; if it
 * was dead, or a Part was overtaken, make a new Upload.
 */
static void handle_probed(struct publish *p, const struct event *ev)
{
	bool overtaken = is_overtaken(p);
	bool alive = ev->api_err.kind == API_OK && !overtaken;
	bool dead = publish_is_refusal(&ev->api_err) || overtaken;

	if (p->doubt.unknown) {
		publish_doubt_cancelled(p, ev);
		return;
	}
	publish_forget_upload(p);
	p->phase = PHASE_IDLE;
	if (alive && p->failure.complete_refused && publish_sealed(p) && p->md5_then[0]) {
		publish_verify(p);
		return;
	}
	if (alive || !dead || ++p->retry.restarts > PUBLISH_RESTARTS_MAX) {
		publish_fail_api(p, &p->failure.first_err);
		return;
	}
	log_info("%s/%s: %s, a new one is made", p->now.purpose, p->now.path,
		 overtaken ? "the Upload refuses a Part that an abandoned one may have overtaken"
			   : "the Upload is gone");
	if (!p->now.sealed)
		p->retry.stream_failed = true; /* send each byte at most twice */
}

static void file_is_gone(struct publish *p, const char *file_id)
{
	publish_forget_known(p, file_id);
	if (p->owner.deleted)
		p->owner.deleted(p->owner.arg, file_id);
}

static void handle_deleted(struct publish *p, const struct event *ev)
{
	const struct api_error *err = &ev->api_err;
	char text[sizeof(p->failure.error)];
	bool failed = err->kind != API_OK && err->http_status != 404;

	if (p->phase != PHASE_DELETING)
		return;
	if (failed)
		errmap_text(err, ERRMAP_DELETE, text, sizeof(text));
	if (failed)
		log_warn("%s/%s: the File it replaces, %s, could not be deleted: %s",
			 p->now.purpose, p->now.path, ev->id, text);
	else
		file_is_gone(p, ev->id);
	/* The replaced File stays; the next daemon tries to delete it again. */
	if (failed && p->outcome.emptied) {
		publish_act_end(p, OUTCOME_EMPTY);
		return;
	}
	publish_superseded_gone(p, ev->id);
	if (!strcmp(ev->id, p->outcome.file_id))
		p->outcome.file_id[0] = '\0';
	p->phase = PHASE_CLEANUP;
	publish_note_step(p);
}

static void handle_synced(struct publish *p, const struct event *ev)
{
	publish_end_sync(p);
	/* Reopened meanwhile: the next close syncs again. */
	if (ev->version != p->sync.round)
		return;
	p->sync.err = ev->err;
}

/* Fail when retries took too long; the Upload stays, and the next try continues it. */
static void check_budget(struct publish *p)
{
	char text[160];

	if (!publish_budget_over(&p->retry.budget, p->pr->cfg.retry_budget_ms) ||
	    (p->phase != PHASE_IDLE && p->phase != PHASE_OPEN))
		return;
	snprintf(text, sizeof(text),
		 "the service answers only after retries, which took %llu s in all; it is tried "
		 "again when it may have recovered",
		 (unsigned long long)p->retry.budget.spent_ms / 1000);
	publish_budget_start(&p->retry.budget, clock_mono_ms());
	if (!publish_stream_fails(p, text))
		publish_fail(p, -EIO, text, "");
}

void publish_handle(struct publish *p, const struct event *ev)
{
	p->retry.again += ev->api_err.attempts > 1 ? ev->api_err.attempts - 1 : 0;
	publish_service_note_date(p->pr, &ev->api_err);
	if (ev->kind == EV_SYNCED) {
		handle_synced(p, ev);
		return;
	}
	if (ev->kind == EV_ABANDONED) {
		publish_abandoned_answer(p, ev);
		return;
	}
	if (ev->epoch != p->upload.epoch) {
		if (ev->kind == EV_CREATED && ev->api_err.kind == API_OK)
			publish_cancel_by_id(p, ev->id);
		return;
	}
	publish_budget_note(&p->retry.budget, clock_mono_ms(), ev->api_err.retrying_ms);
	switch (ev->kind) {
	case EV_CREATED:
		handle_created(p, ev);
		break;
	case EV_PART:
		handle_part(p, ev);
		break;
	case EV_ASKED:
		publish_handle_asked(p, ev);
		break;
	case EV_POSTED:
		publish_handle_posted(p, ev);
		break;
	case EV_COMPLETED:
		handle_completed(p, ev);
		break;
	case EV_PROBED:
		handle_probed(p, ev);
		break;
	case EV_LOOKED_UP:
		if (p->phase == PHASE_LOOKUP)
			publish_doubt_looked(p, ev);
		break;
	case EV_CHECKED:
		if (p->phase == PHASE_LOOKUP)
			publish_doubt_checked(p, ev);
		break;
	case EV_DELETED:
		handle_deleted(p, ev);
		break;
	case EV_KEPT:
		publish_handle_kept(p, ev);
		break;
	default:
		break;
	}
	check_budget(p);
}
