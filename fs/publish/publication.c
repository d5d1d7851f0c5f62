/*
 * A publication: references, queue of replies, inputs under the lock, name, ranges of Parts.
 */
#include "fs/publish/publication.h"

#include <stdlib.h>
#include <string.h>

#include "fs/publish/event.h"
#include "fs/publish/inputs.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/part_layout.h"
#include "fs/stage/file.h"

bool publish_take_ref(struct publish *p)
{
	unsigned refs = atomic_load(&p->refs);

	do {
		if (refs == 0)
			return false;
	} while (!atomic_compare_exchange_weak(&p->refs, &refs, refs + 1));
	return true;
}

void publish_queue_locked(struct publish *p)
{
	struct publisher *pr = p->pr;

	/*
	 * A hook may run while the last reference goes: do nothing then. Else the queue holds a
	 * reference.
	 */
	if (p->run_queued || pr->stop || !publish_take_ref(p))
		return;
	p->run_queued = true;
	p->run_next = NULL;
	*pr->run_tail = p;
	pr->run_tail = &p->run_next;
	pthread_cond_signal(&pr->wake);
}

static void add_event_locked(struct publish *p, struct event *ev)
{
	ev->next = NULL;
	*p->events_tail = ev;
	p->events_tail = &ev->next;
}

void publish_post(struct publish *p, struct event *ev)
{
	struct publisher *pr = p->pr;

	pthread_mutex_lock(&pr->lock);
	if (ev)
		add_event_locked(p, ev);
	publish_queue_locked(p);
	pthread_mutex_unlock(&pr->lock);
}

void publish_post_last(struct publish *p, struct event *ev)
{
	struct publisher *pr = p->pr;
	bool later;

	pthread_mutex_lock(&pr->lock);
	add_event_locked(p, ev);
	later = !pr->stop;
	p->unrefs_due += later;
	publish_queue_locked(p);
	pthread_mutex_unlock(&pr->lock);
	if (!later)
		publish_unref(p);
}

void publish_side_call(struct publisher *pr, int delta)
{
	pthread_mutex_lock(&pr->lock);
	pr->side_calls = (unsigned)((int)pr->side_calls + delta);
	if (pr->side_calls == 0)
		pthread_cond_broadcast(&pr->idle);
	pthread_mutex_unlock(&pr->lock);
}

bool publish_sealed(const struct publish *p)
{
	return p->now.sealed && staged_sealed_quiet(p->staged);
}

const char *publish_filename(const struct publish *p)
{
	return p->now.hold_name ? p->now.hold_name : p->now.path;
}

const char *publish_mime_type(const struct publish *p)
{
	return p->now.mime ? p->now.mime : api_mime_type(publish_filename(p));
}

bool publish_in_sequence(const struct publish *p)
{
	return p->pr->cfg.parallel == 1;
}

uint64_t publish_part_block(const struct publish *p)
{
	return layout_block(p->pr->cfg.part_size, p->pr->cfg.parallel);
}

uint32_t publish_part_count(const struct publish *p, uint64_t bytes)
{
	return layout_count(bytes, p->pr->cfg.part_size, publish_part_block(p));
}

void publish_part_range(const struct publish *p, uint32_t i, uint64_t *ret_start, uint64_t *ret_end)
{
	layout_part(p->upload.bytes, p->pr->cfg.part_size, publish_part_block(p), i, ret_start,
		    ret_end);
}

uint32_t publish_part_version(const struct publish *p, uint32_t i)
{
	uint64_t start, end;

	publish_part_range(p, i, &start, &end);
	return staged_version(p->staged, start, end);
}

void publish_drop_parts(struct publish *p)
{
	for (uint32_t i = 0; i < p->parts.count; i++) {
		if (p->parts.v[i].req) {
			api_req_cancel(p->parts.v[i].req);
			api_req_unref(p->parts.v[i].req);
		}
		free(p->parts.v[i].id);
	}
	free(p->parts.v);
	p->parts.v = NULL;
	p->parts.count = 0;
	p->parts.sending = 0;
	p->parts.live.on = p->parts.stray = false;
}

int publish_supersede(struct publish *p, const char *file_id)
{
	int r;

	pthread_mutex_lock(&p->pr->lock);
	r = publish_inputs_supersede(&p->in, file_id);
	p->in.changed = true;
	publish_queue_locked(p);
	pthread_mutex_unlock(&p->pr->lock);
	return r;
}

bool publish_reopening(struct publish *p)
{
	bool r;

	pthread_mutex_lock(&p->pr->lock);
	r = p->in.reopen;
	pthread_mutex_unlock(&p->pr->lock);
	return r;
}

int publish_copy_inputs(struct publish *p, struct publish_inputs *dst)
{
	int r;

	pthread_mutex_lock(&p->pr->lock);
	r = publish_inputs_copy(dst, &p->in);
	pthread_mutex_unlock(&p->pr->lock);
	return r;
}

bool publish_begin_retry(struct publish *p)
{
	char *old = NULL;
	bool ok;

	pthread_mutex_lock(&p->pr->lock);
	ok = !p->in.reopen && !p->in.dropped;
	if (ok && p->in.sealed)
		p->observed.info.under_way = true;
	/* A close from now on joins this try. */
	if (ok)
		p->observed.info.outcome = OUTCOME_NONE;
	p->in.retry = false;
	/* Renamed to a temporary name after a failure, without a hold: Filename equals path now. */
	if (ok && p->in.sealed && !p->in.held) {
		old = p->in.hold_name;
		p->in.hold_name = NULL;
		free(p->now.hold_name);
		p->now.hold_name = NULL;
	}
	pthread_mutex_unlock(&p->pr->lock);
	free(old);
	return ok;
}

bool publish_end_hold(struct publish *p)
{
	char *old = NULL;
	bool ok;

	pthread_mutex_lock(&p->pr->lock);
	ok = p->in.held && !p->in.reopen && p->in.renames == p->now.renames &&
	     p->in.hold_deadline_ms == p->now.hold_deadline_ms;
	if (ok) {
		p->in.held = false;
		old = p->in.hold_name;
		p->in.hold_name = NULL;
	}
	pthread_mutex_unlock(&p->pr->lock);
	free(old);
	if (ok) {
		p->now.held = false;
		free(p->now.hold_name);
		p->now.hold_name = NULL;
	}
	return ok;
}

void publish_superseded_gone(struct publish *p, const char *file_id)
{
	pthread_mutex_lock(&p->pr->lock);
	publish_inputs_spare(&p->in, file_id);
	publish_inputs_spare(&p->now, file_id);
	pthread_mutex_unlock(&p->pr->lock);
}

static void release_steps(struct publish *p)
{
	publish_drop_parts(p);
	api_req_unref(p->upload.create_req);
	api_req_unref(p->upload.post_req);
	free(p->upload.filename);
	free(p->upload.purpose);
	free(p->upload.mime);
	for (size_t i = 0; i < p->abandoned.count; i++)
		free(p->abandoned.ids[i]);
	free(p->abandoned.ids);
}

void publish_doubt_end(struct publish *p)
{
	struct doubt *d = &p->doubt;

	while (d->stranger_count)
		free(d->strangers[--d->stranger_count]);
	free(d->strangers);
	/* The taker of the reference gives it back. */
	*d = (struct doubt){ .kept = d->kept };
}

void publish_event_free(struct event *ev)
{
	free(ev->filename);
	free(ev->purpose);
	free(ev->details);
	free(ev->found);
	free(ev);
}

void publish_destroy(struct publish *p)
{
	struct event *ev;

	while ((ev = p->events) != NULL) {
		p->events = ev->next;
		publish_event_free(ev);
	}
	release_steps(p);
	publish_doubt_end(p);
	known_release(&p->same.known);
	publish_inputs_release(&p->in);
	publish_inputs_release(&p->now);
	staged_unref(p->staged);
	pthread_mutex_destroy(&p->recorded.lock);
	free(p);
}

struct publish *publish_ref(struct publish *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void publish_unref(struct publish *p)
{
	void (*release)(void *arg);
	void *arg;

	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	staged_set_hooks(p->staged, NULL);
	pthread_mutex_lock(&p->pr->lock);
	if (p->all_prev || p->pr->all == p)
		p->pr->dropped -= p->in.dropped;
	if (p->all_prev)
		p->all_prev->all_next = p->all_next;
	else if (p->pr->all == p)
		p->pr->all = p->all_next;
	if (p->all_next)
		p->all_next->all_prev = p->all_prev;
	pthread_cond_broadcast(&p->pr->idle);
	pthread_mutex_unlock(&p->pr->lock);
	release = p->owner.release;
	arg = p->owner.arg;
	publish_destroy(p);
	if (release)
		release(arg);
}

void publish_unref_later(struct publish *p)
{
	bool later;

	if (!p)
		return;
	pthread_mutex_lock(&p->pr->lock);
	later = !p->pr->stop;
	if (later) {
		p->unrefs_due++;
		publish_queue_locked(p);
	}
	pthread_mutex_unlock(&p->pr->lock);
	if (!later)
		publish_unref(p);
}

void publish_unref_due(struct publish *p)
{
	unsigned due;

	pthread_mutex_lock(&p->pr->lock);
	due = p->unrefs_due;
	p->unrefs_due = 0;
	pthread_mutex_unlock(&p->pr->lock);
	/* The caller holds one more. */
	while (due--)
		publish_unref(p);
}
