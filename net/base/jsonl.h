/*
 * jsonl: a check of JSON Lines, byte by byte as they come: each line is one JSON object.
 *
 * The text is JSON by RFC 8259, to the letter, in UTF-8: no control characters in strings, no
 * leading zeros, no trailing commas, no words but true, false and null. A line ends with LF or CR
 * LF, the last one also with the end of the text. A blank line is refused. A byte order mark may
 * stand first. Brackets are nested JSONL_DEPTH_MAX deep at most. Names of members may stand twice,
 * and escapes may name half of a surrogate pair: the grammar allows both.
 *
 * struct jsonl has a fixed size and no pointers, whatever the length of a line: an assignment
 * copies it, so that a check can go on from a former place. One thread at a time; never blocks, but
 * jsonl_check().
 */
#ifndef UPLOADFS_NET_BASE_JSONL_H
#define UPLOADFS_NET_BASE_JSONL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSONL_DEPTH_MAX 512
#define JSONL_TEXT_SIZE 128 /* bytes of jsonl_text() at most, with its NUL */

struct jsonl {
	uint64_t fed;				/* bytes so far */
	uint64_t line;				/* from 1 */
	uint64_t line_start;			/* its offset */
	uint64_t objects[JSONL_DEPTH_MAX / 64]; /* bit d: the bracket at depth d is a brace */
	uint16_t depth;
	uint8_t state, fault;
	uint8_t left;	   /* bytes still to come of a character, an escape or a word */
	uint8_t low, high; /* the next byte of a character lies between them */
	uint8_t word;
	bool key;	   /* the string is the name of a member */
	uint8_t byte;	   /* the first bad byte, after a fault */
	uint64_t fault_at; /* its offset */
};

void jsonl_init(struct jsonl *j);
/* Check the next len bytes. After a fault nothing is looked at any more. */
void jsonl_feed(struct jsonl *j, const void *bytes, size_t len);
/* The text ends here. True if it is good; a text without a byte is. */
bool jsonl_end(struct jsonl *j);
/* True if a byte was bad. */
bool jsonl_is_bad(const struct jsonl *j);
/* The fault in words: "line 3: ...". "" without one. Returns ret. */
const char *jsonl_text(const struct jsonl *j, char ret[JSONL_TEXT_SIZE]);

/*
 * Check what read() gives from fd on to its end. 0; -EINVAL: ret_text tells the fault; another
 * negative errno of read(). Blocks.
 */
int jsonl_check(int fd, char ret_text[JSONL_TEXT_SIZE]);

#endif
