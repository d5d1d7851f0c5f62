/* uses: fake_api */
/* The publisher: content that the replaced File has already makes no new File. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/state/known.h"
#include "fs/state/store.h"
#include "tests/unit/publish_rig.h"

#define KIB 1024ULL
/* An open file is hashed once it has 256 KiB. */
#define SIZE (600 * KIB)
#define PARTS 10

static struct rig g;
static char first[API_ID_MAX + 1]; /* the File that is replaced */

/* Pieces of a Part: the bytes depend on where a piece begins. */
static void fill(struct pub *f, uint64_t from, uint64_t to, unsigned seed)
{
	for (uint64_t at = from; at < to; at += RIG_PART)
		stage_fill(f->st, at, to - at < RIG_PART ? to - at : RIG_PART, seed);
}

/* A File "a" of SIZE bytes, made by this host. */
static void make_first(void)
{
	struct pub f;

	pub_new(&g, &f, "a", NULL, NULL);
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	memcpy(first, f.file_id, sizeof(first));
	assert_true(fake_api_wait_idle(g.api));
	staged_remove(f.st);
	pub_free(&f);
}

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	make_first();
	return 0;
}

static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f };

	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	rig_close(&g, pubs, 1);
}

/* The first File stands for f; creates and Parts so far. */
static void check_kept(struct pub *f, unsigned creates, unsigned parts)
{
	struct publish_info info = pub_info(f);
	struct record r;

	assert_string_equal(info.status, "completed");
	assert_string_equal(info.file_id, first);
	assert_string_equal(f->file_id, first);
	assert_int_equal(info.err, 0);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), creates);
	assert_int_equal(fake_api_calls(g.api, FAKE_PART), parts);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 1);
	assert_int_equal(fake_api_calls(g.api, FAKE_DELETE), 0);
	pub_load_record(f, &r);
	assert_int_equal(r.state, RECORD_COMPLETED);
	assert_string_equal(r.file_id, first);
	assert_int_equal(r.superseded_count, 0);
	record_release(&r);
}

/* f is another File than the first. */
static void check_sent(struct pub *f)
{
	assert_string_equal(pub_info(f).status, "completed");
	assert_string_not_equal(f->file_id, first);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(f, "a");
}

static void no_answer(void *arg, const struct api_error *err)
{
	(void)arg;
	(void)err;
}

/* Another host removes it. */
static void remove_first(void)
{
	api_req_unref(api_file_delete(g.api, first, no_answer, NULL));
	assert_true(fake_api_wait_idle(g.api));
}

static void test_same(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_kept(&f, 1, PARTS);
	assert_int_equal(fake_api_calls(g.api, FAKE_GET), 1);
	/* And once more, as it stays open. */
	pub_reopen(&f);
	fill(&f, 0, RIG_PART, 1);
	assert_int_equal(pub_close(&f), 0);
	check_kept(&f, 1, PARTS);
	/* Then other bytes replace it. */
	pub_reopen(&f);
	fill(&f, 0, RIG_PART, 2);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	finish(&f);
}

static void test_nothing_leaves(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	publish_predict(f.p, SIZE);
	fill(&f, 0, 6 * RIG_PART, 1);
	pub_wait_status(&f, "writing");
	fill(&f, 6 * RIG_PART, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_kept(&f, 1, PARTS);
	finish(&f);
}

/* At the end of the second Part all leave, before the close. */
static void test_difference(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	publish_predict(f.p, SIZE);
	fill(&f, 0, RIG_PART, 1);
	fill(&f, RIG_PART, 2 * RIG_PART, 9);
	fill(&f, 2 * RIG_PART, 5 * RIG_PART, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, PARTS + 5));
	pub_wait_status(&f, "streaming");
	fill(&f, 5 * RIG_PART, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	assert_int_equal(fake_api_calls(g.api, FAKE_GET), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 2);
	finish(&f);
}

static void test_last_byte(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	fill(&f, 0, SIZE, 1);
	stage_fill(f.st, SIZE - 1, 1, 3);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	assert_int_equal(fake_api_calls(g.api, FAKE_GET), 0);
	finish(&f);
}

static void test_other_size(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	publish_predict(f.p, SIZE + 4);
	fill(&f, 0, RIG_PART, 1);
	/* No File of this size is replaced: nothing is held. */
	assert_true(fake_api_wait_done(g.api, FAKE_PART, PARTS + 1));
	fill(&f, RIG_PART, SIZE, 1);
	stage_fill(f.st, SIZE, 4, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	finish(&f);
}

static void test_gone(void **state)
{
	struct pub f;

	(void)state;
	remove_first();
	pub_new(&g, &f, "a", NULL, first);
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	finish(&f);
}

static void test_no_answer(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 500, NULL, "broken");
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	fill(&f, 0, SIZE, 1);
	fake_api_fail(g.api, FAKE_GET, 1, 1, &err);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	finish(&f);
}

/* It is what would be made in every respect, or it is not the same. */
static void test_other_kind(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	publish_set_mime(f.p, "text/other");
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	memcpy(first, f.file_id, sizeof(first));
	pub_reopen(&f);
	publish_set_expiry(f.p, 3600);
	fill(&f, 0, RIG_PART, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	memcpy(first, f.file_id, sizeof(first));
	pub_reopen(&f);
	assert_int_equal(publish_rename(f.p, "user_data", "b", NULL), 0);
	fill(&f, 0, RIG_PART, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_string_not_equal(f.file_id, first);
	assert_int_equal(fake_api_calls(g.api, FAKE_GET), 0);
	finish(&f);
}

static void test_resend(void **state)
{
	struct pub f;

	(void)state;
	rig_crash(&g, NULL, 0);
	g.cfg.resend = true;
	rig_restart(&g);
	pub_new(&g, &f, "a", NULL, first);
	publish_predict(f.p, SIZE);
	fill(&f, 0, RIG_PART, 1);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, PARTS + 1));
	fill(&f, RIG_PART, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_sent(&f);
	assert_int_equal(fake_api_calls(g.api, FAKE_GET), 0);
	finish(&f);
}

/* Kept across mounts, and compared by the steps it was made with. */
static void test_other_parts(void **state)
{
	struct known_file k;
	struct pub f;

	(void)state;
	assert_int_equal(known_get(g.area.db, first, &k), 0);
	assert_int_equal(k.step, RIG_PART);
	assert_int_equal(k.prefix_count, SIZE / RIG_PART);
	/* As if Parts had twice the size then. */
	k.prefix_count /= 2;
	for (size_t i = 0; i < k.prefix_count; i++)
		memmove(k.prefixes + i * DIGEST_SIZE, k.prefixes + (2 * i + 1) * DIGEST_SIZE,
			DIGEST_SIZE);
	k.step *= 2;
	assert_int_equal(known_put_later(g.area.db, first, "another", &k), 0);
	assert_int_equal(statedb_flush(g.area.db), 0);
	known_release(&k);
	rig_crash(&g, NULL, 0);
	rig_restart(&g);
	pub_new(&g, &f, "a", NULL, first);
	publish_predict(f.p, SIZE);
	fill(&f, 0, 6 * RIG_PART, 1);
	pub_wait_status(&f, "writing");
	fill(&f, 6 * RIG_PART, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_kept(&f, 1, PARTS);
	finish(&f);
}

/* Parts of other bytes had left; then it was written back to what it was. */
static void test_back_again(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	publish_predict(f.p, SIZE + 4);
	fill(&f, 0, RIG_PART, 7);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, PARTS + 1));
	publish_predict(f.p, 0);
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	check_kept(&f, 2, fake_api_calls(g.api, FAKE_PART));
	finish(&f);
}

/* As rsync: under a temporary name, which a rename ends. */
static void test_rename(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.XXXXXX", "a", NULL);
	publish_set_likely(f.p, first);
	fill(&f, 0, SIZE, 1);
	staged_seal(f.st);
	assert_int_equal(publish_hold(f.p, "a", 60), 0);
	pub_wait(&f, &t, UNTIL_KEPT);
	assert_int_equal(told_err(&t), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_CREATE), 1);
	assert_int_equal(publish_supersede(f.p, first), 0);
	assert_int_equal(publish_rename(f.p, "user_data", "a", NULL), 0);
	assert_int_equal(pub_close(&f), 0);
	/* The row of the vfs side has no part in this: its name is the former one. */
	check_kept(&f, 1, PARTS);
	finish(&f);
}

/* Without the rename nothing is replaced. */
static void test_no_rename(void **state)
{
	char id[API_ID_MAX + 1];
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.XXXXXX", "a", NULL);
	publish_set_likely(f.p, first);
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_string_not_equal(f.file_id, first);
	assert_int_equal(fake_api_files(g.api), 2);
	assert_true(fake_api_find(g.api, "a", 0, id));
	finish(&f);
}

/* Removed while the service is asked: its remover deletes the File, nobody else. */
static void test_removed(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	fill(&f, 0, SIZE, 1);
	fake_api_hold(g.api, FAKE_GET, FAKE_HOLD_REPLY);
	staged_seal(f.st);
	publish_seal(f.p);
	assert_true(fake_api_wait_calls(g.api, FAKE_GET, 1));
	publish_drop(f.p);
	fake_api_release(g.api, FAKE_GET);
	pub_wait_ends(&f, 1);
	assert_int_equal(f.outcome, OUTCOME_DROPPED);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_calls(g.api, FAKE_DELETE), 0);
	assert_int_equal(fake_api_files(g.api), 1);
	finish(&f);
}

/* A crash while the service is asked. */
static void test_crash(void **state)
{
	struct pub f, again;
	struct pub *const pubs[] = { &f };
	char id[64];

	(void)state;
	pub_new(&g, &f, "a", NULL, first);
	fill(&f, 0, SIZE, 1);
	fake_api_hold(g.api, FAKE_GET, FAKE_HOLD_WORK);
	staged_seal(f.st);
	publish_seal(f.p);
	assert_true(fake_api_wait_calls(g.api, FAKE_GET, 1));
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	rig_crash(&g, pubs, 1);
	rig_restart(&g);
	pub_recover(&g, &again, id, "a", NULL);
	pub_wait_ends(&again, 1);
	check_kept(&again, 1, PARTS);
	/* And the next one finds a File, and none to delete. */
	rig_crash(&g, (struct pub *const[]){ &again }, 1);
	rig_restart(&g);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_ends(&f, 1);
	assert_string_equal(f.file_id, first);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 1);
	finish(&f);
}

/* A File of other bytes that this host did not make is not believed. */
static void test_stranger(void **state)
{
	char id[API_ID_MAX + 1], *bytes = calloc(1, SIZE);
	struct pub f;

	(void)state;
	fake_api_add_file(g.api, "a", "user_data", bytes, SIZE, id);
	pub_new(&g, &f, "a", NULL, id);
	fill(&f, 0, SIZE, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_string_not_equal(f.file_id, id);
	assert_string_not_equal(f.file_id, first);
	assert_int_equal(fake_api_calls(g.api, FAKE_GET), 0);
	free(bytes);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_same, setup),
		cmocka_unit_test_setup(test_nothing_leaves, setup),
		cmocka_unit_test_setup(test_difference, setup),
		cmocka_unit_test_setup(test_last_byte, setup),
		cmocka_unit_test_setup(test_other_size, setup),
		cmocka_unit_test_setup(test_gone, setup),
		cmocka_unit_test_setup(test_no_answer, setup),
		cmocka_unit_test_setup(test_other_kind, setup),
		cmocka_unit_test_setup(test_resend, setup),
		cmocka_unit_test_setup(test_other_parts, setup),
		cmocka_unit_test_setup(test_back_again, setup),
		cmocka_unit_test_setup(test_rename, setup),
		cmocka_unit_test_setup(test_no_rename, setup),
		cmocka_unit_test_setup(test_removed, setup),
		cmocka_unit_test_setup(test_crash, setup),
		cmocka_unit_test_setup(test_stranger, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
