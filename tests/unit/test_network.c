/* network: what a proxy's URL says, and which hosts go by a proxy. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/http/network.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static void assert_text(const char *got, const char *want)
{
	if (want)
		assert_string_equal(got ? got : "(none)", want);
	else
		assert_null(got);
}

static void test_proxies(void **state)
{
	static const char *const good[][4] = {
		/* text, url, user, password */
		{ "proxy", "http://proxy", NULL, NULL },
		{ "proxy:3128", "http://proxy:3128", NULL, NULL },
		{ "http://proxy:3128/", "http://proxy:3128", NULL, NULL },
		{ "HTTPS://proxy", "https://proxy", NULL, NULL },
		{ "socks5h://[2001:db8::1]:1080", "socks5h://[2001:db8::1]:1080", NULL, NULL },
		{ "socks4a://10.0.0.1:9", "socks4a://10.0.0.1:9", NULL, NULL },
		{ "http://me@proxy:1", "http://proxy:1", "me", NULL },
		{ "me:secret@proxy", "http://proxy", "me", "secret" },
		{ "http://me:@proxy", "http://proxy", "me", "" },
		{ "http://:pw@proxy", "http://proxy", "", "pw" },
		{ "http://a%40b:c%3ad%25@proxy", "http://proxy", "a@b", "c:d%" },
		{ "http://me:p@ss:word@proxy:8080", "http://proxy:8080", "me", "p@ss:word" },
	};
	struct network_proxy p;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(good); i++) {
		if (network_parse_proxy(good[i][0], &p, &why))
			fail_msg("refused: %s: %s", good[i][0], why);
		assert_text(p.url, good[i][1]);
		assert_text(p.user, good[i][2]);
		assert_text(p.password, good[i][3]);
		network_release_proxy(&p);
		assert_null(p.url);
	}
}

static void test_no_proxies(void **state)
{
	static const char *const bad[] = {
		"",
		"http://",
		"ftp://proxy",
		"://proxy",
		"httpx://proxy",
		"http://proxy:0",
		"http://proxy:70000",
		"http://proxy:",
		"http://proxy/path",
		"http://proxy?x",
		"http://proxy#x",
		"http://pro xy",
		"http://proxy\r\nX: y",
		"http://pr\xc3\xb6xy",
		"http://[::1",
		"http://[fe80::1%25eth0]:1",
		"http://me:%0d%0a@proxy",
		"http://me:%00@proxy",
		"http://me:%4@proxy",
		"http://me:%@proxy",
		"http://me:%zz@proxy",
		"http://me:a\nb@proxy",
	};
	char longest[4096];
	struct network_proxy p = { 0 };
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH(bad); i++) {
		why = NULL;
		if (network_parse_proxy(bad[i], &p, &why) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(why);
		assert_null(p.url);
	}
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(network_parse_proxy(longest, &p, &why), -EINVAL);
}

static void test_listed(void **state)
{
	static const char *const yes[][2] = {
		{ "*", "a.b" },
		{ "a.b", "a.b" },
		{ "A.B", "x.a.b" },
		{ ".a.b", "a.b" },
		{ "*.a.b", "x.y.a.b" },
		{ "x, a.b", "a.b" },
		{ "x a.b", "a.b" },
		{ ",,x,\ta.b,", "a.b" },
		{ "10.0.0.0/8", "10.200.3.4" },
		{ "192.168.1.128/25", "192.168.1.200" },
		{ "0.0.0.0/0", "8.8.8.8" },
		{ "10.1.2.3", "10.1.2.3" },
		{ "2001:db8::1", "2001:db8:0::1" },
		{ "[2001:db8::1]", "2001:db8::1" },
		{ "2001:db8::/33", "2001:db8:7fff::5" },
		{ "a.b:443", "x.a.b" },
		{ "x:1,*:443", "a.b" },
		{ "10.0.0.0/8:443", "10.1.2.3" },
		{ "[2001:db8::1]:443", "2001:db8::1" },
	};
	static const char *const no[][2] = {
		{ "", "a.b" },
		{ "b.a", "a.b" },
		{ "a.b", "xa.b" },
		{ "x.a.b", "a.b" },
		{ ".", "a.b" },
		{ "a.b:80", "a.b" },
		{ "a.b:", "a.b" },
		{ "a.b:443x", "a.b" },
		{ "[2001:db8::1]:80", "2001:db8::1" },
		{ "10.0.0.0/8", "11.0.0.1" },
		{ "192.168.1.128/25", "192.168.1.100" },
		{ "10.0.0.0/33", "10.0.0.1" },
		{ "10.0.0.0/", "10.0.0.0" },
		{ "10.0.0.0/8x", "10.0.0.1" },
		{ "10.0.0.0/-1", "10.0.0.1" },
		{ "2001:db8::/33", "2001:db8:8000::5" },
		{ "2001:db8::/129", "2001:db8::" },
		{ "::/0", "10.0.0.1" },
	};
	size_t i;

	(void)state;
	assert_false(network_listed(NULL, "a.b", 443));
	for (i = 0; i < LENGTH(yes); i++) {
		if (!network_listed(yes[i][0], yes[i][1], 443))
			fail_msg("%s is not in %s", yes[i][1], yes[i][0]);
	}
	for (i = 0; i < LENGTH(no); i++) {
		if (network_listed(no[i][0], no[i][1], 443))
			fail_msg("%s is in %s", no[i][1], no[i][0]);
	}
}

static void test_which(void **state)
{
	char list[] = "direct.test,10.0.0.0/8,port.test:8443", plain[] = "http://p:1",
	     tls[] = "http://p:2";
	struct network n = { .http.url = plain, .https.url = tls, .no_proxy = list }, none = { 0 };

	(void)state;
	assert_string_equal(network_proxy_for(&n, "http://a.test/v1")->url, plain);
	assert_string_equal(network_proxy_for(&n, "https://a.test/v1")->url, tls);
	assert_null(network_proxy_for(&n, "https://x.direct.test:8443/v1"));
	assert_null(network_proxy_for(&n, "https://10.1.1.1/"));
	assert_null(network_proxy_for(&n, "https://port.test:8443/v1"));
	assert_non_null(network_proxy_for(&n, "https://port.test/v1"));
	/* Loopback by whatever name. */
	assert_null(network_proxy_for(&n, "http://127.0.0.1:80/v1"));
	assert_null(network_proxy_for(&n, "https://127.9.9.9/v1"));
	assert_null(network_proxy_for(&n, "http://[::1]:80/v1"));
	assert_null(network_proxy_for(&n, "https://[0:0:0:0:0:0:0:1]/v1"));
	assert_null(network_proxy_for(&n, "http://LOCALHOST/v1"));
	assert_null(network_proxy_for(&none, "https://a.test/v1"));
}

static void test_copy(void **state)
{
	char url[] = "http://p", user[] = "u", password[] = "pw", no[] = "x", ca[] = "/ca",
	     dir[] = "/d", bind[] = "eth0";
	struct network from = { .https = { url, user, password },
				.no_proxy = no,
				.ca_file = ca,
				.ca_dir = dir,
				.bind = bind };
	struct network to;

	(void)state;
	assert_int_equal(network_copy(&from, &to), 0);
	assert_null(to.http.url);
	assert_string_equal(to.https.url, url);
	assert_string_equal(to.https.user, user);
	assert_string_equal(to.https.password, password);
	assert_string_equal(to.no_proxy, no);
	assert_string_equal(to.ca_file, ca);
	assert_string_equal(to.ca_dir, dir);
	assert_string_equal(to.bind, bind);
	assert_ptr_not_equal(to.bind, bind);
	network_release(&to);
	assert_int_equal(network_copy(NULL, &to), 0);
	assert_null(to.https.url);
	assert_null(to.bind);
	network_release(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxies), cmocka_unit_test(test_no_proxies),
		cmocka_unit_test(test_listed),	cmocka_unit_test(test_which),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
