/* uses: fake_api */
/*
 * Every record that tells of a step which the service can see is on stable
 * storage before the next such step. fsync() and renameat() of this program
 * stand before those of libc, so that the order can be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/publish_rig.h"

#define SAVES_MAX 64

/* One replacement of the record. */
struct save {
	enum record_state state;
	bool has_upload, file_synced, dir_synced;
	size_t parts;
	unsigned calls[FAKE_OPS]; /* made of the service when it was safe */
};

static struct rig g;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct save saves[SAVES_MAX];
static unsigned save_count;
static ino_t synced_ino;	   /* what was synced last */
static struct pub *close_at_abort; /* this one, when its record says that it was aborted */

static void note_sync(const struct stat *st)
{
	struct save *s;

	pthread_mutex_lock(&lock);
	s = save_count ? &saves[save_count - 1] : NULL;
	if (S_ISREG(st->st_mode)) {
		synced_ino = st->st_ino;
	} else if (s && !s->dir_synced) {
		s->dir_synced = true;
		for (int op = 0; op < FAKE_OPS; op++)
			s->calls[op] = fake_api_calls(g.api, (enum fake_op)op);
	}
	pthread_mutex_unlock(&lock);
}

int fsync(int fd)
{
	struct stat st;
	int r = (int)syscall(SYS_fsync, fd);

	if (!r && !fstat(fd, &st))
		note_sync(&st);
	return r;
}

static void note_save(int dirfd, const char *tmp)
{
	struct record r;
	struct stat st;
	struct save *s;

	assert_int_equal(record_load(dirfd, tmp, &r), 0);
	assert_int_equal(fstatat(dirfd, tmp, &st, 0), 0);
	pthread_mutex_lock(&lock);
	assert_true(save_count < SAVES_MAX);
	s = &saves[save_count++];
	memset(s, 0, sizeof(*s));
	s->state = r.state;
	s->has_upload = r.upload_id;
	s->parts = r.part_count;
	s->file_synced = synced_ino == st.st_ino;
	synced_ino = 0;
	pthread_mutex_unlock(&lock);
	if (close_at_abort && r.state == RECORD_ABORTED) {
		staged_seal(close_at_abort->st);
		publish_seal(close_at_abort->p);
		close_at_abort = NULL;
	}
	record_release(&r);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	const char *end = strstr(from, ".rec.tmp");

	if (end && !end[strlen(".rec.tmp")])
		note_save(from_dir, from);
	return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

/* The first record from *at on that is like that, if there is one. */
static bool find(unsigned *at, struct save *like)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (; !found && *at < save_count; ++*at) {
		const struct save *s = &saves[*at];

		found = s->state == like->state && s->has_upload == like->has_upload &&
			s->parts == like->parts;
		if (found)
			*like = *s;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

/* It must be there, and safe. Its calls are what is asked for. */
static unsigned calls_at(unsigned *at, enum record_state state, bool has_upload, size_t parts,
			 enum fake_op op)
{
	struct save s = { .state = state, .has_upload = has_upload, .parts = parts };

	if (!find(at, &s))
		fail_msg("no record of state %d with %zu parts", (int)state, parts);
	if (!s.file_synced || !s.dir_synced)
		fail_msg("the record of state %d with %zu parts is not on stable storage",
			 (int)state, parts);
	return s.calls[op];
}

static int setup(void **state)
{
	(void)state;
	rig_open(&g);
	save_count = 0;
	return 0;
}

/* While it is written: created, each Part; at the close: sealed, complete asked, completed. */
static void test_each_step(void **state)
{
	struct pub f, *pubs[] = { &f };
	unsigned at = 0;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	publish_predict(f.p, 2 * RIG_PART);
	stage_fill(f.st, 0, 2 * RIG_PART, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 2));
	for (unsigned i = 1; i <= 2; i++) {
		fake_api_release_some(g.api, FAKE_PART, 1);
		assert_true(fake_api_wait_done(g.api, FAKE_PART, i));
	}
	/* A complete before the disk has the record would have to be seen here. */
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(calls_at(&at, RECORD_WRITING, true, 0, FAKE_PART), 0);
	assert_int_equal(calls_at(&at, RECORD_WRITING, true, 1, FAKE_COMPLETE), 0);
	assert_int_equal(calls_at(&at, RECORD_WRITING, true, 2, FAKE_COMPLETE), 0);
	assert_int_equal(calls_at(&at, RECORD_SEALED, true, 2, FAKE_COMPLETE), 0);
	assert_int_equal(calls_at(&at, RECORD_COMPLETING, true, 2, FAKE_COMPLETE), 0);
	assert_int_equal(calls_at(&at, RECORD_COMPLETED, true, 2, FAKE_COMPLETE), 1);
	rig_close(&g, pubs, 1);
}

/* The File that it replaces is deleted when the record says that the new one exists. */
static void test_before_the_old_one_goes(void **state)
{
	struct pub f, *pubs[] = { &f };
	char old[API_ID_MAX + 1];
	unsigned at = 0;

	(void)state;
	fake_api_add_file(g.api, "a", "user_data", "old", 3, old);
	pub_new(&g, &f, "a", NULL, old);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(calls_at(&at, RECORD_COMPLETED, true, 1, FAKE_DELETE), 0);
	assert_int_equal(fake_api_calls(g.api, FAKE_DELETE), 1);
	rig_close(&g, pubs, 1);
}

static bool failure_is_recorded(void *arg)
{
	struct save s = { .state = RECORD_FAILED };
	unsigned at = 0;

	(void)arg;
	return find(&at, &s) && s.dir_synced;
}

/* Sealed means synced data: until it is, the record says that the file is being written. */
static void test_failure(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 403, "", "no");
	struct pub f, *pubs[] = { &f };
	unsigned at = 0;

	(void)state;
	fake_api_fail(g.api, FAKE_CREATE, 1, 1000000, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), -EACCES);
	rig_wait(&g, NULL, failure_is_recorded, NULL);
	calls_at(&at, RECORD_FAILED, false, 0, FAKE_CREATE);
	rig_close(&g, pubs, 1);
}

/* A close that comes while the end of the killed writer is being noted is not lost. */
static void test_closed_while_aborting(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	close_at_abort = &f;
	publish_abort(f.p, 0, false);
	pub_wait_ends(&f, 1);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_int_equal(told_err(&t), 0);
	assert_string_equal(pub_info(&f).status, "completed");
	pub_check_file(&f, "a");
	rig_close(&g, pubs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_each_step, setup),
		cmocka_unit_test_setup(test_before_the_old_one_goes, setup),
		cmocka_unit_test_setup(test_failure, setup),
		cmocka_unit_test_setup(test_closed_while_aborting, setup),
	};

	rig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
