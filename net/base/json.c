#include "net/base/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_INT_MAX 9007199254740992.0 /* 2^53: beyond it a double skips integers */

/* struct json is never defined: a pointer to it is a pointer to a cJSON node. */
static const cJSON *node(const struct json *j)
{
	return (const cJSON *)(const void *)j;
}

static const struct json *wrap(const cJSON *item)
{
	return (const struct json *)(const void *)item;
}

struct json_survey {
	size_t depth, nodes;
	size_t misfits; /* escapes that no C string can hold, or the parser refuses */
};

/* The number in "\uXXXX" at s, or -1 when that is none. */
static long json_escape(const char *s, size_t len)
{
	char hex[5] = "";

	if (len < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	memcpy(hex, s + 2, 4);
	return strspn(hex, "0123456789abcdefABCDEF") == 4 ? strtol(hex, NULL, 16) : -1;
}

/*
 * Returns the length in bytes of the escape at s. *ret_misfit: the escape is a NUL, which would end
 * the string, or half of a surrogate pair, which some programs send for bytes that are not UTF-8. A
 * misfit must not make a whole list unreadable.
 */
static size_t json_escape_len(const char *s, size_t len, bool *ret_misfit)
{
	long c = json_escape(s, len), next;

	*ret_misfit = c == 0;
	if (c < 0xd800 || c > 0xdfff)
		return c < 0 ? 2 : 6;
	next = len > 6 ? json_escape(s + 6, len - 6) : -1;
	*ret_misfit = c > 0xdbff || next < 0xdc00 || next > 0xdfff;
	return *ret_misfit ? 6 : 12;
}

/* Skips a string; at is the byte after its opening quote. 0 or -EINVAL. */
static int survey_string(const char *text, size_t len, size_t *at, struct json_survey *found)
{
	size_t i;

	for (i = *at; i < len && text[i] != '"'; i++) {
		bool misfit;

		/* cJSON would take raw control bytes. */
		if ((unsigned char)text[i] < 0x20)
			return -EINVAL;
		if (text[i] != '\\')
			continue;
		/* cJSON would turn four characters that are not hexadecimal into a NUL. */
		if (i + 1 < len && text[i + 1] == 'u' && json_escape(text + i, len - i) < 0)
			return -EINVAL;
		i += json_escape_len(text + i, len - i, &misfit) - 1;
		found->misfits += misfit;
	}
	if (i >= len)
		return -EINVAL;
	*at = i + 1;
	return 0;
}

/* Bounds the work and the memory that the parser will need, before it starts. */
static int survey(const char *text, size_t len, struct json_survey *found)
{
	size_t at = 0;
	int rc;

	while (at < len) {
		char c = text[at++];

		if (c == '"') {
			rc = survey_string(text, len, &at, found);
			if (rc)
				return rc;
		} else if (c == '[' || c == '{') {
			found->nodes++;
			if (++found->depth > JSON_DEPTH_MAX)
				return -EMSGSIZE;
		} else if (c == ']' || c == '}') {
			if (!found->depth--)
				return -EINVAL;
		} else if (c == ',') {
			found->nodes++;
		} else if (!c) {
			return -EINVAL;
		}
		if (found->nodes > JSON_NODES_MAX)
			return -EMSGSIZE;
	}
	return 0;
}

/* Writes the misfit c to dst in its raw bytes, and returns their number. */
static size_t json_put_misfit(char *dst, long c)
{
	if (!c) {
		memcpy(dst, JSON_NUL, 2);
		return 2;
	}
	dst[0] = (char)(0xe0 | c >> 12);
	dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
	dst[2] = (char)(0x80 | (c & 0x3f));
	return 3;
}

/* A copy of text with raw bytes for misfits, which the parser passes on; freed by the caller. */
static char *json_without_misfits(const char *text, size_t len, size_t *ret_len)
{
	char *copy = malloc(len), *to = copy;
	bool misfit = false;
	size_t i, n;

	if (!copy)
		return NULL;
	for (i = 0; i < len; i += n) {
		n = 1;
		/* Outside of strings a backslash is an error anyway. */
		if (text[i] == '\\')
			n = json_escape_len(text + i, len - i, &misfit);
		if (n > len - i)
			n = len - i;
		if (misfit) {
			to += json_put_misfit(to, json_escape(text + i, len - i));
		} else {
			memcpy(to, text + i, n);
			to += n;
		}
		misfit = false;
	}
	*ret_len = (size_t)(to - copy);
	return copy;
}

static bool json_only_space(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (!strchr(" \t\r\n", s[i]) || !s[i])
			return false;
	}
	return true;
}

static int json_build(const char *text, size_t len, struct json **ret)
{
	const char *end = NULL;
	cJSON *root = cJSON_ParseWithLengthOpts(text, len, &end, 0);

	if (!root || !json_only_space(end, len - (size_t)(end - text))) {
		cJSON_Delete(root);
		return -EINVAL;
	}
	*ret = (struct json *)(void *)root;
	return 0;
}

int json_parse(const char *text, size_t len, struct json **ret)
{
	struct json_survey found = { 0 };
	char *copy = NULL;
	int rc;

	rc = survey(text, len, &found);
	if (rc)
		return rc;
	if (found.misfits) {
		copy = json_without_misfits(text, len, &len);
		if (!copy)
			return -ENOMEM;
		text = copy;
	}
	rc = json_build(text, len, ret);
	free(copy);
	return rc;
}

void json_free(struct json *root)
{
	cJSON_Delete((cJSON *)(void *)root);
}

bool json_is_object(const struct json *j)
{
	return j && cJSON_IsObject(node(j));
}

bool json_is_array(const struct json *j)
{
	return j && cJSON_IsArray(node(j));
}

bool json_is_string(const struct json *j)
{
	return j && cJSON_IsString(node(j)) && node(j)->valuestring;
}

bool json_is_number(const struct json *j)
{
	return j && cJSON_IsNumber(node(j));
}

bool json_is_bool(const struct json *j)
{
	return j && cJSON_IsBool(node(j));
}

bool json_is_null(const struct json *j)
{
	return j && cJSON_IsNull(node(j));
}

const struct json *json_get(const struct json *obj, const char *key)
{
	if (!json_is_object(obj))
		return NULL;
	return wrap(cJSON_GetObjectItemCaseSensitive(node(obj), key));
}

const struct json *json_first(const struct json *arr_or_obj)
{
	if (!json_is_object(arr_or_obj) && !json_is_array(arr_or_obj))
		return NULL;
	return wrap(node(arr_or_obj)->child);
}

const struct json *json_next(const struct json *member)
{
	return wrap(node(member)->next);
}

size_t json_len(const struct json *arr_or_obj)
{
	const struct json *m;
	size_t n = 0;

	for (m = json_first(arr_or_obj); m; m = json_next(m))
		n++;
	return n;
}

const char *json_key(const struct json *member)
{
	return node(member)->string;
}

const char *json_str(const struct json *j)
{
	return json_is_string(j) ? node(j)->valuestring : NULL;
}

bool json_bool(const struct json *j, bool dflt)
{
	return json_is_bool(j) ? cJSON_IsTrue(node(j)) : dflt;
}

double json_num(const struct json *j, double dflt)
{
	return json_is_number(j) ? node(j)->valuedouble : dflt;
}

int json_i64(const struct json *j, int64_t *ret)
{
	double d;

	if (!json_is_number(j))
		return -EINVAL;
	d = node(j)->valuedouble;
	if (!(d >= -JSON_INT_MAX && d <= JSON_INT_MAX) || d != floor(d))
		return -EINVAL;
	*ret = (int64_t)d;
	return 0;
}

int json_u64(const struct json *j, uint64_t *ret)
{
	int64_t value = 0;

	if (json_i64(j, &value) || value < 0)
		return -EINVAL;
	*ret = (uint64_t)value;
	return 0;
}

const char *json_get_str(const struct json *obj, const char *key)
{
	return json_str(json_get(obj, key));
}

/* Length of the UTF-8 sequence at s, or 0 when it is not one. */
static size_t utf8_len(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len, i;

	if (p[0] < 0x80)
		return 1;
	len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	for (i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return len;
}

/* Returns whether a half of a surrogate pair stands at s, between first and last. */
static bool is_half(const char *s, unsigned first, unsigned last)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned c;

	if (p[0] != 0xed || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
		return false;
	c = 0xd000 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	return c >= first && c <= last;
}

/*
 * Writes what the reader makes of an escape that is no character, as that escape. Returns its bytes
 * at s, or 0. Two halves that would be read as a pair are left to the caller.
 */
static size_t put_misfit(struct buf *out, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	if (!strncmp(s, JSON_NUL, 2)) {
		buf_adds(out, "\\u0000");
		return 2;
	}
	if (!is_half(s, 0xd800, 0xdfff) ||
	    (is_half(s, 0xd800, 0xdbff) && is_half(s + 3, 0xdc00, 0xdfff)))
		return 0;
	buf_addf(out, "\\u%04x", 0xd000 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
	return 3;
}

static void json_w_quoted(struct buf *out, const char *s)
{
	size_t len;

	buf_addc(out, '"');
	for (; *s; s += len) {
		len = utf8_len(s);
		if (!len) {
			len = put_misfit(out, s);
			if (!len) {
				buf_adds(out, "\xef\xbf\xbd");
				len = 1;
			}
		} else if (*s == '"' || *s == '\\') {
			buf_addc(out, '\\');
			buf_addc(out, *s);
		} else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			buf_addf(out, "\\u%04x", (unsigned)*s);
		} else {
			buf_add(out, s, len);
		}
	}
	buf_addc(out, '"');
}

/* Writes the comma and the key; every value starts here. */
static void json_w_lead(struct json_writer *w, const char *key)
{
	if (w->need_comma)
		buf_addc(w->out, ',');
	if (key) {
		json_w_quoted(w->out, key);
		buf_addc(w->out, ':');
	}
	w->need_comma = true;
}

void json_w_init(struct json_writer *w, struct buf *out)
{
	w->out = out;
	w->need_comma = false;
}

void json_w_object(struct json_writer *w, const char *key)
{
	json_w_lead(w, key);
	buf_addc(w->out, '{');
	w->need_comma = false;
}

void json_w_array(struct json_writer *w, const char *key)
{
	json_w_lead(w, key);
	buf_addc(w->out, '[');
	w->need_comma = false;
}

void json_w_end_object(struct json_writer *w)
{
	buf_addc(w->out, '}');
	w->need_comma = true;
}

void json_w_end_array(struct json_writer *w)
{
	buf_addc(w->out, ']');
	w->need_comma = true;
}

void json_w_str(struct json_writer *w, const char *key, const char *value)
{
	json_w_lead(w, key);
	if (value)
		json_w_quoted(w->out, value);
	else
		buf_adds(w->out, "null");
}

void json_w_u64(struct json_writer *w, const char *key, uint64_t value)
{
	json_w_lead(w, key);
	buf_addf(w->out, "%llu", (unsigned long long)value);
}

void json_w_i64(struct json_writer *w, const char *key, int64_t value)
{
	json_w_lead(w, key);
	buf_addf(w->out, "%lld", (long long)value);
}

void json_w_num(struct json_writer *w, const char *key, double value)
{
	char text[40], *comma;

	json_w_lead(w, key);
	if (!isfinite(value)) {
		buf_adds(w->out, "null");
		return;
	}
	/* 0.1 and not 0.10000000000000001, when that reads back the same. */
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	comma = strchr(text, ','); /* the decimal point of some locales */
	if (comma)
		*comma = '.';
	buf_adds(w->out, text);
}

void json_w_bool(struct json_writer *w, const char *key, bool value)
{
	json_w_lead(w, key);
	buf_adds(w->out, value ? "true" : "false");
}

void json_w_null(struct json_writer *w, const char *key)
{
	json_w_lead(w, key);
	buf_adds(w->out, "null");
}
