/*
 * idmap: a hash table from an id to the object that carries it.
 *
 * The table does not copy ids: the string given to idmap_put() must live and
 * stay unchanged until idmap_del() or idmap_release(). A zeroed struct is an
 * empty table. Not thread-safe: the owner's lock protects it. Never blocks.
 */
#ifndef UPLOADFS_NET_SERVER_IDMAP_H
#define UPLOADFS_NET_SERVER_IDMAP_H

#include <stddef.h>

struct idmap_slot {
	const char *id; /* NULL: never used; or a tombstone */
	void *obj;
};

struct idmap {
	struct idmap_slot *slots;
	size_t size; /* a power of two, or 0 */
	size_t used; /* live entries and tombstones */
	size_t live;
};

/* 0, -EEXIST (the id is there already) or -ENOMEM. */
int idmap_put(struct idmap *m, const char *id, void *obj);
void *idmap_get(const struct idmap *m, const char *id); /* NULL: none */
void idmap_del(struct idmap *m, const char *id);	/* no-op when it is not there */
/* Iteration in no order: start with *pos = 0; NULL at the end. No changes meanwhile. */
void *idmap_each(const struct idmap *m, size_t *pos);
void idmap_release(struct idmap *m); /* frees the table, not the objects */

#endif
