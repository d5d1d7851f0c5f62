/* A record as text, and back. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stage/record_impl.h"
#include "net/base/digest.h"

#define RECORD_MAGIC "uploadfs-record 1\n"

static const char *const state_names[] = {
	[RECORD_WRITING] = "writing",	  [RECORD_HELD] = "held",
	[RECORD_SEALED] = "sealed",	  [RECORD_COMPLETING] = "completing",
	[RECORD_COMPLETED] = "completed", [RECORD_FAILED] = "failed",
	[RECORD_ABORTED] = "aborted",	  [RECORD_EMPTY] = "empty",
	[RECORD_REMOVED] = "removed",
};
#define STATE_COUNT (sizeof(state_names) / sizeof(state_names[0]))

enum field_kind { F_STRING, F_UNSIGNED64, F_UNSIGNED32, F_SIGNED64, F_INT };

/* The keys that stand once. "state", "part", "superseded" and "abandoned" are handled apart. */
static const struct field {
	const char *key;
	size_t offset;
	enum field_kind kind;
	bool required;
} fields[] = {
#define FIELD(name, kind, required) #name, offsetof(struct record, name), kind, required
	{ FIELD(purpose, F_STRING, true) },
	{ FIELD(path, F_STRING, true) },
	{ FIELD(filename, F_STRING, false) },
	{ FIELD(mime_type, F_STRING, false) },
	{ FIELD(size, F_UNSIGNED64, true) },
	{ FIELD(part_size, F_UNSIGNED64, true) },
	{ FIELD(part_block, F_UNSIGNED64, false) },
	{ FIELD(declared, F_UNSIGNED64, false) },
	{ FIELD(expires_after, F_UNSIGNED64, false) },
	{ FIELD(upload_id, F_STRING, false) },
	{ FIELD(upload_bytes, F_UNSIGNED64, false) },
	{ FIELD(upload_created, F_SIGNED64, false) },
	{ FIELD(upload_created_at, F_SIGNED64, false) },
	{ FIELD(md5, F_STRING, false) },
	{ FIELD(file_id, F_STRING, false) },
	{ FIELD(err, F_INT, false) },
	{ FIELD(error, F_STRING, false) },
	{ FIELD(request_id, F_STRING, false) },
	{ FIELD(in_doubt, F_UNSIGNED32, false) },
	{ FIELD(mode, F_UNSIGNED32, false) },
	{ FIELD(uid, F_UNSIGNED32, false) },
	{ FIELD(gid, F_UNSIGNED32, false) },
	{ FIELD(mtime_s, F_SIGNED64, false) },
	{ FIELD(mtime_ns, F_UNSIGNED32, false) },
	{ FIELD(created_s, F_SIGNED64, false) },
	{ FIELD(serial, F_UNSIGNED64, false) },
#undef FIELD
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

void record_init(struct record *r)
{
	memset(r, 0, sizeof(*r));
}

void record_release(struct record *r)
{
	size_t i;

	for (i = 0; i < FIELD_COUNT; i++)
		if (fields[i].kind == F_STRING)
			free(*(char **)((char *)r + fields[i].offset));
	for (i = 0; i < r->part_count; i++)
		free(r->parts[i].id);
	free(r->parts);
	for (i = 0; i < r->superseded_count; i++)
		free(r->superseded[i]);
	free(r->superseded);
	for (i = 0; i < r->abandoned_count; i++)
		free(r->abandoned[i]);
	free(r->abandoned);
	record_init(r);
}

/* A value on one line of plain ASCII, whatever bytes it is made of. */
static void put_encoded(struct buf *b, const char *s)
{
	size_t plain;

	while (*s) {
		for (plain = 0; s[plain] > ' ' && s[plain] < 0x7f && s[plain] != '%'; plain++)
			;
		buf_add(b, s, plain);
		s += plain;
		if (*s)
			buf_addf(b, "%%%02X", (unsigned char)*s++);
	}
}

static void put_string(struct buf *b, const char *key, const char *value)
{
	buf_addf(b, "%s ", key);
	put_encoded(b, value);
	buf_addc(b, '\n');
}

static void put_field(struct buf *b, const struct field *f, const struct record *r)
{
	const char *at = (const char *)r + f->offset;
	const char *s;

	switch (f->kind) {
	case F_STRING:
		s = *(char *const *)at;
		if (s)
			put_string(b, f->key, s);
		break;
	case F_UNSIGNED64:
		buf_addf(b, "%s %llu\n", f->key, (unsigned long long)*(const uint64_t *)at);
		break;
	case F_UNSIGNED32:
		buf_addf(b, "%s %lu\n", f->key, (unsigned long)*(const uint32_t *)at);
		break;
	case F_SIGNED64:
		buf_addf(b, "%s %lld\n", f->key, (long long)*(const int64_t *)at);
		break;
	case F_INT:
		buf_addf(b, "%s %d\n", f->key, *(const int *)at);
		break;
	}
}

/* The last line: the MD5 of data. */
static int format_seal(const char *data, size_t len, struct buf *out)
{
	char hex[DIGEST_HEX_SIZE];
	struct digest *d = digest_new();
	int rc;

	if (!d)
		return -ENOMEM;
	rc = digest_update(d, data, len);
	if (!rc)
		rc = digest_hex(d, hex);
	digest_free(d);
	return rc ? rc : buf_addf(out, "seal %s\n", hex);
}

int record_format(const struct record *r, struct buf *b)
{
	size_t i;

	if ((unsigned)r->state >= STATE_COUNT || !r->purpose || !r->path)
		return -EINVAL;
	buf_adds(b, RECORD_MAGIC);
	buf_addf(b, "state %s\n", state_names[r->state]);
	for (i = 0; i < FIELD_COUNT; i++)
		put_field(b, &fields[i], r);
	for (i = 0; i < r->part_count; i++) {
		buf_addf(b, "part %lu ", (unsigned long)r->parts[i].index);
		put_encoded(b, r->parts[i].id);
		buf_addc(b, '\n');
	}
	for (i = 0; i < r->superseded_count; i++)
		put_string(b, "superseded", r->superseded[i]);
	for (i = 0; i < r->abandoned_count; i++)
		put_string(b, "abandoned", r->abandoned[i]);
	if (b->err)
		return b->err;
	return format_seal(b->data, b->len, b);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_string(const char *s, char **ret)
{
	char *out = malloc(strlen(s) + 1), *to = out;
	int hi, lo;

	if (!out)
		return -ENOMEM;
	for (; *s; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		hi = hex_value(s[1]);
		lo = hi < 0 ? -1 : hex_value(s[2]);
		/* A NUL would cut the value short for everyone who reads it. */
		if (lo < 0 || (!hi && !lo)) {
			free(out);
			return -EBADMSG;
		}
		*to++ = (char)(hi * 16 + lo);
		s += 2;
	}
	*to = '\0';
	*ret = out;
	return 0;
}

static int parse_unsigned(const char *s, uint64_t max, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (*s < '0' || *s > '9')
		return -EBADMSG;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || *end || v > max)
		return -EBADMSG;
	*ret = v;
	return 0;
}

static int parse_signed(const char *s, int64_t *ret)
{
	uint64_t max = INT64_MAX, v;
	bool minus = *s == '-';
	int rc;

	rc = parse_unsigned(s + minus, minus ? max + 1 : max, &v);
	if (rc)
		return rc;
	*ret = minus ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

static int parse_field(const struct field *f, const char *value, struct record *r)
{
	char *at = (char *)r + f->offset;
	uint64_t u = 0;
	int64_t i = 0;
	int rc;

	switch (f->kind) {
	case F_STRING:
		return parse_string(value, (char **)at);
	case F_UNSIGNED64:
		return parse_unsigned(value, UINT64_MAX, (uint64_t *)at);
	case F_UNSIGNED32:
		rc = parse_unsigned(value, UINT32_MAX, &u);
		if (!rc)
			*(uint32_t *)at = (uint32_t)u;
		return rc;
	case F_SIGNED64:
		return parse_signed(value, (int64_t *)at);
	case F_INT:
		rc = parse_signed(value, &i);
		if (!rc && (i < INT_MIN || i > INT_MAX))
			rc = -EBADMSG;
		if (!rc)
			*(int *)at = (int)i;
		return rc;
	}
	return -EBADMSG;
}

static int parse_state(const char *value, struct record *r)
{
	size_t i;

	for (i = 0; i < STATE_COUNT; i++) {
		if (!strcmp(value, state_names[i])) {
			r->state = (enum record_state)i;
			return 0;
		}
	}
	return -EBADMSG;
}

/* v with room for one more than its n elements, or NULL; the capacity follows from n. */
static void *grow(void *v, size_t n, size_t size)
{
	return n & (n - 1) ? v : realloc(v, (n ? n * 2 : 1) * size);
}

/* "INDEX ID" */
static int parse_part(char *value, struct record *r)
{
	char *id = strchr(value, ' ');
	struct record_part *parts;
	uint64_t index;
	int rc;

	if (!id)
		return -EBADMSG;
	*id++ = '\0';
	rc = parse_unsigned(value, UINT32_MAX, &index);
	if (rc)
		return rc;
	parts = grow(r->parts, r->part_count, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	r->parts = parts;
	rc = parse_string(id, &parts[r->part_count].id);
	if (!rc)
		parts[r->part_count++].index = (uint32_t)index;
	return rc;
}

/* One more of a list of ids. */
static int parse_listed(const char *value, char ***list, size_t *count)
{
	char **ids = grow(*list, *count, sizeof(*ids));
	int rc;

	if (!ids)
		return -ENOMEM;
	*list = ids;
	rc = parse_string(value, &ids[*count]);
	if (!rc)
		(*count)++;
	return rc;
}

#define SEEN_STATE (1ULL << FIELD_COUNT)
_Static_assert(FIELD_COUNT < 63, "one bit of seen for each field, and one for the state");

static int parse_line(char *line, struct record *r, uint64_t *seen)
{
	char *value = strchr(line, ' ');
	uint64_t bit;
	size_t i;

	if (!value)
		return -EBADMSG;
	*value++ = '\0';
	if (!strcmp(line, "part"))
		return parse_part(value, r);
	if (!strcmp(line, "superseded"))
		return parse_listed(value, &r->superseded, &r->superseded_count);
	if (!strcmp(line, "abandoned"))
		return parse_listed(value, &r->abandoned, &r->abandoned_count);
	for (i = 0; i < FIELD_COUNT && strcmp(line, fields[i].key); i++)
		;
	/* A key of a later version: not ours to understand. */
	if (i == FIELD_COUNT && strcmp(line, "state"))
		return 0;
	bit = 1ULL << i;
	if (*seen & bit)
		return -EBADMSG;
	*seen |= bit;
	return bit == SEEN_STATE ? parse_state(value, r) : parse_field(&fields[i], value, r);
}

/* The lines of text, each ended by '\n'; text is taken apart. */
static int parse_lines(char *text, struct record *r)
{
	uint64_t seen = 0;
	char *line, *end;
	size_t i;
	int rc;

	for (line = text; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			return -EBADMSG;
		*end = '\0';
		rc = parse_line(line, r, &seen);
		if (rc)
			return rc;
	}
	if (!(seen & SEEN_STATE))
		return -EBADMSG;
	for (i = 0; i < FIELD_COUNT; i++)
		if (fields[i].required && !(seen & (1ULL << i)))
			return -EBADMSG;
	return 0;
}

/* Checks the first and the last line; on success the last is cut off. */
static int check_frame(struct buf *b)
{
	const size_t seal_len = strlen("seal \n") + DIGEST_HEX_SIZE - 1;
	size_t magic_len = strlen(RECORD_MAGIC), body;
	struct buf seal;
	int rc;

	if (b->len < magic_len + seal_len || memcmp(b->data, RECORD_MAGIC, magic_len))
		return -EBADMSG;
	body = b->len - seal_len;
	buf_init(&seal, seal_len);
	rc = format_seal(b->data, body, &seal);
	if (!rc && memcmp(seal.data, b->data + body, seal_len))
		rc = -EBADMSG;
	buf_release(&seal);
	if (rc)
		return rc;
	b->data[body] = '\0';
	b->len = body;
	return strlen(b->data) == body ? 0 : -EBADMSG;
}

int record_parse(struct buf *b, struct record *ret)
{
	struct record r;
	int rc = check_frame(b);

	record_init(&r);
	if (!rc)
		rc = parse_lines(b->data + strlen(RECORD_MAGIC), &r);
	if (rc)
		record_release(&r);
	else
		*ret = r;
	return rc;
}
