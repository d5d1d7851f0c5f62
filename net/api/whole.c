/* POST /files: a File in one request. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/api/api_call.h"
#include "net/api/json.h"
#include "net/base/digest.h"

#define FIELDS_MAX 3

struct whole_call {
	struct api_req req;
	char *filename, *purpose, *mime_type;
	char seconds[24];
	struct http_field fields[FIELDS_MAX + 1];
	uint64_t bytes;
	char md5[DIGEST_HEX_SIZE]; /* what the bytes have to have */
	struct digest *digest;	   /* of those that left in this attempt */
	uint64_t hashed;
	struct api_file file;
	api_file_cb *cb;
	void *arg;
};

/*
 * Nobody compares an MD5 at the other end. So the last bytes leave only when all of them are
 * what they should be: a request that stays short makes no File.
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
	if (!c->file.bytes_unknown && c->file.bytes != c->bytes)
		return "the File is of another size";
	return strcmp(c->file.purpose, c->purpose) ? "the File has another purpose" : NULL;
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

/* They stand in the headers of a field. */
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
