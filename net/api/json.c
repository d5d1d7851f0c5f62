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

static bool get_time(const struct json *obj, const char *key, int64_t dflt, int64_t *ret)
{
	const struct json *j = json_get(obj, key);
	int64_t value;

	if (!j || json_is_null(j)) {
		*ret = dflt;
		return dflt >= 0;
	}
	if (json_i64(j, &value) || value < 0 || value > API_TIME_MAX)
		return false;
	*ret = value;
	return true;
}

static const char *get_id(const struct json *obj, const char *key)
{
	const char *id = json_get_str(obj, key);

	return id && api_id_valid(id) ? id : NULL;
}

const char *api_json_file(const struct json *j, struct api_file *ret)
{
	const struct json *bytes = json_get(j, "bytes");
	struct api_file f = { .bytes = 0 };

	if (!json_is_object(j))
		return "the File is no object";
	f.id = get_id(j, "id");
	if (!f.id)
		return "the File has no valid id";
	f.filename = json_get_str(j, "filename");
	if (!f.filename || strlen(f.filename) > API_FILENAME_MAX)
		return "the File has no valid filename";
	f.purpose = get_id(j, "purpose");
	if (!f.purpose)
		return "the File has no valid purpose";
	f.bytes_unknown = !bytes || json_is_null(bytes);
	if (!f.bytes_unknown && json_u64(bytes, &f.bytes))
		return "the File has no valid byte count";
	if (!get_time(j, "created_at", -1, &f.created_at) ||
	    !get_time(j, "expires_at", 0, &f.expires_at))
		return "the File has no valid times";
	*ret = f;
	return NULL;
}

static enum api_upload_status upload_status(const char *s)
{
	static const char *const names[] = { "pending", "completed", "cancelled", "expired" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(s, names[i]))
			return (enum api_upload_status)i;
	}
	return API_UPLOAD_OTHER;
}

const char *api_json_upload(const struct json *j, struct api_upload *ret)
{
	const struct json *file = json_get(j, "file");
	struct api_upload up = { .has_file = false };
	const char *status, *why;

	if (!json_is_object(j))
		return "the Upload is no object";
	up.id = get_id(j, "id");
	if (!up.id)
		return "the Upload has no valid id";
	status = json_get_str(j, "status");
	if (!status)
		return "the Upload has no status";
	up.status = upload_status(status);
	if (json_u64(json_get(j, "bytes"), &up.bytes))
		return "the Upload has no valid byte count";
	if (!get_time(j, "created_at", -1, &up.created_at) ||
	    !get_time(j, "expires_at", up.created_at + API_UPLOAD_TTL_S, &up.expires_at))
		return "the Upload has no valid times";
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
	part.id = get_id(j, "id");
	part.upload_id = get_id(j, "upload_id");
	if (!part.id || !part.upload_id)
		return "the Part has no valid ids";
	*ret = part;
	return NULL;
}

const char *api_json_deleted(const struct json *j, const char *id)
{
	const char *got = json_get_str(j, "id");

	if (!got || strcmp(got, id))
		return "the reply names another File";
	if (!json_bool(json_get(j, "deleted"), false))
		return "the reply does not say that the File was deleted";
	return NULL;
}
