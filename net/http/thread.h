/*
 * http: the network thread. One CURLM; the only includer of curl.
 *
 * Everything below http_post() runs on the network thread, inside a task, the
 * tick, or a callback; it never blocks on the network. What a transfer reads
 * from an fd it reads with pread() on this thread, so that may wait for a disk.
 * No lock is held while a task, the tick or a callback runs.
 *
 * One transfer is one attempt: no retries here, not even curl's own on a kept
 * connection that turns out dead (see stale), but for GET, where it is safe.
 * HTTP/1.1 always: with HTTP/2 all Parts would share one connection's window.
 *
 * Time-outs of a transfer:
 *   connect  resolving, connecting and the TLS handshake (struct http_config)
 *   idle     no byte moved while the request is sent or the reply comes in
 *   reply    nothing came back after the request was sent whole
 *   total    all of it, so that a peer that drips bytes cannot hold it for ever
 * Idle and reply differ because a server that was sent everything may have work
 * to do before it answers, and because what "was sent" may still stand in the
 * kernel's send buffer (4 MiB by default) when the wait for the reply begins.
 */
#ifndef UPLOADFS_NET_HTTP_THREAD_H
#define UPLOADFS_NET_HTTP_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "net/http/head.h"
#include "net/http/network.h"

struct http;
struct http_xfer;

struct http_config {
	const char *user_agent;	  /* NULL: none */
	unsigned max_connections; /* idle connections kept for reuse */
	unsigned connect_timeout_s;
	const struct network *network; /* copied; NULL: no proxy, the system's certificates */
	/*
	 * Called on the network thread at each turn of its loop. Returns the clock_mono_ms() of the
	 * latest next call, or UINT64_MAX.
	 */
	uint64_t (*tick)(void *arg);
	void *tick_arg;
};

/* Copies what it needs and starts the thread. 0 or negative errno. */
int http_new(const struct http_config *cfg, struct http **ret);
/*
 * Waits until all posted tasks have run and no transfer is under way, then ends
 * the thread and closes all connections. The caller makes the transfers end.
 * Not from the network thread. http_post() is refused from then on.
 */
void http_stop(struct http *h);
/* Frees the memory after http_stop(). NULL is a no-op. */
void http_free(struct http *h);

/* Embedded in the caller's object, which must live until fn has run. */
struct http_task {
	void (*fn)(struct http_task *task);
	STAILQ_ENTRY(http_task) link;
};
/*
 * Runs task->fn on the network thread, in the order of posting. A task may be
 * posted again once fn has been called. False after http_stop(): fn won't run.
 * Any thread; does not block.
 */
bool http_post(struct http *h, struct http_task *task);

enum http_method { HTTP_GET, HTTP_POST, HTTP_DELETE };

struct http_field {
	const char *name, *value;
};

/* A multipart/form-data body: fields of text, then a field of len bytes of fd from offset. */
struct http_part {
	const struct http_field *before; /* ends at an entry without a name; NULL: none */
	const char *field, *filename;
	const char *type; /* Content-Type of the field; NULL: application/octet-stream */
	int fd;		  /* open and unchanged until the transfer ends */
	uint64_t offset, len;
	/*
	 * NULL or a counter. Grows by the bytes handed to the connection; all of them are
	 * subtracted before done() runs or http_abort() returns.
	 */
	atomic_ullong *moving;
	/*
	 * NULL or a callback for a body that is still being written. Returns how many bytes from
	 * offset on may be read by now; at: how many were read. Runs on the network thread; must
	 * not block. If the result is not above at, the transfer waits for http_feed(). A waiting
	 * transfer is not idle; a peer that has gone meanwhile is noticed only after it.
	 */
	uint64_t (*ready)(void *arg, uint64_t at);
	void *ready_arg;
	/*
	 * NULL or a callback. Sees the bytes in order before they reach the connection; at: their
	 * place counted from offset, 0 again for each new beginning. A negative errno ends the
	 * transfer before these bytes.
	 */
	int (*check)(void *arg, uint64_t at, const void *data, size_t len);
	void *check_arg;
};

#define HTTP_ENOUGH 1
/*
 * Takes the body of a 2xx reply as it comes, up to 256 KiB at once: 0 to go on, HTTP_ENOUGH to
 * end the transfer here with success, or a negative errno to fail it.
 */
typedef int http_data_cb(void *arg, const struct http_head *head, const void *data, size_t len);

enum http_fail {
	HTTP_REPLIED,	   /* a whole reply, whatever its status */
	HTTP_FAIL_CONNECT, /* nothing was sent: cannot resolve or connect */
	HTTP_FAIL_BROKEN,  /* the connection broke */
	HTTP_FAIL_GARBLED, /* the reply is no HTTP, or in a coding that can't be read */
	HTTP_FAIL_PROXY,   /* the proxy refused to connect: permanent */
	HTTP_FAIL_TLS,	   /* the handshake failed: may succeed later */
	HTTP_FAIL_VERIFY,  /* the certificate is not good: permanent */
	HTTP_FAIL_TIMEOUT,
	HTTP_FAIL_TOO_BIG, /* a 2xx reply longer than reply_max */
	HTTP_FAIL_LOCAL,   /* local_errno: reading the part, the data callback, out of memory */
	HTTP_FAIL_REFUSED  /* curl rejects the request (URL, protocol) */
};

struct http_result {
	enum http_fail fail;
	enum network_cause cause;
	int local_errno;
	struct http_head head;
	bool sent_whole;  /* the peer may have seen the whole request */
	bool stale;	  /* failed on a kept connection before any reply: try again at once */
	const char *body; /* the collected bytes; NUL-terminated */
	size_t body_len;
	const char *text; /* words for a failure, one line; "" when HTTP_REPLIED */
};
/* Pointers in res live until it returns. Never called from inside http_start(). */
typedef void http_done_cb(void *arg, const struct http_result *res);

struct http_request {
	enum http_method method;
	const char *url;
	const char *const *headers;	 /* "Name: value", ends with NULL; may be NULL */
	const char *const *auth_headers; /* the same, sent only to the origin of url */
	const char *body;		 /* of a POST without part; must live until the end */
	size_t body_len;
	const struct http_part *part; /* or NULL; copied, but for the fd */
	size_t reply_max;	      /* bytes collected of a 2xx body */
	http_data_cb *data; /* NULL: collect, decoded; else as it comes, asked for plain */
	uint64_t expected; /* bytes of the reply to data, if known, else 0; for the buffers' size */
	bool fresh;	   /* new connection: a broken kept one leaves the outcome open */
	bool follow;	   /* redirects of a GET, never from https to http */
	unsigned idle_timeout_s, reply_timeout_s, total_timeout_s;
	http_done_cb *done;
	void *arg; /* for data and done */
};

/* Starts a transfer; strings are copied. 0, -ENOMEM or -EINVAL. */
int http_start(struct http *h, const struct http_request *rq, struct http_xfer **ret);
/* Ends a transfer without calling done. Returns whether the peer may have seen all of it. */
bool http_abort(struct http_xfer *x);

/* Returns whether the transfer waits for bytes of its part. */
bool http_waits(const struct http_xfer *x);
/* Resumes a transfer that waits: its part may have grown. A no-op if it does not wait. */
void http_feed(struct http_xfer *x);

/* Returns all bytes moved so far, also of running transfers (up to a second late). Any thread. */
void http_bytes(struct http *h, uint64_t *ret_sent, uint64_t *ret_received);

#endif
