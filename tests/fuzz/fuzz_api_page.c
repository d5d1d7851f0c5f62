/*
 * net/json_scan and net/api_page: what they take, refuse and hand out is what comes of the tree
 * that net/json makes of the same text.
 */
#include <stdlib.h>
#include <string.h>

#include "net/api/json.h"
#include "net/base/json_scan.h"
#include "tests/fuzz/support.h"

#define AFTER "file-1"

/* slice is what the other reader has as text; NULL: it is no string there. */
static void check_text(const struct json_slice *slice, const char *text)
{
	char *copy = malloc(slice->len + 1);

	must(copy && text);
	must(json_slice_copy(slice, copy) == strlen(text));
	must(!strcmp(copy, text));
	must(json_slice_is(slice, "id", 2) == !strcmp(text, "id"));
	free(copy);
}

static void check_simple(struct json_scan *s, const struct json *j)
{
	struct json_value v;
	int64_t i = 0;

	json_scan_value(s, &v);
	switch (v.kind) {
	case JSON_STRING:
		check_text(&v.str, json_str(j));
		break;
	case JSON_NUMBER:
		must(json_is_number(j) && v.is_integer == !json_i64(j, &i));
		must(!v.is_integer || v.integer == i);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		must(json_is_bool(j) && json_bool(j, false) == (v.kind == JSON_TRUE));
		break;
	default:
		must(v.kind == JSON_NULL && json_is_null(j));
	}
}

/* The nesting is bounded by JSON_DEPTH_MAX. */
static void check_value(struct json_scan *s, const struct json *j)
{
	const struct json *m = json_first(j);
	struct json_slice key;

	if (json_is_object(j)) {
		must(!json_scan_open(s, '[') && json_scan_open(s, '{'));
		for (; json_scan_key(s, &key); m = json_next(m)) {
			must(m);
			check_text(&key, json_key(m));
			check_value(s, m);
		}
		must(!m);
	} else if (json_is_array(j)) {
		must(!json_scan_open(s, '{') && json_scan_open(s, '['));
		for (; json_scan_item(s); m = json_next(m)) {
			must(m);
			check_value(s, m);
		}
		must(!m);
	} else {
		check_simple(s, j);
	}
}

static void check_file(const struct api_file *a, const struct api_file *b)
{
	must(!strcmp(a->id, b->id) && !strcmp(a->filename, b->filename));
	must(!strcmp(a->purpose, b->purpose) && a->bytes == b->bytes);
	must(a->bytes_unknown == b->bytes_unknown);
	must(a->filename_unknown == b->filename_unknown);
	must(a->purpose_unknown == b->purpose_unknown);
	must(a->created_at == b->created_at && a->expires_at == b->expires_at);
}

static const char *id_of(const struct json *j, const char *key)
{
	const char *id = json_get_str(j, key);

	return id && api_id_valid(id) ? id : NULL;
}

static bool is_deleted(const struct json *j)
{
	const char *status = json_get_str(j, "status");

	return status && (!strcmp(status, "deleting") || !strcmp(status, "deleted"));
}

/* page is what stands in root, which is a list. */
static void check_page(const struct api_file_page *page, const struct json *root)
{
	const struct json *m, *last = NULL;
	struct api_file file;
	size_t count = 0, skipped = 0;
	const char *id = id_of(root, "last_id");

	for (m = json_first(json_get(root, "data")); m; m = json_next(m)) {
		last = m;
		if (is_deleted(m)) {
			continue;
		} else if (api_json_file(m, &file)) {
			skipped++;
		} else {
			must(count < page->count);
			check_file(&page->files[count++], &file);
		}
	}
	must(count == page->count && skipped == page->skipped);
	id = id ? id : id_of(last, "id");
	must(!strcmp(page->last_id, id ? id : ""));
	must((page->has_more || page->stuck) == json_bool(json_get(root, "has_more"), false));
	must(!page->has_more || !page->stuck);
	must(!page->has_more || (*page->last_id && strcmp(page->last_id, AFTER)));
}

/* Why a page is refused, when it is JSON; NULL: it is not. */
static const char *refusal(const struct json *root)
{
	return json_is_array(json_get(root, "data")) ? NULL : "the list has no data";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_file_page page = { 0 };
	struct json *root = NULL;
	struct json_value v;
	struct json_scan s;
	const char *text = (const char *)data, *why, *want = "it is not JSON";
	int rc = json_parse(text, size, &root);

	json_scan_init(&s, text, size);
	if (rc)
		json_scan_value(&s, &v);
	else
		check_value(&s, root);
	must(!json_scan_end(&s) == !rc);
	if (!rc)
		want = refusal(root);
	why = api_json_page(text, size, AFTER, &page);
	must(want ? why && !strcmp(why, want) : !why);
	if (!why)
		check_page(&page, root);
	free(page.files);
	free(page.text);
	json_free(root);
	return 0;
}
