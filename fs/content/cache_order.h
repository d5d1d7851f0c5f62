/*
 * cache_order: cached content in memory, by File id and by last use.
 *
 * Not thread-safe: cache.lock protects it. Never blocks.
 */
#ifndef UPLOADFS_FS_CONTENT_CACHE_ORDER_H
#define UPLOADFS_FS_CONTENT_CACHE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/state/cached.h"
#include "net/base/map.h"

struct cache_entry {
	struct cache_entry *older, *newer; /* by last use; older is also the link of a list */
	struct cached row;
	bool unsure;  /* its bytes may not have reached the disk in a former era: check them */
	bool touched; /* row.used_s is newer than on disk */
	char id[];
};

/* A zeroed struct is empty. */
struct cache_order {
	struct map entries; /* by id */
	struct cache_entry *oldest, *newest;
	uint64_t used; /* bytes of all */
};

/* Make an entry that is in no order. era: datadir_era(). NULL: out of memory. */
struct cache_entry *cache_entry_new(const char *id, const struct cached *row, const char *era);
struct cache_entry *cache_order_find(const struct cache_order *o, const char *id);
/* Insert e, whose id is not there, as the last or the first one used. 0 or -ENOMEM. */
int cache_order_append(struct cache_order *o, struct cache_entry *e);
int cache_order_prepend(struct cache_order *o, struct cache_entry *e);
/* Take e out; it is the caller's, by free(). */
void cache_order_take(struct cache_order *o, struct cache_entry *e);
/* Make e the last one used. */
void cache_order_use(struct cache_order *o, struct cache_entry *e);
/* Free all entries. */
void cache_order_release(struct cache_order *o);

#endif
