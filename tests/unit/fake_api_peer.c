/* Several hosts on one service, whose calls a test lets go one by one. */
#include "tests/unit/fake_api_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"

#define RACE_MS 8000 /* a complete that runs may end so long after a cancel */

struct api *fake_api_peer(struct api *api)
{
	struct api *peer = fake_need(calloc(1, sizeof(*peer)));

	peer->base = api;
	return peer;
}

static bool has_calls(const struct api *api, const struct api *peer)
{
	const struct api_req *r = api->queue;

	while (r && r->peer != peer)
		r = r->next;
	return r || api->taken;
}

void fake_api_peer_end(struct api *peer)
{
	struct api *api = peer->base;

	fake_lock_take();
	for (struct api_req *r = api->queue; r; r = r->next)
		r->cancelled |= r->peer == peer;
	pthread_cond_broadcast(&fake_changed);
	while (has_calls(api, peer))
		pthread_cond_wait(&fake_changed, &fake_lock);
	for (struct upload *up = api->uploads; up; up = up->next)
		if (up->peer == peer)
			up->peer = NULL;
	for (struct file *f = api->files; f; f = f->next)
		if (f->deleter == peer)
			f->deleter = NULL;
	fake_lock_give();
	free(peer);
}

void fake_api_dated(struct api *api, bool with_upload)
{
	fake_lock_take();
	api->dated = true;
	api->with_upload = with_upload;
	fake_lock_give();
}

void fake_api_lag(struct api *api, uint64_t ms)
{
	fake_lock_take();
	api->lag_ms = ms;
	fake_lock_give();
}

bool fake_api_settled(struct api *api)
{
	const struct api_req *r;
	bool settled;

	fake_lock_take();
	for (r = api->queue; r && !fake_req_runnable(api, r); r = r->next)
		;
	settled = !r && !api->taken;
	fake_lock_give();
	return settled;
}

static int compare(const void *a, const void *b)
{
	const struct fake_wait *x = a, *y = b;
	int n = (int)x->op - (int)y->op;

	if (!n)
		n = strcmp(x->id, y->id);
	if (!n)
		n = strcmp(x->filename, y->filename);
	if (!n && x->offset != y->offset)
		n = x->offset < y->offset ? -1 : 1;
	return n ? n : x->call < y->call ? -1 : 1;
}

size_t fake_api_waiting(struct api *api, const struct api *peer, struct fake_wait *v, size_t max)
{
	size_t n = 0;

	fake_lock_take();
	for (const struct api_req *r = api->queue; r && n < max; r = r->next) {
		if (r->peer != peer || r->pass)
			continue;
		v[n] = (struct fake_wait){ .call = r->call, .op = r->op, .offset = r->offset };
		snprintf(v[n].id, sizeof(v[n].id), "%s", r->id ? r->id : "");
		snprintf(v[n].filename, sizeof(v[n].filename), "%s",
			 r->filename ? r->filename : "");
		n++;
	}
	fake_lock_give();
	qsort(v, n, sizeof(*v), compare);
	return n;
}

/* A copy of a complete, without a caller. */
static struct api_req *orphan(const struct api_req *r)
{
	struct api_req *c = fake_need(calloc(1, sizeof(*c)));

	c->op = r->op;
	c->id = fake_copy(r->id);
	c->md5 = fake_copy(r->md5);
	c->len = r->len;
	c->part_ids = fake_need(calloc(r->part_count + 1, sizeof(*c->part_ids)));
	for (; c->part_count < r->part_count; c->part_count++)
		c->part_ids[c->part_count] = fake_copy(r->part_ids[c->part_count]);
	return c;
}

void fake_api_end(struct api *api, size_t call, const struct api_error *err, bool work, bool later)
{
	struct api_req *r, *c;

	fake_lock_take();
	for (r = api->queue; r && r->call != call; r = r->next)
		;
	if (!r)
		abort();
	if (later) {
		c = orphan(r);
		c->next = api->later;
		api->later = c;
	}
	if (err)
		r->fault = *err;
	if (err && work)
		r->fault.maybe_applied = true;
	r->idle = !work || later;
	r->pass = true;
	fake_lock_give();
}

void fake_api_run_later(struct api *api, bool late)
{
	struct upload *up;
	struct api_req *r;

	fake_lock_take();
	while ((r = api->later) != NULL) {
		api->later = r->next;
		up = fake_upload_find(api, r->id);
		if (late && up && up->status == API_UPLOAD_CANCELLED &&
		    clock_mono_ms() < up->cancelled_ms + RACE_MS)
			up->status = API_UPLOAD_PENDING;
		fake_req_work(api, r);
		fake_req_free(r);
	}
	fake_lock_give();
}

bool fake_api_file_at(struct api *api, size_t nth, struct fake_file *ret)
{
	const struct file *f;

	fake_lock_take();
	for (f = api->files; f && nth; f = f->next)
		nth--;
	if (f) {
		*ret = (struct fake_file){ .deleter = f->deleter,
					   .deleted = f->deleted,
					   .listed = fake_file_listed(api, f),
					   .bytes = f->blob.len,
					   .created_at = f->created_at };
		snprintf(ret->id, sizeof(ret->id), "%s", f->id);
		snprintf(ret->upload, sizeof(ret->upload), "%s", f->upload);
		snprintf(ret->filename, sizeof(ret->filename), "%s", f->filename);
	}
	fake_lock_give();
	return f != NULL;
}
