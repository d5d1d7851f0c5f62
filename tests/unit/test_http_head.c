/* http_head: what is taken from the head of a reply, and what makes no sense there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/http/head.h"

static void take(struct http_head *head, const char *line)
{
	http_head_line(head, line, strlen(line));
}

static void test_status(void **state)
{
	static const struct {
		const char *line;
		int status;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\n", 200 },	   { "HTTP/2 404", 404 },
		{ "HTTP/1.1 5031 much\r\n", 503 }, { "HTTP/1.1 -12\r\n", 0 },
		{ "HTTP/1.1 OK\r\n", 0 },	   { "HTTP/1.1", 0 },
	};
	struct http_head head;
	size_t i;

	(void)state;
	http_head_init(&head);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		take(&head, cases[i].line);
		assert_int_equal(head.status, cases[i].status);
	}
}

static void test_headers(void **state)
{
	struct http_head head;

	(void)state;
	http_head_init(&head);
	take(&head, "HTTP/1.1 206 Partial Content\r\n");
	take(&head, "content-length: 100\r\n");
	take(&head, "Content-Range: bytes 5-104/1000\r\n");
	take(&head, "X-Request-Id: req_1\r\n");
	take(&head, "x-should-retry: false\r\n");
	take(&head, "retry-after-ms: 1500\r\n");
	take(&head, "Retry-After: 7\r\n");
	assert_int_equal(head.content_length, 100);
	assert_int_equal(head.range_first, 5);
	assert_int_equal(head.range_total, 1000);
	assert_string_equal(head.request_id, "req_1");
	assert_int_equal(head.should_retry, 0);
	assert_int_equal(head.retry_after_ms, 1500);
	/* A reply behind this one has none of it. */
	take(&head, "HTTP/1.1 200 OK\r\n");
	assert_int_equal(head.content_length, -1);
	assert_int_equal(head.range_first, -1);
	assert_string_equal(head.request_id, "");
	assert_int_equal(head.retry_after_ms, -1);
}

static void test_nonsense(void **state)
{
	static const char *const lines[] = {
		"Content-Length: -1",
		"Content-Length: 99999999999999999999",
		"Content-Range: bytes 9-5/10",
		"Content-Range: lines 1-5/10",
		"Content-Range: bytes 1-",
		"retry-after-ms: soon",
		"Retry-After: -1",
		"x-should-retry: maybe",
		"Date: never",
		"no colon",
	};
	struct http_head head, before;
	size_t i;

	(void)state;
	http_head_init(&head);
	take(&head, "HTTP/1.1 200 OK");
	before = head;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		take(&head, lines[i]);
	http_head_line(&head, "x-request-id: a\0b", 17);
	assert_memory_equal(&head, &before, sizeof(head));
}

/* What follows the empty line of a final reply is a trailer. */
static void test_trailers(void **state)
{
	struct http_head head;

	(void)state;
	http_head_init(&head);
	take(&head, "HTTP/1.1 100 Continue\r\n");
	take(&head, "\r\n");
	take(&head, "HTTP/1.1 200 OK\r\n");
	take(&head, "Content-Encoding: identity\r\n");
	take(&head, "Content-Length: 5\r\n");
	take(&head, "\r\n");
	take(&head, "HTTP/1.1 404: no\r\n");
	take(&head, "Content-Length: 7\r\n");
	take(&head, "Content-Encoding: gzip\r\n");
	assert_int_equal(head.status, 200);
	assert_int_equal(head.content_length, 5);
	assert_false(head.coded);
	http_head_init(&head);
	take(&head, "HTTP/1.1 200 OK\r\n");
	take(&head, "content-encoding: gzip, identity\r\n");
	assert_true(head.coded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
