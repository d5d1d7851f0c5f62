/*
 * The sync of the staged data, on the disk worker.
 */
#include "fs/publish/sync.h"

#include <errno.h>
#include <stddef.h>

#include "fs/publish/event.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/stage/file.h"

static bool run_sync(struct hash_job *job)
{
	struct publish *p = (struct publish *)((char *)job - offsetof(struct publish, sync.job));
	struct event *ev = p->sync.ev;

	p->sync.ev = NULL;
	ev->version = p->sync.started;
	ev->err = staged_sync(p->staged);
	publish_post(p, ev);
	return false;
}

/* The job does not drop the reference itself: the worker may never run it. */
void publish_end_sync(struct publish *p)
{
	if (!p->sync.under_way)
		return;
	pool_remove(p->pr->cfg.disk, &p->sync.job);
	if (p->sync.ev)
		publish_event_free(p->sync.ev);
	p->sync.ev = NULL;
	p->sync.under_way = false;
	publish_unref(p);
}

void publish_act_sync(struct publish *p)
{
	p->sync.ev = publish_event_new(EV_SYNCED);
	if (!p->sync.ev) {
		p->sync.err = -ENOMEM;
		return;
	}
	p->sync.under_way = true;
	publish_ref(p); /* until publish_end_sync() */
	p->sync.started = p->sync.round;
	p->sync.job.run = run_sync;
	pool_queue(p->pr->cfg.disk, &p->sync.job);
}
