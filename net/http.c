#include "net/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/buf.h"
#include "net/clock.h"
#include "net/url.h"

#define HTTP_UPLOAD_BUFFER (512L << 10) /* of a part; a call keeps curl's 64 KiB */
#define HTTP_DATA_BUFFER (256L << 10)	/* of a streamed reply */
#define HTTP_ERROR_BODY_MAX (64U << 10) /* of a reply outside 2xx; what lies behind is dropped */
#define HTTP_HEADERS_MAX (256U << 10)
#define HTTP_HOPS_MAX 5
#define HTTP_WATCH_MS 500

TAILQ_HEAD(http_xfers, http_xfer);
STAILQ_HEAD(http_tasks, http_task);

struct http {
	CURLM *multi;
	pthread_t thread;
	struct http_config cfg;
	char *user_agent;
	bool stopped; /* the thread was joined */
	atomic_ullong sent, received;

	pthread_mutex_t lock;
	struct http_tasks tasks; /* by lock */
	bool stopping, closed;	 /* by lock; closed: tasks are refused */

	struct http_xfers xfers; /* network thread only, as all below */
	uint64_t watch_at;
};

struct http_xfer {
	TAILQ_ENTRY(http_xfer) link;
	struct http *http;
	CURL *easy;
	curl_mime *mime;
	struct curl_slist *plain, *all; /* headers without and with the secret ones */
	char *url;			/* the first, to which the secret ones go */
	struct http_part part;
	uint64_t part_at; /* next byte of the part to hand out */
	uint64_t body_len;
	http_done_cb *done;
	http_data_cb *data;
	void *arg;
	struct http_head head;
	struct buf reply;
	size_t reply_max;
	uint64_t idle_ms, reply_ms;
	uint64_t moved, moved_at; /* bytes both ways; when that last changed */
	uint64_t up, down;	  /* what http->sent and received know of */
	size_t header_bytes;
	unsigned sends, hops;
	int local_errno;
	bool get, follow, kept, stale, timed_out, too_big, enough;
	char error[CURL_ERROR_SIZE];
};

/* ---- what curl calls ---- */

static size_t on_part_read(char *dst, size_t size, size_t count, void *arg)
{
	struct http_xfer *x = arg;
	uint64_t left = x->part.len - x->part_at;
	size_t want = size * count;
	ssize_t n;

	if (want > left)
		want = (size_t)left;
	if (!want)
		return 0;
	do {
		n = pread(x->part.fd, dst, want, (off_t)(x->part.offset + x->part_at));
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		x->local_errno = n ? -errno : -EIO;
		return CURL_READFUNC_ABORT;
	}
	x->part_at += (size_t)n;
	if (x->part.moving)
		atomic_fetch_add(x->part.moving, (unsigned long long)n);
	return (size_t)n;
}

static int on_part_seek(void *arg, curl_off_t offset, int origin)
{
	struct http_xfer *x = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > x->part.len)
		return CURL_SEEKFUNC_CANTSEEK;
	/* Unsigned, so that it may go down as well. */
	if (x->part.moving)
		atomic_fetch_add(x->part.moving, (unsigned long long)offset - x->part_at);
	x->part_at = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_xfer *x = arg;
	size_t len = size * count, room;
	int rc;

	if (x->head.status < 200 || x->head.status > 299) {
		room = HTTP_ERROR_BODY_MAX - x->reply.len;
		buf_add(&x->reply, data, len < room ? len : room);
		return len;
	}
	if (x->data) {
		rc = x->data(x->arg, &x->head, data, len);
		if (rc < 0)
			x->local_errno = rc;
		x->enough = rc == HTTP_ENOUGH;
		return rc ? 0 : len;
	}
	rc = x->reply.len + len > x->reply_max ? -EMSGSIZE : buf_add(&x->reply, data, len);
	if (!rc)
		return len;
	x->too_big = rc == -EMSGSIZE;
	x->local_errno = rc;
	return 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct http_xfer *x = arg;

	x->header_bytes += size * count;
	http_head_line(&x->head, data, size * count);
	if (x->header_bytes <= HTTP_HEADERS_MAX)
		return size * count;
	x->too_big = true;
	return 0;
}

/* Runs as a request is about to be sent on a connection. */
static int on_send(void *arg, char *remote, char *local, int remote_port, int local_port)
{
	struct http_xfer *x = arg;
	long connects = 0;

	(void)remote, (void)local, (void)remote_port, (void)local_port;
	/*
	 * A second time is curl's own retry after a kept connection broke. The
	 * first may have been carried out, and only our caller can tell whether
	 * doing it twice is harmless.
	 */
	if (++x->sends > 1 && !x->get) {
		x->stale = true;
		return CURL_PREREQFUNC_ABORT;
	}
	curl_easy_getinfo(x->easy, CURLINFO_NUM_CONNECTS, &connects);
	x->kept = !connects;
	x->moved_at = clock_mono_ms();
	return CURL_PREREQFUNC_OK;
}

/* ---- starting ---- */

static int set_url(struct http_xfer *x, const char *url)
{
	bool home = url_same_origin(url, x->url);

	/* A proxy from the environment cannot reach our loopback. */
	curl_easy_setopt(x->easy, CURLOPT_PROXY, url_is_loopback(url) ? "" : NULL);
	/* curl itself would take only Authorization and Cookie away from another host. */
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, home ? x->all : x->plain);
	return curl_easy_setopt(x->easy, CURLOPT_URL, url) ? -ENOMEM : 0;
}

static int add_headers(struct curl_slist **list, const char *const *headers)
{
	struct curl_slist *longer;

	for (; headers && *headers; headers++) {
		longer = curl_slist_append(*list, *headers);
		if (!longer)
			return -ENOMEM;
		*list = longer;
	}
	return 0;
}

static int set_headers(struct http_xfer *x, const struct http_request *rq)
{
	/* Without Expect a large body would wait up to a second for a 100 that few send. */
	static const char *const ours[] = { "Expect:", NULL };

	if (add_headers(&x->plain, ours) || add_headers(&x->plain, rq->headers) ||
	    add_headers(&x->all, ours) || add_headers(&x->all, rq->headers) ||
	    add_headers(&x->all, rq->auth_headers))
		return -ENOMEM;
	return 0;
}

static int set_part(struct http_xfer *x, const struct http_part *part)
{
	curl_mimepart *field;

	x->part = *part;
	x->body_len = part->len;
	x->mime = curl_mime_init(x->easy);
	field = x->mime ? curl_mime_addpart(x->mime) : NULL;
	if (!field || curl_mime_name(field, part->field) ||
	    curl_mime_filename(field, part->filename) ||
	    curl_mime_type(field, "application/octet-stream") ||
	    curl_mime_data_cb(field, (curl_off_t)part->len, on_part_read, on_part_seek, NULL, x))
		return -ENOMEM;
	x->part.field = x->part.filename = NULL;
	curl_easy_setopt(x->easy, CURLOPT_UPLOAD_BUFFERSIZE, HTTP_UPLOAD_BUFFER);
	return curl_easy_setopt(x->easy, CURLOPT_MIMEPOST, x->mime) ? -ENOMEM : 0;
}

static int set_method(struct http_xfer *x, const struct http_request *rq)
{
	x->get = rq->method == HTTP_GET;
	if (rq->method == HTTP_DELETE)
		return curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, "DELETE") ? -ENOMEM : 0;
	if (rq->method == HTTP_GET)
		return 0;
	if (rq->part)
		return set_part(x, rq->part);
	x->body_len = rq->body_len;
	curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
	curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, rq->body ? rq->body : "");
	return 0;
}

static void set_options(struct http_xfer *x, const struct http_request *rq)
{
	CURL *e = x->easy;

	curl_easy_setopt(e, CURLOPT_PRIVATE, x);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)x->http->cfg.connect_timeout_s);
	curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)rq->total_timeout_s);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_send);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, x);
	if (x->http->user_agent)
		curl_easy_setopt(e, CURLOPT_USERAGENT, x->http->user_agent);
	if (rq->data)
		curl_easy_setopt(e, CURLOPT_BUFFERSIZE, HTTP_DATA_BUFFER);
}

static void xfer_free(struct http_xfer *x)
{
	if (!x)
		return;
	curl_easy_cleanup(x->easy);
	curl_mime_free(x->mime);
	curl_slist_free_all(x->plain);
	curl_slist_free_all(x->all);
	buf_release(&x->reply);
	free(x->url);
	free(x);
}

int http_start(struct http *h, const struct http_request *rq, struct http_xfer **ret)
{
	struct http_xfer *x = calloc(1, sizeof(*x));
	int rc = -ENOMEM;

	if (!x)
		return -ENOMEM;
	x->http = h;
	x->done = rq->done;
	x->data = rq->data;
	x->arg = rq->arg;
	x->follow = rq->follow;
	x->idle_ms = rq->idle_timeout_s * 1000ULL;
	x->reply_ms = rq->reply_timeout_s * 1000ULL;
	x->reply_max = rq->reply_max;
	http_head_init(&x->head);
	buf_init(&x->reply,
		 rq->reply_max > HTTP_ERROR_BODY_MAX ? rq->reply_max : HTTP_ERROR_BODY_MAX);
	x->url = strdup(rq->url);
	x->easy = curl_easy_init();
	if (!x->url || !x->easy)
		goto fail;
	set_options(x, rq);
	rc = set_headers(x, rq);
	if (!rc)
		rc = set_method(x, rq);
	if (!rc)
		rc = set_url(x, rq->url);
	if (!rc && curl_multi_add_handle(h->multi, x->easy))
		rc = -ENOMEM;
	if (rc)
		goto fail;
	TAILQ_INSERT_TAIL(&h->xfers, x, link);
	*ret = x;
	return 0;
fail:
	xfer_free(x);
	return rc;
}

/* ---- ending ---- */

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
 * May the peer have seen it whole? When a kept connection breaks, curl makes a
 * new one to send again. If that fails, on_send() is not called a second time,
 * and neither the error nor the counters tell of the request that did go out.
 */
static bool maybe_sent(const struct http_xfer *x)
{
	return sent_whole(x) || (x->sends && x->kept && x->head.status < 100);
}

static void unlink_xfer(struct http_xfer *x)
{
	curl_multi_remove_handle(x->http->multi, x->easy);
	TAILQ_REMOVE(&x->http->xfers, x, link);
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
	xfer_free(x);
	return whole;
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
	case CURLE_UNSUPPORTED_PROTOCOL: /* also a reply that is no HTTP */
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
}

/* Goes on with the next hop of a redirect: true when the transfer is under way again. */
static bool follow(struct http_xfer *x, CURLcode code)
{
	char *next = NULL, *copy;
	bool going = false;

	curl_easy_getinfo(x->easy, CURLINFO_REDIRECT_URL, &next);
	if (code || !x->follow || !x->get || x->head.status < 300 || x->head.status > 399 ||
	    !next || x->hops >= HTTP_HOPS_MAX || (url_is_https(x->url) && !url_is_https(next)))
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
	if (!set_url(x, copy) && !curl_multi_add_handle(x->http->multi, x->easy))
		going = true;
	else
		x->local_errno = -ENOMEM;
	free(copy);
	return going;
}

static void finish(struct http_xfer *x, CURLcode code)
{
	struct http_result res;

	count_bytes(x);
	if (follow(x, code))
		return;
	fill_result(x, code, &res);
	unlink_xfer(x);
	x->done(x->arg, &res);
	xfer_free(x);
}

/* ---- the thread ---- */

static void run_tasks(struct http *h)
{
	struct http_tasks batch = STAILQ_HEAD_INITIALIZER(batch);
	struct http_task *task;

	pthread_mutex_lock(&h->lock);
	STAILQ_CONCAT(&batch, &h->tasks);
	pthread_mutex_unlock(&h->lock);
	while ((task = STAILQ_FIRST(&batch))) {
		/* Out of the list first: the task may be posted again, or gone, after fn. */
		STAILQ_REMOVE_HEAD(&batch, link);
		task->fn(task);
	}
}

static void reap(struct http *h)
{
	struct http_xfer *x;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &x);
		finish(x, msg->data.result);
	}
}

/* Ends what has not moved for too long; curl's own limit cannot tell idle from waiting. */
static void watch(struct http *h, uint64_t now)
{
	struct http_xfer *x, *next;
	uint64_t moved, limit;

	if (now < h->watch_at)
		return;
	h->watch_at = now + HTTP_WATCH_MS;
	for (x = TAILQ_FIRST(&h->xfers); x; x = next) {
		next = TAILQ_NEXT(x, link);
		moved = count_bytes(x);
		if (moved != x->moved)
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
		finish(x, CURLE_OPERATION_TIMEDOUT);
	}
}

static bool may_end(struct http *h)
{
	bool end;

	pthread_mutex_lock(&h->lock);
	end = h->stopping && STAILQ_EMPTY(&h->tasks) && TAILQ_EMPTY(&h->xfers);
	h->closed = end;
	pthread_mutex_unlock(&h->lock);
	return end;
}

static void *http_thread(void *arg)
{
	struct http *h = arg;
	uint64_t now, next;
	int running;

	for (;;) {
		run_tasks(h);
		curl_multi_perform(h->multi, &running);
		reap(h);
		now = clock_mono_ms();
		watch(h, now);
		next = h->cfg.tick(h->cfg.tick_arg);
		if (may_end(h))
			return NULL;
		if (!TAILQ_EMPTY(&h->xfers) && next > now + HTTP_WATCH_MS)
			next = now + HTTP_WATCH_MS;
		now = clock_mono_ms();
		next = next <= now ? 0 : next - now > 60000 ? 60000 : next - now;
		/* A post in the meantime makes this return at once. */
		if (curl_multi_poll(h->multi, NULL, 0, (int)next, NULL))
			usleep(10000); /* out of memory or fds: do not spin */
	}
}

bool http_post(struct http *h, struct http_task *task)
{
	bool taken;

	pthread_mutex_lock(&h->lock);
	taken = !h->closed;
	if (taken) {
		STAILQ_INSERT_TAIL(&h->tasks, task, link);
		/* Under the lock: http_stop() may free the multi once it is closed. */
		curl_multi_wakeup(h->multi);
	}
	pthread_mutex_unlock(&h->lock);
	return taken;
}

void http_bytes(struct http *h, uint64_t *ret_sent, uint64_t *ret_received)
{
	*ret_sent = atomic_load(&h->sent);
	*ret_received = atomic_load(&h->received);
}

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* With all signals blocked: they are for the program's own threads, and EPIPE is enough. */
static int start_thread(struct http *h)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&h->thread, NULL, http_thread, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int http_new(const struct http_config *cfg, struct http **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http *h;
	int rc = -ENOMEM;

	pthread_once(&once, global_init);
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	STAILQ_INIT(&h->tasks);
	TAILQ_INIT(&h->xfers);
	h->cfg = *cfg;
	h->stopped = true;
	h->user_agent = cfg->user_agent ? strdup(cfg->user_agent) : NULL;
	h->multi = curl_multi_init();
	if (!h->multi || (cfg->user_agent && !h->user_agent))
		goto fail;
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)cfg->max_connections);
	rc = start_thread(h);
	if (rc)
		goto fail;
	h->stopped = false;
	*ret = h;
	return 0;
fail:
	curl_multi_cleanup(h->multi);
	h->multi = NULL;
	http_free(h);
	return rc;
}

void http_stop(struct http *h)
{
	if (h->stopped)
		return;
	pthread_mutex_lock(&h->lock);
	h->stopping = true;
	curl_multi_wakeup(h->multi);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	h->stopped = true;
	curl_multi_cleanup(h->multi);
	h->multi = NULL;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h->user_agent);
	free(h);
}
