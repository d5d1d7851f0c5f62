/*
 * record: a publication as a record on disk, and back.
 *
 * Publisher thread unless said otherwise. Blocks on the local disk.
 */
#ifndef UPLOADFS_FS_PUBLISH_RECORD_H
#define UPLOADFS_FS_PUBLISH_RECORD_H

#include <pthread.h>
#include <stdbool.h>

struct publish;
struct record;

/* What the record on disk says. */
struct recorded {
	/* Held from the look at whether writing began anew until the record is written. */
	pthread_mutex_t lock;
	bool begun;	    /* the first record was written */
	bool unsaved;	    /* a reply told of a step that the durable record does not have */
	bool removal_noted; /* dropped: the record says so */
	bool removed;	    /* dropped: data and record are gone from the disk */
	bool only_if_seen;  /* an earlier daemon's rename: drop it if its File does not exist */
};

/* Write the record; durable: sync it too. 0 or negative errno (-ESTALE: another took its place). */
int publish_save_record(struct publish *p, bool durable);
/* A reply told of a step that is to be durable before the next step the service can see. */
void publish_note_step(struct publish *p);
/*
 * Write the noted steps durably, as one record. Call it before each request that the service can
 * see, and at the end of a look.
 */
void publish_save_step(struct publish *p);
/* Write durably that writing began anew; without room drop the record instead. Any thread. */
void publish_save_writing(struct publish *p);
/* Take up a publication from r, before it is linked. 0 or -ENOMEM. */
int publish_load_record(struct publish *p, const struct record *r);
/* True if the service has, or may have, something of it that must go when the file is removed. */
bool publish_owes_service(const struct publish *p);

#endif
