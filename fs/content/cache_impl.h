/*
 * cache_impl: struct cache, for fs/content/cache*.c. Bottom up: cache_rows (the store, the disk
 * worker), cache (content), cache_fetch (content on its way).
 *
 * Lock order: change_lock, then lock; the store's is below both. No lock is held while a data file
 * is read, synced or unlinked.
 */
#ifndef UPLOADFS_FS_CONTENT_CACHE_IMPL_H
#define UPLOADFS_FS_CONTENT_CACHE_IMPL_H

#include <pthread.h>

#include "fs/content/cache.h"
#include "fs/content/cache_order.h"
#include "fs/work/pool.h"

struct cache {
	struct datadir *data;
	struct statedb *db;
	uint64_t size_max;
	struct hash_job upkeep;

	/* Held over a change of row and memory, so that both change in the same order. */
	pthread_mutex_t change_lock;

	pthread_mutex_t lock; /* protects the fields below */
	struct cache_order order;
	struct cache_entry *out; /* evicted: the row is to be dropped; linked by older */
	uint64_t touched_ms;	 /* when last uses were written; clock_mono_ms() */
	struct pool *worker;	 /* NULL: the calling thread does the upkeep */
};

/* True if the bound allows content of that size. */
static inline bool cache_keeps(const struct cache *c, uint64_t bytes)
{
	return c->size_max > 0 && bytes <= c->size_max;
}

/* ---- cache_rows.c ---- */

/* Under lock: take e out of the order; its row and data go with the next upkeep. */
void cache_evict(struct cache *c, struct cache_entry *e);
/* Under lock: evict until the bounds hold. */
void cache_trim(struct cache *c);
/* Drop the rows of evicted entries and write last uses: on the worker, or now without one. */
void cache_upkeep(struct cache *c);
/* The same now; last uses are written even if they were a short time ago. */
void cache_upkeep_now(struct cache *c);
/* Read the rows into the order. 0 or negative errno. */
int cache_load(struct cache *c);
/*
 * Commit that row is the content of id, in one transaction with from(db, row->data), which ends the
 * former owner's claim on the data; then show it. 0 or negative errno: nothing changed. Evicts
 * others; call cache_upkeep() afterwards.
 */
int cache_commit(struct cache *c, const char *id, const struct cached *row,
		 int (*from)(struct statedb *db, const char *data));

#endif
