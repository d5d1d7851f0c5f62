/* The MD5 that is computed ahead: what is guessed, and that a wrong guess does no harm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/base/digest.h"
#include "net/server/files.h"
#include "net/server/store.h"
#include "net/server/uploads.h"

#define PARTS 5
#define PART_BYTES 70000
#define DEADLINE_MS 20000

struct world {
	char dir[64];
	struct store *store;
	struct state *st;
	struct upload *up;
	struct receipt rc[PARTS];
	char ids[PARTS][ID_SIZE];
	struct refusal refusal;
};

static int setup(void **state)
{
	static const struct upload_spec spec = { "f", "batch", "a/b", PARTS * PART_BYTES, 0 };
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	snprintf(w->dir, sizeof(w->dir), "/tmp/test_ahead.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(store_open(w->dir, true, &w->store), 0);
	assert_int_equal(state_open(w->store, 3600, &w->st), 0);
	assert_int_equal(upload_create(w->st, &spec, &w->up), 0);
	*state = w;
	return 0;
}

static int remove_inner(const char *dir, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return rmdir(path) && unlink(path);
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (*w->up->file_id)
		assert_int_equal(file_delete(w->st, w->up->file_id, &w->refusal), 0);
	store_record_remove(w->store, STORE_UPLOADS, w->up->id);
	state_stop(w->st);
	state_close(w->st);
	store_close(w->store);
	assert_int_equal(remove_inner(w->dir, "uploads") | remove_inner(w->dir, "files") |
				 remove_inner(w->dir, "data") | remove_inner(w->dir, "lock"),
			 0);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

/* Part i holds PART_BYTES times the letter 'a' + i. */
static void fill(char *data, int i)
{
	memset(data, 'a' + i, PART_BYTES);
}

static void begin(struct world *w, int i, const char *name)
{
	assert_int_equal(upload_part_begin(w->st, w->up->id, &w->refusal, &w->rc[i]), 0);
	snprintf(w->ids[i], ID_SIZE, "%s", w->rc[i].part->id);
	upload_part_name(&w->rc[i], name);
}

static void finish(struct world *w, int i)
{
	char data[PART_BYTES];

	fill(data, i);
	assert_int_equal(sink_write(&w->rc[i].sink, data, sizeof(data)), 0);
	assert_int_equal(upload_part_finish(&w->rc[i], &w->refusal), 0);
}

static size_t hashed(struct world *w)
{
	size_t n;

	pthread_mutex_lock(&w->st->lock);
	n = w->up->hashed;
	pthread_mutex_unlock(&w->st->lock);
	return n;
}

static void wait_hashed(struct world *w, size_t want)
{
	int ms;

	for (ms = 0; hashed(w) < want && ms < DEADLINE_MS; ms++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	assert_int_equal(hashed(w), want);
}

/* Completes in the order given, with the MD5 that belongs to it. */
static void complete(struct world *w, const int order[PARTS])
{
	struct digest *d = digest_new();
	const char *ids[PARTS];
	char data[PART_BYTES], hex[DIGEST_HEX_SIZE];
	struct complete_spec spec = { ids, PARTS, hex };
	struct upload *up;
	struct file *f;
	int i;

	assert_non_null(d);
	for (i = 0; i < PARTS; i++) {
		ids[i] = w->ids[order[i]];
		fill(data, order[i]);
		assert_int_equal(digest_update(d, data, sizeof(data)), 0);
	}
	assert_int_equal(digest_hex(d, hex), 0);
	digest_free(d);
	hex[0] ^= 1;
	assert_int_equal(upload_complete(w->st, w->up->id, &spec, &w->refusal, &up, &f), -EPROTO);
	assert_string_equal(w->refusal.param, "md5");
	hex[0] ^= 1;
	assert_int_equal(upload_complete(w->st, w->up->id, &spec, &w->refusal, &up, &f), 0);
	file_unref(w->st, f);
}

static void test_one_after_the_other(void **state)
{
	struct world *w = *state;
	int i;

	for (i = 0; i < PARTS; i++) {
		begin(w, i, "part");
		finish(w, i);
	}
	wait_hashed(w, PARTS);
	complete(w, (const int[]){ 0, 1, 2, 3, 4 });
}

static void test_names_decide(void **state)
{
	static const char *const names[] = { "xaa", "xab", "xac", "xad", "xae" };
	static const int arrival[] = { 2, 0, 4, 1, 3 }, done[] = { 4, 3, 2, 1, 0 };
	struct world *w = *state;
	int i;

	for (i = 0; i < PARTS; i++)
		begin(w, arrival[i], names[arrival[i]]);
	for (i = 0; i < PARTS; i++)
		finish(w, done[i]);
	wait_hashed(w, PARTS);
	complete(w, (const int[]){ 0, 1, 2, 3, 4 });
}

static void test_a_wrong_guess(void **state)
{
	struct world *w = *state;
	int i;

	for (i = 0; i < PARTS; i++) {
		begin(w, i, "");
		finish(w, i);
	}
	wait_hashed(w, PARTS);
	complete(w, (const int[]){ 0, 1, 4, 2, 3 });
}

static void test_nothing_is_guessed_of_equals(void **state)
{
	struct world *w = *state;
	int i;

	begin(w, 0, "part");
	finish(w, 0);
	for (i = 1; i < 4; i++)
		begin(w, i, "part");
	for (i = 1; i < 4; i++)
		finish(w, i);
	begin(w, 4, "part");
	finish(w, 4);
	wait_hashed(w, 1);
	complete(w, (const int[]){ 0, 3, 1, 2, 4 });
}

static void test_an_abandoned_part(void **state)
{
	struct world *w = *state;
	int i;

	begin(w, 0, "0");
	finish(w, 0);
	begin(w, 1, "1");
	for (i = 2; i < PARTS; i++) {
		begin(w, i, "2");
		finish(w, i);
	}
	upload_part_abort(&w->rc[1]);
	/* Sent again, it finds its place, if it is not too late. */
	begin(w, 1, "1");
	finish(w, 1);
	complete(w, (const int[]){ 0, 1, 2, 3, 4 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_decide, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_wrong_guess, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_guessed_of_equals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_abandoned_part, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
