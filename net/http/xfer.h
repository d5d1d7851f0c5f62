/*
 * http_xfer: a transfer, its set-up, and the functions curl calls while it runs. Network thread
 * only; nothing blocks but reading the part from its disk.
 */
#ifndef UPLOADFS_NET_HTTP_XFER_H
#define UPLOADFS_NET_HTTP_XFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "net/base/buf.h"
#include "net/http/rate.h"
#include "net/http/thread.h"

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
	char *gather; /* for the data callback; of gather_size bytes, or NULL */
	size_t gathered, gather_size;
	size_t reply_max;
	uint64_t idle_ms, reply_ms;
	uint64_t moved, moved_at; /* bytes both ways; when that last changed */
	uint64_t up, down;	  /* bytes already counted in http->sent and received */
	size_t header_bytes;
	uint64_t turn_no;    /* the turn of the loop that calls counts for */
	unsigned turn_calls; /* calls of on_progress() before the request is sent */
	unsigned sends, hops;
	int local_errno;
	bool get, follow, kept, stale, timed_out, too_big, enough;
	bool proxied; /* this hop uses a proxy */
	bool waits;   /* curl is paused until there are more bytes of the part */
	struct http_turn turn;
	char error[CURL_ERROR_SIZE];
};

/*
 * Points the transfer at url (copied by curl): sets the proxy, and sends the secret headers only
 * to the origin of x->url. 0 or -ENOMEM.
 */
int http_xfer_set_url(struct http_xfer *x, const char *url);

/* Resumes reading a part after a pause. */
CURLcode http_xfer_resume_send(struct http_xfer *x);

/* Resumes taking the reply after a pause; calls the data callback, so it may fail. */
CURLcode http_xfer_resume_receive(struct http_xfer *x);

/*
 * Hands the gathered bytes to the data callback and returns its answer, also noted in the
 * transfer. 0: nothing was gathered.
 */
int http_xfer_flush(struct http_xfer *x);

/* Frees a transfer that is in no list. NULL is a no-op. */
void http_xfer_free(struct http_xfer *x);

#endif
