/* Open addressing with linear probing. */
#include "net/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/strhash.h"

#define MAP_MIN 64

static const char tombstone[] = "";

static struct map_slot *map_find(const struct map *m, const char *id)
{
	size_t i, mask = m->size - 1;

	if (!m->size)
		return NULL;
	for (i = (size_t)strhash(id) & mask; m->slots[i].id; i = (i + 1) & mask) {
		if (m->slots[i].id != tombstone && !strcmp(m->slots[i].id, id))
			return &m->slots[i];
	}
	return NULL;
}

static void map_insert(struct map *m, const char *id, void *obj)
{
	size_t mask = m->size - 1, i = (size_t)strhash(id) & mask;

	while (m->slots[i].id)
		i = (i + 1) & mask;
	m->slots[i].id = id;
	m->slots[i].obj = obj;
	m->used++;
	m->live++;
}

/* Keeps at least half of the slots unused, so that a probe ends soon. */
static int map_reserve(struct map *m)
{
	struct map next = { .size = m->size ? m->size : MAP_MIN };
	size_t i;

	if (m->size && (m->used + 1) * 2 <= m->size)
		return 0;
	while ((m->live + 1) * 4 > next.size)
		next.size *= 2;
	next.slots = calloc(next.size, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (i = 0; i < m->size; i++) {
		if (m->slots[i].id && m->slots[i].id != tombstone)
			map_insert(&next, m->slots[i].id, m->slots[i].obj);
	}
	free(m->slots);
	*m = next;
	return 0;
}

int map_put(struct map *m, const char *id, void *obj)
{
	int err;

	if (map_find(m, id))
		return -EEXIST;
	err = map_reserve(m);
	if (err)
		return err;
	map_insert(m, id, obj);
	return 0;
}

void *map_get(const struct map *m, const char *id)
{
	const struct map_slot *slot = map_find(m, id);

	return slot ? slot->obj : NULL;
}

void map_del(struct map *m, const char *id)
{
	struct map_slot *slot = map_find(m, id);

	if (!slot)
		return;
	slot->id = tombstone;
	slot->obj = NULL;
	m->live--;
}

void *map_each(const struct map *m, size_t *pos)
{
	while (*pos < m->size) {
		const struct map_slot *slot = &m->slots[(*pos)++];

		if (slot->id && slot->id != tombstone)
			return slot->obj;
	}
	return NULL;
}

void map_release(struct map *m)
{
	free(m->slots);
	memset(m, 0, sizeof(*m));
}
