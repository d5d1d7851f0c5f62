/*
 * fetch_impl: what fetch.c (readers), fetch_plan.c (what to ask for) and
 * fetch_req.c (requests) share. Only these include it.
 *
 * One mutex per fetcher protects everything marked so; it is taken in calls of
 * readers and in callbacks of the api, is held over the start and the cancel
 * of api calls (which never call back synchronously), and never over a
 * callback or over the transfer of data.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_IMPL_H
#define UPLOADFS_FS_CONTENT_FETCH_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/work/extents.h"
#include "fs/content/fetch.h"

#define FETCH_REQS 16		      /* requests under way per File, whatever was asked for */
#define FETCH_ALIGN (1ULL << 20)      /* bytes; a range begins and ends at a multiple */
#define FETCH_PIECE_MAX (16ULL << 20) /* bytes of one range, but for huge Files */
#define FETCH_SMALL (8ULL << 20)      /* bytes; such a File is asked for in one piece */
#define FETCH_FAR (8ULL << 20)	      /* bytes a read may lie ahead of a request and wait for it */
#define FETCH_RUNS 8		      /* readers that are told apart, per File */
#define FETCH_ROOM (256ULL << 20)     /* bytes the cache gives back when the disk is full */
#define FETCH_BUCKETS 256
#define FETCH_TEXT 512

struct api_req;

/* A read that waits. */
struct fetch_waiter {
	struct fetch_waiter *next;
	uint64_t off, end; /* off < end <= bytes of the File */
	uint64_t span;	   /* bytes from off on that are likely to be wanted */
	fetch_read_cb *cb;
	void *arg;
};

struct fetch_waiters {
	struct fetch_waiter *head, **tail;
};

/* Reads that follow one another. */
struct fetch_run {
	uint64_t next;	/* where its next read is expected */
	uint64_t ahead; /* bytes from there on that are asked for in advance */
	uint64_t read;	/* bytes read since ahead last changed */
	uint64_t used;	/* the number of its last read; 0: free */
};

/* One request: a range, or the stream of a service without Range, which goes on to the end. */
struct fetch_req {
	struct fetch *ft;
	struct api_req *req;
	bool active;	/* from its start to the end of its last callback */
	bool cancelled; /* by us */
	bool stream;
	bool split; /* end came down: what comes behind it is not wanted from this one */
	const struct fetch_run *run; /* that it is read ahead for, or NULL */
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
	enum fetch_range range; /* does the server honour Range? */
	struct extents have;
	struct fetch_req reqs[FETCH_REQS];
	struct fetch_run runs[FETCH_RUNS];
	uint64_t reads; /* so far */
	struct fetch_waiters waiters;
};

struct fetcher {
	struct api *api;
	struct cache *cache;
	unsigned parallel; /* requests under way per File, <= FETCH_REQS */
	pthread_mutex_t lock;
	bool ranges; /* Range was honoured lately; under lock from here on */
	struct fetch *buckets[FETCH_BUCKETS];
};

/* ---- fetch.c ---- */

void fetch_waiters_init(struct fetch_waiters *ws);
void fetch_waiters_add(struct fetch_waiters *ws, struct fetch_waiter *w);
/* Appends all of from, which is empty then, to to. */
void fetch_waiters_move(struct fetch_waiters *from, struct fetch_waiters *to);
/* Answers and frees all; without the lock. */
void fetch_waiters_answer(struct fetch_waiters *ws, int err, const char *text, int fd);
/* nbusy is given back: frees the fetch if that was its last user. Takes the lock. */
void fetch_put(struct fetch *ft);

/* ---- fetch_plan.c; under lock ---- */

/*
 * A read of [off, end): which run it belongs to. Returns how many bytes from
 * off on are likely to be wanted.
 */
uint64_t fetch_note_read(struct fetch *ft, uint64_t off, uint64_t end);
/* Nothing is read ahead until readers have gone on for a while. */
void fetch_calm_down(struct fetch *ft);
/* The first byte of [start, end) that is not there; end when all is. */
uint64_t fetch_missing(const struct fetch *ft, uint64_t start, uint64_t end);
/* Is the byte at off on its way, and near? */
bool fetch_served(const struct fetch *ft, uint64_t off);
/*
 * Starts the requests that the waiters need, then those that read ahead. 0, or
 * a negative errno when one could not be started; what it was for is not
 * served then.
 */
int fetch_pump(struct fetch *ft);
void fetch_pump_ahead(struct fetch *ft); /* only the latter */

/* ---- fetch_req.c; under lock ---- */

/* The first byte that r has not brought yet. */
uint64_t fetch_req_due(const struct fetch_req *r);
/* Takes the free request r for [start, end) and submits it. 0 or -ENOMEM. */
int fetch_req_start(struct fetch_req *r, uint64_t start, uint64_t end, bool stream);
void fetch_req_cancel(struct fetch_req *r);
void fetch_cancel_all(struct fetch *ft);
/* Moves the waiters that nothing under way serves to ret. */
void fetch_take_unserved(struct fetch *ft, struct fetch_waiters *ret);

#endif
