/*
 * publish_state: what a publication does next, as a pure function.
 *
 * The publisher takes a view of one publication after each event and asks what
 * to do; nothing is remembered between two calls but what the view shows. So a
 * lost or doubled wake-up does no harm, and every rule can be tested by itself.
 */
#ifndef UPLOADFS_FS_PUBLISH_NEXT_H
#define UPLOADFS_FS_PUBLISH_NEXT_H

#include <stdbool.h>
#include <stdint.h>

enum publish_phase {
	PHASE_IDLE,	  /* no Upload */
	PHASE_CREATING,	  /* create was asked */
	PHASE_OPEN,	  /* the Upload takes Parts */
	PHASE_ASKING,	  /* create was refused as if there were no /uploads: is there /files? */
	PHASE_POSTING,	  /* the file is on its way as a whole, by POST /files */
	PHASE_COMPLETING, /* complete was asked */
	PHASE_LOOKUP,	  /* complete's outcome is unknown: looking for the File */
	PHASE_PROBING,	  /* refused: is it us, or is the Upload dead? cancel tells */
	/* complete was refused: is the staged file still what was written? */
	PHASE_VERIFYING,
	PHASE_CLEANUP,	/* the File exists: what it supersedes has to go */
	PHASE_DELETING, /* one of those is being deleted */
	PHASE_ENDED	/* see the outcome */
};

enum publish_outcome {
	OUTCOME_NONE,
	OUTCOME_COMPLETED,
	OUTCOME_FAILED,
	OUTCOME_ABORTED,
	OUTCOME_EMPTY,
	OUTCOME_DROPPED
};

struct publish_view {
	enum publish_phase phase;
	enum publish_outcome outcome; /* in PHASE_ENDED */
	/* what is wanted */
	bool dropped;	 /* the file was removed or overwritten */
	bool aborted;	 /* its writer was killed */
	bool sealed;	 /* closed, and no write is under way */
	bool held;	 /* closed under a temporary name: complete has to wait */
	bool retry;	 /* a failed one shall be tried again now */
	bool size_known; /* sealed, or declared, or observed */
	uint64_t size;	 /* when size_known: what the Upload has to be created with */
	/* what is there */
	bool whole;	       /* the service has no Uploads: POST /files, after the close */
	bool too_large;	       /* for that */
	bool stream_failed;    /* sending before the close failed: wait for the close */
	bool mismatch;	       /* the Upload's size, name or purpose is not what is wanted */
	bool expired;	       /* the Upload's time is over */
	bool complete_unknown; /* an earlier complete may have been done */
	bool synced;	       /* the staged data is on stable storage */
	bool syncing;	       /* on its way there */
	unsigned ready;	       /* Parts that may leave now */
	unsigned sending;      /* Parts under way */
	unsigned missing;      /* Parts not there yet, no longer right, or under way */
	bool live;	       /* one that is being written may begin to leave */
	bool slot;	       /* one more Part may be handed to the queue */
	bool md5_known;
	int md5_err; /* negative errno: reading the staged file failed */
};

enum publish_action {
	ACT_WAIT,      /* nothing to do until the next event */
	ACT_CREATE,    /* ask for an Upload of that size */
	ACT_POST,      /* send the file as a whole */
	ACT_FAIL_SIZE, /* end: too_large */
	ACT_SEND,      /* hand one ready Part to the queue, then ask again */
	ACT_SEND_LIVE, /* the same with the one that is being written */
	ACT_SYNC,      /* start syncing the staged data, then ask again */
	ACT_COMPLETE,  /* ask for complete */
	ACT_CANCEL,    /* give the Upload up: cancel it, back to PHASE_IDLE */
	ACT_LOOKUP,    /* look for the File of a complete that may have been done */
	ACT_FAIL_READ, /* end: the staged file can't be read (md5_err) */
	ACT_REOPEN,    /* leave PHASE_ENDED for PHASE_IDLE or PHASE_OPEN: try again */
	ACT_CLEANUP,   /* delete what the File supersedes; when dropped, the File */
	ACT_END_EMPTY,
	ACT_END_ABORTED,
	ACT_END_DROPPED
};

enum publish_action publish_next(const struct publish_view *v);

#endif
