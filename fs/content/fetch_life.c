#include "fs/content/fetch_life.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/cache.h"

void fetch_destroy(struct fetch *ft)
{
	if (!ft)
		return;
	if (ft->temp)
		cache_fetch_drop(ft->f->cache, ft->token);
	if (ft->fd >= 0)
		close(ft->fd);
	extents_release(&ft->have);
	free(ft->id);
	free(ft);
}

struct fetch *fetch_alloc(struct fetcher *f, const char *file_id, uint64_t bytes)
{
	struct fetch *ft = calloc(1, sizeof(*ft));
	unsigned i;

	if (!ft)
		return NULL;
	ft->f = f;
	ft->bytes = bytes;
	ft->nref = 1;
	ft->fd = -1;
	extents_init(&ft->have);
	fetch_waiters_init(&ft->waiters);
	for (i = 0; i < FETCH_REQS; i++)
		ft->reqs[i].ft = ft;
	ft->id = strdup(file_id);
	if (!ft->id) {
		fetch_destroy(ft);
		return NULL;
	}
	return ft;
}

void fetch_put(struct fetch *ft)
{
	struct fetcher *f = ft->f;
	bool last;

	pthread_mutex_lock(&f->lock);
	last = !--ft->nbusy && !ft->nref;
	pthread_mutex_unlock(&f->lock);
	if (last)
		fetch_destroy(ft);
}
