/*
 * Hashing overtaken by writes, step by step: the digest here is one of the
 * test's own that stops at a gate and counts what it is fed. (The linker takes
 * nothing from net/digest.o then.)
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/stage/staged_impl.h"
#include "tests/unit/stage_area.h"

#define MIB (1ULL << 20)

struct digest {
	uint64_t a;
	uint64_t fed;
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static uint64_t gate_at = UINT64_MAX; /* workers stop once that many bytes of a digest are fed */
static bool gate_reached;
static uint64_t fed_in_all;
static unsigned failures; /* so many updates fail from now on */
static __thread bool no_gate;

struct digest *digest_new(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (d)
		d->a = 1469598103934665603ULL;
	return d;
}

struct digest *digest_copy(const struct digest *d)
{
	struct digest *copy = malloc(sizeof(*copy));

	if (copy)
		*copy = *d;
	return copy;
}

void digest_free(struct digest *d)
{
	free(d);
}

static int pass_gate(uint64_t fed, size_t len)
{
	int rc = 0;

	pthread_mutex_lock(&gate);
	fed_in_all += len;
	while (fed + len >= gate_at) {
		gate_reached = true;
		pthread_cond_broadcast(&gate_cond);
		pthread_cond_wait(&gate_cond, &gate);
	}
	if (failures) {
		failures--;
		rc = -EIO;
	}
	pthread_mutex_unlock(&gate);
	return rc;
}

/* Buffers of one thread only: looking at each byte would take ThreadSanitizer minutes. */
__attribute__((no_sanitize("thread"))) static uint64_t mix(uint64_t a, const unsigned char *p,
							   size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		a = (a ^ p[i]) * 1099511628211ULL;
	return a;
}

int digest_update(struct digest *d, const void *data, size_t len)
{
	int rc = 0;

	/* The bytes first, so that what is written at the gate comes too late for them. */
	d->a = mix(d->a, data, len);
	if (!no_gate)
		rc = pass_gate(d->fed, len);
	d->fed += len;
	return rc;
}

int digest_update_many(const struct digest_piece *pieces, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && !rc; i++)
		rc = digest_update(pieces[i].d, pieces[i].data, pieces[i].len);
	return rc;
}

unsigned digest_lanes(void)
{
	return 4;
}

int digest_hex(const struct digest *d, char ret_hex[DIGEST_HEX_SIZE])
{
	snprintf(ret_hex, DIGEST_HEX_SIZE, "%016llx%016llx", (unsigned long long)d->a,
		 (unsigned long long)d->fed);
	return 0;
}

int digest_random(void *buf, size_t len)
{
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -EIO;
}

static struct stage_area area;
static struct stage_hooks hooks;

static struct staged *fresh(void)
{
	struct staged *st;

	/* stage_md5_of() in this thread must not wait. */
	no_gate = true;
	stage_area_open(&area, MIB);
	assert_int_equal(staged_create(area.sg, &st), 0);
	stage_hooks_init(&hooks, st);
	fed_in_all = 0;
	return st;
}

static void done(struct staged *st)
{
	staged_set_hooks(st, NULL);
	staged_unref(st);
	stage_area_close(&area);
}

static void gate_close(uint64_t at)
{
	pthread_mutex_lock(&gate);
	gate_at = at;
	gate_reached = false;
	pthread_mutex_unlock(&gate);
}

static void gate_open(void)
{
	pthread_mutex_lock(&gate);
	gate_at = UINT64_MAX;
	pthread_cond_broadcast(&gate_cond);
	pthread_mutex_unlock(&gate);
}

static bool at_gate(void *arg)
{
	bool ret;

	(void)arg;
	pthread_mutex_lock(&gate);
	ret = gate_reached;
	pthread_mutex_unlock(&gate);
	return ret;
}

static bool at_rest(void *arg)
{
	struct staged *st = arg;
	bool rest;

	pthread_mutex_lock(&st->lock);
	rest = st->hash.queued != HASH_NOW;
	pthread_mutex_unlock(&st->lock);
	return rest;
}

static uint64_t fed(void)
{
	uint64_t ret;

	pthread_mutex_lock(&gate);
	ret = fed_in_all;
	pthread_mutex_unlock(&gate);
	return ret;
}

typedef void change(struct staged *st);

#define OTHERS 3

/* The other lanes have files of their own, which end earlier: they get what they should. */
static void check_overtaken(uint64_t size, uint64_t gate_pos, change *overtake)
{
	struct staged *st = fresh(), *other[OTHERS];
	/* Beside others the last bytes wait for company. */
	size_t i, others = gate_pos < size ? OTHERS : 0;
	uint64_t at;

	gate_close(gate_pos);
	for (i = 0; i < others; i++) {
		assert_int_equal(staged_create(area.sg, &other[i]), 0);
		stage_fill(other[i], 0, (i + 1) * 700001, (unsigned)i + 2);
	}
	for (at = 0; at < size; at += MIB)
		stage_fill(st, at, MIB, 1);
	stage_wait(at_gate, NULL);
	overtake(st);
	gate_open();
	for (i = 0; i < others; i++) {
		stage_check_md5(other[i]);
		staged_unref(other[i]);
	}
	stage_check_md5(st);
	done(st);
}

static void rewrite_first(struct staged *st)
{
	stage_fill(st, 0, 1, 7);
}

static void rewrite_in_stretch(struct staged *st)
{
	stage_fill(st, 19 * MIB, 10, 7);
}

static void rewrite_before_stretch(struct staged *st)
{
	stage_fill(st, 17 * MIB, 10, 7);
	stage_fill(st, 3 * MIB, 10, 7);
	stage_fill(st, 19 * MIB, 10, 7);
}

static void rewrite_ahead(struct staged *st)
{
	stage_fill(st, 23 * MIB + 5, 10, 7);
}

static void cut_in_stretch(struct staged *st)
{
	assert_int_equal(staged_truncate(st, 19 * MIB + 1), 0);
}

static void cut_and_regrow(struct staged *st)
{
	assert_int_equal(staged_truncate(st, 10), 0);
	assert_int_equal(staged_truncate(st, 24 * MIB), 0);
}

static void write_lands_late(struct staged *st)
{
	int fd;

	/* The bytes are on disk long before anybody says so. */
	assert_int_equal(staged_write_begin(st, MIB, 3, &fd), 0);
	assert_int_equal(pwrite(fd, "abc", 3, (off_t)MIB), 3);
	gate_open();
	stage_wait(at_rest, st);
	staged_write_end(st, MIB, 3, 3);
}

static void test_overtaken(void **state)
{
	static change *const changes[] = { rewrite_first,	   rewrite_in_stretch,
					   rewrite_before_stretch, rewrite_ahead,
					   cut_in_stretch,	   cut_and_regrow,
					   write_lands_late };
	static const uint64_t gates[] = { 1, MIB, 18 * MIB, 20 * MIB, 22 * MIB, 24 * MIB };
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		for (j = 0; j < sizeof(gates) / sizeof(gates[0]); j++)
			check_overtaken(24 * MIB, gates[j], changes[i]);
}

/* Sealed while the worker stands at the gate: nothing is told before all is hashed. */
static void test_seal_while_hashing(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	gate_close(MIB);
	stage_fill(st, 0, 5 * MIB, 1);
	stage_wait(at_gate, NULL);
	assert_int_equal(staged_md5(st, hex), -EAGAIN);
	assert_true(staged_seal(st));
	assert_int_equal(staged_md5(st, hex), -EAGAIN);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.digest), 0);
	/* Unsealed, changed and sealed again meanwhile. */
	staged_unseal(st);
	stage_fill(st, 6 * MIB, 10, 1);
	assert_true(staged_seal(st));
	gate_open();
	stage_hooks_wait(&hooks, &hooks.digest, 1);
	stage_check_md5(st);
	done(st);
}

/* Cut to where the worker began: the state at hand is not that of these bytes. */
static void test_cut_to_position(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];
	uint64_t at;

	(void)state;
	gate_close(20 * MIB);
	for (at = 0; at < 24 * MIB; at += MIB)
		stage_fill(st, at, MIB, 1);
	stage_wait(at_gate, NULL);
	pthread_mutex_lock(&st->lock);
	at = st->hash.pos;
	pthread_mutex_unlock(&st->lock);
	assert_true(at >= 16 * MIB && at <= 20 * MIB - 1);
	assert_int_equal(staged_truncate(st, at), 0);
	assert_int_equal(staged_md5(st, hex), -EAGAIN);
	gate_open();
	stage_check_md5(st);
	done(st);
}

static void fail_next(void)
{
	pthread_mutex_lock(&gate);
	failures = 1;
	pthread_mutex_unlock(&gate);
}

/* What fails while it is overtaken is no failure; what fails alone is. */
static void test_failing_update(void **state)
{
	struct staged *st = fresh();
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	gate_close(MIB);
	stage_fill(st, 0, 5 * MIB, 1);
	stage_wait(at_gate, NULL);
	stage_fill(st, 10, 10, 2);
	fail_next();
	gate_open();
	stage_check_md5(st);
	staged_unseal(st);
	gate_close(MIB);
	stage_fill(st, 0, MIB, 3);
	assert_true(staged_seal(st));
	stage_wait(at_gate, NULL);
	fail_next();
	gate_open();
	stage_hooks_wait(&hooks, &hooks.digest, 2);
	assert_int_equal(staged_md5(st, hex), -EIO);
	stage_wait(at_rest, st);
	assert_int_equal(stage_hooks_get(&hooks, &hooks.digest), 2);
	staged_unseal(st);
	stage_check_md5(st);
	done(st);
}

/* A header that is rewritten after each block must not have all hashed each time. */
static void test_waste_is_bounded(void **state)
{
	struct staged *st = fresh();
	const uint64_t size = 12 * MIB, block = 256 << 10;
	uint64_t at;

	(void)state;
	for (at = 0; at < size; at += block) {
		stage_fill(st, at, block, 1);
		stage_wait(at_rest, st);
		stage_fill(st, 0, 64, (unsigned)at);
		stage_wait(at_rest, st);
	}
	stage_check_md5(st);
	/* Without a bound it would be some 24 times the size. */
	assert_true(fed() <= 10 * size);
	assert_true(fed() >= size);
	done(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overtaken),	 cmocka_unit_test(test_seal_while_hashing),
		cmocka_unit_test(test_cut_to_position),	 cmocka_unit_test(test_failing_update),
		cmocka_unit_test(test_waste_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
