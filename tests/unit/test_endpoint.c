/* endpoint: addresses from text, and sockets that are there when asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/base/endpoint.h"

static void test_addresses(void **state)
{
	static const struct {
		const char *text, *address;
		int port;
	} good[] = { { "127.0.0.1:80", "127.0.0.1", 80 },
		     { "9464", "127.0.0.1", 9464 },
		     { ":0", "127.0.0.1", 0 },
		     { "0.0.0.0:65535", "0.0.0.0", 65535 } };
	static const char *const bad[] = {
		"",	 ":",		"[host]:1", "1.2.3.4", "1.2.3.4:", "::1", "::1:5",
		"[::1]", "[1.2.3.4]:5", "1:-1",	    "1:65536", "1: 5",	   "[]:5"
	};
	struct endpoint e;
	char text[INET6_ADDRSTRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&e.addr;

		assert_int_equal(endpoint_parse(good[i].text, &e), 0);
		assert_int_equal(in->sin_family, AF_INET);
		assert_int_equal(ntohs(in->sin_port), good[i].port);
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		assert_string_equal(text, good[i].address);
	}
	assert_int_equal(endpoint_parse("[::1]:5", &e), 0);
	assert_int_equal(e.addr.ss_family, AF_INET6);
	assert_int_equal(endpoint_parse("host:1", &e), -EADDRNOTAVAIL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(endpoint_parse(bad[i], &e), -EINVAL);
}

static void test_sockets(void **state)
{
	char dir[] = "/tmp/endpoint-XXXXXX", path[64], longest[200];
	struct endpoint e;
	struct stat st;
	int fd, again;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(endpoint_parse(path, &e), 0);
	assert_int_equal(endpoint_listen(&e, &fd), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* A living listener keeps its place, a dead one loses it. */
	assert_int_equal(endpoint_listen(&e, &again), -EADDRINUSE);
	close(fd);
	assert_int_equal(endpoint_listen(&e, &fd), 0);
	close(fd);
	endpoint_remove(&e);
	assert_int_equal(stat(path, &st), -1);
	/* Nothing but a socket is removed. */
	fd = creat(path, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(endpoint_listen(&e, &fd), -EADDRINUSE);
	endpoint_remove(&e);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(endpoint_parse(longest, &e), -EINVAL);
}

/* A listener that accepts nobody, perhaps another user's, is not waited for. */
static void test_full_queue(void **state)
{
	char dir[] = "/tmp/endpoint-XXXXXX", path[64];
	int fd, again, callers[3];
	struct endpoint e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(endpoint_parse(path, &e), 0);
	assert_int_equal(endpoint_listen(&e, &fd), 0);
	assert_int_equal(listen(fd, 0), 0);
	for (size_t i = 0; i < 3; i++) {
		callers[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(callers[i] >= 0);
		if (connect(callers[i], (const struct sockaddr *)&e.addr, e.len))
			assert_int_equal(errno, EAGAIN);
	}
	alarm(30); /* instead of waiting for ever */
	assert_int_equal(endpoint_listen(&e, &again), -EADDRINUSE);
	alarm(0);
	for (size_t i = 0; i < 3; i++)
		close(callers[i]);
	close(fd);
	endpoint_remove(&e);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_full_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
