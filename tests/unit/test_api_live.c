/* api: Parts whose bytes come while they are sent. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/api/api.h"
#include "net/base/clock.h"
#include "tests/unit/api_wait.h"
#include "tests/unit/raw_server.h"

#define LIST "{\"object\":\"list\",\"data\":[],\"has_more\":false}"
#define PART "{\"id\":\"part_1\",\"upload_id\":\"upload_1\"}"
#define LEN 3000000ULL
#define IDLE_S 60

static struct raw_server *srv;
static struct api *api;
static int fd = -1;
static atomic_ullong ready;	   /* bytes of the live Part that are there */
static atomic_ullong clock_offset; /* milliseconds */
static atomic_bool gate_open;
static atomic_uint gated; /* whole Parts at the gate */
static struct api_wait live;
static struct api_req *live_req;

static uint64_t moved_mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 +
	       atomic_load(&clock_offset);
}

static struct timespec wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

static bool honest(struct raw_server *s, int c, const struct raw_request *rq)
{
	(void)s;
	return raw_reply(c, 200, "", strstr(rq->head, "/parts ") ? PART : LIST);
}

/* Short Parts are answered when the gate opens. */
static bool gate(struct raw_server *s, int c, const struct raw_request *rq)
{
	if (strstr(rq->head, "/parts ") && rq->body_len < LEN) {
		atomic_fetch_add(&gated, 1);
		while (!atomic_load(&gate_open))
			usleep(1000);
	}
	return honest(s, c, rq);
}

static void start(raw_handler *handler, unsigned parallel)
{
	struct api_config cfg = { .parallel = parallel, .idle_timeout_s = IDLE_S };

	srv = raw_start(handler, NULL);
	cfg.base_url = raw_url(srv);
	assert_int_equal(api_new(&cfg, &api), 0);
}

static int setup(void **state)
{
	char path[] = "/tmp/test_api_live.XXXXXX";

	(void)state;
	atomic_store(&gate_open, false);
	atomic_store(&gated, 0);
	atomic_store(&ready, 0);
	live_req = NULL;
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	unlink(path);
	return ftruncate(fd, LEN);
}

static int teardown(void **state)
{
	(void)state;
	atomic_store(&gate_open, true);
	api_req_unref(live_req);
	api_free(api);
	raw_stop(srv);
	api = NULL;
	srv = NULL;
	close(fd);
	return 0;
}

static uint64_t on_ready(void *arg, uint64_t at)
{
	(void)at;
	return atomic_load((atomic_ullong *)arg);
}

static void part_live(uint64_t there)
{
	struct api_part_body body = {
		.fd = fd, .len = LEN, .fairness = 1, .ready = on_ready, .ready_arg = &ready
	};

	atomic_store(&ready, there);
	api_wait_init(&live);
	live_req = api_part_add(api, "upload_1", &body, api_wait_part, &live);
	assert_non_null(live_req);
}

static struct api_req *part(struct api_wait *w, uint64_t file)
{
	struct api_part_body body = { .fd = fd, .len = 1000, .fairness = file };

	api_wait_init(w);
	return api_part_add(api, "upload_1", &body, api_wait_part, w);
}

static void feed(uint64_t there)
{
	atomic_store(&ready, there);
	api_part_feed(live_req);
}

/* With a little around it: it has come as far as it can. */
static bool came(void *arg)
{
	return raw_body_bytes(srv) >= *(uint64_t *)arg;
}

static void await_bytes(uint64_t bytes)
{
	assert_true(api_wait_until(came, &bytes));
}

static bool live_is_over(void *arg)
{
	(void)arg;
	return api_wait_done(&live);
}

static void await_live(enum api_err_kind kind)
{
	assert_true(api_wait_until(live_is_over, NULL));
	assert_int_equal(live.err.kind, kind);
}

static void ask(void)
{
	struct api_wait w;

	api_wait_init(&w);
	assert_true(api_wait_for(&w, api_file_list(api, NULL, NULL, 10, true, api_wait_page, &w)));
	assert_int_equal(w.err.kind, API_OK);
}

/* ---- */

static void test_as_it_comes(void **state)
{
	uint64_t there;

	(void)state;
	start(honest, 2);
	part_live(100000);
	for (there = 100000; there < LEN; there += 290000) {
		await_bytes(there);
		assert_false(api_wait_done(&live));
		assert_true(raw_body_bytes(srv) < there + 1000);
		feed(there + 290000);
	}
	feed(LEN);
	await_live(API_OK);
	assert_int_equal(live.err.attempts, 1);
	assert_string_equal(live.id, "part_1");
	assert_int_equal(raw_connections(srv), 1);
}

/* A writer that pauses for minutes: what waits for bytes is not idle. */
static void test_paused(void **state)
{
	(void)state;
	start(honest, 2);
	part_live(100000);
	await_bytes(100000);
	for (unsigned i = 0; i < 5; i++) {
		atomic_fetch_add(&clock_offset, (IDLE_S + 1) * 1000ULL);
		/* Asked and answered after that: so the watchdog has looked. */
		ask();
		assert_false(api_wait_done(&live));
	}
	feed(200000);
	await_bytes(200000);
	feed(LEN);
	await_live(API_OK);
	assert_int_equal(live.err.attempts, 1);
}

/* curl looks whether the peer is gone when it has something to send. */
static bool over_when_fed(void *arg)
{
	uint64_t there = atomic_load(&ready);

	feed(there + 1000 < LEN ? there + 1000 : there);
	return live_is_over(arg);
}

/* The server loses its patience: nothing is sent again before all is there. */
static void test_cut(void **state)
{
	(void)state;
	start(honest, 2);
	raw_cut_at(srv, 150000);
	part_live(100000);
	await_bytes(100000);
	assert_true(api_wait_until(over_when_fed, NULL));
	await_live(API_ERR_CONNECT);
	assert_int_equal(live.err.attempts, 1);
	assert_false(live.err.maybe_applied);
}

/* The same when all is there: that is a Part like any other. */
static void test_cut_whole(void **state)
{
	(void)state;
	start(honest, 2);
	raw_cut_at(srv, 2000000);
	part_live(100000);
	await_bytes(100000);
	feed(LEN);
	await_live(API_OK);
	assert_int_equal(live.err.attempts, 2);
}

/* It waits for bytes, another for its place: it gives way. */
static void test_gives_way(void **state)
{
	struct api_wait w;

	(void)state;
	start(honest, 1);
	part_live(100000);
	await_bytes(100000);
	assert_true(api_wait_for(&w, part(&w, 2)));
	assert_int_equal(w.err.kind, API_OK);
	await_live(API_ERR_CANCELLED);
}

/* Not where there is room for both. */
static void test_room(void **state)
{
	struct api_wait w;

	(void)state;
	start(honest, 2);
	part_live(100000);
	await_bytes(100000);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(api_wait_for(&w, part(&w, 2)));
		assert_int_equal(w.err.kind, API_OK);
	}
	assert_false(api_wait_done(&live));
	feed(LEN);
	await_live(API_OK);
}

static bool is_gated(void *arg)
{
	return atomic_load(&gated) == *(unsigned *)arg;
}

/* Those that are there go first, whoever came first; all places are theirs. */
static void test_goes_last(void **state)
{
	struct api_wait w[4];
	struct api_req *reqs[4];
	unsigned one = 1, i;

	(void)state;
	start(gate, 1);
	reqs[0] = part(&w[0], 2);
	assert_true(api_wait_until(is_gated, &one));
	part_live(100000);
	for (i = 1; i < 4; i++)
		reqs[i] = part(&w[i], 2);
	ask();
	assert_int_equal(atomic_load(&gated), 1);
	atomic_store(&gate_open, true);
	for (i = 0; i < 4; i++) {
		assert_true(api_wait_for(&w[i], reqs[i]));
		assert_int_equal(w[i].err.kind, API_OK);
	}
	assert_false(api_wait_done(&live));
	await_bytes(100000 + 4 * 1000);
	feed(LEN);
	await_live(API_OK);
	assert_int_equal(live.err.attempts, 1);
}

/* While it waits for a place it becomes whole: then it has the turn of its kind. */
static void test_whole_by_then(void **state)
{
	struct api_wait w;
	struct api_req *req;
	unsigned one = 1;

	(void)state;
	start(gate, 1);
	req = part(&w, 2);
	assert_true(api_wait_until(is_gated, &one));
	part_live(100000);
	feed(LEN);
	atomic_store(&gate_open, true);
	await_live(API_OK);
	assert_true(api_wait_for(&w, req));
}

static void test_cancel(void **state)
{
	(void)state;
	start(honest, 2);
	part_live(100000);
	await_bytes(100000);
	api_req_cancel(live_req);
	await_live(API_ERR_CANCELLED);
	feed(LEN); /* too late, and no harm */
	ask();
}

/* The end of the connection ends it as well. */
static void test_end(void **state)
{
	(void)state;
	start(honest, 2);
	part_live(100000);
	await_bytes(100000);
	api_free(api);
	api = NULL;
	await_live(API_ERR_CANCELLED);
	api_part_feed(live_req);
}

int main(void)
{
	static const struct clock_source source = { moved_mono, wall };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_as_it_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gives_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_goes_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whole_by_then, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
	};

	clock_set_source(&source);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
