/* server: start and stop; see server.h. */
#include "net/server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/base/endpoint.h"
#include "net/base/log.h"
#include "net/server/files.h"
#include "net/server/request.h"
#include "net/server/store.h"

#define CONN_MEMORY (256u << 10) /* half of it receives the body */
#define CONN_MAX 4096
#define CONN_PER_ADDRESS 1024
#define CONN_TIMEOUT_S 10 /* without a byte, until a request is let in (request.c) */
#define EXPIRE_MS 500
#define SLOW_SOCKET_BUFFER (64 << 10) /* the kernel's buffers must not hide a rate */

int server_parse_listen(const char *text, struct endpoint *ret)
{
	const char *name = "localhost", *rest = text + strlen(name);
	char full[128];
	bool local = !strncmp(text, name, strlen(name)) && (!*rest || *rest == ':');
	int r, n = snprintf(full, sizeof(full), "%s%s", local ? "127.0.0.1" : "",
			    local ? rest : text);

	if (n < 0 || (size_t)n + sizeof(":0") > sizeof(full))
		return -EINVAL;
	r = endpoint_parse(full, ret);
	if (r == -EINVAL) {
		memcpy(full + n, ":0", sizeof(":0"));
		r = endpoint_parse(full, ret);
	}
	return !r && ret->addr.ss_family == AF_UNIX ? -EINVAL : r;
}

static bool is_loopback(const struct endpoint *at)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at->addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&at->addr;

	if (at->addr.ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct server *srv = cls;
	const union MHD_ConnectionInfo *info;
	static const int small = SLOW_SOCKET_BUFFER;
	struct conn *conn;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		free(*context);
		*context = NULL;
		return;
	}
	conn = calloc(1, sizeof(*conn));
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!conn || !info) {
		free(conn);
		return;
	}
	conn->sock = info->connect_fd;
	conn->number = atomic_fetch_add(&srv->conns, 1) + 1;
	conn->pace = (struct pace){ .stop_fd = srv->stop_fd, .rate = srv->rate };
	if (srv->rate) {
		(void)setsockopt(conn->sock, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		(void)setsockopt(conn->sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	}
	*context = conn;
}

/* Debug only: libmicrohttpd logs each connection that a client or a rule cuts. */
static void on_daemon_log(void *cls, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void on_daemon_log(void *cls, const char *fmt, va_list ap)
{
	char line[512];

	(void)cls;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("http: %s", line);
}

static void *janitor_main(void *arg)
{
	struct server *srv = arg;
	const struct pace pace = { .stop_fd = srv->stop_fd };

	while (!pace_wait(&pace, -1, EXPIRE_MS))
		state_expire(srv->state);
	return NULL;
}

static void make_url(struct server *srv, const struct endpoint *at)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at->addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&at->addr;
	const union MHD_DaemonInfo *info;
	char host[INET6_ADDRSTRLEN] = "";
	bool v6 = at->addr.ss_family == AF_INET6;

	info = MHD_get_daemon_info(srv->daemon, MHD_DAEMON_INFO_BIND_PORT);
	inet_ntop(at->addr.ss_family, v6 ? (const void *)&in6->sin6_addr : &in->sin_addr, host,
		  sizeof(host));
	snprintf(srv->url, sizeof(srv->url), v6 ? "http://[%s]:%u%s" : "http://%s:%u%s", host,
		 info ? info->port : 0, flavor_base(srv->flavor));
}

/* Start the socket and its threads, last of all: requests come from here on. */
static int start_daemon(struct server *srv, const struct endpoint *at)
{
	unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION |
			 MHD_USE_ITC | MHD_USE_ERROR_LOG;

	if (at->addr.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	/* Set no limit per address on the loopback: all users share one address. */
	errno = 0;
	srv->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, request_handler, srv, MHD_OPTION_EXTERNAL_LOGGER,
		on_daemon_log, NULL, MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)&at->addr,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONN_MEMORY,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONN_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)CONN_TIMEOUT_S, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		is_loopback(at) ? 0 : (unsigned)CONN_PER_ADDRESS, MHD_OPTION_NOTIFY_COMPLETED,
		request_completed, srv, MHD_OPTION_NOTIFY_CONNECTION, on_connection, srv,
		MHD_OPTION_END);
	if (!srv->daemon) {
		int err = errno ? -errno : -EIO;

		log_error("cannot listen: %s", strerror(-err));
		return err;
	}
	make_url(srv, at);
	return 0;
}

static int open_store(struct server *srv, const char *dir)
{
	int err = dir ? store_open(dir, true, &srv->store) : store_open_forgetful(&srv->store);

	if (err)
		log_error("cannot use the directory %s: %s", dir ? dir : "(none)",
			  err == -EBUSY ? "another server is using it"
			  : err == -EPERM
				  ? "it, or a directory in it, belongs to another user or lets "
				    "others write; chown it to yourself and chmod go-w"
				  : strerror(-err));
	return err;
}

static int open_state(struct server *srv, const struct server_opts *opts)
{
	unsigned ttl_s =
		opts->upload_ttl_s ? opts->upload_ttl_s : flavor_upload_ttl_s(opts->flavor);
	int err = state_open(srv->store, ttl_s, &srv->state);

	if (err)
		log_error("cannot load %s: %s", opts->dir ? opts->dir : "(none)", strerror(-err));
	else
		srv->state->in_sequence = opts->flavor == FLAVOR_SEQUENTIAL;
	if (err)
		return err;
	if (!opts->dir)
		err = file_invent(srv->state, opts->sink_files, opts->sink_file_bytes);
	return err;
}

static int open_parts(struct server *srv, const struct server_opts *opts)
{
	int err = open_store(srv, opts->dir);

	if (err)
		return err;
	if (opts->faults && opts->fault_hook)
		err = opts->fault_hook->open(opts->faults, &srv->faults);
	if (err)
		return err;
	if (opts->journal)
		err = journal_open(opts->journal, &srv->journal_fd);
	if (err) {
		log_error("cannot open the journal %s: %s", opts->journal, strerror(-err));
		return err;
	}
	return open_state(srv, opts);
}

static int init(struct server *srv, const struct server_opts *opts)
{
	srv->journal_fd = -1;
	srv->latency_ms = opts->latency_ms;
	srv->no_range = opts->no_range;
	srv->flavor = opts->flavor;
	srv->rate = opts->rate;
	srv->fault_hook = opts->fault_hook;
	srv->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (srv->stop_fd < 0)
		return -errno;
	if (!opts->key || !*opts->key)
		return 0;
	srv->key = strdup(opts->key);
	log_secret(opts->key);
	return srv->key ? 0 : -ENOMEM;
}

int server_start(const struct server_opts *opts, struct server **ret)
{
	struct server *srv;
	struct endpoint at;
	int err = server_parse_listen(opts->listen ? opts->listen : "", &at);

	if (err) {
		log_error("not an IP address to listen on: %s", opts->listen);
		return -EINVAL;
	}
	if (!is_loopback(&at) && (!opts->key || !*opts->key)) {
		log_error(
			"refusing to listen on %s, which is not a loopback address, without a key",
			opts->listen);
		return -EACCES;
	}
	srv = calloc(1, sizeof(*srv));
	if (!srv)
		return -ENOMEM;
	err = init(srv, opts);
	if (!err)
		err = open_parts(srv, opts);
	if (err)
		goto fail;
	err = -pthread_create(&srv->janitor, NULL, janitor_main, srv);
	if (err)
		goto fail;
	err = start_daemon(srv, &at);
	if (err) {
		server_stop(srv);
		return err;
	}
	*ret = srv;
	return 0;
fail:
	srv->janitor = 0;
	server_stop(srv);
	return err;
}

const char *server_url(const struct server *srv)
{
	return srv->url;
}

void server_stop(struct server *srv)
{
	if (!srv)
		return;
	if (srv->stop_fd >= 0)
		(void)eventfd_write(srv->stop_fd, 1);
	if (srv->state)
		state_stop(srv->state);
	if (srv->daemon)
		MHD_stop_daemon(srv->daemon);
	if (srv->janitor)
		pthread_join(srv->janitor, NULL);
	state_close(srv->state);
	store_close(srv->store);
	if (srv->faults)
		srv->fault_hook->close(srv->faults);
	if (srv->journal_fd >= 0)
		close(srv->journal_fd);
	if (srv->stop_fd >= 0)
		close(srv->stop_fd);
	free(srv->key);
	free(srv);
}
