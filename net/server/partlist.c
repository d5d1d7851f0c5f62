/* partlist: see partlist.h. */
#include "net/server/partlist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/server/store.h"

static int note_part(void *arg, const char *id, uint64_t bytes, struct timespec mtime)
{
	struct part_list *list = arg;
	struct found_part *next;

	if (list->count == list->room) {
		list->room = list->room ? list->room * 2 : 16;
		next = realloc(list->v, list->room * sizeof(*next));
		if (!next)
			return -ENOMEM;
		list->v = next;
	}
	snprintf(list->v[list->count].id, ID_SIZE, "%s", id);
	list->v[list->count].bytes = bytes;
	list->v[list->count++].mtime = mtime;
	return 0;
}

static int compare_found(const void *a, const void *b)
{
	const struct found_part *x = a, *y = b;

	if (x->mtime.tv_sec != y->mtime.tv_sec)
		return x->mtime.tv_sec < y->mtime.tv_sec ? -1 : 1;
	if (x->mtime.tv_nsec != y->mtime.tv_nsec)
		return x->mtime.tv_nsec < y->mtime.tv_nsec ? -1 : 1;
	return strcmp(x->id, y->id);
}

int part_list_load(struct part_list *ret, struct store *store, const char *owner)
{
	struct part_list list = { 0 };
	int err = store_part_each(store, owner, note_part, &list);

	if (err) {
		free(list.v);
		return err;
	}
	if (list.count)
		qsort(list.v, list.count, sizeof(*list.v), compare_found);
	*ret = list;
	return 0;
}

void part_list_release(struct part_list *list)
{
	free(list->v);
}
