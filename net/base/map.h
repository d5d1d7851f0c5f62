/*
 * map: a hash table from a string to the object that carries it. Grows by doubling; strhash()
 * spreads keys that others choose.
 *
 * The map does not copy keys: the string given to map_put() must live and stay unchanged until
 * map_del() or map_release(). A zeroed struct is an empty map. Not thread-safe: the owner's lock
 * protects it. Never blocks.
 */
#ifndef UPLOADFS_NET_BASE_MAP_H
#define UPLOADFS_NET_BASE_MAP_H

#include <stddef.h>

struct map_slot {
	const char *id; /* NULL: never used; or a tombstone */
	void *obj;
};

struct map {
	struct map_slot *slots;
	size_t size; /* a power of two, or 0 */
	size_t used; /* live entries and tombstones */
	size_t live;
};

/* Adds obj under id. 0, -EEXIST (id is there already) or -ENOMEM. */
int map_put(struct map *m, const char *id, void *obj);
void *map_get(const struct map *m, const char *id); /* NULL: none */
void map_del(struct map *m, const char *id);	    /* a no-op for an unknown id */
/* Iterates in no order: start with *pos = 0; NULL at the end. Do not change the map meanwhile. */
void *map_each(const struct map *m, size_t *pos);
void map_release(struct map *m); /* frees the table, not the objects */

#endif
