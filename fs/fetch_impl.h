/*
 * fetch_impl: what fetch.c (readers) and fetch_req.c (requests) share. Only
 * these two include it.
 *
 * One mutex per fetcher protects everything marked so; it is taken in calls of
 * readers and in callbacks of the api, is held over the start and the cancel
 * of api calls (which never call back synchronously), and never over a
 * callback or over the transfer of data.
 */
#ifndef UPLOADFS_FS_FETCH_IMPL_H
#define UPLOADFS_FS_FETCH_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/extents.h"
#include "fs/fetch.h"

#define FETCH_REQS 4		      /* requests under way per File */
#define FETCH_FAR (8ULL << 20)	      /* bytes a read may lie ahead of a stream and wait for it */
#define FETCH_ALIGN (1ULL << 20)      /* bytes; a stretch begins and ends at a multiple */
#define FETCH_AHEAD (8ULL << 20)      /* bytes a stretch reaches beyond the read it is for */
#define FETCH_AHEAD_MAX (64ULL << 20) /* and at most, when the reader goes on behind it */
#define FETCH_OVERTAKEN 3 /* stretches overtaken before their first byte: Range is ignored */
#define FETCH_BUCKETS 256
#define FETCH_TEXT 512

struct api_req;

/* A read that waits. */
struct fetch_waiter {
	struct fetch_waiter *next;
	uint64_t off, end; /* off < end <= bytes of the File */
	fetch_read_cb *cb;
	void *arg;
};

struct fetch_waiters {
	struct fetch_waiter *head, **tail;
};

/* One request: the main stream, which goes on to the end, or a stretch. */
struct fetch_req {
	struct fetch *ft;
	struct api_req *req;
	bool active;	/* from its start to the end of its last callback */
	bool cancelled; /* by us */
	bool main;
	uint64_t start, end;
	uint64_t got;	 /* where the next byte is due */
	const char *bad; /* what was wrong with the content, or NULL */
};

enum fetch_range { FETCH_RANGE_UNKNOWN, FETCH_RANGE_YES, FETCH_RANGE_NO };

struct fetch {
	struct fetcher *f;
	char *id;
	uint64_t bytes;
	struct fetch *next; /* in its bucket; lock of the fetcher from here on */
	unsigned nref;	    /* readers */
	unsigned nbusy;	    /* active requests, and threads that use it without a reference */
	int fd;		    /* -1: not begun. Set once, closed with the struct */
	bool temp;	    /* fd is a temporary of the cache, named by token */
	uint64_t token;
	bool whole;		/* all bytes stand in fd, and the length was checked */
	bool answering;		/* the network thread is in callbacks of readers, with the fd */
	bool main_wanted;	/* the main stream was begun and goes on to the end */
	enum fetch_range range; /* does the server honour Range? */
	unsigned overtaken;
	uint64_t ahead; /* read-ahead of the last stretch */
	struct extents have;
	struct fetch_req reqs[FETCH_REQS];
	struct fetch_waiters waiters;
};

struct fetcher {
	struct api *api;
	struct cache *cache;
	pthread_mutex_t lock;
	struct fetch *buckets[FETCH_BUCKETS]; /* under lock */
};

void fetch_waiters_init(struct fetch_waiters *ws);
void fetch_waiters_add(struct fetch_waiters *ws, struct fetch_waiter *w);
/* Appends all of from, which is empty then, to to. */
void fetch_waiters_move(struct fetch_waiters *from, struct fetch_waiters *to);
/* Answers and frees all; without the lock. */
void fetch_waiters_answer(struct fetch_waiters *ws, int err, const char *text, int fd);

/*
 * The first byte of [start, end) that is not there, and the stretch [*ret_lo,
 * *ret_hi) around it in which nothing is, within the File. ret_lo and ret_hi
 * may be NULL. Returns end when all is there. Under lock.
 */
uint64_t fetch_missing(const struct fetch *ft, uint64_t start, uint64_t end, uint64_t *ret_lo,
		       uint64_t *ret_hi);

/*
 * Starts the requests that the waiters need. 0, or a negative errno when one
 * could not be started; what it was for is not served then. Under lock.
 */
int fetch_pump(struct fetch *ft);
/* Moves the waiters that nothing under way serves to ret. Under lock. */
void fetch_take_unserved(struct fetch *ft, struct fetch_waiters *ret);
/* Under lock. */
void fetch_cancel_all(struct fetch *ft);

/* nbusy is given back: frees the fetch if that was its last user. Takes the lock. */
void fetch_put(struct fetch *ft);

#endif
