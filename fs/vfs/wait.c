/*
 * Wait for a publication; give the wait up.
 */
#include <stdlib.h>

#include "fs/vfs/wait.h"
#include "fs/publish/publisher.h"
#include "fs/vfs/vfs_impl.h"

static void waiting_over(void *arg, int err)
{
	struct waiting *w = arg;

	w->cb(w->arg, err);
	free(w);
}

struct waiting *waiting_new(enum publish_until until, vfs_done_cb *cb, void *arg)
{
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->w.until = until;
	w->w.cb = waiting_over;
	w->w.arg = w;
	w->cb = cb;
	w->arg = arg;
	return w;
}

struct vfs_wait *vfs_wait_new(struct vfs *s)
{
	struct waiting *w = waiting_new(UNTIL_ENDED, NULL, NULL);

	if (w)
		w->s = s;
	return (struct vfs_wait *)w;
}

bool vfs_wait_cancel(struct vfs_wait *sw)
{
	struct waiting *w = (struct waiting *)sw;
	bool waits;

	pthread_mutex_lock(&w->s->lock);
	waits = w->w.p != NULL;
	w->cancelled = true;
	pthread_mutex_unlock(&w->s->lock);
	if (!waits || !publish_wait_cancel(&w->w))
		return false;
	free(w);
	return true;
}
