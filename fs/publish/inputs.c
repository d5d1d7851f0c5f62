/*
 * The inputs of a publication: what other threads want of it, behind the
 * publisher's lock. Each setter changes them and lets the thread look.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publish_impl.h"
#include "net/base/clock.h"

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
	bool other;

	pthread_mutex_lock(&p->pr->lock);
	other = p->in.mode != mode || p->in.uid != uid || p->in.gid != gid;
	p->in.mode = mode;
	p->in.uid = uid;
	p->in.gid = gid;
	/* The close writes a record anyway; what comes after it may be the last there is to say. */
	if (p->in.sealed || p->in.aborted || p->info.outcome != OUTCOME_NONE)
		p->in.changed |= other;
	publish_queue_locked(p);
	pthread_mutex_unlock(&p->pr->lock);
}

void publish_set_mime(struct publish *p, const char *mime_type)
{
	char *d = mime_type ? strdup(mime_type) : NULL;
	char *old;

	WITH_INPUTS(p, old = in->mime; in->mime = d);
	free(old);
}

int publish_rename(struct publish *p, const char *purpose, const char *path, const char *hold_name)
{
	bool failed = false;
	char *a = dup_or_null(purpose, &failed), *b = dup_or_null(path, &failed);
	char *hold = dup_or_null(hold_name, &failed), *old_a, *old_b, *old_hold;

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

int publish_inputs_supersede(struct publish_inputs *in, const char *file_id)
{
	char **grown = realloc(in->superseded, (in->superseded_count + 2) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	in->superseded = grown;
	grown[in->superseded_count] = strdup(file_id);
	if (!grown[in->superseded_count])
		return -ENOMEM;
	in->superseded_count++;
	return 0;
}

int publish_supersede(struct publish *p, const char *file_id)
{
	int r;

	WITH_INPUTS(p, r = publish_inputs_supersede(in, file_id); in->changed = true);
	return r;
}

static void seal_locked(struct publish *p, bool held)
{
	enum publish_outcome outcome = p->info.outcome;

	/* Over, and not reopened: there is nothing to publish. */
	if (outcome != OUTCOME_NONE && outcome != OUTCOME_FAILED && outcome != OUTCOME_ABORTED)
		return;
	p->in.retry = outcome != OUTCOME_NONE;
	p->in.sealed = true;
	/* A hold that is over can't come back: the complete may have been asked for, and a held
	 * file may be written anew without a look at that. */
	p->in.held = held && (!p->info.under_way || p->in.held);
	p->in.aborted = false;
	p->info.under_way = true;
}

void publish_seal(struct publish *p)
{
	char *old;

	WITH_INPUTS(p, old = in->hold_name; in->hold_name = NULL; seal_locked(p, false));
	free(old);
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

static void reopen_locked(struct publish *p)
{
	p->in.reopen = true;
	p->in.sealed = p->in.held = p->in.aborted = p->in.retry = false;
	p->in.predicted = 0;
	p->durable_done = false;
	p->info.under_way = false;
	p->info.outcome = OUTCOME_NONE;
	p->info.status = "writing";
}

bool publish_reopen(struct publish *p)
{
	bool ok;

	/* While it is held nothing was completed, so nothing stands in the way. */
	WITH_INPUTS(p, ok = !p->info.under_way || (in->held && p->durable_done);
		    if (ok) reopen_locked(p));
	/* Not left to the thread: the bytes may change as soon as we return. */
	if (ok)
		publish_save_writing(p);
	return ok;
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
		p->info.under_way = true;
	/* A close from here on joins this try. */
	if (ok)
		p->info.outcome = OUTCOME_NONE;
	p->in.retry = false;
	/* Renamed to a temporary name after it had failed: nothing is held, so it is sent as what
	 * the entry is called. */
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
	struct publish_inputs *both[2] = { &p->in, &p->now };

	pthread_mutex_lock(&p->pr->lock);
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < both[k]->superseded_count; i++) {
			if (strcmp(both[k]->superseded[i], file_id))
				continue;
			free(both[k]->superseded[i]);
			both[k]->superseded[i] = both[k]->superseded[--both[k]->superseded_count];
			break;
		}
	}
	pthread_mutex_unlock(&p->pr->lock);
}

void publish_spare(struct publish *p, const char *file_id)
{
	publish_superseded_gone(p, file_id);
	WITH_INPUTS(p, in->changed = true);
}

bool publish_wants_durable(struct publish *p)
{
	bool wanted;

	pthread_mutex_lock(&p->pr->lock);
	/* A held file is safe before it may be written again or left to the next mount,
	 * though nobody waited for its close. */
	wanted = p->in.held && p->now.held && !p->in.reopen;
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
