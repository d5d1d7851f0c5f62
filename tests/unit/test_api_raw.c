/* api: what goes over the wire, who gets the key, and answers that no honest server gives. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curlver.h>

#include "net/api/api.h"
#include "net/base/log.h"
#include "tests/unit/api_wait.h"
#include "tests/unit/raw_server.h"

#define KEY "test-key-0123456789"
#define LIST "{\"object\":\"list\",\"data\":[],\"has_more\":false}"
#define PART "{\"id\":\"part_1\",\"upload_id\":\"upload_1\"}"
#define UPLOAD(status)                                                                       \
	"{\"id\":\"upload_1\",\"bytes\":10,\"created_at\":1,\"status\":\"" status "\","      \
	"\"file\":{\"id\":\"file-1\",\"filename\":\"x\",\"purpose\":\"batch\",\"bytes\":10," \
	"\"created_at\":1}}"

static struct raw_server *srv, *other;
static struct api *api;
static int fd = -1;

/* What the handlers saw; by seen_lock. */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static char seen[64][RAW_HEAD_MAX];
static unsigned seen_count;
static size_t seen_body;
static atomic_bool gate_open;
static atomic_uint parts_now, parts_most;

static void note(const struct raw_request *rq)
{
	pthread_mutex_lock(&seen_lock);
	if (seen_count < 64)
		memcpy(seen[seen_count], rq->head, sizeof(rq->head));
	seen_count++;
	seen_body += rq->body_len;
	pthread_mutex_unlock(&seen_lock);
}

/* What was seen up to now may be looked at after this. */
static unsigned seen_total(void)
{
	unsigned n;

	pthread_mutex_lock(&seen_lock);
	n = seen_count;
	pthread_mutex_unlock(&seen_lock);
	return n;
}

static void forget(void)
{
	pthread_mutex_lock(&seen_lock);
	seen_count = 0;
	seen_body = 0;
	pthread_mutex_unlock(&seen_lock);
}

static unsigned count_seen(const char *what)
{
	unsigned i, n = 0;

	pthread_mutex_lock(&seen_lock);
	for (i = 0; i < seen_count && i < 64; i++)
		n += strstr(seen[i], what) != NULL;
	pthread_mutex_unlock(&seen_lock);
	return n;
}

static bool is(const struct raw_request *rq, const char *what)
{
	return strstr(rq->head, what) != NULL;
}

/* ---- fixture ---- */

static struct api_config config(const char *url)
{
	return (struct api_config){
		.base_url = url,
		.key = KEY,
		.organization = "org-1",
		.project = "proj-1",
		.user_agent = "uploadfs-test/1",
		.parallel = 2,
		.connect_timeout_s = 5,
		.idle_timeout_s = 1,
		.retry_timeout_s = 1,
	};
}

static void start(raw_handler *handler, unsigned parallel)
{
	struct api_config cfg;

	srv = raw_start(handler, NULL);
	cfg = config(raw_url(srv));
	cfg.parallel = parallel;
	assert_int_equal(api_new(&cfg, &api), 0);
}

static int setup(void **state)
{
	char path[] = "/tmp/test_api_raw.XXXXXX";

	(void)state;
	forget();
	atomic_store(&gate_open, false);
	atomic_store(&parts_now, 0);
	atomic_store(&parts_most, 0);
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	unlink(path);
	return ftruncate(fd, 1 << 20);
}

static int teardown(void **state)
{
	(void)state;
	atomic_store(&gate_open, true);
	api_free(api);
	raw_stop(srv);
	raw_stop(other);
	api = NULL;
	srv = other = NULL;
	close(fd);
	return 0;
}

static void list(struct api_wait *w)
{
	api_wait_init(w);
	assert_true(api_wait_for(w, api_file_list(api, NULL, NULL, 10, true, api_wait_page, w)));
}

static void complete(struct api_wait *w)
{
	const char *id = "part_1";

	api_wait_init(w);
	assert_true(api_wait_for(w, api_upload_complete(api, "upload_1", &id, 1, NULL, 10,
							api_wait_upload, w)));
}

static struct api_req *part(struct api_wait *w, const char *upload_id, uint64_t file, size_t len)
{
	struct api_part_body body = { .fd = fd, .len = len, .fairness = file };

	api_wait_init(w);
	return api_part_add(api, upload_id, &body, api_wait_part, w);
}

static void content(struct api_wait *w, uint64_t offset, uint64_t len)
{
	api_wait_init(w);
	w->next = offset;
	assert_true(api_wait_for(w, api_file_content(api, "file-1", offset, len, UINT64_MAX,
						     api_wait_data, api_wait_content, w)));
	assert_false(w->gap);
}

static void assert_ok(const struct api_wait *w)
{
	char text[800];

	if (w->err.kind == API_OK)
		return;
	api_error_text(&w->err, text, sizeof(text));
	fail_msg("%s", text);
}

/* ---- requests ---- */

static bool honest(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	if (is(rq, "/parts "))
		return raw_reply(c, 200, "", PART);
	if (is(rq, "/complete "))
		return raw_reply(c, 200, "", UPLOAD("completed"));
	if (is(rq, "/cancel "))
		return raw_reply(c, 200, "", UPLOAD("cancelled"));
	if (is(rq, "POST "))
		return raw_reply(c, 200, "", UPLOAD("pending"));
	return raw_reply(c, 200, "x-request-id: req_7\r\n", LIST);
}

static void test_requests(void **state)
{
	struct api_upload_spec spec = {
		.filename = "x",
		.purpose = "batch",
		.mime_type = "text/plain",
		.bytes = 10,
	};
	struct api_wait w;
	unsigned i;

	(void)state;
	start(honest, 2);
	list(&w);
	assert_ok(&w);
	assert_string_equal(w.err.request_id, "req_7");
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_upload_create(api, &spec, api_wait_upload, &w)));
	assert_ok(&w);
	assert_true(api_wait_for(&w, part(&w, "upload_1", 1, 10)));
	assert_ok(&w);
	complete(&w);
	assert_ok(&w);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_upload_cancel(api, "upload_1", api_wait_upload, &w)));
	assert_ok(&w);

	assert_int_equal(seen_total(), 5);
	for (i = 0; i < 5; i++) {
		assert_non_null(strstr(seen[i], " HTTP/1.1\r\n"));
		assert_non_null(strstr(seen[i], "\r\nAuthorization: Bearer " KEY "\r\n"));
		assert_non_null(strstr(seen[i], "\r\nOpenAI-Organization: org-1\r\n"));
		assert_non_null(strstr(seen[i], "\r\nOpenAI-Project: proj-1\r\n"));
		assert_non_null(strstr(seen[i], "\r\nUser-Agent: uploadfs-test/1\r\n"));
		assert_null(strcasestr(seen[i], "\r\nExpect:"));
	}
	assert_memory_equal(seen[0], "GET /v1/files?limit=10&order=desc HTTP", 38);
	assert_memory_equal(seen[1], "POST /v1/uploads HTTP", 21);
	assert_non_null(strstr(seen[1], "\r\nContent-Type: application/json\r\n"));
	assert_memory_equal(seen[2], "POST /v1/uploads/upload_1/parts HTTP", 36);
	assert_non_null(strstr(seen[2], "\r\nContent-Type: multipart/form-data; boundary="));
	assert_memory_equal(seen[3], "POST /v1/uploads/upload_1/complete HTTP", 39);
	assert_memory_equal(seen[4], "POST /v1/uploads/upload_1/cancel HTTP", 37);
	assert_non_null(strstr(seen[4], "\r\nContent-Length: 0\r\n"));
	assert_null(strcasestr(seen[4], "\r\nContent-Type:"));
	/* One after the other on one connection; before curl 7.80 each change has its own. */
	assert_int_equal(raw_connections(srv), LIBCURL_VERSION_NUM < 0x075000 ? 5 : 1);
}

static void test_config(void **state)
{
	static const char *const urls[] = {
		"",
		"localhost",
		"ftp://localhost/",
		"http://u:p@localhost/",
		"http://localhost/?x",
		"http://local host/",
	};
	struct api *a = (struct api *)urls;
	struct api_config cfg;
	size_t i;

	(void)state;
	log_set_level((enum log_level) - 1); /* the refusals are meant */
	for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		cfg = config(urls[i]);
		assert_int_equal(api_new(&cfg, &a), -EINVAL);
		assert_ptr_equal(a, urls);
	}
	cfg = config("http://127.0.0.1:1/");
	cfg.key = "key\r\nX-Evil: 1";
	assert_int_equal(api_new(&cfg, &a), -EINVAL);
	cfg.key = KEY;
	cfg.project = "a\nb";
	assert_int_equal(api_new(&cfg, &a), -EINVAL);
	log_set_level(LOG_LVL_ERROR);
}

/* An address that is never routed; nothing may even try to connect. */
static void test_key_over_http(void **state)
{
	struct api_config cfg = config("http://192.0.2.1/v1");
	struct api_stats stats;
	struct api_wait w;

	(void)state;
	assert_int_equal(api_new(&cfg, &api), 0);
	list(&w);
	assert_int_equal(w.err.kind, API_ERR_CONFIG);
	assert_int_equal(w.err.attempts, 0);
	assert_non_null(strstr(w.err.message, "plain http"));
	assert_null(strstr(w.err.message, KEY));
	api_get_stats(api, &stats);
	assert_int_equal(stats.requests, 0);
}

/* ---- redirects ---- */

static bool redirecting(struct raw_server *s, int c, const struct raw_request *rq)
{
	char head[256];

	(void)s;
	note(rq);
	if (is(rq, "GET /v1/files/file-1/content ")) {
		snprintf(head, sizeof(head), "Location: http://127.0.0.1:%u/first\r\n",
			 raw_port(other));
		return raw_reply(c, 302, head, "gone elsewhere");
	}
	return raw_reply(c, 200, "", "home again");
}

static bool other_host(struct raw_server *s, int c, const struct raw_request *rq)
{
	char head[256];

	(void)s;
	note(rq);
	if (is(rq, "GET /first "))
		return raw_reply(c, 307, "Location: /second\r\n", "");
	if (is(rq, "GET /loop "))
		return raw_reply(c, 302, "Location: /loop\r\n", "");
	if (is(rq, "GET /home ")) {
		snprintf(head, sizeof(head), "Location: http://localhost:%u/x\r\n", raw_port(srv));
		return raw_reply(c, 302, head, "");
	}
	return raw_reply(c, 200, "", "0123456789");
}

static void test_redirect(void **state)
{
	struct api_wait w;
	unsigned i;

	(void)state;
	other = raw_start(other_host, NULL);
	start(redirecting, 2);
	content(&w, 0, UINT64_MAX);
	assert_ok(&w);
	assert_string_equal(buf_str(&w.data), "0123456789");
	api_wait_release(&w);
	assert_int_equal(seen_total(), 3);
	assert_non_null(strstr(seen[0], KEY));
	for (i = 1; i < 3; i++) {
		/* Another port is another host. */
		assert_null(strstr(seen[i], KEY));
		assert_null(strcasestr(seen[i], "Authorization"));
		assert_null(strcasestr(seen[i], "OpenAI-"));
		assert_non_null(strstr(seen[i], "\r\nRange: bytes=0-\r\n"));
	}
	assert_memory_equal(seen[2], "GET /second ", 12);
}

static bool redirect_to(struct raw_server *s, int c, const struct raw_request *rq)
{
	char head[256];

	note(rq);
	if (!is(rq, "/content "))
		return raw_reply(c, 200, "", "here");
	snprintf(head, sizeof(head), (const char *)raw_arg(s), raw_port(s));
	return raw_reply(c, 302, head, "a body");
}

static void test_redirect_targets(void **state)
{
	static const char *const same = "Location: http://127.0.0.1:%u/x\r\n";
	static const char *const renamed = "Location: http://localhost:%u/x\r\n";
	static const char *const refused[] = {
		"Location: file:///etc/passwd\r\n",
		"X: y\r\n",
		"Location: http://127.0.0.1:%u/v1/files/file-1/content \r\n",
	};
	struct api_config cfg;
	struct api_wait w;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		forget();
		srv = raw_start(redirect_to, (void *)(uintptr_t)(i ? renamed : same));
		cfg = config(raw_url(srv));
		assert_int_equal(api_new(&cfg, &api), 0);
		content(&w, 0, UINT64_MAX);
		assert_ok(&w);
		assert_string_equal(buf_str(&w.data), "here");
		api_wait_release(&w);
		/* The origin itself may have the key; another name for the same host may not. */
		assert_int_equal(count_seen(KEY), i ? 1 : 2);
		api_free(api);
		raw_stop(srv);
		api = NULL;
	}
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		srv = raw_start(redirect_to, (void *)(uintptr_t)refused[i]);
		cfg = config(raw_url(srv));
		assert_int_equal(api_new(&cfg, &api), 0);
		content(&w, 0, UINT64_MAX);
		assert_true(w.err.kind != API_OK);
		assert_int_equal(w.data.len, 0);
		api_free(api);
		raw_stop(srv);
		api = NULL;
	}
	srv = NULL;
}

static bool moved(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	return is(rq, "GET /x ") ? raw_reply(c, 200, "", LIST)
				 : raw_reply(c, 301, "Location: /x\r\n", "");
}

/* Only content may be redirected: a POST would become a GET, and arrive empty. */
static void test_redirect_of_calls(void **state)
{
	struct api_wait w;

	(void)state;
	start(moved, 2);
	list(&w);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 301);
	complete(&w);
	assert_int_equal(w.err.http_status, 301);
	assert_int_equal(count_seen("GET /x "), 0);
}

/* ---- 429 ---- */

static bool throttling(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	if (rq->nr == 0)
		return raw_reply(c, 429, "retry-after-ms: 3000\r\n",
				 "{\"error\":{\"message\":\"slow\"}}");
	if (is(rq, "/cancel "))
		return raw_reply(c, 200, "", UPLOAD("cancelled"));
	return raw_reply(c, 200, "", is(rq, "/parts ") ? PART : LIST);
}

static bool one_came(void *arg)
{
	(void)arg;
	return raw_requests(srv) >= 1;
}

static void test_429_holds_all(void **state)
{
	struct api_wait p, p2, l, c;
	struct api_req *preq, *p2req, *lreq;
	struct api_stats stats;

	(void)state;
	start(throttling, 2);
	preq = part(&p, "upload_1", 1, 10);
	assert_true(api_wait_until(one_came, NULL));
	/* The answer has come when the retry is counted. */
	do {
		usleep(1000);
		api_get_stats(api, &stats);
	} while (!stats.retries);
	api_wait_init(&l);
	lreq = api_file_list(api, NULL, NULL, 10, true, api_wait_page, &l);
	p2req = part(&p2, "upload_1", 2, 10);
	api_wait_init(&c);
	assert_true(api_wait_for(&c, api_upload_cancel(api, "upload_1", api_wait_upload, &c)));
	assert_ok(&c);
	assert_true(api_wait_for(&l, lreq));
	assert_true(api_wait_for(&p, preq));
	assert_true(api_wait_for(&p2, p2req));
	assert_ok(&l);
	assert_ok(&p);
	assert_int_equal(p.err.attempts, 2);
	assert_int_equal(p2.err.attempts, 1);
	assert_int_equal(seen_total(), 5);
	assert_non_null(strstr(seen[1], "/cancel "));
}

static bool no_quota(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	return raw_reply(c, 429, "retry-after-ms: 10\r\n",
			 "{\"error\":{\"message\":\"You exceeded your current quota\","
			 "\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}");
}

static void test_quota(void **state)
{
	struct api_wait w;

	(void)state;
	start(no_quota, 2);
	list(&w);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 429);
	assert_string_equal(w.err.code, "insufficient_quota");
	assert_int_equal(w.err.attempts, 1);
}

static bool should_retry(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	if (rq->nr == 0)
		return raw_reply(c, 400, "x-should-retry: true\r\nretry-after-ms: 5\r\n", "{}");
	return raw_reply(c, 500, "x-should-retry: false\r\n", "<html><title>Oops</title>");
}

static void test_should_retry(void **state)
{
	struct api_wait w;

	(void)state;
	start(should_retry, 2);
	list(&w);
	assert_int_equal(w.err.http_status, 500);
	assert_int_equal(w.err.attempts, 2);
	assert_string_equal(w.err.message, "Oops");
}

/* ---- how many at once, and who first ---- */

static bool gated(struct raw_server *s, int c, const struct raw_request *rq)
{
	unsigned now, most;

	(void)s;
	note(rq);
	if (!is(rq, "/parts "))
		return raw_reply(c, 200, "", LIST);
	now = atomic_fetch_add(&parts_now, 1) + 1;
	most = atomic_load(&parts_most);
	while (now > most && !atomic_compare_exchange_weak(&parts_most, &most, now))
		;
	while (!atomic_load(&gate_open))
		usleep(1000);
	atomic_fetch_sub(&parts_now, 1);
	return raw_reply(c, 200, "", PART);
}

static bool parts_are_there(void *arg)
{
	return atomic_load(&parts_now) == *(unsigned *)arg;
}

static void test_parallel(void **state)
{
	struct api_wait p[12], lists[30];
	struct api_req *reqs[12], *lreqs[30];
	unsigned i, want = 3;

	(void)state;
	start(gated, 3);
	/* Idle connections are no Parts under way: the time-out of these is what matters. */
	for (i = 0; i < 12; i++)
		reqs[i] = part(&p[i], "upload_1", i, 100000);
	assert_true(api_wait_until(parts_are_there, &want));
	/* A list does not wait behind Parts. */
	for (i = 0; i < 30; i++) {
		api_wait_init(&lists[i]);
		lreqs[i] = api_file_list(api, NULL, NULL, 10, true, api_wait_page, &lists[i]);
	}
	for (i = 0; i < 30; i++) {
		assert_true(api_wait_for(&lists[i], lreqs[i]));
		assert_ok(&lists[i]);
	}
	assert_int_equal(atomic_load(&parts_now), 3);
	atomic_store(&gate_open, true);
	for (i = 0; i < 12; i++) {
		assert_true(api_wait_for(&p[i], reqs[i]));
		assert_ok(&p[i]);
	}
	assert_int_equal(atomic_load(&parts_most), 3);
	assert_int_equal(seen_total(), 42);
	assert_true(seen_body > 12 * 100000);
}

static void test_fairness(void **state)
{
	struct api_wait p[8];
	struct api_req *reqs[8];
	unsigned i, want = 1, first_b = 0;

	(void)state;
	start(gated, 1);
	for (i = 0; i < 6; i++)
		reqs[i] = part(&p[i], "upload_a", 1, 10);
	assert_true(api_wait_until(parts_are_there, &want));
	for (i = 6; i < 8; i++)
		reqs[i] = part(&p[i], "upload_b", 2, 10);
	atomic_store(&gate_open, true);
	for (i = 0; i < 8; i++)
		assert_true(api_wait_for(&p[i], reqs[i]));
	for (i = 0; i < seen_total() && i < 64; i++) {
		if (strstr(seen[i], "/upload_b/")) {
			first_b = i;
			break;
		}
	}
	/* b came last and did not wait for all of a. (Its answers name upload_1: asked again.) */
	assert_true(first_b >= 1 && first_b <= 3);
}

static bool slow_list(struct raw_server *s, int c, const struct raw_request *rq)
{
	unsigned now, most;

	(void)s;
	(void)rq;
	now = atomic_fetch_add(&parts_now, 1) + 1;
	most = atomic_load(&parts_most);
	while (now > most && !atomic_compare_exchange_weak(&parts_most, &most, now))
		;
	usleep(2000);
	atomic_fetch_sub(&parts_now, 1);
	return raw_reply(c, 200, "", LIST);
}

static void test_many_calls(void **state)
{
	enum { CALLS = 400 };
	struct api_wait *w = calloc(CALLS, sizeof(*w));
	struct api_req *reqs[CALLS];
	unsigned i;

	(void)state;
	assert_non_null(w);
	start(slow_list, 2);
	for (i = 0; i < CALLS; i++) {
		api_wait_init(&w[i]);
		reqs[i] = api_file_list(api, NULL, NULL, 10, true, api_wait_page, &w[i]);
	}
	for (i = 0; i < CALLS; i++) {
		assert_true(api_wait_for(&w[i], reqs[i]));
		assert_ok(&w[i]);
		assert_int_equal(w[i].calls, 1);
	}
	assert_true(atomic_load(&parts_most) <= 64);
	/* Connections are kept and used again. */
	assert_true(raw_connections(srv) <= 64);
	free(w);
}

/* ---- answers that are none ---- */

static bool scripted(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)rq;
	raw_write(c, raw_arg(s));
	return false;
}

/* A server of its own and a connection for each reply, so that the retries pass side by side. */
struct script {
	struct raw_server *srv;
	struct api *api;
	struct api_wait w;
	struct api_req *req;
};

static void script_start(struct script *sc, const char *reply)
{
	struct api_config cfg;

	sc->srv = raw_start(scripted, (void *)(uintptr_t)reply);
	cfg = config(raw_url(sc->srv));
	assert_int_equal(api_new(&cfg, &sc->api), 0);
	api_wait_init(&sc->w);
}

static void script_end(struct script *sc)
{
	api_wait_release(&sc->w);
	api_free(sc->api);
	raw_stop(sc->srv);
}

static void test_no_http(void **state)
{
	static const struct {
		const char *reply;
		enum api_err_kind kind;
		unsigned attempts; /* 0: at least 3 */
	} cases[] = {
		{ "", API_ERR_CONNECT, 0 },
		{ "SSH-2.0-OpenSSH_9.2\r\n", API_ERR_BAD_REPLY, 3 },
		{ "HTTP/9.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
		  API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: secret\r\nContent-Length: 2\r\n\r\n{}",
		  API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		  API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", API_ERR_CONNECT, 0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", API_ERR_BAD_REPLY,
		  3 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "fffffffffffffffffffffff\r\n",
		  API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 204 None\r\n\r\n", API_ERR_BAD_REPLY, 3 },
		{ "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", API_ERR_HTTP,
		  1 },
		{ "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", API_ERR_HTTP, 1 },
	};
	enum { N = sizeof(cases) / sizeof(cases[0]) };
	static struct script scripts[N];
	const struct api_error *err;
	unsigned i;

	(void)state;
	for (i = 0; i < N; i++) {
		script_start(&scripts[i], cases[i].reply);
		scripts[i].req = api_file_list(scripts[i].api, NULL, NULL, 10, true, api_wait_page,
					       &scripts[i].w);
	}
	for (i = 0; i < N; i++) {
		assert_true(api_wait_for(&scripts[i].w, scripts[i].req));
		err = &scripts[i].w.err;
		if (err->kind != cases[i].kind || !err->message[0] ||
		    (cases[i].attempts ? err->attempts != cases[i].attempts : err->attempts < 3))
			fail_msg("%s: kind %d after %u attempts: %s", cases[i].reply,
				 (int)err->kind, err->attempts, err->message);
		script_end(&scripts[i]);
	}
}

static bool too_much(struct raw_server *s, int c, const struct raw_request *rq)
{
	char chunk[65536]; /* its own: the thread of an earlier connection may still be sending */
	unsigned i;

	(void)s;
	note(rq);
	if (is(rq, "order=")) { /* a head without end */
		raw_write(c, "HTTP/1.1 200 OK\r\n");
		memset(chunk, 'x', 1000);
		memcpy(chunk, "X-A: ", 5);
		memcpy(chunk + 998, "\r\n", 2);
		for (i = 0; i < 4000 && raw_write_n(c, chunk, 1000); i++)
			;
		return false;
	}
	raw_write(c, is(rq, "GET ") ? "HTTP/1.1 200 OK\r\n\r\n" : "HTTP/1.1 400 No\r\n\r\n");
	memset(chunk, ' ', sizeof(chunk));
	for (i = 0; i < 200 && raw_write_n(c, chunk, sizeof(chunk)); i++)
		;
	return false;
}

static void test_too_much(void **state)
{
	struct api_wait w;

	(void)state;
	start(too_much, 2);
	list(&w);
	assert_int_equal(w.err.kind, API_ERR_BAD_REPLY);
	assert_int_equal(w.err.attempts, 1);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_get(api, "file-1", api_wait_file, &w)));
	assert_int_equal(w.err.kind, API_ERR_BAD_REPLY);
	assert_int_equal(w.err.attempts, 1);
	/* A long error is still the error. */
	complete(&w);
	assert_int_equal(w.err.kind, API_ERR_HTTP);
	assert_int_equal(w.err.http_status, 400);
}

/* ---- lost replies ---- */

static bool breaks_second(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	if (rq->nr == 1)
		return false; /* took the request on a kept connection, and is gone */
	return raw_reply(c, 200, "", LIST);
}

/* curl would send it again by itself, and a service that does it twice makes two Files. */
static void test_no_hidden_retry(void **state)
{
	struct api_wait w;

	(void)state;
	start(breaks_second, 2);
	list(&w);
	assert_ok(&w);
	complete(&w);
	assert_int_equal(seen_total(), 2);
	assert_int_equal(w.err.kind, API_ERR_CONNECT);
	assert_int_equal(w.err.attempts, 1);
	assert_true(w.err.maybe_applied);
}

static bool dies_at_second(struct raw_server *s, int c, const struct raw_request *rq)
{
	note(rq);
	if (rq->nr == 0)
		return raw_reply(c, 200, "", LIST);
	raw_refuse(s); /* took the request on a kept connection, and the whole server is gone */
	return false;
}

/* curl's own retry can't connect: that must not hide that the request did go out. */
static void test_server_dies(void **state)
{
	struct api_wait w;

	(void)state;
	start(dies_at_second, 2);
	list(&w);
	assert_ok(&w);
	complete(&w);
	assert_int_equal(seen_total(), 2);
	assert_int_equal(w.err.kind, API_ERR_CONNECT);
	assert_int_equal(w.err.attempts, 1);
	assert_true(w.err.maybe_applied);
}

static bool resets_all(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	raw_reset(c);
	return false;
}

static void test_resets(void **state)
{
	struct api_wait w;

	(void)state;
	start(resets_all, 2);
	complete(&w);
	assert_int_equal(w.err.kind, API_ERR_CONNECT);
	assert_int_equal(w.err.attempts, 1);
	assert_true(w.err.maybe_applied);
	assert_int_equal(seen_total(), w.err.attempts);
}

/* Cut while the body is on its way: nothing was sent whole. */
static void test_not_applied(void **state)
{
	struct api_wait w;

	(void)state;
	start(resets_all, 2);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	raw_heads_only(srv);
	assert_true(api_wait_for(&w, part(&w, "upload_1", 1, 64 << 20)));
	assert_int_equal(w.err.kind, API_ERR_CONNECT);
	assert_false(w.err.maybe_applied);
}

static bool bad_gateway(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	return raw_reply(c, 502, "retry-after-ms: 1\r\n", "bad gateway");
}

static void test_5xx_may_be_applied(void **state)
{
	struct api_wait w;

	(void)state;
	start(bad_gateway, 2);
	complete(&w);
	assert_int_equal(w.err.http_status, 502);
	assert_int_equal(w.err.attempts, 1);
	assert_true(w.err.maybe_applied);
}

/* The status is the number behind "upload_". */
static bool redirect_by_id(struct raw_server *s, int c, const struct raw_request *rq)
{
	const char *at = strstr(rq->head, "upload_");

	(void)s;
	note(rq);
	raw_reply(c, at ? (int)strtoul(at + 7, NULL, 10) : 500,
		  "Location: /v1/files/file-1\r\n"
		  "Connection: close\r\n",
		  "{}");
	return false; /* a 304 has no body: what follows it is no reply */
}

/* Neither success nor refusal: complete was perhaps carried out, and is not sent again. */
static void test_no_answer_may_be_applied(void **state)
{
	static const int statuses[] = { 101, 300, 301, 302, 303, 304, 307, 308, 600, 999 };
	const char *part_id = "part_1";
	struct api_wait w;
	char id[32];

	(void)state;
	start(redirect_by_id, 2);
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		snprintf(id, sizeof(id), "upload_%d", statuses[i]);
		api_wait_init(&w);
		assert_true(api_wait_for(&w, api_upload_complete(api, id, &part_id, 1, NULL, 10,
								 api_wait_upload, &w)));
		assert_int_equal(w.err.http_status, statuses[i]);
		assert_int_equal(w.err.attempts, 1);
		assert_true(w.err.maybe_applied);
	}
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_upload_complete(api, "upload_400", &part_id, 1, NULL, 10,
							 api_wait_upload, &w)));
	assert_false(w.err.maybe_applied);
}

/* ---- silence ---- */

static bool silent(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	note(rq);
	if (is(rq, "/complete "))
		raw_write(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
	raw_wait_gone(c);
	return false;
}

static void test_silence(void **state)
{
	const char *id = "part_1";
	struct api_req *creq;
	struct api_wait w, c;

	(void)state;
	start(silent, 2);
	api_wait_init(&c);
	creq = api_upload_complete(api, "upload_1", &id, 1, NULL, 10, api_wait_upload, &c);
	list(&w);
	assert_int_equal(w.err.kind, API_ERR_TIMEOUT);
	assert_int_equal(w.err.http_status, 0);
	assert_int_equal(w.err.attempts, 3);
	assert_true(api_wait_for(&c, creq));
	assert_int_equal(c.err.kind, API_ERR_TIMEOUT);
	assert_true(c.err.maybe_applied);
}

static bool no_reader(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s, (void)c;
	note(rq);
	while (!atomic_load(&gate_open))
		usleep(1000);
	return false;
}

/* The peer takes the head and then reads no more. */
static void test_stuck_body(void **state)
{
	struct api_wait w;

	(void)state;
	start(no_reader, 2);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	raw_heads_only(srv);
	assert_true(api_wait_for(&w, part(&w, "upload_1", 1, 64 << 20)));
	assert_int_equal(w.err.kind, API_ERR_TIMEOUT);
	assert_false(w.err.maybe_applied);
	assert_non_null(strstr(w.err.message, "no byte moved"));
}

/* Somebody waits for the list: the service is given connect_timeout, not retry_timeout. */
static void test_brief_list(void **state)
{
	struct api_config cfg;
	struct api_wait w;

	(void)state;
	srv = raw_start(scripted, (void *)(uintptr_t) "");
	raw_refuse(srv);
	cfg = config(raw_url(srv));
	cfg.connect_timeout_s = 1;
	cfg.retry_timeout_s = 3600;
	assert_int_equal(api_new(&cfg, &api), 0);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_list_brief(api, NULL, NULL, 10, api_wait_page, &w)));
	assert_int_equal(w.err.kind, API_ERR_CONNECT);
	assert_true(w.err.attempts >= 2);
}

/* ---- TLS ---- */

static void test_no_tls(void **state)
{
	struct api_config cfg;
	struct api_wait w;
	char url[64];

	(void)state;
	srv = raw_start(scripted, (void *)(uintptr_t) "HTTP/1.1 400 plain\r\n\r\n");
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/v1", raw_port(srv));
	cfg = config(url);
	/* Reading the host's certificates counts, too, and takes what it takes. */
	cfg.connect_timeout_s = 60;
	assert_int_equal(api_new(&cfg, &api), 0);
	list(&w);
	assert_int_equal(w.err.kind, API_ERR_TLS);
	assert_int_equal(w.err.http_status, 0);
	assert_false(w.err.maybe_applied);
}

/* ---- content ---- */

#define HEAD_206(range, len) \
	"HTTP/1.1 206 Partial\r\nContent-Range: bytes " range "\r\nContent-Length: " #len "\r\n\r\n"

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

struct content_case {
	const char *reply;
	enum api_err_kind kind;
	const char *data; /* for bytes 2..5 of "0123456789"; all from byte 0 on with a 200 */
};

static void test_content_replies(void **state)
{
	static const struct content_case cases[] = {
		{ HEAD_206("2-5/10", 4) "2345", API_OK, "2345" },
		{ HEAD_206("2-5/*", 4) "2345", API_OK, "2345" },
		{ HEAD_206("2-9/10", 8) "23456789", API_OK, "2345" },
		{ HEAD_206("0-9/10", 10) "0123456789", API_OK, "2345" },
		{ HEAD_206("2-3/4", 2) "23", API_OK, "23" },
		{ HEAD_206("3-5/10", 3) "345", API_ERR_BAD_REPLY, "" },
		{ "HTTP/1.1 206 P\r\nContent-Length: 4\r\n\r\n2345", API_ERR_BAD_REPLY, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", API_OK, "0123456789" },
		{ "HTTP/1.1 200 OK\r\n\r\n0123456789", API_OK, "0123456789" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n012", API_OK, "012" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", API_OK, "" },
		{ CHUNKED "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n", API_OK, "0123456789" },
		{ "HTTP/1.1 201 OK\r\nContent-Length: 10\r\n\r\n0123456789", API_OK, "0123456789" },
		{ "HTTP/1.1 202 OK\r\nContent-Length: 4\r\n\r\n2345", API_ERR_BAD_REPLY, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n0123",
		  API_ERR_BAD_REPLY, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 3\r\n\r\n012",
		  API_OK, "012" },
		{ "HTTP/1.1 206 P\r\nContent-Range: bytes 2-5/10\r\nContent-Encoding: x\r\n"
		  "Content-Length: 4\r\n\r\n2345",
		  API_ERR_BAD_REPLY, "" },
		/* A trailer that looks like a status line. */
		{ CHUNKED "4\r\n0123\r\n0\r\nHTTP/1.1 404: x\r\nContent-Encoding: x\r\n\r\n",
		  API_OK, "0123" },
		{ "HTTP/1.1 204 None\r\n\r\n", API_ERR_BAD_REPLY, "" },
		{ "HTTP/1.1 416 X\r\nContent-Range: bytes */2\r\nContent-Length: 0\r\n\r\n", API_OK,
		  "" },
		{ "HTTP/1.1 416 X\r\nContent-Range: bytes */9\r\nContent-Length: 0\r\n\r\n",
		  API_ERR_HTTP, "" },
		{ "HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\n2345", API_ERR_HTTP, "" },
		/* Cut, each time at the same place: no progress, so it ends. */
		{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012", API_ERR_CONNECT, "012" },
		{ HEAD_206("2-4/10", 3) "234", API_ERR_BAD_REPLY, "234" },
	};
	enum { N = sizeof(cases) / sizeof(cases[0]) };
	static struct script scripts[N];
	struct api_wait *w;
	size_t i;

	(void)state;
	for (i = 0; i < N; i++) {
		script_start(&scripts[i], cases[i].reply);
		scripts[i].w.next = cases[i].data[0] == '0' ? 0 : 2;
		scripts[i].req = api_file_content(scripts[i].api, "file-1", 2, 4, UINT64_MAX,
						  api_wait_data, api_wait_content, &scripts[i].w);
	}
	for (i = 0; i < N; i++) {
		w = &scripts[i].w;
		assert_true(api_wait_for(w, scripts[i].req));
		if (w->err.kind != cases[i].kind || strcmp(buf_str(&w->data), cases[i].data) ||
		    w->gap)
			fail_msg("%s: kind %d, \"%s\": %s", cases[i].reply, (int)w->err.kind,
				 buf_str(&w->data), w->err.message);
		script_end(&scripts[i]);
	}
}

static bool resuming(struct raw_server *s, int c, const struct raw_request *rq)
{
	static const char all[] = "0123456789";
	char head[256];
	unsigned first = 0;
	const char *at = strstr(rq->head, "\r\nRange: bytes=");

	(void)s;
	note(rq);
	if (!at || sscanf(at, "\r\nRange: bytes=%u-", &first) != 1 || first > 9)
		return raw_reply(c, 500, "", "what range?");
	/* Two bytes of what was asked for, then the end. */
	snprintf(head, sizeof(head),
		 "HTTP/1.1 206 P\r\nContent-Range: bytes %u-9/10\r\nContent-Length: %u\r\n\r\n",
		 first, 10 - first);
	raw_write(c, head);
	raw_write_n(c, all + first, 10 - first < 2 ? 10 - first : 2);
	return false;
}

/* Every try gets a little further: that is no endless failure, however many there are. */
static void test_content_in_bites(void **state)
{
	struct api_wait w;

	(void)state;
	start(resuming, 2);
	content(&w, 0, UINT64_MAX);
	assert_ok(&w);
	assert_string_equal(buf_str(&w.data), "0123456789");
	assert_int_equal(w.err.attempts, 5);
	assert_int_equal(seen_total(), 5);
	assert_true(w.ranged);
	assert_non_null(strstr(seen[4], "\r\nRange: bytes=8-\r\n"));
	api_wait_release(&w);
}

#define GATHERED 100000U /* bytes; more than curl hands on at once */

static atomic_bool all_sent;
static unsigned gathered_calls;
static size_t gathered_bytes;

/* A byte, and all others when that one was seen. */
static bool burst(struct raw_server *s, int c, const struct raw_request *rq)
{
	static const char rest[GATHERED - 1];

	(void)s;
	note(rq);
	raw_write(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n.");
	while (!atomic_load(&gate_open))
		usleep(1000);
	raw_write_n(c, rest, sizeof(rest));
	atomic_store(&all_sent, true);
	return true;
}

static int take_gathered(void *arg, uint64_t offset, const void *data, size_t len)
{
	(void)arg, (void)data;
	assert_int_equal(offset, gathered_bytes);
	gathered_calls++;
	gathered_bytes += len;
	/* Until all has arrived nothing more is read: it is there at once then. */
	atomic_store(&gate_open, true);
	while (!atomic_load(&all_sent))
		usleep(1000);
	return 0;
}

/* What has arrived is handed on together, and a single byte does not wait for others. */
static void test_content_gathered(void **state)
{
	struct api_wait w;

	(void)state;
	atomic_store(&all_sent, false);
	gathered_calls = 0;
	gathered_bytes = 0;
	start(burst, 2);
	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_content(api, "file-1", 0, UINT64_MAX, UINT64_MAX,
						      take_gathered, api_wait_content, &w)));
	assert_ok(&w);
	assert_int_equal(gathered_bytes, GATHERED);
	/* Pieces of 16 KiB would be eight. */
	assert_true(gathered_calls <= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_over_http, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_targets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redirect_of_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_429_holds_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quota, setup, teardown),
		cmocka_unit_test_setup_teardown(test_should_retry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parallel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fairness, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_http, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_hidden_retry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_applied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_5xx_may_be_applied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer_may_be_applied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stuck_body, setup, teardown),
		cmocka_unit_test_setup_teardown(test_brief_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_tls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_replies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_in_bites, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_gathered, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LVL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
