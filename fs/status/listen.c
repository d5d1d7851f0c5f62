#include "fs/status/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include "fs/status/json.h"
#include "net/base/buf.h"
#include "net/base/endpoint.h"
#include "net/base/log.h"

#define CONNECTIONS_MAX 16
#define IDLE_S 10

struct listener {
	struct listen_source src;
	struct endpoint at;
	struct MHD_Daemon *daemon;
};

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type,
			     const char *text, size_t len)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, (void *)(uintptr_t)text,
								 MHD_RESPMEM_MUST_COPY);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	ok = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result reply_word(struct MHD_Connection *c, unsigned status, const char *word)
{
	return reply(c, status, "text/plain; charset=utf-8", word, strlen(word));
}

static enum MHD_Result reply_metrics(struct listener *l, struct MHD_Connection *c)
{
	enum MHD_Result ok;
	struct buf text;

	buf_init(&text, STATUS_TEXT_MAX);
	if (l->src.metrics(l->src.arg, &text))
		ok = reply_word(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	else
		ok = reply(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
			   buf_str(&text), text.len);
	buf_release(&text);
	return ok;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *size, void **state)
{
	struct listener *l = arg;

	(void)version, (void)data, (void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return *size ? MHD_NO
			     : reply_word(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD only\n");
	if (!strcmp(url, "/metrics"))
		return reply_metrics(l, c);
	if (!strcmp(url, "/livez"))
		return reply_word(c, MHD_HTTP_OK, "ok\n");
	if (strcmp(url, "/healthz"))
		return reply_word(c, MHD_HTTP_NOT_FOUND, "/metrics, /healthz, /livez\n");
	if (l->src.failing(l->src.arg))
		return reply_word(c, MHD_HTTP_SERVICE_UNAVAILABLE, "the service fails\n");
	return reply_word(c, MHD_HTTP_OK, "ok\n");
}

int listen_start(const struct endpoint *at, const char *text, const struct listen_source *src,
		 struct listener **ret)
{
	struct listener *l = calloc(1, sizeof(*l));
	int fd, r = l ? endpoint_listen(at, &fd) : -ENOMEM;

	if (r) {
		log_error("metrics_listen=%s: %s; name another address or port", text,
			  strerror(-r));
		free(l);
		return r;
	}
	l->src = *src;
	l->at = *at;
	l->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, l,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)IDLE_S, MHD_OPTION_END);
	if (!l->daemon) {
		log_error("metrics_listen=%s: the server does not start", text);
		close(fd);
		endpoint_remove(at);
		free(l);
		return -EIO;
	}
	*ret = l;
	return 0;
}

void listen_stop(struct listener *l)
{
	if (!l)
		return;
	MHD_stop_daemon(l->daemon);
	endpoint_remove(&l->at);
	free(l);
}
