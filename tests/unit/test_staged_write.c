/* staged files: sizes, holes, versions, sealing, hooks; random operations against a plain file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/work/extents.h"
#include "fs/stage/staged_impl.h"
#include "tests/unit/stage_area.h"

#define PART 1000

static struct stage_area area;
static struct stage_hooks hooks;

static uint32_t part_version(struct staged *st, uint64_t index)
{
	uint64_t part = area.cfg.part_size;

	return staged_version(st, index * part, (index + 1) * part);
}

/* True if [0, len) is written, and no more in a row. */
static bool begins_with(struct staged *st, uint64_t len)
{
	return (!len || staged_covered(st, 0, len)) && !staged_covered(st, 0, len + 1);
}

static struct staged *fresh(uint64_t part_size)
{
	struct staged *st;

	stage_area_open(&area, part_size);
	assert_int_equal(staged_create(area.sg, &st), 0);
	stage_hooks_init(&hooks, st);
	return st;
}

static void done(struct staged *st)
{
	staged_set_hooks(st, NULL);
	staged_unref(st);
	stage_area_close(&area);
}

static void test_sizes(void **state)
{
	struct staged *st = fresh(64 << 20);
	int fd = -1;

	(void)state;
	assert_int_equal(staged_size(st), 0);
	assert_true(begins_with(st, 0));
	stage_fill(st, 100, 50, 1);
	assert_int_equal(staged_size(st), 150);
	assert_true(begins_with(st, 0));
	assert_true(staged_covered(st, 100, 150));
	assert_false(staged_covered(st, 99, 150));
	stage_fill(st, 0, 100, 2);
	assert_true(begins_with(st, 150));
	/* The limit, on both sides. */
	assert_int_equal(staged_write_begin(st, STAGED_SIZE_MAX, 1, &fd), -EFBIG);
	assert_int_equal(staged_write_begin(st, STAGED_SIZE_MAX - 1, 2, &fd), -EFBIG);
	assert_int_equal(staged_write_begin(st, UINT64_MAX, 2, &fd), -EFBIG);
	assert_int_equal(staged_write_begin(st, 2, UINT64_MAX, &fd), -EFBIG);
	assert_int_equal(fd, -1);
	stage_put(st, STAGED_SIZE_MAX - 1, "x", 1);
	assert_int_equal(staged_size(st), STAGED_SIZE_MAX);
	assert_int_equal(part_version(st, 127), 1);
	assert_int_equal(part_version(st, 128), 0);
	assert_int_equal(staged_truncate(st, STAGED_SIZE_MAX + 1), -EFBIG);
	assert_int_equal(staged_truncate(st, STAGED_SIZE_MAX), 0);
	assert_int_equal(staged_fallocate(st, 0, STAGED_SIZE_MAX - 1, 2), -EFBIG);
	assert_int_equal(staged_fallocate(st, 0, UINT64_MAX, 2), -EFBIG);
	assert_int_equal(staged_fallocate(st, 0, 0, 0), -EINVAL);
	assert_int_equal(staged_fallocate(st, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP);
	assert_int_equal(staged_fallocate(st, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(staged_fallocate(st, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  STAGED_SIZE_MAX - 1, UINT64_MAX),
			 0);
	assert_false(staged_covered(st, STAGED_SIZE_MAX - 1, STAGED_SIZE_MAX));
	assert_int_equal(staged_truncate(st, 0), 0);
	assert_int_equal(staged_size(st), 0);
	assert_true(begins_with(st, 0));
	/* A write of nothing is none. */
	assert_int_equal(staged_write_begin(st, 50, 0, &fd), 0);
	staged_write_end(st, 50, 0, 0);
	assert_int_equal(staged_size(st), 0);
	done(st);
}

static void test_short_write(void **state)
{
	struct staged *st = fresh(PART);
	struct stat sb;
	int fd;

	(void)state;
	stage_fill(st, 0, 100, 1);
	assert_int_equal(staged_write_begin(st, 100, 2000, &fd), 0);
	assert_int_equal(pwrite(fd, "0123456789", 10, 100), 10);
	/* More landed than anybody says: it must not become part of the file. */
	assert_int_equal(pwrite(fd, "xxxx", 4, 500), 4);
	assert_int_equal(staged_size(st), 100);
	staged_write_end(st, 100, 2000, 10);
	assert_int_equal(staged_size(st), 110);
	assert_true(begins_with(st, 110));
	assert_int_equal(fstat(fd, &sb), 0);
	assert_int_equal(sb.st_size, 110);
	/* All that it could have touched counts as touched. */
	assert_int_equal(part_version(st, 0), 2);
	assert_int_equal(part_version(st, 1), 1);
	assert_int_equal(part_version(st, 2), 1);
	assert_int_equal(part_version(st, 3), 0);
	stage_check_md5(st);
	done(st);
}

/* A truncation overtakes a write: size and disk agree when it has ended. */
static void test_truncate_during_write(void **state)
{
	struct staged *st = fresh(PART);
	char data[100];
	int fd;

	(void)state;
	memset(data, 'a', sizeof(data));
	assert_int_equal(staged_write_begin(st, 0, 100, &fd), 0);
	assert_int_equal(pwrite(fd, data, 100, 0), 100);
	assert_int_equal(staged_truncate(st, 10), 0);
	staged_write_end(st, 0, 100, 100);
	assert_int_equal(staged_size(st), 10);
	assert_true(begins_with(st, 10));
	assert_int_equal(staged_write_begin(st, 0, 100, &fd), 0);
	assert_int_equal(staged_truncate(st, 5), 0);
	assert_int_equal(pwrite(fd, data, 100, 0), 100);
	staged_write_end(st, 0, 100, 100);
	assert_int_equal(staged_size(st), 100);
	stage_check_md5(st);
	done(st);
}

static void test_versions(void **state)
{
	struct staged *st = fresh(PART);
	uint32_t i;

	(void)state;
	assert_int_equal(part_version(st, 0), 0);
	assert_int_equal(part_version(st, UINT32_MAX), 0);
	stage_fill(st, 0, 3 * PART, 1);
	for (i = 0; i < 3; i++)
		assert_int_equal(part_version(st, i), 1);
	stage_fill(st, PART - 1, 1, 1);
	stage_fill(st, 2 * PART, 1, 1);
	assert_int_equal(part_version(st, 0), 2);
	assert_int_equal(part_version(st, 1), 1);
	assert_int_equal(part_version(st, 2), 2);
	/* To a boundary: what lies before it is untouched. */
	assert_int_equal(staged_truncate(st, 2 * PART), 0);
	assert_int_equal(part_version(st, 1), 1);
	assert_int_equal(part_version(st, 2), 3);
	assert_int_equal(staged_truncate(st, PART + 1), 0);
	assert_int_equal(part_version(st, 1), 2);
	assert_int_equal(staged_truncate(st, 3 * PART), 0);
	assert_int_equal(part_version(st, 0), 2);
	assert_int_equal(part_version(st, 1), 3);
	assert_int_equal(part_version(st, 2), 4);
	assert_int_equal(staged_truncate(st, 3 * PART), 0);
	assert_int_equal(part_version(st, 2), 4);
	/* Space without content changes nothing; a hole does. */
	assert_int_equal(staged_fallocate(st, FALLOC_FL_KEEP_SIZE, 0, 5 * PART), 0);
	assert_int_equal(staged_size(st), 3 * PART);
	assert_int_equal(part_version(st, 0), 2);
	assert_int_equal(part_version(st, 4), 0);
	assert_int_equal(staged_fallocate(st, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1), 0);
	assert_int_equal(part_version(st, 0), 3);
	assert_int_equal(staged_fallocate(st, 0, 0, 3 * PART + 1), 0);
	assert_int_equal(staged_size(st), 3 * PART + 1);
	assert_int_equal(part_version(st, 2), 4);
	assert_int_equal(part_version(st, 3), 1);
	done(st);
}

static unsigned fills(void)
{
	return stage_hooks_get(&hooks, &hooks.fill);
}

static void test_fill(void **state)
{
	struct staged *st = fresh(PART);

	(void)state;
	stage_fill(st, 0, PART - 1, 1);
	assert_int_equal(fills(), 0);
	stage_fill(st, PART - 1, 1, 1);
	assert_int_equal(fills(), 1);
	/* Rewriting completes nothing. */
	stage_fill(st, 0, PART, 1);
	stage_fill(st, PART - 10, 20, 1);
	assert_int_equal(fills(), 1);
	/* Elsewhere, and from behind. */
	stage_fill(st, 3 * PART + 500, 500, 1);
	assert_int_equal(fills(), 1);
	stage_fill(st, 3 * PART, 500, 1);
	assert_int_equal(fills(), 2);
	/* The gap in the middle of a part. */
	stage_fill(st, PART + 10, 400, 1);
	stage_fill(st, PART + 500, 500, 1);
	assert_int_equal(fills(), 2);
	stage_fill(st, PART + 400, 200, 1);
	assert_int_equal(fills(), 3);
	/* A write over several parts tells once. */
	stage_fill(st, 10 * PART - 5, 3 * PART, 1);
	assert_int_equal(fills(), 4);
	/* A part at the end, as nobody knows yet that it is the end. */
	stage_fill(st, 20 * PART, 10, 1);
	assert_int_equal(fills(), 4);
	done(st);
}

static void test_fill_declared(void **state)
{
	struct staged *st = fresh(PART);

	(void)state;
	assert_int_equal(staged_truncate(st, 2 * PART + 50), 0);
	assert_int_equal(fills(), 0);
	stage_fill(st, 0, 2 * PART, 1);
	assert_int_equal(fills(), 1);
	stage_fill(st, 2 * PART, 49, 1);
	assert_int_equal(fills(), 1);
	stage_fill(st, 2 * PART + 49, 1, 1);
	assert_int_equal(fills(), 2);
	stage_fill(st, 2 * PART, 50, 1);
	assert_int_equal(fills(), 2);
	/* Larger than declared: back to whole parts. */
	stage_fill(st, 2 * PART + 50, 100, 1);
	assert_int_equal(fills(), 2);
	stage_fill(st, 2 * PART + 150, 850, 1);
	assert_int_equal(fills(), 3);
	/* A punched part has to be filled again. */
	assert_int_equal(staged_fallocate(st, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 500, 10),
			 0);
	assert_false(staged_covered(st, 0, PART));
	assert_true(begins_with(st, 500));
	stage_fill(st, 500, 10, 1);
	assert_int_equal(fills(), 4);
	stage_check_md5(st);
	done(st);
}

static void test_seal(void **state)
{
	struct staged *st = fresh(PART);
	int fd;

	(void)state;
	stage_fill(st, 500, 100, 1);
	assert_false(staged_sealed_quiet(st));
	assert_true(staged_seal(st));
	assert_true(staged_seal(st));
	assert_true(staged_sealed_quiet(st));
	assert_int_equal(staged_write_begin(st, 0, 1, &fd), -EBUSY);
	assert_int_equal(staged_truncate(st, 0), -EBUSY);
	assert_int_equal(staged_fallocate(st, 0, 0, 1), -EBUSY);
	/* Holes are zeros now. */
	assert_true(begins_with(st, 600));
	assert_true(staged_covered(st, 0, 600));
	assert_false(staged_covered(st, 0, 601));
	stage_check_md5(st);
	staged_unseal(st);
	assert_true(begins_with(st, 0));
	assert_false(staged_covered(st, 499, 600));
	assert_true(staged_covered(st, 500, 600));
	stage_fill(st, 0, 10, 2);
	stage_check_md5(st);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.quiet), 0);
	done(st);
}

static void test_seal_with_writers(void **state)
{
	struct staged *st = fresh(PART);
	int fd;

	(void)state;
	assert_int_equal(staged_write_begin(st, 0, 10, &fd), 0);
	assert_int_equal(staged_write_begin(st, 10, 10, &fd), 0);
	assert_false(staged_seal(st));
	assert_false(staged_sealed_quiet(st));
	assert_int_equal(staged_write_begin(st, 20, 1, &fd), -EBUSY);
	assert_int_equal(pwrite(fd, "0123456789", 10, 10), 10);
	staged_write_end(st, 10, 10, 10);
	assert_false(staged_seal(st));
	assert_true(begins_with(st, 0));
	assert_int_equal(stage_hooks_get(&hooks, &hooks.quiet), 0);
	staged_write_end(st, 0, 10, 0);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.quiet), 1);
	assert_true(staged_sealed_quiet(st));
	stage_hooks_wait(&hooks, &hooks.digest, 1);
	assert_int_equal(staged_size(st), 20);
	stage_check_md5(st);
	/* Unsealed while a write is under way: nothing is final, nobody is told. */
	staged_unseal(st);
	assert_int_equal(staged_write_begin(st, 0, 1, &fd), 0);
	assert_false(staged_seal(st));
	staged_unseal(st);
	staged_write_end(st, 0, 1, 0);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.quiet), 1);
	done(st);
}

struct slow {
	atomic_bool entered, leave, left, cleared;
	struct staged *st;
};

static void slow_hook(void *arg)
{
	struct slow *s = arg;

	atomic_store(&s->entered, true);
	while (!atomic_load(&s->leave))
		;
	atomic_store(&s->left, true);
}

static void *fill_thread(void *arg)
{
	struct slow *s = arg;
	int fd;

	if (!staged_write_begin(s->st, 0, PART, &fd))
		staged_write_end(s->st, 0, PART, PART);
	return NULL;
}

static void *clear_thread(void *arg)
{
	struct slow *s = arg;

	staged_set_hooks(s->st, NULL);
	atomic_store(&s->cleared, true);
	/* It must have ended by now, since its argument may be freed. */
	return atomic_load(&s->left) ? NULL : arg;
}

static bool flag_set(void *arg)
{
	return atomic_load((atomic_bool *)arg);
}

static bool hooks_gone(void *arg)
{
	struct staged *st = arg;
	bool gone;

	pthread_mutex_lock(&st->lock);
	gone = !st->hooks.on_fill;
	pthread_mutex_unlock(&st->lock);
	return gone;
}

static void test_clear_waits(void **state)
{
	struct staged *st = fresh(PART);
	struct slow s = { .st = st };
	const struct staged_hooks slow = { .on_fill = slow_hook, .arg = &s };
	pthread_t writer, clearer;
	void *bad;

	(void)state;
	staged_set_hooks(st, &slow);
	assert_int_equal(pthread_create(&writer, NULL, fill_thread, &s), 0);
	stage_wait(flag_set, &s.entered);
	assert_int_equal(pthread_create(&clearer, NULL, clear_thread, &s), 0);
	stage_wait(hooks_gone, st);
	assert_false(atomic_load(&s.cleared));
	/* The lock is not held meanwhile. */
	assert_int_equal(staged_size(st), PART);
	atomic_store(&s.leave, true);
	pthread_join(writer, NULL);
	pthread_join(clearer, &bad);
	assert_null(bad);
	done(st);
}

#define MODEL_SIZE 20000
#define MODEL_PARTS (MODEL_SIZE / PART)

struct model {
	int fd; /* a plain file that gets the same operations */
	bool written[MODEL_SIZE];
	uint64_t size;
	uint32_t versions[MODEL_PARTS];
	bool full[MODEL_PARTS];
};

static bool model_full(const struct model *m, unsigned part, uint64_t size)
{
	uint64_t i, end = (part + 1) * PART < size ? (part + 1) * PART : size;

	for (i = part * PART; i < end; i++)
		if (!m->written[i])
			return false;
	return end > part * PART;
}

static void random_write(struct model *m, struct staged *st, uint64_t off, uint64_t len)
{
	uint64_t before = fills(), old = m->size, i;
	bool completed = false, was[MODEL_PARTS];
	unsigned p;
	char data[4096];

	for (i = 0; i < len; i++)
		data[i] = (char)random();
	for (p = 0; p < MODEL_PARTS; p++)
		was[p] = model_full(m, p, old > (p + 1) * PART ? old : (p + 1) * PART) ||
			 (off + len <= old && model_full(m, p, old));
	stage_put(st, off, data, len);
	assert_int_equal(pwrite(m->fd, data, len, (off_t)off), len);
	memset(m->written + off, true, len);
	m->size = off + len > old ? off + len : old;
	for (p = 0; p < MODEL_PARTS; p++) {
		/* The last part counts up to the size only if this write did not move it. */
		uint64_t size = off + len <= old ? old : (p + 1) * PART;

		if ((p + 1) * PART <= m->size)
			size = m->size;
		if (!was[p] && p * PART < m->size && model_full(m, p, size))
			completed = true;
	}
	assert_int_equal(fills() - before, completed);
}

static void random_truncate(struct model *m, struct staged *st, uint64_t size)
{
	assert_int_equal(staged_truncate(st, size), 0);
	assert_int_equal(ftruncate(m->fd, (off_t)size), 0);
	if (size < MODEL_SIZE)
		memset(m->written + size, false, MODEL_SIZE - size);
	m->size = size;
}

/* Whether the disk can do it or not: the staged file does what the plain one does. */
static void random_allocate(struct model *m, struct staged *st, uint64_t off, uint64_t len)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE,
				     FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[random() % 5];
	int want = fallocate(m->fd, mode, (off_t)off, (off_t)len) ? -errno : 0;
	uint64_t size = m->size;

	assert_int_equal(staged_fallocate(st, mode, off, len), want);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && !want && off + len > size)
		size = off + len;
	if (mode & ~FALLOC_FL_KEEP_SIZE)
		memset(m->written + off, false, len);
	m->size = size;
}

static void compare(struct model *m, struct staged *st, const char *before)
{
	static char a[MODEL_SIZE], b[MODEL_SIZE];
	uint64_t i, run = 0, from, to;
	uint32_t version;
	unsigned p;

	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_int_equal(staged_size(st), m->size);
	assert_int_equal(pread(m->fd, a, sizeof(a), 0), m->size);
	assert_int_equal(pread(staged_fd(st), b, sizeof(b), 0), m->size);
	assert_memory_equal(a, b, sizeof(a));
	while (run < MODEL_SIZE && m->written[run])
		run++;
	assert_true(begins_with(st, run));
	for (i = 0; i < 20; i++) {
		from = (uint64_t)random() % MODEL_SIZE;
		for (to = from; to < MODEL_SIZE && m->written[to]; to++)
			;
		assert_true(staged_covered(st, from, to));
		assert_false(staged_covered(st, from, to + 1));
	}
	for (p = 0; p < MODEL_PARTS; p++) {
		version = part_version(st, p);
		if (memcmp(before + p * PART, a + p * PART, PART))
			assert_true(version > m->versions[p]);
		m->versions[p] = version;
	}
}

static void test_random(void **state)
{
	static char before[MODEL_SIZE];
	struct stage_area *a = &area;
	struct staging_space sp;
	struct staged *st;
	struct model m;
	unsigned seed, step;
	uint64_t off, len;

	(void)state;
	for (seed = 1; seed <= 8; seed++) {
		srandom(seed);
		st = fresh(PART);
		memset(&m, 0, sizeof(m));
		m.fd = openat(datadir_fd(a->data), "plain", O_RDWR | O_CREAT, 0600);
		assert_true(m.fd >= 0);
		for (step = 0; step < 400; step++) {
			memset(before, 0, sizeof(before));
			assert_true(pread(m.fd, before, sizeof(before), 0) >= 0);
			off = (uint64_t)random() % MODEL_SIZE;
			len = 1 + (uint64_t)random() % (seed % 2 ? 700 : 4000);
			len = off + len > MODEL_SIZE ? MODEL_SIZE - off : len;
			if (random() % 10 < 7)
				random_write(&m, st, off, len);
			else if (random() % 4)
				random_allocate(&m, st, off, len);
			else
				random_truncate(&m, st, off);
			compare(&m, st, before);
		}
		assert_int_equal(staging_get_space(a->sg, &sp), 0);
		assert_int_equal(sp.used, m.size);
		stage_check_md5(st);
		close(m.fd);
		done(st);
	}
}

/* 4 KiB at a time through 64 MiB: one extent, and the hasher is not asked for each. */
static void test_small_writes_are_cheap(void **state)
{
	struct staged *st = fresh(8 << 20);
	static char page[4096];
	uint64_t at;
	int fd;

	(void)state;
	for (at = 0; at < 64 << 20; at += sizeof(page)) {
		assert_int_equal(staged_write_begin(st, at, sizeof(page), &fd), 0);
		assert_int_equal(pwrite(fd, page, sizeof(page), (off_t)at), sizeof(page));
		staged_write_end(st, at, sizeof(page), sizeof(page));
		if (at == 4096) {
			pthread_mutex_lock(&st->lock);
			assert_false(st->hash.queued);
			pthread_mutex_unlock(&st->lock);
		}
	}
	assert_int_equal(st->written.n, 1);
	assert_int_equal(fills(), 8);
	stage_check_md5(st);
	done(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_short_write),
		cmocka_unit_test(test_truncate_during_write),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_fill_declared),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_seal_with_writers),
		cmocka_unit_test(test_clear_waits),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_small_writes_are_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
