#ifndef UPLOADFS_NET_HTTP_HTTP_IMPL_H
#define UPLOADFS_NET_HTTP_HTTP_IMPL_H

/*
 * What the files of net/http/thread.h share: http.c (the thread and its tasks), http_xfer.c (a
 * transfer's set-up, and what curl calls while it runs), http_end.c (its end, the redirects and
 * the watchdog), http_conn.c (by which way it connects), http_rate.c (how fast). Nobody else
 * includes it. All functions run on the network thread, and none blocks.
 */

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "net/http/bucket.h"
#include "net/base/buf.h"
#include "net/http/thread.h"

#define HTTP_ERROR_BODY_MAX (64U << 10) /* of a reply outside 2xx; what lies behind is dropped */
#define HTTP_DATA_BUFFER (256U << 10)	/* of a streamed reply: received, and handed on, at once */
#define HTTP_WATCH_MS 500		/* how often http_watch() looks */

TAILQ_HEAD(http_xfers, http_xfer);
STAILQ_HEAD(http_tasks, http_task);

/* One direction's bytes a second, and who waits for a share of them. */
struct http_rate {
	struct bucket bucket;
	struct http_xfers queue;
};

struct http {
	CURLM *multi;
	pthread_t thread;
	struct http_config cfg;
	struct network network;
	char *user_agent;
	bool stopped; /* the thread was joined */
	atomic_ullong sent, received;

	pthread_mutex_t lock;
	struct http_tasks tasks; /* by lock */
	bool stopping, closed;	 /* by lock; closed: tasks are refused */

	struct http_xfers xfers; /* network thread only, as all below */
	uint64_t watch_at;
	struct http_rate up_rate, down_rate;
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
	char *gather; /* for the data callback; of HTTP_DATA_BUFFER bytes, or NULL */
	size_t gathered;
	size_t reply_max;
	uint64_t idle_ms, reply_ms;
	uint64_t moved, moved_at; /* bytes both ways; when that last changed */
	uint64_t up, down;	  /* what http->sent and received know of */
	size_t header_bytes;
	unsigned sends, hops;
	int local_errno;
	bool get, follow, kept, stale, timed_out, too_big, enough;
	bool proxied; /* this hop goes by a proxy */
	bool waits;   /* curl was told to pause, until there are more bytes of the part */
	TAILQ_ENTRY(http_xfer) rate_link;
	struct http_rate *queued_at; /* or NULL */
	size_t granted;		     /* bytes of the part that may leave */
	bool let;		     /* the next bytes of the reply may come in */
	char error[CURL_ERROR_SIZE];
};

/* http_xfer.c */

/*
 * Points the transfer at url (copied by curl): the proxy that it is reached by, and the secret
 * headers only where x->url's own host would get them. 0 or -ENOMEM.
 */
int http_xfer_set_url(struct http_xfer *x, const char *url);

/* Goes on with a part whose reading was told to pause. */
CURLcode http_xfer_resume(struct http_xfer *x);

/* Frees a transfer that is in no list (any more); NULL is fine. */
void http_xfer_free(struct http_xfer *x);

/* http_conn.c */

/* Certificates and the local address: what is the same for every hop. */
void http_conn_setup(struct http_xfer *x);

/* The proxy by which url is reached, if any. 0 or -ENOMEM. */
int http_conn_route(struct http_xfer *x, const char *url);

/* What a failed connection failed for, in res->cause; in res->text what curl has no words for. */
void http_conn_explain(struct http_xfer *x, CURLcode code, struct http_result *res);

/* Hands on what was gathered for the data callback; its answer, which the transfer has noted. */
int http_flush(struct http_xfer *x);

/* http_rate.c */

void http_rate_init(struct http_rate *r, uint64_t rate);
/* How many of want bytes of the part may leave; 0: pause, it is in the queue. */
size_t http_rate_send(struct http_xfer *x, size_t want);
/* Whether len bytes of content may be taken; false: pause, it is in the queue. */
bool http_rate_receive(struct http_xfer *x, size_t len);
/* Does it wait for its turn? */
bool http_rate_waits(const struct http_xfer *x);
/* Out of the queue, what was granted given back: before it is freed. */
void http_rate_leave(struct http_xfer *x);
/* Those whose turn it is go on. Returns when to call it again: clock_mono_ms() or UINT64_MAX. */
uint64_t http_rate_turn(struct http *h, uint64_t now);

/* http_end.c */

/*
 * The transfer ended with this code of curl's: follows a redirect, or tells its done callback
 * and frees it.
 */
void http_finish(struct http_xfer *x, CURLcode code);

/* Ends what has not moved for too long (now: milliseconds of clock_mono_ms()). */
void http_watch(struct http *h, uint64_t now);

#endif
