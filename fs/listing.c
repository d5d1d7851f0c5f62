#include "fs/listing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/errmap.h"
#include "net/clock.h"
#include "net/log.h"

#define PAGE_LIMIT 10000     /* the API's maximum */
#define FAILED_AGAIN_MS 1000 /* after a failure the next fetch waits so long */
#define FILES_MAX 10000000   /* more would be a server that pages for ever */
#define PAGES_MAX 20000	     /* and so would these, with next to nothing on each */
#define RESUMES_MAX 8	     /* pages that begin behind a File that is gone by then */

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
 * What is asked for again and again, as by who copies many files, is fetched so
 * long before its time is over, while the former one still answers: so nobody waits.
 */
#define AHEAD_MS 500  /* at most */
#define AHEAD_SHARE 2 /* of the time for which the newest part is believed */
#define AHEAD_WHOLE_SHARE 20

struct waiter {
	struct waiter *next;
	bool whole;
	listing_cb *cb;
	void *arg;
};

struct listing {
	struct listing_config cfg;
	pthread_mutex_t lock;
	/* under lock */
	struct waiter *waiters;
	bool fetching, known;
	uint64_t whole_ms;  /* when the last good fetch of all began, monotonic */
	uint64_t newest_ms; /* and that of any kind */
	uint64_t failed_ms; /* when the last one failed, if it did */
	int failed;	    /* with which negative errno; 0: it did not */
	/* of the fetch under way: of who starts it, then the network thread's */
	bool whole;
	bool reached; /* a File that is known */
	uint64_t began_ms;
	uint32_t number;
	unsigned limit, resumes;
	struct listing_page *pages;
	size_t page_count, count;
	int64_t newest; /* created_at of the newest File of all that were applied */
	char last_id[API_ID_MAX + 1];
};

int listing_new(const struct listing_config *cfg, struct listing **ret)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->cfg = *cfg;
	pthread_mutex_init(&l->lock, NULL);
	*ret = l;
	return 0;
}

static void drop_pages(struct listing *l)
{
	for (size_t i = 0; i < l->page_count; i++) {
		free(l->pages[i].files);
		free(l->pages[i].text);
	}
	free(l->pages);
	l->pages = NULL;
	l->page_count = l->count = 0;
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	drop_pages(l);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- keeping a page ---- */

/* Takes the Files out of the page. */
static int keep(struct listing *l, struct api_file_page *page)
{
	struct listing_page *grown;

	if (page->count > FILES_MAX - l->count || l->page_count >= PAGES_MAX)
		return -EOVERFLOW;
	grown = realloc(l->pages, (l->page_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->pages = grown;
	grown[l->page_count++] = (struct listing_page){ page->count, page->files, page->text };
	l->count += page->count;
	page->files = NULL;
	page->text = NULL;
	return 0;
}

/* The File at place n of all that are kept. */
static const struct api_file *kept(const struct listing *l, size_t n)
{
	size_t p = 0;

	while (n >= l->pages[p].count)
		n -= l->pages[p++].count;
	return &l->pages[p].files[n];
}

/* ---- a fetch ---- */

static void begin(struct listing *l, bool whole);

static void apply(struct listing *l)
{
	struct listing_files files = { .number = l->number,
				       .whole = l->whole,
				       .pages = l->pages,
				       .page_count = l->page_count,
				       .count = l->count };

	for (size_t i = 0; i < l->page_count; i++)
		for (size_t k = 0; k < l->pages[i].count; k++)
			if (l->pages[i].files[k].created_at > l->newest)
				l->newest = l->pages[i].files[k].created_at;
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

/* Under lock: takes out those whose wait is over; others want more than the newest part. */
static struct waiter *take_waiters(struct listing *l, bool all)
{
	struct waiter *over = NULL, *w, **at = &l->waiters;

	while ((w = *at) != NULL) {
		if (w->whole && !all) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = over;
		over = w;
	}
	return over;
}

static void finish(struct listing *l, int err)
{
	struct waiter *w, *next;
	bool known, more;

	if (!err)
		apply(l);
	drop_pages(l);
	pthread_mutex_lock(&l->lock);
	note_end(l, err);
	known = l->known;
	w = take_waiters(l, err || l->whole);
	more = l->fetching = l->waiters != NULL;
	pthread_mutex_unlock(&l->lock);
	for (; w; w = next) {
		next = w->next;
		w->cb(w->arg, err, known);
		free(w);
	}
	if (more)
		begin(l, true);
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page);

static void next_page(struct listing *l)
{
	struct api_req *req =
		api_file_list(l->cfg.api, l->cfg.purpose, l->last_id[0] ? l->last_id : NULL,
			      l->limit, true, on_page, l);

	if (!req)
		finish(l, -ENOMEM);
	api_req_unref(req);
}

static void begin(struct listing *l, bool whole)
{
	l->whole = whole;
	l->reached = false;
	l->began_ms = clock_mono_ms();
	l->number++;
	l->limit = whole ? PAGE_LIMIT : NEW_LIMIT;
	l->resumes = 0;
	l->last_id[0] = '\0';
	next_page(l);
}

/*
 * The File behind which the page was to begin is gone: from an earlier one, each
 * time ten times further back. True: the page was asked for.
 */
static bool resume(struct listing *l, const struct api_error *err)
{
	size_t back = 2;

	if (err->http_status != 404 || !l->last_id[0] || l->resumes >= RESUMES_MAX)
		return false;
	for (unsigned i = 0; i < l->resumes; i++)
		back *= 10;
	l->resumes++;
	l->last_id[0] = '\0';
	if (back <= l->count) {
		const char *id = kept(l, l->count - back)->id;

		memcpy(l->last_id, id, strlen(id) + 1);
	} else {
		drop_pages(l);
	}
	next_page(l);
	return true;
}

static void failed(struct listing *l, const struct api_error *err)
{
	char text[640];

	errmap_text(err, ERRMAP_LIST, text, sizeof(text));
	if (err->kind != API_ERR_CANCELLED)
		log_warn("listing the Files failed: %s", text);
	finish(l, errmap(err, ERRMAP_LIST));
}

/* Enough of the newest ones? */
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

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct listing *l = arg;
	int r;

	if (!page) {
		if (!resume(l, err))
			failed(l, err);
		return;
	}
	r = keep(l, page);
	/* A page that leads nowhere ends it: else a confused server would keep us going round. */
	if (r || !page->has_more || !page->last_id[0] || !strcmp(page->last_id, l->last_id) ||
	    strlen(page->last_id) > API_ID_MAX ||
	    (!l->whole && seen_enough(l, &l->pages[l->page_count - 1]))) {
		finish(l, r);
		return;
	}
	if (l->limit < PAGE_LIMIT)
		l->limit = l->limit * 10 < PAGE_LIMIT ? l->limit * 10 : PAGE_LIMIT;
	memcpy(l->last_id, page->last_id, strlen(page->last_id) + 1);
	next_page(l);
}

/* ---- what others want ---- */

static bool young(const struct listing *l, uint64_t since_ms, uint64_t max_age_ms)
{
	return l->known && clock_mono_ms() - since_ms <= max_age_ms;
}

/* Under lock. A fetch that fails takes its time: not once for each who asks. */
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
	if (l->fetching || failed_lately(l))
		return false;
	*ret_whole = ages(l, l->whole_ms, whole_age_ms, AHEAD_WHOLE_SHARE);
	return *ret_whole || ages(l, l->newest_ms, max_age_ms, AHEAD_SHARE);
}

/* w: NULL when nobody waits; else consumed. */
static void want(struct listing *l, bool whole, uint64_t max_age_ms, uint64_t whole_age_ms,
		 struct waiter *w)
{
	bool start = false, fresh, known;
	int err;

	pthread_mutex_lock(&l->lock);
	whole = whole || !young(l, l->whole_ms, whole_age_ms);
	known = l->known;
	fresh = whole ? young(l, l->whole_ms, whole_age_ms) : young(l, l->newest_ms, max_age_ms);
	err = fresh ? 0 : failed_lately(l);
	if (!fresh && !err) {
		if (w) {
			w->whole = whole;
			w->next = l->waiters;
			l->waiters = w;
		}
		start = !l->fetching;
		l->fetching = true;
		w = NULL;
	} else if (fresh && !whole && due_ahead(l, max_age_ms, whole_age_ms, &whole)) {
		start = l->fetching = true;
	}
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
