/*
 * json_chars: the end of the plain characters of a JSON string, sixteen at once.
 */
#ifndef UPLOADFS_NET_BASE_JSON_CHARS_H
#define UPLOADFS_NET_BASE_JSON_CHARS_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* A notation of gcc and clang, for whatever the processor has. */
typedef unsigned char json_chars16 __attribute__((vector_size(16)));

/*
 * The position of the first quote, backslash or control character, or end; ascii: or of the first
 * byte that is none of ASCII.
 */
static inline const unsigned char *json_plain_end(const unsigned char *at, const unsigned char *end,
						  bool ascii)
{
	const json_chars16 none = { 0 }, quote = none + '"', backslash = none + '\\',
			   space = none + ' ', high = none + (unsigned char)(ascii ? 0x7f : 0xff);
	json_chars16 c, found;
	uint64_t half[2];

	while (end - at >= 16) {
		memcpy(&c, at, sizeof(c));
		found = (json_chars16)(c == quote) | (json_chars16)(c == backslash) |
			(json_chars16)(c < space) | (json_chars16)(c > high);
		memcpy(half, &found, sizeof(half));
		if (half[0])
			return at + __builtin_ctzll(le64toh(half[0])) / 8;
		if (half[1])
			return at + 8 + __builtin_ctzll(le64toh(half[1])) / 8;
		at += 16;
	}
	while (at < end && *at != '"' && *at != '\\' && *at >= ' ' && (!ascii || *at < 0x80))
		at++;
	return at;
}

#endif
