#include "net/base/json_scan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/json.h"
#include "net/base/json_chars.h"

#define NUMBER_ROOM 64		     /* characters; longer ones are copied to the heap */
#define DIGITS_MAX 15		     /* of a number surely below 2^53 */
#define INT_MAX_D 9007199254740992.0 /* 2^53 */
#define WORD_MAX 32		     /* of json_slice_is() */

void json_scan_init(struct json_scan *s, const char *text, size_t len)
{
	memset(s, 0, sizeof(*s));
	s->at = text;
	s->end = text + len;
	/* The byte order mark that some editors write first; the parser of json.c skips it too. */
	if (len > 4 && !memcmp(text, "\xef\xbb\xbf", 3))
		s->at += 3;
}

/* Leaves nothing to read, so that the caller cannot go on by mistake. */
static bool bad(struct json_scan *s, int err)
{
	if (!s->err)
		s->err = err;
	s->at = s->end;
	return false;
}

/* The next character that is no space, or 0; it stays. A NUL in the text is a bad character. */
static inline char look(struct json_scan *s)
{
	while (s->at < s->end && (unsigned char)*s->at <= ' ' && *s->at)
		s->at++;
	return s->at < s->end ? *s->at : '\0';
}

static bool count_node(struct json_scan *s)
{
	return ++s->nodes <= JSON_NODES_MAX || bad(s, -EMSGSIZE);
}

/* ---- strings ---- */

static const char *plain_end(const char *at, const char *end)
{
	return (const char *)json_plain_end((const unsigned char *)at, (const unsigned char *)end,
					    false);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number in "\uXXXX" at s, or -1 when that is none. */
static long unit(const char *s, const char *end)
{
	long n = 0;

	if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int d = hex_digit(s[i]);

		if (d < 0)
			return -1;
		n = n << 4 | d;
	}
	return n;
}

/* Returns the length of the escape at s; 0: not an escape. */
static size_t escape_len(const char *s, const char *end)
{
	if (end - s < 2)
		return 0;
	if (s[1] == 'u')
		return unit(s, end) < 0 ? 0 : 6;
	return memchr("\"\\/bfnrt", s[1], 8) ? 2 : 0;
}

/* Scans a string on from its first backslash. Returns the position of its end; NULL: malformed. */
static __attribute__((noinline)) const char *escaped_end(const char *at, const char *end)
{
	size_t n;

	while (at < end && *at == '\\') {
		n = escape_len(at, end);
		if (!n)
			return NULL;
		at = plain_end(at + n, end);
	}
	return at;
}

/* Reads the string whose opening quote is at s->at. */
static bool read_string(struct json_scan *s, struct json_slice *ret)
{
	const char *at = plain_end(s->at + 1, s->end);

	ret->s = s->at + 1;
	ret->escaped = at < s->end && *at == '\\';
	if (ret->escaped)
		at = escaped_end(at, s->end);
	if (!at || at >= s->end || *at != '"')
		return bad(s, -EINVAL);
	ret->len = (size_t)(at - ret->s);
	s->at = at + 1;
	return true;
}

static size_t put_utf8(char *dst, unsigned long c)
{
	if (c < 0x80) {
		dst[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		dst[0] = (char)(0xc0 | c >> 6);
		dst[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		dst[0] = (char)(0xe0 | c >> 12);
		dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
		dst[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	dst[0] = (char)(0xf0 | c >> 18);
	dst[1] = (char)(0x80 | (c >> 12 & 0x3f));
	dst[2] = (char)(0x80 | (c >> 6 & 0x3f));
	dst[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Writes the character of the escape at *at to dst; never longer than the escape. */
static size_t undo_escape(const char **at, const char *end, char *dst)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *s = *at, *short_one;
	long c = unit(s, end), low;

	if (c < 0) {
		*at += 2;
		short_one = memchr(from, s[1], sizeof(from) - 1);
		*dst = short_one ? to[short_one - from] : s[1];
		return 1;
	}
	*at += 6;
	if (!c) {
		memcpy(dst, JSON_NUL, 2);
		return 2;
	}
	if (c < 0xd800 || c > 0xdfff)
		return put_utf8(dst, (unsigned long)c);
	low = unit(*at, end);
	/* Half of a pair: in three bytes, as any other character of its size. */
	if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return put_utf8(dst, (unsigned long)c);
	*at += 6;
	return put_utf8(dst, 0x10000UL + (((unsigned long)c & 0x3ff) << 10 | (low & 0x3ff)));
}

size_t json_slice_copy(const struct json_slice *slice, char *dst)
{
	const char *at = slice->s, *end = at + slice->len, *next;
	char *to = dst;

	while (slice->escaped && (next = memchr(at, '\\', (size_t)(end - at))) != NULL) {
		memcpy(to, at, (size_t)(next - at));
		to += next - at;
		at = next;
		to += undo_escape(&at, end, to);
	}
	memcpy(to, at, (size_t)(end - at));
	to += end - at;
	*to = '\0';
	return (size_t)(to - dst);
}

bool json_slice_is(const struct json_slice *slice, const char *word, size_t len)
{
	char plain[6 * WORD_MAX + 1];

	if (!slice->escaped)
		return slice->len == len && !memcmp(slice->s, word, len);
	/* A character takes six bytes at most, so a longer slice is another word. */
	return slice->len < sizeof(plain) && json_slice_copy(slice, plain) == len &&
	       !memcmp(plain, word, len);
}

/* ---- numbers ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool in_number(char c)
{
	return is_digit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* text: only the number, ended by a NUL. */
static bool convert(const char *text, struct json_value *ret)
{
	char *end;
	double d = strtod(text, &end);

	if (end == text || *end)
		return false;
	ret->number = d;
	ret->is_integer = d >= -INT_MAX_D && d <= INT_MAX_D && d == floor(d);
	if (ret->is_integer)
		ret->integer = (int64_t)d;
	return true;
}

/* Reads every number but a short integer. */
static bool read_odd_number(struct json_scan *s, struct json_value *ret)
{
	char room[NUMBER_ROOM], *copy = room;
	size_t len = 0;
	bool ok;

	while (s->at + len < s->end && in_number(s->at[len]))
		len++;
	if (len >= sizeof(room))
		copy = malloc(len + 1);
	if (!copy)
		return bad(s, -ENOMEM);
	memcpy(copy, s->at, len);
	copy[len] = '\0';
	ok = convert(copy, ret);
	if (copy != room)
		free(copy);
	s->at += len;
	return ok || bad(s, -EINVAL);
}

static bool read_number(struct json_scan *s, struct json_value *ret)
{
	const char *at = s->at;
	int64_t n = 0;

	while (at < s->end && is_digit(*at) && at - s->at < DIGITS_MAX)
		n = 10 * n + (*at++ - '0');
	if (at == s->at || (at < s->end && in_number(*at)))
		return read_odd_number(s, ret);
	s->at = at;
	ret->is_integer = true;
	ret->integer = n;
	ret->number = (double)n;
	return true;
}

/* ---- the rest ---- */

static bool read_word(struct json_scan *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len))
		return bad(s, -EINVAL);
	s->at += len;
	return true;
}

bool json_scan_open(struct json_scan *s, char bracket)
{
	if (look(s) != bracket)
		return false;
	if (s->depth >= JSON_DEPTH_MAX)
		return bad(s, -EMSGSIZE);
	s->depth++;
	s->at++;
	s->fresh = true;
	return count_node(s);
}

/* Returns false at the end of the container, or if it is malformed. */
static bool next_member(struct json_scan *s, char close)
{
	char c = look(s);

	if (c == close) {
		s->at++;
		s->depth--;
		s->fresh = false;
		return false;
	}
	if (s->fresh) {
		s->fresh = false;
		return c || bad(s, -EINVAL);
	}
	if (c != ',')
		return bad(s, -EINVAL);
	s->at++;
	return count_node(s);
}

bool json_scan_item(struct json_scan *s)
{
	return next_member(s, ']');
}

bool json_scan_key(struct json_scan *s, struct json_slice *ret)
{
	if (!next_member(s, '}'))
		return false;
	if (look(s) != '"')
		return bad(s, -EINVAL);
	if (!read_string(s, ret))
		return false;
	if (look(s) != ':')
		return bad(s, -EINVAL);
	s->at++;
	return true;
}

/* The depth is bounded by JSON_DEPTH_MAX. */
static bool pass_over(struct json_scan *s, char bracket)
{
	struct json_slice key;
	struct json_value v;

	if (!json_scan_open(s, bracket))
		return false;
	while (bracket == '{' ? json_scan_key(s, &key) : json_scan_item(s))
		json_scan_value(s, &v);
	return !s->err;
}

void json_scan_value(struct json_scan *s, struct json_value *ret)
{
	enum json_kind kind;
	char c = look(s);
	bool ok;

	ret->is_integer = false;
	switch (c) {
	case '"':
		kind = JSON_STRING;
		ok = read_string(s, &ret->str);
		break;
	case '{':
	case '[':
		kind = c == '{' ? JSON_OBJECT : JSON_ARRAY;
		ok = pass_over(s, c);
		break;
	case 'n':
		kind = JSON_NULL;
		ok = read_word(s, "null");
		break;
	case 't':
		kind = JSON_TRUE;
		ok = read_word(s, "true");
		break;
	case 'f':
		kind = JSON_FALSE;
		ok = read_word(s, "false");
		break;
	default:
		kind = JSON_NUMBER;
		ok = (c == '-' || is_digit(c)) ? read_number(s, ret) : bad(s, -EINVAL);
	}
	ret->kind = ok ? kind : JSON_NONE;
}

int json_scan_end(struct json_scan *s)
{
	while (!s->err && s->at < s->end) {
		if (!*s->at || !strchr(" \t\r\n", *s->at))
			bad(s, -EINVAL);
		else
			s->at++;
	}
	if (!s->err && s->depth)
		s->err = -EINVAL;
	return s->err;
}
