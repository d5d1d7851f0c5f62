/*
 * next: the next step of a publication, as a pure function.
 *
 * After each event the publisher takes a view of one publication and asks for the next action.
 * Nothing but the view counts: a lost or doubled wake-up does no harm, and each rule is tested by
 * itself.
 */
#ifndef UPLOADFS_FS_PUBLISH_NEXT_H
#define UPLOADFS_FS_PUBLISH_NEXT_H

#include <stdbool.h>
#include <stdint.h>

enum publish_phase {
	PHASE_IDLE,	/* no Upload */
	PHASE_CREATING, /* create was asked */
	PHASE_OPEN,	/* the Upload takes Parts */
	PHASE_ASKING,	/* create was refused as by a service without /uploads; /files was asked */
	PHASE_CHECKING, /* asked whether the File that has these bytes is still there */
	PHASE_POSTING,	/* the whole file is under way by POST /files */
	PHASE_COMPLETING, /* complete was asked */
	PHASE_LOOKUP,	  /* complete may have been done: looking for the File */
	PHASE_PROBING,	  /* refused: cancel was asked, to learn whether the Upload is alive */
	/* complete was refused: hashing the staged file again */
	PHASE_VERIFYING,
	PHASE_CLEANUP,	/* the File exists: superseded Files are to be deleted */
	PHASE_DELETING, /* a superseded File is being deleted */
	PHASE_FAILING,	/* failed; the bytes are synced before anybody is told */
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
	bool withdrawn;	 /* aborted by a rename that is given up: its caller waits */
	bool sealed;	 /* closed, and no write is under way */
	bool held;	 /* closed under a temporary name: complete waits */
	bool retry;	 /* try a failed one again now */
	bool size_known; /* sealed, or declared, or observed */
	uint64_t size;	 /* when size_known: bytes of the Upload */
	/* what is there */
	bool early;	       /* the next Upload has to wait for its time */
	bool ask_first;	       /* the key was refused: ask for a small thing before bytes go */
	bool whole;	       /* the service has no Uploads: POST /files, after the close */
	bool maybe_same;       /* as far as is known, a File that it replaces has these bytes */
	bool same;	       /* the MD5 of all shows that it has; implies maybe_same */
	bool too_large;	       /* size is too large for POST /files */
	bool stream_failed;    /* sending before the close failed: wait for the close */
	bool mismatch;	       /* the Upload's size, name or purpose is not the wanted one */
	bool expired;	       /* the Upload's time is over */
	bool complete_unknown; /* an earlier complete may have been done */
	bool sync_wanted;      /* somebody waits for the staged data on stable storage */
	bool sync_first;       /* complete has to wait for that, too */
	bool synced;	       /* the staged data is on stable storage */
	bool syncing;	       /* the sync is under way */
	bool sync_failed;      /* it was tried, in vain */
	bool unproven;	       /* of an earlier daemon, and not yet compared with its MD5 */
	bool spoiled;	       /* compared: these are not the bytes that were closed */
	unsigned ready;	       /* Parts that may leave now */
	unsigned sending;      /* Parts under way */
	unsigned missing;      /* Parts not sent, stale, or under way */
	bool live;	       /* a Part may begin to leave while it is written */
	bool slot;	       /* one more Part may be handed to the queue */
	bool md5_known;
	bool faulty; /* md5_known, and a line is not what it has to be */
	int md5_err; /* negative errno: reading the staged file failed */
};

enum publish_action {
	ACT_WAIT,	 /* nothing to do until the next event */
	ACT_CREATE,	 /* ask for an Upload of that size */
	ACT_ASK,	 /* ask GET /files whether the key is taken */
	ACT_POST,	 /* send the file as a whole */
	ACT_KEEP,	 /* look whether the File that has these bytes is still there */
	ACT_FAIL_SIZE,	 /* end: too_large */
	ACT_SEND,	 /* hand one ready Part to the queue, then ask again */
	ACT_SEND_LIVE,	 /* the same with the Part that is being written */
	ACT_SYNC,	 /* start syncing the staged data, then ask again */
	ACT_COMPLETE,	 /* ask for complete */
	ACT_CANCEL,	 /* give the Upload up: cancel it, back to PHASE_IDLE */
	ACT_LOOKUP,	 /* look for the File of a complete that may have been done */
	ACT_FAIL_LINE,	 /* end: faulty */
	ACT_FAIL_READ,	 /* end: the staged file can't be read (md5_err) */
	ACT_FAIL_SYNC,	 /* end: sync_failed */
	ACT_END_FAILED,	 /* end: as PHASE_FAILING noted */
	ACT_END_SPOILED, /* end: spoiled */
	ACT_REOPEN,	 /* leave PHASE_ENDED for PHASE_IDLE or PHASE_OPEN: try again */
	ACT_CLEANUP,	 /* delete the superseded Files; when dropped, the File */
	ACT_END_EMPTY,
	ACT_END_ABORTED,
	ACT_END_DROPPED
};

enum publish_action publish_next(const struct publish_view *v);

#endif
