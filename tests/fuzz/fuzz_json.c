/* net/json: what was read and is written reads back as the same document. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "net/base/json.h"
#include "tests/fuzz/support.h"

/* The nesting is bounded by JSON_DEPTH_MAX. */
static void write_value(struct json_writer *w, const char *key, const struct json *j)
{
	const struct json *m;

	if (json_is_object(j) || json_is_array(j)) {
		json_is_object(j) ? json_w_object(w, key) : json_w_array(w, key);
		for (m = json_first(j); m; m = json_next(m))
			write_value(w, json_key(m), m);
		json_is_object(j) ? json_w_end_object(w) : json_w_end_array(w);
	} else if (json_is_string(j)) {
		json_w_str(w, key, json_str(j));
	} else if (json_is_number(j)) {
		json_w_num(w, key, json_num(j, 0));
	} else if (json_is_bool(j)) {
		json_w_bool(w, key, json_bool(j, false));
	} else {
		must(json_is_null(j));
		json_w_null(w, key);
	}
}

static void write_document(struct buf *out, const struct json *root)
{
	struct json_writer w;

	json_w_init(&w, out);
	write_value(&w, NULL, root);
	must(!out->err);
}

/* b is what a was written as. Of strings only that they are some: what is no UTF-8 is replaced. */
static void check_same(const struct json *a, const struct json *b)
{
	const struct json *m, *n;

	must(json_is_object(a) == json_is_object(b) && json_is_array(a) == json_is_array(b));
	must(json_is_string(a) == json_is_string(b) && json_is_bool(a) == json_is_bool(b));
	must(json_bool(a, false) == json_bool(b, false) && json_len(a) == json_len(b));
	/* 1e999 is no number that can be written. */
	if (json_is_number(a) && isfinite(json_num(a, 0)))
		must(json_is_number(b) && json_num(a, 0) == json_num(b, 1));
	n = json_first(b);
	for (m = json_first(a); m; m = json_next(m)) {
		check_same(m, n);
		n = json_next(n);
	}
	must(!n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf first = { .max = 1 << 24 }, second = { .max = 1 << 24 };
	struct json *root = NULL, *again = NULL;
	int rc = json_parse((const char *)data, size, &root);

	must(rc == 0 || rc == -EINVAL || rc == -EMSGSIZE);
	if (rc)
		return 0;
	write_document(&first, root);
	must(!json_parse(first.data, first.len, &again));
	check_same(root, again);
	write_document(&second, again);
	json_free(root);
	json_free(again);
	must(first.len == second.len && !memcmp(first.data, second.data, first.len));
	buf_release(&first);
	buf_release(&second);
	return 0;
}
