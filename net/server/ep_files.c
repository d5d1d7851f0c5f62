/* ep_files: the operations of /files but the content. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/json.h"
#include "net/server/fields.h"
#include "net/server/files.h"
#include "net/server/filespec.h"
#include "net/server/multipart.h"
#include "net/server/request.h"
#include "net/server/sink.h"
#include "net/server/store.h"

#define PAGE_LIMIT_MAX 10000
#define FIELD_MAX 1024 /* of a text field of POST /files */

static void reply_file(struct request *rq, const struct file *f)
{
	struct reply_override over = request_override(rq);
	struct json_writer w;

	json_w_init(&w, &rq->reply);
	file_json(&w, NULL, f, &over);
}

static int parse_number(const char *s, uint64_t max, uint64_t *ret)
{
	char *end;

	if (!*s || strspn(s, "0123456789") != strlen(s))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(s, &end, 10);
	return errno || *ret > max ? -EINVAL : 0;
}

static int list_finish(struct request *rq)
{
	const char *limit = request_query(rq, "limit"), *order = request_query(rq, "order");
	struct file_query q = { .limit = PAGE_LIMIT_MAX, .desc = true };
	struct reply_override over = request_override(rq);
	uint64_t n;

	q.purpose = request_query(rq, "purpose");
	q.after = request_query(rq, "after");
	if (limit) {
		if (parse_number(limit, PAGE_LIMIT_MAX, &n) || !n)
			return refuse(&rq->refusal, 400, "limit", NULL,
				      "Invalid 'limit': expected an integer from 1 to %d.",
				      PAGE_LIMIT_MAX);
		q.limit = (size_t)n;
	}
	if (order) {
		if (strcmp(order, "asc") && strcmp(order, "desc"))
			return refuse(&rq->refusal, 400, "order", NULL,
				      "Invalid 'order': expected 'asc' or 'desc'.");
		q.desc = !strcmp(order, "desc");
	}
	rq->entry.items = &rq->items;
	return file_page(rq->srv->state, &q, &over, &rq->refusal, &rq->reply, &rq->items);
}

const struct operation ep_list = { .finish = list_finish };

static int get_finish(struct request *rq)
{
	struct file *f = file_get(rq->srv->state, rq->route.id, &rq->refusal);

	if (!f)
		return -EPROTO;
	reply_file(rq, f);
	file_unref(rq->srv->state, f);
	return 0;
}

const struct operation ep_get = { .finish = get_finish };

static int delete_finish(struct request *rq)
{
	int err = file_delete(rq->srv->state, rq->route.id, &rq->refusal);
	struct json_writer w;
	struct reply_override over;

	if (err)
		return err;
	over = request_override(rq);
	json_w_init(&w, &rq->reply);
	json_w_object(&w, NULL);
	if (!reply_without(&over, "object"))
		json_w_str(&w, "object", "file");
	if (!reply_without(&over, "deleted"))
		json_w_bool(&w, "deleted", !over.status);
	if (!reply_without(&over, "id"))
		json_w_str(&w, "id", over.id ? over.id : rq->route.id);
	json_w_end_object(&w);
	return 0;
}

const struct operation ep_delete = { .finish = delete_finish };

/* ---- POST /files ---- */

enum field {
	FIELD_OTHER,
	FIELD_FILE,
	FIELD_PURPOSE,
	FIELD_ANCHOR,
	FIELD_SECONDS,
	FIELD_EXPIRY, /* both as JSON */
	FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
	"", "file", "purpose", "expires_after[anchor]", "expires_after[seconds]", "expires_after"
};

struct file_request {
	struct multipart *mp;
	char id[ID_SIZE]; /* id of the File and its directory; "" until that is made */
	struct sink sink;
	char *filename;
	enum field field; /* the field now arriving */
	bool seen[FIELD_COUNT], done;
	struct buf text[FIELD_COUNT];
};

/* The field with the bytes begins. */
static int open_file(struct request *rq, const char *filename)
{
	struct file_request *fr = rq->own;
	char id[ID_SIZE], part_id[ID_SIZE];
	int err;

	if (!filename)
		return refuse(&rq->refusal, 400, "file", NULL, "The field 'file' has no filename.");
	fr->filename = strdup(filename);
	if (!fr->filename)
		return -ENOMEM;
	err = id_new(ID_FILE, id);
	if (!err)
		err = id_new(ID_PART, part_id);
	if (!err)
		err = store_data_make(rq->srv->store, id);
	if (err)
		return err;
	snprintf(fr->id, sizeof(fr->id), "%s", id);
	return sink_open(&fr->sink, rq->srv->store, fr->id, part_id, SERVER_FILE_MAX);
}

static int file_field(void *arg, const char *name, const char *filename)
{
	struct request *rq = arg;
	struct file_request *fr = rq->own;
	int i;

	for (i = FIELD_COUNT - 1; i > FIELD_OTHER && strcmp(name, field_names[i]); i--)
		;
	fr->field = (enum field)i;
	if (fr->field == FIELD_OTHER)
		return field_unknown(&rq->refusal, name);
	if (fr->seen[i])
		return refuse(&rq->refusal, 400, name, NULL, "The field '%s' comes twice.", name);
	fr->seen[i] = true;
	return fr->field == FIELD_FILE ? open_file(rq, filename) : 0;
}

static int file_bytes(void *arg, const void *data, size_t len)
{
	struct request *rq = arg;
	struct file_request *fr = rq->own;
	int err;

	if (fr->field != FIELD_FILE) {
		err = buf_add(&fr->text[fr->field], data, len);
		if (err == -EMSGSIZE)
			err = refuse(&rq->refusal, 400, field_names[fr->field], NULL,
				     "The field '%s' is too long.", field_names[fr->field]);
		return err;
	}
	err = sink_write(&fr->sink, data, len);
	rq->entry.bytes = fr->sink.bytes;
	if (err == -EFBIG)
		return refuse(&rq->refusal, 413, "file", NULL, "File is too large.");
	return err;
}

static int file_field_end(void *arg)
{
	(void)arg;
	return 0;
}

static const struct multipart_ops file_ops = { file_field, file_bytes, file_field_end };

static int file_begin(struct request *rq)
{
	const char *type = request_header(rq, "Content-Type");
	struct file_request *fr = calloc(1, sizeof(*fr));
	int i, err;

	rq->own = fr;
	if (!fr)
		return -ENOMEM;
	fr->sink.fd = -1;
	for (i = 0; i < FIELD_COUNT; i++)
		buf_init(&fr->text[i], FIELD_MAX);
	err = multipart_new(type ? type : "", &file_ops, rq, &fr->mp);
	if (err == -EINVAL)
		err = refuse(&rq->refusal, 400, NULL, NULL,
			     "The body must be multipart/form-data with a boundary.");
	return err;
}

static int malformed(struct request *rq, int err)
{
	if (err != -EINVAL && err != -EMSGSIZE)
		return err;
	return refuse(&rq->refusal, 400, NULL, NULL, "The multipart body is malformed.");
}

static int file_data(struct request *rq, const char *data, size_t len)
{
	struct file_request *fr = rq->own;

	return malformed(rq, multipart_feed(fr->mp, data, len));
}

static int expiry_json(struct request *rq, uint64_t *ret)
{
	struct file_request *fr = rq->own;
	const struct buf *text = &fr->text[FIELD_EXPIRY];
	struct json *j;
	int err;

	if (fr->seen[FIELD_ANCHOR] || fr->seen[FIELD_SECONDS])
		return refuse(&rq->refusal, 400, "expires_after", NULL,
			      "The field 'expires_after' comes twice.");
	err = json_parse(buf_str(text), text->len, &j);
	if (err == -ENOMEM)
		return err;
	if (err)
		return field_type(&rq->refusal, "expires_after", "an object");
	err = expiry_from_json(j, &rq->refusal, ret);
	json_free(j);
	return err;
}

/* expires_after, as one part of JSON or as a part for each of its members. */
static int take_expiry(struct request *rq, uint64_t *ret)
{
	struct file_request *fr = rq->own;
	struct refusal *r = &rq->refusal;
	uint64_t seconds;

	if (fr->seen[FIELD_EXPIRY])
		return expiry_json(rq, ret);
	if (!fr->seen[FIELD_ANCHOR] && !fr->seen[FIELD_SECONDS])
		return 0;
	if (!fr->seen[FIELD_ANCHOR])
		return field_missing(r, "expires_after.anchor");
	if (!fr->seen[FIELD_SECONDS])
		return field_missing(r, "expires_after.seconds");
	if (parse_number(buf_str(&fr->text[FIELD_SECONDS]), UINT32_MAX, &seconds))
		return field_type(r, "expires_after.seconds", "an integer");
	return expiry_check(buf_str(&fr->text[FIELD_ANCHOR]), seconds, r, ret);
}

/* Check the fields once all have arrived. */
static int check_fields(struct request *rq, uint64_t *ret_expires)
{
	struct file_request *fr = rq->own;
	const char *purpose = buf_str(&fr->text[FIELD_PURPOSE]);
	enum field f;
	int err;

	for (f = FIELD_FILE; f <= FIELD_PURPOSE; f++) {
		if (!fr->seen[f])
			return field_missing(&rq->refusal, field_names[f]);
	}
	err = take_expiry(rq, ret_expires);
	if (!err)
		err = file_spec_check(fr->filename, purpose,
				      flavor_purposes(rq->srv->flavor, &rq->route), &rq->refusal);
	if (!err && !*ret_expires)
		*ret_expires = flavor_file_ttl_s(rq->srv->flavor, purpose);
	return err;
}

/* Make a File of one Part from the received bytes. */
static int make_file(struct request *rq, uint64_t expires_after, struct file **ret)
{
	struct file_request *fr = rq->own;
	struct file *f = file_new(fr->filename, buf_str(&fr->text[FIELD_PURPOSE]), 1);
	int err;

	if (!f)
		return -ENOMEM;
	snprintf(f->id, sizeof(f->id), "%s", fr->id);
	snprintf(f->data, sizeof(f->data), "%s", fr->id);
	snprintf(f->parts[0].id, ID_SIZE, "%s", fr->sink.id);
	f->parts[0].bytes = fr->sink.bytes;
	f->bytes = fr->sink.bytes;
	f->created_at = clock_wall_s();
	f->expires_at = expires_after ? f->created_at + (int64_t)expires_after : 0;
	err = sink_commit(&fr->sink);
	if (!err)
		err = store_part_sync(rq->srv->store, f->data, f->parts[0].id);
	if (!err)
		err = store_owner_sync(rq->srv->store, f->data);
	if (!err)
		err = file_commit(rq->srv->state, f);
	if (err)
		file_free(f);
	else
		*ret = f;
	return err;
}

static int file_finish(struct request *rq)
{
	struct file_request *fr = rq->own;
	uint64_t expires_after = 0;
	struct file *f;
	int err = malformed(rq, multipart_finish(fr->mp));

	if (!err)
		err = check_fields(rq, &expires_after);
	if (!err)
		err = make_file(rq, expires_after, &f);
	if (err)
		return err;
	fr->done = true;
	snprintf(rq->file_id, sizeof(rq->file_id), "%s", f->id);
	reply_file(rq, f);
	request_located(rq, "files", f->id);
	file_unref(rq->srv->state, f);
	return 0;
}

static void file_release(struct request *rq)
{
	struct file_request *fr = rq->own;
	int i;

	if (!fr)
		return;
	sink_abort(&fr->sink);
	if (*fr->id && !fr->done)
		store_data_remove(rq->srv->store, fr->id);
	for (i = 0; i < FIELD_COUNT; i++)
		buf_release(&fr->text[i]);
	multipart_free(fr->mp);
	free(fr->filename);
	free(fr);
}

const struct operation ep_upload_file = { file_begin, file_data, file_finish, file_release };
