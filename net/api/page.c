/*
 * Reads a page of GET /files without building a tree: the reply can be megabytes of small objects.
 * The checks are those of net/api/json.c.
 */
#include "net/api/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/json_scan.h"

#define FILE_MIN 160		      /* bytes of text of a File, but for odd ones */
#define ID_SLICE_MAX (6 * API_ID_MAX) /* an id with each character escaped */

enum field { ID, FILENAME, PURPOSE, BYTES, CREATED_AT, EXPIRES_AT, STATUS, DETAILS, FIELDS };

/* The members of an object that matter. The first of two members with one name counts. */
struct members {
	struct json_value v[FIELDS];
};

struct page_reader {
	struct json_scan scan;
	struct api_file *files;
	size_t count, room, skipped;
	char *text; /* their strings, one behind the other; as large as all of them can be */
	char *text_at;
	struct json_value last; /* id of the last entry, whether it passed the checks or not */
	struct json_value last_id, has_more;
	bool has_data;
	int err; /* -ENOMEM */
};

static const struct word {
	const char *s;
	size_t len;
} words[FIELDS] = {
	[ID] = { "id", 2 },
	[FILENAME] = { "filename", 8 },
	[PURPOSE] = { "purpose", 7 },
	[BYTES] = { "bytes", 5 },
	[CREATED_AT] = { "created_at", 10 },
	[EXPIRES_AT] = { "expires_at", 10 },
	[STATUS] = { "status", 6 },
	[DETAILS] = { "status_details", 14 },
};

static enum field odd_field_of(const struct json_slice *key)
{
	int f = 0;

	while (f < FIELDS && !json_slice_is(key, words[f].s, words[f].len))
		f++;
	return (enum field)f;
}

/* The length leaves only this member. */
static enum field candidate(const struct json_slice *key)
{
	switch (key->len) {
	case 2:
		return ID;
	case 5:
		return BYTES;
	case 6:
		return STATUS;
	case 7:
		return PURPOSE;
	case 8:
		return FILENAME;
	case 10:
		return *key->s == 'c' ? CREATED_AT : EXPIRES_AT;
	case 14:
		return DETAILS;
	default:
		return FIELDS;
	}
}

static enum field field_of(const struct json_slice *key)
{
	enum field f = candidate(key);

	if (key->escaped)
		return odd_field_of(key);
	return f < FIELDS && !memcmp(key->s, words[f].s, key->len) ? f : FIELDS;
}

/* Reads the object that was opened. */
static void read_members(struct json_scan *s, struct members *ret)
{
	struct json_value other;
	struct json_slice key;
	enum field f;

	for (f = 0; f < FIELDS; f++)
		ret->v[f].kind = JSON_NONE;
	while (json_scan_key(s, &key)) {
		f = field_of(&key);
		json_scan_value(s, f < FIELDS && ret->v[f].kind == JSON_NONE ? &ret->v[f] : &other);
	}
}

static bool is_string(const struct json_value *v, const char *word, size_t len)
{
	return v->kind == JSON_STRING && json_slice_is(&v->str, word, len);
}

/* Azure lists what was deleted for a while. */
static bool is_deleted(const struct members *m)
{
	return is_string(&m->v[STATUS], "deleting", 8) || is_string(&m->v[STATUS], "deleted", 7);
}

/* Copies v behind the strings kept so far; NULL: v is not a string. */
static const char *put(const struct json_value *v, char **at, size_t *ret_len)
{
	char *copy = *at;

	if (v->kind != JSON_STRING)
		return NULL;
	*ret_len = json_slice_copy(&v->str, copy);
	*at += *ret_len + 1;
	return copy;
}

static const char *put_id(const struct json_value *v, char **at)
{
	size_t len;
	const char *id = NULL;

	if (v->kind == JSON_STRING && v->str.len <= ID_SLICE_MAX)
		id = put(v, at, &len);
	return id && api_id_valid(id) ? id : NULL;
}

static int64_t get_time(const struct json_value *v)
{
	return v->kind == JSON_NUMBER ? api_seconds(v->number) : 0;
}

/* The filename, else the id. */
static void put_filename(const struct json_value *v, char **at, struct api_file *ret)
{
	char *start = *at;
	size_t len = 0;

	ret->filename = put(v, at, &len);
	ret->filename_unknown = !ret->filename || len > API_FILENAME_MAX;
	if (!ret->filename_unknown)
		return;
	ret->filename = ret->id;
	*at = start;
}

static void put_purpose(const struct json_value *v, char **at, struct api_file *ret)
{
	char *start = *at;
	size_t len = 0;

	ret->purpose = put(v, at, &len);
	ret->purpose_unknown = !ret->purpose || !len || len > API_WORD_MAX;
	if (!ret->purpose_unknown)
		return;
	ret->purpose = API_PURPOSE_UNKNOWN;
	*at = start;
}

/*
 * Returns false if the entry has no id. *at: the place for its strings, moved to their end.
 */
static bool file_from(const struct members *m, struct api_file *ret, char **at)
{
	const struct json_value *bytes = &m->v[BYTES];
	size_t len;

	*ret = (struct api_file){ .id = put_id(&m->v[ID], at) };
	if (!ret->id)
		return false;
	put_filename(&m->v[FILENAME], at, ret);
	put_purpose(&m->v[PURPOSE], at, ret);
	ret->bytes_unknown = bytes->kind != JSON_NUMBER || !api_count(bytes->number, &ret->bytes);
	ret->created_at = get_time(&m->v[CREATED_AT]);
	ret->expires_at = get_time(&m->v[EXPIRES_AT]);
	ret->status = put(&m->v[STATUS], at, &len);
	ret->failed = is_string(&m->v[STATUS], "error", 5);
	if (ret->failed)
		ret->details = put(&m->v[DETAILS], at, &len);
	return true;
}

static bool grow(struct page_reader *r)
{
	size_t room = 2 * r->room + (size_t)(r->scan.end - r->scan.at) / FILE_MIN + 1;
	struct api_file *files = realloc(r->files, room * sizeof(*files));

	if (!files) {
		r->err = -ENOMEM;
		return false;
	}
	r->files = files;
	r->room = room;
	return true;
}

static void take_file(struct page_reader *r, const struct members *m)
{
	char *at = r->text_at;

	if (is_deleted(m) || (r->count == r->room && !grow(r)))
		return;
	if (file_from(m, &r->files[r->count], &at)) {
		r->count++;
		r->text_at = at;
	} else {
		r->skipped++;
	}
}

/* The entries of the list that was opened. */
static void read_entries(struct page_reader *r)
{
	struct json_value other;
	struct members m;

	while (json_scan_item(&r->scan) && !r->err) {
		r->last.kind = JSON_NONE;
		if (!json_scan_open(&r->scan, '{')) {
			json_scan_value(&r->scan, &other);
			r->skipped++;
			continue;
		}
		read_members(&r->scan, &m);
		if (r->scan.err)
			return;
		take_file(r, &m);
		r->last = m.v[ID];
	}
}

/* The first of two members with one name counts, here as well. */
static void read_page(struct page_reader *r)
{
	struct json_value other, *v;
	struct json_slice key;
	bool data = false;

	while (json_scan_key(&r->scan, &key) && !r->err) {
		v = &other;
		if (json_slice_is(&key, "data", 4) && !data) {
			data = true;
			r->has_data = json_scan_open(&r->scan, '[');
			if (r->has_data) {
				read_entries(r);
				continue;
			}
		} else if (json_slice_is(&key, "last_id", 7) && r->last_id.kind == JSON_NONE) {
			v = &r->last_id;
		} else if (json_slice_is(&key, "has_more", 8) && r->has_more.kind == JSON_NONE) {
			v = &r->has_more;
		}
		json_scan_value(&r->scan, v);
	}
}

/*
 * Returns the cursor of the next page: last_id, else the id of the last entry, checked or not; ""
 * if neither.
 */
static const char *next_place(struct page_reader *r)
{
	char *at = r->text_at;
	const char *id = put_id(&r->last_id, &at);

	if (!id) {
		at = r->text_at;
		id = put_id(&r->last, &at);
	}
	return id ? id : "";
}

static const char *judge(struct page_reader *r, const char *after, struct api_file_page *ret)
{
	bool more = r->has_more.kind == JSON_TRUE, stuck;
	const char *last_id;

	if (r->err)
		return "out of memory for a list";
	if (json_scan_end(&r->scan))
		return "it is not JSON";
	if (!r->has_data)
		return "the list has no data";
	last_id = next_place(r);
	stuck = more && (!*last_id || !strcmp(last_id, after));
	*ret = (struct api_file_page){ .files = r->files,
				       .text = r->text,
				       .count = r->count,
				       .skipped = r->skipped,
				       .has_more = more && !stuck,
				       .stuck = stuck,
				       .last_id = last_id };
	return NULL;
}

const char *api_json_page(const char *body, size_t len, const char *after,
			  struct api_file_page *ret)
{
	struct page_reader r = { .has_data = false };
	struct json_value other;
	const char *why;

	/* A string is shorter than its JSON. last_id comes behind the strings of all Files. */
	r.text = r.text_at = malloc(len + ID_SLICE_MAX + 1);
	if (!r.text)
		return "out of memory for a list";
	json_scan_init(&r.scan, body, len);
	if (json_scan_open(&r.scan, '{'))
		read_page(&r);
	else
		json_scan_value(&r.scan, &other);
	why = judge(&r, after, ret);
	if (why) {
		free(r.files);
		free(r.text);
	}
	return why;
}
