/* api: services beside OpenAI's: what Azure wants on the wire, and how it answers. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/api/api.h"
#include "net/base/log.h"
#include "tests/unit/api_wait.h"
#include "tests/unit/raw_server.h"

#define KEY "test-key-0123456789"
#define LIST "{\"object\":\"list\",\"data\":[],\"has_more\":false}"
#define COMPLETED(upload_bytes)                                                    \
	"{\"id\":\"upload_1\",\"bytes\":" upload_bytes ",\"created_at\":1,"        \
	"\"status\":\"completed\",\"file\":{\"id\":\"file-1\",\"filename\":\"x\"," \
	"\"purpose\":\"batch\",\"bytes\":null,\"status\":\"pending\",\"created_at\":1}}"

static struct raw_server *srv, *other;
static struct api *api;

/* The head of each request that came; by seen_lock. */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static char seen[16][RAW_HEAD_MAX];
static unsigned seen_count;

static void note(const struct raw_request *rq)
{
	pthread_mutex_lock(&seen_lock);
	if (seen_count < 16)
		memcpy(seen[seen_count++], rq->head, sizeof(rq->head));
	pthread_mutex_unlock(&seen_lock);
}

static bool saw(unsigned nr, const char *what)
{
	bool found;

	pthread_mutex_lock(&seen_lock);
	found = nr < seen_count && strstr(seen[nr], what);
	pthread_mutex_unlock(&seen_lock);
	return found;
}

static bool is(const struct raw_request *rq, const char *what)
{
	return strstr(rq->head, what) != NULL;
}

/* ---- fixture ---- */

static void start(raw_handler *handler, const char *version)
{
	struct api_config cfg = {
		.key = KEY,
		.azure = true,
		.api_version = version,
		.parallel = 2,
		.connect_timeout_s = 5,
		.idle_timeout_s = 1,
		.retry_timeout_s = 1,
	};

	srv = raw_start(handler, NULL);
	cfg.base_url = raw_url(srv);
	assert_int_equal(api_new(&cfg, &api), 0);
}

static int setup(void **state)
{
	(void)state;
	seen_count = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	api_free(api);
	raw_stop(srv);
	raw_stop(other);
	api = NULL;
	srv = other = NULL;
	return 0;
}

static void list(struct api_wait *w, const char *purpose)
{
	api_wait_init(w);
	assert_true(api_wait_for(w, api_file_list(api, purpose, NULL, 10, true, api_wait_page, w)));
}

static void complete(struct api_wait *w)
{
	const char *id = "part_1";

	api_wait_init(w);
	assert_true(api_wait_for(w, api_upload_complete(api, "upload_1", &id, 1, NULL, 10,
							api_wait_upload, w)));
}

static void delete (struct api_wait *w)
{
	api_wait_init(w);
	assert_true(api_wait_for(w, api_file_delete(api, "file-1", api_wait_done_cb, w)));
}

/* ---- Azure ---- */

static bool answers(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	if (is(rq, "/complete"))
		return raw_reply(c, 201, "", COMPLETED("10"));
	if (is(rq, "DELETE "))
		return raw_write(c, "HTTP/1.1 204 No Content\r\n\r\n");
	return raw_reply(c, 200, "", LIST);
}

/* The key in its header, the version behind what the path asks for already. */
static void test_requests(void **state)
{
	struct api_wait w;

	(void)state;
	start(answers, "2024-10-21");
	list(&w, "batch");
	assert_int_equal(w.err.kind, API_OK);
	complete(&w);
	assert_int_equal(w.err.kind, API_OK);
	assert_true(
		saw(0, "GET /v1/files?limit=10&order=desc&purpose=batch&api-version=2024-10-21 "));
	assert_true(saw(1, "POST /v1/uploads/upload_1/complete?api-version=2024-10-21 "));
	assert_true(saw(0, "\r\napi-key: " KEY "\r\n"));
	assert_false(saw(0, "Authorization"));
	assert_int_equal(api_set_key(api, "another-key"), 0);
	list(&w, NULL);
	assert_true(saw(2, "\r\napi-key: another-key\r\n"));
	assert_true(saw(2, "GET /v1/files?limit=10&order=desc&api-version="));
}

static void test_no_version(void **state)
{
	struct api_wait w;

	(void)state;
	start(answers, NULL);
	list(&w, NULL);
	assert_true(saw(0, "GET /v1/files?limit=10&order=desc HTTP"));
	complete(&w);
	assert_true(saw(1, "POST /v1/uploads/upload_1/complete HTTP"));
}

static void test_bad_version(void **state)
{
	struct api_config cfg = { .base_url = "http://127.0.0.1:1/v1",
				  .azure = true,
				  .api_version = "1&x=2" };

	(void)state;
	log_set_level(-1);
	assert_int_equal(api_new(&cfg, &api), -EINVAL);
	log_set_level(LOG_LVL_ERROR);
}

static bool moved(struct raw_server *s, int c, const struct raw_request *rq)
{
	char head[128];

	(void)rq;
	snprintf(head, sizeof(head), "Location: %s/elsewhere\r\n", raw_url(raw_arg(s)));
	return raw_reply(c, 302, head, "");
}

static bool content(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	return raw_reply(c, 200, "", "0123456789");
}

/* curl knows nothing of this header: that it stays at home is ours to see to. */
static void test_key_stays_home(void **state)
{
	struct api_config cfg = { .key = KEY, .azure = true, .parallel = 1, .idle_timeout_s = 1 };
	struct api_wait w;

	(void)state;
	other = raw_start(content, NULL);
	srv = raw_start(moved, other);
	cfg.base_url = raw_url(srv);
	assert_int_equal(api_new(&cfg, &api), 0);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_content(api, "file-1", 0, UINT64_MAX, UINT64_MAX,
						      api_wait_data, api_wait_content, &w)));
	assert_int_equal(w.err.kind, API_OK);
	assert_true(saw(0, "GET /v1/elsewhere"));
	assert_false(saw(0, "api-key"));
	assert_false(saw(0, KEY));
	api_wait_release(&w);
}

/* A File whose bytes are null yet: the Upload's count has to be right. */
static void test_null_bytes(void **state)
{
	struct api_wait w;

	(void)state;
	start(answers, NULL);
	complete(&w);
	assert_int_equal(w.err.kind, API_OK);
	assert_string_equal(w.file_id, "file-1");
}

static bool answers_wrong(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	return raw_reply(c, 201, "", COMPLETED("11"));
}

static void test_null_bytes_of_another(void **state)
{
	struct api_wait w;

	(void)state;
	start(answers_wrong, NULL);
	complete(&w);
	assert_int_equal(w.err.kind, API_ERR_BAD_REPLY);
	assert_true(w.err.maybe_applied);
}

static void test_delete_without_body(void **state)
{
	struct api_wait w;

	(void)state;
	start(answers, "2024-06-01");
	delete (&w);
	assert_int_equal(w.err.kind, API_OK);
	assert_int_equal(w.err.attempts, 1);
	assert_true(saw(0, "DELETE /v1/files/file-1?api-version=2024-06-01 "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_stays_home, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null_bytes_of_another, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_without_body, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
