/*
 * The cache's rows in the store: loaded at start, added at once, dropped by the disk worker.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fs/content/cache_impl.h"
#include "fs/state/store.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define TOUCH_MS 60000 /* last uses are written at most so often */

/* ---- out ---- */

void cache_evict(struct cache *c, struct cache_entry *e)
{
	cache_order_take(&c->order, e);
	e->older = c->out;
	c->out = e;
}

void cache_trim(struct cache *c)
{
	size_t count_max = c->size_max ? CACHE_FILES_MAX : 0;

	while (c->order.oldest &&
	       (c->order.used > c->size_max || c->order.entries.live > count_max))
		cache_evict(c, c->order.oldest);
}

static struct cache_entry *take_out(struct cache *c)
{
	struct cache_entry *list;

	pthread_mutex_lock(&c->lock);
	list = c->out;
	c->out = NULL;
	pthread_mutex_unlock(&c->lock);
	return list;
}

/* The rows of list could not be dropped: the content is still there. Frees the rest. */
static void put_back(struct cache *c, struct cache_entry *list)
{
	struct cache_entry *next;

	pthread_mutex_lock(&c->lock);
	for (; list; list = next) {
		next = list->older;
		if (cache_order_find(&c->order, list->id) || cache_order_prepend(&c->order, list))
			free(list);
	}
	pthread_mutex_unlock(&c->lock);
}

static void drop_rows(struct cache *c)
{
	struct cache_entry *list = take_out(c), *next;
	int rc;

	if (!list)
		return;
	rc = statedb_begin_freeing(c->db);
	if (!rc) {
		for (struct cache_entry *e = list; e; e = e->older)
			cached_drop(c->db, e->id, e->row.data);
		rc = statedb_commit(c->db, NULL);
	}
	if (rc) {
		log_warn("the cache can't be trimmed: %s", strerror(-rc));
		put_back(c, list);
		return;
	}
	for (; list; list = next) {
		next = list->older;
		datadir_doom(c->data, list->row.data);
		free(list);
	}
}

/* ---- last uses ---- */

struct touch {
	char *id;
	int64_t used_s;
};

/* Copy what is to be written; the caller frees the ids and *ret. Without memory: some of it. */
static size_t list_touched(struct cache *c, struct touch **ret)
{
	struct cache_entry *e;
	size_t n = 0;

	pthread_mutex_lock(&c->lock);
	*ret = malloc((c->order.entries.live + 1) * sizeof(**ret));
	for (e = *ret ? c->order.newest : NULL; e; e = e->older) {
		if (!e->touched)
			continue;
		(*ret)[n].id = strdup(e->id);
		(*ret)[n].used_s = e->row.used_s;
		e->touched = false;
		n += (*ret)[n].id != NULL;
	}
	c->touched_ms = clock_mono_ms();
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void write_touched(struct cache *c)
{
	struct touch *v;
	size_t n = list_touched(c, &v);
	/* After an error they are a minute older than they were: no matter. */
	int rc = n ? statedb_begin(c->db) : -ENOENT;

	for (size_t i = 0; i < n; i++) {
		if (!rc)
			cached_touch(c->db, v[i].id, v[i].used_s);
		free(v[i].id);
	}
	if (!rc)
		statedb_commit(c->db, NULL);
	free(v);
}

/* ---- upkeep ---- */

static bool touch_due(struct cache *c)
{
	bool due;

	pthread_mutex_lock(&c->lock);
	due = clock_mono_ms() - c->touched_ms >= TOUCH_MS;
	pthread_mutex_unlock(&c->lock);
	return due;
}

static bool run_upkeep(struct hash_job *job)
{
	struct cache *c = (struct cache *)((char *)job - offsetof(struct cache, upkeep));

	drop_rows(c);
	if (touch_due(c))
		write_touched(c);
	return false;
}

void cache_upkeep_now(struct cache *c)
{
	drop_rows(c);
	write_touched(c);
}

void cache_upkeep(struct cache *c)
{
	bool due, queued;

	pthread_mutex_lock(&c->lock);
	due = c->out || clock_mono_ms() - c->touched_ms >= TOUCH_MS;
	queued = due && c->worker;
	/* Under the lock: cache_set_worker() waits for the job before the worker goes. */
	if (queued)
		pool_queue(c->worker, &c->upkeep);
	pthread_mutex_unlock(&c->lock);
	if (due && !queued)
		run_upkeep(&c->upkeep);
}

void cache_set_worker(struct cache *c, struct pool *worker)
{
	struct pool *before;

	/* Before the first job, never while one may run. */
	if (worker)
		c->upkeep.run = run_upkeep;
	pthread_mutex_lock(&c->lock);
	before = c->worker;
	c->worker = worker;
	pthread_mutex_unlock(&c->lock);
	if (before)
		pool_remove(before, &c->upkeep);
	cache_upkeep(c);
}

/* ---- in ---- */

static int load_row(void *arg, const char *file_id, const struct cached *row)
{
	struct cache *c = arg;
	struct cache_entry *e = cache_entry_new(file_id, row, datadir_era(c->data));

	if (!e || cache_order_append(&c->order, e)) {
		free(e);
		return -ENOMEM;
	}
	return 0;
}

int cache_load(struct cache *c)
{
	int rc;

	statedb_lock(c->db);
	rc = cached_each(c->db, load_row, c);
	statedb_unlock(c->db);
	pthread_mutex_lock(&c->lock);
	cache_trim(c);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static int write_row(struct cache *c, const char *id, const struct cached *row,
		     int (*from)(struct statedb *db, const char *data))
{
	int rc = statedb_begin_freeing(c->db);

	if (rc)
		return rc;
	from(c->db, row->data);
	cached_put(c->db, id, row);
	return statedb_commit(c->db, NULL);
}

/* Show e in the place of a former entry. Under lock. */
static void show(struct cache *c, struct cache_entry *e, struct cache_entry **ret_former)
{
	*ret_former = cache_order_find(&c->order, e->id);
	if (*ret_former)
		cache_order_take(&c->order, *ret_former);
	/* Out of memory: the next start finds the row. */
	if (cache_order_append(&c->order, e))
		free(e);
	cache_trim(c);
}

int cache_commit(struct cache *c, const char *id, const struct cached *row,
		 int (*from)(struct statedb *db, const char *data))
{
	struct cache_entry *e = cache_entry_new(id, row, datadir_era(c->data)), *former = NULL;
	int rc = e ? 0 : -ENOMEM;

	pthread_mutex_lock(&c->change_lock);
	if (!rc)
		rc = write_row(c, id, row, from);
	if (!rc) {
		pthread_mutex_lock(&c->lock);
		show(c, e, &former);
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&c->change_lock);
	if (rc)
		free(e);
	else
		datadir_protect(c->data, row->data);
	/* cached_put() has doomed its data. */
	if (former)
		datadir_doom(c->data, former->row.data);
	free(former);
	return rc;
}
