/*
 * Find the File of a complete in doubt: walk the whole list of the purpose, and compare a
 * candidate's content with ours if the service hands it out. Callbacks run on the network thread
 * and only post.
 */
#include "fs/publish/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/service.h"
#include "fs/remote/walk.h"
#include "fs/stage/file.h"
#include "fs/state/known.h"
#include "fs/state/store.h"
#include "net/base/clock.h"
#include "net/base/digest.h"

#define LOOKUP_PAGE 1000
#define LOOKUP_PAGES_MAX 2000  /* more Files than an account has */
#define LOOKUP_FOUND_MAX 16    /* candidates reported; more of them decide nothing */
#define LIFETIME_MAX_S 2592000 /* of a File (D) */
#define LIFETIME_SLACK_S 2

struct lookup {
	struct publish *p; /* referenced */
	struct api *api;
	unsigned epoch, pages;
	unsigned limit; /* entries on a page */
	struct walk walk;
	bool undecided;
	char *filename, *purpose;
	struct event *ev;	   /* of the answer; owned, NULL once posted */
	char last[API_ID_MAX + 1]; /* last id of the page before */
	uint64_t bytes;
	uint64_t expiry;    /* seconds asked for; 0: none */
	int64_t created_at; /* of the Upload */
	bool same_second;   /* this service gives a File its Upload's created_at */
	struct lookup_found found[LOOKUP_FOUND_MAX];
	size_t found_count;
};

static void lookup_free(struct lookup *l)
{
	free(l->filename);
	free(l->purpose);
	if (l->ev)
		publish_event_free(l->ev);
	publish_unref_later(l->p);
	free(l);
}

static void answer(struct lookup *l, const struct api_error *err)
{
	struct event *ev = l->ev;

	l->ev = NULL;
	ev->api_err = *err;
	ev->epoch = l->epoch;
	ev->undecided = l->undecided;
	ev->found = calloc(l->found_count + 1, sizeof(*ev->found));
	if (ev->found) {
		memcpy(ev->found, l->found, l->found_count * sizeof(*ev->found));
		ev->found_count = l->found_count;
	} else {
		ev->undecided = true;
	}
	publish_post(l->p, ev);
	lookup_free(l);
}

/*
 * True if f has the lifetime that was asked for. Without a request a service may have its own, no
 * shorter than the longest that can be asked for.
 */
static bool lives_as_asked(const struct lookup *l, const struct api_file *f)
{
	int64_t lifetime = f->expires_at ? f->expires_at - f->created_at : 0;

	if (!f->created_at)
		return true;
	if (!l->expiry)
		return !lifetime || lifetime >= LIFETIME_MAX_S - LIFETIME_SLACK_S;
	return llabs(lifetime - (int64_t)l->expiry) <= LIFETIME_SLACK_S;
}

/* True if f was made since the Upload; so it may be if the service does not tell. */
static bool made_since(const struct lookup *l, const struct api_file *f)
{
	if (!f->created_at)
		return true;
	return f->created_at >= l->created_at &&
	       (!l->same_second || f->created_at == l->created_at);
}

static bool is_like(const struct lookup *l, const struct api_file *f)
{
	return !strcmp(f->filename, l->filename) && !strcmp(f->purpose, l->purpose) &&
	       made_since(l, f) && lives_as_asked(l, f);
}

static void look_at(struct lookup *l, const struct api_file *f)
{
	struct lookup_found *to = &l->found[l->found_count];

	if (!is_like(l, f))
		return;
	/* Azure's bytes are null for a while. */
	if (f->bytes_unknown) {
		l->undecided = true;
		return;
	}
	if (f->bytes != l->bytes)
		return;
	if (l->found_count == LOOKUP_FOUND_MAX) {
		l->undecided = true;
		return;
	}
	memcpy(to->id, f->id, strlen(f->id) + 1);
	to->created_at = f->created_at;
	to->expires_at = f->expires_at;
	l->found_count++;
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page);

static struct api_req *ask_for_page(struct lookup *l)
{
	return api_file_list(l->api, l->purpose, l->last[0] ? l->last : NULL, l->limit, true,
			     on_page, l);
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct lookup *l = arg;
	struct api_req *req = NULL;
	bool again = !page && walk_shrink(&l->walk, &l->limit, err);

	for (size_t i = 0; page && i < page->count; i++)
		look_at(l, &page->files[i]);
	if (!again && (!page || (!page->has_more && !page->stuck))) {
		answer(l, err);
		return;
	}
	/* A list that repeats a page or has no end is not whole. */
	if (again) {
		req = ask_for_page(l);
	} else if (!page->stuck && walk_goes_on(&l->walk, page->last_id) &&
		   ++l->pages < LOOKUP_PAGES_MAX) {
		memcpy(l->last, page->last_id, strlen(page->last_id) + 1);
		req = ask_for_page(l);
	}
	if (!req) {
		l->undecided = true;
		answer(l, err);
	}
	api_req_unref(req);
}

/*
 * The seconds by which the service's clock was set back since the request: a File made by it has an
 * earlier time than its beginning then. For POST /files, whose reply alone tells the time.
 */
static int64_t clock_set_back(const struct publish *p)
{
	int64_t now = publish_service_time(p->pr), expected;

	if (!p->upload.posted || !p->upload.posted_ms || !now)
		return 0;
	expected = p->upload.created_at + (int64_t)((clock_mono_ms() - p->upload.posted_ms) / 1000);
	return expected > now ? expected - now : 0;
}

static struct lookup *lookup_new(struct publish *p)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->p = publish_ref(p);
	l->api = p->pr->cfg.api;
	l->epoch = p->upload.epoch;
	l->bytes = p->upload.bytes;
	l->expiry = p->upload.expiry;
	l->created_at = p->upload.created_at - clock_set_back(p);
	l->limit = l->walk.limit_max = LOOKUP_PAGE;
	walk_begin(&l->walk);
	l->same_second = !p->upload.posted && p->pr->service.created_at == CREATED_WITH_UPLOAD;
	l->filename = strdup(p->upload.filename);
	l->purpose = strdup(p->upload.purpose);
	l->ev = publish_event_new(EV_LOOKED_UP);
	if (l->filename && l->purpose && l->ev)
		return l;
	lookup_free(l);
	return NULL;
}

void publish_start_lookup(struct publish *p)
{
	struct lookup *l = lookup_new(p);
	struct api_req *req = NULL;

	p->doubt.looked_ms = clock_mono_ms();
	if (l)
		req = ask_for_page(l);
	if (!req) {
		p->doubt.look_due_ms = clock_mono_ms() + 200;
		if (l)
			lookup_free(l);
	}
	api_req_unref(req);
}

/* ---- content ---- */

struct check {
	struct publish *p; /* referenced */
	unsigned epoch;
	bool alone;
	struct digest *digest;
	uint64_t bytes, got;
	struct event *ev; /* of the answer, with the File; owned, NULL once posted */
	char md5[DIGEST_HEX_SIZE];
};

static void check_free(struct check *c)
{
	digest_free(c->digest);
	if (c->ev)
		publish_event_free(c->ev);
	publish_unref_later(c->p);
	free(c);
}

static int on_data(void *arg, uint64_t offset, const void *data, size_t len)
{
	struct check *c = arg;

	if (offset != c->got || len > c->bytes - c->got || digest_update(c->digest, data, len))
		return -EIO;
	c->got += len;
	return 0;
}

static enum lookup_content verdict(struct check *c, const struct api_error *err)
{
	char hex[DIGEST_HEX_SIZE];

	if (err->kind == API_OK && c->got == c->bytes && !digest_hex(c->digest, hex))
		return strcmp(hex, c->md5) ? CONTENT_OTHER : CONTENT_SAME;
	/* A new File may be "not found" for a moment: 404 is not a refusal. */
	if (err->kind == API_ERR_HTTP && err->http_status != 404 &&
	    (publish_is_refusal(err) || err->http_status == 403))
		return CONTENT_REFUSED;
	return CONTENT_UNSURE;
}

static void on_content(void *arg, const struct api_error *err, bool ranged)
{
	struct check *c = arg;
	struct event *ev = c->ev;

	(void)ranged;
	c->ev = NULL;
	ev->api_err = *err;
	ev->epoch = c->epoch;
	ev->alone = c->alone;
	ev->content = verdict(c, err);
	ev->found_count = 1;
	publish_post(c->p, ev);
	check_free(c);
}

bool publish_check_content(struct publish *p, const struct lookup_found *f, bool alone)
{
	const char *md5 = p->doubt.md5;
	struct check *c;
	struct api_req *req = NULL;

	if (!f || !md5[0])
		return false;
	c = calloc(1, sizeof(*c));
	if (!c)
		return false;
	c->p = publish_ref(p);
	c->epoch = p->upload.epoch;
	c->alone = alone;
	c->ev = publish_event_new(EV_CHECKED);
	if (c->ev && (c->ev->found = calloc(1, sizeof(*f))) != NULL)
		*c->ev->found = *f;
	c->bytes = p->upload.bytes;
	snprintf(c->md5, sizeof(c->md5), "%s", md5);
	c->digest = digest_new();
	if (c->digest && c->ev && c->ev->found)
		req = api_file_content(p->pr->cfg.api, f->id, 0, UINT64_MAX, UINT64_MAX, on_data,
				       on_content, c);
	if (!req)
		check_free(c);
	api_req_unref(req);
	if (req)
		p->phase = PHASE_LOOKUP;
	return req != NULL;
}

/* ---- the end ---- */

/* The File exists, but can't be used: tell why, and keep the Files it was to replace. */
static void note_unusable(struct publish *p, const struct event *ev)
{
	char text[sizeof(p->failure.error)];

	while (p->now.superseded_count) {
		char *id = strdup(p->now.superseded[0]);

		if (!id)
			break;
		publish_superseded_gone(p, id);
		free(id);
	}
	snprintf(text, sizeof(text),
		 "the service made the File %.200s, but reports an error for it: %.300s; correct "
		 "the file and write it again, or remove it",
		 ev->id, ev->details ? ev->details : "it does not say why");
	publish_note_error(p, -EIO, text, ev->api_err.request_id);
}

void publish_file_exists(struct publish *p, const struct event *ev)
{
	memcpy(p->outcome.file_id, ev->id, sizeof(p->outcome.file_id));
	p->outcome.created_at = ev->created_at ? ev->created_at : p->upload.created_at;
	p->outcome.unusable = ev->failed;
	if (ev->failed)
		note_unusable(p, ev);
	p->outcome.expires_at = ev->expires_at;
	p->outcome.kept = ev->kind == EV_KEPT;
	publish_doubt_end(p);
	p->abandoned.due = true;
	p->outcome.news = true;
	p->phase = PHASE_CLEANUP;
	/* No doubt of another file takes it for its own, also once this row is gone. */
	if (p->pr->cfg.db && !p->outcome.kept)
		known_claim_later(p->pr->cfg.db, ev->id, staged_id(p->staged));
	/*
	 * Save before the File is announced: a file removed after that must not return after a
	 * crash.
	 */
	publish_save_file(p);
	/* Of a row that is gone, too. */
	if (p->pr->cfg.db)
		statedb_flush(p->pr->cfg.db);
	if (p->owner.appeared && !p->now.dropped && !ev->failed)
		p->owner.appeared(p->owner.arg, p, p->outcome.file_id);
}
