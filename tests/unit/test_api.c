/* api: every endpoint against the real server, and its faults. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/api/api.h"
#include "net/base/digest.h"
#include "net/base/log.h"
#include "net/server/faults.h"
#include "net/server/server.h"
#include "tests/unit/api_wait.h"

#define KEY "test-key-0123456789"

static char dir[64], faults[128], staged[128];
static struct server *srv;
static struct api *api;
static int fd = -1;

/* ---- fixture ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static struct api *connect_with(const char *url, const char *key)
{
	struct api_config cfg = {
		.base_url = url,
		.key = key,
		.user_agent = "test",
		.parallel = 4,
		.connect_timeout_s = 5,
		.idle_timeout_s = 1,
		.retry_timeout_s = 1,
	};
	struct api *a = NULL;

	assert_int_equal(api_new(&cfg, &a), 0);
	return a;
}

static int setup(void **state)
{
	struct server_opts opts = {
		.dir = dir, .key = KEY, .faults = faults, .fault_hook = &fault_rules
	};

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_api.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(faults, sizeof(faults), "%s.faults", dir);
	snprintf(staged, sizeof(staged), "%s.staged", dir);
	fd = open(staged, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || server_start(&opts, &srv))
		return -1;
	api = connect_with(server_url(srv), KEY);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	api_free(api);
	server_stop(srv);
	api = NULL;
	srv = NULL;
	if (fd >= 0)
		close(fd);
	fd = -1;
	unlink(staged);
	unlink(faults);
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Rules, read by the server at its next request. */
static void set_faults(const char *rules)
{
	char tmp[160];
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s.new", faults);
	f = fopen(tmp, "w");
	assert_non_null(f);
	fputs(rules, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(tmp, faults), 0);
}

/* Fills the staged file with len bytes; the caller frees them. */
static char *stage(size_t len)
{
	char *data = malloc(len + 1);
	size_t i;

	assert_non_null(data);
	for (i = 0; i < len; i++)
		data[i] = (char)(i * 2654435761U >> 13);
	assert_int_equal(pwrite(fd, data, len, 0), len);
	return data;
}

static void md5_of(const char *data, size_t len, char hex[DIGEST_HEX_SIZE])
{
	struct digest *d = digest_new();

	assert_non_null(d);
	digest_update(d, data, len);
	assert_int_equal(digest_hex(d, hex), 0);
	digest_free(d);
}

/* ---- calls made to wait for ---- */

static void create(struct api_wait *w, const char *purpose, uint64_t bytes)
{
	struct api_upload_spec spec = {
		.filename = "dir/train.jsonl",
		.purpose = purpose,
		.mime_type = "text/jsonl",
		.bytes = bytes,
	};

	api_wait_init(w);
	assert_true(api_wait_for(w, api_upload_create(api, &spec, api_wait_upload, w)));
}

static void part(struct api_wait *w, const char *upload_id, uint64_t offset, uint64_t len)
{
	struct api_part_body body = { .fd = fd, .offset = offset, .len = len, .fairness = 1 };

	api_wait_init(w);
	assert_true(api_wait_for(w, api_part_add(api, upload_id, &body, api_wait_part, w)));
}

static void complete(struct api_wait *w, const char *upload_id, const char *part_id,
		     const char *md5, uint64_t bytes)
{
	api_wait_init(w);
	assert_true(api_wait_for(w, api_upload_complete(api, upload_id, &part_id, 1, md5, bytes,
							api_wait_upload, w)));
}

static void cancel(struct api_wait *w, const char *upload_id)
{
	api_wait_init(w);
	assert_true(api_wait_for(w, api_upload_cancel(api, upload_id, api_wait_upload, w)));
}

/* Content of which the first byte that comes is to be that at first. */
static void content_from(struct api_wait *w, const char *file_id, uint64_t offset, uint64_t len,
			 uint64_t first)
{
	api_wait_init(w);
	w->next = first;
	assert_true(api_wait_for(w, api_file_content(api, file_id, offset, len, UINT64_MAX,
						     api_wait_data, api_wait_content, w)));
	assert_int_equal(w->calls, 1);
	assert_false(w->gap);
}

static void content(struct api_wait *w, const char *file_id, uint64_t offset, uint64_t len)
{
	content_from(w, file_id, offset, len, offset);
}

/* Of a server that sends everything. */
static void whole_content(struct api_wait *w, const char *file_id, uint64_t offset, uint64_t len)
{
	content_from(w, file_id, offset, len, 0);
}

static void list(struct api_wait *w, const char *purpose, const char *after, unsigned limit)
{
	api_wait_init(w);
	assert_true(
		api_wait_for(w, api_file_list(api, purpose, after, limit, true, api_wait_page, w)));
}

static void assert_ok(const struct api_wait *w)
{
	char text[800];

	if (w->err.kind == API_OK)
		return;
	api_error_text(&w->err, text, sizeof(text));
	fail_msg("%s", text);
}

/* A File of len bytes that stand in the staged file. */
static void publish(struct api_wait *w, const char *purpose, uint64_t len)
{
	struct api_wait up, p;

	create(&up, purpose, len);
	assert_ok(&up);
	part(&p, up.id, 0, len);
	assert_ok(&p);
	complete(w, up.id, p.id, NULL, len);
	assert_ok(w);
}

/* ---- the way it should go ---- */

static void test_whole(void **state)
{
	const size_t part_len = 1500000, last_len = 12345, len = 2 * part_len + last_len;
	struct api_wait up, parts[3], done, w;
	struct api_part_body body = { .fd = fd, .fairness = 7 };
	struct api_req *reqs[3];
	const char *ids[3];
	char md5[DIGEST_HEX_SIZE], *data = stage(len);
	struct api_stats stats;
	unsigned i;

	(void)state;
	md5_of(data, len, md5);
	create(&up, "fine-tune", len);
	assert_ok(&up);
	assert_int_equal(up.status, API_UPLOAD_PENDING);
	assert_int_equal(up.bytes, len);
	assert_int_equal(up.err.attempts, 1);
	assert_true(up.err.request_id[0]);
	for (i = 0; i < 3; i++) {
		api_wait_init(&parts[i]);
		body.offset = i * part_len;
		body.len = i < 2 ? part_len : last_len;
		reqs[i] = api_part_add(api, up.id, &body, api_wait_part, &parts[i]);
	}
	for (i = 0; i < 3; i++) {
		assert_true(api_wait_for(&parts[i], reqs[i]));
		assert_ok(&parts[i]);
		ids[i] = parts[i].id;
	}
	api_wait_init(&done);
	assert_true(api_wait_for(&done, api_upload_complete(api, up.id, ids, 3, md5, len,
							    api_wait_upload, &done)));
	assert_ok(&done);
	assert_string_equal(done.filename, "dir/train.jsonl");

	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_get(api, done.file_id, api_wait_file, &w)));
	assert_ok(&w);
	assert_string_equal(w.id, done.file_id);
	assert_int_equal(w.bytes, len);

	content(&w, done.file_id, 0, UINT64_MAX);
	assert_ok(&w);
	assert_int_equal(w.data.len, len);
	assert_memory_equal(w.data.data, data, len);
	api_wait_release(&w);
	api_get_stats(api, &stats);
	assert_true(stats.requests >= 7 && !stats.retries);
	assert_true(stats.bytes_sent > len && stats.bytes_received > len);

	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_delete(api, done.file_id, api_wait_done_cb, &w)));
	assert_ok(&w);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_get(api, done.file_id, api_wait_file, &w)));
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 404);
	assert_true(w.err.message[0] && w.err.request_id[0]);
	assert_int_equal(w.err.attempts, 1);
	free(data);
}

static void test_ranges(void **state)
{
	char *data = stage(100000);
	struct api_wait f, w;

	(void)state;
	publish(&f, "batch", 100000);
	content(&w, f.file_id, 1000, 50000);
	assert_ok(&w);
	assert_true(w.ranged);
	assert_int_equal(w.data.len, 50000);
	assert_memory_equal(w.data.data, data + 1000, 50000);
	api_wait_release(&w);
	content(&w, f.file_id, 99999, UINT64_MAX);
	assert_ok(&w);
	assert_int_equal(w.data.len, 1);
	assert_memory_equal(w.data.data, data + 99999, 1);
	api_wait_release(&w);
	/* Partly behind the end, and wholly: what there is, and no error. */
	content(&w, f.file_id, 99990, 1000);
	assert_ok(&w);
	assert_int_equal(w.data.len, 10);
	api_wait_release(&w);
	content(&w, f.file_id, 100000, 10);
	assert_ok(&w);
	assert_int_equal(w.data.len, 0);
	content(&w, f.file_id, 5, 0);
	assert_int_equal(w.err.kind, API_ERR_CONFIG);

	set_faults("[{\"op\":\"content\",\"action\":\"no_range\",\"times\":0}]");
	whole_content(&w, f.file_id, 1000, 50000);
	assert_ok(&w);
	assert_false(w.ranged);
	assert_int_equal(w.data.len, 100000);
	assert_memory_equal(w.data.data, data, 100000);
	api_wait_release(&w);
	whole_content(&w, f.file_id, 200000, 10);
	assert_ok(&w);
	assert_int_equal(w.data.len, 100000);
	api_wait_release(&w);
	/* A range that was cut is not made more when the rest of it comes with everything. */
	set_faults("[{\"op\":\"content\",\"action\":\"truncate\"},"
		   "{\"op\":\"content\",\"action\":\"no_range\",\"times\":0}]");
	content(&w, f.file_id, 1000, 50000);
	assert_ok(&w);
	assert_int_equal(w.err.attempts, 2);
	assert_int_equal(w.data.len, 50000);
	assert_memory_equal(w.data.data, data + 1000, 50000);
	api_wait_release(&w);
	free(data);
}

static void test_list(void **state)
{
	struct api_wait f[5], w;
	char after[API_ID_MAX + 1];
	unsigned i, seen = 0;

	(void)state;
	free(stage(10));
	for (i = 0; i < 5; i++)
		publish(&f[i], i < 4 ? "batch" : "fine-tune", 10);
	list(&w, "batch", NULL, 3);
	assert_ok(&w);
	assert_int_equal(w.count, 3);
	assert_int_equal(w.skipped, 0);
	assert_true(w.has_more);
	assert_string_equal(w.id, f[3].file_id);
	for (seen = 3; w.has_more; seen += (unsigned)w.count) {
		memcpy(after, w.last_id, sizeof(after));
		list(&w, "batch", after, 3);
		assert_ok(&w);
	}
	assert_int_equal(seen, 4);
	assert_string_equal(w.id, f[0].file_id);
	list(&w, NULL, "", 10000);
	assert_int_equal(w.count, 5);
	list(&w, "a b&limit=1", NULL, 10);
	assert_int_equal(w.err.kind == API_OK ? (int)w.count : 0, 0);
}

static void test_cancel_upload(void **state)
{
	struct api_wait up, w;

	(void)state;
	free(stage(10));
	create(&up, "batch", 10);
	cancel(&w, up.id);
	assert_ok(&w);
	assert_int_equal(w.status, API_UPLOAD_CANCELLED);
	part(&w, up.id, 0, 10);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 400);
	cancel(&w, "upload_unknown");
	assert_int_equal(w.err.http_status, 404);
	cancel(&w, "../files"); /* escaped: not another place */
	assert_int_equal(w.err.http_status, 404);
	cancel(&w, "..");
	assert_int_equal(w.err.kind, API_ERR_CONFIG);
	assert_int_equal(w.err.attempts, 0);
}

static void test_refusals(void **state)
{
	char *data = stage(10), md5[DIGEST_HEX_SIZE];
	struct api_wait up, p, w;

	(void)state;
	create(&w, "no-such-purpose", 10);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 400);
	assert_string_equal(w.err.type, "invalid_request_error");
	assert_int_equal(w.err.attempts, 1);
	assert_false(w.err.maybe_applied);
	create(&up, "batch", 10);
	part(&p, up.id, 0, 10);
	md5_of(data, 9, md5);
	complete(&w, up.id, p.id, md5, 10);
	assert_int_equal(w.err.http_status, 400);
	md5_of(data, 10, md5);
	complete(&w, up.id, p.id, md5, 10);
	assert_ok(&w);
	free(data);
}

/* ---- the key ---- */

static void test_key(void **state)
{
	struct api_wait up, w;

	(void)state;
	free(stage(3000000));
	create(&up, "batch", 3000000);
	assert_int_equal(api_set_key(api, "another-key-98765"), 0);
	/* The answer comes while the body is still on its way. */
	part(&w, up.id, 0, 3000000);
	assert_int_equal(w.err.http_status, 401);
	list(&w, NULL, NULL, 10);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 401);
	assert_string_equal(w.err.code, "invalid_api_key");
	assert_int_equal(w.err.attempts, 1);
	assert_null(strstr(w.err.message, "another-key"));
	assert_int_equal(api_set_key(api, KEY "\r\nX: y"), -EINVAL);
	list(&w, NULL, NULL, 10);
	assert_int_equal(w.err.http_status, 401);
	assert_int_equal(api_set_key(api, KEY), 0);
	list(&w, NULL, NULL, 10);
	assert_ok(&w);
	assert_int_equal(api_set_key(api, NULL), 0);
	list(&w, NULL, NULL, 10);
	assert_int_equal(w.err.http_status, 401);
}

/* ---- faults that pass ---- */

static void test_503(void **state)
{
	struct api_stats before, after;
	struct api_wait w;

	(void)state;
	api_get_stats(api, &before);
	set_faults("[{\"op\":\"create\",\"action\":\"status\",\"status\":503,\"times\":2,"
		   "\"headers\":{\"retry-after-ms\":\"20\"}}]");
	create(&w, "batch", 10);
	assert_ok(&w);
	assert_int_equal(w.err.attempts, 3);
	api_get_stats(api, &after);
	assert_int_equal(after.retries - before.retries, 2);
	assert_int_equal(after.requests - before.requests, 3);
	set_faults("[{\"op\":\"list\",\"action\":\"status\",\"status\":429,"
		   "\"headers\":{\"Retry-After\":\"1\"}}]");
	list(&w, NULL, NULL, 10);
	assert_ok(&w);
	assert_int_equal(w.err.attempts, 2);
}

/* Longer than the retries last: the last answer is what the caller sees. */
static void test_503_for_ever(void **state)
{
	struct api_wait w;

	(void)state;
	set_faults("[{\"op\":\"list\",\"action\":\"status\",\"status\":503,\"times\":0,"
		   "\"message\":\"not now\",\"code\":\"overloaded\"}]");
	list(&w, NULL, NULL, 10);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 503);
	assert_string_equal(w.err.code, "overloaded");
	assert_string_equal(w.err.message, "not now");
	assert_true(w.err.attempts >= 3);
}

static void test_resets(void **state)
{
	static const char *const whens[] = { "before", "during", "after" };
	char *data = stage(3000000), rules[512];
	struct api_wait up, p, w;
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		snprintf(rules, sizeof(rules),
			 "[{\"op\":\"create\",\"action\":\"reset\",\"when\":\"%s\"},"
			 "{\"op\":\"part\",\"action\":\"reset\",\"when\":\"%s\"},"
			 "{\"op\":\"list\",\"action\":\"reset\",\"when\":\"%s\"},"
			 "{\"op\":\"get\",\"action\":\"reset\",\"when\":\"%s\"}]",
			 whens[i], whens[i], whens[i], whens[i]);
		set_faults(rules);
		create(&up, "batch", 3000000);
		assert_ok(&up);
		assert_true(up.err.attempts >= 2);
		part(&p, up.id, 0, 3000000);
		assert_ok(&p);
		assert_true(p.err.attempts >= 2);
		list(&w, NULL, NULL, 1);
		assert_ok(&w);
		complete(&w, up.id, p.id, NULL, 3000000);
		assert_ok(&w);
		content(&p, w.file_id, 0, UINT64_MAX);
		assert_ok(&p);
		assert_int_equal(p.data.len, 3000000);
		assert_memory_equal(p.data.data, data, 3000000);
		api_wait_release(&p);
	}
	free(data);
}

/* The File exists: the caller must be told that it may, and complete not be sent again. */
static void test_lost_complete(void **state)
{
	static const char *const rules[] = {
		"[{\"op\":\"complete\",\"action\":\"reset\",\"when\":\"after\"}]",
		"[{\"op\":\"complete\",\"action\":\"drop\"}]",
		"[{\"op\":\"complete\",\"action\":\"truncate\"}]",
		"[{\"op\":\"complete\",\"action\":\"invalid_json\"}]",
		"[{\"op\":\"complete\",\"action\":\"wrong_id\"}]",
		"[{\"op\":\"complete\",\"action\":\"wrong_bytes\"}]",
	};
	struct api_wait up, p, w;
	unsigned i;

	(void)state;
	free(stage(10));
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		set_faults("[]");
		create(&up, "batch", 10);
		part(&p, up.id, 0, 10);
		assert_ok(&p);
		set_faults(rules[i]);
		complete(&w, up.id, p.id, NULL, 10);
		if (w.err.kind == API_OK)
			fail_msg("%s: taken", rules[i]);
		assert_true(w.err.maybe_applied);
		assert_int_equal(w.err.kind, i < 3 ? API_ERR_CONNECT : API_ERR_BAD_REPLY);
		assert_int_equal(w.err.attempts, 1);
		assert_int_equal(api_took_effect(&w.err), i >= 2);
		set_faults("[]");
		list(&w, "batch", NULL, 100);
		assert_int_equal(w.count, i + 1);
	}
	set_faults("[{\"op\":\"complete\",\"action\":\"status\",\"status\":400}]");
	create(&up, "batch", 10);
	part(&p, up.id, 0, 10);
	complete(&w, up.id, p.id, NULL, 10);
	assert_int_equal(w.err.http_status, 400);
	assert_false(w.err.maybe_applied);
	set_faults("[{\"op\":\"complete\",\"action\":\"status\",\"status\":502,"
		   "\"headers\":{\"x-should-retry\":\"false\"}}]");
	complete(&w, up.id, p.id, NULL, 10);
	assert_int_equal(w.err.http_status, 502);
	assert_int_equal(w.err.attempts, 1);
	assert_true(w.err.maybe_applied);
}

/* What may be done twice is asked for again. */
static void test_garbled(void **state)
{
	static const char *const actions[] = { "invalid_json", "truncate", "wrong_id" };
	char rules[256];
	struct api_wait up, p, w;
	unsigned i;

	(void)state;
	free(stage(10));
	for (i = 0; i < 3; i++) {
		set_faults("[]");
		create(&up, "batch", 10);
		assert_ok(&up);
		snprintf(
			rules, sizeof(rules),
			"[{\"op\":\"part\",\"action\":\"%s\"},{\"op\":\"list\",\"action\":\"%s\"}]",
			i < 2 ? actions[i] : "invalid_json", i < 2 ? actions[i] : "invalid_json");
		set_faults(rules);
		part(&p, up.id, 0, 10);
		assert_ok(&p);
		assert_int_equal(p.err.attempts, 2);
		list(&w, NULL, NULL, 10);
		assert_ok(&w);
		assert_int_equal(w.err.attempts, 2);
	}
	set_faults("[{\"op\":\"create\",\"action\":\"wrong_bytes\"}]");
	create(&w, "batch", 10);
	assert_ok(&w);
	assert_int_equal(w.err.attempts, 2);
	set_faults("[{\"op\":\"create\",\"action\":\"invalid_json\",\"times\":0}]");
	create(&w, "batch", 10);
	assert_int_equal(w.err.kind, API_ERR_BAD_REPLY);
	assert_int_equal(w.err.attempts, 3);
	assert_true(w.err.maybe_applied);
	assert_true(w.err.message[0]);
	complete(&p, up.id, "part_x", NULL, 10);
	assert_int_equal(p.err.http_status, 400);
	set_faults("[{\"op\":\"get\",\"action\":\"wrong_id\",\"times\":0}]");
	publish(&p, "batch", 10);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_get(api, p.file_id, api_wait_file, &w)));
	assert_int_equal(w.err.kind, API_ERR_BAD_REPLY);
}

/* A File that is gone at the second try was deleted by the first. */
static void test_delete_twice(void **state)
{
	static const char *const actions[] = { "drop", "truncate", "invalid_json", "wrong_id",
					       "wrong_status" };
	char rules[64];
	struct api_wait p, w;
	unsigned i;

	(void)state;
	free(stage(10));
	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		set_faults("[]");
		publish(&p, "batch", 10);
		snprintf(rules, sizeof(rules), "[{\"op\":\"delete\",\"action\":\"%s\"}]",
			 actions[i]);
		set_faults(rules);
		api_wait_init(&w);
		assert_true(
			api_wait_for(&w, api_file_delete(api, p.file_id, api_wait_done_cb, &w)));
		assert_ok(&w);
		assert_int_equal(w.err.attempts, 2);
		assert_true(w.err.maybe_applied);
		list(&w, "batch", NULL, 10);
		assert_int_equal(w.count, 0);
		/* Nobody has tried this one before. */
		api_wait_init(&w);
		assert_true(
			api_wait_for(&w, api_file_delete(api, p.file_id, api_wait_done_cb, &w)));
		assert_int_equal(w.err.http_status, 404);
		assert_int_equal(w.err.kind, API_ERR_HTTP);
	}
}

static void test_cut_download(void **state)
{
	static const char *const rules[] = {
		"[{\"op\":\"content\",\"action\":\"truncate\"}]",
		("[{\"op\":\"content\",\"action\":\"truncate\"},"
		 "{\"op\":\"content\",\"action\":\"no_range\",\"times\":0}]"),
		"[{\"op\":\"content\",\"action\":\"truncate\",\"times\":4}]",
	};
	const size_t len = 2000000;
	char *data = stage(len);
	struct api_wait f, w;
	unsigned i;

	(void)state;
	publish(&f, "batch", len);
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		set_faults(rules[i]);
		content(&w, f.file_id, 0, UINT64_MAX);
		assert_ok(&w);
		assert_true(w.err.attempts >= 2);
		assert_int_equal(w.data.len, len);
		assert_memory_equal(w.data.data, data, len);
		api_wait_release(&w);
	}
	set_faults("[{\"op\":\"content\",\"action\":\"status\",\"status\":403}]");
	content(&w, f.file_id, 0, UINT64_MAX);
	assert_int_equal(w.err.http_status, 403);
	assert_int_equal(w.data.len, 0);
	set_faults("[]");
	api_wait_init(&w);
	w.data_result = -ENOSPC;
	assert_true(api_wait_for(&w, api_file_content(api, f.file_id, 0, UINT64_MAX, UINT64_MAX,
						      api_wait_data, api_wait_content, &w)));
	assert_int_equal(w.err.kind, API_ERR_LOCAL);
	assert_int_equal(w.err.local_errno, -ENOSPC);
	assert_int_equal(w.err.attempts, 1);
	api_wait_release(&w);
	free(data);
}

/* ---- time ---- */

static void test_stall(void **state)
{
	struct api_wait up, w;

	(void)state;
	free(stage(3000000));
	create(&up, "batch", 3000000);
	set_faults("[{\"op\":\"list\",\"action\":\"stall\"},{\"op\":\"part\",\"action\":\"stall\","
		   "\"when\":\"during\"},{\"op\":\"cancel\",\"action\":\"stall\",\"times\":0}]");
	list(&w, NULL, NULL, 10);
	assert_ok(&w);
	assert_int_equal(w.err.attempts, 2);
	part(&w, up.id, 0, 3000000);
	assert_ok(&w);
	assert_int_equal(w.err.attempts, 2);
	cancel(&w, up.id);
	assert_int_equal(w.err.kind, API_ERR_TIMEOUT);
	assert_int_equal(w.err.attempts, 3);
	assert_true(w.err.maybe_applied);
	assert_int_equal(w.err.http_status, 0);
}

static void test_refused_connection(void **state)
{
	struct api_wait w;

	(void)state;
	server_stop(srv);
	srv = NULL;
	list(&w, NULL, NULL, 10);
	assert_int_equal(w.err.kind, API_ERR_CONNECT);
	assert_true(w.err.attempts >= 3);
	assert_int_equal(w.err.http_status, 0);
	assert_false(w.err.maybe_applied);
	assert_true(w.err.message[0]);
}

/* ---- ends before the end ---- */

static bool has_sent(void *arg)
{
	struct api_stats stats;

	api_get_stats(api, &stats);
	return stats.requests >= *(uint64_t *)arg;
}

static void test_cancel_calls(void **state)
{
	struct api_part_body body = { .fd = fd, .len = 3000000 };
	struct api_wait up, p, w;
	struct api_stats stats;
	struct api_req *req;
	uint64_t want;

	(void)state;
	free(stage(3000000));
	create(&up, "batch", 3000000);
	set_faults("[{\"op\":\"part\",\"action\":\"stall\",\"when\":\"during\",\"times\":0}]");
	api_get_stats(api, &stats);
	want = stats.requests + 1;
	api_wait_init(&p);
	req = api_part_add(api, up.id, &body, api_wait_part, &p);
	assert_non_null(req);
	assert_true(api_wait_until(has_sent, &want));
	assert_false(api_wait_done(&p));
	api_req_cancel(req);
	api_req_cancel(req);
	assert_true(api_wait_for(&p, req));
	assert_int_equal(p.err.kind, API_ERR_CANCELLED);
	assert_int_equal(p.calls, 1);
	/* In its delay. */
	set_faults("[{\"op\":\"list\",\"action\":\"status\",\"status\":503,\"times\":0,"
		   "\"headers\":{\"Retry-After\":\"100\"}}]");
	api_get_stats(api, &stats);
	want = stats.requests + 1;
	api_wait_init(&w);
	req = api_file_list(api, NULL, NULL, 1, true, api_wait_page, &w);
	assert_true(api_wait_until(has_sent, &want));
	api_req_cancel(req);
	assert_true(api_wait_for(&w, req));
	assert_int_equal(w.err.kind, API_ERR_CANCELLED);
	/* After its end, and after the end of all. */
	set_faults("[]");
	api_wait_init(&w);
	req = api_file_list(api, NULL, NULL, 1, true, api_wait_page, &w);
	while (!api_wait_done(&w))
		usleep(1000);
	api_req_cancel(req);
	api_free(api);
	api = NULL;
	api_req_cancel(req);
	api_req_unref(req);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.err.kind, API_OK);
	api_req_cancel(NULL);
	api_req_unref(NULL);
	api_free(NULL);
}

static void test_cancel_in_callback(void **state)
{
	char *data = stage(4000000);
	struct api_wait f, w;
	struct api_req *req;

	(void)state;
	publish(&f, "batch", 4000000);
	set_faults("[{\"op\":\"content\",\"action\":\"truncate\",\"times\":0}]");
	api_wait_init(&w);
	req = api_file_content(api, f.file_id, 0, UINT64_MAX, UINT64_MAX, api_wait_data,
			       api_wait_content, &w);
	assert_non_null(req);
	__atomic_store_n(&w.cancel_in_data, req, __ATOMIC_RELEASE);
	/* It may have ended before; then it is the outcome. Either way exactly one callback. */
	while (!api_wait_done(&w))
		usleep(1000);
	api_req_unref(req);
	assert_true(w.err.kind == API_ERR_CANCELLED || w.err.kind == API_OK);
	assert_int_equal(w.calls, 1);
	api_wait_release(&w);
	free(data);
}

static void start_list(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct api_wait *w = arg;

	/* Calls may be started in a callback, even in that of api_free(). */
	api_req_unref(api_file_list(api, NULL, NULL, 1, true, api_wait_page, &w[1]));
	api_wait_page(&w[0], err, page);
}

static void test_free_under_way(void **state)
{
	struct api_part_body body = { .fd = fd, .len = 1000000 };
	struct api_wait up, lists[2], parts[20];
	unsigned i;

	(void)state;
	free(stage(1000000));
	create(&up, "batch", 20000000);
	set_faults("[{\"op\":\"any\",\"action\":\"stall\",\"times\":0}]");
	for (i = 0; i < 20; i++) {
		api_wait_init(&parts[i]);
		api_req_unref(api_part_add(api, up.id, &body, api_wait_part, &parts[i]));
	}
	api_wait_init(&lists[0]);
	api_wait_init(&lists[1]);
	api_req_unref(api_file_list(api, NULL, NULL, 1, true, start_list, lists));
	api_free(api);
	api = NULL;
	for (i = 0; i < 20; i++) {
		assert_int_equal(parts[i].calls, 1);
		assert_int_equal(parts[i].err.kind, API_ERR_CANCELLED);
	}
	assert_int_equal(lists[0].calls, 1);
	assert_int_equal(lists[1].calls, 1);
	assert_int_equal(lists[1].err.kind, API_ERR_CANCELLED);
}

/* ---- the staged file ---- */

static void test_bad_body(void **state)
{
	struct api_part_body body = { .fd = -1, .len = 10 };
	struct api_wait up, w;

	(void)state;
	free(stage(10));
	create(&up, "batch", 20);
	part(&w, up.id, 0, 20);
	assert_int_equal(w.err.kind, API_ERR_LOCAL);
	assert_int_equal(w.err.local_errno, -ENODATA);
	assert_int_equal(w.err.attempts, 1);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_part_add(api, up.id, &body, api_wait_part, &w)));
	assert_int_equal(w.err.kind, API_ERR_LOCAL);
	assert_int_equal(w.err.local_errno, -EBADF);
	/* The connection was cut in the middle of a body; the next call has its own. */
	part(&w, up.id, 5, 5);
	assert_ok(&w);
}

/* ---- POST /files ---- */

static void upload_file(struct api_wait *w, const char *name, const char *data, size_t len)
{
	struct api_upload_spec spec = {
		.filename = name,
		.purpose = "batch",
		.mime_type = "text/jsonl",
		.bytes = len,
		.expires_after_s = 7200,
	};
	char md5[DIGEST_HEX_SIZE];
	struct api_file_body body = { .fd = fd, .md5_hex = md5 };

	md5_of(data, len, md5);
	api_wait_init(w);
	assert_true(api_wait_for(w, api_file_upload(api, &spec, &body, api_wait_file, w)));
}

static size_t count_files(void)
{
	struct api_wait w;

	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_list(api, NULL, NULL, 10, true, api_wait_page, &w)));
	assert_int_equal(w.err.kind, API_OK);
	return w.count;
}

static void test_upload_file(void **state)
{
	static const char *const names[] = { "dir/train.jsonl", "a \"quoted\" \\ name",
					     "\xc3\xa4;=%22" };
	struct api_wait w, back;
	size_t i, len = 300000;
	char *data = stage(len);

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		upload_file(&w, names[i], data, len);
		assert_int_equal(w.err.kind, API_OK);
		assert_int_equal(w.err.attempts, 1);
		assert_int_equal(w.bytes, len);
		assert_string_equal(w.filename, names[i]);
		api_wait_init(&back);
		assert_true(api_wait_for(&back,
					 api_file_content(api, w.id, 0, UINT64_MAX, UINT64_MAX,
							  api_wait_data, api_wait_content, &back)));
		assert_int_equal(back.data.len, len);
		assert_memory_equal(buf_str(&back.data), data, len);
		api_wait_release(&back);
	}
	upload_file(&w, "a\nb", data, len);
	assert_int_equal(w.err.kind, API_ERR_CONFIG);
	free(data);
}

/* What is on disk is no longer what was hashed: it never becomes a File. */
static void test_upload_file_damaged(void **state)
{
	struct api_wait w;
	size_t len = 300000;
	char *data = stage(len);

	(void)state;
	assert_int_equal(pwrite(fd, "x", 1, 150000), 1);
	upload_file(&w, "a", data, len);
	assert_int_equal(w.err.kind, API_ERR_LOCAL);
	assert_int_equal(w.err.local_errno, -EBADMSG);
	assert_int_equal(w.err.attempts, 1);
	assert_int_equal(count_files(), 0);
	free(data);
}

/* Again when it was surely not done; never when it may have been. */
static void test_upload_file_once(void **state)
{
	static const struct {
		const char *rule;
		unsigned attempts;
		bool maybe;
		size_t files;
	} cases[] = {
		{ "\"action\":\"status\",\"status\":429", 2, false, 1 },
		{ "\"action\":\"reset\",\"when\":\"during\"", 2, false, 1 },
		{ "\"action\":\"drop\"", 1, true, 1 },
		{ "\"action\":\"reset\",\"when\":\"after\"", 1, true, 1 },
		{ "\"action\":\"truncate\"", 1, true, 1 },
		{ "\"action\":\"invalid_json\"", 1, true, 1 },
		{ "\"action\":\"wrong_bytes\"", 1, true, 1 },
		{ "\"action\":\"status\",\"status\":503,\"when\":\"after\"", 1, true, 1 },
	};
	struct api_wait w;
	size_t i, most = 24 << 20, len, files = 0;
	char *data = stage(most), rules[256];

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(rules, sizeof(rules), "[{\"op\":\"upload_file\",%s,\"comment\":%zu}]",
			 cases[i].rule, i);
		set_faults(rules);
		/* More than the sockets hold: a cut in the middle is one for both ends. */
		len = strstr(rules, "during") ? most : 100000;
		upload_file(&w, "a", data, len);
		assert_int_equal(w.err.attempts, cases[i].attempts);
		assert_int_equal(w.err.maybe_applied, cases[i].maybe);
		assert_int_equal(w.err.kind == API_OK, !cases[i].maybe);
		set_faults("[]");
		files += cases[i].files;
		assert_int_equal(count_files(), files);
	}
	free(data);
}

/* 501 at a create says that there is no such endpoint: nobody waits for it to come. */
static void test_no_uploads(void **state)
{
	struct api_wait w;

	(void)state;
	set_faults("[{\"op\":\"create\",\"action\":\"status\",\"status\":501,\"times\":0}]");
	create(&w, "batch", 10);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 501);
	assert_int_equal(w.err.attempts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_upload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_503, setup, teardown),
		cmocka_unit_test_setup_teardown(test_503_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_complete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_download, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stall, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_in_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upload_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upload_file_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upload_file_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_uploads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_body, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
