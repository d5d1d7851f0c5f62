/* uses: fake_api */
/* The publisher: Parts that leave while they are written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define KIB 1024ULL
#define STEP (8 * KIB) /* of what is handed on of a live Part */

static struct rig g;

static void open_rig(unsigned parallel)
{
	rig_open(&g);
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	pool_free(g.disk);
	g.cfg.live_step = STEP;
	g.cfg.parallel = parallel;
	rig_restart(&g);
}

static int setup(void **state)
{
	(void)state;
	open_rig(2);
	return 0;
}

/* A file of 150 KiB to be, of which the first 16 KiB are written, and on their way. */
static void begin(struct pub *f)
{
	pub_new(&g, f, "a", NULL, NULL);
	publish_predict(f->p, 150 * KIB);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	stage_fill(f->st, 0, 16 * KIB, 1);
	assert_true(fake_api_wait_live(g.api, 16 * KIB));
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 1);
}

/* Closed, with one File of the right bytes after so many calls for Parts; closes the rig. */
static void finish(struct pub *f, unsigned calls)
{
	struct pub *const pubs[] = { f };

	assert_int_equal(pub_close(f), 0);
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(f, "a");
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), calls);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	rig_close(&g, pubs, 1);
}

/* All that is left to do at the close is the end of the last Part. */
static void test_as_it_comes(void **state)
{
	struct fake_call call;
	struct pub f;

	(void)state;
	begin(&f);
	/* Less than a step is not handed on, more is. */
	stage_fill(f.st, 16 * KIB, 4 * KIB, 1);
	stage_fill(f.st, 20 * KIB, 12 * KIB, 1);
	assert_true(fake_api_wait_live(g.api, 32 * KIB));
	assert_true(fake_api_call(g.api, FAKE_PART, 0, &call));
	assert_int_equal(call.offset, 0);
	assert_int_equal(call.len, 64 * KIB);
	assert_false(call.done);
	stage_fill(f.st, 32 * KIB, 32 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	assert_int_equal(pub_info(&f).parts_total, 3);
	stage_fill(f.st, 64 * KIB, 64 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	stage_fill(f.st, 128 * KIB, 10 * KIB, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 3));
	stage_fill(f.st, 138 * KIB, 12 * KIB, 1);
	finish(&f, 3);
}

/* Bytes that have left are written again: the Part is stopped, and sent as it stands then. */
static void test_rewritten(void **state)
{
	struct fake_call call;
	struct pub f;

	(void)state;
	begin(&f);
	stage_fill(f.st, 4 * KIB, 1 * KIB, 2);
	stage_fill(f.st, 16 * KIB, 16 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	assert_true(fake_api_call(g.api, FAKE_PART, 0, &call));
	assert_int_equal(call.kind, API_ERR_CANCELLED);
	stage_fill(f.st, 32 * KIB, 118 * KIB, 1);
	finish(&f, 4);
}

/* The same when all has left, and only the reply is missing. */
static void test_rewritten_behind(void **state)
{
	struct pub f;

	(void)state;
	begin(&f);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	stage_fill(f.st, 16 * KIB, 48 * KIB, 1);
	assert_true(fake_api_wait_live(g.api, 64 * KIB));
	stage_fill(f.st, 60 * KIB, 1 * KIB, 2);
	fake_api_release(g.api, FAKE_PART);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	stage_fill(f.st, 64 * KIB, 86 * KIB, 1);
	finish(&f, 4);
}

/* What lies behind what has left may change as often as it likes. */
static void test_rewritten_ahead(void **state)
{
	struct pub f;

	(void)state;
	begin(&f);
	for (unsigned i = 0; i < 5; i++)
		stage_fill(f.st, 20 * KIB, 30 * KIB, i);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 1);
	stage_fill(f.st, 16 * KIB, 48 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	stage_fill(f.st, 64 * KIB, 86 * KIB, 1);
	finish(&f, 3);
}

/* Cut off and written again, which moves no border of a Part. */
static void test_cut(void **state)
{
	struct pub f;

	(void)state;
	begin(&f);
	assert_int_equal(staged_truncate(f.st, 10 * KIB), 0);
	stage_fill(f.st, 10 * KIB, 140 * KIB, 2);
	finish(&f, 4);
}

/* It fails half-way: it is sent again when it is whole, and the writer does not notice. */
static void test_fails(void **state)
{
	static const struct api_error errs[] = {
		{ .kind = API_ERR_CONNECT },
		{ .kind = API_ERR_TIMEOUT },
		{ .kind = API_ERR_HTTP, .http_status = 400 },
		{ .kind = API_ERR_HTTP, .http_status = 503 },
		{ .kind = API_ERR_LOCAL, .local_errno = -EIO },
		{ .kind = API_ERR_BAD_REPLY, .maybe_applied = true },
	};
	struct pub f;

	(void)state;
	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		if (i)
			open_rig(2);
		fake_api_fail(g.api, FAKE_PART, 1, 1, &errs[i]);
		pub_new(&g, &f, "a", NULL, NULL);
		publish_predict(f.p, 150 * KIB);
		assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
		stage_fill(f.st, 0, 16 * KIB, 1);
		assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
		stage_fill(f.st, 16 * KIB, 8 * KIB, 1);
		pub_wait_status(&f, "streaming");
		stage_fill(f.st, 24 * KIB, 126 * KIB, 1);
		assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
		finish(&f, 4);
	}
}

/* An Upload of which Part after Part was sent in vain has no more live ones. */
static void test_gives_up(void **state)
{
	struct api_error err = { .kind = API_ERR_CONNECT };
	uint64_t at;
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_PART, 1, 1, &err);
	fake_api_fail(g.api, FAKE_PART, 3, 1, &err);
	fake_api_fail(g.api, FAKE_PART, 5, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 5 * 64 * KIB);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	for (unsigned i = 0; i < 5; i++) {
		at = i * 64 * KIB;
		stage_fill(f.st, at, 32 * KIB, 1);
		if (i < 3)
			assert_true(fake_api_wait_done(g.api, FAKE_PART, 2 * i + 1));
		stage_fill(f.st, at + 32 * KIB, 32 * KIB, 1);
		assert_true(fake_api_wait_done(g.api, FAKE_PART, i < 3 ? 2 * i + 2 : i + 4));
	}
	finish(&f, 8);
}

/* A size that was wrong: the Upload goes, and the live Part with it. */
static void test_wrong_size(void **state)
{
	struct pub f;

	(void)state;
	begin(&f);
	stage_fill(f.st, 16 * KIB, 1 * KIB, 1);
	finish(&f, 2);
	open_rig(2);
	begin(&f);
	stage_fill(f.st, 16 * KIB, 200 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	finish(&f, fake_api_calls(g.api, FAKE_PART) + 4);
}

/* It takes no place from Parts that are there, not even of its own file. */
static void test_not_in_the_way(void **state)
{
	struct pub f;

	(void)state;
	begin(&f);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	stage_fill(f.st, 64 * KIB, 86 * KIB, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 3));
	fake_api_release(g.api, FAKE_PART);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	stage_fill(f.st, 16 * KIB, 48 * KIB, 1);
	finish(&f, 3);
}

/* But where Parts have to arrive in their order the next one waits for it. */
static void test_in_sequence(void **state)
{
	struct fake_call call;
	struct pub f;

	(void)state;
	open_rig(1);
	begin(&f);
	stage_fill(f.st, 64 * KIB, 86 * KIB, 1);
	stage_fill(f.st, 16 * KIB, 8 * KIB, 1);
	assert_true(fake_api_wait_live(g.api, 24 * KIB));
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 1);
	stage_fill(f.st, 24 * KIB, 40 * KIB, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(fake_api_wait_done(g.api, FAKE_PART, i + 1));
		assert_true(fake_api_call(g.api, FAKE_PART, i, &call));
		assert_int_equal(call.offset, i * 64 * KIB);
	}
	finish(&f, 3);
}

/* Removed, or its writer killed: nothing is published, nothing stays pending. */
static void test_dropped(void **state)
{
	struct pub *pubs[1];
	struct pub f;

	(void)state;
	begin(&f);
	publish_drop(f.p);
	pub_wait_ends(&f, 1);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	pubs[0] = &f;
	rig_close(&g, pubs, 1);
	open_rig(2);
	begin(&f);
	publish_abort(f.p, 0, false);
	pub_wait_ends(&f, 1);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_ABORTED);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	assert_int_equal(fake_api_files(g.api), 0);
	rig_close(&g, pubs, 1);
}

/* The daemon dies with one on its way: what was not closed is not published. */
static void test_crash(void **state)
{
	struct pub *const pubs[1] = { &(struct pub){ 0 } };
	struct pub *f = pubs[0];
	char id[64];

	(void)state;
	begin(f);
	snprintf(id, sizeof(id), "%s", staged_id(f->st));
	rig_crash(&g, pubs, 1);
	rig_restart(&g);
	pub_recover(&g, f, id, "a", NULL);
	pub_wait_ends(f, 1);
	assert_int_equal(atomic_load(&f->outcome), OUTCOME_ABORTED);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 0);
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	assert_int_equal(staged_size(f->st), 16 * KIB);
	rig_close(&g, pubs, 1);
}

static pthread_t publisher_thread, test_thread;
static atomic_uint released_elsewhere, releases;

static void note_publisher(void *arg, struct publish *p, const struct publish_result *r)
{
	(void)arg;
	(void)p;
	(void)r;
	publisher_thread = pthread_self();
}

static void note_release(void *arg)
{
	(void)arg;
	releases++;
	/* Without an end before, the publisher's thread is not known yet. */
	released_elsewhere += !pthread_equal(pthread_self(), test_thread) &&
			      !pthread_equal(pthread_self(), publisher_thread);
}

static void note_deleted(void *arg, const char *file_id)
{
	(void)arg;
	(void)file_id;
}

/* A publication that soon nobody holds but a call of the API. */
static void publish_and_leave(unsigned nth)
{
	struct publish_spec spec = { .purpose = "user_data",
				     .path = "left",
				     .mode = 0644,
				     .ended = note_publisher,
				     .deleted = note_deleted,
				     .release = note_release };
	struct staged *st;
	struct publish *p;

	assert_int_equal(staged_create(g.area.sg, &st), 0);
	spec.staged = st;
	p = publish_new(g.pr, &spec);
	assert_non_null(p);
	stage_fill(st, 0, 1000, 1);
	publish_predict(p, 5 * RIG_PART);
	assert_true(fake_api_wait_calls(g.api, FAKE_CREATE, nth + 1));
	publish_drop(p);
	publish_unref(p);
	staged_unref(st);
}

static bool all_released(void *arg)
{
	return atomic_load(&releases) >= *(unsigned *)arg;
}

/* The network thread never drops a last reference: that takes locks and waits for the disk. */
static void test_last_reference(void **state)
{
	unsigned want = 0;

	(void)state;
	test_thread = pthread_self();
	for (unsigned i = 0; i < 600; i++) {
		publish_and_leave(i);
		want++;
		if (!i)
			rig_wait(&g, NULL, all_released, &want);
	}
	rig_wait(&g, NULL, all_released, &want);
	assert_int_equal(released_elsewhere, 0);
	assert_true(fake_api_calls(g.api, FAKE_CREATE) > 0);
	rig_close(&g, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_as_it_comes, setup),
		cmocka_unit_test_setup(test_rewritten, setup),
		cmocka_unit_test_setup(test_rewritten_behind, setup),
		cmocka_unit_test_setup(test_rewritten_ahead, setup),
		cmocka_unit_test_setup(test_cut, setup),
		cmocka_unit_test_setup(test_fails, setup),
		cmocka_unit_test_setup(test_gives_up, setup),
		cmocka_unit_test_setup(test_wrong_size, setup),
		cmocka_unit_test_setup(test_not_in_the_way, setup),
		cmocka_unit_test(test_in_sequence),
		cmocka_unit_test_setup(test_dropped, setup),
		cmocka_unit_test_setup(test_crash, setup),
		cmocka_unit_test_setup(test_last_reference, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
