/* The readers' side: the table of fetches, opening, closing, reading. */
#include "fs/content/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/cache.h"
#include "fs/content/fetch_life.h"
#include "fs/content/fetch_reply.h"
#include "fs/content/fetch_room.h"
#include "fs/content/fetch_shared.h"
#include "net/base/strhash.h"

int fetcher_new(struct api *api, struct cache *cache, unsigned parallel, struct fetcher **ret)
{
	struct fetcher *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->api = api;
	f->cache = cache;
	f->room.run = fetch_room_make;
	f->on_data = fetch_reply_data;
	f->on_done = fetch_reply_done;
	f->parallel = parallel < 1 ? 1 : parallel > FETCH_REQS ? FETCH_REQS : parallel;
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

void fetcher_set_worker(struct fetcher *f, struct pool *worker)
{
	struct pool *before;

	pthread_mutex_lock(&f->lock);
	before = f->worker;
	f->worker = worker;
	pthread_mutex_unlock(&f->lock);
	if (before)
		pool_remove(before, &f->room);
}

void fetcher_set_shared(struct fetcher *f, struct shared *shared)
{
	f->shared = shared;
}

static struct fetch **table_slot(struct fetcher *f, const char *id, uint64_t bytes)
{
	struct fetch **slot;

	slot = &f->buckets[strhash(id) % FETCH_BUCKETS];
	while (*slot && ((*slot)->bytes != bytes || strcmp((*slot)->id, id)))
		slot = &(*slot)->next;
	return slot;
}

void fetcher_free(struct fetcher *f)
{
	struct fetch *ft, *next;
	unsigned i;

	if (!f)
		return;
	for (i = 0; i < FETCH_BUCKETS; i++) {
		for (ft = f->buckets[i]; ft; ft = next) {
			next = ft->next;
			fetch_waiters_answer(&ft->waiters, -EINTR, "the mount ends", -1);
			fetch_destroy(ft);
		}
	}
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Returns a reference to the fetch known under that id, or NULL. */
static struct fetch *table_find(struct fetcher *f, const char *file_id, uint64_t bytes)
{
	struct fetch *ft;

	pthread_mutex_lock(&f->lock);
	ft = *table_slot(f, file_id, bytes);
	if (ft)
		ft->nref++;
	pthread_mutex_unlock(&f->lock);
	return ft;
}

/* Adds ours to the table, unless another thread was quicker; returns the one in the table. */
static struct fetch *table_insert(struct fetcher *f, struct fetch *ours)
{
	struct fetch **slot, *ft;

	pthread_mutex_lock(&f->lock);
	slot = table_slot(f, ours->id, ours->bytes);
	ft = *slot;
	if (ft) {
		ft->nref++;
	} else {
		*slot = ours;
		ours->in_table = true;
		if (f->ranges)
			ours->range = FETCH_RANGE_YES;
	}
	pthread_mutex_unlock(&f->lock);
	if (!ft)
		return ours;
	fetch_destroy(ours);
	return ft;
}

/* All of it is in the cache. */
static void take_copy(struct fetch *ft, const struct cache_copy *copy)
{
	ft->fd = copy->fd;
	ft->whole = true;
	memcpy(ft->md5, copy->md5, sizeof(ft->md5));
	memcpy(ft->data, copy->data, sizeof(ft->data));
}

int fetch_open(struct fetcher *f, const char *file_id, uint64_t bytes, struct fetch **ret)
{
	struct fetch *ft = table_find(f, file_id, bytes);
	struct cache_copy copy;
	int rc;

	if (!ft) {
		ft = fetch_alloc(f, file_id, bytes);
		if (!ft)
			return -ENOMEM;
		rc = cache_get(f->cache, file_id, bytes, &copy);
		if (rc && rc != -ENOENT) {
			fetch_destroy(ft);
			return rc;
		}
		if (!rc)
			take_copy(ft, &copy);
		ft = table_insert(f, ft);
	}
	*ret = ft;
	return 0;
}

struct fetch *fetch_ref(struct fetch *ft)
{
	pthread_mutex_lock(&ft->f->lock);
	ft->nref++;
	pthread_mutex_unlock(&ft->f->lock);
	return ft;
}

uint64_t fetch_bytes(const struct fetch *ft)
{
	return ft->bytes;
}

bool fetch_get_md5(struct fetch *ft, char ret_md5[DIGEST_HEX_SIZE])
{
	bool known;

	pthread_mutex_lock(&ft->f->lock);
	known = ft->data[0];
	memcpy(ret_md5, ft->md5, sizeof(ft->md5));
	pthread_mutex_unlock(&ft->f->lock);
	return known;
}

void fetch_expect(struct fetch *ft, const char *md5)
{
	pthread_mutex_lock(&ft->f->lock);
	memcpy(ft->expected, md5, strnlen(md5, sizeof(ft->expected) - 1));
	pthread_mutex_unlock(&ft->f->lock);
}

/* Take ft out of the table, so that nobody else opens it. Under lock. */
static void table_remove(struct fetch *ft)
{
	struct fetch **slot = &ft->f->buckets[strhash(ft->id) % FETCH_BUCKETS];

	if (!ft->in_table)
		return;
	while (*slot != ft)
		slot = &(*slot)->next;
	*slot = ft->next;
	ft->in_table = false;
}

void fetch_reject(struct fetch *ft)
{
	pthread_mutex_lock(&ft->f->lock);
	ft->wrong = true;
	table_remove(ft);
	pthread_mutex_unlock(&ft->f->lock);
	cache_reject(ft->f->cache, ft->id, ft->data);
}

/*
 * Under lock, by the last reader of a whole fetch that the cache doesn't have
 * yet: hands it over. That reads the content for its MD5, so it is not done
 * where the content arrives, on the network thread. Another reader may come
 * meanwhile and find the fetch as it is.
 */
static void fetch_store(struct fetch *ft)
{
	struct fetcher *f = ft->f;
	char md5[DIGEST_HEX_SIZE];

	ft->temp = false;
	pthread_mutex_unlock(&f->lock);
	/* Nothing to report: content that can't be kept is fetched again. */
	cache_fetch_done(f->cache, ft->id, ft->token, ft->bytes, md5);
	pthread_mutex_lock(&f->lock);
}

/*
 * Drops what arrived of an unfinished fetch. A request may still hold the fd,
 * so its blocks are given back here rather than at the end on the network
 * thread, unless a reader looks at them at this moment.
 */
static void fetch_drop(struct fetch *ft, bool truncate)
{
	if (!ft->temp)
		return;
	ft->temp = false;
	cache_fetch_drop(ft->f->cache, ft->token);
	if (truncate && ftruncate(ft->fd, 0))
		return; /* later, then */
}

void fetch_close(struct fetch *ft)
{
	struct fetch_waiters left;
	struct fetcher *f;
	bool truncate;

	if (!ft)
		return;
	f = ft->f;
	pthread_mutex_lock(&f->lock);
	if (ft->nref == 1 && ft->whole && ft->temp)
		fetch_store(ft);
	if (--ft->nref) {
		pthread_mutex_unlock(&f->lock);
		return;
	}
	table_remove(ft);
	fetch_req_cancel_all(ft, NULL);
	fetch_shared_cancel(ft);
	fetch_waiters_init(&left);
	fetch_waiters_move(&ft->waiters, &left);
	ft->nbusy++;
	truncate = !ft->answering;
	pthread_mutex_unlock(&f->lock);
	fetch_waiters_answer(&left, -EINTR, "closed while it was read", -1);
	fetch_drop(ft, truncate);
	fetch_put(ft);
}

/* Under lock. */
static bool is_there(const struct fetch *ft, uint64_t off, uint64_t end)
{
	return ft->whole || off >= end || extents_cover(&ft->have, off, end);
}

/* True and the fd if [off, end) stands there; what the reader will want next is asked for. */
static bool fetch_ready(struct fetch *ft, uint64_t off, uint64_t end, int *ret_fd)
{
	bool ready;

	pthread_mutex_lock(&ft->f->lock);
	ready = is_there(ft, off, end);
	if (ready) {
		*ret_fd = ft->fd;
		if (!ft->whole && off < end) {
			fetch_note_read(ft, off, end);
			fetch_pump_ahead(ft);
		}
	}
	pthread_mutex_unlock(&ft->f->lock);
	return ready;
}

/* Queues w and starts what it needs; w may be answered, and gone, on return. */
static void fetch_wait(struct fetch *ft, struct fetch_waiter *w)
{
	struct fetch_waiters now;
	int rc = 0, fd;

	fetch_waiters_init(&now);
	pthread_mutex_lock(&ft->f->lock);
	ft->nbusy++;
	fd = ft->fd;
	w->span = fetch_note_read(ft, w->off, w->end);
	/* The bytes may have come since the first look. */
	if (is_there(ft, w->off, w->end)) {
		fetch_waiters_add(&now, w);
	} else {
		fetch_waiters_add(&ft->waiters, w);
		/* Without a file since the shared directory's answer came: the disk is full. */
		rc = fd < 0 && ft->shared != FETCH_SHARED_ASKED ? -ENOSPC : fetch_pump(ft);
		if (rc)
			fetch_take_unserved(ft, &now);
	}
	pthread_mutex_unlock(&ft->f->lock);
	fetch_waiters_answer(&now, rc, rc ? "cannot start a request" : "", fd);
	fetch_put(ft);
}

static bool is_wrong(struct fetch *ft)
{
	bool wrong;

	pthread_mutex_lock(&ft->f->lock);
	wrong = ft->wrong;
	pthread_mutex_unlock(&ft->f->lock);
	return wrong;
}

void fetch_read(struct fetch *ft, uint64_t off, size_t len, fetch_read_cb *cb, void *arg)
{
	uint64_t end = off >= ft->bytes ? off : len > ft->bytes - off ? ft->bytes : off + len;
	struct fetch_waiter *w;
	int rc, fd;

	if (is_wrong(ft)) {
		cb(arg, -EIO,
		   "its copy in the cache is damaged; it is fetched again once it is opened again",
		   -1, off, 0);
		return;
	}
	if (fetch_ready(ft, off, end, &fd)) {
		cb(arg, 0, "", fd, off, (size_t)(end - off));
		return;
	}
	rc = fetch_shared_ask(ft) ? 0 : fetch_begin(ft);
	if (rc) {
		cb(arg, rc, "cannot make a file in the cache", -1, off, 0);
		return;
	}
	w = malloc(sizeof(*w));
	if (!w) {
		cb(arg, -ENOMEM, "out of memory", -1, off, 0);
		return;
	}
	w->off = off;
	w->end = end;
	w->cb = cb;
	w->arg = arg;
	fetch_wait(ft, w);
}

void *fetch_read_cancel(struct fetch *ft, fetch_read_cb *cb,
			bool (*match)(const void *arg, const void *key), const void *key)
{
	struct fetch_waiters keep;
	struct fetch_waiter *w, *next, *found = NULL;
	void *arg = NULL;

	fetch_waiters_init(&keep);
	pthread_mutex_lock(&ft->f->lock);
	for (w = ft->waiters.head; w; w = next) {
		next = w->next;
		if (!found && w->cb == cb && match(w->arg, key))
			found = w;
		else
			fetch_waiters_add(&keep, w);
	}
	fetch_waiters_init(&ft->waiters);
	fetch_waiters_move(&keep, &ft->waiters);
	pthread_mutex_unlock(&ft->f->lock);
	if (found)
		arg = found->arg;
	free(found);
	return arg;
}

void fetch_all(struct fetch *ft, fetch_read_cb *cb, void *arg)
{
	fetch_read(ft, 0, SIZE_MAX, cb, arg);
}
