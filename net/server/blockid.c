/* blockid: see blockid.h. */
#include "net/server/blockid.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BYTES 16
#define DIGITS 22 /* of base64; two "=" follow */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

int block_id_of(const char *part_id, char ret_block[BLOCK_ID_SIZE])
{
	const char *hex = part_id + strlen(ID_PART);
	uint32_t bits = 0;
	unsigned i, have = 0;
	size_t out = 0;

	if (!id_valid(part_id, ID_PART))
		return -EINVAL;
	for (i = 0; i < BYTES; i++) {
		bits = bits << 8 | hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]);
		for (have += 8; have >= 6; have -= 6)
			ret_block[out++] = alphabet[bits >> (have - 6) & 63];
	}
	ret_block[out++] = alphabet[bits << (6 - have) & 63];
	memcpy(ret_block + out, "==", sizeof("=="));
	return 0;
}

int block_id_part(const char *block, char ret_part_id[ID_SIZE])
{
	char again[BLOCK_ID_SIZE], hex[2 * BYTES + 1];
	uint32_t bits = 0;
	unsigned i, have = 0;
	size_t out = 0;

	if (strlen(block) != BLOCK_ID_SIZE - 1)
		return -EINVAL;
	for (i = 0; i < DIGITS; i++) {
		const char *digit = strchr(alphabet, block[i]);

		if (!digit)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(digit - alphabet);
		for (have += 6; have >= 8; have -= 8, out += 2)
			snprintf(hex + out, 3, "%02x", bits >> (have - 8) & 255);
	}
	snprintf(ret_part_id, ID_SIZE, ID_PART "%s", hex);
	/* One id has one spelling. */
	return block_id_of(ret_part_id, again) || strcmp(again, block) ? -EINVAL : 0;
}
