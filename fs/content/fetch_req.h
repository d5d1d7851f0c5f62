/*
 * fetch_req: one request for a range of a File's content, or for its stream. Under the fetcher's
 * lock.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_REQ_H
#define UPLOADFS_FS_CONTENT_FETCH_REQ_H

#include <stdbool.h>
#include <stdint.h>

struct api_req;
struct fetch;
struct fetch_run;

/* A request for a range, or for the stream of a service without Range, which runs to the end. */
struct fetch_req {
	struct fetch *ft;
	struct api_req *req;
	bool active;	/* from its start to the end of its last callback */
	bool cancelled; /* cancelled by us */
	bool stream;
	bool split; /* end came down: what comes behind it is not wanted from this one */
	const struct fetch_run *run; /* the run it reads ahead for, or NULL */
	uint64_t start, end;
	uint64_t got;	 /* where the next byte is due */
	bool no_room;	 /* it ended since the disk is full */
	const char *bad; /* the fault of the content, or NULL */
};

/* Returns the first byte that r has not brought yet. */
uint64_t fetch_req_due(const struct fetch_req *r);
/*
 * Takes the free request r for [start, end) and submits it; on_data and on_done of the fetcher
 * get the answer. 0 or -ENOMEM.
 */
int fetch_req_start(struct fetch_req *r, uint64_t start, uint64_t end, bool stream);
void fetch_req_cancel(struct fetch_req *r);
/* Cancels all requests of ft but keep (NULL: all). */
void fetch_req_cancel_all(struct fetch *ft, const struct fetch_req *keep);

#endif
