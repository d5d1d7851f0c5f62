/* scout: looks that hang are left behind, and nobody waits for them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/proc/scout.h"
#include "net/base/clock.h"

#define DEADLINE_MS 30000

/* A look of these tests: may hang until the gate opens. */
struct predict_look {
	bool hangs, hangs_first;
	int rc, first_rc;
	uint64_t size;
};

static struct scout *scout;
static int gate[2]; /* a pipe: closing its writing end lets the hung ones go */
static unsigned posted;
static atomic_uint noting, begun, freed, found;
static atomic_ulong last_ticket, last_size;

static void hang(void)
{
	struct pollfd p = { .fd = gate[0], .events = POLLIN };

	poll(&p, 1, -1);
}

static int note(struct predict_look *l)
{
	atomic_fetch_add(&noting, 1);
	if (l->hangs_first)
		hang();
	return l->first_rc;
}

static int look(const struct predict_look *l, uint64_t *ret_size)
{
	atomic_fetch_add(&begun, 1);
	if (l->hangs)
		hang();
	*ret_size = l->size;
	return l->rc;
}

static void free_look(struct predict_look *l)
{
	free(l);
	atomic_fetch_add(&freed, 1);
}

static void on_found(void *arg, uint64_t id, uint64_t ticket, uint64_t size)
{
	assert_ptr_equal(arg, &scout);
	assert_int_equal(id, 5);
	atomic_store(&last_ticket, ticket);
	atomic_store(&last_size, size);
	atomic_fetch_add(&found, 1);
}

static int setup(void **state)
{
	const struct scout_config cfg = { note, look, free_look, on_found, &scout };

	(void)state;
	atomic_store(&noting, 0);
	atomic_store(&begun, 0);
	atomic_store(&freed, 0);
	atomic_store(&found, 0);
	posted = 0;
	return pipe2(gate, O_CLOEXEC) || scout_new(&cfg, &scout);
}

static void post_look(struct predict_look l, uint64_t ticket)
{
	struct predict_look *copy = malloc(sizeof(*copy));

	assert_non_null(copy);
	*copy = l;
	posted++;
	scout_post(scout, copy, 5, ticket);
}

static void post(bool hangs, int rc, uint64_t size, uint64_t ticket)
{
	post_look((struct predict_look){ .hangs = hangs, .rc = rc, .size = size }, ticket);
}

static void wait_for(const atomic_uint *n, unsigned value)
{
	uint64_t end = clock_mono_ms() + DEADLINE_MS;

	while (atomic_load(n) != value) {
		assert_true(clock_mono_ms() < end);
		poll(NULL, 0, 1);
	}
}

/* Looks that hung when the scout ended let go of what they hold, and tell nobody. */
static int teardown(void **state)
{
	unsigned before;

	(void)state;
	scout_free(scout);
	before = atomic_load(&found);
	close(gate[1]);
	wait_for(&freed, posted);
	close(gate[0]);
	return atomic_load(&found) == before ? 0 : -1;
}

static void test_result(void **state)
{
	(void)state;
	post(false, -ENOENT, 1, 1);
	wait_for(&freed, 1);
	post(false, 0, 4711, 2);
	wait_for(&found, 1);
	assert_int_equal(atomic_load(&last_ticket), 2);
	assert_int_equal(atomic_load(&last_size), 4711);
}

/* Another thread takes over from a look that hangs. */
static void test_one_hangs(void **state)
{
	uint64_t end = clock_mono_ms() + DEADLINE_MS;

	(void)state;
	post(true, 0, 1, 1);
	while (!atomic_load(&found)) {
		assert_true(clock_mono_ms() < end);
		poll(NULL, 0, 1);
		post(false, 0, 4711, 2);
	}
	assert_int_equal(atomic_load(&last_ticket), 2);
}

/* With all of them hung the looks are dropped, and nobody waits, not at the end either. */
static void all_hung(struct predict_look hung, const atomic_uint *at)
{
	uint64_t end = clock_mono_ms() + DEADLINE_MS;
	unsigned before;

	while (atomic_load(at) < SCOUT_THREADS) {
		assert_true(clock_mono_ms() < end);
		post_look(hung, 1);
	}
	/* Until the last thread has hung for long enough, one is waited for. */
	do {
		assert_true(clock_mono_ms() < end);
		before = atomic_load(&freed);
		post_look(hung, 1);
	} while (atomic_load(&freed) == before);
	before = atomic_load(&freed);
	for (unsigned i = 0; i < 100; i++)
		post(false, 0, 1, 1);
	assert_int_equal(atomic_load(&freed), before + 100);
	assert_int_equal(atomic_load(at), SCOUT_THREADS);
	assert_int_equal(atomic_load(&found), 0);
}

static void test_all_hang(void **state)
{
	(void)state;
	all_hung((struct predict_look){ .hangs = true }, &begun);
}

/* Nor does it wait for the first step; what that notes late is not looked at. */
static void test_all_hang_first(void **state)
{
	(void)state;
	all_hung((struct predict_look){ .hangs_first = true, .size = 4711 }, &noting);
	assert_int_equal(atomic_load(&begun), 0);
}

/* scout_post() returns after the first step; if that fails, it is the only one. */
static void test_first_step(void **state)
{
	(void)state;
	post_look((struct predict_look){ .first_rc = -ENOENT }, 1);
	assert_int_equal(atomic_load(&noting), 1);
	wait_for(&freed, 1);
	assert_int_equal(atomic_load(&begun), 0);
	post(true, 0, 1, 1);
	assert_int_equal(atomic_load(&noting), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_result, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_hang, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_hang_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_step, setup, teardown),
	};

	return cmocka_run_group_tests_name("scout", tests, NULL, NULL);
}
