#include "fs/stage/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/check.h"
#include "fs/stage/file.h"
#include "fs/stage/data.h"
#include "fs/stage/staged_impl.h"
#include "fs/stage/hooks.h"
#include "fs/stage/prefix.h"

#define HASH_STRETCH (8ULL << 20) /* bytes hashed before another file has its turn */
#define HASH_WAKE (256ULL << 10)  /* queue an open file once it has this much to hash */
/*
 * Where there are other files, an open one with less than this waits for them: MD5 of several takes
 * the time of one. A close waits for so many bytes more at most: some milliseconds.
 */
#define HASH_ALONE (2ULL << 20)
/*
 * A writer that rewrites its first bytes again and again would have the whole file hashed each
 * time. An open file is queued only with at least 1/HASH_WASTE of the bytes hashed in vain to hash:
 * this bounds the waste to about HASH_WASTE times the file.
 */
#define HASH_WASTE 8
/* A closed file with no more to hash is hashed by its owner: a worker's wake-up takes longer. */
#define HASH_SHORT (32U << 10)

_Static_assert(HASH_SNAPSHOT % HASH_STRETCH == 0, "stretches end where snapshots are taken");

/* st->lock is held unless said otherwise. */

/* The bytes [0, result) can be hashed. */
static uint64_t hash_limit(const struct staged *st)
{
	return staged_final(st) ? st->size : extents_contiguous(&st->written);
}

static enum hash_need hash_need(const struct staged *st)
{
	const struct staged_hash *h = &st->hash;
	uint64_t limit = hash_limit(st), left;

	if (staged_final(st))
		return h->told ? HASH_NO : HASH_NOW;
	if (h->err || limit <= h->pos)
		return HASH_NO;
	left = limit - h->pos;
	if (left < HASH_WAKE || left < h->wasted / HASH_WASTE)
		return HASH_NO;
	return left < HASH_ALONE && staging_files(st->sg) > 1 ? HASH_LATER : HASH_NOW;
}

/* True if staged_hash_short() is to hash the rest. */
static bool is_short(const struct staged *st)
{
	const struct staged_hash *h = &st->hash;

	return staged_final(st) && h->queued == HASH_NO && !h->told && !h->err &&
	       st->size - h->pos <= HASH_SHORT;
}

static void queue(struct staged *st)
{
	struct staged_hash *h = &st->hash;
	enum hash_need need;

	if (h->queued == HASH_NOW || (need = hash_need(st)) <= h->queued)
		return;
	h->queued = need;
	if (need == HASH_NOW)
		pool_queue(st->sg->pool, &h->job.job);
	else
		pool_queue_later(st->sg->pool, &h->job.job);
}

void staged_hash_wake(struct staged *st)
{
	if (!st->hooks.hashes_short || !is_short(st))
		queue(st);
}

void staged_hash_sealed(struct staged *st)
{
	st->hash.told = false;
	st->hash.err = 0;
}

/* Go back to the newest snapshot at or before off, and drop cur. */
static void rewind_to(struct staged *st, uint64_t off)
{
	struct staged_hash *h = &st->hash;
	uint64_t from = h->pos, i, last = h->pos / HASH_SNAPSHOT;

	i = (off < from ? off : from) / HASH_SNAPSHOT;
	if (i >= STAGED_SNAPSHOTS)
		i = STAGED_SNAPSHOTS - 1;
	while (i && (!h->snaps || !h->snaps[i]))
		i--;
	h->pos = i * HASH_SNAPSHOT;
	h->wasted += from - h->pos;
	digest_free(h->cur);
	h->cur = NULL;
	staged_prefix_cut(st, h->pos);
	staged_check_rewind(st, i);
	for (i++; h->snaps && i <= last && i < STAGED_SNAPSHOTS; i++) {
		digest_free(h->snaps[i]);
		h->snaps[i] = NULL;
	}
}

void staged_hash_touch(struct staged *st, uint64_t off)
{
	struct staged_hash *h = &st->hash;

	h->err = 0;
	if (!h->busy) {
		if (off < h->pos)
			rewind_to(st, off);
	} else if (off < h->busy_end && off < h->dirty_from) {
		h->dirty_from = off;
	}
}

void staged_rehash(struct staged *st)
{
	pthread_mutex_lock(&st->lock);
	staged_hash_touch(st, 0);
	staged_hash_sealed(st);
	queue(st);
	pthread_mutex_unlock(&st->lock);
}

void staged_set_check(struct staged *st, bool on)
{
	pthread_mutex_lock(&st->lock);
	if (st->check.on != on) {
		st->check.on = on;
		/* From the first byte on: what was hashed so far was not checked. */
		staged_hash_touch(st, 0);
		staged_hash_sealed(st);
		staged_hash_wake(st);
	}
	pthread_mutex_unlock(&st->lock);
}

/* The snapshot at pos. NULL: pos is 0, or cur is set. */
static struct digest *snapshot_at_pos(const struct staged_hash *h)
{
	uint64_t i = h->pos / HASH_SNAPSHOT;

	if (!h->snaps || !i || i >= STAGED_SNAPSHOTS || h->pos % HASH_SNAPSHOT)
		return NULL;
	return h->snaps[i];
}

/* On failure a rewrite only goes back further. */
static void take_snapshot(struct staged *st)
{
	struct staged_hash *h = &st->hash;
	uint64_t i = h->pos / HASH_SNAPSHOT;

	if (h->pos % HASH_SNAPSHOT || i >= STAGED_SNAPSHOTS)
		return;
	if (!h->snaps)
		h->snaps = calloc(STAGED_SNAPSHOTS, sizeof(struct digest *));
	if (h->snaps && !h->snaps[i] && staged_check_snapshot(st, i))
		h->snaps[i] = digest_copy(h->cur);
}

/* Choose the stretch [pos, busy_end) and give cur to the worker. False: nothing to hash now. */
static bool start_stretch(struct staged *st)
{
	struct staged_hash *h = &st->hash;
	uint64_t limit = hash_limit(st);
	uint64_t end = h->pos - h->pos % HASH_STRETCH + HASH_STRETCH;

	if (h->err || limit <= h->pos)
		return false;
	h->fd = staged_fd_locked(st);
	if (h->fd < 0) {
		h->err = h->fd;
		return false;
	}
	if (!h->cur) {
		h->cur = h->pos ? digest_copy(snapshot_at_pos(h)) : digest_new();
		if (!h->cur) {
			h->err = -ENOMEM;
			return false;
		}
	}
	h->busy = true;
	h->busy_end = staged_prefix_stop(st, h->pos, end < limit ? end : limit);
	h->checks = st->check.on;
	h->dirty_from = UINT64_MAX;
	return true;
}

/* pos and rc: of lane_job. Ignore what a write overtook, and an error there. */
static void end_stretch(struct staged *st, uint64_t pos, int rc)
{
	struct staged_hash *h = &st->hash;

	h->busy = false;
	if (h->dirty_from < h->busy_end) {
		h->wasted += pos - h->pos;
		rewind_to(st, h->dirty_from);
	} else if (rc) {
		rewind_to(st, h->pos);
		h->err = rc;
	} else {
		h->pos = pos;
		take_snapshot(st);
		staged_prefix_note(st);
	}
}

static struct staged *staged_of(struct lane_job *job)
{
	return (struct staged *)((char *)job - offsetof(struct staged, hash.job));
}

static bool begin_stretch(struct staged *st, struct lane_stretch *ret)
{
	struct staged_hash *h = &st->hash;

	if (!start_stretch(st))
		return false;
	*ret = (struct lane_stretch){
		.fd = h->fd,
		.d = h->cur,
		.lines = h->checks ? &st->check.lines : NULL,
		.pos = h->pos,
		.end = h->busy_end,
	};
	return true;
}

/* All that was closed is hashed, or can't be. */
static bool is_hashed(const struct staged *st)
{
	return staged_final(st) && (st->hash.err || st->hash.pos == st->size);
}

static bool lane_begin(struct lane_job *job, struct lane_stretch *ret)
{
	struct staged *st = staged_of(job);
	bool ok;

	pthread_mutex_lock(&st->lock);
	st->hash.queued = HASH_NOW;
	ok = begin_stretch(st, ret);
	pthread_mutex_unlock(&st->lock);
	return ok;
}

static bool lane_end(struct lane_job *job, uint64_t pos, int rc)
{
	struct staged *st = staged_of(job);
	struct staged_hash *h = &st->hash;
	enum hash_need need = HASH_NO;

	pthread_mutex_lock(&st->lock);
	if (h->busy)
		end_stretch(st, pos, rc);
	if (!h->told && is_hashed(st)) {
		h->told = true;
		/* Clear queued first: a seal while the hook runs queues the job again. */
		h->queued = HASH_NO;
		staged_call_hook(st, HOOK_DIGEST);
	} else {
		need = h->queued = hash_need(st);
	}
	if (need == HASH_LATER)
		pool_queue_later(st->sg->pool, &job->job);
	pthread_mutex_unlock(&st->lock);
	return need == HASH_NOW;
}

/* Hash all of l on this thread. Returns where it ended; *ret_err as of lane_job. */
static uint64_t hash_here(const struct lane_stretch *l, int *ret_err)
{
	unsigned char buf[HASH_SHORT];
	uint64_t pos = l->pos;

	*ret_err = 0;
	while (pos < l->end && !*ret_err) {
		size_t want = l->end - pos < sizeof(buf) ? (size_t)(l->end - pos) : sizeof(buf);
		ssize_t n = pread(l->fd, buf, want, (off_t)pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*ret_err = n ? -errno : -ENODATA;
			break;
		}
		*ret_err = digest_update(l->d, buf, (size_t)n);
		if (l->lines)
			jsonl_feed(l->lines, buf, (size_t)n);
		pos += (uint64_t)n;
	}
	return pos;
}

void staged_hash_short(struct staged *st)
{
	struct staged_hash *h = &st->hash;
	struct lane_stretch l;
	uint64_t pos;
	int err;

	pthread_mutex_lock(&st->lock);
	while (is_short(st) && begin_stretch(st, &l)) {
		/* Keeps the job away from the pool. */
		h->queued = HASH_NOW;
		pthread_mutex_unlock(&st->lock);
		pos = hash_here(&l, &err);
		pthread_mutex_lock(&st->lock);
		end_stretch(st, pos, err);
		h->queued = HASH_NO;
	}
	if (h->queued == HASH_NO && is_hashed(st))
		h->told = true;
	else
		queue(st);
	pthread_mutex_unlock(&st->lock);
}

void staged_hash_init(struct staged *st)
{
	st->hash.job.begin = lane_begin;
	st->hash.job.end = lane_end;
	lane_job_init(&st->hash.job);
	jsonl_init(&st->check.lines);
}

void staged_hash_release(struct staged *st)
{
	struct staged_hash *h = &st->hash;
	size_t i;

	pool_remove(st->sg->pool, &h->job.job);
	digest_free(h->cur);
	for (i = 0; h->snaps && i < STAGED_SNAPSHOTS; i++)
		digest_free(h->snaps[i]);
	free(h->snaps);
	staged_prefix_release(st);
	staged_check_release(st);
}

int staged_hash_hex(const struct staged *st, char ret_hex[DIGEST_HEX_SIZE])
{
	const struct staged_hash *h = &st->hash;
	const struct digest *d = h->cur ? h->cur : snapshot_at_pos(h);
	struct digest *empty;
	int rc;

	if (h->err)
		return h->err;
	if (h->busy || h->pos != st->size)
		return -EAGAIN;
	if (d)
		return digest_hex(d, ret_hex);
	empty = digest_new();
	if (!empty)
		return -ENOMEM;
	rc = digest_hex(empty, ret_hex);
	digest_free(empty);
	return rc;
}

int staged_md5(struct staged *st, char ret_hex[DIGEST_HEX_SIZE])
{
	int rc;

	pthread_mutex_lock(&st->lock);
	rc = staged_hash_hex(st, ret_hex);
	pthread_mutex_unlock(&st->lock);
	return rc;
}
