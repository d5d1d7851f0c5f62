/*
 * A complete in doubt: its view, and the effect of each step and answer. Publisher thread.
 */

#include "fs/publish/doubt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/act.h"
#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/lookup.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/retry.h"
#include "fs/publish/service.h"
#include "fs/publish/strangers.h"
#include "fs/publish/upload.h"
#include "fs/stage/file.h"
#include "fs/state/files.h"
#include "fs/state/known.h"
#include "net/base/clock.h"
#include "net/base/log.h"

/* True if the complete was probably done; plain failures make that unlikely. */
static bool is_likely(const struct publish *p)
{
	return publish_is_refusal(&p->failure.first_err) ||
	       p->failure.first_err.kind == API_ERR_BAD_REPLY || p->upload.posted;
}

/* The service has answered 2xx: the File exists, or it will not by itself. */
static void fail_done(struct publish *p)
{
	const struct api_error *err = &p->failure.first_err;
	char text[sizeof(p->failure.error)];

	snprintf(text, sizeof(text),
		 "the service answered the last step with success, but %.200s: the File exists "
		 "perhaps, and is not listed; nothing is sent again by itself: look what the "
		 "service lists, then set user.upload.publish to 1, or remove the file",
		 err->message[0] ? err->message : "its reply can't be understood");
	publish_fail(p, -EIO, text, err->request_id);
}

static void doubt_fail(struct publish *p)
{
	struct api_error *err = &p->failure.first_err;

	p->phase = p->upload.id[0] ? PHASE_OPEN : PHASE_IDLE;
	if (p->doubt.cancel == DOUBT_DONE) {
		fail_done(p);
		return;
	}
	if (err->message[0] && !is_likely(p) && !p->doubt.crowd) {
		publish_fail_api(p, err);
		return;
	}
	publish_fail(
		p, -EIO,
		p->doubt.crowd
			? "the reply to the last step was lost: the File may exist, but others "
			  "are there that look like it; remove what is not wanted, or set "
			  "user.upload.publish to send it again"
			: "the reply to the last step was lost: the File may exist, but is not "
			  "listed yet; it is looked for until that is certain, and sent again "
			  "only then",
		err->request_id);
}

/* No File exists: report the refusal of complete, or send the bytes again. */
static void doubt_over(struct publish *p)
{
	/* The Upload was alive: the refusal concerns the bytes. */
	bool meant = p->doubt.cancel == DOUBT_CANCELLED && p->failure.complete_refused &&
		     publish_is_refusal(&p->failure.first_err);

	publish_doubt_end(p);
	publish_cancel_upload(p);
	p->phase = PHASE_IDLE;
	publish_asks_no_more(p);
	if (p->recorded.only_if_seen) {
		p->now.dropped = true;
		publish_drop(p);
	}
	if (p->now.dropped)
		return;
	if (meant && !p->spoiled && publish_sealed(p) && p->md5_then[0]) {
		publish_verify(p);
		return;
	}
	if (++p->retry.restarts > PUBLISH_RESTARTS_MAX)
		publish_fail_api(p, &p->failure.first_err);
	else
		log_info("%s/%s: there is no File of it: it is sent anew", p->now.purpose,
			 p->now.path);
}

static bool is_wanted(const struct publish *p)
{
	return !p->now.dropped && !p->doubt.stale && !p->spoiled &&
	       p->upload.bytes == staged_size(p->staged) &&
	       !strcmp(p->upload.filename, publish_filename(p)) &&
	       !strcmp(p->upload.purpose, p->now.purpose) &&
	       p->upload.expiry == p->now.expires_after && publish_sealed(p);
}

/*
 * True if complete only failed: a whole list without the File allows to ask once more. Not after a
 * time-out, which took long enough.
 */
static bool may_ask_again(const struct publish *p)
{
	const struct api_error *err = &p->failure.first_err;

	return p->upload.id[0] && (err->kind == API_ERR_CONNECT ||
				   (err->kind == API_ERR_HTTP && !publish_is_refusal(err)));
}

static uint64_t patience(const struct publish *p)
{
	if (publish_is_draining(p))
		return 0;
	/* No close waits any more, and there is nothing to decide: one look. */
	if (p->doubt.cancel == DOUBT_DONE && p->retry.retries)
		return 0;
	/* Once it is cancelled the answer is certain soon. */
	if (p->doubt.cancel == DOUBT_CANCELLED || is_likely(p))
		return DOUBT_PATIENCE_MS;
	if (p->pr->cfg.complete_ms > DOUBT_BRIEF_MS && may_ask_again(p))
		return p->pr->cfg.complete_ms;
	return DOUBT_BRIEF_MS;
}

/* The user may ask for it while a look is under way, whose end would forget it. */
static bool is_forced(const struct publish *p)
{
	bool forced;

	pthread_mutex_lock(&p->pr->lock);
	forced = p->in.forced;
	pthread_mutex_unlock(&p->pr->lock);
	return forced;
}

/* True if f's created_at can't be compared with the Upload's. */
static bool is_undated(const struct publish *p, const struct lookup_found *f)
{
	return p->upload.posted || p->pr->service.created_at == CREATED_LATER || !f->created_at;
}

/*
 * True if f's created_at is what this service gives a File of the Upload. A rival of this host has
 * another second, so that the Upload's tells them apart, if it is that of the File at all.
 */
static bool is_dated(const struct publish *p, const struct lookup_found *f, bool rival)
{
	return is_undated(p, f) ? !rival : f->created_at == p->upload.created_at;
}

static void make_view(const struct publish *p, enum doubt_found found,
		      const struct lookup_found *one, struct doubt_view *v)
{
	const struct doubt *d = &p->doubt;
	bool rival = one && publish_has_rival(p);

	*v = (struct doubt_view){
		.wanted = is_wanted(p),
		.upload = p->upload.id[0],
		.expired = clock_mono_ms() >= p->upload.deadline_ms,
		.refused = publish_is_refusal(&p->failure.first_err),
		.may_repeat = !d->repeated && p->failure.first_err.attempts < 2,
		.waited_for = !p->now.dropped,
		.asked_now = d->asked_now,
		.cancel = d->cancel,
		.found = found,
		.stale = d->stale,
		.dated = one && is_dated(p, one, rival),
		.rival = rival,
		.plausible = d->plausible,
		.later = (one && !one->created_at) ||
			 (!p->upload.posted && p->pr->service.created_at == CREATED_LATER),
		.undated = one && is_undated(p, one),
		.answered = d->answered,
		.always = one && one->created_at && !p->upload.posted &&
			  p->pr->service.created_at == CREATED_WITH_UPLOAD,
		.forced = p->now.forced || is_forced(p),
		.now_ms = clock_mono_ms(),
		.looked_ms = d->looked_ms,
		.settled_ms = d->settled_ms,
		.ends_ms = d->ends_ms,
		.missed_ms = d->missed_ms,
		.began_ms = d->began_ms,
		.patience_ms = patience(p),
	};
}

static void adopt(struct publish *p, const struct lookup_found *f, const struct doubt_view *v)
{
	bool checked = v->found == FOUND_SAME;
	struct event ev = { .created_at = f->created_at, .expires_at = f->expires_at };

	memcpy(ev.id, f->id, sizeof(ev.id));
	log_info("%s/%s: the reply was lost, but the File is there: %s%s", p->upload.purpose,
		 p->upload.filename, f->id,
		 checked ? "" : " (by its name, size and time; its content can't be read)");
	if (p->doubt.stale && !p->now.dropped) {
		/* The File has bytes that were rewritten since: the next File supersedes it. */
		if (publish_supersede(p, f->id))
			log_error("out of memory: %s stays as %s", f->id, p->upload.filename);
		publish_doubt_end(p);
		publish_cancel_upload(p);
		p->phase = PHASE_IDLE;
		return;
	}
	publish_doubt_end(p);
	/* Whoever else made it may remove it: keep our bytes. */
	p->outcome.inferred = doubt_infers(v) && !p->now.dropped;
	publish_file_exists(p, &ev);
}

/* Note a look after the doubt's time that found nothing ours. Both clocks must agree. */
static void note_missed(struct publish *p, enum doubt_found found)
{
	int64_t date = p->upload.posted ? 0 : publish_service_time(p->pr);
	struct doubt *d = &p->doubt;

	if (found == FOUND_NOT_LOOKED || found == FOUND_UNSURE)
		return;
	if (!d->missed_ms && d->looked_ms >= d->ends_ms &&
	    (!date || date >= p->upload.expires_at + DOUBT_END_MS / 1000))
		d->missed_ms = d->looked_ms;
}

/* one: the candidate of FOUND_LIKE and FOUND_SAME; else NULL. */
static void doubt_step(struct publish *p, enum doubt_found found, const struct lookup_found *one)
{
	struct doubt_view v;
	uint64_t at;

	note_missed(p, found);
	if (found == FOUND_NONE && may_ask_again(p) &&
	    clock_mono_ms() <= p->doubt.began_ms + patience(p))
		p->doubt.repeated = false;
	if (found != FOUND_NOT_LOOKED)
		p->doubt.crowd = found >= FOUND_OTHERS;
	make_view(p, found, one, &v);
	switch (doubt_next(&v, &at)) {
	case DOUBT_REPEAT:
		p->doubt.repeated = true;
		p->phase = PHASE_OPEN;
		break;
	case DOUBT_CANCEL:
		p->doubt.asked_now = true;
		p->doubt.first = p->doubt.cancel == DOUBT_UNASKED;
		p->doubt.cancel = DOUBT_ASKED;
		/* Durable before it leaves: a later refusal would prove nothing. */
		publish_save_record(p, true);
		publish_act_probe(p);
		break;
	case DOUBT_LOOK:
		p->phase = PHASE_LOOKUP;
		p->doubt.look_due_ms = at;
		break;
	case DOUBT_OVER:
		doubt_over(p);
		break;
	case DOUBT_ADOPT:
		adopt(p, one, &v);
		break;
	case DOUBT_FAIL:
		doubt_fail(p);
		break;
	}
}

void publish_doubt(struct publish *p, const struct api_error *err)
{
	uint64_t now = clock_mono_ms();

	p->failure.first_err = *err;
	p->failure.first_call = ERRMAP_WRITE;
	p->doubt.unknown = true;
	if (!p->doubt.cancel)
		p->doubt.cancel = DOUBT_UNASKED;
	if (!p->doubt.began_ms)
		p->doubt.began_ms = now;
	/* Keep the MD5 of the sent bytes: later writes change it. */
	if (!p->doubt.md5[0])
		memcpy(p->doubt.md5, p->md5_then[0] ? p->md5_then : p->md5, sizeof(p->doubt.md5));
	if (!p->doubt.ends_ms)
		p->doubt.ends_ms = p->upload.id[0] ? p->upload.deadline_ms + DOUBT_END_MS
						   : now + DOUBT_POST_MS;
	/* Never ask this Upload for a File again, nor does a cancel tell anything of it. */
	if (api_took_effect(err)) {
		p->doubt.cancel = DOUBT_DONE;
		publish_forget_upload(p);
	}
	p->phase = PHASE_LOOKUP;
	doubt_step(p, FOUND_NOT_LOOKED, NULL);
}

void publish_doubt_try(struct publish *p)
{
	p->doubt.repeated = p->doubt.asked_now = false;
	p->doubt.looks = 0;
	p->doubt.looked_ms = p->doubt.began_ms = 0;
	if (p->failure.first_err.kind == API_OK)
		p->failure.first_err.kind = API_ERR_BAD_REPLY;
	publish_doubt(p, &p->failure.first_err);
}

void publish_doubt_cancelled(struct publish *p, const struct event *ev)
{
	const struct api_error *err = &ev->api_err;
	struct doubt *d = &p->doubt;
	uint64_t now = clock_mono_ms();
	bool first = d->first && err->attempts < 2;
	int64_t date = publish_service_time(p->pr);
	bool early =
		now + 60000 < p->upload.deadline_ms && (!date || date + 60 < p->upload.expires_at);

	d->cancel = DOUBT_ASKED;
	if (err->kind == API_OK && ev->upload_status == API_UPLOAD_CANCELLED) {
		d->cancel = DOUBT_CANCELLED;
		d->settled_ms = now + DOUBT_SETTLE_MS;
	} else if (first && early && (err->http_status == 400 || err->http_status == 422)) {
		d->cancel = DOUBT_REFUSED;
	}
	/* The Upload takes no more Parts. Unanswered, it may still live: keep it. */
	if (d->cancel != DOUBT_ASKED || publish_is_refusal(err) || err->kind == API_OK)
		publish_forget_upload(p);
	p->phase = PHASE_LOOKUP;
	publish_save_record(p, true);
	doubt_step(p, FOUND_NOT_LOOKED, NULL);
}

static bool is_known(const struct publish *p, const char *id)
{
	const struct publisher_config *cfg = &p->pr->cfg;

	for (size_t i = 0; i < p->doubt.stranger_count; i++)
		if (!strcmp(p->doubt.strangers[i], id))
			return true;
	for (size_t i = 0; i < p->now.superseded_count; i++)
		if (!strcmp(p->now.superseded[i], id))
			return true;
	if (cfg->db &&
	    (files_knows(cfg->db, id) || known_as_of_another(cfg->db, id, staged_id(p->staged))))
		return true;
	return cfg->is_known && cfg->is_known(cfg->is_known_arg, id);
}

bool publish_doubt_knows(const struct publish *p, const char *id)
{
	return is_known(p, id);
}

/* The candidates of a look. */
struct candidates {
	const struct lookup_found *one; /* not compared yet, or any; NULL: none */
	size_t count;
	bool plausible; /* one or more have the created_at that ours has */
	bool alone;	/* no other one can be ours */
};

/* Among several, one that has the Upload's created_at comes before those that have not. */
static void sort_candidates(const struct publish *p, const struct event *ev, struct candidates *ret)
{
	const struct lookup_found *dated = NULL, *f;
	bool rival = publish_has_rival(p);
	size_t dated_count = 0;

	*ret = (struct candidates){ 0 };
	for (size_t i = 0; i < ev->found_count; i++) {
		f = &ev->found[i];
		if (is_known(p, f->id))
			continue;
		ret->count++;
		if (!ret->one || strcmp(f->id, p->doubt.same) != 0)
			ret->one = f;
		if (is_dated(p, f, rival)) {
			dated = f;
			dated_count++;
		}
	}
	ret->plausible = dated_count > 0;
	ret->alone = ret->count == 1 || dated_count == 1;
	if (dated_count == 1)
		ret->one = dated;
}

void publish_doubt_looked(struct publish *p, const struct event *ev)
{
	struct candidates c;

	sort_candidates(p, ev, &c);
	p->doubt.plausible = c.plausible;
	p->doubt.looks++;
	/* Its cancel is asked for again while it has no answer. */
	if (p->now.dropped)
		p->doubt.asked_now = false;
	/* The list call was retried for a while already: fail with its error. */
	if (ev->api_err.kind != API_OK && !p->now.dropped) {
		p->phase = p->upload.id[0] ? PHASE_OPEN : PHASE_IDLE;
		publish_fail_api(p, &ev->api_err);
		return;
	}
	if (ev->api_err.kind != API_OK || ev->undecided)
		doubt_step(p, FOUND_UNSURE, NULL);
	else if (!c.count)
		doubt_step(p, FOUND_NONE, NULL);
	else if (c.alone && !strcmp(c.one->id, p->doubt.same))
		doubt_step(p, FOUND_SAME, c.one);
	else if (!c.alone && p->doubt.several)
		doubt_step(p, FOUND_OTHERS, NULL);
	/* Compare several candidates one after the other. */
	else if (!publish_check_content(p, c.one, c.alone))
		doubt_step(p, FOUND_UNSURE, NULL);
}

static void look_now(struct publish *p)
{
	p->phase = PHASE_LOOKUP;
	p->doubt.look_due_ms = clock_mono_ms();
}

/* Note the one with our MD5. Several: it is not known which one is ours. */
static void note_same(struct publish *p, const struct lookup_found *f, bool alone)
{
	struct doubt *d = &p->doubt;
	bool second = d->same[0] && strcmp(d->same, f->id) != 0;

	if (!d->same[0] || alone)
		memcpy(d->same, f->id, sizeof(d->same));
	d->several = second && !alone;
	if (alone)
		doubt_step(p, FOUND_SAME, f);
	else if (second)
		doubt_step(p, FOUND_OTHERS, NULL);
	else
		look_now(p); /* compare the next one */
}

/* A service that hands out no content refuses each time; one refusal may be a fault. */
static bool ask_twice(struct publish *p, const struct lookup_found *f, bool alone)
{
	if (!strcmp(p->doubt.refused, f->id))
		return false;
	memcpy(p->doubt.refused, f->id, sizeof(p->doubt.refused));
	return publish_check_content(p, f, alone);
}

void publish_doubt_checked(struct publish *p, const struct event *ev)
{
	const struct lookup_found *f = ev->found;

	switch (ev->content) {
	case CONTENT_SAME:
		note_same(p, f, ev->alone);
		break;
	case CONTENT_REFUSED:
		if (ask_twice(p, f, ev->alone))
			return;
		doubt_step(p, ev->alone ? FOUND_LIKE : FOUND_OTHERS, ev->alone ? f : NULL);
		break;
	case CONTENT_OTHER:
		log_info("%s/%s: %s is another's File: its content is not ours", p->upload.purpose,
			 p->upload.filename, f->id);
		if (publish_note_stranger(p, f->id)) {
			doubt_step(p, FOUND_UNSURE, NULL);
			return;
		}
		/* List again without it: one candidate may be left, or none. */
		look_now(p);
		break;
	case CONTENT_UNSURE:
		doubt_step(p, FOUND_UNSURE, NULL);
		break;
	}
}
