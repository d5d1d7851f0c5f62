#include "fs/content/cache_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct cache_entry *cache_entry_new(const char *id, const struct cached *row, const char *era)
{
	size_t size = strlen(id) + 1;
	struct cache_entry *e = calloc(1, sizeof(*e) + size);

	if (!e)
		return NULL;
	memcpy(e->id, id, size);
	e->row = *row;
	/* An unknown era counts as another one. */
	e->unsure = !row->synced && (!row->era[0] || strcmp(row->era, era));
	return e;
}

struct cache_entry *cache_order_find(const struct cache_order *o, const char *id)
{
	return map_get(&o->entries, id);
}

static void link_newest(struct cache_order *o, struct cache_entry *e)
{
	e->older = o->newest;
	e->newer = NULL;
	*(o->newest ? &o->newest->newer : &o->oldest) = e;
	o->newest = e;
}

static void unlink_entry(struct cache_order *o, struct cache_entry *e)
{
	*(e->older ? &e->older->newer : &o->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &o->newest) = e->older;
}

int cache_order_append(struct cache_order *o, struct cache_entry *e)
{
	if (map_put(&o->entries, e->id, e))
		return -ENOMEM;
	link_newest(o, e);
	o->used += e->row.bytes;
	return 0;
}

int cache_order_prepend(struct cache_order *o, struct cache_entry *e)
{
	if (map_put(&o->entries, e->id, e))
		return -ENOMEM;
	e->older = NULL;
	e->newer = o->oldest;
	*(o->oldest ? &o->oldest->older : &o->newest) = e;
	o->oldest = e;
	o->used += e->row.bytes;
	return 0;
}

void cache_order_take(struct cache_order *o, struct cache_entry *e)
{
	map_del(&o->entries, e->id);
	unlink_entry(o, e);
	o->used -= e->row.bytes;
	e->older = e->newer = NULL;
}

void cache_order_use(struct cache_order *o, struct cache_entry *e)
{
	unlink_entry(o, e);
	link_newest(o, e);
}

void cache_order_release(struct cache_order *o)
{
	struct cache_entry *e;

	while ((e = o->oldest) != NULL) {
		cache_order_take(o, e);
		free(e);
	}
	map_release(&o->entries);
}
