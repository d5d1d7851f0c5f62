/* uses: fake_api */
/* A complete in doubt: what is kept of it and of the service, and look-alikes of the same host. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/state/files.h"
#include "fs/state/learned.h"
#include "net/base/clock.h"
#include "tests/unit/publish_rig.h"

#define BYTES 100
#define EVER 1000000
#define LAG_MS (3600 * 1000) /* longer than any close waits */

static struct rig g;
static int setup(void **state)
{
	(void)state;
	rig_clock_run();
	rig_open(&g);
	return 0;
}

static void lose_completes(void)
{
	/* Nothing is done, and nobody knows: with a 2xx it would be known. */
	struct api_error err = fake_api_error(API_ERR_BAD_REPLY, 0, "", "nonsense");

	fake_api_fail(g.api, FAKE_COMPLETE, 1, EVER, &err);
}

/* ---- Files that were listed before ---- */

static char listed[API_ID_MAX + 1];

static void each_listed(void *arg, const char *purpose, const char *filename, uint64_t bytes,
			void (*fn)(void *fn_arg, const char *id), void *fn_arg)
{
	(void)arg;
	assert_string_equal(purpose, "user_data");
	assert_string_equal(filename, "a");
	assert_int_equal(bytes, BYTES);
	fn(fn_arg, listed);
}

/* The publisher anew, with what it asks about listings, or without. */
static void renew(bool lists)
{
	publisher_stop(g.pr, false);
	publisher_free(g.pr);
	g.cfg.each_listed = lists ? each_listed : NULL;
	assert_int_equal(publisher_new(&g.cfg, &g.pr), 0);
}

/* Another File has our name, size and bytes, and was listed when complete was asked. */
static void listed_before(bool crash)
{
	char bytes[BYTES], id[64];
	struct pub f;
	struct pub *const pubs[] = { &f };

	setup(NULL);
	/* A service whose Files have any second since their Uploads. */
	assert_int_equal(learned_define(g.area.db), 0);
	assert_int_equal(learned_set(g.area.db, "fake", "created_at", CREATED_LATER), 0);
	renew(true);
	g.hurry = true;
	lose_completes();
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	/* Its second comes after the Upload's: the fake counts. */
	publish_predict(f.p, BYTES);
	assert_true(fake_api_wait_done(g.api, FAKE_CREATE, 1));
	assert_int_equal(pread(staged_fd(f.st), bytes, BYTES, 0), BYTES);
	fake_api_add_file(g.api, "a", "user_data", bytes, BYTES, listed);
	assert_int_equal(pub_close(&f), -EIO);
	assert_int_equal(fake_api_files(g.api), 1);
	if (crash) {
		rig_crash(&g, pubs, 1);
		g.cfg.each_listed = NULL;
		rig_restart(&g);
		pub_recover(&g, &f, id, "a", NULL);
		pub_wait_ends(&f, 1);
		assert_string_equal(pub_info(&f).status, "failed");
	}
	fake_api_fail_clear(g.api);
	assert_int_equal(pub_close(&f), 0);
	assert_string_not_equal(f.file_id, listed);
	assert_int_equal(fake_api_files(g.api), 2);
	rig_close(&g, pubs, 1);
}

static void test_listed_before(void **state)
{
	(void)state;
	listed_before(false);
	listed_before(true);
}

/* What the next daemon needs to end the doubt about an Upload of bytes with that MD5. */
static void check_row_in_doubt(const char *id, const char *upload, const char *md5)
{
	struct record r;

	assert_int_equal(files_load(g.area.db, id, &r), 0);
	assert_int_equal(r.state, RECORD_WRITING);
	assert_true(r.in_doubt);
	assert_non_null(r.doubt_md5);
	assert_string_equal(r.doubt_md5, md5);
	assert_non_null(r.upload_id);
	assert_string_equal(r.upload_id, upload);
	assert_int_equal(r.upload_bytes, BYTES);
	record_release(&r);
}

/* Written again after a complete in doubt, and killed: the next daemon knows the doubt. */
static void written_again(bool cancels)
{
	struct api_error lost = fake_api_error(API_ERR_TIMEOUT, 0, "", "lost");
	char md5[DIGEST_HEX_SIZE], id[64], upload[API_ID_MAX + 1];
	struct pub f;
	struct pub *const pubs[] = { &f };

	setup(NULL);
	g.hurry = true;
	lose_completes();
	if (!cancels)
		fake_api_fail(g.api, FAKE_CANCEL, 1, EVER, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	assert_int_equal(pub_close(&f), -EIO);
	assert_int_equal(staged_md5(f.st, md5), 0);
	snprintf(upload, sizeof(upload), "%s", pub_info(&f).upload_id);
	assert_true(publish_reopen(f.p));
	/* A kill here leaves this row. */
	check_row_in_doubt(id, upload, md5);
	/* And one after the publisher's thread has seen the change, this one. */
	rig_crash(&g, pubs, 1);
	check_row_in_doubt(id, upload, md5);
	rig_restart(&g);
	rig_close(&g, pubs, 0);
}

static void test_written_again(void **state)
{
	(void)state;
	written_again(false);
	written_again(true);
}

/* The same, and the File shows after the kill: it goes when the new bytes are a File. */
static void test_written_again_and_found(void **state)
{
	struct api_error lost = fake_api_error(API_ERR_TIMEOUT, 0, "", "lost");
	char id[64], upload[API_ID_MAX + 1], md5[DIGEST_HEX_SIZE];
	struct pub f;
	struct pub *const pubs[] = { &f };

	(void)state;
	lost.maybe_applied = true;
	lost.attempts = 1;
	g.hurry = true;
	fake_api_dated(g.api, true);
	fake_api_lag(g.api, LAG_MS);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, EVER, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	assert_int_equal(pub_close(&f), -ETIMEDOUT);
	assert_int_equal(fake_api_files(g.api), 1);
	assert_int_equal(staged_md5(f.st, md5), 0);
	snprintf(upload, sizeof(upload), "%s", pub_info(&f).upload_id);
	assert_true(publish_reopen(f.p));
	check_row_in_doubt(id, upload, md5);
	rig_crash(&g, pubs, 1);
	fake_api_fail_clear(g.api);
	rig_restart(&g);
	pub_recover(&g, &f, id, "a", NULL);
	pub_reopen(&f);
	stage_fill(f.st, 0, BYTES, 2);
	fake_api_lag(g.api, 0);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(fake_api_files(g.api), 1);
	rig_close(&g, pubs, 1);
}

/* Lose the reply to complete; the File shows only after fake_api_lag(0). */
static void lose_reply(struct pub *f, char id[64])
{
	struct api_error lost = fake_api_error(API_ERR_TIMEOUT, 0, "", "lost");

	lost.maybe_applied = true;
	lost.attempts = 1;
	g.hurry = true;
	fake_api_dated(g.api, true);
	fake_api_lag(g.api, LAG_MS);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, EVER, &lost);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, BYTES, 1);
	snprintf(id, 64, "%s", staged_id(f->st));
	assert_int_equal(pub_close(f), -ETIMEDOUT);
	assert_int_equal(fake_api_files(g.api), 1);
}

static void restart(struct pub *f, const char *id)
{
	rig_crash(&g, &f, 1);
	fake_api_fail_clear(g.api);
	rig_restart(&g);
	fake_api_lag(g.api, 0);
	pub_recover(&g, f, id, "a", NULL);
}

/* Another lifetime is wished for in doubt: the File without it is found, over a kill, and goes. */
static void test_another_lifetime_in_doubt(void **state)
{
	struct record r;
	struct pub f;
	struct pub *const pubs[] = { &f };
	char id[64];

	(void)state;
	lose_reply(&f, id);
	assert_int_equal(publish_set_expiry(f.p, 7200), 0);
	assert_int_equal(publish_set_mime(f.p, "text/x-mine"), 0);
	/* It is in the row when the call returns, and the Upload's own is there, too. */
	assert_int_equal(files_load(g.area.db, id, &r), 0);
	assert_int_equal(r.expires_after, 7200);
	assert_int_equal(r.upload_expiry, 0);
	assert_string_equal(r.mime_type, "text/x-mine");
	assert_string_not_equal(r.upload_mime, "text/x-mine");
	record_release(&r);
	restart(&f, id);
	pub_wait_ends(&f, 1);
	assert_string_equal(pub_info(&f).status, "completed");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	assert_int_equal(fake_api_files(g.api), 1);
	rig_close(&g, pubs, 1);
}

/* The row is moved to another purpose in doubt: the File is looked for where it was made. */
static void test_another_purpose_in_doubt(void **state)
{
	struct pub f;
	struct pub *const pubs[] = { &f };
	char id[64];

	(void)state;
	lose_reply(&f, id);
	assert_int_equal(statedb_begin(g.area.db), 0);
	assert_int_equal(files_set_place(g.area.db, id, "batch", "a"), 0);
	assert_int_equal(statedb_commit(g.area.db, NULL), 0);
	restart(&f, id);
	pub_wait_ends(&f, 1);
	assert_int_equal(fake_api_files(g.api), 1);
	assert_string_equal(pub_info(&f).status, "completed");
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	rig_close(&g, pubs, 1);
}

/* A lifetime that is set while complete is under way: a File with it takes the place. */
static void test_lifetime_while_completing(void **state)
{
	struct told t;
	struct pub f;
	struct pub *const pubs[] = { &f };

	(void)state;
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	assert_int_equal(publish_set_expiry(f.p, 7200), 0);
	fake_api_release(g.api, FAKE_COMPLETE);
	assert_int_equal(told_err(&t), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	assert_int_equal(fake_api_files(g.api), 1);
	rig_close(&g, pubs, 1);
}

/* Of several Files only the one with the lifetime that was asked for is a candidate. */
static void test_lifetime(void **state)
{
	struct api_error lost = fake_api_error(API_ERR_TIMEOUT, 0, "", "lost");
	char bytes[BYTES];
	struct pub f;
	struct pub *const pubs[] = { &f };

	(void)state;
	rig_clock_stop();
	fake_api_dated(g.api, true);
	lost.maybe_applied = true;
	lost.attempts = 2;
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &lost);
	pub_new(&g, &f, "a", NULL, NULL);
	publish_set_expiry(f.p, 7200);
	stage_fill(f.st, 0, BYTES, 1);
	assert_int_equal(pread(staged_fd(f.st), bytes, BYTES, 0), BYTES);
	fake_api_add_file(g.api, "a", "user_data", bytes, BYTES, listed);
	assert_int_equal(pub_close(&f), 0);
	assert_string_not_equal(f.file_id, listed);
	assert_int_equal(fake_api_files(g.api), 2);
	rig_close(&g, pubs, 1);
}

/* ---- two of one host ---- */

static void test_never_the_same_second(void **state)
{
	struct pub one, two;
	struct pub *const pubs[] = { &one, &two };
	struct told t;

	(void)state;
	fake_api_dated(g.api, true);
	lose_completes();
	g.hurry = true;
	pub_new(&g, &one, "a", NULL, NULL);
	stage_fill(one.st, 0, BYTES, 1);
	assert_int_equal(pub_close(&one), -EIO);
	fake_api_fail_clear(g.api);
	g.hurry = false;
	rig_clock_stop();
	/* As if it had been made now. */
	one.p->upload.created_at = clock_wall_s();
	pub_new(&g, &two, "a", NULL, NULL);
	stage_fill(two.st, 0, BYTES, 2);
	staged_seal(two.st);
	publish_seal(two.p);
	pub_wait(&two, &t, UNTIL_ENDED);
	assert_true(fake_api_wait_done(g.api, FAKE_CANCEL, 1));
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	rig_clock_advance(1000);
	publish_set_owner(two.p, 0644, 2, 2);
	assert_int_equal(told_err(&t), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 3);
	assert_int_not_equal(one.p->upload.created_at, two.p->upload.created_at);
	rig_close(&g, pubs, 2);
}

/* ---- what the service does with created_at ---- */

static int64_t learned(void)
{
	int64_t n = -1;
	int r = learned_get(g.area.db, "fake", "created_at", &n);

	assert_true(r == 0 || r == -ENOENT);
	return n;
}

static void publish_one(struct pub *f, uint64_t open_ms)
{
	unsigned parts = fake_api_calls(g.api, FAKE_PART);

	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, BYTES, 1);
	staged_seal(f->st);
	publish_seal(f->p);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, parts + 1));
	rig_clock_advance(open_ms);
	fake_api_release(g.api, FAKE_PART);
	pub_wait_ends(f, 1);
	assert_int_equal(atomic_load(&f->outcome), OUTCOME_COMPLETED);
}

/* An Upload of a moment proves nothing; a File with another second does, for good. */
static void test_created_at_is_learned(void **state)
{
	struct pub f[4];
	struct pub *const pubs[] = { &f[2], &f[3] };

	(void)state;
	rig_clock_stop();
	fake_api_dated(g.api, true);
	publish_one(&f[0], 10);
	assert_int_equal(learned(), -1);
	publish_one(&f[1], 3000);
	assert_int_equal(learned(), 1);
	rig_crash(&g, (struct pub *const[]){ &f[0], &f[1] }, 2);
	rig_restart(&g);
	assert_int_equal(g.pr->service.created_at, CREATED_WITH_UPLOAD);
	fake_api_dated(g.api, false);
	publish_one(&f[2], 3000);
	assert_int_equal(learned(), 2);
	fake_api_dated(g.api, true);
	publish_one(&f[3], 3000);
	assert_int_equal(learned(), 2);
	rig_close(&g, pubs, 2);
}

/* ---- user.upload.publish ---- */

/* The service answers a complete with success, and no File comes of it. */
static void spoil_one_complete(void)
{
	struct api_error err = fake_api_error(API_ERR_BAD_REPLY, 200, "", "nonsense");

	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1, &err);
}

static void end_forced(struct pub *f)
{
	struct pub *const pubs[] = { f };

	assert_int_equal(fake_api_files(g.api), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 2);
	rig_close(&g, pubs, 1);
}

static bool is_looked_for(void *arg)
{
	unsigned before = *(unsigned *)arg;

	return fake_api_calls(g.api, FAKE_LIST) > before;
}

/* A look by itself is under way: its end is not the answer to what was asked meanwhile. */
static void test_forced_while_it_is_looked_for(void **state)
{
	struct told told;
	unsigned looks;
	struct pub f;

	(void)state;
	g.hurry = true;
	spoil_one_complete();
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	assert_int_equal(pub_close(&f), -EIO);
	fake_api_hold(g.api, FAKE_LIST, FAKE_HOLD_WORK);
	looks = fake_api_calls(g.api, FAKE_LIST);
	rig_wait(&g, f.p, is_looked_for, &looks);
	assert_true(pub_info(&f).under_way);
	publish_force(f.p);
	pub_wait(&f, &told, UNTIL_ENDED);
	fake_api_release(g.api, FAKE_LIST);
	assert_int_equal(told_err(&told), 0);
	end_forced(&f);
}

static void (*pub_ended)(void *arg, struct publish *p, const struct publish_result *r);

static void force_at_the_end(void *arg, struct publish *p, const struct publish_result *r)
{
	pub_ended(arg, p, r);
	p->owner.ended = pub_ended;
	publish_force(p);
}

/* The look has decided to fail: another one follows. */
static void test_forced_too_late_for_a_look(void **state)
{
	struct pub f;

	(void)state;
	g.hurry = true;
	spoil_one_complete();
	pub_new(&g, &f, "a", NULL, NULL);
	pub_ended = f.p->owner.ended;
	f.p->owner.ended = force_at_the_end;
	stage_fill(f.st, 0, BYTES, 1);
	assert_int_equal(pub_close(&f), 0);
	end_forced(&f);
}

/* What was asked before the doubt does not end it. */
static void test_forced_before_the_doubt(void **state)
{
	struct pub f;
	struct pub *const pubs[] = { &f };

	(void)state;
	g.hurry = true;
	spoil_one_complete();
	fake_api_hold(g.api, FAKE_COMPLETE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, BYTES, 1);
	staged_seal(f.st);
	publish_seal(f.p);
	assert_true(fake_api_wait_calls(g.api, FAKE_COMPLETE, 1));
	publish_force(f.p);
	fake_api_release(g.api, FAKE_COMPLETE);
	pub_wait_ends(&f, 1);
	assert_int_equal(pub_info(&f).err, -EIO);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	rig_close(&g, pubs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listed_before),
		cmocka_unit_test(test_written_again),
		cmocka_unit_test_setup(test_written_again_and_found, setup),
		cmocka_unit_test_setup(test_another_lifetime_in_doubt, setup),
		cmocka_unit_test_setup(test_another_purpose_in_doubt, setup),
		cmocka_unit_test_setup(test_lifetime_while_completing, setup),
		cmocka_unit_test_setup(test_lifetime, setup),
		cmocka_unit_test_setup(test_never_the_same_second, setup),
		cmocka_unit_test_setup(test_created_at_is_learned, setup),
		cmocka_unit_test_setup(test_forced_while_it_is_looked_for, setup),
		cmocka_unit_test_setup(test_forced_too_late_for_a_look, setup),
		cmocka_unit_test_setup(test_forced_before_the_doubt, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
