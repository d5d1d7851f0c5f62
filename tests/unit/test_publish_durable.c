/* uses: fake_api */
/*
 * What has to be on stable storage before the service is asked for a step, or a
 * close is answered, is there. fdatasync() and pwrite64() of this program
 * stand before those of libc, so that the order can be seen.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/base/clock.h"
#include "tests/unit/publish_rig.h"

#define SAVES_MAX 4096

/* What a row said when a sync of the store began, once it was over. */
struct save {
	char id[24]; /* of the staged file */
	enum record_state state;
	bool has_upload, synced;
	unsigned data_syncs; /* of staged bytes, before it */
	size_t parts;
	unsigned calls[FAKE_OPS]; /* made of the service when it was safe */
};

static struct rig g;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct save saves[SAVES_MAX];
static unsigned save_count;
static struct pub *close_at_abort; /* this one, when its record says that it was aborted */

static atomic_uint data_syncs;
static atomic_uint bad_syncs;	 /* so many of staged bytes fail */
static atomic_bool disk_is_full; /* for rows */
static atomic_int wal_fd = -1;	 /* the store's own, by which it syncs; SQLite has another one */

/* Writing that begins while a record is made. */
static struct {
	struct pub *_Atomic f; /* of this one; NULL: of none any more */
	atomic_bool written;
	pthread_t thread;
} again;

/* The rows as a sync finds them. */
struct look {
	struct save v[8];
	unsigned count;
	bool aborted;
};

static int look_at(void *arg, const char *id)
{
	struct look *l = arg;
	struct record r;

	if (l->count == 8 || files_load(g.area.db, id, &r))
		return 0;
	l->v[l->count++] = (struct save){ .state = r.state,
					  .has_upload = r.upload_id,
					  .parts = r.part_count,
					  .synced = r.synced };
	snprintf(l->v[l->count - 1].id, sizeof(l->v[0].id), "%s", id);
	l->aborted |= r.state == RECORD_ABORTED;
	record_release(&r);
	return 0;
}

static void note(struct look *l, unsigned data_syncs_before)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < l->count; i++) {
		assert_true(save_count < SAVES_MAX);
		for (int op = 0; op < FAKE_OPS; op++)
			l->v[i].calls[op] = fake_api_calls(g.api, (enum fake_op)op);
		l->v[i].data_syncs = data_syncs_before;
		saves[save_count++] = l->v[i];
	}
	pthread_mutex_unlock(&lock);
}

static bool is_wal(int fd)
{
	char path[64], name[512];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, name, sizeof(name) - 1);
	name[len < 0 ? 0 : len] = '\0';
	return len > 4 && !strcmp(name + len - 4, "-wal");
}

/* It was opened last. */
static int find_wal(void)
{
	int found = -1;

	for (int fd = 3; fd < 256; fd++)
		if (is_wal(fd))
			found = fd;
	return found;
}

int fdatasync(int fd)
{
	bool ours = fd == atomic_load(&wal_fd);
	unsigned before = atomic_load(&data_syncs);
	struct look l = { .count = 0 };
	int r;

	if (ours)
		files_each(g.area.db, FILES_STAGED, look_at, &l);
	if (!is_wal(fd) && atomic_load(&bad_syncs)) {
		atomic_fetch_sub(&bad_syncs, 1);
		errno = EIO;
		return -1;
	}
	r = (int)syscall(SYS_fdatasync, fd);
	if (!r && !is_wal(fd))
		atomic_fetch_add(&data_syncs, 1);
	if (!r)
		note(&l, before);
	if (close_at_abort && l.aborted) {
		staged_seal(close_at_abort->st);
		publish_seal(close_at_abort->p);
		close_at_abort = NULL;
	}
	return r;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	if (atomic_load(&disk_is_full) && is_wal(fd)) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, len, offset);
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
	return s.calls[op];
}

static bool has(enum record_state state, bool has_upload, size_t parts)
{
	struct save s = { .state = state, .has_upload = has_upload, .parts = parts };
	unsigned at = 0;

	return find(&at, &s);
}

static bool md5_is_known(void *arg)
{
	char hex[DIGEST_HEX_SIZE];

	return staged_md5(arg, hex) == 0;
}

static struct {
	struct pub *f;
	size_t count;
} written_parts;

static bool parts_are_written(void *arg)
{
	struct record r;
	bool ret;

	(void)arg;
	pub_load_record(written_parts.f, &r);
	ret = r.state == RECORD_WRITING && r.upload_id && r.part_count == written_parts.count;
	record_release(&r);
	return ret;
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&wal_fd, -1);
	rig_open(&g);
	save_count = 0;
	atomic_store(&wal_fd, find_wal());
	return 0;
}

/* Survives a kill: created, and each Part. Durable: complete asked, completed. */
static void test_each_step(void **state)
{
	struct pub f, *pubs[] = { &f };
	unsigned at = 0;
	size_t parts;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	publish_predict(f.p, 2 * RIG_PART);
	stage_fill(f.st, 0, 2 * RIG_PART, 1);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 2));
	for (parts = 1; parts <= 2; parts++) {
		fake_api_release_some(g.api, FAKE_PART, 1);
		written_parts.f = &f;
		written_parts.count = parts;
		rig_wait(&g, NULL, parts_are_written, NULL);
	}
	/* A complete before the disk has the record would have to be seen here. */
	assert_int_equal(pub_close(&f), 0);
	assert_int_equal(calls_at(&at, RECORD_COMPLETING, true, 2, FAKE_COMPLETE), 0);
	assert_int_equal(calls_at(&at, RECORD_COMPLETED, true, 2, FAKE_COMPLETE), 1);
	rig_close(&g, pubs, 1);
}

static void told_end(void *arg, int err)
{
	atomic_int *told = arg;

	assert_int_equal(err, 0);
	assert_true(has(RECORD_COMPLETED, true, 1));
	atomic_store(told, 1);
}

static bool was_told(void *arg)
{
	return atomic_load((atomic_int *)arg);
}

/*
 * Of a file of one Part is durable: complete asked, and the end before anybody hears of it. Its
 * bytes are not synced.
 */
static void test_one_part(void **state)
{
	struct pub f, *pubs[] = { &f };
	atomic_int told = 0;
	struct publish_wait w = { .until = UNTIL_ENDED, .cb = told_end, .arg = &told };
	unsigned at = 0, synced = atomic_load(&data_syncs);

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_WORK);
	staged_seal(f.st);
	publish_seal(f.p);
	publish_wait(f.p, &w);
	/* Else the Part would have a record of its own, while the complete waits for the MD5. */
	rig_wait(&g, NULL, md5_is_known, f.st);
	fake_api_release(g.api, FAKE_CREATE);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 1));
	fake_api_release(g.api, FAKE_PART);
	rig_wait(&g, NULL, was_told, &told);
	assert_int_equal(calls_at(&at, RECORD_COMPLETING, true, 1, FAKE_COMPLETE), 0);
	assert_false(has(RECORD_SEALED, true, 1));
	assert_int_equal(calls_at(&at, RECORD_COMPLETED, true, 1, FAKE_COMPLETE), 1);
	assert_int_equal(atomic_load(&data_syncs), synced);
	rig_close(&g, pubs, 1);
}

/* That writing began anew. */
static bool find_writing(unsigned *at)
{
	struct save s = { .state = RECORD_WRITING };

	return find(at, &s);
}

/* Before its bytes change nothing on disk says any more that they are a File, if it is believed. */
static void test_written_again(void **state)
{
	struct pub f, *pubs[] = { &f };
	unsigned at;
	int fd;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(staged_sync(f.st), 0);
	assert_int_equal(pub_close(&f), 0);
	pthread_mutex_lock(&lock);
	at = save_count;
	pthread_mutex_unlock(&lock);
	assert_true(publish_reopen(f.p));
	staged_unseal(f.st);
	assert_int_equal(staged_write_begin(f.st, 0, 1, &fd), -EINPROGRESS);
	assert_int_equal(staged_truncate(f.st, 0), -EINPROGRESS);
	assert_int_equal(publish_await_change(f.p), 0);
	assert_true(find_writing(&at));
	stage_fill(f.st, 0, 10, 1);
	rig_close(&g, pubs, 1);
}

/* If that can't be said, the row stays, and so do the bytes, until there is room again. */
static void test_written_again_on_a_full_disk(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct record r;
	int fd;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), 0);
	atomic_store(&disk_is_full, true);
	assert_true(publish_reopen(f.p));
	staged_unseal(f.st);
	assert_int_equal(publish_await_change(f.p), -ENOSPC);
	assert_int_equal(staged_write_begin(f.st, 0, 10, &fd), -EINPROGRESS);
	/* Nor is it durable what nothing tells of. */
	assert_int_equal(publish_sync_record(f.p), -ENOSPC);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_COMPLETED);
	record_release(&r);
	atomic_store(&disk_is_full, false);
	assert_int_equal(publish_await_change(f.p), 0);
	assert_int_equal(publish_sync_record(f.p), 0);
	stage_fill(f.st, 0, 10, 2);
	assert_int_equal(pub_close(&f), 0);
	pub_load_record(&f, &r);
	assert_int_equal(r.state, RECORD_COMPLETED);
	record_release(&r);
	rig_close(&g, pubs, 1);
}

/* Some record from at on is of that state. */
static bool comes(unsigned at, enum record_state state)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (; at < save_count; at++)
		found |= saves[at].state == state;
	pthread_mutex_unlock(&lock);
	return found;
}

static void *write_again(void *arg)
{
	struct pub *f = arg;

	pub_reopen(f);
	stage_fill(f->st, 0, 10, 2);
	atomic_store(&again.written, true);
	return NULL;
}

/*
 * A record is given its time when it was decided what it says, and before it is written. That is
 * when the writer of again.f comes, if its File is there.
 */
static struct timespec wall(void)
{
	struct pub *f = atomic_load(&again.f);
	struct timespec ts, pause = { .tv_nsec = 1000000 };

	if (f && atomic_load(&f->ends) && !pub_info(f).under_way &&
	    atomic_exchange(&again.f, NULL)) {
		assert_int_equal(pthread_create(&again.thread, NULL, write_again, f), 0);
		/* Where it has to wait for this record, it is not there in time. */
		for (int ms = 0; ms < 100 && !atomic_load(&again.written); ms++)
			nanosleep(&pause, NULL);
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

static uint64_t mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Nor is such a record written over the one that says so. */
static void test_written_while_the_end_is_noted(void **state)
{
	struct pub f, *pubs[] = { &f };
	char old[API_ID_MAX + 1];
	unsigned at = 0;

	(void)state;
	fake_api_add_file(g.api, "a", "user_data", "old", 3, old);
	pub_new(&g, &f, "a", NULL, old);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(staged_sync(f.st), 0); /* or its record is not believed anyway */
	atomic_store(&again.written, false);
	atomic_store(&again.f, &f);
	assert_int_equal(pub_close(&f), 0);
	if (atomic_exchange(&again.f, NULL))
		write_again(&f);
	else
		assert_int_equal(pthread_join(again.thread, NULL), 0);
	pub_wait_status(&f, "writing");
	calls_at(&at, RECORD_COMPLETED, true, 1, FAKE_DELETE);
	assert_true(find_writing(&at));
	assert_false(comes(at, RECORD_COMPLETED));
	rig_close(&g, pubs, 1);
}

/* The first one from at on that is of f. */
static unsigned next_of(struct pub *f, unsigned at)
{
	while (at < save_count && strcmp(saves[at].id, staged_id(f->st)))
		at++;
	assert_true(at < save_count);
	return at;
}

static void stand_still(void *arg, int err)
{
	sem_t *both = arg;

	(void)err;
	sem_post(&both[0]);
	sem_wait(&both[1]);
}

/*
 * Written and closed anew, in one look with the reply of a Part: what is on stable storage of the
 * bytes before says nothing of those that came.
 */
static void test_closed_anew_with_a_reply(void **state)
{
	struct pub f, other, *pubs[] = { &f, &other };
	struct told t;
	sem_t both[2];
	struct publish_wait w = { .until = UNTIL_ENDED, .cb = stand_still, .arg = both };
	unsigned at;

	(void)state;
	sem_init(&both[0], 0, 0);
	sem_init(&both[1], 0, 0);
	fake_api_hold(g.api, FAKE_PART, FAKE_HOLD_REPLY);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	staged_seal(f.st);
	assert_int_equal(publish_hold(f.p, "a", 3600), 0);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), 0);
	assert_true(fake_api_wait_calls(g.api, FAKE_PART, 1));
	pub_new(&g, &other, "b", NULL, NULL);
	staged_seal(other.st);
	publish_seal(other.p);
	publish_wait(other.p, &w);
	sem_wait(&both[0]);
	pthread_mutex_lock(&lock);
	at = save_count;
	pthread_mutex_unlock(&lock);
	fake_api_release(g.api, FAKE_PART);
	assert_true(fake_api_wait_done(g.api, FAKE_PART, 1));
	pub_reopen(&f);
	stage_fill(f.st, 0, 10, 2);
	staged_seal(f.st);
	publish_seal(f.p);
	sem_post(&both[1]);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_int_equal(told_err(&t), 0);
	at = next_of(&f, at);
	assert_int_equal(saves[at].state, RECORD_WRITING);
	while (saves[at].state == RECORD_WRITING)
		at = next_of(&f, at + 1);
	assert_false(saves[at].synced);
	sem_destroy(&both[0]);
	sem_destroy(&both[1]);
	rig_close(&g, pubs, 2);
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
	return find(&at, &s);
}

/* Bytes that are kept are synced before the close that failed is told so. */
static void test_failure(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 403, "", "no");
	struct pub f, *pubs[] = { &f };
	unsigned at = 0, synced = atomic_load(&data_syncs);

	(void)state;
	fake_api_fail(g.api, FAKE_CREATE, 1, 1000000, &err);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	assert_int_equal(pub_close(&f), -EACCES);
	assert_true(atomic_load(&data_syncs) > synced);
	rig_wait(&g, NULL, failure_is_recorded, NULL);
	calls_at(&at, RECORD_FAILED, false, 0, FAKE_CREATE);
	rig_close(&g, pubs, 1);
}

/* Pages that failed may be clean: a later sync says nothing, and the bytes are not published. */
static void test_failed_sync_is_final(void **state)
{
	struct pub f, *pubs[] = { &f };

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	atomic_store(&bad_syncs, 1);
	assert_int_equal(staged_sync(f.st), -EIO);
	assert_int_equal(staged_sync(f.st), -EIO);
	stage_fill(f.st, 10, 10, 1);
	assert_int_equal(staged_sync(f.st), -EIO);
	assert_int_equal(pub_close(&f), -EIO);
	assert_non_null(strstr(pub_info(&f).error, "syncing"));
	assert_int_equal(pub_close(&f), -EIO);
	assert_int_equal(staged_sync(f.st), -EIO);
	assert_int_equal(fake_api_files(g.api), 0);
	/* Bytes that are new are no longer those. */
	pub_reopen(&f);
	assert_int_equal(staged_truncate(f.st, 0), 0);
	stage_fill(f.st, 0, 10, 2);
	assert_int_equal(staged_sync(f.st), 0);
	assert_int_equal(pub_close(&f), 0);
	pub_check_file(&f, "a");
	rig_close(&g, pubs, 1);
}

static ino_t inode_of(struct pub *f)
{
	struct stat sb;

	assert_int_equal(fstat(staged_fd(f->st), &sb), 0);
	return sb.st_ino;
}

/* Unless an MD5 of before shows that the bytes in memory are right: these go to a new file. */
static void test_failed_sync_is_copied(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;
	ino_t before;
	char x = 'x';

	(void)state;
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 3 * RIG_PART, 1);
	before = inode_of(&f);
	staged_seal(f.st);
	rig_wait(&g, NULL, md5_is_known, f.st);
	assert_int_equal(staged_check(f.st), 0);
	atomic_store(&bad_syncs, 1);
	assert_int_equal(staged_sync(f.st), -EIO);
	assert_false(staged_synced(f.st));
	assert_int_equal(staged_sync(f.st), 0);
	assert_true(staged_synced(f.st));
	assert_true(inode_of(&f) != before);
	/* Once more, and now the memory is not what was written. */
	atomic_store(&bad_syncs, 1);
	assert_int_equal(staged_sync(f.st), -EIO);
	assert_int_equal(pwrite(staged_fd(f.st), &x, 1, 5), 1);
	assert_int_equal(staged_sync(f.st), -EIO);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), -EIO);
	fake_api_release(g.api, FAKE_CREATE);
	assert_true(fake_api_wait_idle(g.api));
	assert_int_equal(fake_api_files(g.api), 0);
	rig_close(&g, pubs, 1);
}

/* A close that waits for the disk alone hears of a sync that failed, if it could not be mended. */
static void test_durable_close_and_a_failed_sync(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	(void)state;
	fake_api_hold(g.api, FAKE_CREATE, FAKE_HOLD_WORK);
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 10, 1);
	atomic_store(&bad_syncs, 1000);
	staged_seal(f.st);
	publish_seal(f.p);
	pub_wait(&f, &t, UNTIL_DURABLE);
	assert_int_equal(told_err(&t), -EIO);
	assert_string_equal(pub_info(&f).status, "failed");
	atomic_store(&bad_syncs, 0);
	fake_api_release(g.api, FAKE_CREATE);
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
	publish_abort(f.p, -EIO, true);
	pub_wait_ends(&f, 1);
	pub_wait(&f, &t, UNTIL_ENDED);
	assert_int_equal(told_err(&t), 0);
	assert_string_equal(pub_info(&f).status, "completed");
	pub_check_file(&f, "a");
	rig_close(&g, pubs, 1);
}

/* A retry that is aborted before the thread has seen it: who waits hears of an end. */
static void test_aborted_before_the_retry(void **state)
{
	struct pub f, *pubs[] = { &f };
	struct told t;

	(void)state;
	pub_new(&g, &f, "a", NULL, NULL);
	stage_fill(f.st, 0, 100, 1);
	publish_abort(f.p, -EIO, true);
	pub_wait_ends(&f, 1);
	for (unsigned k = 0; k < 50; k++) {
		publish_seal(f.p);
		publish_abort(f.p, -EIO, true);
		pub_wait(&f, &t, UNTIL_ENDED);
		/* A thread that was quick enough has published it. */
		if (!told_err(&t))
			break;
		assert_int_equal(told_err(&t), -EIO);
		assert_string_equal(pub_info(&f).status, "aborted");
	}
	rig_close(&g, pubs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_each_step, setup),
		cmocka_unit_test_setup(test_one_part, setup),
		cmocka_unit_test_setup(test_written_again, setup),
		cmocka_unit_test_setup(test_written_again_on_a_full_disk, setup),
		cmocka_unit_test_setup(test_written_while_the_end_is_noted, setup),
		cmocka_unit_test_setup(test_closed_anew_with_a_reply, setup),
		cmocka_unit_test_setup(test_before_the_old_one_goes, setup),
		cmocka_unit_test_setup(test_failure, setup),
		cmocka_unit_test_setup(test_failed_sync_is_final, setup),
		cmocka_unit_test_setup(test_failed_sync_is_copied, setup),
		cmocka_unit_test_setup(test_durable_close_and_a_failed_sync, setup),
		cmocka_unit_test_setup(test_closed_while_aborting, setup),
		cmocka_unit_test_setup(test_aborted_before_the_retry, setup),
	};
	static const struct clock_source clock = { mono, wall };

	rig_init();
	clock_set_source(&clock);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
