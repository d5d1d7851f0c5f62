#include "tests/unit/publish_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/base/clock.h"
#include "net/base/log.h"

#define DEADLINE_S 60
#define HURRY_MS 20

#define STOPPED_AT 1700000000 /* wall time while the clock stands */

static _Atomic uint64_t clock_offset;
static _Atomic uint64_t clock_stopped; /* monotonic milliseconds; 0: it runs */

static uint64_t moved_mono(void)
{
	uint64_t stopped = atomic_load(&clock_stopped);
	struct timespec ts;

	if (stopped)
		return stopped + atomic_load(&clock_offset);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 +
	       atomic_load(&clock_offset);
}

static struct timespec moved_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (atomic_load(&clock_stopped))
		ts = (struct timespec){ .tv_sec = STOPPED_AT };
	ts.tv_sec += (time_t)(atomic_load(&clock_offset) / 1000);
	return ts;
}

void rig_init(void)
{
	static const struct clock_source source = { moved_mono, moved_wall };

	clock_set_source(&source);
	log_set_level(LOG_LVL_ERROR);
}

void rig_clock_advance(uint64_t ms)
{
	atomic_fetch_add(&clock_offset, ms);
}

void rig_clock_run(void)
{
	atomic_store(&clock_stopped, 0);
}

void rig_clock_stop(void)
{
	atomic_store(&clock_stopped, moved_mono() - atomic_load(&clock_offset));
}

static void start(struct rig *g)
{
	assert_int_equal(pool_new(1, &g->disk), 0);
	g->cfg.api = g->api;
	g->cfg.disk = g->disk;
	g->cfg.db = g->area.db;
	g->cfg.service = "fake";
	g->cfg.part_size = RIG_PART;
	if (!g->cfg.parallel)
		g->cfg.parallel = 2;
	assert_int_equal(publisher_new(&g->cfg, &g->pr), 0);
}

void rig_open(struct rig *g)
{
	memset(g, 0, sizeof(*g));
	stage_area_open(&g->area, RIG_PART);
	g->api = fake_api_new();
	start(g);
}

static bool all_released(void *arg)
{
	struct rig *g = arg;

	return atomic_load(&g->released) == atomic_load(&g->made);
}

static void rig_stop(struct rig *g, struct pub *const *pubs, size_t count)
{
	struct staging_space space;

	publisher_stop(g->pr, false);
	fake_api_release(g->api, FAKE_OPS);
	fake_api_cut_live(g->api);
	assert_true(fake_api_wait_idle(g->api));
	pool_free(g->disk);
	for (size_t i = 0; i < count; i++)
		pub_free(pubs[i]);
	/* A callback that is just returning drops the last reference. */
	rig_wait(g, NULL, all_released, g);
	publisher_free(g->pr);
	assert_int_equal(staging_get_space(g->area.sg, &space), 0);
	assert_int_equal(space.files, 0);
}

void rig_crash(struct rig *g, struct pub *const *pubs, size_t count)
{
	rig_stop(g, pubs, count);
	stage_area_reopen(&g->area);
}

void rig_restart(struct rig *g)
{
	start(g);
}

void rig_close(struct rig *g, struct pub *const *pubs, size_t count)
{
	rig_stop(g, pubs, count);
	api_free(g->api);
	stage_area_close(&g->area);
}

void rig_wait(struct rig *g, struct publish *p, bool (*cond)(void *arg), void *arg)
{
	struct timespec pause = { 0, 1000000 };
	time_t until = time(NULL) + DEADLINE_S;

	while (!cond(arg)) {
		if (time(NULL) > until)
			fail_msg("waited in vain");
		nanosleep(&pause, NULL);
		if (g->hurry && p) {
			rig_clock_advance(HURRY_MS);
			publish_set_owner(p, 0644, 1, 1);
		}
	}
}

static void on_ended(void *arg, struct publish *p, const struct publish_result *r)
{
	struct pub *f = arg;
	struct publish_info info;

	/* To us the end is known. */
	publish_get_info(p, &info);
	if (info.under_way)
		abort();
	if (r->outcome == OUTCOME_COMPLETED)
		snprintf(f->file_id, sizeof(f->file_id), "%s", r->file_id);
	atomic_store(&f->outcome, r->outcome);
	atomic_store(&f->err, r->err);
	atomic_fetch_add(&f->ends, 1);
}

static void on_release(void *arg)
{
	struct pub *f = arg;

	atomic_fetch_add(&f->rig->released, 1);
}

static struct publish_spec spec_of(struct pub *f, const char *path)
{
	return (struct publish_spec){ .staged = f->st,
				      .purpose = "user_data",
				      .path = path,
				      .mode = 0644,
				      .ended = on_ended,
				      .release = on_release,
				      .arg = f };
}

void pub_new(struct rig *g, struct pub *f, const char *path, const char *hold_name,
	     const char *superseded)
{
	struct publish_spec spec;

	memset(f, 0, sizeof(*f));
	f->rig = g;
	assert_int_equal(staged_create(g->area.sg, &f->st), 0);
	spec = spec_of(f, path);
	spec.hold_name = hold_name;
	spec.superseded = superseded;
	f->p = publish_new(g->pr, &spec);
	assert_non_null(f->p);
	atomic_fetch_add(&g->made, 1);
}

void pub_recover(struct rig *g, struct pub *f, const char *id, const char *path,
		 const char *hold_name)
{
	struct publish_spec spec;
	struct publish *p;
	struct record r;

	memset(f, 0, sizeof(*f));
	f->rig = g;
	assert_int_equal(staged_open(g->area.sg, id, &r, &f->st), 0);
	spec = spec_of(f, path);
	spec.hold_name = hold_name;
	p = publish_recover(g->pr, &spec, &r);
	record_release(&r);
	assert_non_null(p);
	f->p = p;
	atomic_fetch_add(&g->made, 1);
}

void pub_free(struct pub *f)
{
	publish_unref(f->p);
	staged_unref(f->st);
	f->p = NULL;
	f->st = NULL;
}

static void on_told(void *arg, int err)
{
	struct told *t = arg;

	atomic_store(&t->err, err);
	atomic_fetch_add(&t->calls, 1);
}

void pub_wait(struct pub *f, struct told *t, enum publish_until until)
{
	memset(t, 0, sizeof(*t));
	t->rig = f->rig;
	t->w.until = until;
	t->w.cb = on_told;
	t->w.arg = t;
	publish_wait(f->p, &t->w);
}

static bool was_told(void *arg)
{
	struct told *t = arg;

	return atomic_load(&t->calls) > 0;
}

int told_err(struct told *t)
{
	rig_wait(t->rig, t->w.p, was_told, t);
	assert_int_equal(atomic_load(&t->calls), 1);
	return atomic_load(&t->err);
}

int pub_close(struct pub *f)
{
	struct told t;

	staged_seal(f->st);
	publish_seal(f->p);
	pub_wait(f, &t, UNTIL_ENDED);
	return told_err(&t);
}

void pub_reopen(struct pub *f)
{
	assert_true(publish_reopen(f->p));
	staged_unseal(f->st);
	assert_int_equal(publish_await_change(f->p), 0);
}

struct ends {
	struct pub *f;
	unsigned want;
};

static bool has_ended(void *arg)
{
	struct ends *e = arg;
	struct publish_info info;

	publish_get_info(e->f->p, &info);
	return atomic_load(&e->f->ends) >= e->want && !info.under_way;
}

void pub_wait_ends(struct pub *f, unsigned ends)
{
	struct ends e = { f, ends };

	rig_wait(f->rig, f->p, has_ended, &e);
}

struct status {
	struct pub *f;
	const char *want;
};

static bool has_status(void *arg)
{
	struct status *s = arg;

	return !strcmp(pub_info(s->f).status, s->want);
}

void pub_wait_status(struct pub *f, const char *status)
{
	struct status s = { f, status };

	rig_wait(f->rig, f->p, has_status, &s);
}

struct publish_info pub_info(struct pub *f)
{
	struct publish_info info;

	publish_get_info(f->p, &info);
	return info;
}

bool rig_load_record(struct rig *g, const char *id, struct record *ret)
{
	int r = files_load(g->area.db, id, ret);

	assert_true(r == 0 || r == -ENOENT);
	return r == 0;
}

void pub_load_record(struct pub *f, struct record *ret)
{
	assert_true(rig_load_record(f->rig, staged_id(f->st), ret));
}

void rig_save_record(struct rig *g, const char *id, const struct record *r)
{
	assert_int_equal(statedb_begin(g->area.db), 0);
	assert_int_equal(files_save(g->area.db, id, r), 0);
	assert_int_equal(statedb_commit(g->area.db, NULL), 0);
}

void pub_check_file(struct pub *f, const char *filename)
{
	uint64_t size = staged_size(f->st);
	char *want = malloc(size + 1), *got = malloc(size + 1), id[API_ID_MAX + 1];

	assert_true(fake_api_find(f->rig->api, filename, 0, id));
	assert_false(fake_api_find(f->rig->api, filename, 1, id));
	assert_int_equal(fake_api_file_bytes(f->rig->api, id), size);
	assert_non_null(want);
	assert_non_null(got);
	assert_int_equal(pread(staged_fd(f->st), want, size, 0), size);
	assert_int_equal(fake_api_read(f->rig->api, id, 0, got, size), size);
	assert_memory_equal(want, got, size);
	free(want);
	free(got);
}
