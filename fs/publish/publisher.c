/*
 * The publisher: its thread, its queue, its end and its counts.
 */

#include "fs/publish/publisher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/event.h"
#include "fs/publish/inputs.h"
#include "fs/publish/observe.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/replies.h"
#include "fs/publish/service.h"
#include "fs/publish/step.h"
#include "fs/publish/record.h"
#include "fs/publish/sync.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

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

/* Wait for the next publication to look at; its queue reference is the caller's. NULL: stopped. */
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
			publish_queue_locked(p);
		}
		p = pr->run_head;
		if (p)
			break;
		pr->stepping = false;
		pthread_cond_broadcast(&pr->idle);
		clock_cond_wait(&pr->wake, &pr->lock, next);
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
	pthread_mutex_unlock(&p->pr->lock);
	/* Handle replies with the inputs they were asked under. */
	while ((ev = events) != NULL) {
		events = ev->next;
		publish_handle(p, ev);
		publish_event_free(ev);
	}
	pthread_mutex_lock(&p->pr->lock);
	r = publish_inputs_copy(&p->now, &p->in);
	if (r == 0)
		p->in.reopen = p->in.changed = false;
	pthread_mutex_unlock(&p->pr->lock);
	if (r) {
		/* Out of memory: change nothing and look again in a moment. */
		p->wake_ms = clock_mono_ms() + 200;
		return;
	}
	publish_step(p);
	publish_snapshot(p);
	publish_tell_waiters(p);
}

static void *publisher_main(void *arg)
{
	struct publisher *pr = arg;
	struct publish *p;

	while ((p = take_next(pr)) != NULL) {
		look_at(p);
		publish_unref_due(p);
		publish_unref(p);
	}
	return NULL;
}

int publisher_new(const struct publisher_config *cfg, struct publisher **ret)
{
	struct publisher *pr = calloc(1, sizeof(*pr));
	int r;

	if (!pr)
		return -ENOMEM;
	pr->cfg = *cfg;
	if (!pr->cfg.retry_first_s)
		pr->cfg.retry_first_s = 30;
	if (!pr->cfg.retry_max_s)
		pr->cfg.retry_max_s = 600;
	if (!pr->cfg.live_step)
		pr->cfg.live_step = PUBLISH_LIVE_STEP;
	snprintf(pr->key_print, sizeof(pr->key_print), "%s", cfg->key_print ? cfg->key_print : "");
	pr->run_tail = &pr->run_head;
	pthread_mutex_init(&pr->lock, NULL);
	clock_cond_init(&pr->wake);
	clock_cond_init(&pr->idle);
	r = publish_service_load(pr);
	if (!r)
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

void publisher_set_key(struct publisher *pr, const char *print)
{
	pthread_mutex_lock(&pr->lock);
	snprintf(pr->key_print, sizeof(pr->key_print), "%s", print);
	for (struct publish *p = pr->all; p; p = p->all_next)
		publish_queue_locked(p);
	pthread_mutex_unlock(&pr->lock);
}

static unsigned count_under_way_locked(const struct publisher *pr)
{
	unsigned n = 0;

	for (const struct publish *p = pr->all; p; p = p->all_next)
		n += p->observed.info.under_way && (!p->in.held || !p->observed.kept) &&
		     !(p->in.dropped && p->observed.info.in_doubt);
	return n;
}

static unsigned count_unpublished_locked(const struct publisher *pr)
{
	unsigned n = 0;

	for (const struct publish *p = pr->all; p; p = p->all_next)
		n += !p->in.dropped &&
		     (p->observed.info.under_way || p->observed.info.outcome == OUTCOME_FAILED);
	return n;
}

unsigned publisher_drain(struct publisher *pr, unsigned timeout_s)
{
	struct timespec ts;
	unsigned left;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += timeout_s;
	atomic_store(&pr->draining, true);
	pthread_mutex_lock(&pr->lock);
	while (r == 0 &&
	       (count_under_way_locked(pr) || pr->side_calls || pr->run_head || pr->stepping))
		r = pthread_cond_timedwait(&pr->idle, &pr->lock, &ts);
	left = count_unpublished_locked(pr);
	pthread_mutex_unlock(&pr->lock);
	return left;
}

/*
 * The first publication with a sync, waiters or a kept doubt, referenced. After the thread's end.
 */
static struct publish *next_unfinished(struct publisher *pr)
{
	struct publish *p;

	pthread_mutex_lock(&pr->lock);
	for (p = pr->all; p && !p->sync.under_way && !p->observed.waits && !p->doubt.kept;
	     p = p->all_next)
		;
	if (p)
		publish_ref(p); /* each of the three holds one: p is alive */
	pthread_mutex_unlock(&pr->lock);
	return p;
}

/* The next publication that was not looked at, referenced. */
static struct publish *next_to_keep(struct publisher *pr)
{
	struct publish *p;

	pthread_mutex_lock(&pr->lock);
	for (p = pr->all; p && (p->recorded.at_end || !publish_take_ref(p)); p = p->all_next)
		;
	if (p)
		p->recorded.at_end = true;
	pthread_mutex_unlock(&pr->lock);
	return p;
}

static void keep(struct publish *p)
{
	int r;

	pthread_mutex_lock(&p->pr->lock);
	r = publish_inputs_copy(&p->now, &p->in);
	pthread_mutex_unlock(&p->pr->lock);
	if (p->now.dropped || p->outcome.kind == OUTCOME_COMPLETED ||
	    p->outcome.kind == OUTCOME_EMPTY || p->phase == PHASE_CLEANUP ||
	    p->phase == PHASE_DELETING)
		return;
	if (p->recorded.untouched && staged_synced(p->staged))
		return;
	if (!r && !staged_synced(p->staged))
		r = staged_sync(p->staged);
	if (!r)
		r = publish_save_record(p, true);
	if (r && r != -ESTALE)
		log_error("%s/%s is kept, but a power cut may lose it: %s", p->now.purpose,
			  p->now.path, strerror(-r));
}

/*
 * What is not published goes to stable storage with the daemon, before those who wait are told.
 * After the thread's end.
 */
static void keep_unpublished(struct publisher *pr)
{
	struct publish *p;

	while ((p = next_to_keep(pr)) != NULL) {
		publish_end_sync(p);
		keep(p);
		publish_unref(p);
	}
}

void publisher_stop(struct publisher *pr, bool keep_all)
{
	struct publish *p;

	pthread_mutex_lock(&pr->lock);
	pr->stop = true;
	pthread_cond_broadcast(&pr->wake);
	pthread_mutex_unlock(&pr->lock);
	pthread_join(pr->thread, NULL);
	while ((p = pr->run_head) != NULL) {
		pr->run_head = p->run_next;
		publish_unref_due(p);
		publish_unref(p);
	}
	if (keep_all)
		keep_unpublished(pr);
	publisher_end_waits(pr);
}

void publisher_end_waits(struct publisher *pr)
{
	struct publish *p;

	while ((p = next_unfinished(pr)) != NULL) {
		publish_end_sync(p);
		publish_tell_stopped(p);
		if (p->doubt.kept)
			publish_unref(p);
		p->doubt.kept = false;
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
		c.held += p->in.held && p->observed.info.under_way;
		c.active += p->observed.info.under_way && !p->in.held;
		c.failed +=
			!p->observed.info.under_way && p->observed.info.outcome == OUTCOME_FAILED;
		c.aborted += p->observed.info.outcome == OUTCOME_ABORTED;
	}
	for (const struct publish *p = pr->run_head; p; p = p->run_next)
		c.queued++;
	c.completed = pr->completed;
	memcpy(c.ended, pr->ended, sizeof(c.ended));
	pthread_mutex_unlock(&pr->lock);
	c.parts = atomic_load(&pr->parts);
	c.bytes = atomic_load(&pr->bytes);
	hist_get(&pr->times, &c.times);
	*ret = c;
}
