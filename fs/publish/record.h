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
	bool unsaved;	    /* a reply told of a step that the record does not have */
	bool file_unsaved;  /* the record of its File could not be written */
	bool at_end;	    /* publisher_stop() looked at it */
	bool untouched;	    /* by lock: the row is still the one that was taken up */
	bool md5_unsaved;   /* the MD5 is known, and the record does not have it */
	bool removal_noted; /* dropped: the record says so */
	bool removed;	    /* dropped: data and record are gone from the disk */
	bool only_if_seen;  /* an earlier daemon's rename: drop it if its File does not exist */
};

/* Write the record; durable: sync it too. 0 or negative errno (-ESTALE: another took its place). */
int publish_save_record(struct publish *p, bool durable);
/* A reply told of a step that is to be in the record before the next step the service can see. */
void publish_note_step(struct publish *p);
/*
 * Write the noted steps, as one record. Call it before each request that the service can
 * see, and at the end of a look.
 */
void publish_save_step(struct publish *p);
/* Write the record, not durably, if the MD5 of a closed file is not in it. */
void publish_save_md5(struct publish *p);
/* Write durably that the File exists. 0 or negative errno: then delete nothing. */
int publish_save_file(struct publish *p);
/* What is known of the bytes is not true of those that come. */
void publish_forget_bytes(struct publish *p);
/*
 * Write that writing began anew; without room drop the record instead (staged_drop_record()). Not
 * durable: staged_await_change() waits for that. 0 or negative errno. Any thread.
 */
int publish_save_writing(struct publish *p);
/* Take up a publication from r, before it is linked. 0 or -ENOMEM. */
int publish_load_record(struct publish *p, const struct record *r);
/* True if the service has, or may have, something of it that must go when the file is removed. */
bool publish_owes_service(const struct publish *p);

#endif
