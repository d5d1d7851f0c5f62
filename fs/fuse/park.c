/*
 * Requests that wait for the service; a signal may end their caller meanwhile.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/fuse/ops_impl.h"
#include "fs/proc/writer.h"

enum { PARK_BEGINS, PARK_WAITS, PARK_OVER };

/*
 * A fatal signal ends the wait, not the operation; other signals change nothing. After setting
 * PARK_OVER don't touch p: ops_unpark() may free it.
 */
static void interrupted(fuse_req_t req, void *arg)
{
	struct ops_parked *p = arg;
	int was = PARK_BEGINS;

	if (!writer_fatal_signal(p->tid))
		return;
	if (p->gone && atomic_load(&p->state) == PARK_WAITS)
		p->gone(p->s, p);
	/* Called within fuse_req_interrupt_func(): ops_park() answers the request afterwards. */
	if (atomic_compare_exchange_strong(&p->state, &was, PARK_OVER))
		return;
	if (was == PARK_WAITS && atomic_compare_exchange_strong(&p->state, &was, PARK_OVER))
		fuse_reply_err(req, EINTR);
}

struct ops_parked *ops_park(fuse_req_t req)
{
	return ops_park_for(req, NULL);
}

struct ops_parked *ops_park_for(fuse_req_t req, ops_gone *gone)
{
	struct ops_parked *p = calloc(1, sizeof(*p));
	int was = PARK_BEGINS;

	if (!p) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	p->req = req;
	p->s = ops_vfs(req);
	p->tid = fuse_req_ctx(req)->pid;
	p->gone = gone;
	fuse_req_interrupt_func(req, interrupted, p);
	if (atomic_compare_exchange_strong(&p->state, &was, PARK_WAITS))
		return p;
	fuse_req_interrupt_func(req, NULL, NULL);
	fuse_reply_err(req, EINTR);
	free(p);
	return NULL;
}

bool ops_unpark(struct ops_parked *p)
{
	if (atomic_exchange(&p->state, PARK_OVER) == PARK_OVER)
		return false;
	/* Waits for interrupted() if it runs, and keeps it from running later. */
	fuse_req_interrupt_func(p->req, NULL, NULL);
	return true;
}
