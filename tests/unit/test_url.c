/* url and http_head: where the key may go, and what a reply's head says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/http/head.h"
#include "net/http/url.h"

static void test_base(void **state)
{
	static const char *const good[] = {
		"https://api.openai.com/v1", "https://api.openai.com/v1/", "HTTPS://a_b-c.d",
		"http://127.0.0.1:8080/v1",  "http://[::1]:80/v1",	   "http://localhost",
	};
	static const char *const bad[] = {
		"",
		"api.openai.com",
		"ftp://a/b",
		"https://",
		"https:///v1",
		"https://a:/v1",
		"https://a:0/",
		"https://a:70000/",
		"https://a:12x/",
		"https://u:p@a/",
		"https://u@a/v1",
		"https://a/v1?x=1",
		"https://a/#f",
		"https://a/v 1",
		"https://a/\r\nX: y",
		"https://[::1",
		"https://[::1]x/",
		"https://a\\b/",
		"https://%31/",
		"http://[fe80::1%25eth0]:80/v1",
		"http://[fe80::1%eth0]/v1",
		"https://\xc3\xa4/",
		"sk-key",
	};
	const char *why = NULL;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (url_check_base(good[i], &why))
			fail_msg("refused: %s: %s", good[i], why);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		if (!url_check_base(bad[i], &why))
			fail_msg("taken: %s", bad[i]);
		assert_non_null(why);
	}
}

static void test_loopback(void **state)
{
	static const char *const yes[] = {
		"http://127.0.0.1/", "http://127.255.1.2:80", "http://localhost:1/x",
		"http://LOCALHOST",  "http://[::1]/",	      "https://[0:0:0:0:0:0:0:1]:5/",
	};
	static const char *const no[] = {
		"http://128.0.0.1/",
		"http://localhost.evil.com/",
		"http://127.0.0.1.evil.com/",
		"http://127.0.0.1@evil.com/",
		"http://evil.com/127.0.0.1",
		"http://[::2]/",
		"http://evil.com#@127.0.0.1/",
		"http://evil.com\\@127.0.0.1/",
		"http://0.0.0.0/",
		"http://[::ffff:8.8.8.8]/",
		"file:///127.0.0.1",
		"",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (!url_is_loopback(yes[i]))
			fail_msg("not loopback: %s", yes[i]);
	}
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		if (url_is_loopback(no[i]))
			fail_msg("loopback: %s", no[i]);
	}
}

static void test_origin(void **state)
{
	(void)state;
	assert_true(url_same_origin("https://a.b/x", "https://A.B:443/y?z"));
	assert_true(url_same_origin("http://a:80", "http://a/"));
	assert_false(url_same_origin("https://a/", "http://a/"));
	assert_false(url_same_origin("http://a:443/", "https://a:80/"));
	assert_false(url_same_origin("https://a/", "https://a:444/"));
	assert_false(url_same_origin("https://a/", "https://b/"));
	assert_false(url_same_origin("https://a/", "https://a.b/"));
	assert_false(url_same_origin("https://a/", "https://a@b/"));
	assert_false(url_same_origin("https://a/", "https://a\\@b/"));
	assert_false(url_same_origin("x", "x"));
	assert_true(url_is_https("HTTPS://x") && !url_is_https("http://x"));
}

static void test_encode(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	url_encode(&b, "a-Z_0.~ /?&=%\xc3\xa4");
	assert_string_equal(buf_str(&b), "a-Z_0.~%20%2F%3F%26%3D%25%C3%A4");
	buf_release(&b);
}

static void feed(struct http_head *head, const char *line)
{
	http_head_line(head, line, strlen(line));
}

static void test_head(void **state)
{
	struct http_head h;

	(void)state;
	http_head_init(&h);
	feed(&h, "HTTP/1.1 100 Continue\r\n");
	feed(&h, "x-request-id: early\r\n");
	assert_int_equal(h.status, 100);
	feed(&h, "HTTP/1.1 206\r\n");
	assert_int_equal(h.status, 206);
	assert_string_equal(h.request_id, "");
	feed(&h, "X-Request-ID:req_1 \r\n");
	feed(&h, "content-LENGTH: 12\r\n");
	feed(&h, "Content-Range: bytes 5-16/100\r\n");
	feed(&h, "Retry-After: 3\r\n");
	feed(&h, "x-should-retry: False\r\n");
	assert_string_equal(h.request_id, "req_1");
	assert_int_equal(h.content_length, 12);
	assert_int_equal(h.range_first, 5);
	assert_int_equal(h.range_total, 100);
	assert_int_equal(h.retry_after_ms, 3000);
	assert_int_equal(h.should_retry, 0);
	/* The finer one wins, whichever comes first. */
	feed(&h, "retry-after-ms: 20\r\n");
	assert_int_equal(h.retry_after_ms, 20);
	feed(&h, "Retry-After: 9\r\n");
	assert_int_equal(h.retry_after_ms, 20);
	feed(&h, "x-should-retry: maybe\r\n");
	assert_int_equal(h.should_retry, -1);
}

static void test_head_range(void **state)
{
	static const char *const bad[] = {
		"Content-Range: bytes 9-5/100",
		"Content-Range: bytes -5-9/100",
		"Content-Range: bytes 5",
		"Content-Range: items 0-1/2",
		"Content-Range: bytes 5-x/100",
		"Content-Range:",
		"Content-Range: bytes 99999999999999999999-99999999999999999999/1",
		"Content-Range",
	};
	struct http_head h;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		http_head_init(&h);
		feed(&h, bad[i]);
		assert_int_equal(h.range_first, -1);
		assert_int_equal(h.range_total, -1);
	}
	http_head_init(&h);
	feed(&h, "Content-Range: bytes */42");
	assert_int_equal(h.range_first, -1);
	assert_int_equal(h.range_total, 42);
	feed(&h, "Content-Range: bytes 0-1/*");
	assert_int_equal(h.range_first, 0);
	assert_int_equal(h.range_total, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base),   cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_origin), cmocka_unit_test(test_encode),
		cmocka_unit_test(test_head),   cmocka_unit_test(test_head_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
