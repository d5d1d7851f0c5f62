/*
 * listing_impl: shared by listing_pages.c (the pages of a fetch), listing_wait.c (who waits for
 * one), listing_fetch.c (a fetch, and the thread) and listing.c (what others want). Private to
 * these; each calls only those before it.
 */
#ifndef UPLOADFS_FS_REMOTE_LISTING_IMPL_H
#define UPLOADFS_FS_REMOTE_LISTING_IMPL_H

#include <pthread.h>

#include "fs/remote/listing.h"
#include "fs/remote/walk.h"

struct waiter {
	struct waiter *next;
	bool whole;	      /* waits for the whole list */
	uint32_t whole_fetch; /* the first fetch of it that is not too old */
	uint32_t fetch;	      /* the first fetch of any kind that is not too old */
	listing_cb *cb;
	void *arg;
};

/* How the request for a page ended. */
struct reply {
	bool there;
	struct api_error err;
	struct api_file_page page; /* unless err; its Files are ours */
	char last_id[API_ID_MAX + 1];
};

struct listing {
	struct listing_config cfg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under lock */
	struct reply reply; /* for the thread */
	bool stopping;
	struct waiter *waiters;
	bool fetching, known;
	uint32_t begun;	    /* fetches so far; that of the one under way */
	uint64_t asked_ms;  /* when the one under way began, monotonic */
	uint64_t whole_ms;  /* when the last good fetch of all began, monotonic */
	uint64_t newest_ms; /* and that of any kind */
	uint64_t failed_ms; /* when the last one failed, if it did */
	uint64_t waited_ms; /* since when somebody waits for the fetch under way */
	bool late;	    /* their patience is over: nobody waits for it any more */
	struct listing_progress progress;
	int failed; /* with which negative errno; 0: it did not */
	/* of the fetch under way: of who starts it, then the thread's */
	bool whole;
	bool first; /* of all: each page is applied as it comes, there is nothing to compare with */
	bool reached; /* a File that is known */
	uint64_t began_ms;
	uint32_t number;
	unsigned limit;
	unsigned resumes;  /* since the last page that brought something new */
	unsigned restarts; /* of this fetch */
	size_t back; /* the page asked for begins so many Files before the end of those kept */
	struct walk walk;
	size_t skipped, skipped_told; /* entries without an id: of this fetch; in the log */
	size_t unsized, unsized_told; /* Files without a size, the same way */
	bool stuck, stuck_told;	      /* a page brought nothing new: it was the last */
	struct listing_page *pages;   /* not applied yet; of the first fetch also the last one */
	size_t page_count;
	size_t pages_seen, count; /* of the whole fetch; count: of Files */
	size_t before;		  /* Files of the pages that are no more among pages */
	bool applied;		  /* something was, of this fetch or another */
	int64_t newest;		  /* created_at of the newest File of all that were applied */
	char last_id[API_ID_MAX + 1];
};

/* ---- listing_pages.c; of the fetch under way ---- */

/* Keep the Files of page, which are ours from now on. 0; -EOVERFLOW: too many; -ENOMEM. */
int listing_keep(struct listing *l, const struct api_file_page *page);
/* The kept File at place n, below count - before. */
const struct api_file *listing_kept(const struct listing *l, size_t n);
void listing_drop_pages(struct listing *l);

/* ---- listing_wait.c ---- */

/* Under lock: take out those whose wait is over, now that a fetch is; all: everyone. */
struct waiter *listing_take_waiters(struct listing *l, bool all);
/* Call and free the waiters on the list w, without the lock. */
void listing_answer(struct waiter *w, int err, bool known);
/* Under lock: true if a waiter wants the whole list. */
bool listing_whole_wanted(const struct listing *l);
/* Under lock: count w, which is consumed, among the waiters. Ages in ms, as for the callers. */
void listing_add_waiter(struct listing *l, struct waiter *w, bool whole, uint64_t max_age_ms,
			uint64_t whole_age_ms);

/* ---- listing_fetch.c ---- */

/* Under lock: note that a fetch begins now. */
void listing_note_begin(struct listing *l);
/* Begin the fetch that was noted, without the lock. */
void listing_begin(struct listing *l, bool whole);
/* The thread, until l->stopping. arg: l. */
void *listing_thread(void *arg);

#endif
