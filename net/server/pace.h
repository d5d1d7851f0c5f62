/*
 * pace: wait on a connection's thread, so that other connections go on. Every wait ends when the
 * server stops.
 */
#ifndef UPLOADFS_NET_SERVER_PACE_H
#define UPLOADFS_NET_SERVER_PACE_H

#include <stddef.h>
#include <stdint.h>

#define PACE_FOREVER UINT64_MAX

/* The budget of a connection; used by its thread only. */
struct pace {
	int stop_fd;	    /* becomes readable when the server stops */
	uint64_t rate;	    /* bytes per second in each direction; 0: no limit */
	uint64_t due_us[2]; /* time at which the budget is even: in, out */
};

enum pace_way { PACE_IN, PACE_OUT };

/*
 * Wait ms. 0 after that time, -ECANCELED when the server stops, -EPIPE when the peer closes sock
 * (-1: no socket).
 */
int pace_wait(const struct pace *p, int sock, uint64_t ms);
/* Wait for the time that len bytes take at the rate. 0 or -ECANCELED. */
int pace_bytes(struct pace *p, enum pace_way way, size_t len);

#endif
