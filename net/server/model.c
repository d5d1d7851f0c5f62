/* model: see model.h. */
#include "net/server/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/digest.h"

#define ID_HEX 32

static const char *const status_names[] = { "pending", "completed", "cancelled", "expired" };

int id_new(const char *prefix, char ret_id[ID_SIZE])
{
	unsigned char raw[ID_HEX / 2];
	char hex[ID_HEX + 1];
	size_t i;
	int err = digest_random(raw, sizeof(raw));

	if (err)
		return err;
	for (i = 0; i < sizeof(raw); i++)
		snprintf(hex + 2 * i, 3, "%02x", raw[i]);
	snprintf(ret_id, ID_SIZE, "%s%s", prefix, hex);
	return 0;
}

bool id_valid(const char *id, const char *prefix)
{
	size_t len = strlen(prefix);

	return !strncmp(id, prefix, len) && strlen(id) == len + ID_HEX &&
	       strspn(id + len, "0123456789abcdef") == ID_HEX;
}

static bool among(const char *s, const char *const *list)
{
	for (; *list; list++) {
		if (!strcmp(s, *list))
			return true;
	}
	return false;
}

bool purpose_readable(const char *purpose)
{
	static const char *const refused[] = { "assistants", "user_data", "evals", NULL };

	return !among(purpose, refused);
}

const char *upload_status_name(enum upload_status status)
{
	return status_names[status];
}

void part_free(struct part *part)
{
	if (!part)
		return;
	digest_free(part->after);
	free(part);
}

void upload_free(struct upload *up)
{
	size_t i;

	if (!up)
		return;
	for (i = 0; i < up->part_count; i++)
		part_free(up->parts[i]);
	free(up->parts);
	free(up->filename);
	free(up->purpose);
	free(up->mime_type);
	free(up);
}

void upload_drop_parts(struct upload *up)
{
	size_t i, kept = 0;

	if (up->hashing || up->status == UPLOAD_PENDING)
		return;
	for (i = 0; i < up->part_count; i++) {
		/* A Part that still arrives belongs to its request. */
		if (up->parts[i]->finished)
			part_free(up->parts[i]);
		else
			up->parts[kept++] = up->parts[i];
	}
	up->part_count = kept;
	up->hashed = 0;
}

void file_free(struct file *f)
{
	if (!f)
		return;
	free(f->filename);
	free(f->purpose);
	free(f->parts);
	free(f);
}

struct file *file_new(const char *filename, const char *purpose, size_t count)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->filename = strdup(filename);
	f->purpose = strdup(purpose);
	f->parts = calloc(count ? count : 1, sizeof(*f->parts));
	f->part_count = count;
	if (!f->filename || !f->purpose || !f->parts) {
		file_free(f);
		return NULL;
	}
	return f;
}

static const char *truth_or(const char *truth, const char *over)
{
	return over ? over : truth;
}

bool reply_without(const struct reply_override *over, const char *member)
{
	const char *const *name;
	size_t len;

	if (!over || !over->without)
		return false;
	len = over->at ? strlen(over->at) : 0;
	for (name = over->without; *name; name++) {
		if ((!len || !strncmp(*name, over->at, len)) && !strcmp(*name + len, member))
			return true;
	}
	return false;
}

static void put_str(struct json_writer *w, const struct reply_override *over, const char *key,
		    const char *value)
{
	if (!reply_without(over, key))
		json_w_str(w, key, value);
}

static void put_num(struct json_writer *w, const struct reply_override *over, const char *key,
		    int64_t value)
{
	if (!reply_without(over, key))
		json_w_i64(w, key, value);
}

static void put_null(struct json_writer *w, const struct reply_override *over, const char *key)
{
	if (!reply_without(over, key))
		json_w_null(w, key);
}

void file_json(struct json_writer *w, const char *key, const struct file *f,
	       const struct reply_override *over)
{
	static const struct reply_override none;

	if (!over)
		over = &none;
	json_w_object(w, key);
	put_str(w, over, "object", "file");
	put_str(w, over, "id", truth_or(f->id, over->id));
	put_str(w, over, "purpose", f->purpose);
	put_str(w, over, "filename", f->filename);
	if (over->young && !over->bytes)
		put_null(w, over, "bytes");
	else
		put_num(w, over, "bytes", (int64_t)(over->bytes ? *over->bytes : f->bytes));
	put_num(w, over, "created_at", f->created_at);
	if (f->expires_at)
		put_num(w, over, "expires_at", f->expires_at);
	else if (!over->no_nulls)
		put_null(w, over, "expires_at");
	put_str(w, over, "status", truth_or(over->young ? "pending" : "processed", over->status));
	if (!over->no_nulls)
		put_null(w, over, "status_details");
	json_w_end_object(w);
}

void upload_json(struct json_writer *w, const struct upload *up, enum upload_status status,
		 const struct file *file, const struct reply_override *over)
{
	static const struct reply_override none;
	struct reply_override inner;

	if (!over)
		over = &none;
	/* over->id and status replace the Upload's only: clients can't check a File's id. */
	inner = *over;
	inner.id = NULL;
	inner.status = NULL;
	inner.at = "file.";
	json_w_object(w, NULL);
	put_str(w, over, "id", truth_or(up->id, over->id));
	put_str(w, over, "object", "upload");
	put_num(w, over, "bytes", (int64_t)(over->bytes ? *over->bytes : up->bytes));
	put_num(w, over, "created_at", up->created_at);
	put_str(w, over, "filename", up->filename);
	put_str(w, over, "purpose", up->purpose);
	put_str(w, over, "status", truth_or(upload_status_name(status), over->status));
	put_num(w, over, "expires_at", up->expires_at);
	if (file && !reply_without(over, "file"))
		file_json(w, "file", file, &inner);
	json_w_end_object(w);
}

void upload_record(struct buf *out, const struct upload *up)
{
	struct json_writer w;

	json_w_init(&w, out);
	json_w_object(&w, NULL);
	json_w_str(&w, "id", up->id);
	json_w_str(&w, "filename", up->filename);
	json_w_str(&w, "purpose", up->purpose);
	json_w_str(&w, "mime_type", up->mime_type);
	json_w_u64(&w, "bytes", up->bytes);
	json_w_i64(&w, "created_at", up->created_at);
	json_w_i64(&w, "expires_at", up->expires_at);
	json_w_u64(&w, "expires_after", up->expires_after_s);
	json_w_str(&w, "status", upload_status_name(up->status));
	json_w_str(&w, "file_id", up->file_id);
	json_w_end_object(&w);
}

void file_record(struct buf *out, const struct file *f)
{
	struct json_writer w;
	size_t i;

	json_w_init(&w, out);
	json_w_object(&w, NULL);
	json_w_str(&w, "id", f->id);
	json_w_str(&w, "data", f->data);
	json_w_str(&w, "upload_id", f->upload_id);
	json_w_str(&w, "filename", f->filename);
	json_w_str(&w, "purpose", f->purpose);
	json_w_u64(&w, "bytes", f->bytes);
	json_w_i64(&w, "created_at", f->created_at);
	json_w_i64(&w, "expires_at", f->expires_at);
	json_w_u64(&w, "seq", f->seq);
	json_w_array(&w, "parts");
	for (i = 0; i < f->part_count; i++) {
		json_w_object(&w, NULL);
		json_w_str(&w, "id", f->parts[i].id);
		json_w_u64(&w, "bytes", f->parts[i].bytes);
		json_w_end_object(&w);
	}
	json_w_end_array(&w);
	json_w_end_object(&w);
}

/* Copy a string member to a new string. 0, -EINVAL or -ENOMEM. */
static int take_str(const struct json *obj, const char *key, char **ret)
{
	const char *s = json_get_str(obj, key);

	if (!s)
		return -EINVAL;
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

/* Copy an id member; optional allows "". */
static int take_id(const struct json *obj, const char *key, const char *prefix, bool optional,
		   char ret_id[ID_SIZE])
{
	const char *s = json_get_str(obj, key);

	if (!s || !(id_valid(s, prefix) || (optional && !*s)))
		return -EINVAL;
	snprintf(ret_id, ID_SIZE, "%s", s);
	return 0;
}

static int take_status(const struct json *obj, enum upload_status *ret)
{
	const char *s = json_get_str(obj, "status");
	unsigned i;

	for (i = 0; s && i < sizeof(status_names) / sizeof(*status_names); i++) {
		if (!strcmp(s, status_names[i])) {
			*ret = (enum upload_status)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int upload_fill(struct upload *up, const struct json *j)
{
	int err = take_str(j, "filename", &up->filename);

	if (!err)
		err = take_str(j, "purpose", &up->purpose);
	if (!err)
		err = take_str(j, "mime_type", &up->mime_type);
	if (!err)
		err = take_status(j, &up->status);
	if (!err)
		err = take_id(j, "file_id", ID_FILE, true, up->file_id);
	if (!err)
		err = json_u64(json_get(j, "bytes"), &up->bytes);
	if (!err)
		err = json_i64(json_get(j, "created_at"), &up->created_at);
	if (!err)
		err = json_i64(json_get(j, "expires_at"), &up->expires_at);
	if (!err)
		err = json_u64(json_get(j, "expires_after"), &up->expires_after_s);
	return err;
}

int upload_parse(const char *id, const char *text, size_t len, struct upload **ret)
{
	struct upload *up = NULL;
	struct json *j;
	int err = json_parse(text, len, &j);

	if (err)
		return err;
	err = -ENOMEM;
	up = calloc(1, sizeof(*up));
	if (!up)
		goto out;
	err = take_id(j, "id", ID_UPLOAD, false, up->id);
	if (!err && strcmp(up->id, id))
		err = -EINVAL;
	if (!err)
		err = upload_fill(up, j);
	if (err) {
		upload_free(up);
		goto out;
	}
	*ret = up;
out:
	json_free(j);
	return err;
}

/* Fill in the Parts of a File; their bytes must add up. */
static int file_fill_parts(struct file *f, const struct json *parts)
{
	const struct json *m;
	uint64_t sum = 0;
	size_t i = 0;
	int err = 0;

	for (m = json_first(parts); m && !err; m = json_next(m), i++) {
		err = take_id(m, "id", ID_PART, false, f->parts[i].id);
		if (!err)
			err = json_u64(json_get(m, "bytes"), &f->parts[i].bytes);
		if (!err)
			sum += f->parts[i].bytes;
	}
	if (!err && sum != f->bytes)
		err = -EINVAL;
	return err;
}

static int file_fill(struct file *f, const struct json *j)
{
	const char *data = json_get_str(j, "data");
	int err = -EINVAL;

	if (data && (id_valid(data, ID_UPLOAD) || id_valid(data, ID_FILE))) {
		snprintf(f->data, ID_SIZE, "%s", data);
		err = take_id(j, "id", ID_FILE, false, f->id);
	}
	if (!err)
		err = take_id(j, "upload_id", ID_UPLOAD, true, f->upload_id);
	if (!err)
		err = json_u64(json_get(j, "bytes"), &f->bytes);
	if (!err)
		err = json_i64(json_get(j, "created_at"), &f->created_at);
	if (!err)
		err = json_i64(json_get(j, "expires_at"), &f->expires_at);
	if (!err)
		err = json_u64(json_get(j, "seq"), &f->seq);
	return err ? err : file_fill_parts(f, json_get(j, "parts"));
}

int file_parse(const char *id, const char *text, size_t len, struct file **ret)
{
	const char *filename, *purpose;
	const struct json *parts;
	struct file *f = NULL;
	struct json *j;
	int err = json_parse(text, len, &j);

	if (err)
		return err;
	err = -EINVAL;
	filename = json_get_str(j, "filename");
	purpose = json_get_str(j, "purpose");
	parts = json_get(j, "parts");
	if (!filename || !purpose || !json_is_array(parts))
		goto out;
	err = -ENOMEM;
	f = file_new(filename, purpose, json_len(parts));
	if (!f)
		goto out;
	err = file_fill(f, j);
	if (!err && strcmp(f->id, id))
		err = -EINVAL;
	if (err)
		file_free(f);
	else
		*ret = f;
out:
	json_free(j);
	return err;
}
