#include "fs/tree/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * One block holds all names, one array the rest: a hundred thousand entries cost two allocations
 * and no pointers.
 */
struct entry {
	uint64_t ino;
	uint32_t name; /* offset in names */
	bool is_dir;
};

struct dir {
	struct dir *next, **pprev; /* the caller's list, when linked */
	uint64_t ino;
	struct entry *v;
	size_t n, cap;
	char *names;
	size_t names_len, names_cap;
};

struct dir *dir_new(uint64_t ino)
{
	struct dir *d = calloc(1, sizeof(*d));

	if (d)
		d->ino = ino;
	return d;
}

uint64_t dir_ino(const struct dir *d)
{
	return d->ino;
}

void dir_clear(struct dir *d)
{
	d->n = 0;
	d->names_len = 0;
}

void dir_free(struct dir *d)
{
	if (!d)
		return;
	if (d->pprev) {
		*d->pprev = d->next;
		if (d->next)
			d->next->pprev = d->pprev;
	}
	free(d->v);
	free(d->names);
	free(d);
}

void dir_link(struct dir *d, struct dir **list)
{
	d->next = *list;
	if (d->next)
		d->next->pprev = &d->next;
	d->pprev = list;
	*list = d;
}

int dir_add(struct dir *d, const char *name, uint64_t ino, bool is_dir)
{
	size_t len = strlen(name) + 1;

	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 64;
		struct entry *v = realloc(d->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		d->v = v;
		d->cap = cap;
	}
	if (d->names_len + len > d->names_cap) {
		size_t cap = (d->names_cap + len) * 2;
		char *names = cap <= UINT32_MAX ? realloc(d->names, cap) : NULL;

		if (!names)
			return -ENOMEM;
		d->names = names;
		d->names_cap = cap;
	}
	memcpy(d->names + d->names_len, name, len);
	d->v[d->n++] = (struct entry){ ino, (uint32_t)d->names_len, is_dir };
	d->names_len += len;
	return 0;
}

const char *dir_entry(const struct dir *d, size_t n, uint64_t *ret_ino, bool *ret_is_dir)
{
	if (n >= d->n)
		return NULL;
	*ret_ino = d->v[n].ino;
	*ret_is_dir = d->v[n].is_dir;
	return d->names + d->v[n].name;
}
