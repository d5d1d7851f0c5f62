/* pool: turns, running again, removal, many threads, crews. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/work/pool.h"
#include "tests/unit/stage_area.h"

struct job {
	struct hash_job job;
	atomic_uint runs, left; /* left: runs that still say that there is more */
	atomic_bool inside, block, overlap;
	struct job *other; /* whose runs are noted at the end */
	unsigned other_runs;
};

static bool run(struct hash_job *hj)
{
	struct job *j = (struct job *)hj;
	bool more = false;

	if (atomic_exchange(&j->inside, true))
		atomic_store(&j->overlap, true);
	atomic_fetch_add(&j->runs, 1);
	while (atomic_load(&j->block))
		;
	if (atomic_load(&j->left)) {
		atomic_fetch_sub(&j->left, 1);
		more = true;
	}
	if (!more && j->other)
		j->other_runs = atomic_load(&j->other->runs);
	atomic_store(&j->inside, false);
	return more;
}

static void job_init(struct job *j, unsigned more)
{
	memset(j, 0, sizeof(*j));
	j->job.run = run;
	atomic_init(&j->left, more);
}

struct want {
	struct job *job;
	unsigned runs;
};

static bool has_run(void *arg)
{
	struct want *w = arg;

	return atomic_load(&w->job->runs) >= w->runs;
}

static void wait_runs(struct job *j, unsigned runs)
{
	struct want w = { j, runs };

	stage_wait(has_run, &w);
}

static void test_arguments(void **state)
{
	struct pool *h = NULL;

	(void)state;
	assert_int_equal(pool_new(0, &h), -EINVAL);
	assert_int_equal(pool_new(9, &h), -EINVAL);
	assert_null(h);
	pool_free(NULL);
	assert_int_equal(pool_new(8, &h), 0);
	pool_free(h);
}

static void test_turns(void **state)
{
	struct job a, b, gate;
	struct pool *h;

	(void)state;
	assert_int_equal(pool_new(1, &h), 0);
	job_init(&gate, 0);
	atomic_store(&gate.block, true);
	job_init(&a, 100);
	job_init(&b, 100);
	a.other = &b;
	pool_queue(h, &gate.job);
	wait_runs(&gate, 1);
	pool_queue(h, &a.job);
	pool_queue(h, &a.job);
	pool_queue(h, &b.job);
	atomic_store(&gate.block, false);
	wait_runs(&b, 101);
	pool_remove(h, &a.job);
	pool_remove(h, &b.job);
	/* One after the other: when a ended, b was one run behind. Queued twice is queued once. */
	assert_int_equal(atomic_load(&a.runs), 101);
	assert_int_equal(a.other_runs, 100);
	pool_remove(h, &gate.job);
	pool_free(h);
}

static void test_again(void **state)
{
	struct pool *h;
	struct job j;

	(void)state;
	assert_int_equal(pool_new(2, &h), 0);
	job_init(&j, 0);
	atomic_store(&j.block, true);
	pool_queue(h, &j.job);
	wait_runs(&j, 1);
	/* It may have looked already at what it is queued for now. */
	pool_queue(h, &j.job);
	pool_queue(h, &j.job);
	atomic_store(&j.block, false);
	wait_runs(&j, 2);
	pool_remove(h, &j.job);
	assert_int_equal(atomic_load(&j.runs), 2);
	assert_false(atomic_load(&j.overlap));
	/* A removed job can be queued anew. */
	pool_queue(h, &j.job);
	wait_runs(&j, 3);
	pool_remove(h, &j.job);
	pool_free(h);
}

/* Removed while it would run for ever, and while it waits behind another. */
static void test_remove(void **state)
{
	struct job forever, behind, third;
	struct pool *h;
	unsigned runs;

	(void)state;
	assert_int_equal(pool_new(1, &h), 0);
	job_init(&forever, UINT32_MAX);
	job_init(&behind, 0);
	job_init(&third, 0);
	atomic_store(&forever.block, true);
	pool_queue(h, &forever.job);
	wait_runs(&forever, 1);
	pool_queue(h, &behind.job);
	pool_queue(h, &third.job);
	pool_remove(h, &behind.job);
	pool_queue(h, &behind.job);
	pool_remove(h, &third.job);
	pool_remove(h, &behind.job);
	atomic_store(&forever.block, false);
	pool_remove(h, &forever.job);
	runs = atomic_load(&forever.runs);
	/* The queue is whole: what comes after runs. */
	pool_queue(h, &third.job);
	wait_runs(&third, 1);
	assert_int_equal(atomic_load(&forever.runs), runs);
	assert_int_equal(atomic_load(&behind.runs), 0);
	pool_remove(h, &third.job);
	pool_free(h);
}

static void test_free_with_work(void **state)
{
	struct pool *h;
	struct job j[20];
	size_t i;

	(void)state;
	assert_int_equal(pool_new(3, &h), 0);
	for (i = 0; i < 20; i++) {
		job_init(&j[i], UINT32_MAX);
		pool_queue(h, &j[i].job);
	}
	wait_runs(&j[19], 1);
	pool_free(h);
	for (i = 0; i < 20; i++) {
		assert_false(atomic_load(&j[i].inside));
		assert_false(atomic_load(&j[i].overlap));
	}
}

struct hammer {
	struct pool *h;
	struct job *jobs;
	unsigned seed;
};

static void *hammer(void *arg)
{
	struct hammer *m = arg;
	struct job own;
	unsigned i;

	for (i = 0; i < 3000; i++) {
		pool_queue(m->h, &m->jobs[rand_r(&m->seed) % 8].job);
		if (i % 4)
			continue;
		/* A job on this stack is gone after remove, so a late run would show. */
		job_init(&own, 3);
		pool_queue(m->h, &own.job);
		pool_remove(m->h, &own.job);
		if (atomic_load(&own.inside))
			return arg;
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct hammer m[4];
	struct job jobs[8];
	pthread_t t[4];
	struct pool *h;
	void *bad;
	size_t i;

	(void)state;
	assert_int_equal(pool_new(4, &h), 0);
	for (i = 0; i < 8; i++)
		job_init(&jobs[i], 500);
	for (i = 0; i < 4; i++) {
		m[i] = (struct hammer){ h, jobs, (unsigned)i + 1 };
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &m[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	for (i = 0; i < 8; i++)
		wait_runs(&jobs[i], 501);
	for (i = 0; i < 8; i++) {
		pool_remove(h, &jobs[i].job);
		assert_int_equal(atomic_load(&jobs[i].left), 0);
		assert_false(atomic_load(&jobs[i].overlap));
	}
	pool_free(h);
}

/* The crews of test_crews(): two jobs at once, once the first one's block has ended. */
static void crew(struct pool *h, struct hash_job *first)
{
	struct hash_job *second;
	bool more = run(first);

	second = pool_take(h);
	if (second)
		pool_give(h, second, run(second));
	pool_give(h, first, more);
}

static void crew_job_init(struct job *j, unsigned more)
{
	job_init(j, more);
	j->job.run = NULL;
	j->job.crew = crew;
	j->job.width = 2;
}

/* A second worker begins only with what the first one's crew has no room for. */
static void test_crews(void **state)
{
	struct job j[3];
	struct pool *h;

	(void)state;
	assert_int_equal(pool_new(2, &h), 0);
	for (size_t i = 0; i < 3; i++)
		crew_job_init(&j[i], 10);
	atomic_store(&j[0].block, true);
	pool_queue(h, &j[0].job);
	wait_runs(&j[0], 1);
	pool_queue(h, &j[1].job);
	pool_queue(h, &j[2].job);
	/* The first worker stands still: it is the other one that runs them. */
	wait_runs(&j[1], 11);
	wait_runs(&j[2], 11);
	/* With nobody else there the crew takes what is queued, and runs it to its end. */
	atomic_store(&j[1].left, 5);
	pool_queue(h, &j[1].job);
	atomic_store(&j[0].block, false);
	wait_runs(&j[0], 11);
	wait_runs(&j[1], 17);
	for (size_t i = 0; i < 3; i++) {
		pool_remove(h, &j[i].job);
		assert_false(atomic_load(&j[i].overlap));
	}
	assert_int_equal(pool_length(h), 0);
	pool_free(h);
}

static bool one_waits(void *arg)
{
	return pool_length(arg) == 1;
}

static void wait_done(struct pool *h, struct job *j, unsigned runs)
{
	wait_runs(j, runs);
	pool_remove(h, &j->job);
	assert_int_equal(atomic_load(&j->runs), runs);
}

/* What can wait waits for half a crew, or for a job that can't. */
static void test_later(void **state)
{
	struct job j[4], gate;
	struct pool *h;

	(void)state;
	assert_int_equal(pool_new(1, &h), 0);
	for (size_t i = 0; i < 4; i++) {
		crew_job_init(&j[i], 0);
		j[i].job.width = 5;
	}
	crew_job_init(&gate, 0);
	gate.job.width = 5;
	pool_queue_later(h, &j[0].job);
	pool_queue_later(h, &j[1].job);
	pool_queue_later(h, &j[1].job);
	assert_int_equal(pool_length(h), 2);
	/* A job that is ready takes them along. */
	pool_queue(h, &gate.job);
	wait_done(h, &gate, 1);
	wait_done(h, &j[0], 1);
	wait_done(h, &j[1], 1);
	/* One of them can't wait any longer. */
	pool_queue_later(h, &j[0].job);
	pool_queue_later(h, &j[1].job);
	pool_queue(h, &j[0].job);
	wait_done(h, &j[0], 2);
	wait_done(h, &j[1], 2);
	/* Three are half a crew of five. One that was taken out is none. */
	pool_queue_later(h, &j[0].job);
	pool_queue_later(h, &j[1].job);
	pool_remove(h, &j[1].job);
	pool_queue_later(h, &j[2].job);
	assert_int_equal(pool_length(h), 2);
	assert_int_equal(atomic_load(&j[0].runs), 2);
	pool_queue_later(h, &j[3].job);
	wait_done(h, &j[0], 3);
	wait_done(h, &j[2], 1);
	wait_done(h, &j[3], 1);
	assert_int_equal(atomic_load(&j[1].runs), 2);
	/* Queued so while it runs: it waits again. */
	atomic_store(&j[2].block, true);
	pool_queue(h, &j[2].job);
	wait_runs(&j[2], 2);
	pool_queue_later(h, &j[2].job);
	atomic_store(&j[2].block, false);
	stage_wait(one_waits, h);
	pool_queue(h, &gate.job);
	wait_done(h, &j[2], 3);
	for (size_t i = 0; i < 4; i++)
		pool_remove(h, &j[i].job);
	pool_remove(h, &gate.job);
	pool_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),      cmocka_unit_test(test_turns),
		cmocka_unit_test(test_again),	       cmocka_unit_test(test_remove),
		cmocka_unit_test(test_free_with_work), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_crews),	       cmocka_unit_test(test_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
