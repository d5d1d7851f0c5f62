#include "fs/remote/listing.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "fs/remote/errmap.h"
#include "fs/remote/walk.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define PAGE_LIMIT 10000     /* the API's maximum */
#define FAILED_AGAIN_MS 1000 /* after a failure the next fetch waits so long */
#define PATIENCE_MS 10000    /* then what was known before is the answer */
#define FIRST_MS 60000	     /* the same if nothing is known: then a time-out is the answer */
#define FILES_MAX 10000000   /* more would be a server that pages for ever */
#define PAGES_MAX 20000	     /* and so would these, with next to nothing on each */
#define RESUMES_MAX 8	     /* tries to go on behind a File that is gone by then; new starts */
#define TRIM_FILES 2000	     /* after a fetch of so many, memory goes back to the system */

/*
 * The newest part: pages of 20, 200, … Files. It ends where a known File stands,
 * but a File has the time at which its Upload was made, so one that has just
 * come to be may stand behind known ones: so far in time, or in Files, is
 * looked beyond them. What stands further behind comes with the whole list.
 */
#define NEW_LIMIT 20
#define NEW_OVERLAP_S 60
#define NEW_MAX 200

/*
 * A list asked for again and again (a copy of many files) is fetched this long before it expires,
 * while the previous one still answers: no caller waits.
 */
#define AHEAD_MS 500  /* at most */
#define AHEAD_SHARE 2 /* of the time for which the newest part is believed */
#define AHEAD_WHOLE_SHARE 20

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

/* ---- keeping pages ---- */

static void drop_pages(struct listing *l)
{
	for (size_t i = 0; i < l->page_count; i++) {
		l->before += l->pages[i].count;
		free(l->pages[i].files);
		free(l->pages[i].text);
	}
	free(l->pages);
	l->pages = NULL;
	l->page_count = 0;
}

/* The Files of the page are ours from now on. */
static int keep(struct listing *l, const struct api_file_page *page)
{
	struct listing_page *grown;

	/* The last page shown is kept, for resume(). */
	if (l->first)
		drop_pages(l);
	grown = realloc(l->pages, (l->page_count + 1) * sizeof(*grown));
	if (!grown || page->count > FILES_MAX - l->count || l->pages_seen >= PAGES_MAX) {
		free(page->files);
		free(page->text);
		if (grown)
			l->pages = grown;
		return grown ? -EOVERFLOW : -ENOMEM;
	}
	l->pages = grown;
	l->pages_seen++;
	grown[l->page_count++] = (struct listing_page){ page->count, page->files, page->text };
	l->count += page->count;
	return 0;
}

/* Returns the kept File at place n. */
static const struct api_file *kept(const struct listing *l, size_t n)
{
	size_t p = 0;

	while (n >= l->pages[p].count)
		n -= l->pages[p++].count;
	return &l->pages[p].files[n];
}

/* ---- a fetch ---- */

static void begin(struct listing *l, bool whole);

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

/* Under lock. Returns whether w has all it waits for, now that a fetch is over. */
static bool is_served(const struct listing *l, struct waiter *w)
{
	if (l->whole && l->begun >= w->whole_fetch)
		w->whole = false;
	return !w->whole && l->begun >= w->fetch;
}

/*
 * Under lock: takes out those whose wait is over. Others want more than the newest part, or came
 * after the pages were asked for.
 */
static struct waiter *take_waiters(struct listing *l, bool all)
{
	struct waiter *over = NULL, *w, **at = &l->waiters;

	while ((w = *at) != NULL) {
		if (!all && !is_served(l, w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = over;
		over = w;
	}
	return over;
}

/* Consumes the waiters. */
static void answer(struct waiter *w, int err, bool known)
{
	struct waiter *next;

	for (; w; w = next) {
		next = w->next;
		w->cb(w->arg, err, known);
		free(w);
	}
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

/* Under lock: notes that a fetch begins now. */
static void note_begin(struct listing *l)
{
	l->fetching = true;
	l->begun++;
	l->asked_ms = l->waited_ms = clock_mono_ms();
	l->late = false;
	l->progress = (struct listing_progress){ .began_ms = l->asked_ms };
}

/* Under lock. Returns whether a waiter wants the whole list. */
static bool is_whole_wanted(const struct listing *l)
{
	const struct waiter *w = l->waiters;

	while (w && !w->whole)
		w = w->next;
	return w != NULL;
}

static void finish(struct listing *l, int err)
{
	bool large = l->count >= TRIM_FILES, known, more, whole;
	struct waiter *w;

	if (!err && l->whole)
		tell_odd(l);
	if (!err)
		apply(l, true);
	drop_pages(l);
	pthread_mutex_lock(&l->lock);
	note_end(l, err);
	known = l->known;
	w = take_waiters(l, err);
	more = l->waiters != NULL;
	whole = is_whole_wanted(l);
	l->fetching = false;
	if (more)
		note_begin(l);
	pthread_mutex_unlock(&l->lock);
	answer(w, err, known);
	if (more)
		begin(l, whole);
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
	struct api_req *req;
	bool stopping;

	pthread_mutex_lock(&l->lock);
	stopping = l->stopping;
	pthread_mutex_unlock(&l->lock);
	if (stopping)
		return -EINTR;
	req = api_file_list(l->cfg.api, l->cfg.purpose, l->last_id[0] ? l->last_id : NULL, l->limit,
			    true, on_page, l);
	api_req_unref(req);
	return req ? 0 : -ENOMEM;
}

static void begin(struct listing *l, bool whole)
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
	drop_pages(l);
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
		const char *id = kept(l, l->count - l->before - back)->id;

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
	int rc = keep(l, &r->page);

	/* Another host may delete the File at the end of each page: the list goes on. */
	if (r->page.count >= l->back)
		l->resumes = 0;
	l->back = 0;
	if (rc == -EOVERFLOW)
		log_error("the service lists more than %u Files, or more than %u pages: the list "
			  "is not taken; -o purpose= asks for fewer",
			  FILES_MAX, PAGES_MAX);
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
			w = take_waiters(l, true);
			l->late = true;
			known = l->known;
			pthread_mutex_unlock(&l->lock);
			answer(w, -ETIMEDOUT, known);
			pthread_mutex_lock(&l->lock);
		} else if (l->stopping || l->reply.there) {
			return;
		} else {
			clock_cond_wait(&l->wake, &l->lock, until);
		}
	}
}

static void *listing_thread(void *arg)
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

/* ---- what others want ---- */

/* With an age of 0 no list is: something may have changed within its millisecond. */
static bool young(const struct listing *l, uint64_t since_ms, uint64_t max_age_ms)
{
	return l->known && max_age_ms && clock_mono_ms() - since_ms <= max_age_ms;
}

/* Under lock. A failed fetch took long: do not repeat it for each caller. */
static int failed_lately(const struct listing *l)
{
	return clock_mono_ms() - l->failed_ms <= FAILED_AGAIN_MS ? l->failed : 0;
}

/* Under lock. Young enough, but not for long. */
static bool ages(const struct listing *l, uint64_t since_ms, uint64_t max_age_ms, unsigned share)
{
	uint64_t ahead = max_age_ms / share < AHEAD_MS ? max_age_ms / share : AHEAD_MS;

	return !young(l, since_ms, max_age_ms - ahead);
}

/* Under lock: what a lookup goes by is fresh, but is it time to fetch it again, or all? */
static bool due_ahead(const struct listing *l, uint64_t max_age_ms, uint64_t whole_age_ms,
		      bool *ret_whole)
{
	if (l->fetching || l->stopping || failed_lately(l))
		return false;
	*ret_whole = ages(l, l->whole_ms, whole_age_ms, AHEAD_WHOLE_SHARE);
	return *ret_whole || ages(l, l->newest_ms, max_age_ms, AHEAD_SHARE);
}

/* Under lock. Returns the number of the first fetch whose pages are no older than age_ms. */
static uint32_t first_fetch(const struct listing *l, uint64_t age_ms)
{
	bool joins = l->fetching && age_ms && clock_mono_ms() - l->asked_ms <= age_ms;

	return joins ? l->begun : l->begun + 1;
}

/* Under lock. */
static void add_waiter(struct listing *l, struct waiter *w, bool whole, uint64_t max_age_ms,
		       uint64_t whole_age_ms)
{
	if (!l->waiters)
		l->waited_ms = clock_mono_ms();
	w->whole = whole;
	w->whole_fetch = first_fetch(l, whole_age_ms);
	w->fetch = first_fetch(l, max_age_ms);
	w->next = l->waiters;
	l->waiters = w;
}

/* w: NULL if no caller waits; else consumed. */
static void want(struct listing *l, bool whole, uint64_t max_age_ms, uint64_t whole_age_ms,
		 struct waiter *w)
{
	bool start = false, fresh, known;
	int err;

	pthread_mutex_lock(&l->lock);
	whole = whole || !young(l, l->whole_ms, whole_age_ms);
	known = l->known;
	fresh = whole ? young(l, l->whole_ms, whole_age_ms) : young(l, l->newest_ms, max_age_ms);
	err = fresh ? 0 : l->stopping ? -EINTR : failed_lately(l);
	if (!fresh && !err && l->fetching && l->late)
		err = -ETIMEDOUT;
	if (!fresh && !err) {
		if (w)
			add_waiter(l, w, whole, max_age_ms, whole_age_ms);
		start = !l->fetching;
		w = NULL;
		pthread_cond_signal(&l->wake);
	} else if (fresh && !whole && due_ahead(l, max_age_ms, whole_age_ms, &whole)) {
		start = true;
	}
	if (start)
		note_begin(l);
	pthread_mutex_unlock(&l->lock);
	if (w) {
		w->cb(w->arg, err, known);
		free(w);
	}
	if (start)
		begin(l, whole);
}

static struct waiter *waiter_new(listing_cb *cb, void *arg)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		cb(arg, -ENOMEM, false);
		return NULL;
	}
	w->cb = cb;
	w->arg = arg;
	return w;
}

void listing_want(struct listing *l, uint64_t max_age_ms, listing_cb *cb, void *arg)
{
	struct waiter *w = waiter_new(cb, arg);

	if (w)
		want(l, true, max_age_ms, max_age_ms, w);
}

void listing_want_new(struct listing *l, uint64_t max_age_ms, uint64_t whole_age_ms, listing_cb *cb,
		      void *arg)
{
	struct waiter *w = waiter_new(cb, arg);

	if (w)
		want(l, false, max_age_ms, whole_age_ms, w);
}

void listing_refresh(struct listing *l, uint64_t max_age_ms)
{
	want(l, true, max_age_ms, max_age_ms, NULL);
}

bool listing_is_fetching(struct listing *l)
{
	bool fetching;

	pthread_mutex_lock(&l->lock);
	fetching = l->fetching;
	pthread_mutex_unlock(&l->lock);
	return fetching;
}

void listing_get_progress(struct listing *l, struct listing_progress *ret)
{
	pthread_mutex_lock(&l->lock);
	*ret = l->progress;
	ret->under_way = l->fetching;
	ret->known = l->known;
	pthread_mutex_unlock(&l->lock);
}

/* ---- life ---- */

int listing_new(const struct listing_config *cfg, struct listing **ret)
{
	struct listing *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->cfg = *cfg;
	l->walk.limit_max = PAGE_LIMIT;
	pthread_mutex_init(&l->lock, NULL);
	clock_cond_init(&l->wake);
	r = -pthread_create(&l->thread, NULL, listing_thread, l);
	if (r) {
		l->stopping = true;
		listing_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void listing_stop(struct listing *l)
{
	struct waiter *w;
	bool known, before;

	pthread_mutex_lock(&l->lock);
	before = l->stopping;
	l->stopping = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	if (before)
		return;
	pthread_join(l->thread, NULL);
	pthread_mutex_lock(&l->lock);
	w = take_waiters(l, true);
	known = l->known;
	pthread_mutex_unlock(&l->lock);
	answer(w, -EINTR, known);
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	listing_stop(l);
	if (l->reply.there && l->reply.err.kind == API_OK) {
		free(l->reply.page.files);
		free(l->reply.page.text);
	}
	drop_pages(l);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
