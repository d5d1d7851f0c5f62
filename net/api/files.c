/* GET and POST /files, GET and DELETE /files/{id}, and a File's content. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/api/call.h"
#include "net/api/json.h"
#include "net/base/digest.h"
#include "net/http/url.h"

#define FIELDS_MAX 3 /* of text, in a POST /files */

struct file_call {
	struct api_req req;
	char *id; /* the File's; of a list: after */
	struct api_file file;
	struct api_file_page page;
	api_file_cb *file_cb;
	api_done_cb *done_cb;
	api_page_cb *page_cb;
	void *arg;
};

static void file_release(struct api_req *req)
{
	struct file_call *c = (struct file_call *)req;

	free(c->id);
	free(c->page.files);
	free(c->page.text);
}

/* A call on the File id; NULL: out of memory. */
static struct file_call *file_call_new(struct api *api, const struct api_call_ops *ops,
				       const char *id)
{
	struct file_call *c;

	c = (struct file_call *)api_call_new(api, sizeof(*c), ops, HQ_ASK, 0);
	if (!c)
		return NULL;
	c->req.again_if_garbled = true;
	c->id = strdup(id);
	return c;
}

/* ---- list ---- */

static const char *list_take(struct api_req *req, const char *body, size_t len)
{
	struct file_call *c = (struct file_call *)req;

	return api_json_page(body, len, c->id, &c->page);
}

static void list_finish(struct api_req *req)
{
	struct file_call *c = (struct file_call *)req;

	c->page_cb(c->arg, &req->err, req->err.kind == API_OK ? &c->page : NULL);
}

static const struct api_call_ops list_ops = {
	.op = API_OP_LIST,
	.take_text = list_take,
	.finish = list_finish,
	.release = file_release,
};

static struct api_req *list_files(struct api *api, const char *purpose, const char *after,
				  unsigned limit, bool desc, bool brief, api_page_cb *cb, void *arg)
{
	struct file_call *c = file_call_new(api, &list_ops, after ? after : "");
	struct buf path;

	if (!c)
		return NULL;
	c->page_cb = cb;
	c->arg = arg;
	c->req.brief = brief;
	c->req.reply_max = API_LIST_MAX;
	buf_init(&path, 4096);
	buf_addf(&path, "/files?limit=%u&order=%s", limit, desc ? "desc" : "asc");
	if (purpose) {
		buf_adds(&path, "&purpose=");
		url_encode(&path, purpose);
	}
	if (after && *after) {
		buf_adds(&path, "&after=");
		url_encode(&path, after);
	}
	if (!path.err && c->id)
		c->req.path = strdup(buf_str(&path));
	buf_release(&path);
	return api_call_submit(&c->req);
}

struct api_req *api_file_list(struct api *api, const char *purpose, const char *after,
			      unsigned limit, bool desc, api_page_cb *cb, void *arg)
{
	return list_files(api, purpose, after, limit, desc, false, cb, arg);
}

struct api_req *api_file_list_brief(struct api *api, const char *purpose, const char *after,
				    unsigned limit, api_page_cb *cb, void *arg)
{
	return list_files(api, purpose, after, limit, true, true, cb, arg);
}

/* ---- get ---- */

static const char *get_take(struct api_req *req, const struct json *reply)
{
	struct file_call *c = (struct file_call *)req;
	const char *why = api_json_file(reply, &c->file);

	if (why)
		return why;
	return strcmp(c->file.id, c->id) ? "the reply names another File" : NULL;
}

static void get_finish(struct api_req *req)
{
	struct file_call *c = (struct file_call *)req;

	c->file_cb(c->arg, &req->err, req->err.kind == API_OK ? &c->file : NULL);
}

static const struct api_call_ops get_ops = {
	.op = API_OP_GET,
	.take = get_take,
	.finish = get_finish,
	.release = file_release,
};

struct api_req *api_file_get(struct api *api, const char *file_id, api_file_cb *cb, void *arg)
{
	struct file_call *c = file_call_new(api, &get_ops, file_id);

	if (!c)
		return NULL;
	c->file_cb = cb;
	c->arg = arg;
	if (c->id)
		api_call_path(&c->req, "/files/", file_id, "");
	return api_call_submit(&c->req);
}

/* ---- delete ---- */

static const char *delete_take(struct api_req *req, const struct json *reply)
{
	return api_json_deleted(reply, ((struct file_call *)req)->id);
}

/*
 * 204 has no body to check. After a 404 there is nothing left to find, as was
 * asked for, if an earlier try may have done it.
 */
static bool delete_judge(struct api_req *req, const struct http_result *res, struct hq_verdict *v)
{
	int status = res->head.status;

	(void)v;
	if (res->fail != HTTP_REPLIED ||
	    (status != 204 && (status != 404 || !req->err.maybe_applied)))
		return false;
	req->err.kind = API_OK;
	return true;
}

static void delete_finish(struct api_req *req)
{
	struct file_call *c = (struct file_call *)req;

	c->done_cb(c->arg, &req->err);
}

static const struct api_call_ops delete_ops = {
	.op = API_OP_DELETE,
	.take = delete_take,
	.finish = delete_finish,
	.release = file_release,
	.judge = delete_judge,
};

struct api_req *api_file_delete(struct api *api, const char *file_id, api_done_cb *cb, void *arg)
{
	struct file_call *c = file_call_new(api, &delete_ops, file_id);

	if (!c)
		return NULL;
	c->done_cb = cb;
	c->arg = arg;
	c->req.method = HTTP_DELETE;
	if (c->id)
		api_call_path(&c->req, "/files/", file_id, "");
	return api_call_submit(&c->req);
}

/* ---- content ---- */

struct content_call {
	struct api_req req;
	uint64_t end;	/* asked for up to here, exclusive; UINT64_MAX: all */
	uint64_t total; /* the File's size as the caller knows it; UINT64_MAX: unknown */
	uint64_t pos;	/* next byte to hand on */
	bool moved;	/* some bytes were handed on */
	/* Per attempt: */
	uint64_t from; /* pos when it began */
	uint64_t at;   /* offset in the File of the next byte to come */
	bool begun, ranged;
	int64_t size;	 /* size of the File; -1: unknown */
	const char *bad; /* the fault of the reply, or NULL */
	api_data_cb *data;
	api_content_cb *done;
	void *arg;
};

/* A reply whose body is the whole content. */
static bool is_content(int status)
{
	return status == 200 || status == 201 || status == 203;
}

static void content_begin(struct content_call *c, const struct http_head *head)
{
	c->begun = true;
	c->ranged = head->status == 206;
	if (head->coded) {
		c->bad = "the content comes in a coding that was not asked for";
	} else if (c->ranged) {
		c->size = head->range_total;
		if (head->range_first < 0)
			c->bad = "a partial reply that does not say what part it is";
		else if ((uint64_t)head->range_first > c->pos)
			c->bad = "a partial reply that begins behind what was asked for";
		else
			c->at = (uint64_t)head->range_first;
	} else if (is_content(head->status)) {
		c->size = head->content_length;
		c->at = 0;
		/*
		 * Hand on all: the whole content comes anyway, and the caller may have a use for
		 * it.
		 */
		if (!c->moved) {
			c->pos = c->from = 0;
			c->end = UINT64_MAX;
		}
	} else {
		c->bad = "neither content nor an error";
	}
}

/* Returns whether the reply is about content of another size than the caller knows. */
static bool content_is_another(const struct content_call *c)
{
	return c->begun && !c->bad && c->total != UINT64_MAX && c->size >= 0 &&
	       (uint64_t)c->size != c->total;
}

static int content_data(void *arg, const struct http_head *head, const void *data, size_t len)
{
	struct content_call *c = arg;
	const char *p = data;
	uint64_t skip, take;
	int rc;

	if (!c->begun)
		content_begin(c, head);
	if (c->bad)
		return -EBADMSG;
	if (content_is_another(c))
		return -EIO;
	skip = c->at < c->pos ? c->pos - c->at : 0;
	if (skip > len)
		skip = len;
	c->at += len;
	len -= skip;
	take = len < c->end - c->pos ? len : c->end - c->pos;
	if (take) {
		rc = c->data(c->arg, c->pos, p + skip, take);
		if (rc)
			return rc < 0 ? rc : -EIO;
		c->pos += take;
		c->moved = true;
	}
	/* Not as soon as all is there: the reply may end here too, and the connection be kept. */
	return take < len ? HTTP_ENOUGH : 0;
}

static void content_prepare(struct api_req *req, struct http_request *rq)
{
	struct content_call *c = (struct content_call *)req;

	c->begun = c->ranged = false;
	c->bad = NULL;
	c->size = -1;
	c->from = c->pos;
	rq->data = content_data;
	rq->expected = (c->end < c->total ? c->end : c->total) - c->pos;
	rq->follow = true;
}

static void content_set_range(struct content_call *c)
{
	unsigned long long first = c->pos, last = c->end - 1;

	if (c->end == UINT64_MAX)
		snprintf(c->req.range, sizeof(c->req.range), "Range: bytes=%llu-", first);
	else
		snprintf(c->req.range, sizeof(c->req.range), "Range: bytes=%llu-%llu", first, last);
}

/* Returns the end of the requested content, as far as known. */
static uint64_t content_end(const struct content_call *c)
{
	if (c->size >= 0 && (uint64_t)c->size < c->end)
		return (uint64_t)c->size;
	if (c->end == UINT64_MAX || (!c->ranged && c->size < 0))
		return c->pos; /* no size given: the bytes that came are all */
	return c->end;
}

static void content_bad(struct content_call *c, const char *why, struct hq_verdict *v)
{
	c->req.err.kind = API_ERR_BAD_REPLY;
	snprintf(c->req.err.message, sizeof(c->req.err.message), "%s", why);
	v->retry = true;
	v->max_retries = API_GARBLED_RETRIES;
}

/* A 206 speaks of the File; a 200 may be a proxy's page. */
static void content_another(struct content_call *c, struct hq_verdict *v)
{
	c->req.err.kind = API_ERR_LOCAL;
	c->req.err.local_errno = -EIO;
	snprintf(c->req.err.message, sizeof(c->req.err.message),
		 "the content has %llu bytes; %llu bytes expected", (unsigned long long)c->size,
		 (unsigned long long)c->total);
	v->retry = !c->ranged;
	v->max_retries = API_GARBLED_RETRIES;
}

static bool content_judge(struct api_req *req, const struct http_result *res, struct hq_verdict *v)
{
	struct content_call *c = (struct content_call *)req;
	const struct http_head *head = &res->head;

	v->progressed = c->pos > c->from;
	content_set_range(c);
	if (c->bad) {
		content_bad(c, c->bad, v);
		return true;
	}
	if (content_is_another(c)) {
		content_another(c, v);
		return true;
	}
	/* All content came before the connection broke: nothing is left to request. */
	if (c->begun && c->end != UINT64_MAX && c->pos == c->end)
		return true;
	if (res->fail != HTTP_REPLIED)
		return false;
	/* The File has no bytes at pos: the content has ended, or is empty. */
	if (head->status == 416 && (head->range_total < 0 || (uint64_t)head->range_total <= c->pos))
		return true;
	if (head->status < 200 || head->status > 299)
		return false;
	if (!c->begun)
		content_begin(c, head);
	if (c->bad)
		content_bad(c, c->bad, v);
	else if (content_is_another(c))
		content_another(c, v);
	else if (c->pos < content_end(c))
		content_bad(c, "the content was cut short", v);
	return true;
}

static void content_finish(struct api_req *req)
{
	struct content_call *c = (struct content_call *)req;

	c->done(c->arg, &req->err, c->ranged);
}

static const struct api_call_ops content_ops = {
	.op = API_OP_CONTENT,
	.finish = content_finish,
	.prepare = content_prepare,
	.judge = content_judge,
};

struct api_req *api_file_content(struct api *api, const char *file_id, uint64_t offset,
				 uint64_t len, uint64_t total, api_data_cb *data,
				 api_content_cb *done, void *arg)
{
	struct content_call *c;

	c = (struct content_call *)api_call_new(api, sizeof(*c), &content_ops, HQ_CONTENT, 0);
	if (!c)
		return NULL;
	c->data = data;
	c->done = done;
	c->arg = arg;
	c->pos = offset;
	c->total = total;
	c->end = len > UINT64_MAX - offset ? UINT64_MAX : offset + len;
	c->req.limits = API_LIMITS_BODY;
	content_set_range(c);
	if (len)
		api_call_path(&c->req, "/files/", file_id, "/content");
	else
		c->req.refusal = "no bytes were asked for";
	return api_call_submit(&c->req);
}

/* ---- POST: a File in one request ---- */

struct whole_call {
	struct api_req req;
	char *filename, *purpose, *mime_type;
	char seconds[24];
	struct http_field fields[FIELDS_MAX + 1];
	uint64_t bytes;
	char md5[DIGEST_HEX_SIZE]; /* expected */
	struct digest *digest;	   /* MD5 of the bytes that left in this attempt */
	uint64_t hashed;
	struct api_file file;
	char details[API_DETAILS_SIZE];
	api_file_cb *cb;
	void *arg;
};

/*
 * The service compares no MD5 here. So send the last bytes only if the MD5 of all is right: a
 * request that stays short makes no File.
 */
static int whole_check(void *arg, uint64_t at, const void *data, size_t len)
{
	struct whole_call *c = arg;
	char hex[DIGEST_HEX_SIZE];
	int rc;

	if (!at) {
		digest_free(c->digest);
		c->digest = digest_new();
		c->hashed = 0;
	}
	if (!c->digest)
		return -ENOMEM;
	if (at != c->hashed)
		return -EIO;
	rc = digest_update(c->digest, data, len);
	c->hashed += len;
	if (rc || c->hashed < c->bytes)
		return rc;
	rc = digest_hex(c->digest, hex);
	return rc ? rc : strcmp(hex, c->md5) ? -EBADMSG : 0;
}

static const char *whole_take(struct api_req *req, const struct json *reply)
{
	struct whole_call *c = (struct whole_call *)req;
	const char *why = api_json_file(reply, &c->file);

	if (why)
		return why;
	api_clean_details(&c->file, c->details);
	if (!c->file.bytes_unknown && c->file.bytes != c->bytes)
		return "the File is of another size";
	return !c->file.purpose_unknown && strcmp(c->file.purpose, c->purpose)
		       ? "the File has another purpose"
		       : NULL;
}

static void whole_finish(struct api_req *req)
{
	struct whole_call *c = (struct whole_call *)req;

	c->cb(c->arg, &req->err, req->err.kind == API_OK ? &c->file : NULL);
}

static void whole_release(struct api_req *req)
{
	struct whole_call *c = (struct whole_call *)req;

	digest_free(c->digest);
	free(c->filename);
	free(c->purpose);
	free(c->mime_type);
}

static const struct api_call_ops whole_ops = {
	.op = API_OP_UPLOAD_FILE,
	.take = whole_take,
	.finish = whole_finish,
	.release = whole_release,
};

/* Control characters would break the headers of a field. */
static bool has_controls(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return true;
	}
	return false;
}

static void set_fields(struct whole_call *c, uint64_t expires_after_s)
{
	size_t n = 0;

	c->fields[n++] = (struct http_field){ "purpose", c->purpose };
	if (!expires_after_s)
		return;
	snprintf(c->seconds, sizeof(c->seconds), "%llu", (unsigned long long)expires_after_s);
	c->fields[n++] = (struct http_field){ "expires_after[anchor]", "created_at" };
	c->fields[n++] = (struct http_field){ "expires_after[seconds]", c->seconds };
}

static void set_part(struct whole_call *c, const struct api_file_body *body)
{
	c->req.part = (struct http_part){
		.before = c->fields,
		.field = "file",
		.filename = c->filename,
		.type = c->mime_type,
		.fd = body->fd,
		.len = c->bytes,
		.moving = body->moving,
		.check = whole_check,
		.check_arg = c,
	};
}

struct api_req *api_file_upload(struct api *api, const struct api_upload_spec *spec,
				const struct api_file_body *body, api_file_cb *cb, void *arg)
{
	struct whole_call *c;

	c = (struct whole_call *)api_call_new(api, sizeof(*c), &whole_ops, HQ_PART, body->fairness);
	if (!c)
		return NULL;
	c->cb = cb;
	c->arg = arg;
	c->bytes = spec->bytes;
	snprintf(c->md5, sizeof(c->md5), "%s", body->md5_hex);
	c->filename = strdup(spec->filename);
	c->purpose = strdup(spec->purpose);
	c->mime_type = strdup(spec->mime_type);
	set_fields(c, spec->expires_after_s);
	set_part(c, body);
	c->req.method = HTTP_POST;
	c->req.limits = API_LIMITS_FILE;
	c->req.lasting = c->req.once = true;
	c->req.has_part = true;
	if (has_controls(spec->filename) || has_controls(spec->mime_type))
		c->req.refusal = "the name or the type holds control characters";
	else if (c->filename && c->purpose && c->mime_type)
		c->req.path = strdup("/files");
	return api_call_submit(&c->req);
}
