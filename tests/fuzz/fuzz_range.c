/*
 * net/server/range: a request's Range names bytes of the File alone, and the Content-Range of the
 * reply says the same to the client (net/http/head).
 */
#include "net/server/range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/http/head.h"
#include "tests/fuzz/support.h"

/* As the server writes it, and the client reads it. */
static void check_reply(uint64_t start, uint64_t len, uint64_t size)
{
	static const char status[] = "HTTP/1.1 206 Partial Content\r\n";
	struct http_head head;
	char line[128];

	/* To the client a number near the largest is unknown. */
	if (size > INT64_MAX / 16)
		return;
	snprintf(line, sizeof(line), "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
		 start, start + len - 1, size);
	http_head_init(&head);
	http_head_line(&head, status, strlen(status));
	http_head_line(&head, line, strlen(line));
	must(head.range_first == (int64_t)start && head.range_total == (int64_t)size);
}

/* The range as the server answers it, asked for once more, is the same. */
static void check_again(uint64_t start, uint64_t len, uint64_t size)
{
	uint64_t first = 0, count = 0;
	char header[80];

	snprintf(header, sizeof(header), "bytes=%" PRIu64 "-%" PRIu64, start, start + len - 1);
	must(!range_parse(header, size, &first, &count));
	must(first == start && count == len);
	snprintf(header, sizeof(header), "bytes=%" PRIu64 "-", start);
	must(!range_parse(header, size, &first, &count));
	must(first == start && count == size - start);
}

/* "SIZE\nHEADER", or a header alone. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *eol = size ? memchr(data, '\n', size) : NULL;
	size_t head = eol ? (size_t)(eol - data) : 0;
	char *number = fuzz_text(data, head);
	char *header = fuzz_text(eol ? eol + 1 : data, size - (eol ? head + 1 : 0));
	uint64_t bytes = eol ? strtoull(number, NULL, 10) : 1000, start = 7, len = 7;
	int err = range_parse(header, bytes, &start, &len);

	must(err == 0 || err == -ENOENT || err == -ERANGE);
	if (err) {
		must(start == 7 && len == 7);
	} else {
		must(len && start < bytes && len <= bytes - start);
		check_reply(start, len, bytes);
		check_again(start, len, bytes);
	}
	must(range_parse(NULL, bytes, &start, &len) == -ENOENT);
	free(number);
	free(header);
	return 0;
}
