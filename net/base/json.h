/*
 * json: a bounded JSON reader and a small writer. The only includer of cJSON.
 *
 * Reader: a parsed document is a tree of const struct json owned by its root;
 * every pointer handed out lives until json_free(root). Input is limited in
 * bytes by the caller's buffer, in nesting by JSON_DEPTH_MAX and in members by
 * JSON_NODES_MAX (a node costs forty times its two bytes of text). An escaped NUL in a string is
 * handed out as JSON_NUL, and half of a surrogate pair, which is how some programs send what is not
 * UTF-8, in three bytes, as UTF-8 would have it: both are not UTF-8, and the writer escapes them
 * again, so that no two names collapse.
 * A document may be read by one thread at a time. Never blocks.
 */
#ifndef UPLOADFS_NET_BASE_JSON_H
#define UPLOADFS_NET_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/base/buf.h"

#define JSON_DEPTH_MAX 64
#define JSON_NODES_MAX \
	(1U << 20) /* members in a document: a parsed one takes about 100 bytes each */

#define JSON_NUL "\xc0\x80" /* a NUL within a string: the overlong form */

struct json;

/*
 * 0, -EINVAL (not JSON, or anything but white space behind it), -EMSGSIZE (too
 * deep or too many members), -ENOMEM.
 */
int json_parse(const char *text, size_t len, struct json **ret);
void json_free(struct json *root); /* NULL is a no-op */

bool json_is_object(const struct json *j); /* all predicates: false for NULL */
bool json_is_array(const struct json *j);
bool json_is_string(const struct json *j);
bool json_is_number(const struct json *j);
bool json_is_bool(const struct json *j);
bool json_is_null(const struct json *j);

const struct json *json_get(const struct json *obj,
			    const char *key);	/* NULL: none; case-sensitive */
size_t json_len(const struct json *arr_or_obj); /* members */
/* Iteration over members in order: json_first(), then json_next() until NULL; O(1) each. */
const struct json *json_first(const struct json *arr_or_obj);
const struct json *json_next(const struct json *member);
const char *json_key(const struct json *member); /* NULL in an array */

const char *json_str(const struct json *j); /* NULL unless a string */
bool json_bool(const struct json *j, bool dflt);
double json_num(const struct json *j, double dflt);
/* An integer in [0, 2^53] without a fraction: 0 and *ret, else -EINVAL. */
int json_u64(const struct json *j, uint64_t *ret);
/* An integer in [-2^53, 2^53] without a fraction: 0 and *ret, else -EINVAL. */
int json_i64(const struct json *j, int64_t *ret);

/* Shorthands for members. */
const char *json_get_str(const struct json *obj, const char *key); /* NULL: none or no string */

/*
 * Writer: appends to a buf; commas are placed by the writer. Errors are sticky
 * in the buf (buf.err). Keys and strings are escaped; bytes that are neither UTF-8 nor what the
 * reader makes of an escape become U+FFFD. key is NULL for array members and the top-level value.
 */
struct json_writer {
	struct buf *out;
	bool need_comma;
};
void json_w_init(struct json_writer *w, struct buf *out);
void json_w_object(struct json_writer *w, const char *key);
void json_w_array(struct json_writer *w, const char *key);
void json_w_end_object(struct json_writer *w);
void json_w_end_array(struct json_writer *w);
void json_w_str(struct json_writer *w, const char *key, const char *value); /* NULL: null */
void json_w_u64(struct json_writer *w, const char *key, uint64_t value);
void json_w_i64(struct json_writer *w, const char *key, int64_t value);
void json_w_num(struct json_writer *w, const char *key, double value);
void json_w_bool(struct json_writer *w, const char *key, bool value);
void json_w_null(struct json_writer *w, const char *key);

#endif
