/* The thread of the fake, and the calls of net/api/api.h. */
#include "tests/unit/fake_api_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t fake_changed = PTHREAD_COND_INITIALIZER;

void *fake_need(void *p)
{
	if (!p)
		abort();
	return p;
}

char *fake_copy(const char *s)
{
	return s ? fake_need(strdup(s)) : NULL;
}

void fake_lock_take(void)
{
	pthread_mutex_lock(&fake_lock);
}

void fake_lock_give(void)
{
	pthread_cond_broadcast(&fake_changed);
	pthread_mutex_unlock(&fake_lock);
}

/* The thread. */

void fake_req_free(struct api_req *r)
{
	size_t i;

	for (i = 0; i < r->part_count; i++)
		free(r->part_ids[i]);
	free(r->part_ids);
	free(r->id);
	free(r->filename);
	free(r->purpose);
	free(r->md5);
	free(r->torso);
	free(r);
}

/* Under lock. */
static void req_put(struct api_req *r)
{
	if (!--r->refs)
		fake_req_free(r);
}

bool fake_req_runnable(const struct api *api, const struct api_req *r)
{
	bool held = api->held[r->op] && !r->pass;

	if (r->cancelled || api->stopping)
		return true;
	if (r->op == FAKE_CONTENT)
		return !fake_content_waits(api, r) && (!held || r->begun);
	/* A live one is read as it comes, held or not: it is the rest that waits. */
	if (r->ready && r->got < r->len && !r->worked)
		return r->fed;
	return !held || (!r->worked && api->hold[r->op] == FAKE_HOLD_REPLY);
}

/* Takes the first request that can go on out of the queue, or NULL. */
static struct api_req *queue_take(struct api *api)
{
	struct api_req **slot = &api->queue, *r;

	while (*slot && !fake_req_runnable(api, *slot))
		slot = &(*slot)->next;
	r = *slot;
	if (!r)
		return NULL;
	*slot = r->next;
	if (!*slot)
		api->queue_tail = slot;
	r->next = NULL;
	return r;
}

static void queue_put(struct api *api, struct api_req *r)
{
	r->next = NULL;
	*api->queue_tail = r;
	api->queue_tail = &r->next;
}

/* A step of r; true when its callback is due. Under lock. */
static bool req_step(struct api *api, struct api_req *r)
{
	if (r->cancelled || api->stopping) {
		r->err = fake_api_error(API_ERR_CANCELLED, 0, "", "cancelled");
		r->err.maybe_applied = r->worked;
		return true;
	}
	if (r->op == FAKE_CONTENT)
		return fake_content_step(api, r);
	if (r->worked)
		return true;
	/* One that fails does so half-way. */
	if (r->ready) {
		bool all = fake_part_read(r);

		api->live = r->got;
		if (!all && !r->fault.kind)
			return false;
	}
	fake_req_work(api, r);
	return false;
}

static void req_finish(struct api *api, struct api_req *r)
{
	api->active[r->op]--;
	fake_lock_give();
	fake_req_reply(r);
	fake_lock_take();
	api->calls[r->call].done = true;
	api->calls[r->call].cancelled = r->cancelled;
	api->calls[r->call].kind = r->err.kind;
	api->done[r->op]++;
	r->api = NULL;
	req_put(r);
}

static void *fake_thread(void *arg)
{
	struct api *api = arg;
	struct api_req *r;

	fake_lock_take();
	while (!api->stopping || api->queue) {
		r = queue_take(api);
		api->taken = r != NULL;
		if (!r)
			pthread_cond_wait(&fake_changed, &fake_lock);
		else if (req_step(api, r))
			req_finish(api, r);
		else
			queue_put(api, r);
		pthread_cond_broadcast(&fake_changed);
	}
	fake_lock_give();
	return NULL;
}

int api_new(const struct api_config *cfg, struct api **ret)
{
	struct api *api = fake_need(calloc(1, sizeof(*api)));

	(void)cfg;
	api->queue_tail = &api->queue;
	if (pthread_create(&api->thread, NULL, fake_thread, api))
		abort();
	*ret = api;
	return 0;
}

struct api *fake_api_new(void)
{
	struct api *api;

	api_new(NULL, &api);
	return api;
}

static void upload_free(struct upload *up)
{
	struct part *p, *next;

	for (p = up->parts; p; p = next) {
		next = p->next;
		free(p->blob.data);
		free(p);
	}
	free(up->filename);
	free(up->purpose);
	free(up);
}

void api_free(struct api *api)
{
	struct upload *up;
	struct api_req *r;
	struct file *f;

	if (!api)
		return;
	if (api->base) {
		fake_api_peer_end(api);
		return;
	}
	fake_lock_take();
	api->stopping = true;
	fake_lock_give();
	pthread_join(api->thread, NULL);
	while ((up = api->uploads) != NULL) {
		api->uploads = up->next;
		upload_free(up);
	}
	while ((f = api->files) != NULL) {
		api->files = f->next;
		free(f->blob.data);
		free(f->filename);
		free(f->purpose);
		free(f);
	}
	free(api->calls);
	while ((r = api->later) != NULL) {
		api->later = r->next;
		fake_req_free(r);
	}
	free(api);
}

int api_set_key(struct api *api, const char *key)
{
	(void)api;
	(void)key;
	return 0;
}

void api_get_health(struct api *api, struct api_health *ret)
{
	(void)api;
	memset(ret, 0, sizeof(*ret));
}

void api_get_stats(struct api *api, struct api_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	fake_lock_take();
	ret->requests = api->call_count;
	fake_lock_give();
}

void api_get_op_stats(struct api *api, enum api_op op, struct api_op_stats *ret)
{
	(void)api;
	(void)op;
	memset(ret, 0, sizeof(*ret));
	ret->name = "fake";
}

void api_get_queues(struct api *api, struct api_queue ret[API_QUEUES])
{
	(void)api;
	memset(ret, 0, API_QUEUES * sizeof(*ret));
	for (int i = 0; i < API_QUEUES; i++)
		ret[i].name = "fake";
}

/* The calls. */

void api_req_cancel(struct api_req *req)
{
	if (!req)
		return;
	fake_lock_take();
	req->cancelled = true;
	fake_lock_give();
}

void api_req_unref(struct api_req *req)
{
	if (!req)
		return;
	fake_lock_take();
	req_put(req);
	fake_lock_give();
}

static struct api_req *req_new(enum fake_op op, const char *id, void *arg)
{
	struct api_req *r = fake_need(calloc(1, sizeof(*r)));

	r->op = op;
	r->refs = 2; /* the caller's and ours */
	r->id = fake_copy(id);
	r->arg = arg;
	return r;
}

static void call_log(struct api *api, struct api_req *r)
{
	struct fake_call *c;
	size_t i, at = 0;
	int n;

	api->calls = fake_need(realloc(api->calls, (api->call_count + 1) * sizeof(*c)));
	r->call = api->call_count++;
	c = &api->calls[r->call];
	memset(c, 0, sizeof(*c));
	c->op = r->op;
	snprintf(c->id, sizeof(c->id), "%s", r->id && r->op != FAKE_LIST ? r->id : "");
	snprintf(c->text, sizeof(c->text), "%s", r->id && r->op == FAKE_LIST ? r->id : "");
	snprintf(c->filename, sizeof(c->filename), "%s", r->filename ? r->filename : "");
	snprintf(c->purpose, sizeof(c->purpose), "%s", r->purpose ? r->purpose : "");
	snprintf(c->md5, sizeof(c->md5), "%s", r->md5 ? r->md5 : "");
	c->offset = r->offset;
	c->len = r->op == FAKE_LIST ? r->limit : r->len;
	c->part_count = r->part_count;
	for (i = 0; i < r->part_count && at < sizeof(c->text); i++) {
		n = snprintf(c->text + at, sizeof(c->text) - at, "%s%s", i ? " " : "",
			     r->part_ids[i]);
		at += (size_t)n;
	}
}

/* Counts the call for all faults; the first that strikes is taken. */
static void call_fault(struct api *api, struct api_req *r)
{
	struct fault *f;
	unsigned i;

	for (i = 0; i < api->fault_count; i++) {
		f = &api->faults[i];
		if (f->op != r->op && f->op != FAKE_OPS)
			continue;
		f->seen++;
		if (f->seen >= f->nth && f->seen - f->nth < f->times && !r->fault.kind)
			r->fault = f->err;
	}
}

static struct api_req *req_submit(struct api *api, struct api_req *r)
{
	fake_lock_take();
	r->peer = api;
	if (api->base)
		api = api->base;
	r->api = api;
	call_log(api, r);
	call_fault(api, r);
	api->started[r->op]++;
	if (++api->active[r->op] > api->active_max[r->op])
		api->active_max[r->op] = api->active[r->op];
	queue_put(api, r);
	fake_lock_give();
	return r;
}

struct api_req *api_upload_create(struct api *api, const struct api_upload_spec *spec,
				  api_upload_cb *cb, void *arg)
{
	struct api_req *r = req_new(FAKE_CREATE, NULL, arg);

	r->filename = fake_copy(spec->filename);
	r->purpose = fake_copy(spec->purpose);
	r->len = spec->bytes;
	r->expiry = spec->expires_after_s;
	r->cb.upload = cb;
	return req_submit(api, r);
}

struct api_req *api_part_add(struct api *api, const char *upload_id,
			     const struct api_part_body *body, api_part_cb *cb, void *arg)
{
	struct api_req *r = req_new(FAKE_PART, upload_id, arg);

	r->fd = body->fd;
	r->offset = body->offset;
	r->len = body->len;
	r->ready = body->ready;
	r->ready_arg = body->ready_arg;
	r->fed = true;
	r->cb.part = cb;
	return req_submit(api, r);
}

void api_part_feed(struct api_req *req)
{
	fake_lock_take();
	req->fed = true;
	fake_lock_give();
}

struct api_req *api_upload_complete(struct api *api, const char *upload_id,
				    const char *const *part_ids, size_t part_count,
				    const char *md5_hex, uint64_t bytes, api_upload_cb *cb,
				    void *arg)
{
	struct api_req *r = req_new(FAKE_COMPLETE, upload_id, arg);
	size_t i;

	r->part_ids = fake_need(calloc(part_count + 1, sizeof(*r->part_ids)));
	for (i = 0; i < part_count; i++)
		r->part_ids[i] = fake_copy(part_ids[i]);
	r->part_count = part_count;
	r->md5 = fake_copy(md5_hex);
	r->len = bytes;
	r->cb.upload = cb;
	return req_submit(api, r);
}

struct api_req *api_upload_cancel(struct api *api, const char *upload_id, api_upload_cb *cb,
				  void *arg)
{
	struct api_req *r = req_new(FAKE_CANCEL, upload_id, arg);

	r->cb.upload = cb;
	return req_submit(api, r);
}

struct api_req *api_file_upload(struct api *api, const struct api_upload_spec *spec,
				const struct api_file_body *body, api_file_cb *cb, void *arg)
{
	struct api_req *r = req_new(FAKE_UPLOAD, NULL, arg);

	r->filename = fake_copy(spec->filename);
	r->purpose = fake_copy(spec->purpose);
	r->md5 = fake_copy(body->md5_hex);
	r->len = spec->bytes;
	r->fd = body->fd;
	r->cb.file = cb;
	return req_submit(api, r);
}

struct api_req *api_file_list(struct api *api, const char *purpose, const char *after,
			      unsigned limit, bool desc, api_page_cb *cb, void *arg)
{
	struct api_req *r = req_new(FAKE_LIST, after, arg);

	r->purpose = fake_copy(purpose);
	r->limit = limit;
	r->desc = desc;
	r->cb.page = cb;
	return req_submit(api, r);
}

struct api_req *api_file_list_brief(struct api *api, const char *purpose, const char *after,
				    unsigned limit, api_page_cb *cb, void *arg)
{
	return api_file_list(api, purpose, after, limit, true, cb, arg);
}

struct api_req *api_file_get(struct api *api, const char *file_id, api_file_cb *cb, void *arg)
{
	struct api_req *r = req_new(FAKE_GET, file_id, arg);

	r->cb.file = cb;
	return req_submit(api, r);
}

struct api_req *api_file_delete(struct api *api, const char *file_id, api_done_cb *cb, void *arg)
{
	struct api_req *r = req_new(FAKE_DELETE, file_id, arg);

	r->cb.done = cb;
	return req_submit(api, r);
}

struct api_req *api_file_content(struct api *api, const char *file_id, uint64_t offset,
				 uint64_t len, uint64_t total, api_data_cb *data,
				 api_content_cb *done, void *arg)
{
	struct api_req *r = req_new(FAKE_CONTENT, file_id, arg);

	(void)total; /* content.length is noticed by its bytes alone */
	r->offset = offset;
	r->len = len;
	r->data_cb = data;
	r->cb.content = done;
	return req_submit(api, r);
}
