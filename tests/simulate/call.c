/* net/api/api.h for the daemons: each call goes out and comes back on a network coroutine. */
#include "tests/simulate/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/simulate/service.h"
#include "tests/simulate/sim.h"

struct api {
	unsigned host;
	struct co *net;
	bool stopping, ended;
};

struct api_req {
	struct api *api;
	struct call *call; /* NULL: its callback has returned */
	unsigned refs;
	bool cancelled, fed;
	int fd;
	uint64_t (*ready)(void *arg, uint64_t at);
	void *ready_arg;
	atomic_ullong *moving;
	uint64_t got;
	union {
		api_upload_cb *upload;
		api_part_cb *part;
		api_file_cb *file;
		api_done_cb *done;
		api_page_cb *page;
		api_content_cb *content;
	} cb;
	api_data_cb *data;
	void *arg;
};

const char *call_name(const struct call *c)
{
	static const char *const ops[] = { "create", "part", "complete", "cancel", "upload",
					   "list",   "get",  "delete",	 "content" };
	static char text[200];

	snprintf(text, sizeof(text), "%s %.40s%s", ops[c->op], c->id,
		 c->filename ? c->filename : "");
	return text;
}

struct call *call_copy(const struct call *c)
{
	struct call *n = malloc(sizeof(*n));

	*n = *c;
	n->next = NULL;
	n->req = NULL;
	return n;
}

void call_answered(struct call *c)
{
	c->state = CALL_DONE;
	co_wake(c->api);
}

static void unlink_call(struct call *c)
{
	struct call **at = &calls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
}

/* ---- the network coroutine ---- */

static void local_error(struct call *c, int err)
{
	c->err = (struct api_error){ .kind = API_ERR_LOCAL, .local_errno = err, .attempts = 1 };
	c->state = CALL_DONE;
}

/* Reads [got, upto) of the body. */
static int read_body(struct call *c, uint64_t upto)
{
	struct api_req *r = c->req;

	while (r->got < upto) {
		ssize_t n =
			pread(r->fd, c->body + r->got, upto - r->got, (off_t)(c->offset + r->got));

		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		r->got += (uint64_t)n;
		if (r->moving)
			atomic_fetch_add(r->moving, (unsigned long long)n);
	}
	return 0;
}

/* Sends c, or what there is of it. False: there is nothing to send now. */
static bool send_call(struct call *c)
{
	struct api_req *r = c->req;
	uint64_t upto = c->len;
	int err;

	if (c->op != OP_PART && c->op != OP_UPLOAD) {
		c->state = CALL_SENT;
		return true;
	}
	if (r->ready) {
		r->fed = false;
		upto = r->ready(r->ready_arg, r->got);
		if (upto <= r->got)
			return true;
	}
	err = read_body(c, upto);
	if (err)
		local_error(c, err);
	else if (r->got == c->len)
		c->state = CALL_SENT;
	else
		r->fed = true;
	return true;
}

static const char *put_text(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *to = memcpy(*at, text, size);

	*at += size;
	return to;
}

static void answer_page(struct call *c)
{
	struct api_req *r = c->req;
	struct api_file_page page = { .count = c->page_count, .has_more = c->more };
	size_t size = 1;
	char *at;

	if (c->err.kind) {
		r->cb.page(r->arg, &c->err, NULL);
		return;
	}
	for (size_t i = 0; i < c->page_count; i++)
		size += strlen(c->page[i]->filename) + 40;
	page.files = calloc(c->page_count + 1, sizeof(*page.files));
	page.text = at = malloc(size);
	for (size_t i = 0; i < c->page_count; i++) {
		service_view(c->page[i], &page.files[i]);
		page.files[i].filename = put_text(&at, c->page[i]->filename);
		page.files[i].id = put_text(&at, c->page[i]->id);
	}
	page.last_id = c->page_count ? c->page[c->page_count - 1]->id : "";
	r->cb.page(r->arg, &c->err, &page);
	free(page.files);
	free(page.text);
}

static void answer_content(struct call *c)
{
	struct api_req *r = c->req;
	uint64_t end = c->body_len, at = c->offset;
	int err = 0;

	if (!c->err.kind && c->len < end - at)
		end = at + c->len;
	while (!c->err.kind && !err && at < end && !r->cancelled) {
		size_t n = end - at < 256 ? end - at : 256;

		err = r->data(r->arg, at, c->body + at, n);
		at += n;
		co_point();
	}
	if (err)
		local_error(c, err);
	else if (r->cancelled && !c->err.kind && at < end)
		c->err = (struct api_error){ .kind = API_ERR_CANCELLED, .attempts = 1 };
	r->cb.content(r->arg, &c->err, true);
}

static void answer(struct call *c)
{
	struct api_req *r = c->req;
	bool ok = !c->err.kind;

	if (r->moving)
		atomic_fetch_sub(r->moving, r->got);
	switch (c->op) {
	case OP_PART:
		r->cb.part(r->arg, &c->err, ok ? &c->part : NULL);
		break;
	case OP_LIST:
		answer_page(c);
		break;
	case OP_GET:
	case OP_UPLOAD:
		r->cb.file(r->arg, &c->err, ok ? &c->file : NULL);
		break;
	case OP_DELETE:
		r->cb.done(r->arg, &c->err);
		break;
	case OP_CONTENT:
		answer_content(c);
		break;
	default:
		r->cb.upload(r->arg, &c->err, ok ? &c->upload : NULL);
		break;
	}
}

static void put(struct api_req *r)
{
	if (!--r->refs)
		free(r);
}

static void end_call(struct call *c)
{
	struct api_req *r = c->req;

	answer(c);
	unlink_call(c);
	r->call = NULL;
	put(r);
}

/* A cancel of what was sent: the service may have done it, or do it yet. */
static void cancel_call(struct call *c)
{
	bool sent = c->state == CALL_SENT;

	if (c->state == CALL_DONE)
		return;
	c->err = (struct api_error){ .kind = API_ERR_CANCELLED, .attempts = 1 };
	c->err.maybe_applied = sent;
	c->state = CALL_DONE;
}

static bool can_go_on(const struct api *api, const struct call *c)
{
	if (c->api != api)
		return false;
	return c->state == CALL_DONE || c->req->cancelled || api->stopping ||
	       (c->state == CALL_NEW && (!c->req->ready || c->req->fed));
}

static struct call *pick(struct api *api)
{
	unsigned n = 0, k;
	struct call *c;

	for (c = calls; c; c = c->next)
		n += can_go_on(api, c);
	if (!n)
		return NULL;
	k = n > 1 ? luck_any(LUCK_ORDER, n) : 0;
	for (c = calls; !can_go_on(api, c) || k--; c = c->next)
		;
	return c;
}

static void *net_main(void *arg)
{
	struct api *api = arg;
	struct call *c;

	for (;;) {
		c = pick(api);
		if (!c && api->stopping)
			break;
		if (!c) {
			co_block(api);
			continue;
		}
		if (c->req->cancelled || api->stopping)
			cancel_call(c);
		if (c->state == CALL_NEW)
			send_call(c);
		else
			end_call(c);
		co_yield ();
	}
	api->ended = true;
	co_wake(&api->ended);
	return NULL;
}

int api_new(const struct api_config *cfg, struct api **ret)
{
	struct api *api = calloc(1, sizeof(*api));
	unsigned arena = arena_enter(ARENA_BASE);

	(void)cfg;
	arena_enter(arena);
	api->host = arena - ARENA_HOST;
	api->net = co_start(arena, "net", net_main, api);
	*ret = api;
	return 0;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	api->stopping = true;
	co_wake(api);
	while (!api->ended)
		co_block(&api->ended);
	free(api);
}

int api_set_key(struct api *api, const char *key)
{
	(void)api, (void)key;
	return 0;
}

void api_get_health(struct api *api, struct api_health *ret)
{
	(void)api;
	memset(ret, 0, sizeof(*ret));
}

void api_get_stats(struct api *api, struct api_stats *ret)
{
	(void)api;
	memset(ret, 0, sizeof(*ret));
}

void api_get_op_stats(struct api *api, enum api_op op, struct api_op_stats *ret)
{
	(void)api, (void)op;
	memset(ret, 0, sizeof(*ret));
	ret->name = "sim";
}

void api_get_queues(struct api *api, struct api_queue ret[API_QUEUES])
{
	(void)api;
	memset(ret, 0, API_QUEUES * sizeof(*ret));
	for (int i = 0; i < API_QUEUES; i++)
		ret[i].name = "sim";
}

/* ---- the calls ---- */

void api_req_cancel(struct api_req *req)
{
	if (!req || !req->call)
		return;
	req->cancelled = true;
	co_wake(req->api);
}

void api_req_unref(struct api_req *req)
{
	if (req)
		put(req);
}

void api_part_feed(struct api_req *req)
{
	req->fed = true;
	co_wake(req->api);
}

static char *copy(const char *s)
{
	return s ? strdup(s) : NULL;
}

/* The rest of the call is filled in by the caller, in the world's memory, until go(). */
static struct api_req *begin(struct api *api, enum call_op op, const char *id, void *arg)
{
	struct api_req *r = calloc(1, sizeof(*r));
	unsigned was = arena_enter(ARENA_WORLD);
	struct call *c = calloc(1, sizeof(*c));

	arena_enter(was);
	r->api = api;
	r->call = c;
	r->refs = 2;
	r->arg = arg;
	r->fed = true;
	c->op = op;
	c->host = api->host;
	c->req = r;
	c->api = api;
	snprintf(c->id, sizeof(c->id), "%s", id ? id : "");
	return r;
}

static void fill(struct api_req *r, const char *filename, const char *purpose, const char *md5)
{
	unsigned was = arena_enter(ARENA_WORLD);
	struct call *c = r->call;

	c->filename = copy(filename);
	c->purpose = copy(purpose);
	c->md5 = copy(md5);
	if (c->op == OP_PART || c->op == OP_UPLOAD)
		c->body = malloc(c->len + 1);
	arena_enter(was);
}

static struct api_req *go(struct api_req *r)
{
	r->call->next = calls;
	calls = r->call;
	co_wake(r->api);
	return r;
}

struct api_req *api_upload_create(struct api *api, const struct api_upload_spec *spec,
				  api_upload_cb *cb, void *arg)
{
	struct api_req *r = begin(api, OP_CREATE, NULL, arg);

	r->call->len = spec->bytes;
	fill(r, spec->filename, spec->purpose, NULL);
	r->cb.upload = cb;
	return go(r);
}

struct api_req *api_part_add(struct api *api, const char *upload_id,
			     const struct api_part_body *body, api_part_cb *cb, void *arg)
{
	struct api_req *r = begin(api, OP_PART, upload_id, arg);

	r->fd = body->fd;
	r->call->offset = body->offset;
	r->call->len = body->len;
	r->moving = body->moving;
	r->ready = body->ready;
	r->ready_arg = body->ready_arg;
	fill(r, NULL, NULL, NULL);
	r->cb.part = cb;
	return go(r);
}

struct api_req *api_upload_complete(struct api *api, const char *upload_id,
				    const char *const *part_ids, size_t part_count,
				    const char *md5_hex, uint64_t bytes, api_upload_cb *cb,
				    void *arg)
{
	struct api_req *r = begin(api, OP_COMPLETE, upload_id, arg);
	unsigned was = arena_enter(ARENA_WORLD);

	r->call->len = bytes;
	r->call->part_ids = calloc(part_count + 1, sizeof(char *));
	r->call->part_count = part_count;
	for (size_t i = 0; i < part_count; i++)
		r->call->part_ids[i] = copy(part_ids[i]);
	arena_enter(was);
	fill(r, NULL, NULL, md5_hex);
	r->cb.upload = cb;
	return go(r);
}

struct api_req *api_upload_cancel(struct api *api, const char *upload_id, api_upload_cb *cb,
				  void *arg)
{
	struct api_req *r = begin(api, OP_CANCEL, upload_id, arg);

	r->cb.upload = cb;
	return go(r);
}

struct api_req *api_file_list(struct api *api, const char *purpose, const char *after,
			      unsigned limit, bool desc, api_page_cb *cb, void *arg)
{
	struct api_req *r = begin(api, OP_LIST, after, arg);

	(void)purpose;
	r->call->limit = limit;
	r->call->desc = desc;
	r->cb.page = cb;
	return go(r);
}

struct api_req *api_file_list_brief(struct api *api, const char *purpose, const char *after,
				    unsigned limit, api_page_cb *cb, void *arg)
{
	return api_file_list(api, purpose, after, limit, true, cb, arg);
}

struct api_req *api_file_get(struct api *api, const char *file_id, api_file_cb *cb, void *arg)
{
	struct api_req *r = begin(api, OP_GET, file_id, arg);

	r->cb.file = cb;
	return go(r);
}

struct api_req *api_file_delete(struct api *api, const char *file_id, api_done_cb *cb, void *arg)
{
	struct api_req *r = begin(api, OP_DELETE, file_id, arg);

	r->cb.done = cb;
	return go(r);
}

struct api_req *api_file_content(struct api *api, const char *file_id, uint64_t offset,
				 uint64_t len, uint64_t total, api_data_cb *data,
				 api_content_cb *done, void *arg)
{
	struct api_req *r = begin(api, OP_CONTENT, file_id, arg);

	(void)total;
	r->call->offset = offset;
	r->call->len = len;
	r->data = data;
	r->cb.content = done;
	return go(r);
}

struct api_req *api_file_upload(struct api *api, const struct api_upload_spec *spec,
				const struct api_file_body *body, api_file_cb *cb, void *arg)
{
	struct api_req *r = begin(api, OP_UPLOAD, NULL, arg);

	r->fd = body->fd;
	r->moving = body->moving;
	r->call->len = spec->bytes;
	fill(r, spec->filename, spec->purpose, body->md5_hex);
	r->cb.file = cb;
	return go(r);
}
