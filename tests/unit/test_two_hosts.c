/* uses: fake_api */
/*
 * Two hosts on one account: random steps over two publishers, their stores and one service in
 * memory, by a clock of the test's own; after each step an oracle that knows who made which File
 * checks that none was adopted, deleted or made twice wrongly, and that a close of 0 was the truth.
 *
 * MODEL_STEPS: steps in all (default 6000). MODEL_SEED: only that seed, and its log on stderr.
 * MODEL_FIRST: the first seed (default 1).
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "net/base/clock.h"
#include "net/base/compat.h"
#include "net/base/log.h"
#include "tests/unit/fake_api.h"
#include "tests/unit/stage_area.h"

#define PART 65536ULL
#define SEED_STEPS 150
#define LOG_MAX 400
#define FILES_MAX 4096
#define NAMES 2

/* ---- time, luck, words ---- */

static _Atomic uint64_t now_ms;
static uint64_t luck;
static unsigned seed, step;
static bool loud;
static char trace[LOG_MAX][160];
static unsigned traced;

static uint64_t model_mono(void)
{
	return atomic_load(&now_ms);
}

static struct timespec model_wall(void)
{
	return (struct timespec){ .tv_sec = (time_t)(1600000000 + atomic_load(&now_ms) / 1000),
				  .tv_nsec = 0 };
}

static unsigned any(unsigned n)
{
	luck ^= luck << 13;
	luck ^= luck >> 7;
	luck ^= luck << 17;
	return (unsigned)((luck >> 11) % n);
}

static bool chance(unsigned percent)
{
	return any(100) < percent;
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	char *line = trace[traced++ % LOG_MAX];
	int n = snprintf(line, sizeof(trace[0]), "%4u %8.3f ", step,
			 (double)(atomic_load(&now_ms) % 100000000) / 1000);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(trace[0]) - (size_t)n, fmt, ap);
	va_end(ap);
	if (loud)
		fprintf(stderr, "%s\n", line);
}

__attribute__((format(printf, 1, 2))) static void wrong(const char *fmt, ...)
{
	unsigned from = traced > LOG_MAX ? traced - LOG_MAX : 0;
	char text[300];
	va_list ap;

	for (unsigned i = from; !loud && i < traced; i++)
		fprintf(stderr, "%s\n", trace[i % LOG_MAX]);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "MODEL_SEED=%u fails at step %u: %s\n", seed, step, text);
	fail_msg("MODEL_SEED=%u, step %u: %s", seed, step, text);
}

/* ---- the world ---- */

struct host;

/* A file of a host, as its file system has it. */
struct node {
	struct node *next;
	struct host *host;
	unsigned uid;
	char name[8], sid[64];
	struct staged *st;
	struct publish *p;
	unsigned version;	    /* counts what was asked to be published */
	unsigned content;	    /* which bytes it has; see CONTENTS */
	bool dropped, busy, forced; /* busy: being removed */
	bool aborted;		    /* cut off by a crash before its close */
	bool maimed;		    /* rm failed, and may have deleted its File all the same */
	bool left;		    /* its row is there after a crash */
};

struct close {
	struct close *next;
	struct publish_wait w;
	struct node *node;
	unsigned version;
	atomic_bool done;
	atomic_int err;
};

struct removal {
	struct removal *next;
	struct node *node;
	atomic_bool done;
	_Atomic int kind, status;
};

struct host {
	unsigned no;
	struct stage_area area;
	struct api *peer;
	struct pool *disk;
	struct publisher *pr;
	struct node *nodes;
	char (*own)[API_ID_MAX + 1]; /* Files that its files became */
	size_t own_count;
	char (*listed)[API_ID_MAX + 1]; /* Files that it has seen in a listing */
	size_t listed_count;
};

/* An Upload, and whose it is. */
struct made {
	char upload[API_ID_MAX + 1];
	unsigned uid, version, content;
	int64_t created_at;
	const struct host *host;
};

static struct {
	struct api *api;
	struct host host[2];
	struct made *made;
	size_t made_count;
	struct close *closes;
	struct removal *removals;
	unsigned uids;
	bool with_upload, refuse, keep_old, race, calm;
	bool deleted[FILES_MAX];
	size_t seen;
	unsigned mistaken[2]; /* adopted, not its own: of the same bytes; inferred */
	uint64_t later_ms;    /* when completes that go on alone are done; 0: none */
} w;

/* Five bytes and a number: contents 0 and 1 have the same size, 2 another one. */
static const char *const contents[] = { "hers of same size", "mine of same size", "short" };
#define CONTENTS 3

static unsigned content_of(const struct fake_file *f)
{
	char buf[64] = "";
	ssize_t n = fake_api_read(w.api, f->id, 0, buf, sizeof(buf) - 1);

	for (unsigned i = 0; n > 0 && i < CONTENTS; i++)
		if (!strcmp(buf, contents[i]))
			return i;
	return CONTENTS;
}

static bool knows(void *arg, const char *id)
{
	const struct host *h = arg;

	for (size_t i = 0; i < h->own_count; i++)
		if (!strcmp(h->own[i], id))
			return true;
	return false;
}

static void each_listed(void *arg, const char *purpose, const char *filename, uint64_t bytes,
			void (*fn)(void *fn_arg, const char *id), void *fn_arg)
{
	const struct host *h = arg;
	struct fake_file f;

	(void)purpose;
	for (size_t i = 0; i < h->listed_count; i++)
		for (size_t k = 0; fake_api_file_at(w.api, k, &f); k++)
			if (!strcmp(f.id, h->listed[i]) && !strcmp(f.filename, filename) &&
			    f.bytes == bytes)
				fn(fn_arg, f.id);
}

static void add(char (**v)[API_ID_MAX + 1], size_t *n, const char *id)
{
	*v = realloc(*v, (*n + 1) * sizeof(**v));
	assert_non_null(*v);
	snprintf((*v)[(*n)++], sizeof(**v), "%s", id);
}

static void host_start(struct host *h)
{
	const struct publisher_config cfg = { .disk = h->disk,
					      .api = h->peer,
					      .db = h->area.db,
					      .service = "model",
					      .parallel = 2,
					      .part_size = PART,
					      .keep_old = w.keep_old,
					      .is_known = knows,
					      .each_listed = each_listed,
					      .is_known_arg = h };

	assert_int_equal(publisher_new(&cfg, &h->pr), 0);
}

/* ---- one step at a time ---- */

/* True if the publisher has nothing to do before time or a reply comes. */
static bool host_quiet(struct host *h)
{
	struct publisher *pr = h->pr;
	bool quiet;

	pthread_mutex_lock(&pr->lock);
	quiet = !pr->run_head && !pr->stepping;
	for (struct publish *p = pr->all; quiet && p; p = p->all_next)
		quiet = !p->sync.under_way && p->phase != PHASE_VERIFYING &&
			!(p->now.sealed && !p->now.dropped && !p->md5[0]) &&
			(!p->wake_ms || p->wake_ms > model_mono());
	if (!quiet)
		pthread_cond_broadcast(&pr->wake);
	pthread_mutex_unlock(&pr->lock);
	return quiet;
}

static void settle(void)
{
	struct timespec pause = { 0, 20000 };
	time_t until = time(NULL) + 60;

	while (!fake_api_settled(w.api) || !host_quiet(&w.host[0]) || !host_quiet(&w.host[1]) ||
	       !fake_api_settled(w.api)) {
		if (time(NULL) > until)
			wrong("it does not come to rest");
		nanosleep(&pause, NULL);
	}
}

/* ---- the oracle ---- */

static const struct made *maker_of(const struct fake_file *f)
{
	for (size_t i = 0; i < w.made_count; i++)
		if (!strcmp(w.made[i].upload, f->upload))
			return &w.made[i];
	wrong("%s was made by %s, which nobody asked for", f->id, f->upload);
	return NULL;
}

static bool find_file(const char *id, struct fake_file *ret)
{
	for (size_t i = 0; fake_api_file_at(w.api, i, ret); i++)
		if (!strcmp(ret->id, id))
			return true;
	return false;
}

static struct node *node_of(unsigned uid)
{
	for (unsigned k = 0; k < 2; k++)
		for (struct node *n = w.host[k].nodes; n; n = n->next)
			if (n->uid == uid)
				return n;
	return NULL;
}

static void note_upload(struct node *n)
{
	const char *id = n->p->upload.id;

	if (!id[0] || (w.made_count && !strcmp(w.made[w.made_count - 1].upload, id)))
		return;
	for (size_t i = 0; i < w.made_count; i++)
		if (!strcmp(w.made[i].upload, id))
			return;
	w.made = realloc(w.made, (w.made_count + 1) * sizeof(*w.made));
	assert_non_null(w.made);
	w.made[w.made_count++] = (struct made){ .uid = n->uid,
						.version = n->version,
						.content = n->content,
						.host = n->host,
						.created_at = n->p->upload.created_at };
	snprintf(w.made[w.made_count - 1].upload, sizeof(w.made[0].upload), "%s", id);
}

/* The File that n became is its own; or nothing could tell that it is not. */
static void check_adopted(struct node *n)
{
	const struct outcome *o = &n->p->outcome;
	const struct made *m;
	struct fake_file f;

	if (!o->file_id[0] || knows(n->host, o->file_id))
		return;
	add(&n->host->own, &n->host->own_count, o->file_id);
	if (!find_file(o->file_id, &f))
		wrong("%s of host %u became %s, which never was", n->name, n->host->no, o->file_id);
	m = maker_of(&f);
	say("host %u: %s#%u is %s%s", n->host->no, n->name, n->uid, f.id,
	    o->inferred ? " (inferred)" : "");
	if (m->uid == n->uid && m->host == n->host)
		return;
	/* The bytes decide as long as nothing is known of the service. */
	if (w.with_upload && f.created_at != n->p->upload.created_at &&
	    (w.refuse || n->host->pr->service.created_at != CREATED_UNKNOWN))
		wrong("%s#%u adopted %s of another second", n->name, n->uid, f.id);
	if (w.refuse && !o->inferred && !n->dropped)
		wrong("%s#%u adopted %s of host %u as if it were proven", n->name, n->uid, f.id,
		      m->host->no);
	/* By chance it has the Upload's second, where nothing is known of the service. */
	if (m->host == n->host && (w.with_upload || f.created_at != n->p->upload.created_at))
		wrong("%s#%u adopted %s, another file of its own host", n->name, n->uid, f.id);
	if (!w.refuse && !n->dropped && content_of(&f) != n->content)
		wrong("%s#%u adopted %s, which has other bytes", n->name, n->uid, f.id);
	w.mistaken[w.refuse]++;
	say("         (it is host %u's)", m->host->no);
}

/* True if h made an Upload of the same bytes in the second of f: nothing tells them apart. */
static bool has_double(const struct host *h, const struct made *m, const struct fake_file *f)
{
	for (size_t i = 0; i < w.made_count; i++)
		if (w.made[i].host == h && w.made[i].created_at == f->created_at &&
		    (w.made[i].content == m->content || w.refuse))
			return true;
	return false;
}

/* Its File was taken for another one's and deleted: it can't be there in the end. */
static void robbed(unsigned uid)
{
	struct node *n = node_of(uid);

	if (n)
		n->maimed = true;
}

static void check_deleted(size_t i, const struct fake_file *f)
{
	const struct made *m = maker_of(f);
	struct host *h = NULL;
	const struct node *n = node_of(m->uid);

	w.deleted[i] = true;
	for (unsigned k = 0; k < 2; k++)
		if (f->deleter == w.host[k].peer)
			h = &w.host[k];
	if (!h)
		return;
	say("host %u deleted %s of #%u v%u", h->no, f->id, m->uid, m->version);
	if (h != m->host && !knows(h, f->id) && !has_double(h, m, f))
		wrong("host %u deleted %s of host %u", h->no, f->id, m->host->no);
	if (h != m->host)
		robbed(m->uid);
	if (h == m->host && n && !n->dropped && !n->busy && !n->forced && !n->maimed &&
	    n->version == m->version)
		wrong("host %u deleted %s, which %s#%u is", h->no, f->id, n->name, n->uid);
}

/* Each version of a file is made once. */
static void check_twice(const struct made *m, const struct fake_file *f, size_t before)
{
	const struct node *n = node_of(m->uid);
	const struct made *o;
	struct fake_file g;

	for (size_t k = 0; k < before && fake_api_file_at(w.api, k, &g); k++) {
		o = maker_of(&g);
		/* Gone by another host's mistake, it is made again. */
		if (o->uid == m->uid && o->version == m->version && !g.deleted &&
		    (!n || !n->forced))
			wrong("%s and %s are the same version of #%u", g.id, f->id, m->uid);
	}
}

static void check_files(void)
{
	struct fake_file f;
	size_t i;

	for (i = 0; fake_api_file_at(w.api, i, &f); i++) {
		if (i >= FILES_MAX)
			wrong("too many Files");
		if (i >= w.seen)
			check_twice(maker_of(&f), &f, i);
		if (f.deleted && !w.deleted[i])
			check_deleted(i, &f);
	}
	w.seen = i;
}

static void check_close(struct close *c)
{
	struct node *n = c->node;
	int err = atomic_load(&c->err);
	struct publish_info info;
	struct fake_file f;

	say("host %u: close of %s#%u v%u: %s", n->host->no, n->name, n->uid, c->version,
	    err ? compat_errno_name(-err) : "0");
	if (err || n->dropped || n->busy || n->maimed || c->version != n->version)
		return;
	publish_get_info(n->p, &info);
	if (info.outcome != OUTCOME_COMPLETED || !find_file(info.file_id, &f))
		wrong("close of %s#%u was 0, and there is no File", n->name, n->uid);
	/* Its maker deleted the like that was taken for ours: our bytes are kept. */
	if (f.deleted && (!info.inferred || maker_of(&f)->uid == n->uid))
		wrong("close of %s#%u was 0, and its File is deleted", n->name, n->uid);
	if (!f.deleted && !(w.refuse && info.inferred) && content_of(&f) != n->content)
		wrong("close of %s#%u was 0, and %s has other bytes", n->name, n->uid, f.id);
}

static void check(void)
{
	struct close **at = &w.closes, *c;

	for (unsigned k = 0; k < 2; k++)
		for (struct node *n = w.host[k].nodes; n; n = n->next)
			if (n->p)
				note_upload(n);
	for (unsigned k = 0; k < 2; k++)
		for (struct node *n = w.host[k].nodes; n; n = n->next)
			if (n->p)
				check_adopted(n);
	check_files();
	while ((c = *at) != NULL) {
		if (!atomic_load(&c->done)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		if (c->node->p)
			check_close(c);
		free(c);
	}
}

/* ---- what users do ---- */

static void on_closed(void *arg, int err)
{
	struct close *c = arg;

	atomic_store(&c->err, err);
	atomic_store(&c->done, true);
}

static void start_close(struct node *n)
{
	struct close *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	publish_seal(n->p);
	c->node = n;
	c->version = n->version;
	c->w.until = UNTIL_ENDED;
	c->w.cb = on_closed;
	c->w.arg = c;
	c->next = w.closes;
	w.closes = c;
	publish_wait(n->p, &c->w);
}

static void fill(struct node *n, unsigned content)
{
	n->content = content;
	n->version++;
	stage_put(n->st, 0, contents[content], strlen(contents[content]));
}

static struct node *node_named(struct host *h, const char *name)
{
	struct node *n = h->nodes;

	while (n && (n->dropped || strcmp(n->name, name)))
		n = n->next;
	return n;
}

static bool is_under_way(struct node *n)
{
	struct publish_info info;

	publish_get_info(n->p, &info);
	return info.under_way;
}

static struct node *node_new(struct host *h, const char *name)
{
	struct node *n = calloc(1, sizeof(*n));
	struct publish_spec spec = { .purpose = "user_data", .path = name, .mode = 0600 };

	assert_non_null(n);
	assert_int_equal(staged_create(h->area.sg, &n->st), 0);
	spec.staged = n->st;
	n->p = publish_new(h->pr, &spec);
	assert_non_null(n->p);
	n->host = h;
	n->uid = ++w.uids;
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->sid, sizeof(n->sid), "%s", staged_id(n->st));
	n->next = h->nodes;
	h->nodes = n;
	return n;
}

/* cp, to a new name or over the file that has it. */
static void do_write(struct host *h, const char *name)
{
	struct node *n = node_named(h, name);

	if (n && (n->busy || !publish_reopen(n->p)))
		return;
	if (n) {
		staged_unseal(n->st);
		assert_int_equal(publish_await_change(n->p), 0);
		assert_int_equal(staged_truncate(n->st, 0), 0);
	} else {
		n = node_new(h, name);
		if (chance(20))
			publish_set_expiry(n->p, 7200);
	}
	n->forced = n->aborted = n->maimed = false;
	fill(n, any(CONTENTS));
	say("host %u: write %s#%u v%u \"%s\"", h->no, name, n->uid, n->version,
	    contents[n->content]);
	staged_seal(n->st);
	start_close(n);
}

static void drop(struct node *n)
{
	say("host %u: %s#%u is removed", n->host->no, n->name, n->uid);
	n->dropped = true;
	publish_drop(n->p);
}

static void on_deleted(void *arg, const struct api_error *err)
{
	struct removal *r = arg;

	r->kind = err->kind;
	r->status = err->http_status;
	atomic_store(&r->done, true);
}

/* The next File that rm has to delete; NULL: none. */
static const char *file_to_delete(const struct node *n)
{
	if (n->p->outcome.file_id[0])
		return n->p->outcome.file_id;
	return n->p->now.superseded_count && !w.keep_old ? n->p->now.superseded[0] : NULL;
}

static void remove_next(struct node *n)
{
	const char *id = file_to_delete(n);
	struct removal *r;

	if (!id) {
		n->busy = false;
		drop(n);
		return;
	}
	r = calloc(1, sizeof(*r));
	assert_non_null(r);
	r->node = n;
	r->next = w.removals;
	w.removals = r;
	api_req_unref(api_file_delete(n->host->peer, id, on_deleted, r));
}

static void do_remove(struct host *h, const char *name)
{
	struct node *n = node_named(h, name);

	if (!n || n->busy || (is_under_way(n) && file_to_delete(n)))
		return;
	say("host %u: rm %s#%u", h->no, name, n->uid);
	n->busy = true;
	remove_next(n);
}

/* Those of rm whose DELETE was answered. A File is deleted once, so the first one in its list. */
static void end_removals(void)
{
	struct removal **at = &w.removals, *r;

	while ((r = *at) != NULL) {
		struct node *n = r->node;

		if (!atomic_load(&r->done)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		if (!n->p) {
			free(r);
			continue;
		}
		if (r->kind == API_OK || r->status == 404) {
			drop(n);
			n->busy = false;
		} else {
			n->busy = false;
			n->maimed = true;
			say("host %u: rm %s#%u fails", n->host->no, n->name, n->uid);
		}
		free(r);
		at = &w.removals;
	}
}

/* mv: of what is no File (yet) its name; of a File, a new one by the other name. */
static void do_rename(struct host *h, const char *name, const char *to)
{
	struct node *n = node_named(h, name), *victim = node_named(h, to);

	if (!n || n->busy || is_under_way(n) || (victim && (victim->busy || is_under_way(victim))))
		return;
	if (victim && file_to_delete(victim))
		publish_supersede(n->p, file_to_delete(victim));
	if (victim)
		drop(victim);
	say("host %u: mv %s#%u %s", h->no, name, n->uid, to);
	snprintf(n->name, sizeof(n->name), "%s", to);
	assert_int_equal(publish_rename(n->p, "user_data", to, NULL), 0);
	/* Its File by the former name is another one. */
	n->version++;
	if (!n->p->outcome.file_id[0])
		return;
	assert_true(publish_reopen(n->p));
	start_close(n);
}

static void do_again(struct host *h, const char *name)
{
	struct node *n = node_named(h, name);
	struct publish_info info;

	if (!n || n->busy)
		return;
	publish_get_info(n->p, &info);
	if (info.outcome != OUTCOME_FAILED)
		return;
	if (chance(10)) {
		say("host %u: user.upload.publish of %s#%u", h->no, name, n->uid);
		n->forced = true;
		publish_force(n->p);
	}
	start_close(n);
}

static void do_list(struct host *h)
{
	struct fake_file f;

	h->listed_count = 0;
	for (size_t i = 0; fake_api_file_at(w.api, i, &f); i++)
		if (f.listed && !f.deleted)
			add(&h->listed, &h->listed_count, f.id);
}

/* ---- what the service does ---- */

static struct api_error bad(enum api_err_kind kind, int status, bool maybe)
{
	struct api_error err = fake_api_error(kind, status, "", "no");

	err.maybe_applied = maybe;
	err.attempts = 1 + any(3);
	return err;
}

static struct api_error any_lost(void)
{
	switch (any(4)) {
	case 0:
		return bad(API_ERR_CONNECT, 0, true);
	case 1:
		return bad(API_ERR_TIMEOUT, 0, true);
	case 2:
		return bad(API_ERR_BAD_REPLY, 200, true);
	default:
		return bad(API_ERR_HTTP, chance(50) ? 500 : 503, true);
	}
}

static void end_complete(const struct fake_wait *c)
{
	struct api_error err = any_lost();
	unsigned how = any(100);

	if (how < 35) {
		fake_api_end(w.api, c->call, NULL, true, false);
		say("%s completes", c->id);
	} else if (how < 60) {
		fake_api_end(w.api, c->call, &err, true, false);
		say("%s completes, its reply is lost", c->id);
	} else if (how < 85) {
		fake_api_end(w.api, c->call, &err, false, false);
		say("%s is not completed: HTTP %d", c->id, err.http_status);
	} else if (how < 90) {
		err = bad(API_ERR_HTTP, 400, chance(50));
		fake_api_end(w.api, c->call, &err, false, false);
		say("%s is refused", c->id);
	} else {
		err = bad(API_ERR_TIMEOUT, 0, true);
		fake_api_end(w.api, c->call, &err, false, true);
		if (!w.later_ms)
			w.later_ms = model_mono() + any(5000);
		say("%s goes on, its reply is lost", c->id);
	}
}

static void end_other(const struct fake_wait *c)
{
	static const int statuses[] = { 500, 503, 404, 400, 401, 429 };
	struct api_error err = any_lost();
	unsigned how = any(100);
	bool cancel = c->op == FAKE_CANCEL;

	if (how < (cancel ? 55 : 85)) {
		fake_api_end(w.api, c->call, NULL, true, false);
		say("call %u of %s%s: ok", c->op, c->id, c->filename);
		return;
	}
	if (how < 92) {
		fake_api_end(w.api, c->call, &err, chance(50), false);
		say("call %u of %s%s: lost", c->op, c->id, c->filename);
		return;
	}
	/* A create that is refused as missing means a service without Uploads. */
	err = bad(API_ERR_HTTP, statuses[any(c->op == FAKE_CREATE ? 2 : 6)], false);
	fake_api_end(w.api, c->call, &err, false, false);
	say("call %u of %s%s: HTTP %d", c->op, c->id, c->filename, err.http_status);
}

/* Some call of the host is answered. */
static bool do_answer(struct host *h)
{
	struct fake_wait v[64], *c;
	size_t n = fake_api_waiting(w.api, h->peer, v, 64);

	if (!n)
		return false;
	c = &v[any((unsigned)n)];
	if (w.calm) {
		fake_api_end(w.api, c->call, NULL, true, false);
		say("call %u of %s%s: ok", c->op, c->id, c->filename);
	} else if (c->op == FAKE_COMPLETE) {
		end_complete(c);
	} else {
		end_other(c);
	}
	return true;
}

static void run_later(void)
{
	if (!w.later_ms)
		return;
	say("what was asked for goes through");
	fake_api_run_later(w.api, w.race);
	w.later_ms = 0;
	settle();
	check();
}

static void pass_time(uint64_t ms)
{
	uint64_t to = model_mono() + ms;

	if (w.later_ms && w.later_ms <= to) {
		if (w.later_ms > model_mono())
			atomic_store(&now_ms, w.later_ms);
		run_later();
	}
	if (to > model_mono())
		atomic_store(&now_ms, to);
}

/* ---- hosts that die ---- */

/* What was under way at the service happens, or does not. */
static void cut_calls(struct host *h)
{
	struct fake_wait v[64];
	size_t n = fake_api_waiting(w.api, h->peer, v, 64);
	struct api_error err = bad(API_ERR_CONNECT, 0, true);

	for (size_t i = 0; i < n; i++) {
		bool work = chance(50), later = v[i].op == FAKE_COMPLETE && chance(20);

		if (later && !w.later_ms)
			w.later_ms = model_mono() + any(5000);
		fake_api_end(w.api, v[i].call, &err, work, later);
	}
	while (!fake_api_settled(w.api))
		usleep(20);
}

static int note_left(void *arg, const char *id)
{
	struct host *h = arg;
	struct node *n = h->nodes;

	while (n && strcmp(n->sid, id))
		n = n->next;
	if (!n)
		wrong("%s comes from nowhere", id);
	n->left = true;
	return 0;
}

static void revive(struct host *h, struct node *n)
{
	struct publish_spec spec = { .purpose = "user_data" };
	struct record r;

	n->left = false;
	assert_int_equal(staged_open(h->area.sg, n->sid, &r, &n->st), 0);
	spec.staged = n->st;
	spec.path = r.path;
	if (!n->dropped && strcmp(r.path, n->name))
		wrong("%s#%u comes back as %s", n->name, n->uid, r.path);
	n->p = publish_recover(h->pr, &spec, &r);
	assert_non_null(n->p);
	staged_keep(n->st);
	if (r.state == RECORD_REMOVED)
		n->dropped = true;
	n->aborted = r.state == RECORD_WRITING || r.state == RECORD_ABORTED;
	record_release(&r);
}

static void host_stop(struct host *h)
{
	publisher_stop(h->pr, false);
	for (struct node *n = h->nodes; n; n = n->next) {
		n->maimed |= n->busy;
		publish_unref(n->p);
		staged_unref(n->st);
		n->p = NULL;
		n->st = NULL;
		n->busy = false;
	}
	api_free(h->peer);
	pool_free(h->disk);
	publisher_free(h->pr);
}

/* kill -9, and the next mount. */
static void do_crash(struct host *h)
{
	say("host %u dies", h->no);
	cut_calls(h);
	host_stop(h);
	check_files();
	end_removals();
	check();
	stage_area_reopen(&h->area);
	h->peer = fake_api_peer(w.api);
	assert_int_equal(pool_new(1, &h->disk), 0);
	host_start(h);
	/* Ids are random: take the files in the order of their making. */
	assert_int_equal(staging_scan(h->area.sg, note_left, h), 0);
	for (struct node *n = h->nodes; n; n = n->next)
		if (n->left)
			revive(h, n);
	say("host %u is back", h->no);
}

/* ---- a run ---- */

static void one_step(void)
{
	static const uint64_t times[] = { 0, 50, 300, 900, 3000, 11000, 61000, 700000, 3700000 };
	static const char *const names[] = { "a", "b" };
	unsigned what = any(100), k = any(2);
	const char *name = names[any(NAMES)], *other = names[any(NAMES)];
	struct host *h = &w.host[k];

	if (what < 45) {
		if (!do_answer(h) && !do_answer(&w.host[!k]))
			pass_time(times[2 + any(5)]);
	} else if (what < 62) {
		do_write(h, name);
	} else if (what < 82) {
		pass_time(times[any(chance(15) ? 9 : 6)]);
	} else if (what < 86) {
		do_remove(h, name);
	} else if (what < 90) {
		if (name != other)
			do_rename(h, name, other);
	} else if (what < 94) {
		do_again(h, name);
	} else if (what < 97) {
		do_list(h);
	} else {
		do_crash(h);
	}
	settle();
	end_removals();
	settle();
	check();
}

static bool is_unsettled(const struct node *n)
{
	return n->p && (n->p->phase != PHASE_ENDED ||
			(n->p->outcome.kind == OUTCOME_FAILED && !n->aborted));
}

/* With a service that is well again all comes to an end. */
static void calm_down(void)
{
	unsigned rounds = 0, left = 1;

	w.calm = true;
	run_later();
	while (left) {
		left = 0;
		for (unsigned k = 0; k < 2; k++) {
			for (unsigned i = 0; do_answer(&w.host[k]); i++) {
				settle();
				end_removals();
				settle();
				check();
				if (i > 2000)
					wrong("host %u never stops asking", k);
			}
			for (struct node *n = w.host[k].nodes; n; n = n->next)
				left += is_unsettled(n);
		}
		pass_time(30000);
		settle();
		check();
		if (++rounds % 500)
			continue;
		/* What can't be told apart, and what was refused, waits for its user. */
		for (unsigned k = 0; k < 2; k++)
			for (struct node *n = w.host[k].nodes; n; n = n->next)
				if (is_unsettled(n) && !n->dropped &&
				    (n->p->doubt.unknown || n->p->outcome.kind == OUTCOME_FAILED)) {
					n->forced |= n->p->doubt.unknown;
					publish_force(n->p);
					start_close(n);
				}
		settle();
		if (rounds > 1500)
			wrong("it does not come to an end");
	}
}

/* In the end each File stands for a file, was kept, or is one that had to be left. */
static void check_end(void)
{
	unsigned here = 0;

	for (unsigned k = 0; k < 2; k++)
		for (struct node *n = w.host[k].nodes; n; n = n->next) {
			struct fake_file f;

			if (!n->p || n->dropped || n->aborted || n->maimed)
				continue;
			here++;
			if (n->p->outcome.kind != OUTCOME_COMPLETED)
				wrong("%s#%u ends as %d", n->name, n->uid, n->p->outcome.kind);
			if (!find_file(n->p->outcome.file_id, &f) ||
			    (f.deleted && maker_of(&f)->uid == n->uid))
				wrong("%s#%u ends without its File", n->name, n->uid);
			if (strcmp(f.filename, n->name))
				wrong("%s#%u ends as %s", n->name, n->uid, f.filename);
		}
	say("%u files", here);
}

static void open_world(void)
{
	static const uint64_t lags[] = { 0, 0, 2000, 30000, 300000 };
	uint64_t lag;

	memset(&w, 0, sizeof(w));
	luck = seed * 0x9e3779b97f4a7c15ULL + 1;
	traced = step = 0;
	atomic_store(&now_ms, 1000000000);
	for (unsigned i = 0; i < 8; i++)
		any(2);
	w.with_upload = chance(75);
	w.refuse = chance(50);
	w.keep_old = chance(25);
	/* After "cancelled", a File of another second than its Upload counts as another host's. */
	w.race = chance(30) && w.with_upload;
	lag = lags[any(w.race ? 2 : 5)];
	w.api = fake_api_new();
	fake_api_dated(w.api, w.with_upload);
	fake_api_lag(w.api, lag);
	fake_api_content(w.api, &(struct fake_content){ .refuse = w.refuse });
	fake_api_hold(w.api, FAKE_OPS, FAKE_HOLD_WORK);
	say("created_at of the Upload: %d, content: %d, keep_old: %d, race: %d, lag: %" PRIu64,
	    w.with_upload, !w.refuse, w.keep_old, w.race, lag);
	for (unsigned k = 0; k < 2; k++) {
		struct host *h = &w.host[k];

		h->no = k;
		stage_area_open(&h->area, PART);
		h->peer = fake_api_peer(w.api);
		assert_int_equal(pool_new(1, &h->disk), 0);
		host_start(h);
	}
	settle();
}

static void close_world(void)
{
	struct node *n;
	struct close *c;

	for (unsigned k = 0; k < 2; k++) {
		struct host *h = &w.host[k];

		host_stop(h);
		stage_area_close(&h->area);
		while ((n = h->nodes) != NULL) {
			h->nodes = n->next;
			free(n);
		}
		free(h->own);
		free(h->listed);
	}
	while ((c = w.closes) != NULL) {
		w.closes = c->next;
		free(c);
	}
	api_free(w.api);
	free(w.made);
}

static unsigned number(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

static void test_two_hosts(void **state)
{
	unsigned total = number("MODEL_STEPS", 6000), only = number("MODEL_SEED", 0);
	unsigned mistaken[2] = { 0, 0 }, files = 0, done = 0;

	(void)state;
	loud = only != 0;
	for (seed = only ? only : number("MODEL_FIRST", 1); done < total; seed++) {
		open_world();
		for (step = 1; step <= SEED_STEPS; step++)
			one_step();
		calm_down();
		check_end();
		done += SEED_STEPS;
		files += (unsigned)w.seen;
		mistaken[0] += w.mistaken[0];
		mistaken[1] += w.mistaken[1];
		close_world();
		if (only)
			break;
	}
	print_message("%u steps, %u Files; not its own, but alike: %u by content, %u inferred\n",
		      done, files, mistaken[0], mistaken[1]);
}

int main(void)
{
	static const struct clock_source source = { model_mono, model_wall };
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_two_hosts) };

	atomic_store(&now_ms, 1000000000);
	clock_set_source(&source);
	log_set_level(getenv("MODEL_SEED") ? LOG_LVL_DEBUG : LOG_LVL_ERROR + 1);
	/* Syncs cost nothing there. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
