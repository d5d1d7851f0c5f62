/* lanes: files that end early, come late, fail or leave while others are in their lanes. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/work/lanes.h"
#include "tests/unit/stage_area.h"

#define MIB (1ULL << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool gate_open;
static unsigned ended; /* lock; number of files that have ended */

struct file {
	struct lane_job job;
	struct pool *pool;
	struct digest *d;
	int fd;
	uint64_t pos, end, stretch;
	struct file *then; /* queued when this one has ended */
	bool gated;	   /* begin() waits for the gate */
	int err;
	atomic_bool begun;
	atomic_uint order; /* 1: the first to end */
};

static bool begin(struct lane_job *j, struct lane_stretch *ret)
{
	struct file *f = (struct file *)j;

	atomic_store(&f->begun, true);
	while (f->gated && !atomic_load(&gate_open))
		usleep(100);
	if (f->pos == f->end)
		return false;
	*ret = (struct lane_stretch){ .fd = f->fd,
				      .d = f->d,
				      .pos = f->pos,
				      .end = f->end - f->pos < f->stretch ? f->end
									  : f->pos + f->stretch };
	return true;
}

static bool end(struct lane_job *j, uint64_t pos, int err)
{
	struct file *f = (struct file *)j;

	if (f->pos < f->end)
		f->pos = pos;
	f->err = err;
	if (!err && f->pos < f->end)
		return true;
	if (f->then)
		pool_queue(f->pool, &f->then->job.job);
	pthread_mutex_lock(&lock);
	atomic_store(&f->order, ++ended);
	pthread_mutex_unlock(&lock);
	return false;
}

/* size bytes on disk, of which `data` are not zero; `due` to be hashed. */
static void file_init(struct file *f, struct pool *pool, uint64_t data, uint64_t size, uint64_t due)
{
	unsigned char *buf = malloc(data + 1);

	memset(f, 0, sizeof(*f));
	for (uint64_t i = 0; i < data; i++)
		buf[i] = (unsigned char)(i * 7 + size);
	f->fd = memfd_create("lane", MFD_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(pwrite(f->fd, buf, data, 0), data);
	assert_int_equal(ftruncate(f->fd, (off_t)size), 0);
	free(buf);
	f->pool = pool;
	f->end = due;
	f->stretch = 8 * MIB;
	f->d = digest_new();
	f->job.begin = begin;
	f->job.end = end;
	lane_job_init(&f->job);
}

static void file_free(struct file *f)
{
	pool_remove(f->pool, &f->job.job);
	digest_free(f->d);
	close(f->fd);
}

static bool has_ended(void *arg)
{
	return atomic_load(&((struct file *)arg)->order);
}

static bool has_begun(void *arg)
{
	return atomic_load(&((struct file *)arg)->begun);
}

static void check_md5(struct file *f)
{
	char want[DIGEST_HEX_SIZE], got[DIGEST_HEX_SIZE];

	stage_wait(has_ended, f);
	assert_int_equal(f->err, 0);
	stage_md5_of(f->fd, f->end, want);
	assert_int_equal(digest_hex(f->d, got), 0);
	assert_string_equal(got, want);
}

/* One worker, and nobody in a lane before the gate opens. */
static struct pool *gated(struct file *first)
{
	struct pool *pool;

	assert_int_equal(pool_new(1, &pool), 0);
	atomic_store(&gate_open, false);
	ended = 0;
	file_init(first, pool, 0, 0, 0);
	first->gated = true;
	pool_queue(pool, &first->job.job);
	stage_wait(has_begun, first);
	return pool;
}

/* A short file ends long before the others' stretches do, and so does one that comes then. */
static void test_ends_early(void **state)
{
	struct file first, tall[3], brief, late;
	struct pool *pool = gated(&first);

	(void)state;
	for (int i = 0; i < 3; i++) {
		file_init(&tall[i], pool, 1000, 24 * MIB + 5, 24 * MIB + 5);
		tall[i].stretch = 32 * MIB;
		if (i < 2)
			pool_queue(pool, &tall[i].job.job);
	}
	file_init(&brief, pool, 77777, 77777, 77777);
	file_init(&late, pool, 40000, 40000, 40000);
	pool_queue(pool, &brief.job.job);
	pool_queue(pool, &tall[2].job.job);
	brief.then = &late;
	atomic_store(&gate_open, true);
	check_md5(&brief);
	check_md5(&late);
	for (int i = 0; i < 3; i++) {
		check_md5(&tall[i]);
		if (digest_lanes() >= 4)
			assert_true(atomic_load(&late.order) < atomic_load(&tall[i].order));
		file_free(&tall[i]);
	}
	file_free(&brief);
	file_free(&late);
	file_free(&first);
	pool_free(pool);
}

/* One that can't be read, one that is removed: the others get their MD5. */
static void test_leaves(void **state)
{
	struct file first, good, cut, endless;
	struct pool *pool = gated(&first);

	(void)state;
	file_init(&good, pool, 3 * MIB, 3 * MIB, 3 * MIB);
	file_init(&cut, pool, 300000, 300000, 300001);
	file_init(&endless, pool, 0, 1ULL << 45, 1ULL << 45);
	endless.stretch = endless.end;
	pool_queue(pool, &endless.job.job);
	pool_queue(pool, &good.job.job);
	pool_queue(pool, &cut.job.job);
	atomic_store(&gate_open, true);
	stage_wait(has_begun, &endless);
	pool_remove(pool, &endless.job.job);
	assert_true(endless.pos <= 1ULL << 44);
	assert_int_equal(endless.err, 0);
	check_md5(&good);
	stage_wait(has_ended, &cut);
	assert_int_equal(cut.err, -ENODATA);
	file_free(&good);
	file_free(&cut);
	file_free(&endless);
	file_free(&first);
	pool_free(pool);
}

/* The pool ends while files are in their lanes. */
static void test_pool_ends(void **state)
{
	struct file first, f[3];
	struct pool *pool = gated(&first);

	(void)state;
	for (int i = 0; i < 3; i++) {
		file_init(&f[i], pool, 0, 1ULL << 45, 1ULL << 45);
		f[i].stretch = f[i].end;
		pool_queue(pool, &f[i].job.job);
	}
	atomic_store(&gate_open, true);
	stage_wait(has_begun, &f[0]);
	pool_free(pool);
	for (int i = 0; i < 3; i++) {
		assert_false(has_ended(&f[i]));
		digest_free(f[i].d);
		close(f[i].fd);
	}
	digest_free(first.d);
	close(first.fd);
}

/* More files than lanes, many stretches, two workers. */
static void test_crowd(void **state)
{
	static struct file f[45];
	struct pool *pool;
	unsigned seed = 5;

	(void)state;
	assert_int_equal(pool_new(2, &pool), 0);
	for (size_t i = 0; i < 45; i++) {
		uint64_t size = (uint64_t)rand_r(&seed) % (i % 4 ? 300000 : 200);

		file_init(&f[i], pool, size, size, size);
		f[i].stretch = 1 + (uint64_t)rand_r(&seed) % 100000;
		pool_queue(pool, &f[i].job.job);
	}
	for (size_t i = 0; i < 45; i++)
		check_md5(&f[i]);
	for (size_t i = 0; i < 45; i++)
		file_free(&f[i]);
	pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends_early),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_pool_ends),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
