/*
 * bucket: a limit of bytes a second.
 *
 * Pure but for what it counts; one thread at a time. Times are of one clock, in milliseconds, and
 * do not run backwards. It begins empty, and holds an eighth of a second's worth at most, or two
 * shares: in any time t no more than rate * t and that is given out.
 */
#ifndef UPLOADFS_NET_HTTP_BUCKET_H
#define UPLOADFS_NET_HTTP_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUCKET_RATE_MAX (1ULL << 40)

struct bucket {
	uint64_t rate;	     /* bytes a second; 0: no limit */
	int64_t full, level; /* thousandths of bytes: at most, and now; negative: owed */
	uint64_t at;	     /* the time at which level was computed */
};

void bucket_init(struct bucket *b, uint64_t rate, uint64_t now);
/*
 * Returns the size of a share in bytes; small enough that many transfers can take turns. SIZE_MAX:
 * no limit.
 */
size_t bucket_share(const struct bucket *b);
/* Takes up to want bytes; returns 0 if fewer than a share and fewer than want are there. */
size_t bucket_take(struct bucket *b, uint64_t now, size_t want);
/*
 * Takes len bytes, owing the missing ones, unless bytes are owed already. Returns whether it did.
 */
bool bucket_owe(struct bucket *b, uint64_t now, size_t len);
/* Gives back bytes that were taken but not used. */
void bucket_return(struct bucket *b, size_t len);
/* Returns the time at which a share will be there, as known at now. */
uint64_t bucket_when(struct bucket *b, uint64_t now);

#endif
