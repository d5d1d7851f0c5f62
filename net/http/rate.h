/*
 * http_rate: a limit of bytes a second over all transfers of one direction.
 *
 * curl limits each connection by itself. Here one bucket serves all transfers in turns, a small
 * share each; a transfer that gets nothing pauses and waits in a queue. Network thread only;
 * nothing blocks.
 */
#ifndef UPLOADFS_NET_HTTP_RATE_H
#define UPLOADFS_NET_HTTP_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "net/http/bucket.h"

struct http_xfer;
struct http_rate;

/*
 * A transfer's place in the queue. Embedded in the transfer; zeroed but for xfer before its first
 * use.
 */
struct http_turn {
	struct http_xfer *xfer;
	TAILQ_ENTRY(http_turn) link;
	struct http_rate *queued_at; /* NULL: not waiting */
	size_t granted;		     /* bytes of the part granted to leave */
	bool let;		     /* the next bytes of the reply may come in */
};

/* The rate of one direction, and the transfers waiting for a share. */
struct http_rate {
	struct bucket bucket;
	TAILQ_HEAD(http_turns, http_turn) queue;
};

/* rate: bytes a second; 0: no limit. */
void http_rate_init(struct http_rate *r, uint64_t rate);
/* Returns how many of want bytes may leave. 0: pause the transfer; it is in the queue. */
size_t http_rate_send(struct http_rate *up, struct http_turn *t, size_t want);
/* Returns whether len bytes may be taken. False: pause the transfer; it is in the queue. */
bool http_rate_receive(struct http_rate *down, struct http_turn *t, size_t len);
/* Takes the transfer out of its queue and gives up its grant. Call before freeing the transfer. */
void http_rate_leave(struct http_rate *up, struct http_turn *t);
/*
 * Take the next transfer whose turn it is out of the queue, for the caller to resume; NULL: none
 * is due by now. http_rate_next_up() also grants it a share of bytes.
 */
struct http_xfer *http_rate_next_up(struct http_rate *up, uint64_t now);
struct http_xfer *http_rate_next_down(struct http_rate *down, uint64_t now);
/* Returns the clock_mono_ms() of the next turn; UINT64_MAX: no transfer waits. */
uint64_t http_rate_due(struct http_rate *r, uint64_t now);

#endif
