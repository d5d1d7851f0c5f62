/* The error in the body of a reply: the API's object, or other text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/api/json.h"
#include "net/base/log.h"

#define FOREIGN_TEXT_MAX 300 /* of an error body that is not the API's */

/* Ends s before a multibyte character that was cut in two. */
static void trim_utf8(char *s)
{
	size_t len = strlen(s), at = len, need;

	while (at && len - at < 3 && ((unsigned char)s[at - 1] & 0xc0) == 0x80)
		at--;
	if (!at || (unsigned char)s[at - 1] < 0xc0)
		return;
	at--;
	need = (unsigned char)s[at] >= 0xf0 ? 4 : (unsigned char)s[at] >= 0xe0 ? 3 : 2;
	if (len - at < need)
		s[at] = '\0';
}

/* Copies with control bytes escaped; cuts where the room ends. */
static void one_line(char *dst, size_t size, const char *src)
{
	size_t at = 0;

	for (; *src; src++) {
		unsigned char c = (unsigned char)*src;
		bool c1 =
			c == 0xc2 && (unsigned char)src[1] >= 0x80 && (unsigned char)src[1] < 0xa0;
		bool plain = c >= 0x20 && c != 0x7f && !c1;

		if (size - at <= (plain ? 1U : 4U))
			break;
		if (c == '\n' || c == '\r' || c == '\t')
			dst[at++] = ' ';
		else if (plain)
			dst[at++] = (char)c;
		else
			at += (size_t)snprintf(dst + at, 5, "\\x%02x",
					       c1 ? (unsigned char)*++src : c);
	}
	dst[at] = '\0';
	trim_utf8(dst);
}

/*
 * Redacts before cutting: half a secret would not be recognised. Redacts twice: the last character
 * of an escape may be the first one of a secret.
 */
void api_clean(char *dst, size_t size, const char *src)
{
	char *clean = log_redacted(src), *again = NULL, *line = NULL;
	size_t room = clean ? strlen(clean) * 4 + 1 : 0;

	if (clean)
		line = malloc(room);
	if (line) {
		one_line(line, room, clean);
		again = log_redacted(line);
	}
	one_line(dst, size, again ? again : "");
	free(again);
	free(line);
	free(clean);
}

void api_clean_details(struct api_file *file, char room[API_DETAILS_SIZE])
{
	if (!file->details)
		return;
	api_clean(room, API_DETAILS_SIZE, file->details);
	file->details = room;
}

/* error.code is a string in the API, a number in some servers. */
static void get_word(const struct json *obj, const char *key, char *dst, size_t size)
{
	const struct json *j = json_get(obj, key);
	uint64_t number;

	if (json_is_string(j))
		api_clean(dst, size, json_str(j));
	else if (!json_u64(j, &number))
		snprintf(dst, size, "%llu", (unsigned long long)number);
}

/* A string, or the first of an array: some frameworks give a list of reasons. */
static const char *words_in(const struct json *j)
{
	return json_str(json_is_array(j) ? json_first(j) : j);
}

/*
 * Returns the part of the document that describes the error: "error" as an object, a string or a
 * list of either; "errors" or "detail" in its place; else the document itself, which may be inside
 * a list as well.
 */
static const struct json *error_in(const struct json *root)
{
	static const char *const keys[] = { "error", "errors", "detail" };
	const struct json *e = NULL;
	size_t i;

	if (json_is_array(root))
		root = json_first(root);
	for (i = 0; (!e || json_is_null(e)) && i < sizeof(keys) / sizeof(keys[0]); i++)
		e = json_get(root, keys[i]);
	if (json_is_array(e))
		e = json_first(e);
	return e && !json_is_null(e) ? e : root;
}

static bool error_from_json(const struct json *root, struct api_error *err)
{
	static const char *const keys[] = { "message", "msg", "detail", "title",
					    "error_description" };
	const struct json *e = error_in(root);
	const char *text = words_in(e);
	size_t i;

	get_word(e, "code", err->code, sizeof(err->code));
	get_word(e, "type", err->type, sizeof(err->type));
	for (i = 0; !text && i < sizeof(keys) / sizeof(keys[0]); i++)
		text = words_in(json_get(e, keys[i]));
	/* {"error": "not_found", "message": "…"}: the sentence says more. */
	if (json_is_string(e) && words_in(json_get(root, "message")))
		text = words_in(json_get(root, "message"));
	if (text)
		api_clean(err->message, sizeof(err->message), text);
	return text || err->code[0] || err->type[0];
}

/* Returns the start of the text in the first element of that kind, or NULL. */
static const char *element_text(const char *page, const char *tag)
{
	size_t len = strlen(tag);
	const char *at = page;

	while ((at = strcasestr(at, tag))) {
		at += len;
		if (*at && strchr("> \t\r\n", *at))
			break;
	}
	at = at ? strchr(at, '>') : NULL;
	if (at)
		at += 1 + strspn(at + 1, " \t\r\n");
	return at && *at && *at != '<' ? at : NULL;
}

/* A title or a heading says more than the first line of a page. */
static void error_from_text(const char *body, size_t len, struct api_error *err)
{
	static const char *const tags[] = { "<title", "<h1", "<message", "<h2", "<p" };
	const char *at, *inside = NULL;
	char *copy;
	size_t i;

	copy = strndup(body, len);
	if (!copy)
		return;
	at = copy + strspn(copy, " \t\r\n");
	for (i = 0; *at == '<' && !inside && i < sizeof(tags) / sizeof(tags[0]); i++)
		inside = element_text(at, tags[i]);
	if (inside)
		at = inside;
	copy[(size_t)(at - copy) + strcspn(at, inside ? "<\r\n" : "\r\n")] = '\0';
	api_clean(err->message, FOREIGN_TEXT_MAX + 1, at);
	free(copy);
}

_Static_assert(FOREIGN_TEXT_MAX < sizeof(((struct api_error *)0)->message), "it fits");

void api_json_error(const char *body, size_t len, struct api_error *err)
{
	struct json *root;
	bool known = false;

	err->code[0] = err->type[0] = err->message[0] = '\0';
	if (!json_parse(body, len, &root)) {
		known = error_from_json(root, err);
		json_free(root);
	}
	if (!known)
		error_from_text(body, len, err);
	if (!err->message[0])
		api_clean(err->message, sizeof(err->message), "the reply says no more");
}
