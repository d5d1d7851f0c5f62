/*
 * A fetch of the list, page by page, and the thread that takes them in.
 */
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <string.h>

#include "fs/remote/errmap.h"
#include "fs/remote/listing_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define PATIENCE_MS 10000 /* then what was known before is the answer */
#define FIRST_MS 60000	  /* the same if nothing is known: then a time-out is the answer */
#define RESUMES_MAX 8	  /* tries to go on behind a File that is gone by then; new starts */
#define TRIM_FILES 2000	  /* after a fetch of so many, memory goes back to the system */

/*
 * The newest part: pages of 20, 200, … Files. It ends where a known File stands,
 * but a File has the time at which its Upload was made, so one that has just
 * come to be may stand behind known ones: so far in time, or in Files, is
 * looked beyond them. What stands further behind comes with the whole list.
 */
#define NEW_LIMIT 20
#define NEW_OVERLAP_S 60
#define NEW_MAX 200

/* Under lock: notes that a fetch begins now. */
void listing_note_begin(struct listing *l)
{
	l->fetching = true;
	l->begun++;
	l->asked_ms = l->waited_ms = clock_mono_ms();
	l->late = false;
	l->progress = (struct listing_progress){ .began_ms = l->asked_ms };
}

/* end: there are no further pages. */
static void apply(struct listing *l, bool end)
{
	struct listing_files files = { .number = l->number,
				       .first = l->first,
				       .whole = l->whole && end,
				       .before = l->before,
				       .pages = l->pages,
				       .page_count = l->page_count };

	for (size_t i = 0; i < l->page_count; i++) {
		files.count += l->pages[i].count;
		for (size_t k = 0; k < l->pages[i].count; k++)
			if (l->pages[i].files[k].created_at > l->newest)
				l->newest = l->pages[i].files[k].created_at;
	}
	l->applied = true;
	l->cfg.apply(l->cfg.arg, &files);
}

static void note_end(struct listing *l, int err)
{
	if (err) {
		l->failed_ms = clock_mono_ms();
	} else if (l->whole) {
		l->known = true;
		l->whole_ms = l->newest_ms = l->began_ms;
	} else {
		l->newest_ms = l->began_ms;
	}
	l->failed = err;
}

/* Tell what is odd about a whole list, when it changes. */
static void tell_odd(struct listing *l)
{
	if (l->skipped && l->skipped != l->skipped_told)
		log_warn("the list of Files has %zu %s without a usable id: not shown", l->skipped,
			 l->skipped == 1 ? "entry" : "entries");
	if (l->unsized && l->unsized != l->unsized_told)
		log_warn("the service does not tell the size of %zu %s: not shown until it does",
			 l->unsized, l->unsized == 1 ? "File" : "Files");
	if (l->stuck && !l->stuck_told)
		log_warn("the list of Files claims to have more, but its next page brings nothing "
			 "new: what came counts as all");
	l->skipped_told = l->skipped;
	l->unsized_told = l->unsized;
	l->stuck_told = l->stuck;
}

static void finish(struct listing *l, int err)
{
	bool large = l->count >= TRIM_FILES, known, more, whole;
	struct waiter *w;

	if (!err && l->whole)
		tell_odd(l);
	if (!err)
		apply(l, true);
	listing_drop_pages(l);
	pthread_mutex_lock(&l->lock);
	note_end(l, err);
	known = l->known;
	w = listing_take_waiters(l, err);
	more = l->waiters != NULL;
	whole = listing_whole_wanted(l);
	l->fetching = false;
	if (more)
		listing_note_begin(l);
	pthread_mutex_unlock(&l->lock);
	listing_answer(w, err, known);
	if (more)
		listing_begin(l, whole);
	/* The pages lay amid what apply() made of them. */
	if (large)
		malloc_trim(0);
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct listing *l = arg;

	pthread_mutex_lock(&l->lock);
	l->progress.pages += page != NULL;
	l->progress.files += page ? page->count : 0;
	if (!l->stopping) {
		l->reply.there = true;
		l->reply.err = *err;
	}
	if (!l->stopping && page) {
		l->reply.page = *page;
		l->reply.last_id[0] = '\0';
		if (strlen(page->last_id) <= API_ID_MAX)
			memcpy(l->reply.last_id, page->last_id, strlen(page->last_id) + 1);
		page->files = NULL;
		page->text = NULL;
	}
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

/* 0, -ENOMEM, or -EINTR: nothing is asked for any more. */
static int next_page(struct listing *l)
{
	const char *after = l->last_id[0] ? l->last_id : NULL;
	struct api_req *req;
	bool stopping, known;

	pthread_mutex_lock(&l->lock);
	stopping = l->stopping;
	known = l->known;
	pthread_mutex_unlock(&l->lock);
	if (stopping)
		return -EINTR;
	/* Without an older list there is nothing to show meanwhile. */
	req = known ? api_file_list(l->cfg.api, l->cfg.purpose, after, l->limit, true, on_page, l)
		    : api_file_list_brief(l->cfg.api, l->cfg.purpose, after, l->limit, on_page, l);
	api_req_unref(req);
	return req ? 0 : -ENOMEM;
}

void listing_begin(struct listing *l, bool whole)
{
	int r;

	l->whole = whole;
	l->first = whole && !l->applied;
	l->reached = false;
	l->began_ms = l->asked_ms;
	l->number++;
	l->limit = whole ? l->walk.limit_max : NEW_LIMIT;
	l->resumes = l->restarts = 0;
	l->back = 0;
	l->skipped = l->unsized = 0;
	l->stuck = false;
	walk_begin(&l->walk);
	l->last_id[0] = '\0';
	l->pages_seen = l->count = l->before = 0;
	r = next_page(l);
	if (r)
		finish(l, r);
}

/* The service refuses pages of that size. True: a smaller one was asked for. */
static bool shrink(struct listing *l, const struct api_error *err)
{
	return walk_shrink(&l->walk, &l->limit, err) && !next_page(l);
}

/* From the start, as another fetch: what is shown by now may have changed its order. */
static void start_over(struct listing *l)
{
	listing_drop_pages(l);
	l->count = l->before = l->back = 0;
	l->restarts++;
	l->first = l->first && !l->applied;
	l->number++;
	l->skipped = l->unsized = 0;
	walk_begin(&l->walk);
}

/*
 * The File behind which the page was to begin is gone: from an earlier one, each
 * time ten times further back. True: the page was asked for.
 */
static bool resume(struct listing *l, const struct api_error *err)
{
	size_t back = 2;

	if (err->http_status != 404 || !l->last_id[0] || l->resumes >= RESUMES_MAX ||
	    l->restarts >= RESUMES_MAX)
		return false;
	for (unsigned i = 0; i < l->resumes; i++)
		back *= 10;
	l->resumes++;
	l->last_id[0] = '\0';
	/* Going back is no circle. */
	walk_begin(&l->walk);
	if (back <= l->count - l->before) {
		const char *id = listing_kept(l, l->count - l->before - back)->id;

		memcpy(l->last_id, id, strlen(id) + 1);
		l->back = back;
	} else {
		start_over(l);
	}
	return !next_page(l);
}

static void failed(struct listing *l, const struct api_error *err)
{
	char text[640];

	errmap_text(err, ERRMAP_LIST, text, sizeof(text));
	if (err->kind != API_ERR_CANCELLED)
		log_warn("listing the Files failed: %s", text);
	finish(l, errmap(err, ERRMAP_LIST));
}

/* Returns whether enough of the newest Files were fetched. */
static bool seen_enough(struct listing *l, const struct listing_page *page)
{
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < page->count; i++) {
		l->reached = l->reached || l->cfg.known(l->cfg.arg, page->files[i].id);
		if (page->files[i].created_at < oldest)
			oldest = page->files[i].created_at;
	}
	return l->reached && (oldest < l->newest - NEW_OVERLAP_S || l->count >= NEW_MAX);
}

/* Does the fetch end with this page? One that leads nowhere must not keep us going round. */
static bool is_last(struct listing *l, const struct reply *r)
{
	l->skipped += r->page.skipped;
	for (size_t i = 0; i < r->page.count; i++)
		l->unsized += r->page.files[i].bytes_unknown;
	l->stuck = r->page.stuck || (r->page.has_more && !walk_goes_on(&l->walk, r->last_id));
	return !r->page.has_more || l->stuck ||
	       (!l->whole && seen_enough(l, &l->pages[l->page_count - 1]));
}

static void take_page(struct listing *l, const struct reply *r)
{
	int rc = listing_keep(l, &r->page);

	/* Another host may delete the File at the end of each page: the list goes on. */
	if (r->page.count >= l->back)
		l->resumes = 0;
	l->back = 0;
	if (rc || is_last(l, r)) {
		finish(l, rc);
		return;
	}
	if (l->limit < l->walk.limit_max)
		l->limit = l->limit * 10 < l->walk.limit_max ? l->limit * 10 : l->walk.limit_max;
	memcpy(l->last_id, r->last_id, sizeof(l->last_id));
	rc = next_page(l);
	if (rc) {
		finish(l, rc);
	} else if (l->first) {
		/* The network thread may wait for this very processor: the request goes first. */
		sched_yield();
		apply(l, false);
	}
}

/*
 * Waits for a reply or for the thread's end. If the fetch takes too long, answers the waiters: from
 * the known list, or with a time-out. It goes on, but nobody waits for it any more. Under lock.
 */
static void await_reply(struct listing *l)
{
	struct waiter *w;
	uint64_t until;
	bool known;

	for (;;) {
		until = l->waiters ? l->waited_ms + (l->known ? PATIENCE_MS : FIRST_MS)
				   : UINT64_MAX;
		if (clock_mono_ms() >= until) {
			w = listing_take_waiters(l, true);
			l->late = true;
			known = l->known;
			pthread_mutex_unlock(&l->lock);
			listing_answer(w, -ETIMEDOUT, known);
			pthread_mutex_lock(&l->lock);
		} else if (l->stopping || l->reply.there) {
			return;
		} else {
			clock_cond_wait(&l->wake, &l->lock, until);
		}
	}
}

void *listing_thread(void *arg)
{
	struct listing *l = arg;
	struct reply r;

	pthread_mutex_lock(&l->lock);
	for (await_reply(l); !l->stopping; await_reply(l)) {
		r = l->reply;
		l->reply.there = false;
		pthread_mutex_unlock(&l->lock);
		if (r.err.kind == API_OK)
			take_page(l, &r);
		else if (!shrink(l, &r.err) && !resume(l, &r.err))
			failed(l, &r.err);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}
