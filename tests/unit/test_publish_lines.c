/* uses: fake_api */
/* The publisher: a file whose lines have to be JSON objects, and are not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/state/files.h"
#include "tests/unit/publish_rig.h"

#define LINES 40000 /* many Parts and stretches */
#define WIDTH 28ULL /* bytes of a line */

static struct rig g;

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	return 0;
}

static void finish(struct pub *f)
{
	struct pub *const pubs[] = { f };

	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
	rig_close(&g, pubs, 1);
}

/* LINES lines. */
static void put_lines(struct pub *f)
{
	char *text = malloc(LINES * WIDTH + 1);

	for (unsigned i = 0; i < LINES; i++)
		snprintf(text + WIDTH * i, WIDTH + 1, "{\"n\":%5u,\"text\":\"abcdef\"}\n",
			 10000 + i);
	stage_put(f->st, 0, text, LINES * WIDTH);
	free(text);
}

static void put(struct pub *f, unsigned line, const char *text)
{
	stage_put(f->st, WIDTH * (line - 1), text, strlen(text));
}

static void check_refused(struct pub *f, const char *fault)
{
	struct publish_info info = pub_info(f);

	assert_string_equal(info.status, "failed");
	assert_int_equal(info.err, -EINVAL);
	assert_int_equal(info.retry_ms, 0);
	assert_int_equal(strncmp(info.error, fault, strlen(fault)), 0);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), 0);
	assert_int_equal(fake_api_uploads(g.api, API_UPLOAD_PENDING), 0);
}

static void check_published(struct pub *f)
{
	assert_string_equal(pub_info(f).status, "completed");
	assert_int_equal(fake_api_files(g.api), 1);
	pub_check_file(f, "a");
}

static void test_faults(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_set_check(f.p, true);
	put_lines(&f);
	put(&f, 30001, "{\"n\":x0000");
	assert_int_equal(pub_close(&f), -EINVAL);
	check_refused(&f, "line 30001: it is not JSON: \"x\" at byte 6");
	/* Mended, and others spoiled: what comes first is told. */
	pub_reopen(&f);
	put(&f, 30001, "{\"n\":40000");
	put(&f, LINES, "[\"n\":");
	put(&f, 3, "\n");
	assert_int_equal(pub_close(&f), -EINVAL);
	check_refused(&f, "line 3: it is blank");
	pub_reopen(&f);
	put(&f, 3, "{");
	assert_int_equal(pub_close(&f), -EINVAL);
	check_refused(&f, "line 40000: it is no JSON object");
	pub_reopen(&f);
	put(&f, LINES, "{\"n\":");
	assert_int_equal(pub_close(&f), 0);
	check_published(&f);
	finish(&f);
}

/* Parts had left before the fault came. */
static void test_streamed(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_predict(f.p, LINES * WIDTH);
	publish_set_check(f.p, true);
	put_lines(&f);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 3));
	assert_int_equal(staged_truncate(f.st, LINES * WIDTH - 2), 0);
	assert_int_equal(pub_close(&f), -EINVAL);
	check_refused(&f, "line 40000: it ends within its JSON object");
	finish(&f);
}

/* Switched on when all is written; off, which tries again by itself. */
static void test_switched(void **state)
{
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	put_lines(&f);
	put(&f, 2, "{{");
	publish_set_check(f.p, true);
	assert_int_equal(pub_close(&f), -EINVAL);
	check_refused(&f, "line 2: ");
	publish_set_check(f.p, false);
	pub_wait_ends(&f, 2);
	check_published(&f);
	finish(&f);
}

/* The row has it when the call returns, with no help of the publisher's thread. */
static void test_recorded(void **state)
{
	struct record r;
	struct pub f;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	put_lines(&f);
	put(&f, 2, "{{");
	publish_set_check(f.p, true);
	assert_int_equal(pub_close(&f), -EINVAL);
	pub_reopen(&f);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(publish_set_check(f.p, i % 2), 0);
		assert_int_equal(files_load(g.area.db, staged_id(f.st), &r), 0);
		assert_int_equal(r.check, i % 2);
		record_release(&r);
	}
	finish(&f);
}

/* The next daemon neither sends it nor forgets why; what was closed before that is checked. */
static void test_restart(void **state)
{
	struct pub f, again;
	struct pub *const pubs[] = { &f };
	char id[64];

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	publish_set_check(f.p, true);
	put_lines(&f);
	put(&f, 7, "7");
	assert_int_equal(pub_close(&f), -EINVAL);
	snprintf(id, sizeof(id), "%s", staged_id(f.st));
	rig_crash(&g, pubs, 1);
	rig_restart(&g);
	pub_recover(&g, &again, id, "a", NULL);
	check_refused(&again, "line 7: ");
	assert_int_equal(pub_close(&again), -EINVAL);
	check_refused(&again, "line 7: ");
	finish(&again);
}

/* Under a temporary name it fails at the close already. */
static void test_held(void **state)
{
	struct told t;
	struct pub f;

	(void)state;
	pub_new(&g, &f, ".a.XXXXXX", "a", NULL);
	publish_set_check(f.p, true);
	put_lines(&f);
	put(&f, 1, "\"\"");
	staged_seal(f.st);
	assert_int_equal(publish_hold(f.p, "a", 60), 0);
	pub_wait(&f, &t, UNTIL_KEPT);
	assert_int_equal(told_err(&t), -EINVAL);
	check_refused(&f, "line 1: ");
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_faults, setup),
		cmocka_unit_test_setup(test_streamed, setup),
		cmocka_unit_test_setup(test_switched, setup),
		cmocka_unit_test_setup(test_recorded, setup),
		cmocka_unit_test_setup(test_restart, setup),
		cmocka_unit_test_setup(test_held, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
