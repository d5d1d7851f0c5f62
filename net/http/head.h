/*
 * http_head: the head of a reply. Pure, one thread at a time.
 */
#ifndef UPLOADFS_NET_HTTP_HEAD_H
#define UPLOADFS_NET_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_head {
	int status;		/* 0: no reply yet */
	int64_t content_length; /* -1: unknown */
	/* Content-Range: first byte and size of the whole; -1: none, or unknown. */
	int64_t range_first, range_total;
	int64_t retry_after_ms; /* retry-after-ms or Retry-After; -1: neither */
	int should_retry;	/* x-should-retry: 1, 0, or -1 when there is none */
	int64_t date;		/* Date, seconds since the epoch; 0: none */
	bool coded;		/* Content-Encoding names anything but identity */
	bool complete;		/* the head has ended: further lines are trailers */
	char request_id[128];	/* x-request-id or "" */
};

void http_head_init(struct http_head *head);
/*
 * Takes one line, status line or header, with or without its line end. A status
 * line starts anew. The empty line behind a final status ends the head: what follows it, a trailer
 * or a status line among trailers, changes nothing. Ignores unknown and malformed lines.
 */
void http_head_line(struct http_head *head, const char *line, size_t len);

#endif
