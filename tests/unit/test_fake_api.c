/* uses: fake_api */
/* The fake of net/api/api.h: what tests that stand on it rely on. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/fake_api.h"

/* What a callback told; one call at a time, read after fake_api_wait_idle(). */
static struct told {
	unsigned calls;
	struct api_error err;
	char id[API_ID_MAX + 1], file_id[API_ID_MAX + 1];
	enum api_upload_status status;
	uint64_t bytes;
	size_t count;
	bool has_more, ranged;
	char names[256];
} told;

static struct api *api;
static int fd;

static int setup(void **state)
{
	(void)state;
	api = fake_api_new();
	fd = memfd_create("body", MFD_CLOEXEC);
	return fd < 0 || pwrite(fd, "hello, world", 12, 0) != 12;
}

static int teardown(void **state)
{
	(void)state;
	api_free(api);
	return close(fd);
}

static void on_upload(void *arg, const struct api_error *err, const struct api_upload *up)
{
	(void)arg;
	told.calls++;
	told.err = *err;
	if (err->kind)
		return;
	snprintf(told.id, sizeof(told.id), "%s", up->id);
	told.status = up->status;
	told.bytes = up->bytes;
	snprintf(told.file_id, sizeof(told.file_id), "%s", up->has_file ? up->file.id : "");
}

static void on_part(void *arg, const struct api_error *err, const struct api_part *part)
{
	(void)arg;
	told.calls++;
	told.err = *err;
	if (!err->kind)
		snprintf(told.id, sizeof(told.id), "%s", part->id);
}

static void on_done(void *arg, const struct api_error *err)
{
	(void)arg;
	told.calls++;
	told.err = *err;
}

static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	on_done(arg, err);
	if (!err->kind)
		told.bytes = file->bytes;
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	size_t i, at = 0;

	on_done(arg, err);
	if (err->kind)
		return;
	told.count = page->count;
	told.has_more = page->has_more;
	snprintf(told.id, sizeof(told.id), "%s", page->last_id);
	for (i = 0; i < page->count; i++)
		at += (size_t)snprintf(told.names + at, sizeof(told.names) - at, "%s ",
				       page->files[i].filename);
}

/* Gives the request back and waits for its end. */
static void ends(struct api_req *r, enum api_err_kind kind)
{
	assert_non_null(r);
	assert_true(fake_api_wait_idle(api));
	api_req_unref(r);
	assert_int_equal(told.err.kind, kind);
}

static void create(uint64_t bytes, char ret_id[API_ID_MAX + 1])
{
	struct api_upload_spec spec = {
		.filename = "f.jsonl", .purpose = "batch", .mime_type = "text/jsonl", .bytes = bytes
	};

	ends(api_upload_create(api, &spec, on_upload, NULL), API_OK);
	assert_int_equal(told.status, API_UPLOAD_PENDING);
	memcpy(ret_id, told.id, sizeof(told.id));
}

static void part(const char *upload, uint64_t offset, uint64_t len, char ret_id[API_ID_MAX + 1])
{
	struct api_part_body body = { .fd = fd, .offset = offset, .len = len };

	ends(api_part_add(api, upload, &body, on_part, NULL), API_OK);
	memcpy(ret_id, told.id, sizeof(told.id));
}

static void complete(const char *upload, const char *one, const char *two, const char *md5,
		     enum api_err_kind kind)
{
	const char *ids[] = { one, two };

	ends(api_upload_complete(api, upload, ids, two ? 2 : 1, md5, 12, on_upload, NULL), kind);
}

static void test_upload(void **state)
{
	char up[API_ID_MAX + 1], a[API_ID_MAX + 1], b[API_ID_MAX + 1], text[16] = "";
	struct fake_call c;

	(void)state;
	create(12, up);
	part(up, 5, 7, b);
	part(up, 0, 5, a);
	complete(up, a, NULL, NULL, API_ERR_HTTP); /* bytes */
	assert_int_equal(told.err.http_status, 400);
	complete(up, a, a, NULL, API_ERR_HTTP);
	complete(up, a, "part_none", NULL, API_ERR_HTTP);
	complete(up, a, b, "00000000000000000000000000000000", API_ERR_HTTP);
	assert_int_equal(fake_api_uploads(api, API_UPLOAD_PENDING), 1);
	/* printf 'hello, world' | md5sum */
	complete(up, a, b, "e4d7f1b4ed2e42d15898f4b27b019da4", API_OK);
	assert_int_equal(told.status, API_UPLOAD_COMPLETED);
	assert_int_equal(fake_api_upload_status(api, up), API_UPLOAD_COMPLETED);
	assert_int_equal(fake_api_files(api), 1);
	assert_true(fake_api_find(api, "f.jsonl", 0, a));
	assert_false(fake_api_find(api, "f.jsonl", 1, a));
	assert_string_equal(a, told.file_id);
	assert_int_equal(fake_api_read(api, a, 0, text, sizeof(text)), 12);
	assert_string_equal(text, "hello, world");
	assert_int_equal(fake_api_calls(api, FAKE_COMPLETE), 5);
	assert_true(fake_api_call(api, FAKE_PART, 0, &c));
	assert_int_equal(c.offset, 5);
	assert_int_equal(c.len, 7);
	assert_string_equal(c.id, up);
	assert_true(c.done);
	ends(api_upload_cancel(api, up, on_upload, NULL), API_ERR_HTTP);
}

static void test_ends_of_uploads(void **state)
{
	struct api_part_body body = { .fd = fd, .offset = 10, .len = 3 };
	char up[API_ID_MAX + 1];

	(void)state;
	create(3, up);
	/* Less in the file than was said. */
	ends(api_part_add(api, up, &body, on_part, NULL), API_ERR_LOCAL);
	assert_int_equal(told.err.local_errno, -EIO);
	body.len = 2;
	ends(api_upload_cancel(api, up, on_upload, NULL), API_OK);
	assert_int_equal(told.status, API_UPLOAD_CANCELLED);
	ends(api_part_add(api, up, &body, on_part, NULL), API_ERR_HTTP);
	create(3, up);
	fake_api_upload_expire(api, up);
	ends(api_part_add(api, up, &body, on_part, NULL), API_ERR_HTTP);
	ends(api_part_add(api, "upload_none", &body, on_part, NULL), API_ERR_HTTP);
	assert_int_equal(told.err.http_status, 404);
}

static void test_faults(void **state)
{
	struct api_error lost = fake_api_error(API_ERR_CONNECT, 0, "", "reset");
	struct api_error busy = fake_api_error(API_ERR_HTTP, 503, "busy", "later");
	struct api_part_body body = { .fd = fd, .offset = 0, .len = 12 };
	char up[API_ID_MAX + 1], id[API_ID_MAX + 1];

	(void)state;
	create(12, up);
	fake_api_fail(api, FAKE_PART, 2, 2, &busy);
	part(up, 0, 12, id);
	ends(api_part_add(api, up, &body, on_part, NULL), API_ERR_HTTP);
	assert_int_equal(told.err.http_status, 503);
	assert_string_equal(told.err.code, "busy");
	ends(api_part_add(api, up, &body, on_part, NULL), API_ERR_HTTP);
	part(up, 0, 12, id);
	/* The reply is lost, the work is done. */
	lost.maybe_applied = true;
	fake_api_fail(api, FAKE_COMPLETE, 1, 1, &lost);
	complete(up, id, NULL, NULL, API_ERR_CONNECT);
	assert_true(told.err.maybe_applied);
	assert_int_equal(fake_api_files(api), 1);
	complete(up, id, NULL, NULL, API_ERR_HTTP);
	fake_api_fail(api, FAKE_GET, 1, 1, &busy);
	fake_api_fail_clear(api);
	assert_true(fake_api_find(api, "f.jsonl", 0, id));
	ends(api_file_get(api, id, on_file, NULL), API_OK);
	assert_int_equal(told.bytes, 12);
}

static void test_hold(void **state)
{
	struct api_upload_spec spec = { .filename = "f", .purpose = "batch", .bytes = 1 };
	struct api_req *r[3];
	unsigned i;

	(void)state;
	told.calls = 0;
	fake_api_hold(api, FAKE_CREATE, FAKE_HOLD_WORK);
	for (i = 0; i < 3; i++)
		r[i] = api_upload_create(api, &spec, on_upload, NULL);
	/* Another call passes. */
	fake_api_release_some(api, FAKE_CREATE, 1);
	assert_true(fake_api_wait_done(api, FAKE_CREATE, 1));
	assert_int_equal(fake_api_uploads(api, API_UPLOAD_PENDING), 1);
	api_req_cancel(r[1]);
	assert_true(fake_api_wait_done(api, FAKE_CREATE, 2));
	assert_int_equal(told.err.kind, API_ERR_CANCELLED);
	assert_int_equal(fake_api_active_max(api, FAKE_CREATE), 3);
	fake_api_release(api, FAKE_CREATE);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(fake_api_uploads(api, API_UPLOAD_PENDING), 2);
	for (i = 0; i < 3; i++) {
		api_req_cancel(r[i]); /* no matter that late */
		api_req_unref(r[i]);
	}
	api_req_cancel(NULL);
	api_req_unref(NULL);
	/* The reply alone is held. */
	fake_api_hold(api, FAKE_OPS, FAKE_HOLD_REPLY);
	r[0] = api_upload_create(api, &spec, on_upload, NULL);
	while (fake_api_uploads(api, API_UPLOAD_PENDING) < 3)
		sched_yield();
	assert_int_equal(told.calls, 3);
	fake_api_release(api, FAKE_OPS);
	ends(r[0], API_OK);
	assert_int_equal(told.calls, 4);
}

static void test_list(void **state)
{
	char id[API_ID_MAX + 1], after[API_ID_MAX + 1];
	static const char *const names[] = { "a", "b", "c", "d" };
	unsigned i;

	(void)state;
	for (i = 0; i < 4; i++)
		fake_api_add_file(api, names[i], i == 1 ? "vision" : "batch", "x", 1, id);
	ends(api_file_list(api, NULL, NULL, 100, true, on_page, NULL), API_OK);
	assert_string_equal(told.names, "d c b a ");
	assert_false(told.has_more);
	ends(api_file_list(api, "batch", NULL, 100, false, on_page, NULL), API_OK);
	assert_string_equal(told.names, "a c d ");
	fake_api_page_max(api, 3);
	ends(api_file_list(api, NULL, NULL, 100, true, on_page, NULL), API_OK);
	assert_string_equal(told.names, "d c b ");
	assert_true(told.has_more);
	memcpy(after, told.id, sizeof(after));
	ends(api_file_list(api, NULL, after, 100, true, on_page, NULL), API_OK);
	assert_string_equal(told.names, "a ");
	assert_false(told.has_more);
	ends(api_file_delete(api, id, on_done, NULL), API_OK);
	ends(api_file_delete(api, id, on_done, NULL), API_ERR_HTTP);
	assert_int_equal(told.err.http_status, 404);
	assert_int_equal(fake_api_files(api), 3);
}

static unsigned char got[300000];
static uint64_t got_first, got_end;

static int on_data(void *arg, uint64_t offset, const void *data, size_t len)
{
	(void)arg;
	if (!got_end)
		got_first = got_end = offset;
	if (offset != got_end || offset + len > sizeof(got))
		return -EPROTO;
	memcpy(got + offset, data, len);
	got_end += len;
	return 0;
}

static void on_content(void *arg, const struct api_error *err, bool ranged)
{
	on_done(arg, err);
	told.ranged = ranged;
}

static void content(const char *id, uint64_t offset, uint64_t len, enum api_err_kind kind)
{
	got_end = 0;
	ends(api_file_content(api, id, offset, len, UINT64_MAX, on_data, on_content, NULL), kind);
}

static void test_content(void **state)
{
	struct fake_content how = { .chunk = 1000 };
	unsigned char want[1000];
	char id[API_ID_MAX + 1];

	(void)state;
	fake_api_add_pattern(api, "f", "batch", 200000, id);
	fake_api_content(api, &how);
	content(id, 0, UINT64_MAX, API_OK);
	assert_false(told.ranged);
	assert_int_equal(got_end, 200000);
	fake_api_pattern(199000, want, sizeof(want));
	assert_memory_equal(got + 199000, want, 1000);
	content(id, 1503, 1001, API_OK);
	assert_true(told.ranged);
	assert_int_equal(got_first, 1503);
	assert_int_equal(got_end, 2504);
	fake_api_pattern(1504, want, sizeof(want));
	assert_memory_equal(got + 1504, want, 1000);
	content(id, 199999, 2, API_ERR_BAD_REPLY);
	content(id, 200001, UINT64_MAX, API_ERR_HTTP);
	how.ignore_range = true;
	fake_api_content(api, &how);
	content(id, 1503, 1001, API_OK);
	assert_false(told.ranged);
	assert_int_equal(got_first, 0);
	assert_int_equal(got_end, 200000);
	how.cut = 1700;
	fake_api_content(api, &how);
	content(id, 1503, 1001, API_ERR_CONNECT);
	assert_int_equal(got_end, 1700);
	content("file-none", 0, 1, API_ERR_HTTP);
	memset(&how, 0, sizeof(how));
	how.length = 300001; /* more than on_data takes */
	fake_api_content(api, &how);
	content(id, 0, UINT64_MAX, API_ERR_LOCAL);
	assert_int_equal(told.err.local_errno, -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_upload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_of_uploads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
