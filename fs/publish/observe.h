/*
 * observe: what others learn of a publication: snapshot, end, waiters.
 *
 * Publisher thread; takes publisher.lock.
 */
#ifndef UPLOADFS_FS_PUBLISH_OBSERVE_H
#define UPLOADFS_FS_PUBLISH_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/publish/next.h"
#include "fs/publish/publisher.h"
#include "net/api/api.h"

/* How the publication ended, and its File. */
struct outcome {
	enum publish_outcome kind;
	char file_id[API_ID_MAX + 1];
	int64_t created_at, expires_at; /* of the File, seconds */
	bool news;			/* the File was not announced yet */
	bool inferred;			/* see struct publish_info */
	bool emptied;			/* in the cleanup of an empty file, which has no File */
	bool kept;			/* the File it replaced has these bytes, and stays */
	bool unusable; /* the File exists, but its status is error; failure tells */
};

/* What other threads see; under publisher.lock. */
struct observed {
	struct publish_info info;
	struct publish_wait *waits;
	bool kept;     /* the row of a closed file tells of it */
	bool durable;  /* and survives a power cut, with the data; implies kept */
	int close_err; /* told to those who wait for either */
	bool unproven; /* struct publish.unproven */
	bool asked;    /* complete was, and its outcome is not known to be "no File" */
	bool telling;  /* owner.ended() runs: on its thread the end is known */
};

/* Go to PHASE_ENDED, take the snapshot and call owner.ended(). Waiters are told after the step. */
void publish_finish(struct publish *p, enum publish_outcome outcome);
/* Copy what may be seen to observed.info. */
void publish_snapshot(struct publish *p);
/*
 * Call before complete or POST is asked. False: publish_withdraw() came first, so don't ask; now
 * says aborted.
 */
bool publish_may_ask(struct publish *p);
void publish_asks_no_more(struct publish *p); /* no File came of it */
/* True if a waiter needs data and record on stable storage and was not told so. */
bool publish_wants_durable(struct publish *p);
/* True if a waiter or a hold needs the record and was not told so. */
bool publish_wants_kept(struct publish *p);
/* Set observed.durable or kept, and the error, 0 or negative errno. */
void publish_tell_durable(struct publish *p, int err);
void publish_tell_kept(struct publish *p, int err);
/* Call those whose wait is over. */
void publish_tell_waiters(struct publish *p);
/* Call all with -EINTR; after the thread's end. */
void publish_tell_stopped(struct publish *p);

#endif
