/* uses: fake_api */
/* The publisher: sizes, rewrites, names, waiting, dropping, writing anew. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define KIB 1024ULL

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

/* Closes the rig when no Upload is left over. */
static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f };

	check_pending(0);
	rig_close(&g, pubs, 1);
}

/* Completed with parts Parts sent in calls calls; one File, the right bytes. */
static void check_done(struct pub *f, const char *name, unsigned parts, unsigned calls)
{
	struct publish_info info = pub_info(f);
	char md5[DIGEST_HEX_SIZE], id[API_ID_MAX + 1];

	assert_string_equal(info.status, "completed");
	assert_int_equal(info.outcome, OUTCOME_COMPLETED);
	assert_int_equal(info.err, 0);
	assert_int_equal(info.parts_total, parts);
	assert_int_equal(info.parts_done, parts);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), calls);
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(f, name);
	assert_true(fake_api_find(g.api, name, 0, id));
	assert_string_equal(info.file_id, id);
	assert_string_equal(f->file_id, id);
	assert_int_equal(staged_md5(f->st, md5), 0);
	assert_string_equal(info.md5, md5);
}

/* ---- sizes ---- */

static void test_unknown_size(void **state)
{
	struct fake_call call;
	struct pub f;

	(void)state;
	pub_new(&g, &f, "dir/a.txt", NULL, NULL);
	stage_fill(f.st, 0, 200 * KIB, 1);
	pub_wait_status(&f, "writing");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 0);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "dir/a.txt", 4, 4);
	assert_true(fake_api_call(g.api, FAKE_CREATE, 0, &call));
	assert_int_equal(call.len, 200 * KIB);
	assert_string_equal(call.purpose, "user_data");
	assert_true(fake_api_call(g.api, FAKE_COMPLETE, 0, &call));
	assert_string_equal(call.md5, pub_info(&f).md5);
	assert_int_equal(call.part_count, 4);
	assert_true(fake_api_active_max(g.api, FAKE_PART) <= 2);
	finish(&f);
}

static void test_predicted_right(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 150 * KIB);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	stage_fill(f.st, 0, 64 * KIB, 1);
	/* The first Part leaves before the rest is written. */
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	pub_wait_status(&f, "streaming");
	stage_fill(f.st, 64 * KIB, 86 * KIB, 1);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 3, 3);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	finish(&f);
}

static void test_predicted_too_small(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 100 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	stage_fill(f.st, 100 * KIB, 10 * KIB, 1);
	publish_predict(f.p, 0);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 4);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	finish(&f);
}

static void test_predicted_too_large(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 300 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 3);
	finish(&f);
}

static void test_declared(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_declare(f.p, 100 * KIB);
	stage_fill(f.st, 0, 70 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	/* Not what was declared: nothing is published, and nothing left pending. */
	assert_int_equal(pub_close(&f), -EIO);
	assert_string_equal(pub_info(&f).status, "failed");
	assert_non_null(strstr(pub_info(&f).error, "declared"));
	check_pending(0);
	assert_int_equal(fake_api_files(g.api), 0);
	/* The background does not wear the declaration down. */
	rig_clock_advance(31000);
	publish_set_owner(f.p, 0644, 0, 0);
	pub_wait_ends(&f, 2);
	assert_int_equal(pub_info(&f).err, -EIO);
	/* As user.upload.publish does it. */
	publish_declare(f.p, 0);
	assert_int_equal(pub_close(&f), 0);
	pub_check_file(&f, "a");
	finish(&f);
}

static void test_empty(void **state)
{
	struct record r;
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 10 * KIB);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	assert_int_equal(pub_close(&f), 0);
	assert_string_equal(pub_info(&f).status, "empty");
	assert_int_equal(fake_api_files(g.api), 0);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_EMPTY);
	record_release(&r);
	pub_reopen(&f);
	stage_fill(f.st, 0, 1, 1);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 1, 1);
	finish(&f);
}

static void test_hole(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 192 * KIB);
	stage_fill(f.st, 128 * KIB, 64 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 3, 3);
	finish(&f);
}

/* ---- rewriting ---- */

static void test_rewritten_after_it_was_sent(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 128 * KIB);
	stage_fill(f.st, 0, 128 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	stage_fill(f.st, 0, 100, 2);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 3);
	finish(&f);
}

static void test_rewritten_while_it_is_sent(void **state)
{
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 128 * KIB);
	stage_fill(f.st, 0, 64 * KIB, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 1));
	for (unsigned i = 2; i < 6; i++)
		stage_fill(f.st, 0, 100, i);
	fake_api_release(g.api, FAKE_PART);
	assert_true(fake_api_wait_idle(g.api));
	stage_fill(f.st, 64 * KIB, 64 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	/* It may be rewritten again: it is sent anew at the close, once. */
	stage_fill(f.st, 0, 100, 7);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 3);
	finish(&f);
}

static void test_write_under_way_at_the_close(void **state)
{
	struct told t;
	struct pub f;
	int fd;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10 * KIB, 1);
	assert_int_equal(staged_write_begin(f.st, 0, 5, &fd), 0);
	assert_false(staged_seal(f.st));
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_int_equal(pwrite(fd, "hello", 5, 0), 5);
	assert_int_equal(atomic_load(&t.calls), 0);
	staged_write_end(f.st, 0, 5, 5);
	assert_int_equal(told_err(&t), 0);
	check_done(&f, "a", 1, 1);
	finish(&f);
}

static void test_written_again(void **state)
{
	char first[API_ID_MAX + 1];
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_int_equal(pub_close(&f), 0);
	memcpy(first, f.file_id, sizeof(first));
	pub_reopen(&f);
	assert_string_equal(pub_info(&f).status, "writing");
	stage_fill(f.st, 100 * KIB, 100, 1);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 4);
	assert_string_not_equal(first, f.file_id);
	assert_int_equal(fake_api_file_bytes(g.api, first), UINT64_MAX);
	/* What was completed needed no cancel. */
	assert_int_equal(fake_api_calls(g.api, FAKE_CANCEL), 0);
	finish(&f);
}

static void test_keep_old(void **state)
{
	struct pub *const none[] = { NULL };
	char old[API_ID_MAX + 1];
	struct pub f;

	(void)state;
	rig_close(&g, none, 0);
	rig_open(&g);
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	g.cfg.keep_old = true;
	assert_int_equal(publisher_new(&g.cfg, &g.pr), 0);
	fake_api_add_file(g.api, "a", "user_data", "old", 3, old);
	pub_new(&g, &f, "a", NULL, old);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_files(g.api), 2);
	finish(&f);
}

static void test_no_reopen_under_way(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_false(publish_reopen(f.p));
	pub_wait_status(&f, "publishing");
	assert_false(publish_reopen(f.p));
	fake_api_release(g.api, FAKE_CREATE);
	assert_int_equal(told_err(&t), 0);
	finish(&f);
}

/* ---- the Upload's other properties ---- */

static void test_expiry_set_late(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 10);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	publish_set_expiry(f.p, 3600);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 2));
	publish_set_mime(f.p, "text/x-other");
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 3));
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 3);
	check_done(&f, "a", 1, 1);
	finish(&f);
}

/* ---- holding and renaming ---- */

/* Closes as rsync does: sealed, held, and told when it is durable. */
static void close_held(struct pub *f, const char *name, unsigned timeout_s)
{
	struct told t;

	staged_seal(f->st);
	assert_int_equal(publish_hold(f->p, name, timeout_s), 0);
	assert_string_equal(pub_info(f).status, "held");
	pub_wait(f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), 0);
	assert_string_equal(pub_info(f).status, "held");
}

static void test_hold_then_rename(void **state)
{
	struct record r;
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	publish_predict(f.p, 100 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	close_held(&f, "a", 60);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_HELD);
	assert_int_equal(r.size, 100 * KIB);
	record_release(&r);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 0);
	assert_int_equal(publish_rename(f.p, "user_data", "a", NULL), 0);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 2);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	finish(&f);
}

static void test_hold_then_rename_to_another(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	stage_fill(f.st, 0, 100 * KIB, 1);
	close_held(&f, "a", 60);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 2));
	assert_int_equal(publish_rename(f.p, "user_data", "b", NULL), 0);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "b", 2, 4);
	finish(&f);
}

static void test_hold_timeout(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	stage_fill(f.st, 0, 100, 1);
	close_held(&f, "a", 60);
	rig_clock_advance(59000);
	publish_set_owner(f.p, 0600, 0, 0);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	assert_int_equal(pub_info(&f).outcome, OUTCOME_NONE);
	rig_clock_advance(2000);
	publish_set_owner(f.p, 0600, 0, 0);
	pub_wait_ends(&f, 1);
	check_done(&f, ".a.AbCdEf", 1, 2);
	finish(&f);
}

/* user.upload.publish on what is held: under the name it has, not the one it was to get. */
static void test_hold_then_publish(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	stage_fill(f.st, 0, 100, 1);
	close_held(&f, "a", 60);
	assert_int_equal(pub_close(&f), 0);
	pub_check_file(&f, ".a.AbCdEf");
	assert_int_equal(fake_api_files(g.api), 1);
	finish(&f);
}

static void test_hold_then_written_on(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	stage_fill(f.st, 0, 100, 1);
	close_held(&f, "a", 60);
	pub_reopen(&f);
	stage_fill(f.st, 100, 100, 1);
	close_held(&f, "a", 60);
	assert_int_equal(publish_rename(f.p, "user_data", "a", NULL), 0);
	assert_int_equal(pub_close(&f), 0);
	pub_check_file(&f, "a");
	assert_int_equal(fake_api_files(g.api), 1);
	finish(&f);
}

static void test_hold_empty(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.AbCdEf", "a", NULL);
	close_held(&f, "a", 60);
	assert_int_equal(publish_rename(f.p, "user_data", "a", NULL), 0);
	assert_int_equal(pub_close(&f), 0);
	assert_string_equal(pub_info(&f).status, "empty");
	finish(&f);
}

static void test_renamed_while_streaming(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 100 * KIB);
	stage_fill(f.st, 0, 64 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	assert_int_equal(publish_rename(f.p, "batch", "b", NULL), 0);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	stage_fill(f.st, 64 * KIB, 36 * KIB, 1);
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "b", 2, 3);
	finish(&f);
}

/* The directory above is renamed while complete is under way. */
static void test_renamed_while_completing(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "d/a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	assert_int_equal(publish_rename(f.p, "user_data", "e/a", NULL), 0);
	fake_api_release(g.api, FAKE_COMPLETE);
	assert_int_equal(told_err(&t), 0);
	check_done(&f, "e/a", 1, 2);
	finish(&f);
}

/* ---- giving up ---- */

static void test_abort_and_go_on(void **state)
{
	struct record r;
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, 200 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	publish_abort(f.p, 0, false);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "aborted");
	check_pending(0);
	assert_int_equal(staged_size(f.st), 100 * KIB);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_ABORTED);
	record_release(&r);
	/* user.upload.publish: as it stands. */
	assert_int_equal(pub_close(&f), 0);
	check_done(&f, "a", 2, 3);
	finish(&f);
}

/* Somebody waits for his close when another writer of the file is killed. */
static void test_abort_after_the_close(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 1));
	publish_abort(f.p, 0, false);
	assert_int_equal(told_err(&t), -EIO);
	fake_api_release(g.api, FAKE_PART);
	check_pending(0);
	assert_int_equal(fake_api_files(g.api), 0);
	pub_reopen(&f);
	stage_fill(f.st, 0, 20, 2);
	assert_int_equal(pub_close(&f), 0);
	pub_check_file(&f, "a");
	finish(&f);
}

struct drop_case {
	const char *name;
	enum fake_op op; /* held when the drop comes */
	enum fake_hold how;
	bool lost;	  /* complete's reply was lost before */
	bool refuse_part; /* so that the Upload is probed */
	bool superseded;
};

static const struct drop_case drop_cases[] = {
	{ "creating", FAKE_CREATE, FAKE_HOLD_WORK, .lost = false },
	{ "created", FAKE_CREATE, FAKE_HOLD_REPLY, .lost = false },
	{ "sending", FAKE_PART, FAKE_HOLD_WORK, .lost = false },
	{ "sent", FAKE_PART, FAKE_HOLD_REPLY, .lost = false },
	{ "completing", FAKE_COMPLETE, FAKE_HOLD_WORK, .lost = false },
	{ "completed", FAKE_COMPLETE, FAKE_HOLD_REPLY, .lost = false },
	{ "lost", FAKE_COMPLETE, FAKE_HOLD_REPLY, .lost = true },
	{ "looking", FAKE_LIST, FAKE_HOLD_WORK, .lost = true },
	{ "found", FAKE_LIST, FAKE_HOLD_REPLY, .lost = true },
	{ "probing", FAKE_CANCEL, FAKE_HOLD_WORK, .refuse_part = true },
	{ "probed", FAKE_CANCEL, FAKE_HOLD_REPLY, .refuse_part = true },
	{ "deleting", FAKE_DELETE, FAKE_HOLD_REPLY, .superseded = true },
};

static char dropped_id[64];

static bool nothing_on_disk(void *arg)
{
	(void)arg;
	return !stage_exists(&g.area, dropped_id, ".data") &&
	       !stage_exists(&g.area, dropped_id, ".rec");
}

/* Closes f, and waits until the call of the case is held. */
static void close_until_held(const struct drop_case *c, struct pub *f, struct told *t)
{
	struct api_error lost = fake_api_error(API_ERR_CONNECT, 0, "", "the reply was lost");
	struct api_error refusal = fake_api_error(API_ERR_HTTP, 400, "", "no");
	char old[API_ID_MAX + 1];

	print_message("%s\n", c->name);
	rig_open(&g);
	lost.maybe_applied = true;
	if (c->lost)
		fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	if (c->refuse_part)
		fake_api_fail(g.api, FAKE_PART, 1, 1, &refusal);
	if (c->superseded)
		fake_api_add_file(g.api, "a", "user_data", "old", 3, old);
	fake_api_hold(g.api, c->op, c->how);
	pub_new(&g, f, "a", NULL, c->superseded ? old : NULL);
	snprintf(dropped_id, sizeof(dropped_id), "%s", staged_id(f->st));
	stage_fill(f->st, 0, 100, 1);
	staged_seal(f->st);
	publish_seal(f->p);
	pub_wait(f, t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, c->op, 1));
}

/* A rename that failed at its start: what it would have replaced stays. */
static void test_superseding_taken_back(void **state)
{
	char one[API_ID_MAX + 1], two[API_ID_MAX + 1], id[API_ID_MAX + 1];
	struct pub f;

	(void)state;
	fake_api_add_file(g.api, "b", "user_data", "one", 3, one);
	fake_api_add_file(g.api, "c", "user_data", "two", 3, two);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	assert_int_equal(publish_supersede(f.p, one), 0);
	assert_int_equal(publish_supersede(f.p, two), 0);
	publish_take_back(f.p, one);
	assert_int_equal(pub_close(&f), 0);
	assert_true(fake_api_find(g.api, "b", 0, id));
	assert_false(fake_api_find(g.api, "c", 0, id));
	assert_int_equal(fake_api_calls(g.api, FAKE_DELETE), 1);
	finish(&f);
}

static void drop_in(const struct drop_case *c)
{
	struct told t;
	struct pub f;

	close_until_held(c, &f, &t);
	publish_drop(f.p);
	fake_api_release(g.api, c->op);
	told_err(&t);
	pub_wait_ends(&f, 1);
	assert_int_equal(pub_info(&f).outcome == OUTCOME_DROPPED ||
				 atomic_load(&f.outcome) == OUTCOME_DROPPED,
			 true);
	rig_wait(&g, NULL, nothing_on_disk, NULL);
	check_pending(0);
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

/* Removed: either nothing of it is left, or the record says so. */
static bool removal_is_on_disk(void *arg)
{
	struct record r;
	bool removed;

	if (nothing_on_disk(arg))
		return true;
	if (!rig_load_record(&g, dropped_id, &r))
		return false;
	removed = r.state == RECORD_REMOVED;
	record_release(&r);
	return removed;
}

/* The daemon dies before the service has answered; the next one clears up. */
static void crash_after_drop(const struct drop_case *c)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	close_until_held(c, &f, &t);
	fake_api_hold(g.api, FAKE_OPS, FAKE_HOLD_WORK);
	publish_drop(f.p);
	rig_wait(&g, NULL, removal_is_on_disk, NULL);
	rig_crash(&g, pubs, 1);
	fake_api_fail_clear(g.api);
	rig_restart(&g);
	if (nothing_on_disk(NULL)) {
		/* The reply to create never came: nobody knows the Upload, and it expires. */
		assert_true(c->op == FAKE_CREATE);
		rig_close(&g, NULL, 0);
		return;
	}
	pub_recover(&g, &f, dropped_id, "a", NULL);
	rig_wait(&g, NULL, nothing_on_disk, NULL);
	pub_wait_ends(&f, 1);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	check_pending(0);
	assert_int_equal(fake_api_files(g.api), 0);
	finish(&f);
}

static void test_crash_after_drop_in_each_phase(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(drop_cases) / sizeof(drop_cases[0]); i++)
		crash_after_drop(&drop_cases[i]);
}

static void test_drop_in_each_phase(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(drop_cases) / sizeof(drop_cases[0]); i++)
		drop_in(&drop_cases[i]);
}

static void test_drop_open_file(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	snprintf(dropped_id, sizeof(dropped_id), "%s", staged_id(f.st));
	publish_predict(f.p, 200 * KIB);
	stage_fill(f.st, 0, 100 * KIB, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	publish_drop(f.p);
	pub_wait_ends(&f, 1);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	/* A crash from here on finds nothing; the open handle still writes and reads. */
	rig_wait(&g, NULL, nothing_on_disk, NULL);
	stage_fill(f.st, 100 * KIB, 100 * KIB, 1);
	assert_int_equal(staged_size(f.st), 200 * KIB);
	check_pending(0);
	assert_true(nothing_on_disk(NULL));
	finish(&f);
}

/* Its File is the file system's to delete: it may be needed until another one exists. */
static void test_drop_after_the_end(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), 0);
	publish_drop(f.p);
	pub_wait_ends(&f, 2);
	assert_int_equal(atomic_load(&f.outcome), OUTCOME_DROPPED);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_CANCEL), 0);
	finish(&f);
}

/* ---- waiting ---- */

static void test_waiters(void **state)
{
	struct told now, later, cancelled, durable;
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	pub_wait(&f, &now, UNTIL_ENDED); /* nothing is under way */
	assert_int_equal(told_err(&now), 0);
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &later, UNTIL_ENDED);
	pub_wait(&f, &cancelled, UNTIL_ENDED);
	pub_wait(&f, &durable, UNTIL_DURABLE);
	assert_int_equal(told_err(&durable), 0);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	assert_true(publish_wait_cancel(&cancelled.w));
	assert_false(publish_wait_cancel(&cancelled.w));
	pub_wait(&f, &durable, UNTIL_DURABLE); /* still is */
	assert_int_equal(told_err(&durable), 0);
	assert_int_equal(atomic_load(&later.calls), 0);
	fake_api_release(g.api, FAKE_COMPLETE);
	assert_int_equal(told_err(&later), 0);
	assert_false(publish_wait_cancel(&later.w));
	assert_int_equal(atomic_load(&cancelled.calls), 0);
	finish(&f);
}

static void test_durable_record(void **state)
{
	struct record r;
	struct told t;
	struct pub f;

	(void)state;
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), 0);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_SEALED);
	assert_int_equal(r.size, 10);
	record_release(&r);
	fake_api_release(g.api, FAKE_CREATE);
	pub_wait_ends(&f, 1);
	finish(&f);
}

static void test_stop_tells_waiters(void **state)
{
	struct pub f;
	struct pub *const pubs[] = { &f };
	struct told t;

	(void)state;
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_CREATE, 1));
	assert_int_equal(publisher_drain(g.pr, 0), 1);
	rig_close(&g, pubs, 1);
	assert_int_equal(atomic_load(&t.calls), 1);
	assert_int_equal(atomic_load(&t.err), -EINTR);
}

struct blocker {
	struct hash_job job;
	atomic_bool running, go;
};

static bool block(struct hash_job *job)
{
	struct blocker *b = (struct blocker *)job;

	atomic_store(&b->running, true);
	while (!atomic_load(&b->go))
		sched_yield();
	return false;
}

static bool is_running(void *arg)
{
	return atomic_load(&((struct blocker *)arg)->running);
}

/* A sync that the disk worker never came to must not keep the publication. */
static void test_stop_before_the_sync(void **state)
{
	struct blocker b = { .job.run = block };
	struct told late, durable;
	struct record r;
	struct pub f;

	(void)state;
	pool_queue(g.disk, &b.job);
	stage_wait(is_running, &b);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &durable, UNTIL_DURABLE);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 1));
	assert_int_equal(atomic_load(&durable.calls), 0);
	/* Closed, but the bytes may not survive a power cut: the record says so. */
	pub_load_record(&f, &r);
	assert_non_null(r.upload_id);
	assert_false(r.synced);
	record_release(&r);
	publisher_stop(g.pr, true);
	/* The end of the daemon does it. */
	pub_load_record(&f, &r);
	assert_true(r.synced);
	assert_int_equal(r.state, RECORD_SEALED);
	record_release(&r);
	/* A worker that goes on after that may begin a wait. */
	pub_wait(&f, &late, UNTIL_ENDED);
	assert_int_equal(atomic_load(&late.calls), 0);
	publisher_end_waits(g.pr);
	assert_int_equal(atomic_load(&late.calls), 1);
	assert_int_equal(atomic_load(&late.err), -EINTR);
	atomic_store(&b.go, true);
	pool_free(g.disk);
	fake_api_release(g.api, FAKE_OPS);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(atomic_load(&durable.err), -EINTR);
	pub_free(&f);
	assert_int_equal(atomic_load(&g.released), 1);
	publisher_free(g.pr);
	api_free(g.api);
	stage_area_close(&g.area);
}

static void test_drain_and_counts(void **state)
{
	struct pub f, held;
	struct pub *const pubs[] = { &f, &held };
	struct publisher_counts c;

	(void)state;
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	pub_new(&g, &held, ".b.AbCdEf", "b", NULL);
	stage_fill(f.st, 0, 10, 1);
	stage_fill(held.st, 0, 10, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	close_held(&held, "b", 60);
	assert_int_equal(publisher_drain(g.pr, 0), 2);
	publisher_get_counts(g.pr, &c);
	assert_int_equal(c.active, 1);
	assert_int_equal(c.held, 1);
	fake_api_release(g.api, FAKE_PART);
	/* Held ones are not waited for, but they are not published either. */
	assert_int_equal(publisher_drain(g.pr, 60), 1);
	publisher_get_counts(g.pr, &c);
	assert_int_equal(c.active, 0);
	assert_int_equal(c.completed, 1);
	publish_drop(held.p);
	assert_int_equal(publisher_drain(g.pr, 60), 0);
	pub_wait_ends(&held, 1);
	check_pending(0);
	rig_close(&g, pubs, 2);
}

/* ---- many at once ---- */

#define MANY 24

static struct pub many[MANY];

static void *live(void *arg)
{
	unsigned k = (unsigned)(uintptr_t)arg;
	struct pub *f = &many[k];
	char name[32];

	for (unsigned round = 0; round < 3; round++) {
		if (round && !publish_reopen(f->p))
			abort();
		staged_unseal(f->st);
		if (k % 3)
			publish_predict(f->p, 100 * KIB + (k % 3 == 2));
		for (unsigned i = 0; i < 10; i++)
			stage_fill(f->st, i * 10 * KIB, 10 * KIB, k + round);
		stage_fill(f->st, 0, 100, round + 100);
		if (k % 5 == 1)
			publish_abort(f->p, 0, false);
		if (k % 7 == 3) {
			snprintf(name, sizeof(name), "r%u-%u", k, round);
			publish_rename(f->p, "user_data", name, NULL);
		}
		if (k % 6 == 5 && round == 2) {
			publish_drop(f->p);
			break;
		}
		if (pub_close(f))
			abort();
	}
	return NULL;
}

static void test_many(void **state)
{
	struct pub *pubs[MANY];
	pthread_t threads[MANY];
	unsigned dropped = 0;
	char name[32];

	(void)state;
	for (unsigned k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), "f%u", k);
		pub_new(&g, &many[k], name, NULL, NULL);
		pubs[k] = &many[k];
	}
	for (unsigned k = 0; k < MANY; k++)
		assert_int_equal(pthread_create(&threads[k], NULL, live, (void *)(uintptr_t)k), 0);
	for (unsigned k = 0; k < MANY; k++)
		pthread_join(threads[k], NULL);
	assert_int_equal(publisher_drain(g.pr, 60), 0);
	for (unsigned k = 0; k < MANY; k++) {
		snprintf(name, sizeof(name), k % 7 == 3 ? "r%u-2" : "f%u", k);
		/* A file dropped after its publication keeps that File here. */
		if (k % 6 == 5)
			dropped++;
		else
			pub_check_file(&many[k], name);
	}
	assert_true(fake_api_files(g.api) <= MANY);
	assert_true(fake_api_files(g.api) >= MANY - dropped);
	check_pending(0);
	rig_close(&g, pubs, MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_unknown_size, setup),
		cmocka_unit_test_setup(test_predicted_right, setup),
		cmocka_unit_test_setup(test_predicted_too_small, setup),
		cmocka_unit_test_setup(test_predicted_too_large, setup),
		cmocka_unit_test_setup(test_declared, setup),
		cmocka_unit_test_setup(test_empty, setup),
		cmocka_unit_test_setup(test_hole, setup),
		cmocka_unit_test_setup(test_rewritten_after_it_was_sent, setup),
		cmocka_unit_test_setup(test_rewritten_while_it_is_sent, setup),
		cmocka_unit_test_setup(test_write_under_way_at_the_close, setup),
		cmocka_unit_test_setup(test_written_again, setup),
		cmocka_unit_test_setup(test_keep_old, setup),
		cmocka_unit_test_setup(test_no_reopen_under_way, setup),
		cmocka_unit_test_setup(test_expiry_set_late, setup),
		cmocka_unit_test_setup(test_hold_then_rename, setup),
		cmocka_unit_test_setup(test_hold_then_rename_to_another, setup),
		cmocka_unit_test_setup(test_hold_timeout, setup),
		cmocka_unit_test_setup(test_hold_then_publish, setup),
		cmocka_unit_test_setup(test_hold_then_written_on, setup),
		cmocka_unit_test_setup(test_hold_empty, setup),
		cmocka_unit_test_setup(test_renamed_while_streaming, setup),
		cmocka_unit_test_setup(test_renamed_while_completing, setup),
		cmocka_unit_test_setup(test_abort_and_go_on, setup),
		cmocka_unit_test_setup(test_abort_after_the_close, setup),
		cmocka_unit_test(test_drop_in_each_phase),
		cmocka_unit_test(test_crash_after_drop_in_each_phase),
		cmocka_unit_test_setup(test_drop_open_file, setup),
		cmocka_unit_test_setup(test_drop_after_the_end, setup),
		cmocka_unit_test_setup(test_waiters, setup),
		cmocka_unit_test_setup(test_durable_record, setup),
		cmocka_unit_test_setup(test_stop_tells_waiters, setup),
		cmocka_unit_test_setup(test_stop_before_the_sync, setup),
		cmocka_unit_test_setup(test_drain_and_counts, setup),
		cmocka_unit_test_setup(test_superseding_taken_back, setup),
		cmocka_unit_test_setup(test_many, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
