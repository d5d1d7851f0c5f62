/*
 * All publications at one moment, for the status document.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publish_impl.h"
#include "fs/stage/area.h"

/* All with a reference each; NULL: out of memory. */
static struct publish **take_all(struct publisher *pr, size_t *ret_count)
{
	struct publish **v;
	size_t n = 0;

	pthread_mutex_lock(&pr->lock);
	for (const struct publish *p = pr->all; p; p = p->all_next)
		n++;
	v = calloc(n + 1, sizeof(struct publish *));
	n = 0;
	for (struct publish *p = v ? pr->all : NULL; p; p = p->all_next)
		if (!p->in.dropped && publish_take_ref(p))
			v[n++] = p;
	pthread_mutex_unlock(&pr->lock);
	*ret_count = n;
	return v;
}

static int fill(struct publish *p, struct publish_row *row)
{
	pthread_mutex_lock(&p->pr->lock);
	row->purpose = strdup(p->in.purpose);
	row->path = strdup(p->in.path);
	pthread_mutex_unlock(&p->pr->lock);
	row->size = staged_size(p->staged);
	publish_get_info(p, &row->info);
	return row->purpose && row->path ? 0 : -ENOMEM;
}

int publisher_list(struct publisher *pr, struct publish_rows *ret)
{
	struct publish_rows rows = { 0 };
	size_t n = 0;
	struct publish **all = take_all(pr, &n);
	int r = all ? 0 : -ENOMEM;

	rows.v = calloc(n + 1, sizeof(*rows.v));
	if (!rows.v)
		r = -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = fill(all[i], &rows.v[rows.count++]);
		publish_unref(all[i]);
	}
	free(all);
	if (r)
		publish_rows_free(&rows);
	else
		*ret = rows;
	return r;
}

void publish_rows_free(struct publish_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		free(rows->v[i].purpose);
		free(rows->v[i].path);
	}
	free(rows->v);
	memset(rows, 0, sizeof(*rows));
}
