/* The MD5 of a staged file: while it is written, rewritten, cut, and by many threads at once. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/stage/staged_impl.h"
#include "tests/unit/stage_area.h"

#define MIB (1ULL << 20)

static struct stage_area area;
static struct stage_hooks hooks;

static struct staged *fresh(void)
{
	struct staged *st;

	stage_area_open(&area, 4 * MIB);
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

static uint64_t position(struct staged *st)
{
	uint64_t pos;

	pthread_mutex_lock(&st->lock);
	pos = st->hash.pos;
	pthread_mutex_unlock(&st->lock);
	return pos;
}

static bool at_rest(void *arg)
{
	struct staged *st = arg;
	bool rest;

	pthread_mutex_lock(&st->lock);
	rest = !st->hash.queued;
	pthread_mutex_unlock(&st->lock);
	return rest;
}

static bool known(void *arg)
{
	char hex[DIGEST_HEX_SIZE];

	return staged_md5(arg, hex) == 0;
}

static void test_empty(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	assert_true(staged_seal(st));
	stage_hooks_wait(&hooks, &hooks.digest, 1);
	assert_int_equal(staged_md5(st, hex), 0);
	assert_string_equal(hex, "d41d8cd98f00b204e9800998ecf8427e");
	done(st);
}

/* Without a seal, as soon as there is enough; a small rest waits for the seal. */
static void test_follows_writes(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE] = "untouched";
	uint64_t at;

	(void)state;
	for (at = 0; at < 40 * MIB; at += MIB)
		stage_fill(st, at, MIB, 1);
	stage_wait(known, st);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.digest), 0);
	stage_fill(st, 40 * MIB, 100, 1);
	stage_wait(at_rest, st);
	assert_int_equal(position(st), 40 * MIB);
	assert_int_equal(staged_md5(st, hex), -EAGAIN);
	assert_string_equal(hex, "untouched");
	/* Nothing beyond a hole is hashed. */
	stage_fill(st, 50 * MIB, MIB, 1);
	stage_wait(at_rest, st);
	assert_int_equal(position(st), 40 * MIB);
	stage_check_md5(st);
	stage_hooks_wait(&hooks, &hooks.digest, 1);
	assert_int_equal(position(st), 51 * MIB);
	/* Each seal tells once, also when there is nothing left to do. */
	staged_unseal(st);
	assert_int_equal(staged_md5(st, hex), 0);
	assert_true(staged_seal(st));
	stage_hooks_wait(&hooks, &hooks.digest, 2);
	stage_check_md5(st);
	stage_wait(at_rest, st);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.digest), 2);
	done(st);
}

/* A rewrite goes back to the snapshot before its first byte, and no further. */
static void test_snapshots(void **state)
{
	static const struct {
		uint64_t off, back;
	} cases[] = {
		{ 33 * MIB, 32 * MIB },	    { 32 * MIB, 32 * MIB },
		{ 32 * MIB - 1, 16 * MIB }, { 31 * MIB, 16 * MIB },
		{ 40 * MIB - 1, 32 * MIB }, { 16 * MIB, 16 * MIB },
		{ 17 * MIB, 16 * MIB },	    { 0, 0 },
		{ 16 * MIB - 1, 0 },
	};
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < 40; i++)
		stage_fill(st, i * MIB, MIB, 1);
	stage_check_md5(st);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		staged_unseal(st);
		stage_wait(at_rest, st);
		/* Keeps the worker away until position() has looked. */
		pthread_mutex_lock(&st->lock);
		st->hash.wasted = UINT64_MAX / 2;
		pthread_mutex_unlock(&st->lock);
		stage_fill(st, cases[i].off, 1, 100 + (unsigned)i);
		assert_int_equal(position(st), cases[i].back);
		assert_int_equal(staged_md5(st, hex), -EAGAIN);
		stage_check_md5(st);
	}
	/* Cut at a snapshot, within a stretch, and to nothing. */
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 32 * MIB), 0);
	assert_int_equal(staged_md5(st, hex), 0);
	stage_check_md5(st);
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 20 * MIB), 0);
	stage_check_md5(st);
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 30 * MIB), 0);
	stage_check_md5(st);
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 0), 0);
	stage_check_md5(st);
	done(st);
}

/* The bytes cannot be read: said once, and forgotten when the file is written anew. */
static void test_read_error(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	stage_fill(st, 0, 100000, 1);
	assert_int_equal(ftruncate(staged_fd(st), 50000), 0);
	assert_true(staged_seal(st));
	stage_hooks_wait(&hooks, &hooks.digest, 1);
	assert_int_equal(staged_md5(st, hex), -ENODATA);
	stage_wait(at_rest, st);
	staged_unseal(st);
	assert_int_equal(staged_md5(st, hex), -ENODATA);
	stage_fill(st, 50000, 50000, 2);
	assert_int_equal(staged_md5(st, hex), -EAGAIN);
	stage_check_md5(st);
	/* Or sealed anew. */
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 100001), 0);
	assert_int_equal(ftruncate(staged_fd(st), 100000), 0);
	assert_true(staged_seal(st));
	stage_hooks_wait(&hooks, &hooks.digest, 3);
	assert_int_equal(staged_md5(st, hex), -ENODATA);
	assert_int_equal(ftruncate(staged_fd(st), 100001), 0);
	staged_unseal(st);
	stage_check_md5(st);
	done(st);
}

static void own_short(struct staged *st)
{
	pthread_mutex_lock(&st->lock);
	st->hooks.hashes_short = true;
	pthread_mutex_unlock(&st->lock);
}

/* Sealed and short: no worker has it, and it is hashed when its owner wants it. */
static void check_short(struct staged *st)
{
	char want[DIGEST_HEX_SIZE], got[DIGEST_HEX_SIZE];
	unsigned told = stage_hooks_get(&hooks, &hooks.digest);

	assert_true(staged_seal(st));
	assert_true(at_rest(st));
	assert_int_equal(staged_md5(st, got), -EAGAIN);
	staged_hash_short(st);
	assert_true(at_rest(st));
	assert_int_equal(staged_md5(st, got), 0);
	stage_md5_of(staged_fd(st), staged_size(st), want);
	assert_string_equal(got, want);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.digest), told);
}

static void test_short(void **state)
{
	struct staged *st = fresh();

	(void)state;
	own_short(st);
	stage_fill(st, 0, 10000, 1);
	/* Not before the seal. */
	staged_hash_short(st);
	assert_int_equal(position(st), 0);
	check_short(st);
	staged_unseal(st);
	stage_fill(st, 5000, 100, 2);
	check_short(st);
	staged_unseal(st);
	assert_int_equal(staged_truncate(st, 32768), 0);
	check_short(st);
	/* Once more for the same seal: nothing. */
	staged_hash_short(st);
	assert_int_equal(position(st), 32768);
	/* The rest of a long file, of which a worker had the beginning. */
	staged_unseal(st);
	stage_fill(st, 10000, 2 * MIB, 3);
	stage_wait(known, st);
	stage_fill(st, 10000 + 2 * MIB, 20000, 4);
	stage_wait(at_rest, st);
	check_short(st);
	done(st);
}

/* What is not short, and what can't be read. */
static void test_short_or_not(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	own_short(st);
	assert_true(staged_seal(st));
	staged_hash_short(st);
	assert_int_equal(staged_md5(st, hex), 0);
	assert_string_equal(hex, "d41d8cd98f00b204e9800998ecf8427e");
	staged_unseal(st);
	stage_fill(st, 0, 10000, 1);
	assert_int_equal(ftruncate(staged_fd(st), 5000), 0);
	assert_true(staged_seal(st));
	staged_hash_short(st);
	assert_int_equal(staged_md5(st, hex), -ENODATA);
	staged_unseal(st);
	stage_fill(st, 0, 10000, 2);
	check_short(st);
	staged_unseal(st);
	stage_fill(st, 0, 100000, 3);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.digest), 0);
	assert_true(staged_seal(st));
	staged_hash_short(st);
	stage_hooks_wait(&hooks, &hooks.digest, 1);
	stage_check_md5(st);
	done(st);
}

/* Gone while it is hashed; the area outlives it, and nothing of it is left. */
static void test_unref_while_hashing(void **state)
{
	struct staging_space sp;
	struct staged *st[12];
	size_t i, round;

	(void)state;
	stage_area_open(&area, MIB);
	for (round = 0; round < 6; round++) {
		for (i = 0; i < 12; i++) {
			assert_int_equal(staged_create(area.sg, &st[i]), 0);
			stage_fill(st[i], 0, 3 * MIB, (unsigned)i);
			if (i % 3)
				staged_seal(st[i]);
		}
		for (i = 0; i < 12; i++)
			staged_unref(st[i]);
	}
	assert_int_equal(staging_get_space(area.sg, &sp), 0);
	assert_int_equal(sp.used, 0);
	assert_int_equal(sp.files, 0);
	stage_area_close(&area);
}

#define SPAN (36 * MIB)
#define WRITERS 3

struct writer {
	struct staged *st;
	atomic_ullong *next; /* where the file is continued */
	unsigned seed;
	unsigned steps;
	int err;
	char *data; /* 1 MiB */
};

/* True when done. Sealed under our hands is no error. */
static bool write_some(struct writer *w, uint64_t off, uint64_t len)
{
	int fd, rc;

	memset(w->data, (int)rand_r(&w->seed), len);
	rc = staged_write_begin(w->st, off, len, &fd);
	if (rc) {
		w->err = rc == -EBUSY ? 0 : rc;
		return true;
	}
	if (pwrite(fd, w->data, len, (off_t)off) != (ssize_t)len)
		w->err = -EIO;
	/* Some end short though all landed: the file must hold either way. */
	staged_write_end(w->st, off, len, rand_r(&w->seed) % 50 ? len : len / 2);
	return w->err;
}

static void *writer(void *arg)
{
	struct writer *w = arg;
	uint64_t off, len;
	unsigned i, what;

	for (i = 0; i < w->steps; i++) {
		what = (unsigned)rand_r(&w->seed) % 100;
		len = (uint64_t)rand_r(&w->seed) % (1 << 20) + 1;
		if (what < 60) {
			off = atomic_fetch_add(w->next, len);
		} else {
			/* Most rewrites go where the worker is likely to be. */
			off = (uint64_t)rand_r(&w->seed) % SPAN;
			if (what < 85)
				off = position(w->st) + off % (9 * MIB);
			len = what % 2 ? len : 512;
		}
		if (what == 99)
			staged_truncate(w->st, off);
		else if (what == 98)
			staged_fallocate(w->st, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
					 len);
		else if (write_some(w, off % SPAN, len))
			break;
	}
	return NULL;
}

static void write_round(struct staged *st, unsigned seed, unsigned steps, bool seal_early)
{
	struct writer w[WRITERS];
	pthread_t t[WRITERS];
	atomic_ullong next;
	size_t i;

	atomic_init(&next, 0);
	for (i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){ st, &next, seed * 10 + (unsigned)i, steps, 0, malloc(MIB) };
		assert_non_null(w[i].data);
		assert_int_equal(pthread_create(&t[i], NULL, writer, &w[i]), 0);
	}
	if (seal_early && !staged_seal(st))
		stage_hooks_wait(&hooks, &hooks.quiet, 1);
	for (i = 0; i < WRITERS; i++) {
		pthread_join(t[i], NULL);
		free(w[i].data);
		assert_int_equal(w[i].err, 0);
	}
}

static void test_concurrent_writers(void **state)
{
	struct staged *st;
	unsigned seed, seals;

	(void)state;
	for (seed = 1; seed <= 8; seed++) {
		st = fresh();
		write_round(st, seed, 60, false);
		stage_check_md5(st);
		seals = 1;
		/* Again, onto what is hashed already, now with a seal somewhere in between. */
		stage_hooks_wait(&hooks, &hooks.digest, seals);
		staged_unseal(st);
		write_round(st, seed + 100, 40, true);
		assert_true(staged_sealed_quiet(st));
		stage_hooks_wait(&hooks, &hooks.digest, ++seals);
		stage_check_md5(st);
		done(st);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_follows_writes),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_read_error),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_short_or_not),
		cmocka_unit_test(test_unref_while_hashing),
		cmocka_unit_test(test_concurrent_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
