/* ep_uploads: the four operations of /uploads. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/base/clock.h"
#include "net/base/json.h"
#include "net/server/blockid.h"
#include "net/server/fields.h"
#include "net/server/filespec.h"
#include "net/server/files.h"
#include "net/server/form.h"
#include "net/server/multipart.h"
#include "net/server/request.h"
#include "net/server/uploads.h"

static void reply_upload(struct request *rq, const struct upload *up, enum upload_status status,
			 const struct file *f)
{
	struct reply_override over = request_override(rq);
	struct json_writer w;

	over.young = rq->srv->flavor == FLAVOR_AZURE;
	snprintf(rq->upload_id, sizeof(rq->upload_id), "%s", up->id);
	json_w_init(&w, &rq->reply);
	upload_json(&w, up, status, f, &over);
}

static int need_bytes(struct request *rq, const struct json *j, uint64_t *ret)
{
	uint64_t most = flavor_upload_max(rq->srv->flavor);
	const struct json *m = json_get(j, "bytes");

	if (!m)
		return field_missing(&rq->refusal, "bytes");
	if (json_u64(m, ret))
		return field_type(&rq->refusal, "bytes", "an integer of 0 or more");
	if (*ret > most)
		return refuse(&rq->refusal, 400, "bytes", NULL,
			      "File is too large. An Upload can hold at most %" PRIu64 " bytes.",
			      most);
	return 0;
}

static int parse_spec(struct request *rq, const struct json *j, struct upload_spec *spec)
{
	static const char *const known[] = { "filename",  "purpose",	   "bytes",
					     "mime_type", "expires_after", NULL };
	const struct json *expiry = json_get(j, "expires_after");
	struct refusal *r = &rq->refusal;
	int err = field_known(r, j, "", known);

	if (!err)
		err = field_string(r, j, "", "filename", &spec->filename);
	if (!err)
		err = field_string(r, j, "", "purpose", &spec->purpose);
	if (!err)
		err = need_bytes(rq, j, &spec->bytes);
	if (!err)
		err = field_string(r, j, "", "mime_type", &spec->mime_type);
	if (!err && expiry && !json_is_null(expiry))
		err = expiry_from_json(expiry, r, &spec->expires_after_s);
	if (!err)
		err = file_spec_check(spec->filename, spec->purpose,
				      flavor_purposes(rq->srv->flavor, &rq->route), r);
	if (!err && !spec->expires_after_s)
		spec->expires_after_s = flavor_file_ttl_s(rq->srv->flavor, spec->purpose);
	return err;
}

static int create_finish(struct request *rq)
{
	struct upload_spec spec = { 0 };
	struct upload *up;
	struct json *j;
	int err = field_body(&rq->refusal, buf_str(&rq->body), rq->body.len, &j);

	if (err)
		return err;
	err = parse_spec(rq, j, &spec);
	if (!err)
		err = upload_create(rq->srv->state, &spec, &up);
	json_free(j);
	if (err)
		return err;
	rq->entry.bytes = rq->body.len;
	reply_upload(rq, up, UPLOAD_PENDING, NULL);
	request_located(rq, "uploads", up->id);
	upload_unref(rq->srv->state, up);
	return 0;
}

const struct operation ep_create = { .finish = create_finish };

/* ---- parts ---- */

struct part_request {
	struct multipart *mp;
	struct receipt receipt;
	bool seen;
};

static int part_field(void *arg, const char *name, const char *filename)
{
	struct request *rq = arg;
	struct part_request *pr = rq->own;

	/* The real service wants a filename; some examples send none. */
	if (strcmp(name, "data"))
		return field_unknown(&rq->refusal, name);
	if (pr->seen)
		return refuse(&rq->refusal, 400, "data", NULL, "The field 'data' comes twice.");
	pr->seen = true;
	upload_part_name(&pr->receipt, filename ? filename : "");
	return 0;
}

static int part_bytes(void *arg, const void *data, size_t len)
{
	struct request *rq = arg;
	struct part_request *pr = rq->own;
	int err;

	err = sink_write(&pr->receipt.sink, data, len);
	rq->entry.bytes = pr->receipt.sink.bytes;
	if (err == -EFBIG)
		return refuse(&rq->refusal, 413, "data", NULL,
			      "Part is too large. A Part can hold at most %" PRIu64 " bytes.",
			      (uint64_t)SERVER_PART_MAX);
	return err;
}

static int part_field_end(void *arg)
{
	(void)arg;
	return 0;
}

static const struct multipart_ops part_ops = { part_field, part_bytes, part_field_end };

static int part_begin(struct request *rq)
{
	const char *type = request_header(rq, "Content-Type");
	struct part_request *pr = calloc(1, sizeof(*pr));
	int err;

	rq->own = pr;
	if (!pr)
		return -ENOMEM;
	err = multipart_new(type ? type : "", &part_ops, rq, &pr->mp);
	if (err == -EINVAL)
		err = refuse(&rq->refusal, 400, NULL, NULL,
			     "The body must be multipart/form-data with a boundary.");
	if (!err)
		err = upload_part_begin(rq->srv->state, rq->route.id, &rq->refusal, &pr->receipt);
	if (!err)
		snprintf(rq->part_id, sizeof(rq->part_id), "%s", pr->receipt.part->id);
	return err;
}

static int malformed(struct request *rq, int err)
{
	if (err != -EINVAL && err != -EMSGSIZE)
		return err;
	return refuse(&rq->refusal, 400, NULL, NULL, "The multipart body is malformed.");
}

static int part_data(struct request *rq, const char *data, size_t len)
{
	struct part_request *pr = rq->own;

	return malformed(rq, multipart_feed(pr->mp, data, len));
}

static void reply_part(struct request *rq)
{
	struct reply_override over = request_override(rq);
	char block_id[BLOCK_ID_SIZE];
	struct json_writer w;

	json_w_init(&w, &rq->reply);
	json_w_object(&w, NULL);
	if (!reply_without(&over, "id"))
		json_w_str(&w, "id", over.id ? over.id : rq->part_id);
	if (!reply_without(&over, "object"))
		json_w_str(&w, "object", "upload.part");
	if (!reply_without(&over, "created_at"))
		json_w_i64(&w, "created_at", clock_wall_s());
	/* A client cannot check the id of a new Part, but it can check the Upload's. */
	if (!reply_without(&over, "upload_id"))
		json_w_str(&w, "upload_id", over.id ? ID_UPLOAD "wrong" : rq->upload_id);
	if (rq->srv->flavor == FLAVOR_AZURE && !reply_without(&over, "azure_block_id") &&
	    !block_id_of(rq->part_id, block_id))
		json_w_str(&w, "azure_block_id", block_id);
	json_w_end_object(&w);
}

static int part_finish(struct request *rq)
{
	struct part_request *pr = rq->own;
	int err = malformed(rq, multipart_finish(pr->mp));

	if (err)
		return err;
	if (!pr->seen)
		return field_missing(&rq->refusal, "data");
	if (!pr->receipt.sink.bytes)
		return refuse(&rq->refusal, 400, "data", NULL, "The Part is empty.");
	err = upload_part_finish(&pr->receipt, &rq->refusal);
	if (!err)
		reply_part(rq);
	return err;
}

static void part_release(struct request *rq)
{
	struct part_request *pr = rq->own;

	if (!pr)
		return;
	upload_part_abort(&pr->receipt);
	multipart_free(pr->mp);
	free(pr);
}

const struct operation ep_part = { part_begin, part_data, part_finish, part_release };

/* ---- complete ---- */

struct completion {
	struct request *rq;
	char **ids;
	size_t count, room;
	char *md5; /* or NULL */
};

static void completion_release(struct completion *c)
{
	size_t i;

	for (i = 0; i < c->count; i++)
		free(c->ids[i]);
	free(c->ids);
	free(c->md5);
}

static int add_id(struct completion *c, const char *id)
{
	char **next, part_id[ID_SIZE];

	if (c->rq->srv->flavor == FLAVOR_AZURE && !block_id_part(id, part_id))
		id = part_id;
	if (c->count >= SERVER_PARTS_MAX)
		return refuse(&c->rq->refusal, 400, "part_ids", NULL, "Too many part_ids.");
	if (c->count == c->room) {
		c->room = c->room ? c->room * 2 : 64;
		next = realloc(c->ids, c->room * sizeof(*next));
		if (!next)
			return -ENOMEM;
		c->ids = next;
	}
	c->ids[c->count] = strdup(id);
	return c->ids[c->count] ? (c->count++, 0) : -ENOMEM;
}

static int set_md5(struct completion *c, const char *md5)
{
	if (strlen(md5) != 32 || strspn(md5, "0123456789abcdefABCDEF") != 32)
		return refuse(&c->rq->refusal, 400, "md5", NULL,
			      "Invalid 'md5': expected 32 hexadecimal digits.");
	free(c->md5);
	c->md5 = strdup(md5);
	return c->md5 ? 0 : -ENOMEM;
}

static int take_part_ids(struct completion *c, const struct json *ids)
{
	struct refusal *r = &c->rq->refusal;
	const struct json *m;
	char path[40];
	size_t i = 0;
	int err = 0;

	if (!ids)
		return field_missing(r, "part_ids");
	if (!json_is_array(ids))
		return field_type(r, "part_ids", "an array of strings");
	for (m = json_first(ids); m && !err; m = json_next(m), i++) {
		snprintf(path, sizeof(path), "part_ids[%zu]", i);
		err = json_is_string(m) ? add_id(c, json_str(m)) : field_type(r, path, "a string");
	}
	return err;
}

static int completion_json(struct completion *c)
{
	static const char *const known[] = { "part_ids", "md5", NULL };
	struct refusal *r = &c->rq->refusal;
	const struct json *md5;
	struct json *j;
	int err = field_body(r, buf_str(&c->rq->body), c->rq->body.len, &j);

	if (err)
		return err;
	err = field_known(r, j, "", known);
	if (!err)
		err = take_part_ids(c, json_get(j, "part_ids"));
	md5 = json_get(j, "md5");
	if (!err && md5 && !json_is_null(md5))
		err = json_is_string(md5) ? set_md5(c, json_str(md5))
					  : field_type(r, "md5", "a string");
	json_free(j);
	return err;
}

static int completion_pair(void *arg, const char *name, char *value)
{
	struct completion *c = arg;
	char *next;
	int err = 0;

	if (!strcmp(name, "md5"))
		return set_md5(c, value);
	if (strcmp(name, "part_ids") && strcmp(name, "part_ids[]"))
		return field_unknown(&c->rq->refusal, name);
	for (; value && !err; value = next) {
		next = strchr(value, ',');
		if (next)
			*next++ = '\0';
		err = add_id(c, value);
	}
	return err;
}

static int completion_parse(struct completion *c)
{
	static const char form[] = "application/x-www-form-urlencoded";
	const char *type = request_header(c->rq, "Content-Type");
	const struct buf *body = &c->rq->body;
	int err;

	/* `curl -d '{…}'`, as in the service's examples, sends JSON under the type of a form. */
	if (!type || strncasecmp(type, form, strlen(form)) ||
	    buf_str(body)[strspn(buf_str(body), " \t\r\n")] == '{')
		return completion_json(c);
	err = form_each(buf_str(body), body->len, completion_pair, c);
	if (err == -EINVAL)
		return refuse(&c->rq->refusal, 400, NULL, NULL, "The form body is malformed.");
	return err;
}

static int complete_finish(struct request *rq)
{
	struct completion c = { .rq = rq };
	struct complete_spec spec;
	struct upload *up;
	struct file *f;
	int err = completion_parse(&c);

	snprintf(rq->md5, sizeof(rq->md5), "%s", c.md5 ? c.md5 : "");
	if (!err && !c.count)
		err = refuse(&rq->refusal, 400, "part_ids", NULL,
			     "An Upload needs at least one Part.");
	if (err)
		goto out;
	rq->entry.bytes = rq->body.len;
	spec = (struct complete_spec){ (const char *const *)c.ids, c.count, c.md5 };
	err = upload_complete(rq->srv->state, rq->route.id, &spec, &rq->refusal, &up, &f);
	if (err)
		goto out;
	snprintf(rq->file_id, sizeof(rq->file_id), "%s", f->id);
	reply_upload(rq, up, UPLOAD_COMPLETED, f);
	upload_unref(rq->srv->state, up);
	file_unref(rq->srv->state, f);
out:
	completion_release(&c);
	return err;
}

const struct operation ep_complete = { .finish = complete_finish };

static int cancel_finish(struct request *rq)
{
	struct upload *up;
	int err = upload_cancel(rq->srv->state, rq->route.id, &rq->refusal, &up);

	if (err)
		return err;
	reply_upload(rq, up, UPLOAD_CANCELLED, NULL);
	upload_unref(rq->srv->state, up);
	return 0;
}

const struct operation ep_cancel = { .finish = cancel_finish };
