/* idmap: open addressing with linear probing; see idmap.h. */
#include "net/server/idmap.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IDMAP_MIN 64

static const char tombstone[] = "";

static size_t idmap_hash(const char *id)
{
	uint64_t h = 14695981039346656037ULL;

	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * 1099511628211ULL;
	return (size_t)(h ^ (h >> 29));
}

static struct idmap_slot *idmap_find(const struct idmap *m, const char *id)
{
	size_t i, mask = m->size - 1;

	if (!m->size)
		return NULL;
	for (i = idmap_hash(id) & mask; m->slots[i].id; i = (i + 1) & mask) {
		if (m->slots[i].id != tombstone && !strcmp(m->slots[i].id, id))
			return &m->slots[i];
	}
	return NULL;
}

static void idmap_insert(struct idmap *m, const char *id, void *obj)
{
	size_t mask = m->size - 1, i = idmap_hash(id) & mask;

	while (m->slots[i].id)
		i = (i + 1) & mask;
	m->slots[i].id = id;
	m->slots[i].obj = obj;
	m->used++;
	m->live++;
}

/* Keeps at least half of the slots unused, so that a probe ends soon. */
static int idmap_reserve(struct idmap *m)
{
	struct idmap next = { .size = m->size ? m->size : IDMAP_MIN };
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
			idmap_insert(&next, m->slots[i].id, m->slots[i].obj);
	}
	free(m->slots);
	*m = next;
	return 0;
}

int idmap_put(struct idmap *m, const char *id, void *obj)
{
	int err;

	if (idmap_find(m, id))
		return -EEXIST;
	err = idmap_reserve(m);
	if (err)
		return err;
	idmap_insert(m, id, obj);
	return 0;
}

void *idmap_get(const struct idmap *m, const char *id)
{
	const struct idmap_slot *slot = idmap_find(m, id);

	return slot ? slot->obj : NULL;
}

void idmap_del(struct idmap *m, const char *id)
{
	struct idmap_slot *slot = idmap_find(m, id);

	if (!slot)
		return;
	slot->id = tombstone;
	slot->obj = NULL;
	m->live--;
}

void *idmap_each(const struct idmap *m, size_t *pos)
{
	while (*pos < m->size) {
		const struct idmap_slot *slot = &m->slots[(*pos)++];

		if (slot->id && slot->id != tombstone)
			return slot->obj;
	}
	return NULL;
}

void idmap_release(struct idmap *m)
{
	free(m->slots);
	memset(m, 0, sizeof(*m));
}
