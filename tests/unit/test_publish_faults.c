/* uses: fake_api */
/* The publisher when things go wrong: refusals, lost replies, expiry, bad disks, dead daemons. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/publish/part_layout.h"
#include "net/base/clock.h"
#include "tests/unit/publish_rig.h"

#define KIB 1024ULL
#define EVER 1000000

static struct rig g;

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	return 0;
}

static void check_pending(unsigned pending)
{
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), pending);
}

static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f };

	check_pending(0);
	rig_close(&g, pubs, 1);
}

static struct api_error lost_reply(enum api_err_kind kind, int status)
{
	struct api_error err = fake_api_error(kind, status, "", "the reply was lost");

	err.maybe_applied = true;
	return err;
}

static void seal(struct pub *f)
{
	staged_seal(f->st);
	publish_seal(f->p);
}

static bool has_upload(void *arg)
{
	return pub_info(arg).upload_id[0] != '\0';
}

static void expire(struct pub *f)
{
	rig_wait(&g, NULL, has_upload, f);
	fake_api_upload_expire(g.api, pub_info(f).upload_id);
}

static void check_one_file(struct pub *f, const char *name)
{
	assert_string_equal(pub_info(f).status, "completed");
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(f, name);
}

/* ---- each class of error, at each call ---- */

struct error_case {
	enum api_err_kind kind;
	int status;
	const char *code;
	int err;
	bool kept; /* the Upload may be of use later */
};

static const struct error_case error_cases[] = {
	{ API_ERR_HTTP, 400, "", -EINVAL, false },
	{ API_ERR_HTTP, 401, "invalid_api_key", -EACCES, true },
	{ API_ERR_HTTP, 403, "", -EACCES, true },
	{ API_ERR_HTTP, 404, "", -EINVAL, false },
	{ API_ERR_HTTP, 413, "", -EFBIG, false },
	{ API_ERR_HTTP, 429, "rate_limit_exceeded", -EIO, false },
	{ API_ERR_HTTP, 429, "insufficient_quota", -EDQUOT, false },
	{ API_ERR_HTTP, 500, "", -EIO, false },
	{ API_ERR_HTTP, 503, "", -EIO, false },
	{ API_ERR_CONNECT, 0, "", -EHOSTUNREACH, true },
	{ API_ERR_TLS, 0, "", -EHOSTUNREACH, false },
	{ API_ERR_TIMEOUT, 0, "", -ETIMEDOUT, false },
	{ API_ERR_BAD_REPLY, 0, "", -EIO, false },
	{ API_ERR_LOCAL, 0, "", -EIO, false },
	{ API_ERR_CONFIG, 0, "", -EACCES, false },
};

/* Fails at op with err for ever, then goes on as soon as it is told to and the fault is gone. */
static void fail_at(enum fake_op op, const struct error_case *c)
{
	struct api_error err = fake_api_error(c->kind, c->status, c->code, "what it says");
	struct publish_info info;
	struct record r;
	struct pub f;
	bool kept, in_doubt;

	rig_open(&g);
	g.hurry = true;
	if (c->kind == API_ERR_LOCAL)
		err.local_errno = -EIO;
	fake_api_fail(g.api, op, 1, EVER, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 150 * KIB, 1);
	assert_int_equal(pub_close(&f), c->err);
	info = pub_info(&f);
	assert_string_equal(info.status, "failed");
	assert_int_equal(info.err, c->err);
	in_doubt = op == FAKE_COMPLETE && c->kind == API_ERR_BAD_REPLY;
	assert_non_null(strstr(info.error, in_doubt ? "may exist" : "what it says"));
	assert_int_equal(info.under_way, false);
	/* One in doubt is needed to end the doubt. */
	kept = op != FAKE_CREATE && (c->kept || in_doubt);
	check_pending(kept ? 1 : 0);
	assert_int_equal(fake_api_files(g.api), 0);
	assert_int_equal(staged_size(f.st), 150 * KIB);
	pub_load_record(&f, &r);
	assert_int_equal(r.err, c->err);
	assert_non_null(r.error);
	record_release(&r);
	fake_api_fail_clear(g.api);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	assert_int_equal(pub_info(&f).err, 0);
	assert_string_equal(pub_info(&f).error, "");
	finish(&f);
}

static void fail_at_each(enum fake_op op)
{
	for (size_t i = 0; i < sizeof(error_cases) / sizeof(error_cases[0]); i++) {
		/* A create that is not found: there may be no Uploads; see test_publish_whole.c. */
		if (op != FAKE_CREATE || error_cases[i].status != 404)
			fail_at(op, &error_cases[i]);
	}
}

static void test_create_fails(void **state)
{
	(void)state;
	fail_at_each(FAKE_CREATE);
}

static void test_part_fails(void **state)
{
	(void)state;
	fail_at_each(FAKE_PART);
}

static void test_complete_fails(void **state)
{
	(void)state;
	fail_at_each(FAKE_COMPLETE);
}

/* Refused for ever: each try asks a few times at most. */
static void test_genuine_refusal_ends(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 400, "", "no");
	struct pub f;
	struct pub *const pubs[] = { &f };

	(void)state;
	fake_api_fail(g.api, FAKE_COMPLETE, 1, EVER, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), -EINVAL);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	/* There is no File all the same. */
	assert_int_equal(fake_api_calls(g.api, FAKE_LIST), 1);
	/* A server that says so of a dead Upload each time does not keep us busy either. */
	fake_api_fail(g.api, FAKE_CANCEL, 1, EVER, &err);
	assert_int_equal(pub_close(&f), -EINVAL);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 5);
	assert_true(fake_api_wait_idle(g.api));
	fake_api_fail_clear(g.api);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	rig_close(&g, pubs, 1); /* with what the deaf server would not cancel */
}

static void test_bad_replies_now_and_then(void **state)
{
	struct api_error err = fake_api_error(API_ERR_BAD_REPLY, 200, "", "nonsense");
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_CREATE, 1, 1, &err);
	fake_api_fail(g.api, FAKE_PART, 1, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 150 * KIB, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 4);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_stream_fails_before_the_close(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 503, "", "busy");
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_PART, 1, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 150 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	stage_fill(f.st, 100 * KIB, 50 * KIB, 1);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	assert_int_equal(atomic_load(&f.ends), 0);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	finish(&f);
}

/* The service is gone, and does not answer the cancel either: it is asked again when it is back. */
static void test_cancel_is_not_answered(void **state)
{
	struct api_error err = fake_api_error(API_ERR_CONNECT, 0, "", "refused");
	struct fake_call first, again;
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_PART, 1, EVER, &err);
	fake_api_fail(g.api, FAKE_CANCEL, 1, EVER, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 150 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	fake_api_fail(g.api, FAKE_CREATE, 1, 1, &err);
	stage_fill(f.st, 100 * KIB, 50 * KIB, 1);
	assert_int_equal(pub_close(&f), -EHOSTUNREACH);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_CANCEL), 1);
	fake_api_fail_clear(g.api);
	assert_int_equal(pub_close(&f), 0);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 2));
	assert_true(fake_api_call(g.api, FAKE_CANCEL, 0, &first));
	assert_true(fake_api_call(g.api, FAKE_CANCEL, 1, &again));
	assert_string_equal(first.id, again.id);
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_CANCEL), 2);
	check_one_file(&f, "a");
	finish(&f);
}

/* ---- complete in doubt ---- */

/* Two whole lists without the File, a minute apart, after the Upload's end and a while. */
static void doubt_runs_out(struct pub *f)
{
	unsigned lists = fake_api_calls(g.api, FAKE_LIST);

	rig_clock_advance((API_UPLOAD_TTL_S + 3600) * 1000ULL);
	pub_wait_status(f, "completed");
	assert_true(fake_api_calls(g.api, FAKE_LIST) >= lists + 2);
}

static void lose_complete(enum api_err_kind kind, int status)
{
	struct api_error lost = lost_reply(kind, status);
	char same[API_ID_MAX + 1];
	struct pub f;

	rig_open(&g);
	/* One that only looks like it: too old. */
	fake_api_add_pattern(g.api, "a", "user_data", 100 * KIB, same);
	for (unsigned i = 0; i < 8; i++) {
		char other[API_ID_MAX + 1];

		fake_api_add_file(g.api, "z", "user_data", "", 0, other);
	}
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_string_equal(pub_info(&f).status, "completed");
	assert_string_not_equal(f.file_id, same);
	assert_int_equal(fake_api_file_bytes(g.api, f.file_id), 100 * KIB);
	assert_int_equal(fake_api_files(g.api), 10);
	/* Asked again, unless that was refused already, or the service has said that it did it. */
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE),
			 status == 400 || status == 200 ? 1 : 2);
	finish(&f);
}

static void test_lost_reply(void **state)
{
	(void)state;
	lose_complete(API_ERR_CONNECT, 0);
	lose_complete(API_ERR_TIMEOUT, 0);
	lose_complete(API_ERR_HTTP, 503);
	/* The retry below the API was refused, for it had been done. */
	lose_complete(API_ERR_HTTP, 400);
	lose_complete(API_ERR_BAD_REPLY, 200);
}

static void test_lost_reply_many_pages(void **state)
{
	struct api_error lost = lost_reply(API_ERR_CONNECT, 0);
	char other[API_ID_MAX + 1];
	struct pub f;

	(void)state;
	fake_api_page_max(g.api, 2);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	fake_api_hold(g.api, FAKE_LIST, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, FAKE_LIST, 1));
	for (unsigned i = 0; i < 5; i++)
		fake_api_add_file(g.api, "later", "user_data", "", 0, other);
	fake_api_release(g.api, FAKE_LIST);
	pub_wait_ends(&f, 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_LIST), 3);
	assert_string_equal(pub_info(&f).status, "completed");
	pub_check_file(&f, "a");
	finish(&f);
}

/* Nothing came of it: the same Upload or a new one, but one File. */
static void test_lost_and_not_done(void **state)
{
	char same[API_ID_MAX + 1], other[API_ID_MAX + 1];
	struct api_error lost = lost_reply(API_ERR_HTTP, 400);
	struct told t;
	struct pub f;

	(void)state;
	g.hurry = true;
	/* One that only looks like it: too old. */
	fake_api_add_pattern(g.api, "a", "user_data", 100, same);
	for (unsigned i = 0; i < 8; i++)
		fake_api_add_file(g.api, "z", "user_data", "", 0, other);
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	expire(&f);
	fake_api_release(g.api, FAKE_COMPLETE);
	/* Whether there will be a File is certain only after the Upload's end. */
	assert_int_equal(told_err(&t), -EIO);
	assert_non_null(strstr(pub_info(&f).error, "may exist"));
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	doubt_runs_out(&f);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	assert_string_not_equal(f.file_id, same);
	assert_int_equal(fake_api_file_bytes(g.api, f.file_id), 100);
	assert_int_equal(fake_api_files(g.api), 10);
	finish(&f);
}

/* Complete is done, but neither its reply nor a list arrives: failed, in doubt. */
static void fail_in_doubt(struct pub *f, const struct api_error *lost)
{
	struct api_error down = fake_api_error(API_ERR_CONNECT, 0, "", "down");

	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, lost);
	fake_api_fail(g.api, FAKE_LIST, 1, EVER, &down);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, 100 * KIB, 1);
	assert_int_equal(pub_close(f), -EHOSTUNREACH);
	assert_int_equal(fake_api_files(g.api), 1);
	fake_api_fail_clear(g.api);
}

static void test_in_doubt_then_retry(void **state)
{
	struct api_error lost = lost_reply(API_ERR_CONNECT, 0);
	struct record r;
	struct pub f;

	(void)state;
	fail_in_doubt(&f, &lost);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_COMPLETING); /* also for the next daemon */
	record_release(&r);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 2);
	finish(&f);
}

static void test_in_doubt_then_written_anew(void **state)
{
	struct api_error lost = lost_reply(API_ERR_CONNECT, 0);
	struct record r;
	struct pub f;

	(void)state;
	fail_in_doubt(&f, &lost);
	pub_reopen(&f);
	/* Half a file: should the daemon die now, nobody may publish it. */
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_WRITING);
	record_release(&r);
	publish_predict(f.p, 200 * KIB);
	stage_fill(f.st, 100 * KIB, 50 * KIB, 2);
	assert_int_equal(publisher_drain(g.pr, 60), 0);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_WRITING);
	record_release(&r);
	stage_fill(f.st, 150 * KIB, 50 * KIB, 2);
	assert_int_equal(pub_close(&f), 0);
	/* The File of the first close was found, and replaced. */
	check_one_file(&f, "a");
	finish(&f);
}

/* No answer, and no File in the list: it may come yet, so the next try looks again. */
static void test_in_doubt_and_not_listed(void **state)
{
	struct api_error lost = lost_reply(API_ERR_TIMEOUT, 0);
	struct record r;
	struct told t;
	struct pub f;

	(void)state;
	g.hurry = true;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	expire(&f);
	fake_api_release(g.api, FAKE_COMPLETE);
	assert_int_equal(told_err(&t), -EIO);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_COMPLETING);
	record_release(&r);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	/* The user knows better. */
	publish_force(f.p);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_in_doubt_written_anew_dropped(void **state)
{
	struct api_error lost = lost_reply(API_ERR_CONNECT, 0);
	struct pub f;

	(void)state;
	fail_in_doubt(&f, &lost);
	pub_reopen(&f);
	stage_fill(f.st, 0, 10, 2);
	publish_drop(f.p);
	pub_wait_ends(&f, 2);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

/* Another host's File of the same name and size: its content tells. */
static void test_in_doubt_and_a_stranger(void **state)
{
	struct api_error lost = lost_reply(API_ERR_HTTP, 400);
	char theirs[API_ID_MAX + 1];
	struct told t;
	struct pub f;

	(void)state;
	g.hurry = true;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	expire(&f);
	fake_api_add_pattern(g.api, "a", "user_data", 100, theirs);
	fake_api_release(g.api, FAKE_COMPLETE);
	assert_int_equal(told_err(&t), -EIO);
	assert_int_equal(fake_api_files(g.api), 1);
	doubt_runs_out(&f);
	assert_string_not_equal(f.file_id, theirs);
	assert_int_equal(fake_api_files(g.api), 2);
	/* Nor is it deleted with ours. */
	assert_int_equal(fake_api_calls(g.api, FAKE_DELETE), 0);
	finish(&f);
}

static bool knows(void *arg, const char *file_id)
{
	(void)arg;
	return strstr(file_id, "file-") != NULL;
}

/* A File whose id was known is somebody else's, whatever it looks like. */
static void test_in_doubt_and_known(void **state)
{
	struct api_error lost = lost_reply(API_ERR_TIMEOUT, 0);
	struct pub f;

	(void)state;
	fail_in_doubt(&f, &lost);
	publish_drop(f.p);
	pub_wait_ends(&f, 2);
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);

	rig_open(&g);
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	g.cfg.is_known = knows;
	assert_int_equal(publisher_new(&g.cfg, &g.pr), 0);
	g.hurry = true;
	fail_in_doubt(&f, &lost);
	publish_drop(f.p);
	rig_clock_advance((API_UPLOAD_TTL_S + 3600) * 1000ULL);
	pub_wait_ends(&f, 2);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	assert_int_equal(fake_api_files(g.api), 1);
	finish(&f);
}

static void test_in_doubt_then_dropped(void **state)
{
	struct api_error lost = lost_reply(API_ERR_TIMEOUT, 0);
	struct pub f;

	(void)state;
	fail_in_doubt(&f, &lost);
	publish_drop(f.p);
	pub_wait_ends(&f, 2);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

static void test_in_doubt_dropped_and_down(void **state)
{
	struct api_error down = fake_api_error(API_ERR_CONNECT, 0, "", "down");
	struct api_error lost = lost_reply(API_ERR_TIMEOUT, 0);
	struct pub f;

	(void)state;
	fail_in_doubt(&f, &lost);
	fake_api_fail(g.api, FAKE_OPS, 1, EVER, &down);
	publish_drop(f.p);
	assert_true(fake_api_wait_done(g.api, FAKE_LIST, 2));
	/* It does not keep the daemon from ending. */
	assert_int_equal(publisher_drain(g.pr, 60), 0);
	assert_int_equal(fake_api_files(g.api), 1);
	fake_api_fail_clear(g.api);
	g.hurry = true;
	pub_wait_ends(&f, 2);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

/* ---- Uploads that die ---- */

static void die_before(enum fake_op op)
{
	struct pub f;

	rig_open(&g);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 150 * KIB, 1);
	fake_api_hold(g.api, op, FAKE_HOLD_WORK);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, op, 1));
	expire(&f);
	fake_api_release(g.api, op);
	pub_wait_ends(&f, 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_upload_dies(void **state)
{
	(void)state;
	die_before(FAKE_PART);
	die_before(FAKE_COMPLETE);
}

static void test_expires_before_the_close(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 150 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	rig_clock_advance(API_UPLOAD_TTL_S * 1000ULL + 1);
	publish_set_owner(f.p, 0600, 1, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	stage_fill(f.st, 100 * KIB, 50 * KIB, 1);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	check_one_file(&f, "a");
	finish(&f);
}

/* What cannot be sent in an hour is not tried for ever in one close. */
static void test_expires_again_and_again(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	pub_wait(&f, &t, UNTIL_ENDED);
	for (unsigned i = 1; i <= 4; i++) {
		assert_true(fake_api_wait_calls(g.api, FAKE_PART, i));
		rig_clock_advance(API_UPLOAD_TTL_S * 1000ULL + 1);
		publish_set_owner(f.p, 0600, 1, 1);
	}
	assert_int_equal(told_err(&t), -ETIMEDOUT);
	fake_api_release(g.api, FAKE_PART);
	check_pending(0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 4);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	finish(&f);
}

/* ---- later ---- */

static void test_background_retry(void **state)
{
	struct api_error down = fake_api_error(API_ERR_CONNECT, 0, "", "down");
	struct publisher_counts c;
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_CREATE, 1, 3, &down);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	assert_int_equal(pub_close(&f), -EHOSTUNREACH);
	publisher_get_counts(g.pr, &c);
	assert_int_equal(c.failed, 1);
	/* 30 s, then twice as long each time. */
	for (unsigned i = 0; i < 3; i++) {
		rig_clock_advance((30000U << i) - 5000);
		publish_set_owner(f.p, 0600, i, i);
		assert_int_equal(publisher_drain(g.pr, 60), 1);
		assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), i + 1);
		rig_clock_advance(6000);
		publish_set_owner(f.p, 0600, i, i);
		pub_wait_ends(&f, i + 2);
	}
	check_one_file(&f, "a");
	assert_int_equal(publisher_drain(g.pr, 60), 0);
	finish(&f);
}

static void *seal_often(void *arg)
{
	for (unsigned i = 0; i < 40; i++)
		pub_close(arg);
	return NULL;
}

/* Each close hears of an end, whenever it comes. */
static void test_many_closes(void **state)
{
	struct api_error busy = fake_api_error(API_ERR_HTTP, 503, "", "busy");
	pthread_t threads[4];
	struct pub f;

	(void)state;
	for (unsigned i = 0; i < 30; i++)
		fake_api_fail(g.api, i % 2 ? FAKE_CREATE : FAKE_COMPLETE, i + 1, 1, &busy);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, seal_often, &f), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_failed_then_written_anew(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 401, "", "key");
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	assert_int_equal(pub_close(&f), -EACCES);
	pub_reopen(&f);
	assert_int_equal(pub_info(&f).outcome, OUTCOME_NONE);
	stage_fill(f.st, 0, 50, 2);
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_drop_after_failure(void **state)
{
	struct api_error down = fake_api_error(API_ERR_CONNECT, 0, "", "down");
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_PART, 1, 2, &down);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	assert_int_equal(pub_close(&f), -EHOSTUNREACH);
	check_pending(1); /* its Parts may be of use yet */
	publish_drop(f.p);
	pub_wait_ends(&f, 2);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	finish(&f);
}

/* ---- a bad disk ---- */

static void mend_disk(struct pub *f, int good)
{
	assert_int_equal(dup2(good, staged_fd(f->st)), staged_fd(f->st));
	close(good);
}

static bool hashing_failed(void *arg)
{
	char md5[DIGEST_HEX_SIZE];

	return staged_md5(((struct pub *)arg)->st, md5) == -EBADF;
}

/* The bytes can't be read for a while: neither to be sent nor for the MD5. */
static void test_read_fails(void **state)
{
	char path[200];
	struct pub f;
	int good, blind;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	snprintf(path, sizeof(path), "%s/%s.data", g.area.staging, staged_id(f.st));
	blind = open(path, O_WRONLY | O_CLOEXEC);
	good = dup(staged_fd(f.st));
	assert_true(blind >= 0 && good >= 0);
	assert_int_equal(dup2(blind, staged_fd(f.st)), staged_fd(f.st));
	close(blind);
	assert_int_equal(pub_close(&f), -EBADF);
	check_pending(0);
	rig_wait(&g, NULL, hashing_failed, &f);
	mend_disk(&f, good);
	/* What the hasher met sticks to the seal; a retry does not stick to it. */
	rig_clock_advance(31000);
	publish_set_owner(f.p, 0600, 1, 1);
	pub_wait_ends(&f, 2);
	check_one_file(&f, "a");
	finish(&f);
}

/* The hold is over, complete is asked, and a rename to another temporary name comes. */
static void test_held_again_while_completing(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	publish_hold(f.p, "a", 1000);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), 0);
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_REPLY);
	publish_seal(f.p);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	assert_int_equal(publish_hold(f.p, "b", 1000), 0);
	/* Else the File that comes of it would be forgotten, and a second one made. */
	assert_false(publish_reopen(f.p));
	pub_wait(&f, &t, UNTIL_ENDED);
	fake_api_release(g.api, FAKE_COMPLETE);
	assert_int_equal(told_err(&t), 0);
	assert_int_equal(fake_api_files(g.api), 1);
	rig_close(&g, pubs, 1);
}

static void test_record_cannot_be_written(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_int_equal(told_err(&t), 0);
	/* A store that refuses rows. */
	assert_int_equal(statedb_define(g.area.db,
					"CREATE TEMP TRIGGER no_row BEFORE INSERT ON file BEGIN"
					" SELECT raise(ABORT, 'no'); END"),
			 0);
	assert_int_equal(pub_close(&f), -EEXIST);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 0);
	check_pending(0);
	/* Who asks for no more than durability is not told that it is. */
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	pub_reopen(&f);
	seal(&f);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), -EEXIST);
	assert_int_equal(statedb_define(g.area.db, "DROP TRIGGER no_row"), 0);
	fake_api_release(g.api, FAKE_CREATE);
	pub_wait_ends(&f, 2);
	check_one_file(&f, "a");
	finish(&f);
}

/* ---- the next daemon ---- */

static char id[64];

/* The daemon dies. What is held is let go, but nobody hears of it. */
static void crash(struct pub *f)
{
	struct pub *const pubs[] = { f };

	snprintf(id, sizeof(id), "%s", staged_id(f->st));
	rig_crash(&g, pubs, 1);
	rig_restart(&g);
}

static void test_recover_writing(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 150 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	crash(&f);
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 1);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "aborted");
	assert_int_equal(pub_info(&f).err, 0);
	check_pending(0);
	assert_int_equal(staged_size(f.st), 100 * KIB);
	/* Dead again: still aborted. */
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "aborted");
	assert_int_equal(pub_close(&f), 0);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_recover_held(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	assert_int_equal(publish_hold(f.p, "a", 60), 0);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), 0);
	/* One whose id nobody heard could not be cancelled by the next life. */
	rig_wait(&g, NULL, has_upload, &f);
	crash(&f);
	pub_recover(&g, &f, id, ".a.AbCdEf", "a");
	pub_wait_ends(&f, 1);
	check_one_file(&f, ".a.AbCdEf");
	finish(&f);
}

/* Before the data is on stable storage the record does not call it sealed. */
static bool parts_recorded(void *arg)
{
	struct record r;
	bool ok;

	pub_load_record(arg, &r);
	ok = r.state == RECORD_SEALED && r.part_count == 3;
	record_release(&r);
	return ok;
}

static void test_recover_sealed(void **state)
{
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 250 * KIB, 1);
	seal(&f);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(fake_api_wait_calls(g.api, FAKE_PART, i + 1));
		fake_api_release_some(g.api, FAKE_PART, 1);
	}
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 4));
	rig_wait(&g, NULL, parts_recorded, &f);
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	assert_true(pub_info(&f).under_way || atomic_load(&f.ends));
	pub_wait_ends(&f, 1);
	/* The Upload was taken up: only the Part in flight left again. */
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 5);
	assert_int_equal(pub_info(&f).parts_done, 4);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_recover_sealed_too_late(void **state)
{
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	expire(&f);
	crash(&f);
	rig_clock_advance(API_UPLOAD_TTL_S * 1000ULL);
	g.hurry = true;
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "failed");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	doubt_runs_out(&f);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 2);
	check_one_file(&f, "a");
	finish(&f);
}

/* The service did it, and nobody heard. */
static void test_recover_completing(void **state)
{
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100 * KIB, 1);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), 2);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	check_one_file(&f, "a");
	finish(&f);
}

/* It was refused, and nobody heard: the Upload lives no more. */
static void test_recover_completing_in_vain(void **state)
{
	struct pub f;

	(void)state;
	g.hurry = true;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	expire(&f);
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "failed");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	doubt_runs_out(&f);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	check_one_file(&f, "a");
	finish(&f);
}

static bool superseded_recorded(void *arg)
{
	struct record r;
	bool ok;

	pub_load_record(arg, &r);
	ok = r.state == RECORD_COMPLETED && r.superseded_count == 1;
	record_release(&r);
	return ok;
}

static void test_recover_completed(void **state)
{
	struct api_error down = fake_api_error(API_ERR_CONNECT, 0, "", "down");
	char old[API_ID_MAX + 1], new[API_ID_MAX + 1];
	struct pub f;

	(void)state;
	fake_api_add_file(g.api, "a", "user_data", "old", 3, old);
	fake_api_hold(g.api, FAKE_DELETE, FAKE_HOLD_WORK);
	fake_api_fail(g.api, FAKE_DELETE, 1, 1, &down);
	pub_new(&g, &f, "a", NULL, old);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, FAKE_DELETE, 1));
	rig_wait(&g, NULL, superseded_recorded, &f);
	assert_true(fake_api_find(g.api, "a", 1, new));
	crash(&f);
	assert_int_equal(fake_api_files(g.api), 2);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(f.file_id, new);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 1);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_recover_failed(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 401, "", "key");
	struct pub f;

	(void)state;
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 2, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_set_mime(f.p, "text/x-mine");
	publish_set_expiry(f.p, 7200);
	stage_fill(f.st, 0, 100, 1);
	assert_int_equal(pub_close(&f), -EACCES);
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_int_equal(pub_info(&f).err, -EACCES);
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_recover_empty(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	assert_int_equal(pub_close(&f), 0);
	crash(&f);
	pub_recover(&g, &f, id, "a", NULL);
	/* It is what it was at once: nothing is left to do. */
	assert_string_equal(pub_info(&f).status, "empty");
	assert_false(pub_info(&f).under_way);
	assert_int_equal(fake_api_calls(g.api, FAKE_OPS), 0);
	finish(&f);
}

/* A daemon that died before the bytes were synced. change: the disk has others since. */
static void crash_unsynced(struct pub *f, enum record_state state, bool with_md5, bool change)
{
	char x = 'x', path[200], md5[DIGEST_HEX_SIZE];
	struct record r;
	int fd;

	stage_md5_of(staged_fd(f->st), staged_size(f->st), md5);
	crash(f);
	assert_true(rig_load_record(&g, id, &r));
	r.state = state;
	r.synced = false;
	free(r.md5);
	r.md5 = with_md5 ? strdup(md5) : NULL;
	rig_save_record(&g, id, &r);
	record_release(&r);
	snprintf(path, sizeof(path), "%s/%s.data", g.area.staging, id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	if (change)
		assert_int_equal(pwrite(fd, &x, 1, 50), 1);
	close(fd);
}

static void make_closed(struct pub *f)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 403, "", "no");

	fake_api_fail(g.api, FAKE_CREATE, 1, 1, &err);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, 100, 1);
	assert_int_equal(pub_close(f), -EACCES);
}

/* Closed bytes that were not synced are published if they are those of the MD5, and only then. */
static void test_recover_unsynced(void **state)
{
	struct pub f;

	(void)state;
	make_closed(&f);
	crash_unsynced(&f, RECORD_SEALED, true, false);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	check_one_file(&f, "a");
	finish(&f);
}

static void test_recover_unsynced_and_changed(void **state)
{
	enum record_state closed[] = { RECORD_HELD, RECORD_SEALED, RECORD_FAILED };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct pub f;

		setup(NULL);
		make_closed(&f);
		crash_unsynced(&f, closed[i], true, true);
		pub_recover(&g, &f, id, "a", NULL);
		pub_wait_ends(&f, 1);
		assert_string_equal(pub_info(&f).status, "aborted");
		assert_non_null(strstr(pub_info(&f).error, "stable storage"));
		assert_int_equal(fake_api_files(g.api), 0);
		/* As it stands, if that is wanted. */
		assert_int_equal(pub_close(&f), 0);
		pub_check_file(&f, "a");
		finish(&f);
	}
}

static void test_recover_unsynced_without_md5(void **state)
{
	struct pub f;

	(void)state;
	make_closed(&f);
	crash_unsynced(&f, RECORD_SEALED, false, false);
	pub_recover(&g, &f, id, "a", NULL);
	assert_string_equal(pub_info(&f).status, "aborted");
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

static int never(void *arg, const char *data)
{
	(void)arg;
	(void)data;
	return -EIO;
}

/* Its File was made before the power went: it is found, and the bytes go into no cache. */
static void test_recover_changed_in_doubt(void **state)
{
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	seal(&f);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	crash_unsynced(&f, RECORD_COMPLETING, true, true);
	g.hurry = true;
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "completed");
	assert_int_equal(fake_api_files(g.api), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	assert_int_equal(staged_give(f.st, never, NULL), -EBADMSG);
	finish(&f);
}

/* A record may be odd in ways that its seal does not show: made by another build, say. */
static void recover_odd(struct pub *f, const char *path, const struct record *like)
{
	static char part_id[] = "part_1", upload_id[] = "upload_1", *superseded[] = { part_id };
	struct record_part parts[] = { { 7, part_id }, { 0, part_id }, { 0, part_id } };
	struct record r = *like;
	char purpose[] = "user_data", *name = strdup(path);

	assert_non_null(name);
	crash(f);
	r.purpose = purpose;
	r.path = name;
	r.upload_id = upload_id;
	r.upload_created = clock_wall_s();
	r.parts = parts;
	r.part_count = 3;
	r.superseded = superseded;
	r.superseded_count = 1;
	r.synced = true;
	rig_save_record(&g, id, &r);
	free(name);
	pub_recover(&g, f, id, path, NULL);
	pub_wait_ends(f, 1);
	assert_string_equal(pub_info(f).status, "completed");
	pub_check_file(f, path);
}

static void test_recover_odd_records(void **state)
{
	struct record r;
	struct pub f;

	(void)state;
	g.hurry = true;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	publish_set_owner(f.p, 0600, 1, 1);
	assert_int_equal(pub_close(&f), 0);
	record_init(&r);
	r.state = RECORD_SEALED;
	r.upload_bytes = 100;
	recover_odd(&f, "b", &r); /* no part size */
	r.part_size = RIG_PART;
	recover_odd(&f, "e", &r); /* another layout of the same part size */
	r.part_block = layout_block(RIG_PART, 2);
	r.upload_bytes = UINT64_MAX;
	recover_odd(&f, "c", &r);
	r.upload_bytes = 100;
	recover_odd(&f, "d", &r); /* Parts twice, and beyond the end */
	assert_int_equal(fake_api_files(g.api), 5);
	/* Completed as what? It has to be looked for. */
	r.state = RECORD_COMPLETED;
	r.upload_created_at = 1;
	recover_odd(&f, "d", &r);
	assert_int_equal(fake_api_files(g.api), 5);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_fails),
		cmocka_unit_test(test_part_fails),
		cmocka_unit_test(test_complete_fails),
		cmocka_unit_test_setup(test_genuine_refusal_ends, setup),
		cmocka_unit_test_setup(test_bad_replies_now_and_then, setup),
		cmocka_unit_test_setup(test_stream_fails_before_the_close, setup),
		cmocka_unit_test_setup(test_cancel_is_not_answered, setup),
		cmocka_unit_test(test_lost_reply),
		cmocka_unit_test_setup(test_lost_reply_many_pages, setup),
		cmocka_unit_test_setup(test_lost_and_not_done, setup),
		cmocka_unit_test_setup(test_in_doubt_then_retry, setup),
		cmocka_unit_test_setup(test_in_doubt_then_written_anew, setup),
		cmocka_unit_test_setup(test_in_doubt_and_not_listed, setup),
		cmocka_unit_test_setup(test_in_doubt_written_anew_dropped, setup),
		cmocka_unit_test_setup(test_in_doubt_and_a_stranger, setup),
		cmocka_unit_test_setup(test_in_doubt_and_known, setup),
		cmocka_unit_test_setup(test_in_doubt_then_dropped, setup),
		cmocka_unit_test_setup(test_in_doubt_dropped_and_down, setup),
		cmocka_unit_test(test_upload_dies),
		cmocka_unit_test_setup(test_expires_before_the_close, setup),
		cmocka_unit_test_setup(test_expires_again_and_again, setup),
		cmocka_unit_test_setup(test_background_retry, setup),
		cmocka_unit_test_setup(test_many_closes, setup),
		cmocka_unit_test_setup(test_failed_then_written_anew, setup),
		cmocka_unit_test_setup(test_drop_after_failure, setup),
		cmocka_unit_test_setup(test_read_fails, setup),
		cmocka_unit_test_setup(test_held_again_while_completing, setup),
		cmocka_unit_test_setup(test_record_cannot_be_written, setup),
		cmocka_unit_test_setup(test_recover_writing, setup),
		cmocka_unit_test_setup(test_recover_held, setup),
		cmocka_unit_test_setup(test_recover_sealed, setup),
		cmocka_unit_test_setup(test_recover_sealed_too_late, setup),
		cmocka_unit_test_setup(test_recover_completing, setup),
		cmocka_unit_test_setup(test_recover_completing_in_vain, setup),
		cmocka_unit_test_setup(test_recover_completed, setup),
		cmocka_unit_test_setup(test_recover_failed, setup),
		cmocka_unit_test_setup(test_recover_empty, setup),
		cmocka_unit_test_setup(test_recover_unsynced, setup),
		cmocka_unit_test(test_recover_unsynced_and_changed),
		cmocka_unit_test_setup(test_recover_unsynced_without_md5, setup),
		cmocka_unit_test_setup(test_recover_changed_in_doubt, setup),
		cmocka_unit_test_setup(test_recover_odd_records, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
