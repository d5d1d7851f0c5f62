/*
 * md5: the rounds of MD5 over whole blocks, of one message or of several at once. One message is
 * a chain of additions that wait for each other; several messages go through it side by side, in
 * the lanes of a vector register, in the time of one. digest.h is the interface for messages.
 *
 * Any thread. Never blocks.
 */
#ifndef UPLOADFS_NET_BASE_MD5_H
#define UPLOADFS_NET_BASE_MD5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MD5_BLOCK 64	 /* bytes */
#define MD5_LANES_MAX 16 /* messages */

/* state[i] is word i of MD5's state, of each lane. */
struct md5_lanes {
	uint32_t state[4][MD5_LANES_MAX] __attribute__((aligned(64)));
	const unsigned char *data[MD5_LANES_MAX]; /* whole blocks, of any alignment */
};

/* A set of instructions, and the function that uses it. */
struct md5_way {
	const char *name;
	unsigned lanes;
	bool (*usable)(void); /* on this processor */
	/* Take `blocks` blocks of each of the lanes; all need data. `data` is not moved. */
	void (*run)(struct md5_lanes *l, size_t blocks);
};

/*
 * All ways that were built in, the one with the most lanes first; the last has one lane. Of those
 * with enough lanes for some messages, the last usable one takes the least time.
 */
const struct md5_way *md5_ways(size_t *ret_count);
/* The first usable one. */
const struct md5_way *md5_best(void);
/* The first usable one for one message. */
const struct md5_way *md5_single(void);
/* The usable one that takes the least time for count messages: fewer lanes are faster. */
const struct md5_way *md5_for(unsigned count);

#endif
