/* POST /uploads, its parts, complete and cancel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/api/call.h"
#include "net/api/json.h"

struct upload_call {
	struct api_req req;
	char *id; /* the Upload's; NULL for a create */
	uint64_t bytes;
	struct api_upload up;
	struct api_part part;
	api_upload_cb *upload_cb;
	api_part_cb *part_cb;
	char part_name[32], details[API_DETAILS_SIZE];
	void *arg;
};

static void upload_finish(struct api_req *req)
{
	struct upload_call *c = (struct upload_call *)req;

	c->upload_cb(c->arg, &req->err, req->err.kind == API_OK ? &c->up : NULL);
}

static void upload_release(struct api_req *req)
{
	free(((struct upload_call *)req)->id);
}

/* Makes a call on the Upload id, or on the collection if id is NULL. NULL: out of memory. */
static struct upload_call *upload_call_new(struct api *api, const struct api_call_ops *ops,
					   enum hq_class class, uint64_t fairness, const char *id,
					   const char *path)
{
	struct upload_call *c;

	c = (struct upload_call *)api_call_new(api, sizeof(*c), ops, class, fairness);
	if (!c)
		return NULL;
	c->req.method = HTTP_POST;
	if (!id) {
		c->req.path = strdup(path);
		return c;
	}
	c->id = strdup(id);
	/* A missing path without a refusal makes the submission fail. */
	if (c->id)
		api_call_path(&c->req, "/uploads/", id, path);
	return c;
}

/* ---- create ---- */

static const char *create_take(struct api_req *req, const struct json *reply)
{
	struct upload_call *c = (struct upload_call *)req;
	const char *why = api_json_upload(reply, &c->up);

	if (why)
		return why;
	if (c->up.status != API_UPLOAD_PENDING && c->up.status != API_UPLOAD_OTHER)
		return "the new Upload is not pending";
	if (!c->up.bytes_unknown && c->up.bytes != c->bytes)
		return "the new Upload is of another size";
	return NULL;
}

static const struct api_call_ops create_ops = {
	.op = API_OP_CREATE,
	.take = create_take,
	.finish = upload_finish,
	.release = upload_release,
};

struct api_req *api_upload_create(struct api *api, const struct api_upload_spec *spec,
				  api_upload_cb *cb, void *arg)
{
	struct upload_call *c = upload_call_new(api, &create_ops, HQ_CALL, 0, NULL, "/uploads");

	if (!c)
		return NULL;
	c->upload_cb = cb;
	c->arg = arg;
	c->bytes = spec->bytes;
	c->req.lasting = true;
	c->req.may_be_absent = true;
	/* Retries are harmless: a surplus Upload expires within the hour. */
	c->req.again_if_garbled = true;
	api_json_put_create(&c->req.body, spec);
	return api_call_submit(&c->req);
}

/* ---- part ---- */

static const char *part_take(struct api_req *req, const struct json *reply)
{
	struct upload_call *c = (struct upload_call *)req;
	const char *why = api_json_part(reply, &c->part);

	if (why)
		return why;
	return c->part.upload_id && strcmp(c->part.upload_id, c->id)
		       ? "the Part belongs to another Upload"
		       : NULL;
}

static void part_finish(struct api_req *req)
{
	struct upload_call *c = (struct upload_call *)req;

	c->part_cb(c->arg, &req->err, req->err.kind == API_OK ? &c->part : NULL);
}

static const struct api_call_ops part_ops = {
	.op = API_OP_PART,
	.take = part_take,
	.finish = part_finish,
	.release = upload_release,
};

struct api_req *api_part_add(struct api *api, const char *upload_id,
			     const struct api_part_body *body, api_part_cb *cb, void *arg)
{
	struct upload_call *c =
		upload_call_new(api, &part_ops, HQ_PART, body->fairness, upload_id, "/parts");

	if (!c)
		return NULL;
	c->part_cb = cb;
	c->arg = arg;
	c->req.limits = API_LIMITS_BODY;
	/* Retries are harmless: a surplus Part is not listed at the complete. */
	c->req.again_if_garbled = true;
	c->req.has_part = true;
	/* Names sort in the order of the bytes: a server may hash ahead by them. */
	snprintf(c->part_name, sizeof(c->part_name), "part-%012llu",
		 (unsigned long long)body->offset);
	c->req.part = (struct http_part){
		.field = "data",
		.filename = c->part_name,
		.fd = body->fd,
		.offset = body->offset,
		.len = body->len,
		.moving = body->moving,
		.ready = body->ready,
		.ready_arg = body->ready_arg,
	};
	return api_call_submit(&c->req);
}

/* Checks that the reply is about the call's own Upload. NULL, or what is wrong. */
static const char *take_named(struct upload_call *c, const struct json *reply)
{
	const char *why = api_json_upload(reply, &c->up);

	if (why)
		return why;
	return strcmp(c->up.id, c->id) ? "the reply names another Upload" : NULL;
}

void api_part_feed(struct api_req *req)
{
	hq_feed(&req->job);
}

/* ---- complete ---- */

static bool other_size(const struct upload_call *c)
{
	if (!c->up.file.bytes_unknown)
		return c->up.file.bytes != c->bytes;
	return !c->up.bytes_unknown && c->up.bytes != c->bytes;
}

static const char *complete_take(struct api_req *req, const struct json *reply)
{
	struct upload_call *c = (struct upload_call *)req;
	const char *why = take_named(c, reply);

	if (why)
		return why;
	if (c->up.status != API_UPLOAD_COMPLETED && !c->up.status_unknown)
		return "the Upload is not completed";
	if (!c->up.has_file)
		return "the completed Upload has no File";
	api_clean_details(&c->up.file, c->details);
	return other_size(c) ? "the File is of another size" : NULL;
}

static const struct api_call_ops complete_ops = {
	.op = API_OP_COMPLETE,
	.take = complete_take,
	.finish = upload_finish,
	.release = upload_release,
};

struct api_req *api_upload_complete(struct api *api, const char *upload_id,
				    const char *const *part_ids, size_t part_count,
				    const char *md5_hex, uint64_t bytes, api_upload_cb *cb,
				    void *arg)
{
	struct upload_call *c =
		upload_call_new(api, &complete_ops, HQ_CALL, 0, upload_id, "/complete");

	if (!c)
		return NULL;
	c->upload_cb = cb;
	c->arg = arg;
	c->bytes = bytes;
	c->req.limits = API_LIMITS_COMPLETE;
	c->req.lasting = c->req.once = true;
	api_json_put_complete(&c->req.body, part_ids, part_count, md5_hex);
	return api_call_submit(&c->req);
}

/* ---- cancel ---- */

static const char *cancel_take(struct api_req *req, const struct json *reply)
{
	struct upload_call *c = (struct upload_call *)req;
	const char *why = take_named(c, reply);

	if (why)
		return why;
	return c->up.status == API_UPLOAD_CANCELLED ? NULL : "the Upload is not cancelled";
}

static const struct api_call_ops cancel_ops = {
	.op = API_OP_CANCEL,
	.take = cancel_take,
	.finish = upload_finish,
	.release = upload_release,
};

struct api_req *api_upload_cancel(struct api *api, const char *upload_id, api_upload_cb *cb,
				  void *arg)
{
	struct upload_call *c =
		upload_call_new(api, &cancel_ops, HQ_URGENT, 0, upload_id, "/cancel");

	if (!c)
		return NULL;
	c->upload_cb = cb;
	c->arg = arg;
	return api_call_submit(&c->req);
}
