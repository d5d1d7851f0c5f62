#include "net/base/jsonl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/base/json_chars.h"

#define READ_SIZE (64U << 10)

enum state {
	LINE,	   /* before the object of a line */
	AFTER,	   /* behind it */
	FIRST_KEY, /* behind a brace */
	KEY,	   /* behind a comma of an object */
	COLON,
	VALUE,
	FIRST_ITEM, /* behind an opening bracket of an array */
	NEXT,	    /* behind a value */
	STRING,
	ESCAPE, /* behind a backslash */
	HEX,
	UTF8, /* within a character of several bytes */
	WORD,
	MINUS, /* the parts of a number; the first byte of each but the last may end it or not: */
	ZERO,
	INTEGER,
	POINT,
	FRACTION,
	EXPONENT,
	EXPONENT_SIGN,
	EXPONENT_DIGITS,
	MARK /* within the byte order mark */
};

enum fault {
	GOOD,
	BLANK,
	NO_OBJECT,
	CUT,
	CONTROL,
	NOT_UTF8,
	BAD_ESCAPE,
	TOO_DEEP,
	BEHIND,
	UNEXPECTED,
};

static const char *const words[] = { "true", "false", "null" };
static const unsigned char mark[] = { 0xef, 0xbb, 0xbf };

void jsonl_init(struct jsonl *j)
{
	memset(j, 0, sizeof(*j));
	j->line = 1;
}

bool jsonl_is_bad(const struct jsonl *j)
{
	return j->fault != GOOD;
}

static bool bad(struct jsonl *j, enum fault fault)
{
	j->fault = (uint8_t)fault;
	return false;
}

static bool go(struct jsonl *j, enum state state)
{
	j->state = (uint8_t)state;
	return true;
}

static bool in_object(const struct jsonl *j)
{
	unsigned d = j->depth - 1U;

	return j->objects[d / 64] >> d % 64 & 1;
}

static bool push(struct jsonl *j, bool object)
{
	unsigned d = j->depth;

	if (d == JSONL_DEPTH_MAX)
		return bad(j, TOO_DEEP);
	j->objects[d / 64] &= ~(1ULL << d % 64);
	j->objects[d / 64] |= (uint64_t)object << d % 64;
	j->depth++;
	return go(j, object ? FIRST_KEY : FIRST_ITEM);
}

static bool pop(struct jsonl *j)
{
	j->depth--;
	return go(j, j->depth ? NEXT : AFTER);
}

static bool begin_string(struct jsonl *j, bool key)
{
	j->key = key;
	return go(j, STRING);
}

static bool begin_word(struct jsonl *j, unsigned word)
{
	j->word = (uint8_t)word;
	j->left = (uint8_t)(strlen(words[word]) - 1);
	return go(j, WORD);
}

static bool begin_value(struct jsonl *j, unsigned char c)
{
	switch (c) {
	case '"':
		return begin_string(j, false);
	case '{':
		return push(j, true);
	case '[':
		return push(j, false);
	case 't':
		return begin_word(j, 0);
	case 'f':
		return begin_word(j, 1);
	case 'n':
		return begin_word(j, 2);
	case '-':
		return go(j, MINUS);
	case '0':
		return go(j, ZERO);
	default:
		return c >= '1' && c <= '9' ? go(j, INTEGER) : bad(j, UNEXPECTED);
	}
}

static bool next(struct jsonl *j, unsigned char c)
{
	bool object = in_object(j);

	if (c == ',')
		return go(j, object ? KEY : VALUE);
	if (c == (object ? '}' : ']'))
		return pop(j);
	return bad(j, UNEXPECTED);
}

/* A line ended at offset at. */
static bool end_line(struct jsonl *j, uint64_t at)
{
	if (j->state == LINE)
		return bad(j, BLANK);
	if (j->state != AFTER)
		return bad(j, CUT);
	j->line++;
	j->line_start = at + 1;
	return go(j, LINE);
}

/* c stands between tokens and is no white space. */
static bool token(struct jsonl *j, unsigned char c)
{
	switch ((enum state)j->state) {
	case LINE:
		return c == '{' ? push(j, true) : bad(j, NO_OBJECT);
	case AFTER:
		return bad(j, BEHIND);
	case FIRST_KEY:
		if (c == '}')
			return pop(j);
		/* fall through */
	case KEY:
		return c == '"' ? begin_string(j, true) : bad(j, UNEXPECTED);
	case COLON:
		return c == ':' ? go(j, VALUE) : bad(j, UNEXPECTED);
	case FIRST_ITEM:
		if (c == ']')
			return pop(j);
		/* fall through */
	case VALUE:
		return begin_value(j, c);
	default:
		return next(j, c);
	}
}

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* The state behind c in a number; NEXT: c is not of the number. MINUS: it can't stand there. */
static enum state number_state(enum state state, unsigned char c)
{
	bool digit = is_digit(c), e = c == 'e' || c == 'E';

	switch (state) {
	case MINUS:
		return c == '0' ? ZERO : digit ? INTEGER : MINUS;
	case ZERO:
		return c == '.' ? POINT : e ? EXPONENT : digit ? MINUS : NEXT;
	case INTEGER:
		return digit ? INTEGER : c == '.' ? POINT : e ? EXPONENT : NEXT;
	case POINT:
		return digit ? FRACTION : MINUS;
	case FRACTION:
		return digit ? FRACTION : e ? EXPONENT : NEXT;
	case EXPONENT:
		if (c == '+' || c == '-')
			return EXPONENT_SIGN;
		/* fall through */
	case EXPONENT_SIGN:
		return digit ? EXPONENT_DIGITS : MINUS;
	default:
		return digit ? EXPONENT_DIGITS : NEXT;
	}
}

static bool is_hex(unsigned char c)
{
	c |= is_digit(c) ? 0 : 0x20;
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* The first byte of a character of several bytes: RFC 3629, without overlong forms. */
static bool begin_character(struct jsonl *j, unsigned char c)
{
	j->low = 0x80;
	j->high = 0xbf;
	if (c >= 0xc2 && c <= 0xdf) {
		j->left = 1;
	} else if (c >= 0xe0 && c <= 0xef) {
		j->left = 2;
		j->low = c == 0xe0 ? 0xa0 : 0x80;
		j->high = c == 0xed ? 0x9f : 0xbf;
	} else if (c >= 0xf0 && c <= 0xf4) {
		j->left = 3;
		j->low = c == 0xf0 ? 0x90 : 0x80;
		j->high = c == 0xf4 ? 0x8f : 0xbf;
	} else {
		return bad(j, NOT_UTF8);
	}
	return go(j, UTF8);
}

static bool character(struct jsonl *j, unsigned char c)
{
	if (c < j->low || c > j->high)
		return bad(j, NOT_UTF8);
	j->low = 0x80;
	j->high = 0xbf;
	return --j->left || go(j, STRING);
}

/* A byte of a string that is no plain ASCII. */
static bool in_string(struct jsonl *j, unsigned char c)
{
	if (c == '"')
		return go(j, j->key ? COLON : NEXT);
	if (c == '\\')
		return go(j, ESCAPE);
	if (c >= 0x80)
		return begin_character(j, c);
	return bad(j, c == '\n' ? CUT : CONTROL);
}

static bool escape(struct jsonl *j, unsigned char c)
{
	if (c == 'u') {
		j->left = 4;
		return go(j, HEX);
	}
	if (c && strchr("\"\\/bfnrt", c))
		return go(j, STRING);
	return bad(j, c == '\n' ? CUT : BAD_ESCAPE);
}

static bool hex(struct jsonl *j, unsigned char c)
{
	if (!is_hex(c))
		return bad(j, c == '\n' ? CUT : BAD_ESCAPE);
	return --j->left || go(j, STRING);
}

static bool word(struct jsonl *j, unsigned char c)
{
	const char *w = words[j->word];

	if (c != (unsigned char)w[strlen(w) - j->left])
		return bad(j, c == '\n' ? CUT : UNEXPECTED);
	return --j->left || go(j, NEXT);
}

static bool byte_order_mark(struct jsonl *j, unsigned char c)
{
	if (c != mark[sizeof(mark) - j->left])
		return bad(j, NO_OBJECT);
	return --j->left || go(j, LINE);
}

/* Between tokens, at offset at. */
static bool between(struct jsonl *j, unsigned char c, uint64_t at)
{
	if (c == ' ' || c == '\t' || c == '\r')
		return true;
	if (c == '\n')
		return end_line(j, at);
	if (at == 0 && c == mark[0]) {
		j->left = sizeof(mark) - 1;
		return go(j, MARK);
	}
	return token(j, c);
}

static bool number(struct jsonl *j, unsigned char c, uint64_t at)
{
	enum state to = number_state((enum state)j->state, c);

	if (to == MINUS)
		return bad(j, c == '\n' ? CUT : UNEXPECTED);
	j->state = (uint8_t)to;
	return to != NEXT || between(j, c, at);
}

/* False: the byte is bad. */
static bool step(struct jsonl *j, unsigned char c, uint64_t at)
{
	switch ((enum state)j->state) {
	case STRING:
		return in_string(j, c);
	case ESCAPE:
		return escape(j, c);
	case HEX:
		return hex(j, c);
	case UTF8:
		return character(j, c);
	case WORD:
		return word(j, c);
	case MINUS:
	case ZERO:
	case INTEGER:
	case POINT:
	case FRACTION:
	case EXPONENT:
	case EXPONENT_SIGN:
	case EXPONENT_DIGITS:
		return number(j, c, at);
	case MARK:
		return byte_order_mark(j, c);
	default:
		return between(j, c, at);
	}
}

/*
 * Pass the plain characters of a string, and what most often follows it: its end, the colon behind
 * a name, the comma behind a value, the quote of the next string.
 */
static const unsigned char *pass_strings(struct jsonl *j, const unsigned char *p,
					 const unsigned char *end)
{
	bool key = j->key, object = in_object(j);

	for (;;) {
		p = json_plain_end(p, end, true);
		if (end - p < 4 || *p != '"' || (!key && p[1] != ','))
			break;
		if (key && p[1] != ':')
			break;
		key = !key && object;
		p += 2;
		p += *p == ' ';
		if (*p != '"') {
			j->key = key;
			j->state = key ? KEY : VALUE;
			return p;
		}
		p++;
	}
	j->key = key;
	return p;
}

void jsonl_feed(struct jsonl *j, const void *bytes, size_t len)
{
	const unsigned char *start = bytes, *p = start, *end = start + len;

	while (p < end && !j->fault) {
		if (j->state == STRING)
			p = pass_strings(j, p, end);
		if (p == end)
			break;
		if (!step(j, *p, j->fed + (uint64_t)(p - start))) {
			j->byte = *p;
			j->fault_at = j->fed + (uint64_t)(p - start);
		}
		p++;
	}
	j->fed += len;
}

bool jsonl_end(struct jsonl *j)
{
	if (j->fault)
		return false;
	j->fault_at = j->fed;
	/* The last LF, if there is one, has ended the last line. */
	if (j->state == AFTER || !j->fed || (j->state == LINE && j->fed == j->line_start))
		return true;
	return end_line(j, j->fed);
}

static const char *reason(const struct jsonl *j)
{
	switch ((enum fault)j->fault) {
	case BLANK:
		return "it is blank";
	case NO_OBJECT:
		return "it is no JSON object";
	case CUT:
		return "it ends within its JSON object";
	case CONTROL:
		return "a control character in a string";
	case NOT_UTF8:
		return "it is not UTF-8";
	case BAD_ESCAPE:
		return "a bad escape in a string";
	case TOO_DEEP:
		return "brackets are nested too deeply";
	case BEHIND:
		return "more than one JSON object";
	default:
		return "it is not JSON";
	}
}

const char *jsonl_text(const struct jsonl *j, char ret[JSONL_TEXT_SIZE])
{
	unsigned long long line = j->line, at = j->fault_at - j->line_start + 1;
	char seen[24] = "";

	*ret = '\0';
	if (!j->fault)
		return ret;
	if (j->fault == BLANK || j->fault == CUT)
		snprintf(ret, JSONL_TEXT_SIZE, "line %llu: %s", line, reason(j));
	else if (j->byte > ' ' && j->byte < 0x7f)
		snprintf(seen, sizeof(seen), "\"%c\"", j->byte);
	else
		snprintf(seen, sizeof(seen), "0x%02x", j->byte);
	if (*seen)
		snprintf(ret, JSONL_TEXT_SIZE, "line %llu: %s: %s at byte %llu", line, reason(j),
			 seen, at);
	return ret;
}

int jsonl_check(int fd, char ret_text[JSONL_TEXT_SIZE])
{
	unsigned char buf[READ_SIZE];
	struct jsonl j;
	ssize_t n;

	jsonl_init(&j);
	while ((n = read(fd, buf, sizeof(buf))) != 0 && !jsonl_is_bad(&j)) {
		if (n > 0)
			jsonl_feed(&j, buf, (size_t)n);
		else if (errno != EINTR)
			return -errno;
	}
	if (jsonl_end(&j))
		return 0;
	jsonl_text(&j, ret_text);
	return -EINVAL;
}
