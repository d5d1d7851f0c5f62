/* The server inside another process: several at once, started and stopped again. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/base/log.h"
#include "net/server/server.h"
#include "net/server/store.h"

static char base[] = "/tmp/test_server.XXXXXX";

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LVL_ERROR);
	return mkdtemp(base) ? 0 : -1;
}

static int dial(const struct server *srv)
{
	static const struct timeval limit = { .tv_sec = 20 };
	struct sockaddr_in addr = { .sin_family = AF_INET };
	unsigned port;
	int fd;

	assert_int_equal(sscanf(server_url(srv), "http://127.0.0.1:%u/v1", &port), 1);
	addr.sin_port = htons((uint16_t)port);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Sends a request and reads until the server closes. */
static void ask(const struct server *srv, const char *request, char *reply, size_t size)
{
	int fd = dial(srv);
	size_t len = 0;
	ssize_t n;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while (len + 1 < size && (n = recv(fd, reply + len, size - 1 - len, 0)) > 0)
		len += (size_t)n;
	reply[len] = '\0';
	close(fd);
}

static struct server *start(const char *name, const char *key)
{
	char dir[200];
	struct server_opts opts = { .dir = dir, .key = key };
	struct server *srv = NULL;

	snprintf(dir, sizeof(dir), "%s/%s", base, name);
	assert_int_equal(server_start(&opts, &srv), 0);
	return srv;
}

static void test_two_at_once(void **state)
{
	static const char create[] =
		"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
		"Content-Length: 69\r\n\r\n"
		"{\"filename\":\"a\",\"purpose\":\"batch\","
		"\"bytes\":1,\"mime_type\":\"text/plain\"}";
	struct server *a = start("a", NULL), *b = start("b", "secret-key");
	char reply[4096];

	(void)state;
	assert_string_not_equal(server_url(a), server_url(b));
	ask(a, create, reply, sizeof(reply));
	assert_non_null(strstr(reply, "HTTP/1.1 200 "));
	ask(b, create, reply, sizeof(reply));
	assert_non_null(strstr(reply, "HTTP/1.1 401 "));
	server_stop(a);
	ask(b, create, reply, sizeof(reply));
	assert_non_null(strstr(reply, "HTTP/1.1 401 "));
	server_stop(b);
}

static void test_one_per_directory(void **state)
{
	struct server *first = start("c", NULL), *second = NULL;
	struct server_opts opts = { 0 };
	char dir[200];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/c", base);
	opts.dir = dir;
	log_to_file("/dev/null");
	assert_int_equal(server_start(&opts, &second), -EBUSY);
	opts.listen = "0.0.0.0";
	assert_int_equal(server_start(&opts, &second), -EACCES);
	opts.listen = "nonsense";
	assert_int_equal(server_start(&opts, &second), -EINVAL);
	log_to_stderr();
	assert_null(second);
	server_stop(first);
	/* Given back by the first, the directory can be had. */
	server_stop(start("c", NULL));
	server_stop(NULL);
}

struct client {
	const struct server *srv;
	unsigned replies;
};

static void *client_main(void *arg)
{
	static const char list[] =
		"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	struct client *c = arg;
	char reply[4096];
	int i;

	for (i = 0; i < 50; i++) {
		ask(c->srv, list, reply, sizeof(reply));
		c->replies += strstr(reply, "HTTP/1.1 200 ") != NULL;
	}
	return NULL;
}

/* Connections that wait for nothing, some in the middle of a request, do not hold it up. */
static void test_stop_with_clients(void **state)
{
	struct server *srv = start("d", NULL);
	struct client clients[4];
	pthread_t threads[4];
	int idle[8], i;

	(void)state;
	for (i = 0; i < 4; i++) {
		clients[i] = (struct client){ .srv = srv };
		assert_int_equal(pthread_create(&threads[i], NULL, client_main, &clients[i]), 0);
	}
	for (i = 0; i < 8; i++) {
		idle[i] = dial(srv);
		if (i % 2)
			assert_int_equal(send(idle[i], "POST /v1/upl", 12, MSG_NOSIGNAL), 12);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(clients[i].replies, 50);
	}
	server_stop(srv);
	for (i = 0; i < 8; i++)
		close(idle[i]);
}

static void remove_store(const char *name)
{
	static const char *const inner[] = { "uploads", "files", "data", "lock" };
	char path[300];
	size_t i;

	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", base, name, inner[i]);
		if (rmdir(path))
			unlink(path);
	}
	snprintf(path, sizeof(path), "%s/%s", base, name);
	rmdir(path);
}

/* The one Upload that test_two_at_once() made. */
static int forget(void *arg, const char *id, const char *text, size_t len)
{
	(void)text;
	(void)len;
	store_data_remove(arg, id);
	return store_record_remove(arg, STORE_UPLOADS, id);
}

static int teardown(void **state)
{
	struct store *store;
	char dir[200];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/a", base);
	if (!store_open(dir, true, &store)) {
		store_record_each(store, STORE_UPLOADS, forget, store);
		store_close(store);
	}
	remove_store("a");
	remove_store("b");
	remove_store("c");
	remove_store("d");
	return rmdir(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_one_per_directory),
		cmocka_unit_test(test_stop_with_clients),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
