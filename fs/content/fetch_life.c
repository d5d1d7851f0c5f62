#include "fs/content/fetch_life.h"

#include <errno.h>
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
	shared_end(ft->shared_file);
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
	extents_allow(&ft->have, FETCH_EXTENTS);
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

int fetch_begin(struct fetch *ft)
{
	struct fetcher *f = ft->f;
	uint64_t token;
	int fd, rc;

	pthread_mutex_lock(&f->lock);
	fd = ft->fd;
	pthread_mutex_unlock(&f->lock);
	if (fd >= 0)
		return 0;
	rc = cache_fetch_begin(f->cache, &token, &fd);
	if (rc == -ENOSPC && cache_shrink(f->cache, FETCH_ROOM))
		rc = cache_fetch_begin(f->cache, &token, &fd);
	if (rc)
		return rc;
	pthread_mutex_lock(&f->lock);
	if (ft->fd < 0) {
		ft->fd = fd;
		ft->token = token;
		ft->temp = true;
		fd = -1;
	}
	pthread_mutex_unlock(&f->lock);
	if (fd >= 0) {
		close(fd);
		cache_fetch_drop(f->cache, token);
	}
	return 0;
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
