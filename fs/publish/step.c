/*
 * One look at a publication: take the view, ask publish_next(), act, until nothing is left to do
 * now. Publisher thread.
 */
#include "fs/publish/step.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/publish/act.h"
#include "fs/publish/doubt.h"
#include "fs/publish/fail.h"
#include "fs/publish/lookup.h"
#include "fs/publish/observe.h"
#include "fs/publish/parts.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/refused.h"
#include "fs/publish/replies.h"
#include "fs/publish/retry.h"
#include "fs/publish/same.h"
#include "fs/publish/sync.h"
#include "fs/publish/upload.h"
#include "fs/publish/whole.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define AGAIN_MS 200

/* True if a sent Part must be resent. gap: a Part before it is missing. */
static bool is_stale(const struct publish *p, uint32_t i, bool sealed, bool gap)
{
	/* It has a lower number than the missing Part will get. */
	if (gap && publish_in_sequence(p))
		return true;
	/* Resend a rewritten Part only after the close: it may change again before. */
	return sealed && p->parts.v[i].version != publish_part_version(p, i);
}

/* Count stale Parts as missing. */
static void forget_stale_parts(struct publish *p, bool sealed)
{
	bool gap = false;

	for (uint32_t i = 0; i < p->parts.count; i++) {
		struct part *part = &p->parts.v[i];

		if (part->state == PART_SENT && is_stale(p, i, sealed, gap))
			part->state = PART_NONE;
		gap |= part->state != PART_SENT;
	}
}

static void view_parts(const struct publish *p, struct publish_view *v)
{
	for (uint32_t i = 0; i < p->parts.count; i++) {
		v->missing += p->parts.v[i].state != PART_SENT;
		v->ready += publish_part_is_ready(p, i, v->sealed);
	}
	v->sending = p->parts.sending;
	/* The live Part takes no slot from complete ones. */
	v->slot = p->parts.sending - p->parts.live.on < p->pr->cfg.parallel;
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
	/* Size unknown if more bytes came than foreseen. */
	v->size_known = v->size > 0 && v->size <= STAGED_SIZE_MAX && size <= v->size;
}

/*
 * The bytes of an earlier daemon are hashed, or can't be read (err): a power cut may have spoiled
 * what was not synced.
 */
static void compare(struct publish *p, int err)
{
	p->unproven = false;
	p->spoiled = err || strcmp(p->md5, p->md5_then) != 0;
	staged_compared(p->staged, !p->spoiled);
	if (p->spoiled)
		log_error("%s/%s: what is on the disk is not what was closed, and was not synced "
			  "before the daemon ended; %s",
			  p->now.purpose, p->now.path,
			  p->outcome.file_id[0] ? "its File stays" : "it is not published");
}

/* False: the lines are not all checked yet. */
static bool view_lines(struct publish *p, struct publish_view *v)
{
	char fault[JSONL_TEXT_SIZE];
	int r = staged_fault(p->staged, fault);

	v->faulty = r == -EINVAL;
	return r != -EAGAIN;
}

/* Note the MD5 of a sealed file, once it is known. */
static void view_md5(struct publish *p, struct publish_view *v)
{
	int r = 0;

	if (!p->spoiled) {
		staged_hash_short(p->staged);
		r = staged_md5(p->staged, p->md5);
	}

	if (p->unproven && r != -EAGAIN)
		compare(p, r);
	/* What is on the disk counts no more. */
	if (p->spoiled) {
		memcpy(p->md5, p->md5_then, sizeof(p->md5));
		return;
	}
	/* The MD5 stays until the next write; a change without one is damage on disk. */
	if (r == 0 && !p->md5_then[0]) {
		memcpy(p->md5_then, p->md5, sizeof(p->md5_then));
		p->recorded.md5_unsaved = true;
		staged_check(p->staged);
	}
	if (r == 0 && strcmp(p->md5, p->md5_then))
		r = -EBADMSG;
	v->md5_known = r == 0 && view_lines(p, v);
	v->md5_err = r == -EAGAIN ? 0 : r;
}

static void view_sync(struct publish *p, struct publish_view *v)
{
	v->sync_first = p->pr->cfg.sync_always || staged_broken(p->staged);
	v->sync_wanted = v->sync_first || p->phase == PHASE_FAILING || publish_wants_durable(p);
}

static void make_view(struct publish *p, struct publish_view *v)
{
	*v = (struct publish_view){
		.phase = p->phase,
		.outcome = p->outcome.kind,
		.dropped = p->now.dropped,
		.aborted = p->now.aborted,
		.withdrawn = p->now.withdrawn,
		.held = p->now.held,
		.retry = p->now.retry,
		.sealed = publish_sealed(p),
		.stream_failed = p->retry.stream_failed,
		.complete_unknown = p->doubt.unknown,
		.synced = staged_synced(p->staged),
		.syncing = p->sync.under_way,
		.sync_failed = p->sync.err,
		.ask_first = p->refused.ask_first,
		.early = clock_mono_ms() < p->upload.not_before_ms,
		.whole = p->pr->service.uploads == UPLOADS_ABSENT,
	};
	view_size(p, v);
	v->too_large = v->size > API_FILE_MAX;
	if (p->phase == PHASE_OPEN) {
		v->mismatch = p->doubt.stale || (v->size_known && v->size != p->upload.bytes) ||
			      strcmp(p->upload.filename, publish_filename(p)) != 0 ||
			      strcmp(p->upload.purpose, p->now.purpose) != 0 ||
			      strcmp(p->upload.mime, publish_mime_type(p)) != 0 ||
			      p->upload.expiry != p->now.expires_after;
		v->expired = clock_mono_ms() >= p->upload.deadline_ms;
		forget_stale_parts(p, v->sealed);
		view_parts(p, v);
		/* Installs a watch. */
		v->live = !v->sealed && publish_live_find(p);
	}
	if (v->sealed)
		view_md5(p, v);
	publish_same_view(p, v);
	v->unproven = p->unproven;
	v->spoiled = p->spoiled;
	view_sync(p, v);
}

static void act_cancel(struct publish *p, const struct publish_view *v)
{
	if (v->expired && !v->dropped && !v->aborted && !v->sealed) {
		log_info("%s/%s: the Upload expired; what is missing is sent at the close",
			 p->now.purpose, p->now.path);
		p->retry.stream_failed = true;
	}
	publish_cancel_upload(p);
	/* Fail after several Uploads expired before everything was sent. */
	if (v->expired && v->sealed && !v->dropped && !v->aborted &&
	    ++p->retry.restarts > PUBLISH_RESTARTS_MAX)
		publish_fail(p, -ETIMEDOUT,
			     "the Upload expired before everything was sent; it is begun anew, "
			     "but the network may be too slow for a file of this size",
			     "");
}

/* Unlike a failed send, fail a held file too: its close waits. */
static void fail_local(struct publish *p, int err, const char *what)
{
	if (!p->doubt.unknown)
		publish_cancel_upload(p);
	publish_fail_errno(p, err, what);
}

static void act_fail_read(struct publish *p, int err)
{
	if (err == -EBADMSG)
		publish_fail_damaged(p);
	else
		fail_local(p, err, "reading the staged file");
}

/* As if its writer had been killed. */
static void end_spoiled(struct publish *p)
{
	pthread_mutex_lock(&p->pr->lock);
	p->in.sealed = p->in.held = false;
	p->in.aborted = true;
	pthread_mutex_unlock(&p->pr->lock);
	p->now.sealed = p->now.held = false;
	p->now.aborted = true;
	p->now.abort_err = -EIO;
	publish_act_end(p, OUTCOME_ABORTED);
}

static void act(struct publish *p, enum publish_action action, const struct publish_view *v)
{
	switch (action) {
	case ACT_CREATE:
		publish_act_create(p, v->size);
		break;
	case ACT_ASK:
		publish_whole_ask(p);
		break;
	case ACT_POST:
		publish_act_post(p, v->size);
		break;
	case ACT_KEEP:
		publish_act_keep(p);
		break;
	case ACT_FAIL_SIZE:
		publish_fail_size(p);
		break;
	case ACT_SEND:
		publish_act_send(p);
		break;
	case ACT_SEND_LIVE:
		publish_act_send_live(p);
		break;
	case ACT_SYNC:
		publish_act_sync(p);
		break;
	case ACT_COMPLETE:
		publish_act_complete(p);
		break;
	case ACT_CANCEL:
		act_cancel(p, v);
		break;
	case ACT_LOOKUP:
		publish_doubt_try(p);
		break;
	case ACT_FAIL_LINE:
		publish_fail_line(p);
		break;
	case ACT_FAIL_READ:
		act_fail_read(p, v->md5_err);
		break;
	case ACT_FAIL_SYNC:
		fail_local(p, p->sync.err, "syncing the staged file");
		break;
	case ACT_END_FAILED:
		publish_end_failed(p);
		break;
	case ACT_END_SPOILED:
		end_spoiled(p);
		break;
	case ACT_REOPEN:
		publish_act_reopen(p);
		break;
	case ACT_CLEANUP:
		publish_act_cleanup(p);
		break;
	case ACT_END_EMPTY:
		publish_act_empty(p);
		break;
	case ACT_END_ABORTED:
		publish_act_end(p, OUTCOME_ABORTED);
		break;
	case ACT_END_DROPPED:
		publish_act_end(p, OUTCOME_DROPPED);
		break;
	case ACT_WAIT:
		break;
	}
}

/* Begin a new publication of the same staged file: writing went on after an end. */
static void start_over(struct publish *p)
{
	p->outcome.emptied = false;
	refused_clear(p);
	/*
	 * Noted steps concern the old bytes; save nothing before the end of this function, or the
	 * record would call the new bytes synced.
	 */
	p->recorded.unsaved = false;
	/* An Upload in doubt is needed to end the doubt. */
	if (!p->doubt.unknown)
		publish_cancel_upload(p);
	p->phase = p->upload.id[0] ? PHASE_OPEN : PHASE_IDLE;
	/* publish_reopen() had no memory for it. */
	if (p->outcome.file_id[0] && !publish_inputs_has(&p->now, p->outcome.file_id))
		publish_supersede(p, p->outcome.file_id);
	p->outcome.file_id[0] = '\0';
	p->outcome.inferred = p->outcome.kept = false;
	publish_same_reset(p);
	/* Keep upload: the lookup compares with it. */
	if (p->doubt.unknown)
		p->doubt.stale = true;
	else
		p->upload.bytes = 0;
	p->outcome.kind = OUTCOME_NONE;
	p->retry.stream_failed = false;
	p->sync.err = 0;
	p->sync.round++;
	p->retry.restarts = p->retry.bad_replies = p->retry.retries = 0;
	p->parts.live.misses = 0;
	publish_budget_start(&p->retry.budget, clock_mono_ms());
	p->retry.due_ms = p->sealed_ms = 0;
	p->retry.again = 0;
	publish_forget_bytes(p);
	publish_note_error(p, 0, "", "");
	p->now.reopen = false;
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
	if (p->now.held && p->now.hold_deadline_ms <= clock_mono_ms() && publish_end_hold(p))
		log_info("%s/%s: no rename came, published under this name", p->now.purpose,
			 p->now.path);
	if (p->phase == PHASE_LOOKUP && due(&p->doubt.look_due_ms))
		publish_start_lookup(p);
	if (p->phase == PHASE_ENDED && p->outcome.kind == OUTCOME_FAILED && p->now.sealed &&
	    (due(&p->retry.due_ms) || refused_is_over(p))) {
		/* A close that came meanwhile is more than that. */
		p->retry.by_itself = !p->now.retry;
		p->now.retry = true;
	}
}

static void earliest(uint64_t *at, uint64_t when)
{
	if (when && (!*at || when < *at))
		*at = when;
}

static void set_timer(struct publish *p)
{
	uint64_t at = 0, now = clock_mono_ms();

	if (p->now.held)
		earliest(&at, p->now.hold_deadline_ms);
	if (p->phase == PHASE_LOOKUP)
		earliest(&at, p->doubt.look_due_ms);
	if (p->phase == PHASE_OPEN)
		earliest(&at, p->upload.deadline_ms);
	if (p->phase == PHASE_IDLE && p->upload.not_before_ms > now)
		earliest(&at, p->upload.not_before_ms);
	if (p->phase == PHASE_ENDED && p->outcome.kind == OUTCOME_FAILED && p->now.sealed)
		earliest(&at, p->retry.due_ms);
	/* This step has seen that time, and waits for something else, as a hash. */
	p->wake_ms = at && at <= now ? now + AGAIN_MS : at;
}

/* Answer the closes that wait for less than the end. */
static void check_closed(struct publish *p)
{
	bool synced = staged_synced(p->staged);

	if (p->phase == PHASE_ENDED || p->phase == PHASE_FAILING || !publish_sealed(p))
		return;
	if (synced && publish_wants_durable(p))
		publish_tell_durable(p, publish_save_record(p, true));
	else if ((synced || p->md5[0]) && publish_wants_kept(p))
		publish_tell_kept(p, publish_save_record(p, false));
}

static void check_declared(struct publish *p)
{
	char text[160];
	uint64_t size = staged_size(p->staged);

	if (!p->now.declared || size == p->now.declared || !publish_sealed(p) || p->now.dropped ||
	    (p->phase != PHASE_IDLE && p->phase != PHASE_OPEN))
		return;
	snprintf(text, sizeof(text),
		 "closed with %llu bytes, but user.upload.size declared %llu; write the rest or "
		 "set user.upload.publish",
		 (unsigned long long)size, (unsigned long long)p->now.declared);
	publish_cancel_upload(p);
	publish_fail(p, -EIO, text, "");
}

/*
 * Remove at once: the next mount must not publish the file. Calls still due at the service stay in
 * the record until they are answered.
 */
static void remove_from_disk(struct publish *p)
{
	if (p->recorded.removed)
		return;
	if (publish_owes_service(p) &&
	    (p->recorded.removal_noted || publish_save_record(p, false) == 0)) {
		p->recorded.removal_noted = true;
		return;
	}
	staged_remove(p->staged);
	p->recorded.removed = true;
}

/* Hold a reference while a removed file, which has no owner, is in doubt. */
static void keep_doubt(struct publish *p)
{
	bool wanted = p->now.dropped && p->doubt.unknown;

	if (wanted == p->doubt.kept)
		return;
	p->doubt.kept = wanted;
	if (wanted)
		publish_ref(p);
	else
		publish_unref(p); /* not the last reference: the look holds one */
}

void publish_step(struct publish *p)
{
	struct publish_view v;
	enum publish_action action;
	bool ended;

	if (p->now.dropped)
		remove_from_disk(p);
	/* Dropped: abort the POST; if it completed, lookup finds the File. */
	if (p->now.dropped && p->phase == PHASE_POSTING)
		api_req_cancel(p->upload.post_req);
	publish_cancel_abandoned(p);
	if (p->now.reopen)
		start_over(p);
	/* The record of a completed file is not needed and may be gone. */
	ended = p->phase == PHASE_ENDED && p->outcome.kind == OUTCOME_COMPLETED;
	if (!p->recorded.begun || (p->now.changed && !ended)) {
		p->recorded.begun = true;
		publish_save_record(p, false);
	}
	if (p->phase == PHASE_VERIFYING)
		publish_verified(p);
	if (p->now.sealed && !p->sealed_ms)
		p->sealed_ms = clock_mono_ms();
	check_timers(p);
	do {
		check_declared(p);
		make_view(p, &v);
		action = publish_next(&v);
		act(p, action, &v);
	} while (action != ACT_WAIT);
	publish_live_look(p);
	check_closed(p);
	if (p->now.dropped)
		remove_from_disk(p);
	publish_save_step(p);
	publish_save_md5(p);
	set_timer(p);
	keep_doubt(p);
}
