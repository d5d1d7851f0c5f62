/* uses: fake_api */
/* The status document and the metrics: names, order, numbers, bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/content/cache.h"
#include "fs/status/json.h"
#include "net/base/json.h"
#include "tests/unit/publish_rig.h"

static struct rig g;
static struct cache *cache;
static struct status_source src;

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	assert_int_equal(cache_open(g.area.data, g.area.db, 1000, &cache), 0);
	src = (struct status_source){ .mountpoint = "/mnt/a \"b\"",
				      .service = "http://127.0.0.1:1/v1",
				      .state_dir = g.area.dir,
				      .started = 1000,
				      .cache_max = 1000,
				      .api = g.api,
				      .publisher = g.pr,
				      .staging = g.area.sg,
				      .cache = cache,
				      .md5 = g.area.pool,
				      .disk = g.disk };
	return 0;
}

static void finish(struct pub *const *pubs, size_t count)
{
	cache_close(cache);
	assert_true(fake_api_wait_idle(g.api));
	rig_close(&g, pubs, count);
}

/* The document, parsed; to be freed. */
static struct json *document(void)
{
	struct json *root = NULL;
	struct buf b;

	buf_init(&b, STATUS_TEXT_MAX);
	assert_int_equal(status_json(&src, &b), 0);
	assert_int_equal(json_parse(b.data, b.len, &root), 0);
	buf_release(&b);
	return root;
}

static uint64_t number(const struct json *obj, const char *key)
{
	uint64_t n = 0;

	assert_int_equal(json_u64(json_get(obj, key), &n), 0);
	return n;
}

static const struct json *file_at(const struct json *root, size_t n)
{
	const struct json *f = json_first(json_get(root, "files"));

	while (f && n--)
		f = json_next(f);
	assert_non_null(f);
	return f;
}

static void test_idle(void **state)
{
	struct json *root = document();

	(void)state;
	assert_string_equal(json_get_str(root, "mountpoint"), "/mnt/a \"b\"");
	assert_true(json_is_null(json_get(root, "purpose")));
	assert_int_equal(json_len(json_get(root, "files")), 0);
	assert_int_equal(number(root, "started"), 1000);
	assert_true(json_is_null(json_get(json_get(root, "space"), "staging_max")));
	assert_int_equal(number(json_get(root, "space"), "cache_max"), 1000);
	json_free(root);
	finish(NULL, 0);
}

/* One that is written, one that failed, one removed, one with a name that needs escapes. */
static void test_files(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 400, "odd", "a \"quoted\"\nreason");
	struct pub a, b, c, d;
	struct pub *const pubs[] = { &a, &b, &c, &d };
	struct json *root;

	(void)state;
	pub_new(&g, &a, "z\"\\\xc3\xa9", NULL, NULL);
	pub_new(&g, &b, "failed", NULL, NULL);
	pub_new(&g, &c, "removed", NULL, NULL);
	pub_new(&g, &d, "done", NULL, NULL);
	stage_fill(a.st, 0, 100, 1);
	stage_fill(b.st, 0, RIG_PART + 1, 2);
	stage_fill(d.st, 0, 10, 3);
	assert_int_equal(pub_close(&d), 0);
	fake_api_fail(g.api, FAKE_COMPLETE, 1, 9, &err);
	assert_int_equal(pub_close(&b), -EINVAL);
	publish_drop(c.p);
	root = document();
	assert_int_equal(json_len(json_get(root, "files")), 2);
	assert_string_equal(json_get_str(file_at(root, 0), "path"), "user_data/z\"\\\xc3\xa9");
	assert_string_equal(json_get_str(file_at(root, 0), "status"), "writing");
	assert_int_equal(number(file_at(root, 0), "size"), 100);
	assert_string_equal(json_get_str(file_at(root, 1), "status"), "failed");
	assert_string_equal(json_get_str(file_at(root, 1), "errno"), "EINVAL");
	assert_int_equal(number(file_at(root, 1), "http_status"), 400);
	assert_non_null(strstr(json_get_str(file_at(root, 1), "error"), "quoted"));
	/* A refusal of the file is not tried again by itself. */
	assert_true(json_is_null(json_get(file_at(root, 1), "next_try")));
	assert_int_equal(number(json_get(root, "totals"), "completed"), 1);
	assert_int_equal(number(json_get(root, "totals"), "failed"), 1);
	assert_int_equal(number(json_get(root, "totals"), "size"), RIG_PART + 101);
	json_free(root);
	/* With a purpose as the root its name is no part of the path. */
	src.purpose = "user_data";
	root = document();
	assert_string_equal(json_get_str(file_at(root, 1), "path"), "failed");
	json_free(root);
	publish_drop(a.p);
	publish_drop(b.p);
	pub_wait_ends(&a, 1);
	pub_wait_ends(&b, 2);
	pub_wait_ends(&c, 1);
	finish(pubs, 4);
}

/* Bytes of Parts that are in count as sent. */
static void test_parts(void **state)
{
	struct pub f;
	struct pub *const pubs[] = { &f };
	struct publish_rows rows;

	(void)state;
	pub_new(&g, &f, "f", NULL, NULL);
	stage_fill(f.st, 0, 2 * RIG_PART + 5, 1);
	assert_int_equal(publisher_list(g.pr, &rows), 0);
	assert_int_equal(rows.count, 1);
	assert_int_equal(rows.v[0].info.sent_bytes, 0);
	assert_int_equal(rows.v[0].info.sending_ms, 0);
	publish_rows_free(&rows);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(publisher_list(g.pr, &rows), 0);
	assert_int_equal(rows.count, 1);
	assert_string_equal(rows.v[0].info.status, "completed");
	assert_int_equal(rows.v[0].info.sent_bytes, 2 * RIG_PART + 5);
	assert_int_equal(rows.v[0].info.parts_done, 3);
	assert_true(rows.v[0].info.sending_ms > 0);
	publish_rows_free(&rows);
	publish_rows_free(&rows); /* once more does no harm */
	finish(pubs, 1);
}

static void test_metrics(void **state)
{
	struct pub f;
	struct pub *const pubs[] = { &f };
	struct buf b;

	(void)state;
	pub_new(&g, &f, "f", NULL, NULL);
	stage_fill(f.st, 0, RIG_PART + 5, 1);
	assert_int_equal(pub_close(&f), 0);
	buf_init(&b, STATUS_TEXT_MAX);
	assert_int_equal(status_metrics(&src, &b), 0);
	assert_non_null(strstr(b.data, "\nuploadfs_parts_total 2\n"));
	assert_non_null(strstr(b.data, "\nuploadfs_publications_total{outcome=\"completed\"} 1\n"));
	assert_non_null(strstr(b.data, "\nuploadfs_publication_seconds_count 1\n"));
	assert_non_null(strstr(b.data, "\nuploadfs_published_bytes_total 65541\n"));
	buf_release(&b);
	/* What does not fit is an error, not a part of the text. */
	buf_init(&b, 100);
	assert_int_equal(status_metrics(&src, &b), -EMSGSIZE);
	buf_release(&b);
	buf_init(&b, 100);
	assert_int_equal(status_json(&src, &b), -EMSGSIZE);
	buf_release(&b);
	finish(pubs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_idle, setup),
		cmocka_unit_test_setup(test_files, setup),
		cmocka_unit_test_setup(test_parts, setup),
		cmocka_unit_test_setup(test_metrics, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
