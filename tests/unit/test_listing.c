/* uses: fake_api */
/*
 * listing: which pages are asked for and when, who shares them, and Files that go away meanwhile.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fs/remote/listing.h"
#include "fs/remote/walk.h"
#include "net/base/clock.h"
#include "tests/unit/fake_api.h"

#define NAMED_MAX 2000
#define DEADLINE_S 60

static struct api *api;
static struct listing *listing;
static atomic_uint_fast64_t now_ms;
static char ids[NAMED_MAX][API_ID_MAX + 1]; /* of the Files that were added */
static unsigned added;

/* What apply() was given; the listing's thread's until it has answered. */
static char named[NAMED_MAX][API_ID_MAX + 1];
static unsigned named_count;	 /* Files of all fetches, each once */
static atomic_uint wholes, news; /* fetches that were applied */
static atomic_uint parts;	 /* pages of the first one, but for the last */
static unsigned last_count;	 /* Files of the last one */
static unsigned last_before;	 /* and of the same fetch before those */
static bool in_order;
static unsigned want_calls; /* apply() waits for so many calls of the service; 0: for nothing */

static uint64_t fake_mono(void)
{
	return now_ms;
}

static struct timespec fake_wall(void)
{
	return (struct timespec){ .tv_sec = 1700000000 };
}

static bool is_known(void *arg, const char *file_id)
{
	(void)arg;
	for (unsigned i = 0; i < named_count; i++)
		if (!strcmp(named[i], file_id))
			return true;
	return false;
}

static void apply(void *arg, const struct listing_files *files)
{
	int64_t before = INT64_MAX;

	(void)arg;
	if (want_calls && !files->whole)
		in_order = in_order && fake_api_wait_calls(api, FAKE_LIST, want_calls++);
	last_count = (unsigned)files->count;
	last_before = (unsigned)files->before;
	for (size_t p = 0; p < files->page_count; p++) {
		for (size_t k = 0; k < files->pages[p].count; k++) {
			const struct api_file *f = &files->pages[p].files[k];

			in_order = in_order && f->created_at < before;
			before = f->created_at;
			if (!is_known(NULL, f->id) && named_count < NAMED_MAX)
				snprintf(named[named_count++], sizeof(named[0]), "%s", f->id);
		}
	}
	/* Last, as a test may wait for it. */
	*(files->whole ? &wholes : files->first ? &parts : &news) += 1;
}

/* Until *count is n. */
static void wait_for(atomic_uint *count, unsigned n)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned ms = 0; *count != n; ms++) {
		if (ms > DEADLINE_S * 1000)
			fail_msg("%u instead of %u", *count, n);
		nanosleep(&pause, NULL);
	}
}

struct answer {
	atomic_uint calls;
	int err;
	bool known;
};

static void on_answer(void *arg, int err, bool known)
{
	struct answer *a = arg;

	a->err = err;
	a->known = known;
	a->calls++;
}

static void add_files(unsigned n)
{
	char name[32];

	for (; n; n--, added++) {
		snprintf(name, sizeof(name), "f%u", added);
		fake_api_add_file(api, name, "batch", "x", 1, ids[added]);
	}
}

static int setup(void **state)
{
	static const struct clock_source clock = { fake_mono, fake_wall };
	struct listing_config cfg = { .apply = apply, .known = is_known };

	(void)state;
	now_ms = 1000000;
	clock_set_source(&clock);
	api = fake_api_new();
	cfg.api = api;
	added = named_count = want_calls = 0;
	wholes = news = parts = 0;
	in_order = true;
	return listing_new(&cfg, &listing);
}

static int teardown(void **state)
{
	(void)state;
	listing_stop(listing);
	api_free(api);
	listing_free(listing);
	clock_set_source(NULL);
	return 0;
}

/* The whole list, fetched now. */
static void fetch_whole(void)
{
	struct answer a = { 0 };

	listing_want(listing, 0, on_answer, &a);
	wait_for(&a.calls, 1);
	assert_int_equal(a.err, 0);
}

static uint64_t limit_of(unsigned nth)
{
	struct fake_call c;

	assert_true(fake_api_call(api, FAKE_LIST, nth, &c));
	return c.len;
}

static void test_all_pages(void **state)
{
	struct answer a[3] = { 0 };

	(void)state;
	add_files(10);
	fake_api_page_max(api, 3);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	for (unsigned i = 0; i < 3; i++)
		listing_want(listing, 500, on_answer, &a[i]);
	fake_api_release(api, FAKE_LIST);
	for (unsigned i = 0; i < 3; i++)
		wait_for(&a[i].calls, 1);
	/* One fetch for all who asked. */
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 4);
	assert_int_equal(limit_of(0), 10000);
	for (unsigned i = 0; i < 3; i++)
		assert_true(a[i].err == 0 && a[i].known);
	assert_true(wholes == 1 && news == 0 && named_count == 10 && in_order);
	/* As they came, and the last with the word that there is nothing else. */
	assert_true(parts == 3 && last_count == 1 && last_before == 9);
	/* Young enough: the answer comes at once. */
	now_ms += 500;
	listing_want(listing, 500, on_answer, &a[0]);
	assert_int_equal(a[0].calls, 2);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 4);
}

/* Until no fetch is under way, not even one that nobody waits for. */
static void settle(void)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned ms = 0; listing_is_fetching(listing); ms++) {
		assert_true(ms < DEADLINE_S * 1000);
		nanosleep(&pause, NULL);
	}
}

/* Who comes while a list is under way gets one that was asked for late enough. */
static void test_no_older_than_asked(void **state)
{
	struct answer a[4] = { 0 };

	(void)state;
	add_files(1);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_REPLY);
	listing_want(listing, 0, on_answer, &a[0]);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 1));
	now_ms += 1000;
	add_files(1);
	listing_want(listing, 1000, on_answer, &a[1]);
	listing_want(listing, 999, on_answer, &a[2]);
	listing_want(listing, 0, on_answer, &a[3]);
	fake_api_release(api, FAKE_LIST);
	for (unsigned i = 0; i < 4; i++)
		wait_for(&a[i].calls, 1);
	/* One more fetch serves all who came too late for the first. */
	settle();
	assert_true(wholes == 2 && news == 0 && named_count == 2);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 2);
}

/* The same of a lookup: the whole list under way is young enough for it, its first page is not. */
static void test_newest_no_older_than_asked(void **state)
{
	struct answer a[2] = { 0 };

	(void)state;
	add_files(1);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_REPLY);
	listing_want(listing, 0, on_answer, &a[0]);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 1));
	now_ms += 1001;
	add_files(1);
	listing_want_new(listing, 1000, 3600000, on_answer, &a[1]);
	fake_api_release(api, FAKE_LIST);
	wait_for(&a[1].calls, 1);
	settle();
	assert_true(wholes == 1 && news == 1 && named_count == 2);
	assert_true(fake_api_calls(api, FAKE_LIST) == 2 && limit_of(1) == 20);
}

/* A service that gives no answer: what was known before is the answer after a while. */
static void test_patience(void **state)
{
	struct answer a[4] = { 0 };

	(void)state;
	add_files(3);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	listing_want(listing, 0, on_answer, &a[0]);
	now_ms += 59000;
	listing_want(listing, 60000, on_answer, &a[1]);
	/* Nothing is known yet. */
	assert_true(!a[0].calls && !a[1].calls);
	fake_api_release(api, FAKE_LIST);
	wait_for(&a[1].calls, 1);
	assert_true(wholes == 1 && a[0].err == 0 && a[1].err == 0);

	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	now_ms += 60000;
	for (unsigned i = 1; i < 4; i++) {
		listing_want(listing, 1000, on_answer, &a[i]);
		now_ms += i < 3 ? 4999 : 0;
	}
	assert_true(a[1].calls == 1 && !a[2].calls && !a[3].calls);
	now_ms += 2;
	for (unsigned i = 1; i < 4; i++)
		wait_for(&a[i].calls, 1 + (i == 1));
	for (unsigned i = 1; i < 4; i++)
		assert_true(a[i].err == -ETIMEDOUT && a[i].known);
	/* The fetch goes on, and who comes now does not wait. */
	assert_true(wholes == 1);
	listing_want(listing, 1000, on_answer, &a[0]);
	wait_for(&a[0].calls, 2);
	assert_int_equal(a[0].err, -ETIMEDOUT);
	fake_api_release(api, FAKE_LIST);
	wait_for(&wholes, 2);
	/* The callback comes before the fetch has ended. */
	settle();
	listing_want(listing, 100000, on_answer, &a[0]);
	wait_for(&a[0].calls, 3);
	assert_true(a[0].err == 0 && fake_api_calls(api, FAKE_LIST) == 2);
}

static void want_new(struct answer *a)
{
	unsigned calls = a->calls;

	listing_want_new(listing, 1000, 3600000, on_answer, a);
	wait_for(&a->calls, calls + 1);
	settle();
}

/* What is new is found by few small pages, and what is not new is not asked for. */
/* Pages that trickle in: ten seconds, then what is known; for the very first list a minute. */
static void test_trickle(void **state)
{
	struct listing_progress progress;
	struct answer first = { 0 }, again = { 0 }, late = { 0 };

	(void)state;
	add_files(6);
	fake_api_page_max(api, 1);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	listing_want(listing, 0, on_answer, &first);
	for (unsigned i = 0; i < 4; i++) {
		assert_false(first.calls);
		now_ms += 14000;
		assert_true(fake_api_wait_calls(api, FAKE_LIST, i + 1));
		fake_api_release_some(api, FAKE_LIST, 1);
	}
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 5));
	listing_get_progress(listing, &progress);
	assert_true(progress.under_way && !progress.known);
	assert_true(progress.pages == 4 && progress.files == 4);
	now_ms += 14000;
	listing_want(listing, 0, on_answer, &again);
	wait_for(&first.calls, 1);
	wait_for(&again.calls, 1);
	assert_true(first.err == -ETIMEDOUT && !first.known && again.err == -ETIMEDOUT);
	/* The fetch goes on, for nobody. */
	fake_api_release(api, FAKE_LIST);
	settle();
	assert_true(wholes == 1 && named_count == 6);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	listing_want(listing, 0, on_answer, &first);
	for (unsigned i = 0; i < 3; i++) {
		now_ms += 3000;
		fake_api_release_some(api, FAKE_LIST, 1);
		assert_true(fake_api_wait_calls(api, FAKE_LIST, 6 + i + 2));
	}
	assert_int_equal(first.calls, 1);
	now_ms += 1001;
	listing_want(listing, 0, on_answer, &late);
	wait_for(&first.calls, 2);
	wait_for(&late.calls, 1);
	assert_true(first.err == -ETIMEDOUT && first.known && late.err == -ETIMEDOUT);
	fake_api_release(api, FAKE_LIST);
}

/* Refused limits are tried smaller; what was learned stays. */
static void test_limit_refused(void **state)
{
	struct api_error no = fake_api_error(API_ERR_HTTP, 400, "", "limit must be at most 100");
	struct answer a = { 0 };

	(void)state;
	add_files(3);
	fake_api_fail(api, FAKE_LIST, 1, 2, &no);
	fetch_whole();
	assert_true(limit_of(0) == 10000 && limit_of(1) == 1000 && limit_of(2) == 100);
	now_ms += 5000;
	fetch_whole();
	assert_int_equal(limit_of(3), 100);
	/* A service that refuses them all is told so. */
	fake_api_fail(api, FAKE_LIST, 1, 9, &no);
	now_ms += 5000;
	listing_want(listing, 0, on_answer, &a);
	wait_for(&a.calls, 1);
	assert_true(a.err == -EINVAL && limit_of(5) == 20);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 6);
}

static void test_circles(void **state)
{
	struct walk w = { .limit_max = 100 };
	char id[16];

	(void)state;
	for (unsigned length = 1; length < 40; length++) {
		for (unsigned tail = 0; tail < 40; tail++) {
			unsigned n = 0;

			walk_begin(&w);
			do {
				snprintf(id, sizeof(id), "%u",
					 n < tail ? n : tail + (n - tail) % length);
			} while (walk_goes_on(&w, id) && ++n < 1000);
			assert_true(n >= tail + length && n <= 3 * (tail + length));
		}
	}
	walk_begin(&w);
	assert_false(walk_goes_on(&w, ""));
}

static void test_newest(void **state)
{
	struct answer a = { 0 };

	(void)state;
	add_files(1000);
	want_new(&a);
	assert_true(a.calls == 1 && wholes == 1 && news == 0); /* nothing was known */
	assert_int_equal(limit_of(0), 10000);
	want_new(&a);
	assert_true(a.calls == 2 && fake_api_calls(api, FAKE_LIST) == 1); /* known for a second */
	now_ms += 1001;
	want_new(&a);
	assert_true(a.calls == 3 && wholes == 1 && news == 1);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 3);
	assert_true(limit_of(1) == 20 && limit_of(2) == 200 && last_count == 220);
	add_files(400);
	now_ms += 1001;
	want_new(&a);
	/* 20, 200, and 2000 more, as no known one was among the first. */
	assert_true(news == 2 && named_count == 1400 && in_order);
	assert_true(fake_api_calls(api, FAKE_LIST) == 6 && limit_of(5) == 2000);
	/* After a while nothing but the whole list will do. */
	now_ms += 3600001;
	want_new(&a);
	assert_true(wholes == 2 && news == 2 && last_count == 1400);
}

/* Asked for while it is still believed: the answer comes before the fetch has ended. */
static void ask_ahead(unsigned lists, bool whole)
{
	unsigned before = whole ? wholes : news;
	struct answer a = { 0 };

	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	for (unsigned i = 0; i < 3; i++) {
		listing_want_new(listing, 1000, 3600000, on_answer, &a);
		assert_true(a.calls == i + 1 && !a.err && a.known);
	}
	assert_true(fake_api_wait_calls(api, FAKE_LIST, lists));
	fake_api_release(api, FAKE_LIST);
	settle();
	assert_int_equal(whole ? wholes : news, before + 1);
}

static void test_ahead(void **state)
{
	struct api_error gone = fake_api_error(API_ERR_CONNECT, 0, "", "refused");
	struct answer a = { 0 };

	(void)state;
	add_files(10);
	fetch_whole();
	now_ms += 500;
	want_new(&a);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 1);
	now_ms += 1;
	ask_ahead(2, false);
	/* That one counts: nobody waits at the end of the first second. */
	now_ms += 500;
	want_new(&a);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 2);
	/* One that fails is not asked for by each who comes. */
	fake_api_fail(api, FAKE_LIST, 1, 1, &gone);
	now_ms += 1;
	for (unsigned i = 0; i < 3; i++)
		want_new(&a);
	assert_true(fake_api_calls(api, FAKE_LIST) == 3 && news == 1 && !a.err);
	/* And the whole list, half a second before the hour is over. */
	now_ms += 3600000 - 1002 - 700;
	want_new(&a);
	assert_true(fake_api_calls(api, FAKE_LIST) == 4 && wholes == 1);
	now_ms += 201;
	ask_ahead(5, true);
}

/* A File is found behind others that are known, as far as that may be. */
static void test_behind_known(void **state)
{
	struct answer a = { 0 };
	unsigned before;

	(void)state;
	add_files(300);
	fetch_whole();
	before = named_count;
	/* As if no listing had named it: its Upload was made before the 49 that are newer. */
	for (unsigned i = 0; i < named_count; i++)
		if (!strcmp(named[i], ids[250]))
			memcpy(named[i], named[--named_count], sizeof(named[0]));
	now_ms += 1001;
	want_new(&a);
	assert_int_equal(named_count, before);
}

static void on_deleted(void *arg, const struct api_error *err)
{
	(void)arg;
	assert_int_equal(err->kind, API_OK);
}

/* The File behind which the next page begins is removed, and those before it. */
static void test_removed_between_pages(void **state)
{
	struct api_req *req;
	struct answer a = { 0 };

	(void)state;
	add_files(40);
	fake_api_page_max(api, 10);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	listing_want(listing, 0, on_answer, &a);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 1));
	fake_api_release_some(api, FAKE_LIST, 1);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 2));
	/* The first page ends with the eleventh but last. */
	for (unsigned i = 30; i < 34; i++) {
		req = api_file_delete(api, ids[i], on_deleted, NULL);
		api_req_unref(req);
	}
	assert_true(fake_api_wait_done(api, FAKE_DELETE, 4));
	fake_api_release(api, FAKE_LIST);
	wait_for(&a.calls, 1);
	assert_true(a.err == 0 && wholes == 1);
	for (unsigned i = 0; i < 40; i++)
		assert_true(is_known(NULL, ids[i]) || (i >= 30 && i < 34));
}

/* Who wants the whole list gets it, though its newest part is being fetched. */
static void test_whole_after_newest(void **state)
{
	struct answer newest = { 0 }, whole = { 0 };

	(void)state;
	add_files(100);
	fetch_whole();
	now_ms += 1001;
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	listing_want_new(listing, 1000, 3600000, on_answer, &newest);
	listing_want(listing, 1000, on_answer, &whole);
	fake_api_release(api, FAKE_LIST);
	wait_for(&newest.calls, 1);
	wait_for(&whole.calls, 1);
	assert_true(!newest.err && !whole.err);
	assert_true(news == 1 && wholes == 2);
}

static void test_failure(void **state)
{
	struct api_error gone = fake_api_error(API_ERR_CONNECT, 0, "", "refused");
	struct answer a = { 0 };

	(void)state;
	add_files(1);
	fake_api_fail(api, FAKE_LIST, 1, 1, &gone);
	want_new(&a);
	assert_true(a.calls == 1 && a.err == -EHOSTUNREACH && !a.known);
	/* The next ones do not ask again at once. */
	want_new(&a);
	assert_true(a.calls == 2 && a.err == -EHOSTUNREACH);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 1);
	now_ms += 1001;
	want_new(&a);
	assert_true(a.calls == 3 && a.err == 0 && a.known && wholes == 1);
	fake_api_fail(api, FAKE_LIST, 1, 1, &gone);
	now_ms += 1001;
	want_new(&a);
	assert_true(a.calls == 4 && a.err == -EHOSTUNREACH && a.known);
}

static void test_refresh(void **state)
{
	(void)state;
	add_files(5);
	listing_refresh(listing, 1000);
	settle();
	assert_int_equal(wholes, 1);
	listing_refresh(listing, 1000);
	settle();
	assert_int_equal(wholes, 1);
	now_ms += 1001;
	listing_refresh(listing, 1000);
	settle();
	assert_int_equal(wholes, 2);
}

/* While a page of the first fetch is taken in, the next one is on its way. */
static void test_next_page_is_asked_for_first(void **state)
{
	(void)state;
	add_files(10);
	fake_api_page_max(api, 3);
	want_calls = 2;
	fetch_whole();
	assert_true(in_order && want_calls == 5);
	assert_true(parts == 3 && wholes == 1 && named_count == 10);
	/* A later one is compared with what is shown: all at once. */
	now_ms += 1;
	fetch_whole();
	assert_true(parts == 3 && wholes == 2 && last_count == 10 && last_before == 0);
}

/* What came before the failure is shown; the next fetch is as any later one. */
static void test_first_fails_half_way(void **state)
{
	struct api_error gone = fake_api_error(API_ERR_CONNECT, 0, "", "refused");
	struct answer a = { 0 };

	(void)state;
	add_files(10);
	fake_api_page_max(api, 4);
	fake_api_fail(api, FAKE_LIST, 3, 1, &gone);
	listing_want(listing, 0, on_answer, &a);
	wait_for(&a.calls, 1);
	assert_true(a.err == -EHOSTUNREACH && !a.known);
	assert_true(parts == 2 && wholes == 0 && named_count == 8);
	now_ms += 1001;
	fetch_whole();
	assert_true(parts == 2 && wholes == 1 && last_count == 10 && named_count == 10);
}

/* All that stood before the place to go on was removed: the first fetch begins anew, as another. */
static void test_first_starts_over(void **state)
{
	struct answer a = { 0 };

	(void)state;
	add_files(8);
	fake_api_page_max(api, 4);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_WORK);
	listing_want(listing, 0, on_answer, &a);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 1));
	fake_api_release_some(api, FAKE_LIST, 1);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 2));
	for (unsigned i = 4; i < 8; i++)
		api_req_unref(api_file_delete(api, ids[i], on_deleted, NULL));
	assert_true(fake_api_wait_done(api, FAKE_DELETE, 4));
	fake_api_release(api, FAKE_LIST);
	wait_for(&a.calls, 1);
	assert_true(a.err == 0 && parts == 1 && wholes == 1);
	/* Only with the last one is said what is not there any more. */
	assert_true(last_count == 4 && last_before == 0 && named_count == 8);
}

/* Who waits is answered, and what comes in the end is nobody's any more. */
static void test_stopped(void **state)
{
	struct answer a = { 0 }, late = { 0 };

	(void)state;
	add_files(10);
	fake_api_page_max(api, 3);
	fake_api_hold(api, FAKE_LIST, FAKE_HOLD_REPLY);
	listing_want(listing, 0, on_answer, &a);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 1));
	fake_api_release_some(api, FAKE_LIST, 1);
	assert_true(fake_api_wait_calls(api, FAKE_LIST, 2));
	listing_stop(listing);
	assert_true(a.calls == 1 && a.err == -EINTR && !a.known);
	fake_api_release(api, FAKE_LIST);
	assert_true(fake_api_wait_idle(api));
	assert_true(parts <= 1 && wholes == 0);
	listing_want(listing, 0, on_answer, &late);
	assert_true(late.calls == 1 && late.err == -EINTR);
	assert_int_equal(fake_api_calls(api, FAKE_LIST), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_all_pages),
		TEST(test_no_older_than_asked),
		TEST(test_newest_no_older_than_asked),
		TEST(test_patience),
		TEST(test_trickle),
		TEST(test_limit_refused),
		TEST(test_circles),
		TEST(test_newest),
		TEST(test_ahead),
		TEST(test_behind_known),
		TEST(test_removed_between_pages),
		TEST(test_whole_after_newest),
		TEST(test_failure),
		TEST(test_refresh),
		TEST(test_next_page_is_asked_for_first),
		TEST(test_first_fails_half_way),
		TEST(test_first_starts_over),
		TEST(test_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
