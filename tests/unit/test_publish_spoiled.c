/* uses: fake_api */
/*
 * Bytes on the disk that are not those that were closed: a power cut, or damage. The row keeps the
 * MD5 of what was closed and is not told that others are synced, so that each later daemon sees the
 * difference and publishes nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define BYTES 100

static struct rig g;
static char id[24];

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	return 0;
}

static void crash(struct pub *f)
{
	struct pub *pubs[] = { f };

	snprintf(id, sizeof(id), "%s", staged_id(f->st));
	rig_crash(&g, pubs, 1);
	fake_api_fail_clear(g.api);
}

/* Closed, in vain, and its daemon is dead; ret_md5: what its row says then. */
static void close_in_vain(struct pub *f, bool synced, char ret_md5[DIGEST_HEX_SIZE])
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 401, "", "key");
	struct record r;

	/* By then its MD5 is known. */
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 1000, &err);
	pub_new(&g, f, "a", NULL, NULL);
	stage_fill(f->st, 0, BYTES, 1);
	assert_int_equal(pub_close(f), -EACCES);
	crash(f);
	assert_true(rig_load_record(&g, id, &r));
	assert_non_null(r.md5);
	snprintf(ret_md5, DIGEST_HEX_SIZE, "%s", r.md5);
	r.synced = synced;
	rig_save_record(&g, id, &r);
	record_release(&r);
}

static void spoil(void)
{
	char path[160], x = 'x';
	FILE *data;

	snprintf(path, sizeof(path), "%s/%s.data", g.area.staging, id);
	data = fopen(path, "r+");
	assert_non_null(data);
	assert_int_equal(fseek(data, 7, SEEK_SET), 0);
	assert_int_equal(fwrite(&x, 1, 1, data), 1);
	assert_int_equal(fclose(data), 0);
}

static void check_row(const char *md5, bool synced)
{
	struct record r;

	assert_true(rig_load_record(&g, id, &r));
	/* An aborted file is published by its user alone, and needs none. */
	if (r.md5 || r.state != RECORD_ABORTED)
		assert_string_equal(r.md5, md5);
	assert_int_equal(r.synced, synced);
	record_release(&r);
}

/* The next daemon: published is nothing, and the row is as it was. */
static void next_daemon(const char *md5, bool synced, const char *status)
{
	unsigned asked = fake_api_calls(g.api, FAKE_COMPLETE);
	struct pub f;

	rig_restart(&g);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_status(&f, status);
	assert_int_equal(fake_api_files(g.api), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_COMPLETE), asked);
	crash(&f);
	check_row(md5, synced);
}

/* Not synced: the bytes are compared. */
static void test_power_cut(void **state)
{
	char md5[DIGEST_HEX_SIZE];
	struct pub f;

	(void)state;
	close_in_vain(&f, false, md5);
	spoil();
	next_daemon(md5, false, "aborted");
	next_daemon(md5, false, "aborted");
	rig_restart(&g);
	rig_close(&g, NULL, 0);
}

/* The end of a daemon syncs and saves what is not published: wrong bytes never count as synced. */
static void test_synced_all_the_same(void **state)
{
	char md5[DIGEST_HEX_SIZE];
	struct staged *st;
	struct record r;
	struct pub f;

	(void)state;
	close_in_vain(&f, false, md5);
	assert_int_equal(staged_open(g.area.sg, id, &r, &st), 0);
	staged_compared(st, false);
	assert_int_equal(staged_sync(st), 0);
	assert_int_equal(staged_save_record(st, &r, true), 0);
	check_row(md5, false);
	/* They were written anew. */
	staged_compared(st, true);
	assert_int_equal(staged_save_record(st, &r, true), 0);
	check_row(md5, true);
	record_release(&r);
	staged_unref(st);
	rig_restart(&g);
	rig_close(&g, NULL, 0);
}

/* A row that says more than an MD5 has: it is not taken. The sanitizer sees what was. */
static void test_long_md5(void **state)
{
	char md5[DIGEST_HEX_SIZE], *was, longer[DIGEST_HEX_SIZE + 1];
	struct record r;
	struct pub f;

	(void)state;
	close_in_vain(&f, true, md5);
	memset(longer, 'a', DIGEST_HEX_SIZE);
	longer[DIGEST_HEX_SIZE] = '\0';
	assert_true(rig_load_record(&g, id, &r));
	was = r.doubt_md5;
	r.state = RECORD_COMPLETING;
	r.in_doubt = 1;
	r.doubt_md5 = longer;
	rig_save_record(&g, id, &r);
	r.doubt_md5 = was;
	record_release(&r);
	rig_restart(&g);
	pub_recover(&g, &f, id, "a", NULL);
	pub_wait_status(&f, "completed");
	pub_check_file(&f, "a");
	crash(&f);
	rig_restart(&g);
	rig_close(&g, NULL, 0);
}

/* Synced, and believed: the difference is seen when they are hashed to be sent. */
static void test_damage(void **state)
{
	char md5[DIGEST_HEX_SIZE];
	struct pub f;

	(void)state;
	close_in_vain(&f, true, md5);
	spoil();
	next_daemon(md5, true, "failed");
	next_daemon(md5, true, "failed");
	rig_restart(&g);
	rig_close(&g, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_power_cut, setup),
		cmocka_unit_test_setup(test_synced_all_the_same, setup),
		cmocka_unit_test_setup(test_long_md5, setup),
		cmocka_unit_test_setup(test_damage, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
