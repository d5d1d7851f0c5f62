/*
 * The functions that other threads call: make a publication or take it up from its record; set its
 * inputs under publisher.lock and wake the thread.
 */
#include "fs/publish/publisher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/inputs.h"
#include "fs/publish/observe.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"

static void hook_wake(void *arg)
{
	publish_post(arg, NULL);
}

static struct publish *publish_alloc(struct publisher *pr, const struct publish_spec *spec)
{
	struct publish *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->pr = pr;
	atomic_init(&p->refs, 1);
	pthread_mutex_init(&p->recorded.lock, NULL);
	p->events_tail = &p->events;
	p->owner.ended = spec->ended;
	p->owner.appeared = spec->appeared;
	p->owner.deleted = spec->deleted;
	p->owner.release = spec->release;
	p->owner.arg = spec->arg;
	p->observed.info.status = "writing";
	p->observed.info.since_ms = clock_mono_ms();
	publish_budget_start(&p->retry.budget, clock_mono_ms());
	p->in.purpose = strdup(spec->purpose);
	p->in.path = strdup(spec->path);
	p->in.mode = spec->mode;
	p->in.uid = spec->uid;
	p->in.gid = spec->gid;
	if (spec->hold_name)
		p->in.hold_name = strdup(spec->hold_name);
	p->staged = staged_ref(spec->staged);
	if (!p->in.purpose || !p->in.path || (spec->hold_name && !p->in.hold_name)) {
		publish_destroy(p);
		return NULL;
	}
	return p;
}

static void publish_link(struct publish *p)
{
	struct staged_hooks hooks = { .on_fill = hook_wake,
				      .on_quiet = hook_wake,
				      .on_digest = hook_wake,
				      .arg = p,
				      .hashes_short = true };

	staged_keep(p->staged);
	pthread_mutex_lock(&p->pr->lock);
	p->pr->dropped += p->in.dropped;
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
	int r = 0;

	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	if (spec->superseded)
		r = publish_inputs_supersede(&p->in, spec->superseded);
	if (!r)
		r = publish_inputs_copy(&p->now, &p->in);
	/* Save before the first write: bytes without a record would come back nameless. */
	if (!r)
		r = publish_save_record(p, false);
	if (r) {
		publish_destroy(p);
		errno = -r;
		return NULL;
	}
	p->recorded.begun = true;
	publish_link(p);
	return p;
}

struct publish *publish_recover(struct publisher *pr, const struct publish_spec *spec,
				const struct record *r)
{
	struct publish *p = publish_alloc(pr, spec);

	if (!p)
		return NULL;
	if (publish_load_record(p, r) || publish_inputs_copy(&p->now, &p->in)) {
		publish_destroy(p);
		return NULL;
	}
	staged_set_check(p->staged, p->in.check);
	if (p->in.sealed)
		staged_seal(p->staged);
	/* Take the snapshot before the thread knows p. */
	publish_snapshot(p);
	publish_link(p);
	publish_post(p, NULL);
	return p;
}

/* Change the inputs under the lock, then wake the thread. */
#define WITH_INPUTS(p, ...)                           \
	do {                                          \
		pthread_mutex_lock(&(p)->pr->lock);   \
		struct publish_inputs *in = &(p)->in; \
		(void)in;                             \
		__VA_ARGS__;                          \
		publish_queue_locked(p);              \
		pthread_mutex_unlock(&(p)->pr->lock); \
	} while (0)

void publish_predict(struct publish *p, uint64_t size)
{
	WITH_INPUTS(p, in->predicted = size);
}

int publish_declare(struct publish *p, uint64_t size)
{
	int err;

	publish_lock_record(p);
	err = staged_save_wishes(p->staged, p->in.mime, p->in.expires_after, size);
	if (!err)
		WITH_INPUTS(p, in->declared = size);
	publish_unlock_record(p);
	return err;
}

int publish_set_expiry(struct publish *p, uint64_t seconds)
{
	int err = 0;

	publish_lock_record(p);
	if (p->in.expires_after != seconds) {
		err = staged_save_wishes(p->staged, p->in.mime, seconds, p->in.declared);
		if (!err)
			WITH_INPUTS(p, in->expires_after = seconds);
	}
	publish_unlock_record(p);
	return err;
}

int publish_set_check(struct publish *p, bool on)
{
	int err = 0;

	publish_lock_record(p);
	if (p->in.check != on) {
		err = staged_save_check(p->staged, on);
		if (!err) {
			staged_set_check(p->staged, on);
			WITH_INPUTS(p, in->check = on);
		}
	}
	publish_unlock_record(p);
	return err;
}

void publish_set_likely(struct publish *p, const char *file_id)
{
	WITH_INPUTS(p, snprintf(in->likely, sizeof(in->likely), "%s", file_id); in->choices++);
}

int publish_set_owner(struct publish *p, uint32_t mode, uint32_t uid, uint32_t gid)
{
	int err;

	/* Before the close as well: after a kill the file must not show an older, wider mode. */
	publish_lock_record(p);
	err = staged_save_owner(p->staged, mode, uid, gid);
	if (!err)
		WITH_INPUTS(p, in->mode = mode; in->uid = uid; in->gid = gid);
	publish_unlock_record(p);
	return err;
}

int publish_set_mime(struct publish *p, const char *mime_type)
{
	char *d = strdup(mime_type), *old = d;
	int err = d ? 0 : -ENOMEM;

	publish_lock_record(p);
	if (!err)
		err = staged_save_wishes(p->staged, d, p->in.expires_after, p->in.declared);
	if (!err)
		WITH_INPUTS(p, old = in->mime; in->mime = d);
	publish_unlock_record(p);
	free(old);
	return err;
}

int publish_rename(struct publish *p, const char *purpose, const char *path, const char *hold_name)
{
	bool failed = false;
	char *a = publish_dup(purpose, &failed), *b = publish_dup(path, &failed);
	char *hold = publish_dup(hold_name, &failed), *old_a, *old_b, *old_hold;

	if (failed) {
		free(a);
		free(b);
		free(hold);
		return -ENOMEM;
	}
	WITH_INPUTS(p, old_a = in->purpose; old_b = in->path; old_hold = in->hold_name;
		    in->purpose = a; in->path = b; in->hold_name = hold; in->changed = true;
		    in->renames++);
	free(old_a);
	free(old_b);
	free(old_hold);
	return 0;
}

static void seal_locked(struct publish *p, bool held)
{
	enum publish_outcome outcome = p->observed.info.outcome;

	/* Ended and not reopened: nothing to publish. */
	if (outcome != OUTCOME_NONE && outcome != OUTCOME_FAILED && outcome != OUTCOME_ABORTED)
		return;
	p->in.retry = outcome != OUTCOME_NONE;
	p->in.sealed = true;
	/*
	 * An ended hold can't come back: complete may be under way, and a held file may be written
	 * without a check for that.
	 */
	p->in.held = held && (!p->observed.info.under_way || p->in.held);
	p->in.aborted = p->in.withdrawn = false;
	p->observed.info.under_way = true;
}

static void seal(struct publish *p, bool look)
{
	char *old;

	pthread_mutex_lock(&p->pr->lock);
	old = p->in.hold_name;
	p->in.hold_name = NULL;
	seal_locked(p, false);
	if (look)
		publish_queue_locked(p);
	pthread_mutex_unlock(&p->pr->lock);
	free(old);
}

void publish_seal(struct publish *p)
{
	seal(p, true);
}

void publish_seal_first(struct publish *p)
{
	seal(p, false);
}

void publish_wake(struct publish *p)
{
	publish_post(p, NULL);
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

void publish_abort(struct publish *p, int err, bool write)
{
	WITH_INPUTS(p, in->aborted = true; in->predicted = 0; in->abort_err = err;
		    in->abort_write = write);
}

bool publish_withdraw(struct publish *p)
{
	bool ok;

	WITH_INPUTS(p, ok = p->observed.info.under_way && !p->observed.asked && !in->dropped;
		    if (ok) in->aborted = in->withdrawn = true);
	return ok;
}

static void reopen_locked(struct publish *p)
{
	p->in.reopen = true;
	/* The next File supersedes this one, from the next record on. */
	if (p->observed.info.outcome == OUTCOME_COMPLETED && p->observed.info.file_id[0] &&
	    !publish_inputs_has(&p->in, p->observed.info.file_id))
		publish_inputs_supersede(&p->in, p->observed.info.file_id);
	p->in.sealed = p->in.held = p->in.aborted = p->in.retry = p->in.withdrawn = false;
	p->in.predicted = 0;
	p->observed.kept = p->observed.durable = false;
	p->observed.info.under_way = false;
	p->observed.info.outcome = OUTCOME_NONE;
	p->observed.info.status = "writing";
}

bool publish_reopen(struct publish *p)
{
	bool ok;

	/* Under a hold complete was not asked for: writing may go on. */
	WITH_INPUTS(p, ok = !p->observed.info.under_way || (in->held && p->observed.kept);
		    if (ok) reopen_locked(p));
	/* Save here, not on the thread: the bytes may change once this returns. */
	if (ok)
		publish_save_writing(p);
	return ok;
}

int publish_await_change(struct publish *p)
{
	int r = staged_row_is_stale(p->staged) ? publish_save_writing(p) : 0;

	/* A row that was dropped instead is as good. */
	if (r && staged_row_is_stale(p->staged))
		return r;
	return staged_await_change(p->staged);
}

int publish_sync_record(struct publish *p)
{
	int r = staged_sync_record(p->staged);

	/* It was dropped on a full disk: what the next mount finds has no name. */
	if (r != -ENODATA)
		return r;
	r = publish_save_writing(p);
	return r ? r : staged_sync_record(p->staged);
}

bool publish_is_unproven(struct publish *p)
{
	bool r;

	pthread_mutex_lock(&p->pr->lock);
	r = p->observed.unproven;
	pthread_mutex_unlock(&p->pr->lock);
	return r;
}

void publish_lock_record(struct publish *p)
{
	pthread_mutex_lock(&p->recorded.lock);
}

void publish_unlock_record(struct publish *p)
{
	pthread_mutex_unlock(&p->recorded.lock);
}

void publish_reap(struct publish *p)
{
	WITH_INPUTS(p, if (p->observed.info.outcome == OUTCOME_EMPTY && !in->dropped) in->retry =
			       p->observed.info.under_way = true);
}

void publish_spare(struct publish *p, const char *file_id)
{
	publish_superseded_gone(p, file_id);
	WITH_INPUTS(p, in->changed = true);
}

void publish_take_back(struct publish *p, const char *file_id)
{
	WITH_INPUTS(p, publish_inputs_spare(in, file_id); in->changed = true);
}

void publish_force(struct publish *p)
{
	/* A doubt that is yet to come is none that the user knew of. */
	WITH_INPUTS(p, in->forced |= p->observed.info.in_doubt);
}

void publish_drop(struct publish *p)
{
	WITH_INPUTS(p, p->pr->dropped += !in->dropped; in->dropped = true);
}
