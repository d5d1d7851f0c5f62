#include "net/http/end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/http/conn.h"
#include "net/http/thread_impl.h"
#include "net/http/url.h"
#include "net/http/xfer.h"

#define HTTP_HOPS_MAX 5

/* Brings the counters up to date; returns all bytes moved, headers included. */
static uint64_t count_bytes(struct http_xfer *x)
{
	curl_off_t up = 0, down = 0;

	curl_easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(x->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	if ((uint64_t)up > x->up) {
		atomic_fetch_add(&x->http->sent, (uint64_t)up - x->up);
		x->up = (uint64_t)up;
	}
	if ((uint64_t)down > x->down) {
		atomic_fetch_add(&x->http->received, (uint64_t)down - x->down);
		x->down = (uint64_t)down;
	}
	return (uint64_t)up + (uint64_t)down + x->header_bytes;
}

static bool sent_whole(const struct http_xfer *x)
{
	/* After an attempt of its own curl counts from zero: assume the worst. */
	return x->sends > 1 || (x->sends && x->up >= x->body_len);
}

/*
 * Returns whether the peer may have seen the whole request. When a kept connection breaks, curl
 * makes a new one to send again. If that fails, on_send() is not called a second time, and
 * neither the error nor the counters tell of the request that did go out.
 */
static bool maybe_sent(const struct http_xfer *x)
{
	return sent_whole(x) || (x->sends && x->kept && x->head.status < 100);
}

static void unlink_xfer(struct http_xfer *x)
{
	curl_multi_remove_handle(x->http->multi, x->easy);
	TAILQ_REMOVE(&x->http->xfers, x, link);
	http_rate_leave(&x->http->up_rate, &x->turn);
	if (x->part.moving)
		atomic_fetch_sub(x->part.moving, x->part_at);
	x->part.moving = NULL;
}

bool http_abort(struct http_xfer *x)
{
	bool whole;

	count_bytes(x);
	whole = maybe_sent(x);
	unlink_xfer(x);
	http_xfer_free(x);
	return whole;
}

/* True if the failure is about what came: no HTTP, or what curl can't undo. */
static bool is_garbled(const struct http_xfer *x, CURLcode code)
{
	if (!x->sends)
		return false;
	switch (code) {
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_FILESIZE_EXCEEDED:	 /* a Content-Length beyond all bounds */
	case CURLE_UNSUPPORTED_PROTOCOL: /* another version than HTTP/1 */
	case CURLE_OUT_OF_MEMORY:	 /* a header line beyond curl's bound of 100 KB */
		return true;
#if LIBCURL_VERSION_NUM >= 0x080600
	case CURLE_TOO_LARGE:
		return true;
#endif
	case CURLE_RECV_ERROR: /* of a connection as well: only the words tell */
		return strstr(x->error, "chunk") || strstr(x->error, "Too large response headers");
	default:
		return false;
	}
}

static enum http_fail classify(const struct http_xfer *x, CURLcode code)
{
	if (x->timed_out)
		return HTTP_FAIL_TIMEOUT;
	if (x->too_big)
		return HTTP_FAIL_TOO_BIG;
	if (x->local_errno)
		return HTTP_FAIL_LOCAL;
	if (x->enough)
		return HTTP_REPLIED;
	if (is_garbled(x, code))
		return HTTP_FAIL_GARBLED;
	switch (code) {
	case CURLE_OK:
		return HTTP_REPLIED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		return x->sends ? HTTP_FAIL_BROKEN : HTTP_FAIL_CONNECT;
	case CURLE_OPERATION_TIMEDOUT:
		return HTTP_FAIL_TIMEOUT;
	case CURLE_SSL_CONNECT_ERROR:
		return HTTP_FAIL_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CRL_BADFILE:
		return HTTP_FAIL_VERIFY;
	case CURLE_OUT_OF_MEMORY:
		return HTTP_FAIL_LOCAL;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return x->sends ? HTTP_FAIL_BROKEN : HTTP_FAIL_REFUSED;
	default:
		return HTTP_FAIL_BROKEN;
	}
}

static void fill_result(struct http_xfer *x, CURLcode code, struct http_result *res)
{
	memset(res, 0, sizeof(*res));
	res->fail = classify(x, code);
	if (res->fail == HTTP_FAIL_LOCAL)
		res->local_errno = x->local_errno ? x->local_errno : -ENOMEM;
	res->head = x->head;
	res->sent_whole = maybe_sent(x);
	res->stale = x->stale;
	res->body = buf_str(&x->reply);
	res->body_len = x->reply.len;
	res->text = x->stale	  ? "the kept connection broke"
		    : x->error[0] ? x->error
				  : curl_easy_strerror(code);
	if (res->fail == HTTP_REPLIED)
		res->text = "";
	else if (res->fail == HTTP_FAIL_GARBLED && code == CURLE_OUT_OF_MEMORY)
		res->text = "a header line of the reply is too long";
	else if (!x->sends)
		http_conn_explain(x->easy, code, x->proxied, res, x->error);
}

/* Follows a redirect: true if the transfer is under way again. */
static bool follow(struct http_xfer *x, CURLcode code)
{
	char *next = NULL, *here = NULL, *copy;
	bool going = false;

	curl_easy_getinfo(x->easy, CURLINFO_REDIRECT_URL, &next);
	curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &here);
	if (code || !x->follow || !x->get || x->head.status < 300 || x->head.status > 399 ||
	    !next || x->hops >= HTTP_HOPS_MAX || !here ||
	    (url_is_https(here) && !url_is_https(next)))
		return false;
	copy = strdup(next); /* curl's own goes away with the old state */
	if (!copy)
		return false;
	curl_multi_remove_handle(x->http->multi, x->easy);
	buf_reset(&x->reply);
	x->hops++;
	http_head_init(&x->head);
	x->header_bytes = 0;
	x->up = x->down = x->moved = 0;
	x->sends = 0;
	if (!http_xfer_set_url(x, copy) && !curl_multi_add_handle(x->http->multi, x->easy))
		going = true;
	else
		x->local_errno = -ENOMEM;
	free(copy);
	return going;
}

void http_finish(struct http_xfer *x, CURLcode code)
{
	struct http_result res;

	count_bytes(x);
	if (follow(x, code))
		return;
	http_xfer_flush(x);
	fill_result(x, code, &res);
	unlink_xfer(x);
	x->done(x->arg, &res);
	http_xfer_free(x);
}

/* ---- the watchdog ---- */

/*
 * Ends transfers that have not moved for too long; curl's own limit cannot tell idle from waiting.
 */
void http_watch(struct http *h, uint64_t now)
{
	struct http_xfer *x, *next;
	uint64_t moved, limit;

	if (now < h->watch_at)
		return;
	h->watch_at = now + HTTP_WATCH_MS;
	for (x = TAILQ_FIRST(&h->xfers); x; x = next) {
		next = TAILQ_NEXT(x, link);
		moved = count_bytes(x);
		if (moved != x->moved || x->waits || x->turn.queued_at)
			x->moved_at = now;
		x->moved = moved;
		/* Before it is sent, connect_timeout_s is what counts. */
		if (!x->sends)
			continue;
		limit = sent_whole(x) && x->head.status < 200 ? x->reply_ms : x->idle_ms;
		if (now <= x->moved_at + limit)
			continue;
		x->timed_out = true;
		snprintf(x->error, sizeof(x->error), "%s for %llu s",
			 limit == x->reply_ms ? "no reply" : "no byte moved",
			 (unsigned long long)(limit / 1000));
		http_finish(x, CURLE_OPERATION_TIMEDOUT);
	}
}
