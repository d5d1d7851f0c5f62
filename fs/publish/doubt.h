/*
 * doubt: a complete (or a POST /files) without a usable reply.
 *
 * The File may exist, may appear later, or never will. doubt_next() decides the next step from a
 * view. Its rules:
 *
 *  - Repeat complete while its Parts stand: a reply with our Upload's id and a File ends the doubt.
 *    If it only fails, repeat it again after each whole listing without the File, for a while.
 *  - After a 2xx nothing is sent again by itself, neither complete nor the bytes: only look.
 *  - Then cancel the Upload. No answer to cancel adopts or deletes a File.
 *  - Adopt only a File that is alone in a whole listing, with our name, purpose, bytes and
 *    lifetime, made since the Upload (in its second, if each File so far was), with an id not
 *    known here, and with our MD5 if the service hands out content.
 *  - Where it does not, adopt a File as inferred: only if it has the Upload's created_at, or the
 *    service gives others and cancel said that complete was done; and never after "cancelled",
 *    since another host's File is then more likely.
 *  - A File with our MD5 is inferred as well, so that our bytes stay, if it has another created_at
 *    or one that can't be compared, or cancel said "cancelled" and this service is not known to
 *    give each File its Upload's.
 *  - What is deleted once it is found (the file was removed, renamed or rewritten since) needs the
 *    Upload's created_at, and its MD5 or a cancel that said that complete was done.
 *  - A refusal of complete is believed after one whole listing without a candidate.
 *  - Otherwise make a new Upload only after a whole listing without a candidate: at the earliest
 *    10 s after "cancelled", else twice after the Upload's end. After "cancelled" a File with
 *    another created_at than ours would have is no candidate.
 */
#ifndef UPLOADFS_FS_PUBLISH_DOUBT_H
#define UPLOADFS_FS_PUBLISH_DOUBT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/api/api.h"
#include "net/base/digest.h"

struct event;
struct publish;

#define DOUBT_SETTLE_MS 10000	    /* a complete may run this long after "cancelled" */
#define DOUBT_END_MS (15 * 60000U)  /* after the Upload's end; then no File appears */
#define DOUBT_POST_MS (25 * 60000U) /* the same after a POST /files */
#define DOUBT_APART_MS 60000	    /* between the two listings that end the doubt after that */
#define DOUBT_PATIENCE_MS 20000	    /* a close waits this long for the File to be listed */
#define DOUBT_BRIEF_MS 4000	    /* the same if complete got only failures */
#define DOUBT_LOOK_MAX_MS 10000	    /* between two looks while a close waits */
#define DOUBT_IDLE_MS 60000	    /* the same without one */

/* The answer to cancel. Its numbers are in records: never change them. */
enum doubt_cancel {
	DOUBT_UNASKED = 1, /* never sent */
	DOUBT_ASKED,	   /* sent; no answer that proves anything */
	DOUBT_CANCELLED,   /* "cancelled" with our id: dead, unless a complete is still running */
	DOUBT_REFUSED,	   /* the first one refused while the Upload lived: probably completed */
	DOUBT_INFERRED,	   /* only in a record: not in doubt any more, the File is inferred */
	DOUBT_DONE	   /* not sent: complete was answered 2xx, though nobody knows with what */
};

enum doubt_found {
	FOUND_NOT_LOOKED,
	FOUND_UNSURE, /* the listing, the content or the size is not known */
	FOUND_NONE,   /* a whole listing without a candidate */
	FOUND_OTHERS, /* candidates, none of which can be told to be ours */
	FOUND_LIKE,   /* exactly one; the service does not hand out its content */
	FOUND_SAME    /* exactly one; its MD5 is ours */
};

struct doubt_view {
	bool wanted;	 /* not removed, renamed or rewritten since complete */
	bool upload;	 /* its id is known, and it was not found to be gone */
	bool expired;	 /* its time is over */
	bool refused;	 /* complete was refused, its reply not just lost */
	bool answered;	 /* the only complete was answered, by a refusal: one look is enough */
	bool may_repeat; /* complete was sent once in this try */
	bool waited_for; /* a close waits */
	bool asked_now;	 /* cancel was sent since this try began */
	enum doubt_cancel cancel;
	enum doubt_found found;
	bool stale;	/* the bytes were rewritten since complete */
	bool rival;	/* another file of this host may become a File like it */
	bool plausible; /* a candidate is `dated` */
	bool dated;	/* the one's created_at is the Upload's, or `later` */
	bool later;	/* its created_at is not that of its Upload here, or not known */
	bool undated;	/* the one's created_at can't be compared with the Upload's */
	bool always;	/* it does, as is known */
	bool forced;	/* user.upload.publish was set: publish anew */
	uint64_t now_ms;
	uint64_t looked_ms;   /* when the last look began */
	uint64_t settled_ms;  /* after "cancelled", a listing that began earlier proves nothing */
	uint64_t ends_ms;     /* without "cancelled", nor does one before this */
	uint64_t missed_ms;   /* the first look after ends_ms that found nothing ours; 0: none */
	uint64_t began_ms;    /* the start of this try */
	uint64_t patience_ms; /* a close waits this long */
};

enum doubt_step {
	DOUBT_REPEAT, /* ask for complete again */
	DOUBT_CANCEL, /* cancel the Upload */
	DOUBT_LOOK,   /* list the Files, at *ret_at_ms */
	DOUBT_ADOPT,  /* the File is ours */
	DOUBT_OVER,   /* there is no File and there will be none */
	DOUBT_FAIL    /* not decidable now: end this try, keep the doubt */
};

/* The next step; *ret_at_ms: when to look, for DOUBT_LOOK. Times are clock_mono_ms(). Pure. */
enum doubt_step doubt_next(const struct doubt_view *v, uint64_t *ret_at_ms);
/* True if the File to adopt may be another host's all the same, so that our bytes stay. Pure. */
bool doubt_infers(const struct doubt_view *v);

struct doubt {
	bool unknown;		  /* the File of an earlier complete may exist */
	bool stale;		  /* unknown, and the bytes were rewritten since */
	bool answered;		  /* see struct doubt_view */
	bool kept;		  /* the doubt holds a reference of its own */
	enum doubt_cancel cancel; /* 0: no doubt was recorded */
	bool repeated, asked_now; /* since this try began */
	bool crowd;		  /* the last look saw candidates that can't be told from ours */
	bool first;		  /* the cancel under way is the first one ever */
	unsigned looks;
	uint64_t began_ms, looked_ms, settled_ms, ends_ms, missed_ms;
	uint64_t look_due_ms;	      /* the next look, monotonic; 0: none */
	char md5[DIGEST_HEX_SIZE];    /* of the sent bytes */
	char same[API_ID_MAX + 1];    /* id of the candidate whose MD5 is ours */
	char refused[API_ID_MAX + 1]; /* id of the candidate whose content was refused before */
	bool plausible;		      /* at the last look; see struct doubt_view */
	bool several;		      /* another one has that MD5, too */
	char **strangers; /* Files with our name and size: listed before complete, or other bytes */
	size_t stranger_count;
};

/*
 * Publisher thread. A complete or POST /files ended without a usable reply, with err: note the
 * doubt and take its first step.
 */
void publish_doubt(struct publish *p, const struct api_error *err);
/* A new try, or the file was removed: take up the doubt again. */
void publish_doubt_try(struct publish *p);
/* True if the File id was known here before, or is one that the file replaces. */
bool publish_doubt_knows(const struct publish *p, const char *id);
/* Handle the answer to cancel (EV_PROBED), EV_LOOKED_UP and EV_CHECKED. */
void publish_doubt_cancelled(struct publish *p, const struct event *ev);
void publish_doubt_looked(struct publish *p, const struct event *ev);
void publish_doubt_checked(struct publish *p, const struct event *ev);

#endif
