#include "fs/listing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/errmap.h"
#include "net/clock.h"
#include "net/log.h"

#define PAGE_LIMIT 10000
#define FAILED_AGAIN_MS 1000 /* after a failure the next fetch waits so long */
#define FILES_MAX 10000000   /* more would be a server that pages for ever */

struct waiter {
	struct waiter *next;
	listing_cb *cb;
	void *arg;
};

struct listing {
	struct listing_config cfg;
	pthread_mutex_t lock;
	/* under lock */
	struct waiter *waiters;
	bool fetching, known;
	uint64_t fetched_ms; /* when the last good fetch began, monotonic */
	uint64_t failed_ms;  /* when the last one failed, if it did */
	int failed;	     /* with which negative errno; 0: it did not */
	/* of the fetch under way, network thread only */
	uint64_t began_ms;
	uint32_t number;
	struct api_file *files;
	size_t n, cap;
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

static void drop_files(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free((char *)(uintptr_t)l->files[i].id);
		free((char *)(uintptr_t)l->files[i].filename);
		free((char *)(uintptr_t)l->files[i].purpose);
	}
	free(l->files);
	l->files = NULL;
	l->n = l->cap = 0;
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	drop_files(l);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static int keep(struct listing *l, const struct api_file *f)
{
	struct api_file *k;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		struct api_file *v = realloc(l->files, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->files = v;
		l->cap = cap;
	}
	k = &l->files[l->n];
	*k = *f;
	k->id = strdup(f->id);
	k->filename = strdup(f->filename);
	k->purpose = strdup(f->purpose);
	l->n++;
	return k->id && k->filename && k->purpose ? 0 : -ENOMEM;
}

static void finish(struct listing *l, int err)
{
	struct waiter *w, *next;
	bool known;

	if (!err)
		l->cfg.apply(l->cfg.arg, l->number, l->files, l->n);
	drop_files(l);
	pthread_mutex_lock(&l->lock);
	if (!err) {
		l->known = true;
		l->fetched_ms = l->began_ms;
	} else {
		l->failed_ms = clock_mono_ms();
	}
	l->failed = err;
	known = l->known;
	l->fetching = false;
	w = l->waiters;
	l->waiters = NULL;
	pthread_mutex_unlock(&l->lock);
	for (; w; w = next) {
		next = w->next;
		w->cb(w->arg, err, known);
		free(w);
	}
}

static void on_page(void *arg, const struct api_error *err, const struct api_file_page *page);

static void next_page(struct listing *l)
{
	struct api_req *req =
		api_file_list(l->cfg.api, l->cfg.purpose, l->last_id[0] ? l->last_id : NULL,
			      PAGE_LIMIT, true, on_page, l);

	if (!req)
		finish(l, -ENOMEM);
	api_req_unref(req);
}

static void on_page(void *arg, const struct api_error *err, const struct api_file_page *page)
{
	struct listing *l = arg;
	char text[640];
	int r = 0;

	if (!page) {
		errmap_text(err, ERRMAP_LIST, text, sizeof(text));
		if (err->kind != API_ERR_CANCELLED)
			log_warn("listing the Files failed: %s", text);
		finish(l, errmap(err, ERRMAP_LIST));
		return;
	}
	for (size_t i = 0; i < page->count && !r; i++)
		r = l->n < FILES_MAX ? keep(l, &page->files[i]) : -EOVERFLOW;
	/* A page that leads nowhere ends it: else a confused server would keep us going round. */
	if (r || !page->has_more || !page->last_id[0] || !strcmp(page->last_id, l->last_id) ||
	    strlen(page->last_id) > API_ID_MAX) {
		finish(l, r);
		return;
	}
	memcpy(l->last_id, page->last_id, strlen(page->last_id) + 1);
	next_page(l);
}

void listing_want(struct listing *l, uint64_t max_age_ms, listing_cb *cb, void *arg)
{
	struct waiter *w = malloc(sizeof(*w));
	bool start = false, fresh, known;
	int failed;

	pthread_mutex_lock(&l->lock);
	known = l->known;
	fresh = known && clock_mono_ms() - l->fetched_ms <= max_age_ms;
	/* A fetch that fails takes its time: not once for each who asks. */
	failed = !fresh && clock_mono_ms() - l->failed_ms <= FAILED_AGAIN_MS ? l->failed : 0;
	if (!fresh && !failed && w) {
		*w = (struct waiter){ l->waiters, cb, arg };
		l->waiters = w;
		start = !l->fetching;
		l->fetching = true;
	}
	pthread_mutex_unlock(&l->lock);
	if (fresh || failed || !w) {
		free(w);
		cb(arg, fresh ? 0 : failed ? failed : -ENOMEM, known);
		return;
	}
	if (start) {
		l->began_ms = clock_mono_ms();
		l->number++;
		l->last_id[0] = '\0';
		next_page(l);
	}
}
