/*
 * json_scan: reads a JSON text once, from front to back, and makes nothing of it in memory.
 *
 * For a list of many small objects, of which a tree (json.h) costs more than all that is
 * done with it afterwards. A text is taken or refused just as json_parse() does, but piece
 * by piece: only json_scan_end() says that all of it was good. Escapes that are no
 * character are handed out as there: a NUL as JSON_NUL, half of a surrogate pair in three bytes.
 *
 * The caller walks: json_scan_open() into an object or a list, json_scan_key() or
 * json_scan_item() for each of its members until false, and for each member
 * json_scan_value(), or json_scan_open() again. Errors stick: after one of them every
 * function says false or hands out nothing, so that one look at the end is enough.
 *
 * The text is the caller's, stays as it is, and must live as long as what was taken out of it.
 * No memory is allocated but for numbers of 64 characters and more. One thread at a time;
 * never blocks.
 */
#ifndef UPLOADFS_NET_BASE_JSON_SCAN_H
#define UPLOADFS_NET_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_scan {
	const char *at, *end;
	unsigned depth;
	size_t nodes; /* members and containers so far, bounded by JSON_NODES_MAX */
	bool fresh;   /* in a container, before its first member */
	int err;
};

enum json_kind {
	JSON_NONE, /* no value: none was read, or the text is bad */
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_OBJECT,
	JSON_ARRAY
};

/* A string as it stands in the text, between its quotes. */
struct json_slice {
	const char *s;
	size_t len;
	bool escaped; /* has escapes */
};

struct json_value {
	enum json_kind kind;
	struct json_slice str; /* of a string */
	double number;	       /* of a number */
	bool is_integer;       /* the number lies in [-2^53, 2^53] and has no fraction: */
	int64_t integer;
};

void json_scan_init(struct json_scan *s, const char *text, size_t len);

/*
 * Enters the next value if it begins with bracket ('{' or '['). False: the value begins otherwise
 * and stays unread, or it is nested too deeply and the text counts as bad from then on.
 */
bool json_scan_open(struct json_scan *s, char bracket);
/* Reads the key of the next member of an object. False: the object has ended and was passed. */
bool json_scan_key(struct json_scan *s, struct json_slice *ret);
/* Moves to the next item of a list. False: the list has ended and was passed. */
bool json_scan_item(struct json_scan *s);
/* Reads a value; checks and skips an object or a list. */
void json_scan_value(struct json_scan *s, struct json_value *ret);
/*
 * Ends the scan. 0 if only white space is left; -EINVAL, -EMSGSIZE (too deep, too many members),
 * -ENOMEM.
 */
int json_scan_end(struct json_scan *s);

/* Returns whether the slice equals word. ASCII, at most 32 bytes. */
bool json_slice_is(const struct json_slice *slice, const char *word, size_t len);
/*
 * Writes the slice without its escapes, and a NUL: at most slice->len + 1 bytes. Returns the number
 * of bytes before the NUL.
 */
size_t json_slice_copy(const struct json_slice *slice, char *dst);

#endif
