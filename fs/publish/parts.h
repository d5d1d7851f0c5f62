/*
 * parts: the Parts of an Upload, and the live Part, which leaves while it is written (parts.c).
 *
 * Publisher thread unless said otherwise.
 */
#ifndef UPLOADFS_FS_PUBLISH_PARTS_H
#define UPLOADFS_FS_PUBLISH_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct api_req;
struct event;
struct publish;
struct staged;

#define PUBLISH_LIVE_STEP (1ULL << 20) /* bytes; less is not worth a request or a wake-up */

enum part_state { PART_NONE, PART_SENDING, PART_SENT };

struct part {
	enum part_state state;
	bool missed;	  /* sent live in vain; do not again */
	uint32_t version; /* of the staged bytes when it was sent */
	char *id;
	struct api_req *req; /* while PART_SENDING */
};

/* The live Part. */
struct publish_live {
	bool on; /* under way */
	uint32_t index, watch;
	unsigned misses;
};

/* The argument of publish_live_read(). */
struct publish_live_reader {
	struct staged *staged;
	uint32_t watch;
};

/* The Parts of the Upload. */
struct parts {
	struct part *v;
	uint32_t count;
	unsigned sending;    /* under way, the live one included */
	uint64_t sending_ms; /* when the first Part of this Upload left, monotonic; 0: none did */
	struct publish_live live;
	bool stray; /* a Part was sent whose reply never came: the service may begin with it late */
	atomic_ullong moving; /* bytes of Parts under way that have left; any thread */
};

/* True if Part i may leave now: not sent, all bytes there or sealed, its turn (parallel=1). */
bool publish_part_is_ready(const struct publish *p, uint32_t i, bool sealed);
/* Hand the first ready Part to the queue. */
void publish_act_send(struct publish *p);
/* Hand Part parts.live.index to the queue; publish_live_find() chose it. */
void publish_act_send_live(struct publish *p);

/* Choose parts.live.index and watch its bytes. True if it may begin to leave. */
bool publish_live_find(struct publish *p);
/* For struct api_part_body: bytes readable from offset at. arg: publish_live_reader. Any thread. */
uint64_t publish_live_read(void *arg, uint64_t at);
/* Feed the live Part when bytes came; cancel its request when written bytes changed. */
void publish_live_look(struct publish *p);
/* Its reply came. True, and *ret_version set: the Part is right. False: send it as any other. */
bool publish_live_ended(struct publish *p, const struct event *ev, uint32_t *ret_version);

#endif
