#include "fs/content/fetch_room.h"

#include <errno.h>
#include <stddef.h>

#include "fs/content/cache.h"
#include "fs/content/fetch_life.h"

/* Take the fetches that want room, each kept alive by nbusy. */
static struct fetch *take_wanting(struct fetcher *f)
{
	struct fetch *list = NULL, *ft;

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < FETCH_BUCKETS; i++) {
		for (ft = f->buckets[i]; ft; ft = ft->next) {
			if (!ft->wants_room)
				continue;
			ft->nbusy++;
			ft->room_next = list;
			list = ft;
		}
	}
	pthread_mutex_unlock(&f->lock);
	return list;
}

static void resume(struct fetch *ft, bool room)
{
	struct fetch_waiters stuck;
	int rc;

	fetch_waiters_init(&stuck);
	pthread_mutex_lock(&ft->f->lock);
	ft->wants_room = false;
	rc = room ? fetch_pump(ft) : -ENOSPC;
	if (rc)
		fetch_take_unserved(ft, &stuck);
	pthread_mutex_unlock(&ft->f->lock);
	fetch_waiters_answer(&stuck, rc,
			     rc == -ENOSPC ? "the disk of the state directory is full"
					   : "cannot start a request",
			     -1);
	fetch_put(ft);
}

bool fetch_room_make(struct hash_job *job)
{
	struct fetcher *f = (struct fetcher *)((char *)job - offsetof(struct fetcher, room));
	struct fetch *list = take_wanting(f), *next;
	bool room = list && cache_shrink(f->cache, FETCH_ROOM) > 0;

	for (; list; list = next) {
		next = list->room_next;
		resume(list, room);
	}
	return false;
}

void fetch_room_ask(struct fetcher *f)
{
	bool queued;

	pthread_mutex_lock(&f->lock);
	queued = f->worker != NULL;
	/* Under the lock: fetcher_set_worker() waits for the job before the worker goes. */
	if (queued)
		pool_queue(f->worker, &f->room);
	pthread_mutex_unlock(&f->lock);
	if (!queued)
		fetch_room_make(&f->room);
}
