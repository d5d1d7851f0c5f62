#include "fs/tree/names.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "net/base/json.h"

#define ENDING_MAX 16  /* bytes of an ending to keep, with its dot */
#define ID_MAX 127     /* bytes of a File id to show, encoded */
#define ID_HASH_LEN 17 /* of a longer one: a dot and 16 digits */
#define TEMP_LEN 6     /* random characters at the end of rsync's temporary names */

const char *const names_purposes[] = { "assistants", "batch",  "evals", "fine-tune",
				       "user_data",  "vision", NULL };

/* Names at the root beside the directories of purposes, and at the root of purpose=P. */
static const char *const reserved[] = { ".by-id", ".uploadfs", NULL };

static bool is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/*
 * Return the length of the character at s, 1 to 4 bytes. 0: not allowed in a name: control
 * characters (C0, DEL, C1), or not UTF-8 (stray and missing continuation bytes, overlong forms,
 * surrogates, above U+10FFFF).
 */
static size_t char_len(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0xa0, 0x800, 0x10000 };
	uint32_t c;
	size_t len, i;

	if (s[0] < 0x80)
		return s[0] < 0x20 || s[0] == 0x7f ? 0 : 1;
	len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc0 || s[0] > 0xf4)
		return 0;
	c = s[0] & (0x7fu >> len);
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0; /* also at the end of the string */
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

static void put_encoded(struct buf *b, unsigned char c)
{
	buf_addf(b, "%%%02X", c);
}

/*
 * Count the leading bytes at s that are printable ASCII but '/': nearly every name has no others.
 */
static size_t plain_len(const unsigned char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n] >= 0x20 && s[n] < 0x7f && s[n] != '/')
		n++;
	return n;
}

/* Append len bytes of text; encode every '/' and all that no name may hold. */
static void put_text(struct buf *b, const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + len;
	size_t n;

	while (s < end) {
		n = plain_len(s, (size_t)(end - s));
		if (n) {
			buf_add(b, s, n);
			s += n;
			continue;
		}
		n = char_len(s);
		if (end - s >= 2 && !memcmp(s, JSON_NUL, 2)) {
			put_encoded(b, '\0');
			s += 2;
			continue;
		}
		if (!n || *s == '/') {
			put_encoded(b, *s++);
			continue;
		}
		buf_add(b, s, n);
		s += n;
	}
}

/* Encode the dots of a name that has another meaning in a directory. */
static void unmask_dots(struct buf *b, bool top)
{
	const char *name = buf_str(b);
	bool special = !strcmp(name, ".") || !strcmp(name, "..");
	char copy[32];
	size_t i;

	for (i = 0; top && reserved[i]; i++)
		special = special || !strcmp(name, reserved[i]);
	if (!special || b->len >= sizeof(copy))
		return;
	snprintf(copy, sizeof(copy), "%s", name);
	buf_reset(b);
	for (i = 0; copy[i] == '.'; i++)
		put_encoded(b, '.');
	buf_adds(b, copy + i);
}

/*
 * Return the length of the longest beginning of at most max bytes that splits no character and no
 * %XX.
 */
static size_t cut_at_border(const char *s, size_t len, size_t max)
{
	size_t i;

	if (len <= max)
		return len;
	len = max;
	while (len && ((unsigned char)s[len] & 0xc0) == 0x80)
		len--;
	for (i = 1; i <= 2 && i <= len; i++) {
		if (s[len - i] == '%')
			return len - i;
	}
	return len;
}

/* Return ".jsonl" of "train.jsonl"; "" if there is no ending, or a long or odd one. */
static const char *ending(const char *name)
{
	const char *dot = strrchr(name, '.'), *s;

	if (!dot || dot == name || !dot[1] || strlen(dot) > ENDING_MAX)
		return "";
	for (s = dot + 1; *s; s++) {
		if (!is_alnum((unsigned char)*s) && *s != '_' && *s != '-')
			return "";
	}
	return dot;
}

/* FNV-1a: ids that are cut are told apart, the same way in each process. */
static uint64_t id_hash(const char *file_id)
{
	uint64_t h = 0xcbf29ce484222325U;

	for (; *file_id; file_id++)
		h = (h ^ (unsigned char)*file_id) * 0x100000001b3U;
	return h;
}

/* Append file_id to at, at most room bytes, encoded. False: it is cut, before a character. */
static bool put_id(const char *file_id, char *at, size_t room)
{
	for (; *file_id; file_id++) {
		unsigned char c = (unsigned char)*file_id;
		bool plain = is_alnum(c) || strchr("._-", c);
		size_t n = plain ? 1 : 3;

		if (n > room)
			break;
		room -= n;
		if (plain)
			*at = (char)c;
		else
			snprintf(at, 4, "%%%02X", c);
		at += n;
		*at = '\0';
	}
	return !*file_id;
}

/* Write "~FILE_ID", encoded: at most ID_MAX + 1 bytes. The end of a long id gives way to a hash. */
static void id_mark(const char *file_id, char ret[ID_MAX + 4])
{
	size_t len;

	memcpy(ret, "~", 2);
	if (put_id(file_id, ret + 1, ID_MAX))
		return;
	ret[1] = '\0';
	put_id(file_id, ret + 1, ID_MAX - ID_HASH_LEN);
	len = strlen(ret);
	snprintf(ret + len, ID_MAX + 4 - len, ".%016llx", (unsigned long long)id_hash(file_id));
}

void names_id(const char *file_id, char ret[NAMES_MAX + 1])
{
	char mark[ID_MAX + 4];

	id_mark(file_id, mark);
	snprintf(ret, NAMES_MAX + 1, "%s%s", mark[1] == '.' ? "%2E" : "",
		 mark + (mark[1] == '.' ? 2 : 1));
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

void names_id_decode(const char *name, char *ret)
{
	int high, low;

	for (; *name; name++) {
		high = name[0] == '%' ? hex_digit(name[1]) : -1;
		low = high >= 0 ? hex_digit(name[2]) : -1;
		if (low >= 0 && (high || low)) {
			*ret++ = (char)(high * 16 + low);
			name += 2;
		} else {
			*ret++ = *name;
		}
	}
	*ret = '\0';
}

/* Append BEGINNING~ID.ending, at most NAMES_MAX bytes. */
static void put_cut(struct buf *out, const char *name, size_t len, const char *file_id,
		    const char *end)
{
	char mark[ID_MAX + 4];

	id_mark(file_id, mark);
	buf_add(out, name, cut_at_border(name, len, NAMES_MAX - strlen(mark) - strlen(end)));
	buf_adds(out, mark);
	buf_adds(out, end);
}

struct walk {
	const char *filename, *file_id;
	const char *at;	 /* rest of filename still to show */
	unsigned depth;	 /* components done */
	struct buf part; /* the component at hand, encoded */
};

/* Put the next component into part; slashes before it and at the very end belong to it. */
static void next_part(struct walk *w)
{
	size_t slashes = strspn(w->at, "/");
	size_t len = strcspn(w->at + slashes, "/");
	const char *next = w->at + slashes + len;

	if (w->depth >= NAMES_DEPTH_MAX || !next[strspn(next, "/")])
		len = strlen(w->at); /* the last one */
	else
		len += slashes;
	buf_reset(&w->part);
	put_text(&w->part, w->at, len);
	unmask_dots(&w->part, w->depth == 0);
	w->at += len;
	if (*w->at == '/')
		w->at++;
	w->depth++;
}

/* Append all components to out. */
static int put_path(struct walk *w, struct buf *out)
{
	const char *name = strrchr(w->filename, '/');
	size_t shown;
	bool last;

	name = name ? name + 1 : w->filename;
	do {
		next_part(w);
		if (w->part.err)
			return w->part.err;
		last = !*w->at;
		if (out->len)
			buf_addc(out, '/');
		/* Each component leaves room for one more that ends the path with the id. */
		shown = w->part.len < NAMES_MAX ? w->part.len : NAMES_MAX;
		if (!last && out->len + shown + 1 + NAMES_MAX > NAMES_PATH_MAX) {
			put_cut(out, buf_str(&w->part), w->part.len, w->file_id, ending(name));
			last = true;
		} else if (w->part.len > NAMES_MAX) {
			put_cut(out, buf_str(&w->part), w->part.len, w->file_id,
				ending(buf_str(&w->part)));
		} else {
			buf_add(out, buf_str(&w->part), w->part.len);
		}
	} while (!last && !out->err);
	return out->err;
}

int names_path(const char *filename, const char *file_id, struct buf *ret)
{
	struct walk w = { .filename = filename, .file_id = file_id, .at = filename };
	struct buf out;
	int rc;

	buf_init(&out, NAMES_PATH_MAX);
	buf_init(&w.part, 3 * strlen(filename));
	if (!*filename)
		rc = buf_adds(&out, "%");
	else
		rc = put_path(&w, &out);
	if (!rc)
		rc = buf_add(ret, out.data, out.len);
	buf_release(&out);
	buf_release(&w.part);
	return rc;
}

size_t names_plain(const char *filename)
{
	const unsigned char *s = (const unsigned char *)filename;
	size_t len;

	if (*s == '.')
		return 0;
	len = plain_len(s, NAMES_MAX);
	return s[len] ? 0 : len;
}

void names_duplicate(const char *name, const char *file_id, char ret[NAMES_MAX + 1])
{
	char mark[ID_MAX + 4];
	size_t len;

	id_mark(file_id, mark);
	len = cut_at_border(name, strlen(name), NAMES_MAX - strlen(mark));
	snprintf(ret, NAMES_MAX + 1, "%.*s%s", (int)len, name, mark);
}

bool names_temporary(const char *name, char ret[NAMES_MAX + 1])
{
	size_t len = strlen(name), i;

	if (len < 1 + 1 + 1 + TEMP_LEN || len > NAMES_MAX || name[0] != '.' ||
	    name[len - TEMP_LEN - 1] != '.')
		return false;
	for (i = len - TEMP_LEN; i < len; i++) {
		if (!is_alnum((unsigned char)name[i]))
			return false;
	}
	len -= 1 + 1 + TEMP_LEN;
	if (name[1] == '.' && (len == 1 || (len == 2 && name[2] == '.')))
		return false; /* "." and "..": never names of files */
	memcpy(ret, name + 1, len);
	ret[len] = '\0';
	return true;
}

int names_check_new(const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	size_t n;

	if (!*s || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	if (strlen(name) > NAMES_MAX)
		return -ENAMETOOLONG;
	for (; *s; s += n) {
		n = char_len(s);
		if (!n || *s == '/')
			return -EINVAL;
	}
	return 0;
}

bool names_purpose_writable(const char *purpose)
{
	size_t i;

	for (i = 0; names_purposes[i]; i++) {
		if (!strcmp(purpose, names_purposes[i]))
			return true;
	}
	return false;
}

void names_purpose_dir(const char *purpose, char ret[NAMES_MAX + 1])
{
	struct buf b;
	size_t len;

	buf_init(&b, 3 * NAMES_MAX);
	put_text(&b, purpose, strnlen(purpose, NAMES_MAX));
	unmask_dots(&b, true);
	len = cut_at_border(buf_str(&b), b.len, NAMES_MAX);
	/* Without memory show an empty purpose: read-only, and never outside. */
	snprintf(ret, NAMES_MAX + 1, "%.*s", len ? (int)len : 1, len ? b.data : "%");
	buf_release(&b);
}
