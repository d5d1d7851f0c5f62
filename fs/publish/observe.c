/*
 * Snapshot, end and waiters of a publication; rows for the status document.
 */
#include "fs/publish/observe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"

/* ---- waiting ---- */

void publish_wait(struct publish *p, struct publish_wait *w)
{
	w->p = p;
	pthread_mutex_lock(&p->pr->lock);
	w->linked = true;
	publish_ref(p);
	w->next = p->observed.waits;
	p->observed.waits = w;
	/* After the thread's end publisher_end_waits() answers. */
	if (!p->pr->stop)
		publish_queue_locked(p);
	pthread_mutex_unlock(&p->pr->lock);
}

bool publish_wait_cancel(struct publish_wait *w)
{
	struct publish *p = w->p;
	bool was;

	pthread_mutex_lock(&p->pr->lock);
	was = w->linked;
	for (struct publish_wait **at = &p->observed.waits; was && *at; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			w->linked = false;
			break;
		}
	}
	pthread_mutex_unlock(&p->pr->lock);
	if (was)
		publish_unref(p);
	return was;
}

static bool wait_is_over(const struct publish *p, const struct publish_wait *w)
{
	if (w->until == UNTIL_PROVEN)
		return !p->observed.unproven;
	if (!p->observed.info.under_way || (w->until == UNTIL_OPENABLE && p->in.dropped))
		return true;
	/* The look for the File of a removed file may take an hour: nobody waits for that. */
	if (w->until == UNTIL_ENDED && p->in.dropped && p->observed.info.in_doubt)
		return true;
	if (w->until == UNTIL_DURABLE)
		return p->observed.durable;
	return p->observed.kept &&
	       (w->until == UNTIL_KEPT ||
		((w->until == UNTIL_WRITABLE || w->until == UNTIL_OPENABLE) && p->in.held));
}

/* Unlink the waits that are over, then call them without the lock. */
void publish_tell_waiters(struct publish *p)
{
	struct publish_wait *over = NULL, *w;
	int err;

	pthread_mutex_lock(&p->pr->lock);
	err = p->observed.info.under_way ? p->observed.close_err : p->observed.info.err;
	for (struct publish_wait **at = &p->observed.waits; (w = *at) != NULL;) {
		if (!wait_is_over(p, w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->linked = false;
		w->next = over;
		over = w;
	}
	pthread_mutex_unlock(&p->pr->lock);
	while ((w = over) != NULL) {
		over = w->next;
		w->cb(w->arg, err); /* may free w */
		publish_unref(p);
	}
}

void publish_tell_stopped(struct publish *p)
{
	struct publish_wait *all, *w;

	pthread_mutex_lock(&p->pr->lock);
	all = p->observed.waits;
	p->observed.waits = NULL;
	for (w = all; w; w = w->next)
		w->linked = false;
	pthread_mutex_unlock(&p->pr->lock);
	while ((w = all) != NULL) {
		all = w->next;
		w->cb(w->arg, -EINTR);
		publish_unref(p);
	}
}

void publish_tell_durable(struct publish *p, int err)
{
	pthread_mutex_lock(&p->pr->lock);
	p->observed.durable = p->observed.kept = true;
	p->observed.close_err = err;
	pthread_mutex_unlock(&p->pr->lock);
}

void publish_tell_kept(struct publish *p, int err)
{
	pthread_mutex_lock(&p->pr->lock);
	p->observed.kept = true;
	p->observed.close_err = err;
	pthread_mutex_unlock(&p->pr->lock);
}

/* ---- the snapshot ---- */

static const char *status_word(const struct publish *p)
{
	if (p->phase == PHASE_ENDED) {
		switch (p->outcome.kind) {
		case OUTCOME_COMPLETED:
			return p->outcome.unusable ? "failed" : "completed";
		case OUTCOME_FAILED:
			return "failed";
		case OUTCOME_ABORTED:
			return "aborted";
		case OUTCOME_EMPTY:
			return "empty";
		default:
			return "aborted";
		}
	}
	if (p->now.aborted)
		return "aborted";
	if (p->now.sealed)
		return p->now.held ? "held" : "publishing";
	return p->upload.id[0] || p->phase == PHASE_CREATING ? "streaming" : "writing";
}

/* Number of the Parts that arrived; *ret_bytes: their bytes. */
static unsigned parts_done(const struct publish *p, uint64_t *ret_bytes)
{
	uint64_t start, end;
	unsigned n = 0;

	*ret_bytes = 0;
	for (uint32_t i = 0; i < p->parts.count; i++) {
		if (p->parts.v[i].state != PART_SENT)
			continue;
		publish_part_range(p, i, &start, &end);
		*ret_bytes += end - start;
		n++;
	}
	return n;
}

static void set_status_locked(struct publish *p)
{
	const char *status = status_word(p);

	if (strcmp(p->observed.info.status, status))
		p->observed.info.since_ms = clock_mono_ms();
	p->observed.info.status = status;
	p->observed.info.outcome = p->phase == PHASE_ENDED ? p->outcome.kind : OUTCOME_NONE;
}

void publish_snapshot(struct publish *p)
{
	struct publish_info *o = &p->observed.info;
	uint64_t sent;
	unsigned done = parts_done(p, &sent);

	pthread_mutex_lock(&p->pr->lock);
	/* publish_reopen() has set the status already. */
	if (!p->in.reopen)
		set_status_locked(p);
	o->err = p->failure.err;
	o->in_doubt = p->doubt.unknown;
	p->observed.unproven = p->unproven;
	o->inferred = p->outcome.inferred && p->outcome.file_id[0];
	o->spoiled = p->spoiled;
	o->http_status = p->failure.http_status;
	o->upload_bytes = p->upload.bytes;
	o->sent_bytes = sent;
	o->sending_ms = p->parts.sending_ms;
	o->retry_ms =
		p->phase == PHASE_ENDED && p->outcome.kind == OUTCOME_FAILED ? p->retry.due_ms : 0;
	o->parts_done = done;
	o->parts_total = p->parts.count;
	memcpy(o->upload_id, p->upload.id, sizeof(o->upload_id));
	memcpy(o->file_id, p->outcome.file_id, sizeof(o->file_id));
	memcpy(o->request_id, p->failure.request_id, sizeof(o->request_id));
	memcpy(o->md5, p->md5, sizeof(o->md5));
	memcpy(o->error, p->failure.error, sizeof(o->error));
	pthread_mutex_unlock(&p->pr->lock);
}

/* Under publisher.lock. */
static bool unmakes(const struct publish *p, const struct api_file *f)
{
	const struct publish_info *info = &p->observed.info;

	if (!p->in.dropped || !info->under_way || info->in_doubt)
		return false;
	if (info->file_id[0])
		return !strcmp(info->file_id, f->id);
	return info->upload_bytes == f->bytes && !strcmp(p->in.path, f->filename) &&
	       !strcmp(p->in.purpose, f->purpose);
}

bool publisher_unmakes(struct publisher *pr, const struct api_file *f)
{
	bool found = false;

	pthread_mutex_lock(&pr->lock);
	for (const struct publish *p = pr->dropped ? pr->all : NULL; p && !found; p = p->all_next)
		found = unmakes(p, f);
	pthread_mutex_unlock(&pr->lock);
	return found;
}

void publish_get_info(struct publish *p, struct publish_info *ret)
{
	pthread_mutex_lock(&p->pr->lock);
	*ret = p->observed.info;
	ret->sent_bytes += atomic_load(&p->parts.moving);
	if (p->observed.telling && pthread_equal(pthread_self(), p->pr->thread))
		ret->under_way = false;
	/* The thread may not have looked at the close yet: tell the status it leads to. */
	else if (ret->under_way && !p->in.aborted)
		ret->status = p->in.held ? "held" : "publishing";
	snprintf(ret->mime_type, sizeof(ret->mime_type), "%s", p->in.mime ? p->in.mime : "");
	pthread_mutex_unlock(&p->pr->lock);
}

static void set_telling(struct publish *p, bool telling)
{
	pthread_mutex_lock(&p->pr->lock);
	p->observed.telling = telling;
	pthread_mutex_unlock(&p->pr->lock);
}

bool publish_may_ask(struct publish *p)
{
	bool ok;

	pthread_mutex_lock(&p->pr->lock);
	ok = !p->in.withdrawn;
	p->observed.asked = ok;
	pthread_mutex_unlock(&p->pr->lock);
	if (!ok)
		p->now.aborted = p->now.withdrawn = true;
	return ok;
}

void publish_asks_no_more(struct publish *p)
{
	pthread_mutex_lock(&p->pr->lock);
	p->observed.asked = false;
	pthread_mutex_unlock(&p->pr->lock);
}

/* Under publisher.lock: true if a close or reopen came that this end does not answer. */
static bool goes_on_locked(const struct publish *p)
{
	bool again = p->outcome.kind == OUTCOME_FAILED || p->outcome.kind == OUTCOME_ABORTED;

	return p->in.reopen || (p->in.retry && again && !p->in.aborted && !p->in.dropped);
}

/* Under publisher.lock: a force that came too late for this try is for the next one. */
static void end_force_locked(struct publish *p)
{
	bool late = p->in.forced && !p->now.forced;

	if (late && p->doubt.unknown && p->outcome.kind == OUTCOME_FAILED && p->in.sealed)
		p->in.retry = true;
	if (!late || !goes_on_locked(p))
		p->in.forced = false;
	p->now.forced = false;
}

void publish_finish(struct publish *p, enum publish_outcome outcome)
{
	struct publish_result r = {
		.outcome = outcome,
		.err = p->failure.err,
		.error = p->failure.error[0] ? p->failure.error : NULL,
		.file_id = p->outcome.file_id,
		.filename = p->upload.filename,
		.purpose = p->upload.purpose,
		.md5 = p->md5,
		.bytes = p->upload.bytes,
		.created_at = p->outcome.created_at,
		.expires_at = p->outcome.expires_at,
		.kept = p->outcome.kept,
	};
	p->phase = PHASE_ENDED;
	p->outcome.kind = outcome;
	publish_snapshot(p);
	set_telling(p, true);
	if (p->owner.ended)
		p->owner.ended(p->owner.arg, p, &r);
	set_telling(p, false);
	pthread_mutex_lock(&p->pr->lock);
	/* In doubt it is asked still. */
	p->observed.asked = p->doubt.unknown;
	/* Closed anew while the abort was under way, too early to ask for a retry: retry now. */
	if (outcome == OUTCOME_ABORTED && p->in.sealed && !p->in.aborted && !p->in.reopen)
		p->in.retry = true;
	end_force_locked(p);
	p->now.retry = false;
	if (!goes_on_locked(p)) {
		p->observed.info.under_way = false;
		p->in.retry = false;
	}
	if (outcome != OUTCOME_COMPLETED || p->outcome.news)
		p->pr->ended[outcome]++;
	if (outcome == OUTCOME_COMPLETED && p->outcome.news)
		p->pr->completed++;
	p->outcome.news = false;
	pthread_cond_broadcast(&p->pr->idle);
	pthread_mutex_unlock(&p->pr->lock);
}

/* Under publisher.lock. */
static bool waits_until(const struct publish *p, enum publish_until until)
{
	for (const struct publish_wait *w = p->observed.waits; w; w = w->next)
		if (w->until == until)
			return true;
	return false;
}

bool publish_wants_durable(struct publish *p)
{
	bool wanted;

	pthread_mutex_lock(&p->pr->lock);
	wanted = !p->observed.durable && !p->in.reopen && waits_until(p, UNTIL_DURABLE);
	pthread_mutex_unlock(&p->pr->lock);
	return wanted;
}

bool publish_wants_kept(struct publish *p)
{
	bool wanted;

	pthread_mutex_lock(&p->pr->lock);
	/* Of a held file without waiters too: it may be written again. */
	wanted = !p->observed.kept && !p->in.reopen &&
		 ((p->in.held && p->now.held) || waits_until(p, UNTIL_KEPT));
	pthread_mutex_unlock(&p->pr->lock);
	return wanted;
}

/* ---- all publications at one moment, for the status document ---- */

/* All publications not dropped, each referenced; the caller frees it. NULL: out of memory. */
static struct publish **take_all(struct publisher *pr, size_t *ret_count)
{
	struct publish **v;
	size_t n = 0;

	pthread_mutex_lock(&pr->lock);
	for (const struct publish *p = pr->all; p; p = p->all_next)
		n++;
	v = calloc(n + 1, sizeof(struct publish *));
	n = 0;
	for (struct publish *p = v ? pr->all : NULL; p; p = p->all_next)
		if (!p->in.dropped && publish_take_ref(p))
			v[n++] = p;
	pthread_mutex_unlock(&pr->lock);
	*ret_count = n;
	return v;
}

static int fill(struct publish *p, struct publish_row *row)
{
	pthread_mutex_lock(&p->pr->lock);
	row->purpose = strdup(p->in.purpose);
	row->path = strdup(p->in.path);
	pthread_mutex_unlock(&p->pr->lock);
	row->size = staged_size(p->staged);
	publish_get_info(p, &row->info);
	return row->purpose && row->path ? 0 : -ENOMEM;
}

int publisher_list(struct publisher *pr, struct publish_rows *ret)
{
	struct publish_rows rows = { 0 };
	size_t n = 0;
	struct publish **all = take_all(pr, &n);
	int r = all ? 0 : -ENOMEM;

	rows.v = calloc(n + 1, sizeof(*rows.v));
	if (!rows.v)
		r = -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = fill(all[i], &rows.v[rows.count++]);
		publish_unref(all[i]);
	}
	free(all);
	if (r)
		publish_rows_free(&rows);
	else
		*ret = rows;
	return r;
}

void publish_rows_free(struct publish_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		free(rows->v[i].purpose);
		free(rows->v[i].path);
	}
	free(rows->v);
	memset(rows, 0, sizeof(*rows));
}
