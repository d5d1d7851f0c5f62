/* net/api_error, net/api_text: the words of a refusal are one line, bounded, and without a key. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net/api/json.h"
#include "net/base/log.h"
#include "tests/fuzz/support.h"

#define KEY "fuzzed0123456789abcdefghij"
#define HALF "fuzzed0123456" /* what a cut may leave of it: none has so much of it by chance */

static void check_line(const char *text, size_t size)
{
	must(strnlen(text, size) < size);
	must(fuzz_printable(text, false));
	must(!strstr(text, HALF));
}

/*
 * Does the input say half of the key by itself? An escape that ends in "f" may stand for the first
 * letter. The rest of the key behind such an escape is for the product to find.
 */
static bool says_half(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size, *at = data;

	if (memmem(data, size, HALF, strlen(HALF)))
		return true;
	for (; (at = memmem(at, (size_t)(end - at), &HALF[1], strlen(HALF) - 1)) != NULL; at++)
		if ((size_t)(end - at) < strlen(KEY) - 1 || memcmp(at, &KEY[1], strlen(KEY) - 1))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_error err = { .kind = API_ERR_HTTP, .http_status = 400 };
	char line[700], *text = fuzz_text(data, size);
	struct buf body = { .max = 1 << 22 };
	size_t room = size % sizeof(line) + 1;

	log_secret(KEY);
	/* The fuzzer finds out what is looked for, and says so without the server's help. */
	if (says_half(data, size)) {
		free(text);
		return 0;
	}
	/* A server that says the key it was sent: where the input has a "$". */
	for (; size; size--, data++)
		must(!(*data == '$' ? buf_adds(&body, KEY) : buf_addc(&body, (char)*data)));
	api_json_error(buf_str(&body), body.len, &err);
	must(*err.message);
	check_line(err.message, sizeof(err.message));
	check_line(err.code, sizeof(err.code));
	check_line(err.type, sizeof(err.type));
	api_clean(err.request_id, sizeof(err.request_id), text);
	check_line(err.request_id, sizeof(err.request_id));
	api_error_text(&err, line, room);
	check_line(line, room);
	free(text);
	buf_release(&body);
	return 0;
}
