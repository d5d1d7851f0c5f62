/*
 * The outcome of a complete whose reply was lost: looks for the File by
 * filename, bytes, purpose and created_at, newest first (api.md: nothing asks
 * about an Upload afterwards; file.created_at was the Upload's in recordings).
 */
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publish_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define LOOKUP_PAGE 1000
#define LOOKUP_PAGES_MAX 20
#define LOOKUP_SLACK_S 5 /* created_at may be that of the Upload or of the complete */

struct lookup {
	struct publish *p; /* referenced */
	struct api *api;
	unsigned epoch, pages;
	bool undecided;
	char *filename, *purpose;
	uint64_t bytes;
	int64_t not_before;
	char **exclude; /* Files that we know to be others */
	size_t exclude_count;
};

static void lookup_free(struct lookup *l)
{
	for (size_t i = 0; i < l->exclude_count; i++)
		free(l->exclude[i]);
	free(l->exclude);
	free(l->filename);
	free(l->purpose);
	publish_unref(l->p);
	free(l);
}

static void answer(struct lookup *l, const struct api_error *err, const struct api_file *file)
{
	struct event *ev = calloc(1, sizeof(*ev));

	if (!ev) {
		log_error("out of memory");
		abort();
	}
	ev->kind = EV_LOOKED_UP;
	ev->epoch = l->epoch;
	ev->api_err = *err;
	ev->undecided = l->undecided;
	if (file) {
		memcpy(ev->id, file->id, strlen(file->id) + 1);
		ev->bytes = file->bytes;
		ev->created_at = file->created_at;
		ev->expires_at = file->expires_at;
	}
	publish_post(l->p, ev);
	lookup_free(l);
}

static bool is_ours(const struct lookup *l, const struct api_file *f)
{
	if ((f->bytes != l->bytes && !f->bytes_unknown) || strcmp(f->filename, l->filename) ||
	    strcmp(f->purpose, l->purpose) || f->created_at < l->not_before ||
	    strlen(f->id) > API_ID_MAX)
		return false;
	for (size_t i = 0; i < l->exclude_count; i++)
		if (!strcmp(l->exclude[i], f->id))
			return false;
	return true;
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct lookup *l = arg;
	struct api_req *req;
	bool older = false;

	for (size_t i = 0; page && i < page->count; i++) {
		if (is_ours(l, &page->files[i])) {
			/* Azure's count is null for a while. */
			l->undecided |= page->files[i].bytes_unknown;
			if (page->files[i].bytes_unknown)
				continue;
			answer(l, err, &page->files[i]);
			return;
		}
		older |= page->files[i].created_at < l->not_before;
	}
	if (!page || older || !page->has_more || !page->last_id[0] ||
	    ++l->pages >= LOOKUP_PAGES_MAX) {
		answer(l, err, NULL);
		return;
	}
	req = api_file_list(l->api, l->purpose, page->last_id, LOOKUP_PAGE, true, on_page, l);
	if (!req)
		answer(l, err, NULL);
	api_req_unref(req);
}

static struct lookup *lookup_new(struct publish *p)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->p = publish_ref(p);
	l->api = p->pr->cfg.api;
	l->epoch = p->epoch;
	l->bytes = p->upload_bytes;
	l->not_before = p->upload_created_at - LOOKUP_SLACK_S;
	l->filename = strdup(p->upload_filename);
	l->purpose = strdup(p->upload_purpose);
	l->exclude = calloc(p->now.superseded_count + 1, sizeof(*l->exclude));
	if (!l->filename || !l->purpose || !l->exclude)
		goto fail;
	for (size_t i = 0; i < p->now.superseded_count; i++) {
		l->exclude[i] = strdup(p->now.superseded[i]);
		if (!l->exclude[i])
			goto fail;
		l->exclude_count++;
	}
	return l;
fail:
	lookup_free(l);
	return NULL;
}

void publish_start_lookup(struct publish *p)
{
	struct api_error none = { .kind = API_ERR_LOCAL };
	struct lookup *l = lookup_new(p);
	struct api_req *req;

	if (!l) {
		p->lookup_due_ms = clock_mono_ms() + 200;
		return;
	}
	req = api_file_list(p->pr->cfg.api, p->upload_purpose, NULL, LOOKUP_PAGE, true, on_page, l);
	if (!req)
		answer(l, &none, NULL);
	api_req_unref(req);
}

void publish_doubt(struct publish *p, const struct api_error *err, enum after_lookup then)
{
	p->first_err = *err;
	p->first_call = ERRMAP_WRITE;
	p->complete_unknown = true;
	p->after_lookup = then;
	p->phase = PHASE_LOOKUP;
	p->lookups = 0;
	p->lookup_due_ms = clock_mono_ms();
}

void publish_file_exists(struct publish *p, const struct event *ev)
{
	memcpy(p->file_id, ev->id, sizeof(p->file_id));
	p->file_created_at = ev->created_at;
	p->file_expires_at = ev->expires_at;
	p->complete_unknown = false;
	p->abandoned_due = true;
	p->news = true;
	p->phase = PHASE_CLEANUP;
	/* Before anybody hears of it: else what is removed then could come back after a crash. */
	publish_save_record(p, true);
}
