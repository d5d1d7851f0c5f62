/*
 * The publisher's thread, its queue, the inputs other threads set and the
 * snapshot they read. What a publication does stands in publish_steps.c.
 */
#include "fs/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish_impl.h"
#include "fs/staging.h"
#include "net/clock.h"
#include "net/log.h"

static void queue_locked(struct publish *p)
{
	struct publisher *pr = p->pr;

	unsigned refs = atomic_load(&p->refs);

	if (p->run_queued || pr->stop)
		return;
	/* A hook may come in while the last reference goes: then it is too late
	 * to look at anything. Else the queue takes a reference. */
	do {
		if (refs == 0)
			return;
	} while (!atomic_compare_exchange_weak(&p->refs, &refs, refs + 1));
	p->run_queued = true;
	p->run_next = NULL;
	*pr->run_tail = p;
	pr->run_tail = &p->run_next;
	pthread_cond_signal(&pr->wake);
}

void publish_post(struct publish *p, struct event *ev)
{
	struct publisher *pr = p->pr;

	pthread_mutex_lock(&pr->lock);
	if (ev) {
		ev->next = NULL;
		*p->events_tail = ev;
		p->events_tail = &ev->next;
	}
	queue_locked(p);
	pthread_mutex_unlock(&pr->lock);
}

static void hook_wake(void *arg)
{
	publish_post(arg, NULL);
}

void publish_side_call(struct publisher *pr, int delta)
{
	pthread_mutex_lock(&pr->lock);
	pr->side_calls = (unsigned)((int)pr->side_calls + delta);
	if (pr->side_calls == 0)
		pthread_cond_broadcast(&pr->idle);
	pthread_mutex_unlock(&pr->lock);
}

/* ---- inputs ---- */

static void free_strings(char **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

void publish_inputs_release(struct publish_inputs *in)
{
	free(in->purpose);
	free(in->path);
	free(in->hold_name);
	free(in->mime);
	free_strings(in->superseded, in->superseded_count);
	memset(in, 0, sizeof(*in));
}

static char *dup_or_null(const char *s, bool *failed)
{
	char *d = s ? strdup(s) : NULL;

	if (s && !d)
		*failed = true;
	return d;
}

int publish_inputs_copy(struct publish_inputs *dst, const struct publish_inputs *src)
{
	struct publish_inputs n = *src;
	bool failed = false;

	n.purpose = dup_or_null(src->purpose, &failed);
	n.path = dup_or_null(src->path, &failed);
	n.hold_name = dup_or_null(src->hold_name, &failed);
	n.mime = dup_or_null(src->mime, &failed);
	n.superseded = calloc(src->superseded_count + 1, sizeof(*n.superseded));
	n.superseded_count = 0;
	if (!n.superseded)
		failed = true;
	for (size_t i = 0; !failed && i < src->superseded_count; i++)
		n.superseded[n.superseded_count++] = dup_or_null(src->superseded[i], &failed);
	if (failed) {
		publish_inputs_release(&n);
		return -ENOMEM;
	}
	publish_inputs_release(dst);
	*dst = n;
	return 0;
}

/* Every setter: change the inputs under the lock, then let the thread look. */
#define WITH_INPUTS(p, ...)                            \
	do {                                           \
		pthread_mutex_lock(&(p)->pr->lock);    \
		struct publish_inputs *in = &(p)->in;  \
		(void)in;                              \
		__VA_ARGS__;                           \
		queue_locked(p);                       \
		pthread_mutex_unlock(&(p)->pr->lock);  \
	} while (0)

void publish_predict(struct publish *p, uint64_t size)
{
	WITH_INPUTS(p, in->predicted = size);
}

void publish_declare(struct publish *p, uint64_t size)
{
	WITH_INPUTS(p, in->declared = size);
}

void publish_set_expiry(struct publish *p, uint64_t seconds)
{
	WITH_INPUTS(p, in->expires_after = seconds);
}

void publish_set_owner(struct publish *p, uint32_t mode, uint32_t uid, uint32_t gid)
{
	WITH_INPUTS(p, in->mode = mode, in->uid = uid, in->gid = gid);
}

void publish_set_mime(struct publish *p, const char *mime_type)
{
	char *d = mime_type ? strdup(mime_type) : NULL;
	char *old;

	WITH_INPUTS(p, old = in->mime; in->mime = d);
	free(old);
}

int publish_rename(struct publish *p, const char *purpose, const char *path)
{
	char *a = strdup(purpose), *b = strdup(path), *old_a, *old_b;

	if (!a || !b) {
		free(a);
		free(b);
		return -ENOMEM;
	}
	char *old_hold;

	WITH_INPUTS(p, old_a = in->purpose; old_b = in->path; old_hold = in->hold_name;
		    in->purpose = a; in->path = b; in->hold_name = NULL; in->changed = true);
	free(old_a);
	free(old_b);
	free(old_hold);
	return 0;
}

static int add_string(char ***v, size_t *n, char *s)
{
	char **grown = realloc(*v, (*n + 2) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	*v = grown;
	grown[(*n)++] = s;
	return 0;
}

int publish_supersede(struct publish *p, const char *file_id)
{
	char *d = strdup(file_id);
	int r = -ENOMEM;

	if (d) {
		WITH_INPUTS(p, r = add_string(&in->superseded, &in->superseded_count, d));
		if (r)
			free(d);
	}
	return r;
}

static void seal_locked(struct publish *p, bool held)
{
	p->in.sealed = true;
	p->in.held = held;
	p->in.aborted = false;
	p->info.under_way = true;
}

void publish_seal(struct publish *p)
{
	WITH_INPUTS(p, in->retry = p->info.outcome == OUTCOME_FAILED ||
				   p->info.outcome == OUTCOME_ABORTED;
		    seal_locked(p, false));
}

int publish_hold(struct publish *p, const char *filename, unsigned timeout_s)
{
	char *d = strdup(filename), *old;

	if (!d)
		return -ENOMEM;
	WITH_INPUTS(p, old = in->hold_name; in->hold_name = d;
		    in->hold_deadline_ms = clock_mono_ms() + timeout_s * 1000ULL;
		    seal_locked(p, true));
	free(old);
	return 0;
}

void publish_abort(struct publish *p)
{
	WITH_INPUTS(p, in->aborted = true; in->predicted = 0);
}

bool publish_reopen(struct publish *p)
{
	bool ok;

	WITH_INPUTS(p, ok = !p->info.under_way;
		    if (ok) {
			    in->reopen = true;
			    in->sealed = in->held = in->aborted = in->retry = false;
			    in->predicted = 0;
			    p->durable_done = false;
			    p->info.outcome = OUTCOME_NONE;
			    p->info.status = "writing";
		    });
	return ok;
}

bool publish_begin_retry(struct publish *p)
{
	bool ok;

	pthread_mutex_lock(&p->pr->lock);
	ok = !p->in.reopen && !p->in.dropped;
	if (ok && p->in.sealed)
		p->info.under_way = true;
	p->in.retry = false;
	pthread_mutex_unlock(&p->pr->lock);
	return ok;
}

void publish_end_hold(struct publish *p)
{
	pthread_mutex_lock(&p->pr->lock);
	p->in.held = p->now.held = false;
	free(p->in.hold_name);
	p->in.hold_name = NULL;
	pthread_mutex_unlock(&p->pr->lock);
	free(p->now.hold_name);
	p->now.hold_name = NULL;
}

void publish_superseded_gone(struct publish *p, const char *file_id)
{
	struct publish_inputs *both[2] = { &p->in, &p->now };

	pthread_mutex_lock(&p->pr->lock);
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < both[k]->superseded_count; i++) {
			if (strcmp(both[k]->superseded[i], file_id))
				continue;
			free(both[k]->superseded[i]);
			both[k]->superseded[i] =
				both[k]->superseded[--both[k]->superseded_count];
			break;
		}
	}
	pthread_mutex_unlock(&p->pr->lock);
}

bool publish_wants_durable(struct publish *p)
{
	bool wanted = false;

	pthread_mutex_lock(&p->pr->lock);
	for (const struct publish_wait *w = p->waits; w; w = w->next)
		wanted |= w->until == UNTIL_DURABLE;
	wanted &= !p->durable_done;
	pthread_mutex_unlock(&p->pr->lock);
	return wanted;
}

void publish_drop(struct publish *p)
{
	WITH_INPUTS(p, in->dropped = true);
}

/* ---- waiting ---- */

void publish_wait(struct publish *p, struct publish_wait *w)
{
	w->p = publish_ref(p);
	pthread_mutex_lock(&p->pr->lock);
	w->linked = true;
	w->next = p->waits;
	p->waits = w;
	queue_locked(p);
	pthread_mutex_unlock(&p->pr->lock);
}

bool publish_wait_cancel(struct publish_wait *w)
{
	struct publish *p = w->p;
	bool was;

	pthread_mutex_lock(&p->pr->lock);
	was = w->linked;
	for (struct publish_wait **at = &p->waits; was && *at; at = &(*at)->next) {
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
	if (!p->info.under_way)
		return true;
	return w->until == UNTIL_DURABLE && p->durable_done;
}

/* Publisher thread. Takes over those that are over, and calls them without the lock. */
static void tell_waiters(struct publish *p)
{
	struct publish_wait *over = NULL, *w;
	int err;

	pthread_mutex_lock(&p->pr->lock);
	err = p->info.err;
	for (struct publish_wait **at = &p->waits; (w = *at) != NULL;) {
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
		w->cb(w->arg, err);	/* may free w */
		publish_unref(p);
	}
}

void publish_tell_durable(struct publish *p, int err)
{
	pthread_mutex_lock(&p->pr->lock);
	p->durable_done = true;
	if (err)
		p->info.err = err;
	pthread_mutex_unlock(&p->pr->lock);
}

/* ---- the snapshot ---- */

static const char *status_word(const struct publish *p)
{
	if (p->phase == PHASE_ENDED) {
		switch (p->outcome) {
		case OUTCOME_COMPLETED:
			return "completed";
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
	return p->upload_id[0] || p->phase == PHASE_CREATING ? "streaming" : "writing";
}

static unsigned parts_done(const struct publish *p)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < p->part_count; i++)
		n += p->parts[i].state == PART_SENT;
	return n;
}

void publish_snapshot(struct publish *p)
{
	struct publish_info *o = &p->info;
	unsigned done = parts_done(p);

	pthread_mutex_lock(&p->pr->lock);
	o->status = status_word(p);
	o->outcome = p->phase == PHASE_ENDED ? p->outcome : OUTCOME_NONE;
	o->err = p->err;
	o->upload_bytes = p->upload_bytes;
	o->parts_done = done;
	o->parts_total = p->part_count;
	memcpy(o->upload_id, p->upload_id, sizeof(o->upload_id));
	memcpy(o->file_id, p->file_id, sizeof(o->file_id));
	memcpy(o->request_id, p->request_id, sizeof(o->request_id));
	memcpy(o->md5, p->md5, sizeof(o->md5));
	memcpy(o->error, p->error, sizeof(o->error));
	pthread_mutex_unlock(&p->pr->lock);
}

void publish_get_info(struct publish *p, struct publish_info *ret)
{
	pthread_mutex_lock(&p->pr->lock);
	*ret = p->info;
	/* A close that the thread has not looked at yet. */
	if (ret->under_way && ret->outcome != OUTCOME_NONE)
		ret->status = p->in.held ? "held" : "publishing";
	pthread_mutex_unlock(&p->pr->lock);
}

void publish_finish(struct publish *p, enum publish_outcome outcome)
{
	struct publish_result r = {
		.outcome = outcome,
		.err = p->err,
		.error = p->error[0] ? p->error : NULL,
		.file_id = p->file_id,
		.filename = p->upload_filename,
		.purpose = p->upload_purpose,
		.md5 = p->md5,
		.bytes = p->upload_bytes,
		.created_at = p->file_created_at,
		.expires_at = p->file_expires_at,
	};

	p->phase = PHASE_ENDED;
	p->outcome = outcome;
	publish_snapshot(p);
	if (p->ended)
		p->ended(p->arg, p, &r);
	pthread_mutex_lock(&p->pr->lock);
	/* An abort or a drop can end what no close began, and a close may have
	 * come in since: then there is a new end to wait for. */
	if (!p->in.reopen)
		p->info.under_way = false;
	p->in.retry = false;
	p->now.retry = false;
	if (outcome == OUTCOME_COMPLETED)
		p->pr->completed++;
	pthread_cond_broadcast(&p->pr->idle);
	pthread_mutex_unlock(&p->pr->lock);
}

/* ---- the thread ---- */

static struct publish *next_due_locked(struct publisher *pr, uint64_t now, uint64_t *ret_next)
{
	struct publish *due = NULL;

	*ret_next = UINT64_MAX;
	for (struct publish *p = pr->all; p; p = p->all_next) {
		if (!p->wake_ms)
			continue;
		if (p->wake_ms <= now && !due)
			due = p;
		else if (p->wake_ms < *ret_next)
			*ret_next = p->wake_ms;
	}
	return due;
}

static void wait_locked(struct publisher *pr, uint64_t until_ms)
{
	struct timespec ts;

	if (until_ms == UINT64_MAX) {
		pthread_cond_wait(&pr->wake, &pr->lock);
		return;
	}
	/* The condition uses the monotonic clock of the system; a replaced clock
	 * in a test only makes us look more often. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t now = clock_mono_ms(), ms = until_ms > now ? until_ms - now : 0;

	if (ms > 1000)
		ms = 1000;
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	pthread_cond_timedwait(&pr->wake, &pr->lock, &ts);
}

/* Takes the next publication to look at, with a reference; NULL when stopped. */
static struct publish *take_next(struct publisher *pr)
{
	struct publish *p = NULL;
	uint64_t next;

	pthread_mutex_lock(&pr->lock);
	for (;;) {
		if (pr->stop)
			break;
		p = next_due_locked(pr, clock_mono_ms(), &next);
		if (p) {
			p->wake_ms = 0;
			queue_locked(p);
		}
		p = pr->run_head;
		if (p)
			break;
		pr->stepping = false;
		pthread_cond_broadcast(&pr->idle);
		wait_locked(pr, next);
	}
	if (p) {
		pr->stepping = true;
		pr->run_head = p->run_next;
		if (!pr->run_head)
			pr->run_tail = &pr->run_head;
		p->run_queued = false;
	}
	pthread_mutex_unlock(&pr->lock);
	return p;
}

static void look_at(struct publish *p)
{
	struct event *events, *ev;
	int r;

	pthread_mutex_lock(&p->pr->lock);
	events = p->events;
	p->events = NULL;
	p->events_tail = &p->events;
	/* Replies belong to what stood before the inputs changed. */
	pthread_mutex_unlock(&p->pr->lock);
	while ((ev = events) != NULL) {
		events = ev->next;
		publish_handle(p, ev);
		free(ev);
	}
	pthread_mutex_lock(&p->pr->lock);
	r = publish_inputs_copy(&p->now, &p->in);
	if (r == 0)
		p->in.reopen = p->in.changed = false;
	pthread_mutex_unlock(&p->pr->lock);
	if (r) {
		/* Out of memory: leave everything as it is and look again in a moment. */
		p->wake_ms = clock_mono_ms() + 200;
		return;
	}
	publish_step(p);
	publish_snapshot(p);
	tell_waiters(p);
}

static void *publisher_main(void *arg)
{
	struct publisher *pr = arg;
	struct publish *p;

	while ((p = take_next(pr)) != NULL) {
		look_at(p);
		publish_unref(p);
	}
	return NULL;
}

int publisher_new(const struct publisher_config *cfg, struct publisher **ret)
{
	struct publisher *pr = calloc(1, sizeof(*pr));
	pthread_condattr_t attr;
	int r;

	if (!pr)
		return -ENOMEM;
	pr->cfg = *cfg;
	if (!pr->cfg.retry_first_s)
		pr->cfg.retry_first_s = 30;
	if (!pr->cfg.retry_max_s)
		pr->cfg.retry_max_s = 600;
	pr->run_tail = &pr->run_head;
	pthread_mutex_init(&pr->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pr->wake, &attr);
	pthread_cond_init(&pr->idle, &attr);
	pthread_condattr_destroy(&attr);
	r = -pthread_create(&pr->thread, NULL, publisher_main, pr);
	if (r) {
		pthread_cond_destroy(&pr->wake);
		pthread_cond_destroy(&pr->idle);
		pthread_mutex_destroy(&pr->lock);
		free(pr);
		return r;
	}
	*ret = pr;
	return 0;
}

static unsigned count_under_way_locked(const struct publisher *pr)
{
	unsigned n = 0;

	for (const struct publish *p = pr->all; p; p = p->all_next)
		n += p->info.under_way && !p->in.held;
	return n;
}

static unsigned count_unpublished_locked(const struct publisher *pr)
{
	unsigned n = 0;

	for (const struct publish *p = pr->all; p; p = p->all_next)
		n += !p->in.dropped && (p->info.under_way || p->info.outcome == OUTCOME_FAILED);
	return n;
}

unsigned publisher_drain(struct publisher *pr, unsigned timeout_s)
{
	struct timespec ts;
	unsigned left;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += timeout_s;
	pthread_mutex_lock(&pr->lock);
	pr->draining = true;
	while (r == 0 && (count_under_way_locked(pr) || pr->side_calls || pr->run_head ||
			  pr->stepping))
		r = pthread_cond_timedwait(&pr->idle, &pr->lock, &ts);
	left = count_unpublished_locked(pr);
	pthread_mutex_unlock(&pr->lock);
	return left;
}

void publisher_stop(struct publisher *pr)
{
	struct publish *p;

	pthread_mutex_lock(&pr->lock);
	pr->stop = true;
	pthread_cond_broadcast(&pr->wake);
	pthread_mutex_unlock(&pr->lock);
	pthread_join(pr->thread, NULL);
	while ((p = pr->run_head) != NULL) {
		pr->run_head = p->run_next;
		publish_unref(p);
	}
}

void publisher_free(struct publisher *pr)
{
	if (!pr)
		return;
	pthread_cond_destroy(&pr->wake);
	pthread_cond_destroy(&pr->idle);
	pthread_mutex_destroy(&pr->lock);
	free(pr);
}

void publisher_get_counts(struct publisher *pr, struct publisher_counts *ret)
{
	struct publisher_counts c = { 0 };

	pthread_mutex_lock(&pr->lock);
	for (const struct publish *p = pr->all; p; p = p->all_next) {
		c.held += p->in.held && p->info.under_way;
		c.active += p->info.under_way && !p->in.held;
		c.failed += !p->info.under_way && p->info.outcome == OUTCOME_FAILED;
		c.aborted += p->info.outcome == OUTCOME_ABORTED;
	}
	c.completed = pr->completed;
	pthread_mutex_unlock(&pr->lock);
	*ret = c;
}

/* ---- life of a publication ---- */

static struct publish *publish_alloc(struct publisher *pr, const struct publish_spec *spec)
{
	struct publish *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->pr = pr;
	atomic_init(&p->refs, 1);
	p->events_tail = &p->events;
	p->ended = spec->ended;
	p->release = spec->release;
	p->arg = spec->arg;
	p->info.status = "writing";
	p->in.purpose = strdup(spec->purpose);
	p->in.path = strdup(spec->path);
	p->in.mode = spec->mode;
	p->in.uid = spec->uid;
	p->in.gid = spec->gid;
	if (spec->hold_name)
		p->in.hold_name = strdup(spec->hold_name);
	p->staged = staged_ref(spec->staged);
	staged_keep(p->staged);
	if (!p->in.purpose || !p->in.path || (spec->hold_name && !p->in.hold_name)) {
		publish_inputs_release(&p->in);
		staged_unref(p->staged);
		free(p);
		return NULL;
	}
	return p;
}

static void publish_link(struct publish *p)
{
	struct staged_hooks hooks = { hook_wake, hook_wake, hook_wake, p };

	pthread_mutex_lock(&p->pr->lock);
	p->all_next = p->pr->all;
	if (p->all_next)
		p->all_next->all_prev = p;
	p->pr->all = p;
	pthread_mutex_unlock(&p->pr->lock);
	staged_set_hooks(p->staged, &hooks);
}

struct publish *publish_new(struct publisher *pr, const struct publish_spec *spec)
{
	struct publish *p = publish_alloc(pr, spec);

	if (!p)
		return NULL;
	publish_link(p);
	if (spec->superseded && publish_supersede(p, spec->superseded)) {
		publish_unref(p);
		return NULL;
	}
	publish_post(p, NULL);	/* its first record */
	return p;
}

struct publish *publish_recover(struct publisher *pr, const struct publish_spec *spec,
				const struct record *r)
{
	struct publish *p = publish_alloc(pr, spec);

	if (!p)
		return NULL;
	if (publish_load_record(p, r) || publish_inputs_copy(&p->now, &p->in)) {
		publish_unref(p);
		return NULL;
	}
	if (p->in.sealed)
		staged_seal(p->staged);
	publish_link(p);
	publish_snapshot(p);
	publish_post(p, NULL);
	return p;
}

struct publish *publish_ref(struct publish *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void publish_unref(struct publish *p)
{
	struct event *ev;

	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	staged_set_hooks(p->staged, NULL);
	pthread_mutex_lock(&p->pr->lock);
	if (p->all_prev)
		p->all_prev->all_next = p->all_next;
	else if (p->pr->all == p)
		p->pr->all = p->all_next;
	if (p->all_next)
		p->all_next->all_prev = p->all_prev;
	pthread_cond_broadcast(&p->pr->idle);
	pthread_mutex_unlock(&p->pr->lock);
	while ((ev = p->events) != NULL) {
		p->events = ev->next;
		free(ev);
	}
	publish_release_steps(p);
	publish_inputs_release(&p->in);
	publish_inputs_release(&p->now);
	staged_unref(p->staged);
	if (p->release)
		p->release(p->arg);
	free(p);
}
