#include "tests/unit/raw_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_CONNS 512

struct raw_conn {
	struct raw_server *srv;
	int fd;
	pthread_t thread;
};

struct raw_server {
	raw_handler *handler;
	void *arg;
	int fd;
	unsigned port;
	char url[64];
	pthread_t thread;
	atomic_uint requests, heads;
	atomic_bool stopping, heads_only;
	atomic_ullong body_bytes, cut_at;
	struct raw_conn conns[RAW_CONNS]; /* written by the accepting thread before the count */
	atomic_uint conn_count;
};

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

bool raw_write_n(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	while (len) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

bool raw_write(int fd, const char *text)
{
	return raw_write_n(fd, text, strlen(text));
}

bool raw_reply(int fd, int status, const char *headers, const char *body)
{
	char head[1024];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
		 status, strlen(body), headers);
	return raw_write(fd, head) && raw_write(fd, body);
}

void raw_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void raw_wait_gone(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0)
		;
}

/* Reads up to the empty line; what came behind it is left in the socket. */
static bool read_head(int fd, char *head)
{
	size_t len = 0;
	ssize_t n;
	char *end;

	for (;;) {
		n = recv(fd, head + len, RAW_HEAD_MAX - 1 - len, MSG_PEEK);
		if (n <= 0)
			return false;
		head[len + (size_t)n] = '\0';
		end = strstr(head, "\r\n\r\n");
		if (end)
			n = (end + 4) - (head + len);
		if (recv(fd, head + len, (size_t)n, 0) != n)
			return false;
		len += (size_t)n;
		head[len] = '\0';
		/* A TLS handshake has no end that we know; the answer will be none either. */
		if (end || head[0] == 0x16)
			return true;
		if (len >= RAW_HEAD_MAX - 1)
			return false;
	}
}

/* The body went so far: has the connection to be cut here? */
static bool is_cut(struct raw_server *srv, size_t n)
{
	unsigned long long at = atomic_load(&srv->cut_at);

	return atomic_fetch_add(&srv->body_bytes, n) + n >= at && at &&
	       atomic_compare_exchange_strong(&srv->cut_at, &at, 0);
}

static bool read_body(struct raw_server *srv, int fd, struct raw_request *rq)
{
	const char *at = strcasestr(rq->head, "\r\nContent-Length:");
	size_t left = at ? strtoul(at + 17, NULL, 10) : 0;
	static _Thread_local unsigned char chunk[65536];
	ssize_t n, i;

	while (left) {
		n = recv(fd, chunk, left < sizeof(chunk) ? left : sizeof(chunk), 0);
		if (n <= 0)
			return false;
		for (i = 0; i < n; i++)
			rq->body_sum ^= chunk[i];
		rq->body_len += (size_t)n;
		left -= (size_t)n;
		if (is_cut(srv, (size_t)n))
			return false;
	}
	return true;
}

static void *serve_conn(void *arg)
{
	struct raw_conn *conn = arg;
	struct raw_server *srv = conn->srv;
	struct raw_request *rq = calloc(1, sizeof(*rq));
	bool keep = rq != NULL;

	while (keep) {
		memset(rq, 0, sizeof(*rq));
		if (!read_head(conn->fd, rq->head))
			break;
		rq->nr = atomic_fetch_add(&srv->heads, 1);
		if (!atomic_load(&srv->heads_only) && !read_body(srv, conn->fd, rq))
			break;
		atomic_fetch_add(&srv->requests, 1);
		keep = srv->handler(srv, conn->fd, rq);
	}
	free(rq);
	/* Not closed: raw_stop() may be shutting it down; but the peer sees the end. */
	if (!atomic_load(&srv->stopping)) {
		struct linger l;
		socklen_t size = sizeof(l);

		/* shutdown() would send an orderly end before the reset. */
		if (!getsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &l, &size) && l.l_onoff) {
			int null = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

			dup2(null, conn->fd);
			close(null);
		} else {
			shutdown(conn->fd, SHUT_RDWR);
		}
	}
	return NULL;
}

static void *serve(void *arg)
{
	struct raw_server *srv = arg;
	struct raw_conn *conn;
	unsigned n = 0;
	int fd;

	while (!atomic_load(&srv->stopping)) {
		fd = accept4(srv->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno == EINVAL)
			break; /* shut down */
		if (fd < 0)
			continue;
		check(n < RAW_CONNS, "raw_server: too many connections");
		conn = &srv->conns[n];
		conn->srv = srv;
		conn->fd = fd;
		check(!pthread_create(&conn->thread, NULL, serve_conn, conn), "pthread_create");
		atomic_store(&srv->conn_count, ++n);
	}
	return NULL;
}

struct raw_server *raw_start(raw_handler *handler, void *arg)
{
	struct raw_server *srv = calloc(1, sizeof(*srv));
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t size = sizeof(sin);

	check(srv != NULL, "calloc");
	srv->handler = handler;
	srv->arg = arg;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	srv->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(srv->fd >= 0, "socket");
	check(!bind(srv->fd, (struct sockaddr *)&sin, sizeof(sin)), "bind");
	check(!listen(srv->fd, 256), "listen");
	check(!getsockname(srv->fd, (struct sockaddr *)&sin, &size), "getsockname");
	srv->port = ntohs(sin.sin_port);
	snprintf(srv->url, sizeof(srv->url), "http://127.0.0.1:%u/v1", srv->port);
	check(!pthread_create(&srv->thread, NULL, serve, srv), "pthread_create");
	return srv;
}

uint64_t raw_body_bytes(struct raw_server *srv)
{
	return atomic_load(&srv->body_bytes);
}

void raw_cut_at(struct raw_server *srv, uint64_t bytes)
{
	atomic_store(&srv->cut_at, bytes);
}

void raw_refuse(struct raw_server *srv)
{
	shutdown(srv->fd, SHUT_RDWR);
}

void raw_stop(struct raw_server *srv)
{
	unsigned i, n;

	if (!srv)
		return;
	atomic_store(&srv->stopping, true);
	shutdown(srv->fd, SHUT_RDWR);
	pthread_join(srv->thread, NULL);
	n = atomic_load(&srv->conn_count);
	for (i = 0; i < n; i++)
		shutdown(srv->conns[i].fd, SHUT_RDWR);
	for (i = 0; i < n; i++) {
		pthread_join(srv->conns[i].thread, NULL);
		close(srv->conns[i].fd);
	}
	close(srv->fd);
	free(srv);
}

void *raw_arg(struct raw_server *srv)
{
	return srv->arg;
}

const char *raw_url(struct raw_server *srv)
{
	return srv->url;
}

unsigned raw_port(struct raw_server *srv)
{
	return srv->port;
}

unsigned raw_requests(struct raw_server *srv)
{
	return atomic_load(&srv->requests);
}

unsigned raw_connections(struct raw_server *srv)
{
	return atomic_load(&srv->conn_count);
}

void raw_heads_only(struct raw_server *srv)
{
	atomic_store(&srv->heads_only, true);
}
