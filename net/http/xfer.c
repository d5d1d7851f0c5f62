#include "net/http/old_curl.h"
#include "net/http/xfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/base/clock.h"
#include "net/http/conn.h"
#include "net/http/thread_impl.h"
#include "net/http/url.h"

#define HTTP_ERROR_BODY_MAX (64U << 10) /* of a reply outside 2xx; the rest is dropped */
#define HTTP_DATA_BUFFER (256U << 10)	/* of a streamed reply: received, and handed on, at once */
#define HTTP_UPLOAD_BUFFER (512U << 10) /* of a part; a call keeps curl's 64 KiB */
#define HTTP_BUFFER_STEP (16U << 10)	/* a short body has buffers of so many times this: what */
					/* malloc() maps costs a fault a page each time */
#define HTTP_HEADERS_MAX (256U << 10)
#define HTTP_TUNNEL_MAX (64U << 10) /* bytes of a reply to CONNECT, taken in one turn of the loop */

/* The size of a buffer for a body of len bytes and what goes with it; 0: unknown. */
static size_t buffer_size(uint64_t len, size_t max)
{
	if (!len || len > max - 2 * HTTP_BUFFER_STEP)
		return max;
	return (size_t)(len / HTTP_BUFFER_STEP + 2) * HTTP_BUFFER_STEP;
}

/* ---- what curl calls ---- */

/* Returns the bytes of the part that can be handed out now. */
static uint64_t part_left(const struct http_xfer *x)
{
	uint64_t end = x->part.len, ready;

	if (x->part.ready && x->part_at < end) {
		ready = x->part.ready(x->part.ready_arg, x->part_at);
		if (ready < end)
			end = ready;
	}
	return end > x->part_at ? end - x->part_at : 0;
}

static size_t on_part_read(char *dst, size_t size, size_t count, void *arg)
{
	struct http_xfer *x = arg;
	uint64_t left = part_left(x);
	size_t want = size * count;
	ssize_t n;

	x->waits = !left && x->part_at < x->part.len;
	if (x->waits)
		return CURL_READFUNC_PAUSE;
	if (want > left)
		want = (size_t)left;
	if (!want)
		return 0;
	want = http_rate_send(&x->http->up_rate, &x->turn, want);
	if (!want)
		return CURL_READFUNC_PAUSE;
	do {
		n = pread(x->part.fd, dst, want, (off_t)(x->part.offset + x->part_at));
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		x->local_errno = n ? -errno : -ENODATA;
		return CURL_READFUNC_ABORT;
	}
	x->local_errno =
		x->part.check ? x->part.check(x->part.check_arg, x->part_at, dst, (size_t)n) : 0;
	if (x->local_errno)
		return CURL_READFUNC_ABORT;
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
	/* Unsigned arithmetic, so that the counter may go down as well. */
	if (x->part.moving)
		atomic_fetch_add(x->part.moving, (unsigned long long)offset - x->part_at);
	x->part_at = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* Notes the data callback's answer. */
static int hand_on(struct http_xfer *x, const void *data, size_t len)
{
	int rc = x->data(x->arg, &x->head, data, len);

	if (rc < 0)
		x->local_errno = rc;
	x->enough = rc == HTTP_ENOUGH;
	return rc;
}

int http_xfer_flush(struct http_xfer *x)
{
	size_t len = x->gathered;

	x->gathered = 0;
	return len ? hand_on(x, x->gather, len) : 0;
}

/*
 * curl cuts what it has received into pieces of 16 KiB. They are put together again, since what
 * a piece costs whoever takes it is much more than the copy. http_xfer_flush() follows when
 * curl is done with what it has, so that nothing waits for bytes that are not there yet.
 */
static int gather(struct http_xfer *x, const char *data, size_t len)
{
	int rc = 0;

	if (!x->gather)
		x->gather = malloc(x->gather_size);
	if (!x->gather || len > x->gather_size - x->gathered)
		rc = http_xfer_flush(x);
	if (rc)
		return rc;
	if (!x->gather || len > x->gather_size)
		return hand_on(x, data, len);
	memcpy(x->gather + x->gathered, data, len);
	x->gathered += len;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_xfer *x = arg;
	size_t len = size * count, room;
	int rc;

	if (x->head.status < 200 || x->head.status > 299) {
		room = HTTP_ERROR_BODY_MAX - x->reply.len;
		buf_add(&x->reply, data, len < room ? len : room);
		/* More than that is a flood: end here, with what is known. */
		x->enough = len > room;
		return x->enough ? 0 : len;
	}
	if (x->data) {
		if (!http_rate_receive(&x->http->down_rate, &x->turn, len))
			return CURL_WRITEFUNC_PAUSE;
		return gather(x, data, len) ? 0 : len;
	}
	/* A long list would be moved each time it has doubled. */
	if (!x->reply.len && x->head.content_length > (int64_t)len &&
	    (uint64_t)x->head.content_length <= x->reply_max)
		buf_expect(&x->reply, (size_t)x->head.content_length);
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

/*
 * curl takes a proxy's reply to CONNECT byte by byte, in a loop that ends only when no byte is
 * there, and calls this for each byte. A proxy that floods it would hold the thread for ever.
 */
static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
		       curl_off_t up)
{
	struct http_xfer *x = arg;

	(void)down_all, (void)down, (void)up_all, (void)up;
	if (x->sends)
		return 0;
	if (x->turn_no != x->http->turn_no) {
		x->turn_no = x->http->turn_no;
		x->turn_calls = 0;
	}
	return ++x->turn_calls > HTTP_TUNNEL_MAX;
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

int http_xfer_set_url(struct http_xfer *x, const char *url)
{
	bool home = url_same_origin(url, x->url);

	if (http_conn_route(x->easy, &x->http->network, url, &x->proxied) ||
	    http_conn_present(x->easy, &x->http->network, home))
		return -ENOMEM;
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
	static const char *const small[] = { "Expect:", NULL };
	static const char *const streamed[] = { "Expect:", "Accept-Encoding: identity", NULL };
	const char *const *ours = rq->data ? streamed : small;

	if (add_headers(&x->plain, ours) || add_headers(&x->plain, rq->headers) ||
	    add_headers(&x->all, ours) || add_headers(&x->all, rq->headers) ||
	    add_headers(&x->all, rq->auth_headers))
		return -ENOMEM;
	return 0;
}

static int add_text(struct http_xfer *x, const struct http_field *field)
{
	curl_mimepart *part;

	for (; field && field->name; field++) {
		part = curl_mime_addpart(x->mime);
		if (!part || curl_mime_name(part, field->name) ||
		    curl_mime_data(part, field->value, CURL_ZERO_TERMINATED))
			return -ENOMEM;
	}
	return 0;
}

static int set_part(struct http_xfer *x, const struct http_part *part)
{
	curl_mimepart *field;

	x->part = *part;
	x->body_len = part->len;
	x->mime = curl_mime_init(x->easy);
	if (!x->mime || add_text(x, part->before))
		return -ENOMEM;
	field = curl_mime_addpart(x->mime);
	if (!field || curl_mime_name(field, part->field) ||
	    curl_mime_filename(field, part->filename) ||
	    curl_mime_type(field, part->type ? part->type : "application/octet-stream") ||
	    curl_mime_data_cb(field, (curl_off_t)part->len, on_part_read, on_part_seek, NULL, x))
		return -ENOMEM;
	x->part.field = x->part.filename = x->part.type = NULL;
	x->part.before = NULL;
	/* A quote in a filename as \", which more servers undo than a %22. */
	old_curl_escape_quotes(x->easy);
	curl_easy_setopt(x->easy, CURLOPT_UPLOAD_BUFFERSIZE,
			 (long)buffer_size(part->len, HTTP_UPLOAD_BUFFER));
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
	old_curl_protocols(e);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)x->http->cfg.connect_timeout_s);
	curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)rq->total_timeout_s);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
	old_curl_before_send(e, on_send, x, rq->method != HTTP_GET);
	curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(e, CURLOPT_XFERINFODATA, x);
	curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
	http_conn_setup(e, &x->http->network);
	if (x->http->user_agent)
		curl_easy_setopt(e, CURLOPT_USERAGENT, x->http->user_agent);
	if (rq->fresh)
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	x->gather_size = buffer_size(rq->expected, HTTP_DATA_BUFFER);
	if (rq->data)
		curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)x->gather_size);
	else
		/* Whatever curl can undo; a coding that was not asked for is undone as well. */
		curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "");
}

void http_xfer_free(struct http_xfer *x)
{
	if (!x)
		return;
	curl_easy_cleanup(x->easy);
	curl_mime_free(x->mime);
	curl_slist_free_all(x->plain);
	curl_slist_free_all(x->all);
	buf_release(&x->reply);
	free(x->gather);
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
	x->turn.xfer = x;
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
		rc = http_xfer_set_url(x, rq->url);
	if (!rc && curl_multi_add_handle(h->multi, x->easy))
		rc = -ENOMEM;
	if (rc)
		goto fail;
	TAILQ_INSERT_TAIL(&h->xfers, x, link);
	*ret = x;
	return 0;
fail:
	http_xfer_free(x);
	return rc;
}

CURLcode http_xfer_resume_send(struct http_xfer *x)
{
	/*
	 * If a pause follows other bytes in the same buffer, curl's form has noted the pause but
	 * the transfer has not. Resuming the transfer alone is then a no-op, and the form would
	 * pause for ever.
	 */
	curl_easy_pause(x->easy, CURLPAUSE_SEND);
	return curl_easy_pause(x->easy, CURLPAUSE_CONT);
}

CURLcode http_xfer_resume_receive(struct http_xfer *x)
{
	return curl_easy_pause(x->easy, CURLPAUSE_CONT);
}

bool http_waits(const struct http_xfer *x)
{
	return x->waits;
}

void http_feed(struct http_xfer *x)
{
	if (!x->waits)
		return;
	x->waits = false;
	x->moved_at = clock_mono_ms();
	/* Asks for bytes at the next turn of the loop, not from within. */
	http_xfer_resume_send(x);
}
