#include "net/api/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests ---- */

void api_json_put_create(struct buf *out, const struct api_upload_spec *spec)
{
	struct json_writer w;

	json_w_init(&w, out);
	json_w_object(&w, NULL);
	json_w_str(&w, "filename", spec->filename);
	json_w_str(&w, "purpose", spec->purpose);
	json_w_u64(&w, "bytes", spec->bytes);
	json_w_str(&w, "mime_type", spec->mime_type);
	if (spec->expires_after_s) {
		json_w_object(&w, "expires_after");
		json_w_str(&w, "anchor", "created_at");
		json_w_u64(&w, "seconds", spec->expires_after_s);
		json_w_end_object(&w);
	}
	json_w_end_object(&w);
}

void api_json_put_complete(struct buf *out, const char *const *part_ids, size_t part_count,
			   const char *md5_hex)
{
	struct json_writer w;
	size_t i;

	json_w_init(&w, out);
	json_w_object(&w, NULL);
	json_w_array(&w, "part_ids");
	for (i = 0; i < part_count; i++)
		json_w_str(&w, NULL, part_ids[i]);
	json_w_end_array(&w);
	if (md5_hex)
		json_w_str(&w, "md5", md5_hex);
	json_w_end_object(&w);
}

/* ---- replies ---- */

int64_t api_seconds(double number)
{
	/* Milli-, micro- and nanoseconds of this century lie beyond the year 9999. */
	for (int i = 0; i < 3 && number > (double)API_TIME_MAX; i++)
		number /= 1000;
	return number >= 0 && number <= (double)API_TIME_MAX ? (int64_t)number : 0;
}

bool api_count(double number, uint64_t *ret)
{
	if (!(number >= 0 && number <= API_COUNT_MAX))
		return false;
	*ret = (uint64_t)number;
	return true;
}

static int64_t get_time(const struct json *obj, const char *key)
{
	return api_seconds(json_num(json_get(obj, key), 0));
}

static const char *get_id(const struct json *obj, const char *key)
{
	const char *id = json_get_str(obj, key);

	return id && api_id_valid(id) ? id : NULL;
}

/* The words of status_details: a string, or the message in an object. */
static const char *details_of(const struct json *file)
{
	const struct json *d = json_get(file, "status_details");
	const char *words = json_str(d);

	if (!words)
		words = json_get_str(d, "message");
	return words ? words : json_get_str(d, "code");
}

const char *api_json_file(const struct json *j, struct api_file *ret)
{
	struct api_file f = { .bytes = 0 };
	const char *status = json_get_str(j, "status");
	size_t len;

	if (!json_is_object(j))
		return "the File is no object";
	f.id = get_id(j, "id");
	if (!f.id)
		return "the File has no valid id";
	f.filename = json_get_str(j, "filename");
	f.filename_unknown = !f.filename || strlen(f.filename) > API_FILENAME_MAX;
	if (f.filename_unknown)
		f.filename = f.id;
	f.purpose = json_get_str(j, "purpose");
	len = f.purpose ? strlen(f.purpose) : 0;
	f.purpose_unknown = !len || len > API_WORD_MAX;
	if (f.purpose_unknown)
		f.purpose = API_PURPOSE_UNKNOWN;
	f.bytes_unknown = !api_count(json_num(json_get(j, "bytes"), -1), &f.bytes);
	f.created_at = get_time(j, "created_at");
	f.expires_at = get_time(j, "expires_at");
	f.status = status;
	f.failed = status && !strcmp(status, "error");
	f.details = f.failed ? details_of(j) : NULL;
	*ret = f;
	return NULL;
}

static enum api_upload_status upload_status(const char *s)
{
	static const char *const names[] = { "pending", "completed", "cancelled", "expired" };
	size_t i;

	for (i = 0; s && i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(s, names[i]))
			return (enum api_upload_status)i;
	}
	return API_UPLOAD_OTHER;
}

const char *api_json_upload(const struct json *j, struct api_upload *ret)
{
	const struct json *file = json_get(j, "file");
	struct api_upload up = { .has_file = false };
	const char *status = json_get_str(j, "status"), *why;

	if (!json_is_object(j))
		return "the Upload is no object";
	up.id = get_id(j, "id");
	if (!up.id)
		return "the Upload has no valid id";
	up.status = upload_status(status);
	up.status_unknown = !status;
	up.bytes_unknown = !api_count(json_num(json_get(j, "bytes"), -1), &up.bytes);
	up.created_at = get_time(j, "created_at");
	up.expires_at = get_time(j, "expires_at");
	if (!up.expires_at && up.created_at)
		up.expires_at = up.created_at + API_UPLOAD_TTL_S;
	if (file && !json_is_null(file)) {
		why = api_json_file(file, &up.file);
		if (why)
			return why;
		up.has_file = true;
	}
	*ret = up;
	return NULL;
}

const char *api_json_part(const struct json *j, struct api_part *ret)
{
	struct api_part part;

	if (!json_is_object(j))
		return "the Part is no object";
	part.id = json_get_str(j, "id");
	part.upload_id = json_get_str(j, "upload_id");
	if (!part.id || !*part.id || strlen(part.id) > API_ID_MAX)
		return "the Part has no valid id";
	*ret = part;
	return NULL;
}

const char *api_json_deleted(const struct json *j, const char *id)
{
	const struct json *got = json_get(j, "id"), *deleted = json_get(j, "deleted");

	if (!json_is_object(j))
		return "the reply is no object";
	if (got && !json_is_null(got) && (!json_is_string(got) || strcmp(json_str(got), id)))
		return "the reply names another File";
	if (deleted ? !json_bool(deleted, false) : !json_is_string(got))
		return "the reply does not say that the File was deleted";
	return NULL;
}
