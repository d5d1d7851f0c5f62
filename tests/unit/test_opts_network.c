/* opts: proxies, certificates and the local address, from options and the environment. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/config/opts.h"

#define KEY "sk-test-0123456789abcdef"
#define URL "https://service.test/v1"

static char dir[] = "/tmp/test_opts_network.XXXXXX";
static char said[4096]; /* on stderr */

static int setup_all(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown_all(void **state)
{
	(void)state;
	return rmdir(dir);
}

static int setup(void **state)
{
	static const char *const names[] = { "http_proxy",    "HTTP_PROXY",   "https_proxy",
					     "HTTPS_PROXY",   "all_proxy",    "ALL_PROXY",
					     "no_proxy",      "NO_PROXY",     "OPENAI_BASE_URL",
					     "SSL_CERT_FILE", "SSL_CERT_DIR", NULL };

	(void)state;
	for (const char *const *name = names; *name; name++)
		unsetenv(*name);
	setenv("XDG_CONFIG_HOME", "/dev/null", 1);
	setenv("OPENAI_API_KEY", KEY, 1);
	return 0;
}

/* Parses "SOURCE -o OPTIONS", or just SOURCE when options is NULL. */
static enum opts_result parse(const char *source, const char *options, struct opts *o)
{
	int argc = options ? 4 : 2, fd = memfd_create("stderr", MFD_CLOEXEC), saved = dup(2);
	char name[] = "uploadfs", flag[] = "-o", *first = strdup(source),
	     *last = strdup(options ? options : "");
	char *argv[] = { name, first, flag, last, NULL };
	enum opts_result r;
	ssize_t n;

	assert_true(fd >= 0 && saved >= 0 && first && last);
	setenv("OPENAI_API_KEY", KEY, 1);
	dup2(fd, 2);
	r = opts_parse_loose(argc, argv, "/nowhere", o);
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	n = pread(fd, said, sizeof(said) - 1, 0);
	said[n < 0 ? 0 : n] = '\0';
	close(fd);
	free(first);
	free(last);
	return r;
}

static void runs(const char *source, const char *options, struct opts *o)
{
	if (parse(source, options, o) != OPTS_RUN)
		fail_msg("%s %s: %s", source, options ? options : "", said);
	assert_string_equal(said, "");
}

static void fails(const char *source, const char *options, const char *part)
{
	struct opts o;

	assert_int_equal(parse(source, options, &o), OPTS_EXIT_USAGE);
	if (!strstr(said, part) || !strstr(said, "; "))
		fail_msg("%s lacks: %s", said, part);
	assert_null(strstr(said, "secret"));
}

/* The proxies, for http and for https, and where the one of the source is from. */
static void gives(const char *source, const char *options, const char *http, const char *https,
		  const char *from)
{
	struct opts o;

	runs(source, options, &o);
	assert_string_equal(o.network.http.url ? o.network.http.url : "", http);
	assert_string_equal(o.network.https.url ? o.network.https.url : "", https);
	assert_string_equal(o.proxy_from ? o.proxy_from : "", from);
	opts_release(&o);
}

static void test_proxy_option(void **state)
{
	struct opts o;

	(void)state;
	gives(URL, NULL, "", "", "");
	gives(URL, "proxy=p:1", "http://p:1", "http://p:1", "proxy=");
	setenv("https_proxy", "http://env:2", 1);
	setenv("no_proxy", "service.test", 1);
	gives(URL, "proxy=socks5h://p:1", "socks5h://p:1", "socks5h://p:1", "proxy=");
	gives(URL, "proxy=none", "", "", "proxy=");
	runs(URL, "proxy=p", &o);
	assert_null(o.network.no_proxy); /* asked for by name: NO_PROXY does not count */
	opts_release(&o);
	runs(URL, NULL, &o);
	assert_string_equal(o.network.no_proxy, "service.test");
	opts_release(&o);
	fails(URL, "proxy=", "proxy=http://HOST:PORT");
	fails(URL, "proxy", "proxy=URL|none");
	fails(URL, "proxy=gopher://p", "proxy=gopher://p is refused: its scheme");
	fails(URL, "proxy=http://p/path", "proxy=http://p/path is refused");
	fails(URL, "proxy=http://me:secret@p:1", "proxy_auth_file");
	fails(URL, "proxy=http://me@p:1", "proxy_auth_file");
	fails(URL, "proxy=http://me:secret@p/path", "proxy=... is refused");
	fails("local:/x", "proxy=ftp://p", "its scheme is not");
}

static void test_proxy_environment(void **state)
{
	(void)state;
	setenv("ALL_PROXY", "http://all:1", 1);
	gives(URL, NULL, "http://all:1", "http://all:1", "ALL_PROXY");
	setenv("all_proxy", "http://all:2", 1);
	gives(URL, NULL, "http://all:2", "http://all:2", "all_proxy");
	setenv("HTTPS_PROXY", "http://tls:1", 1);
	gives(URL, NULL, "http://all:2", "http://tls:1", "HTTPS_PROXY");
	setenv("https_proxy", "", 1); /* as if it was not there */
	gives(URL, NULL, "http://all:2", "http://tls:1", "HTTPS_PROXY");
	setenv("https_proxy", "http://tls:2", 1);
	gives(URL, NULL, "http://all:2", "http://tls:2", "https_proxy");
	/* In capitals it may be what a visitor of a web page sent. */
	setenv("HTTP_PROXY", "http://evil:1", 1);
	gives("http://service.test/v1", "allow_http", "http://all:2", "http://tls:2", "all_proxy");
	setenv("http_proxy", "http://plain:1", 1);
	gives("http://service.test/v1", "allow_http", "http://plain:1", "http://tls:2",
	      "http_proxy");
	gives("local:/x", NULL, "", "", "");
}

static void test_bad_proxy_environment(void **state)
{
	(void)state;
	setenv("https_proxy", "http://me:secret@p/path", 1);
	fails(URL, NULL, "https_proxy is refused");
	setenv("https_proxy", "http://me:secret@p/path", 1);
	gives(URL, "proxy=none", "", "", "proxy=");
	/* One that is not needed is nobody's mistake. */
	setenv("https_proxy", "http://me:secret@p/path", 1);
	gives("http://127.0.0.1:1/v1", NULL, "", "", "");
	setenv("http_proxy", "http://me:secret@p/path", 1);
	gives("http://127.0.0.1:1/v1", NULL, "", "", "http_proxy");
}

static void test_passwords_leave_the_environment(void **state)
{
	struct opts o;

	(void)state;
	setenv("https_proxy", "http://me:secret@p:1", 1);
	setenv("ALL_PROXY", "http://me:secret@q:1", 1);
	setenv("http_proxy", "http://plain:1", 1);
	runs(URL, NULL, &o);
	assert_string_equal(o.network.https.url, "http://p:1");
	assert_string_equal(o.network.https.user, "me");
	assert_string_equal(o.network.https.password, "secret");
	assert_null(getenv("https_proxy"));
	assert_null(getenv("ALL_PROXY"));
	assert_string_equal(getenv("http_proxy"), "http://plain:1");
	opts_release(&o);
}

static char *write_file(const char *name, const char *text, mode_t mode)
{
	char *path;
	int fd;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void test_proxy_auth_file(void **state)
{
	static const struct {
		const char *text, *why;
		mode_t mode;
	} bad[] = { { "me:secret\n", "chmod 600", 0644 },
		    { "\n", "holds no login", 0600 },
		    { "nocolon\n", "holds no login", 0600 },
		    { "me:secret with blanks\n", "holds no login", 0600 } };
	char *path = write_file("login", "me:sec:ret\n", 0600), options[200];
	struct opts o;
	size_t i;

	(void)state;
	snprintf(options, sizeof(options), "proxy=http://p:1,proxy_auth_file=%s", path);
	runs(URL, options, &o);
	assert_string_equal(o.network.https.user, "me");
	assert_string_equal(o.network.https.password, "sec:ret");
	opts_release(&o);
	/* It goes before what the environment says. */
	setenv("https_proxy", "http://you:secret@p:1", 1);
	runs(URL, strchr(options, ',') + 1, &o);
	assert_string_equal(o.network.https.user, "me");
	assert_null(o.network.http.user); /* there is no such proxy */
	opts_release(&o);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		free(write_file("login", bad[i].text, bad[i].mode));
		fails(URL, options, bad[i].why);
	}
	unlink(path);
	fails(URL, options, "No such file");
	free(path);
}

#define PEM "# a note\n-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"

static void test_ca_file(void **state)
{
	char *path = write_file("ca.pem", PEM, 0644), options[200];
	struct opts o;

	(void)state;
	snprintf(options, sizeof(options), "ca_file=%s", path);
	setenv("SSL_CERT_FILE", "/nowhere/at/all", 1);
	setenv("SSL_CERT_DIR", "/nowhere", 1);
	runs(URL, options, &o);
	assert_string_equal(o.network.ca_file, path);
	assert_null(o.network.ca_dir);
	opts_release(&o);
	fails(URL, NULL, "SSL_CERT_FILE /nowhere/at/all: No such file");
	/* Nobody needs it there. */
	runs("http://127.0.0.1:1/v1", NULL, &o);
	opts_release(&o);
	setenv("SSL_CERT_FILE", path, 1);
	setenv("SSL_CERT_DIR", "/etc:/usr", 1);
	runs(URL, NULL, &o);
	assert_string_equal(o.network.ca_file, path);
	assert_string_equal(o.network.ca_dir, "/etc:/usr");
	opts_release(&o);
	free(write_file("ca.pem", "-----BEGIN PRIVATE KEY-----\n", 0644));
	fails(URL, options, "holds no certificate");
	unlink(path);
	fails(URL, options, "No such file");
	fails(URL, "ca_file=/", "is no file");
	fails(URL, "ca_file=", "ca_file=FILE");
	free(path);
}

static void test_bind(void **state)
{
	static const char *const good[] = { "127.0.0.2", "::1", "eth0", "wg-0.1", "enp0s3:1" };
	static const char *const bad[] = {
		"10.0.0.1/8",  "eth 0", "host!name", "if!eth0", "a-very-long-interface",
		"fe80::1%eth0"
	};
	char options[64];
	struct opts o;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(options, sizeof(options), "bind=%s", good[i]);
		runs(URL, options, &o);
		assert_string_equal(o.network.bind, good[i]);
		opts_release(&o);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(options, sizeof(options), "bind=%s", bad[i]);
		fails(URL, options, "neither an IP address nor an interface");
	}
	fails(URL, "bind=", "bind=");
}

static void test_rate_limit(void **state)
{
	static const struct {
		const char *text;
		uint64_t up, down;
	} good[] = { { "rate_limit=1K", 1024, 0 },
		     { "rate_limit=2M:3m", 2 << 20, 3 << 20 },
		     { "rate_limit=0:1500", 0, 1500 },
		     { "rate_limit=0", 0, 0 },
		     { "rate_limit=1M:1M,rate_limit=2M", 2 << 20, 0 },
		     { "rate_limit=1024G", 1ULL << 40, 0 } };
	struct opts o;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		runs(URL, good[i].text, &o);
		assert_int_equal(o.network.up, good[i].up);
		assert_int_equal(o.network.down, good[i].down);
		opts_release(&o);
	}
	fails(URL, "rate_limit=1000", "out of range");
	fails(URL, "rate_limit=1M:1", "out of range");
	fails(URL, "rate_limit=1025G", "out of range");
	fails(URL, "rate_limit=1MBit", "is not a size");
	fails(URL, "rate_limit=:1M", "is not a size");
	fails(URL, "rate_limit=1M:", "is not a size");
	fails(URL, "rate_limit=-1M", "is not a size");
	fails(URL, "rate_limit=", "is not a size");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_proxy_option, setup),
		cmocka_unit_test_setup(test_proxy_environment, setup),
		cmocka_unit_test_setup(test_bad_proxy_environment, setup),
		cmocka_unit_test_setup(test_passwords_leave_the_environment, setup),
		cmocka_unit_test_setup(test_proxy_auth_file, setup),
		cmocka_unit_test_setup(test_ca_file, setup),
		cmocka_unit_test_setup(test_bind, setup),
		cmocka_unit_test_setup(test_rate_limit, setup),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
