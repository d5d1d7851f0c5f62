/* The store: commits and kill -9, syncs that fail, full disks, damage, threads, checkpoints. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/state/store.h"
#include "net/base/clock.h"

static char dir[] = "/tmp/test_state.XXXXXX";
static char path[64], wal_path[80];

static int remove_one(const char *name, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	return ftw->level ? remove(name) : 0;
}

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/state.db", dir);
	snprintf(wal_path, sizeof(wal_path), "%s-wal", path);
	return 0;
}

/* After each test, failed ones too. */
static int clear_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static int define(struct statedb *s)
{
	return statedb_define(s, "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, n INTEGER)");
}

static struct statedb *reopen(struct statedb *s)
{
	struct statedb *ret = NULL;

	statedb_close(s);
	assert_int_equal(statedb_open(dir, &ret), 0);
	statedb_grow(ret);
	assert_int_equal(define(ret), 0);
	return ret;
}

static int put_row(struct statedb *s, const char *k, int64_t n)
{
	return statedb_run(s, "INSERT INTO t VALUES (?1, ?2)",
			   STATEDB_ARGS(statedb_text(k), statedb_int(n)), NULL);
}

/* One row in a transaction of its own. */
static int put(struct statedb *s, const char *k, int64_t n, uint64_t *ret_seq)
{
	int rc = statedb_begin(s);

	if (rc)
		return rc;
	put_row(s, k, n);
	return statedb_commit(s, ret_seq);
}

static int take_int(void *arg, const struct statedb_row *row)
{
	*(int64_t *)arg = statedb_row_int(row, 0);
	return 0;
}

/* -1: no such row. */
static int64_t get(struct statedb *s, const char *k)
{
	int64_t n = -1;

	statedb_lock(s);
	assert_int_equal(statedb_each(s, "SELECT n FROM t WHERE k = ?1",
				      STATEDB_ARGS(statedb_text(k)), take_int, &n),
			 0);
	statedb_unlock(s);
	return n;
}

static int64_t count(struct statedb *s)
{
	int64_t n = -1;

	statedb_lock(s);
	assert_int_equal(statedb_each(s, "SELECT count(*) FROM t", NULL, take_int, &n), 0);
	statedb_unlock(s);
	return n;
}

static off_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) ? -1 : st.st_size;
}

static void test_reopen(void **state)
{
	struct statedb *s = reopen(NULL);
	uint64_t first = 0, second = 0;
	char uuid[64];
	struct stat st;

	(void)state;
	assert_true(statedb_is_intact(s));
	snprintf(uuid, sizeof(uuid), "%s", statedb_uuid(s));
	assert_int_equal(strlen(uuid), 32);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(wal_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(put(s, "a", 1, &first), 0);
	assert_int_equal(put(s, "\xff\x01 '", 2, &second), 0);
	assert_true(second == first + 1 && statedb_seq(s) == second);
	assert_int_equal(statedb_sync(s, second), 0);
	assert_int_equal(statedb_sync(s, first), 0);
	s = reopen(s);
	assert_string_equal(statedb_uuid(s), uuid);
	assert_true(statedb_is_intact(s));
	assert_int_equal(get(s, "a"), 1);
	assert_int_equal(get(s, "\xff\x01 '"), 2);
	statedb_close(s);
	statedb_close(NULL);
	/* A clean end leaves one file. */
	assert_int_equal(size_of(wal_path), -1);
}

static void test_failed_statement(void **state)
{
	struct statedb *s = reopen(NULL);
	int changed = 7;

	(void)state;
	assert_int_equal(put(s, "a", 1, NULL), 0);
	assert_int_equal(statedb_begin(s), 0);
	assert_int_equal(put_row(s, "b", 2), 0);
	assert_int_equal(put_row(s, "a", 3), -EEXIST);
	/* What follows on a failure must not make a success of it. */
	assert_int_equal(put_row(s, "c", 4), 0);
	assert_int_equal(statedb_commit(s, NULL), -EEXIST);
	assert_int_equal(statedb_begin(s), 0);
	assert_int_equal(put_row(s, "d", 5), 0);
	statedb_rollback(s);
	assert_int_equal(count(s), 1);
	assert_int_equal(statedb_begin(s), 0);
	assert_int_equal(statedb_run(s, "UPDATE t SET n = 9", NULL, &changed), 0);
	assert_int_equal(changed, 1);
	assert_int_equal(statedb_commit(s, NULL), 0);
	assert_int_equal(get(s, "a"), 9);
	assert_int_equal(statedb_error(s), 0);
	statedb_close(s);
}

struct later {
	struct statedb_later base;
	const char *k;
	int64_t n;
	unsigned *freed;
};

static int later_run(struct statedb *s, struct statedb_later *base)
{
	struct later *l = (struct later *)base;

	return put_row(s, l->k, l->n);
}

static void later_free(struct statedb_later *base)
{
	(*((struct later *)base)->freed)++;
	free(base);
}

static void put_later(struct statedb *s, const char *k, int64_t n, unsigned *freed)
{
	struct later *l = malloc(sizeof(*l));

	assert_non_null(l);
	*l = (struct later){ { later_run, later_free, NULL }, k, n, freed };
	statedb_later(s, &l->base);
}

/* It goes with the next transaction, in order, and waits for another one if that is rolled back. */
static void test_later(void **state)
{
	struct statedb *s = reopen(NULL);
	unsigned freed = 0;
	uint64_t seq;

	(void)state;
	put_later(s, "a", 1, &freed);
	put_later(s, "b", 2, &freed);
	assert_int_equal(count(s), 0);
	assert_int_equal(statedb_begin(s), 0);
	assert_int_equal(statedb_run(s, "UPDATE t SET n = n + 10", NULL, NULL), 0);
	statedb_rollback(s);
	assert_true(count(s) == 0 && freed == 0);
	/* A statement that fails takes nothing of others along. */
	assert_int_equal(put(s, "a", 3, NULL), -EEXIST);
	put_later(s, "c", 3, &freed);
	assert_true(count(s) == 0 && freed == 0);
	assert_int_equal(statedb_begin(s), 0);
	assert_int_equal(statedb_run(s, "UPDATE t SET n = n + 10", NULL, NULL), 0);
	assert_int_equal(statedb_commit(s, &seq), 0);
	assert_true(get(s, "a") == 11 && get(s, "b") == 12 && get(s, "c") == 13 && freed == 3);
	/* Nothing is left: no commit. */
	assert_int_equal(statedb_flush(s), 0);
	assert_int_equal(statedb_seq(s), seq);
	put_later(s, "d", 4, &freed);
	assert_int_equal(statedb_flush(s), 0);
	assert_true(statedb_seq(s) == seq + 1 && get(s, "d") == 4 && freed == 4);
	/* The end is a last chance. */
	put_later(s, "e", 5, &freed);
	s = reopen(s);
	assert_true(get(s, "e") == 5 && freed == 5);
	statedb_close(s);
}

/* What fails is dropped, and the transaction it went with is committed. */
static void test_later_fails(void **state)
{
	struct statedb *s = reopen(NULL);
	unsigned freed = 0;

	(void)state;
	assert_int_equal(put(s, "a", 1, NULL), 0);
	put_later(s, "b", 2, &freed);
	put_later(s, "a", 2, &freed);
	put_later(s, "c", 2, &freed);
	assert_int_equal(put(s, "d", 4, NULL), 0);
	assert_true(freed == 3 && count(s) == 2 && get(s, "a") == 1 && get(s, "d") == 4);
	assert_int_equal(put(s, "e", 5, NULL), 0);
	assert_int_equal(statedb_error(s), 0);
	s = reopen(s);
	assert_int_equal(count(s), 3);
	statedb_close(s);
}

/* In a child: commits rows up to n, begins one more, and dies. */
static void die_after(int64_t n)
{
	struct statedb *s = NULL;
	unsigned freed = 0;
	char k[32];

	if (statedb_open(dir, &s) || define(s))
		_exit(1);
	for (int64_t i = count(s); i < n; i++) {
		snprintf(k, sizeof(k), "row %lld", (long long)i);
		if (put(s, k, i, NULL))
			_exit(2);
	}
	put_later(s, "not yet either", 1, &freed);
	if (statedb_begin(s) || put_row(s, "not yet", 1))
		_exit(3);
	raise(SIGKILL);
}

static void test_kill(void **state)
{
	struct statedb *s;
	int status = 0;
	pid_t pid;

	(void)state;
	for (int64_t n = 0; n < 30; n += 3) {
		pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			die_after(n);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		/* Every other time the next one to open it is a child, too. */
		if (n % 2)
			continue;
		s = reopen(NULL);
		assert_true(statedb_is_intact(s));
		assert_int_equal(count(s), n);
		assert_int_equal(get(s, "not yet"), -1);
		statedb_close(s);
	}
}

static void test_second_process(void **state)
{
	struct statedb *s = reopen(NULL), *other = NULL;
	int status = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(put(s, "a", 1, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(statedb_open(dir, &other) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(put(s, "b", 2, NULL), 0);
	statedb_close(s);
}

/* The store's own descriptor of the WAL: it was opened after SQLite's. */
static int find_wal(void)
{
	char link[64], target[PATH_MAX];
	int found = -1;

	for (int fd = 3; fd < 1024; fd++) {
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (!strcmp(target, wal_path))
			found = fd;
	}
	assert_true(found >= 0);
	return found;
}

static void test_failed_sync(void **state)
{
	struct statedb *s = reopen(NULL);
	uint64_t before = 0, after = 0;
	int fd = find_wal(), saved, ends[2];

	(void)state;
	assert_int_equal(put(s, "a", 1, &before), 0);
	assert_int_equal(statedb_sync(s, before), 0);
	assert_int_equal(put(s, "b", 2, &after), 0);
	/* A pipe can't be synced. */
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	saved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(dup2(ends[0], fd), fd);
	assert_int_equal(statedb_sync(s, after), -EIO);
	assert_int_equal(dup2(saved, fd), fd);
	/* Not believed again, though it would succeed. */
	assert_int_equal(statedb_sync(s, after), -EIO);
	assert_int_equal(statedb_sync(s, before), 0);
	assert_int_equal(statedb_error(s), -EIO);
	assert_int_equal(put(s, "c", 3, NULL), -EIO);
	assert_int_equal(statedb_idle(s), -EIO);
	assert_int_equal(get(s, "b"), 2);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	s = reopen(s);
	assert_int_equal(get(s, "a"), 1);
	assert_int_equal(get(s, "c"), -1);
	assert_int_equal(put(s, "c", 3, &after), 0);
	assert_int_equal(statedb_sync(s, after), 0);
	statedb_close(s);
}

/* Fills the rest of the file system. Returns the descriptor of what fills it. */
static int fill_disk(const char *name)
{
	static char block[4096];
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	while (fd >= 0 && write(fd, block, sizeof(block)) > 0)
		;
	return fd;
}

/* Commits until one is refused; returns what it got, and how many there are. */
static int put_until_refused(struct statedb *s, int64_t from, int64_t *ret_count)
{
	char k[2000];
	int rc = 0;

	memset(k, 'k', sizeof(k));
	for (int64_t i = 0; !rc; i++) {
		snprintf(k + sizeof(k) - 24, 24, "%08lld", (long long)(from + i));
		rc = put(s, k, i, NULL);
		*ret_count = i;
	}
	return rc;
}

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			_exit(1);                                                       \
		}                                                                       \
	} while (0)

/* In a child with a small tmpfs of its own. */
static void run_on_small_disk(void)
{
	struct statedb *s = NULL;
	char name[96];
	int64_t rows = 0, more = 0;
	int fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
		_exit(77);
	CHECK(!statedb_open(dir, &s) && !define(s));
	CHECK(put_until_refused(s, 0, &rows) == -ENOSPC && rows > 10);
	CHECK(count(s) == rows && !statedb_error(s));
	statedb_close(s);
	/* And when somebody else has filled it. */
	CHECK(!statedb_open(dir, &s) && statedb_is_intact(s) && count(s) == rows);
	snprintf(name, sizeof(name), "%s/fill", dir);
	fd = fill_disk(name);
	CHECK(fd >= 0);
	CHECK(put_until_refused(s, 1000, &more) == -ENOSPC);
	rows += more;
	CHECK(count(s) == rows && !statedb_error(s));
	CHECK(!ftruncate(fd, 0));
	CHECK(!put(s, "one more", 1, NULL) && !statedb_sync(s, statedb_seq(s)));
	statedb_close(s);
	CHECK(!statedb_open(dir, &s) && statedb_is_intact(s) && count(s) == rows + 1);
	statedb_close(s);
	_exit(0);
}

/* One row changed n times, each a commit. 0 or the first error. */
static int change(struct statedb *s, unsigned n, int (*begin)(struct statedb *s))
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < n; i++) {
		rc = begin(s);
		if (rc)
			break;
		statedb_run(s, "UPDATE t SET n = n + 1 WHERE k = 'one'", NULL, NULL);
		rc = statedb_commit(s, NULL);
	}
	return rc;
}

/* In a child with a tmpfs of its own that somebody else fills after the open. */
static void run_on_filled_disk(void)
{
	struct statedb *s = NULL;
	char name[96];
	int64_t rows = 0;
	off_t wal;
	int fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
		_exit(77);
	CHECK(!statedb_open(dir, &s) && !define(s) && !put(s, "one", 1, NULL));
	statedb_grow(s);
	snprintf(name, sizeof(name), "%s/fill", dir);
	fd = fill_disk(name);
	CHECK(fd >= 0);
	wal = size_of(wal_path);
	CHECK(wal >= 1 << 20);
	/* Several times what the WAL takes: it is used from its start again. */
	CHECK(!change(s, 2000, statedb_begin));
	CHECK(size_of(wal_path) == wal);
	/* The database can't grow, so the WAL can't be emptied: the rest of it is for others. */
	CHECK(put_until_refused(s, 0, &rows) == -ENOSPC && rows > 10);
	CHECK(put(s, "no", 1, NULL) == -ENOSPC && get(s, "no") == -1);
	CHECK(!change(s, 10, statedb_begin_freeing) && !statedb_error(s));
	CHECK(!statedb_sync(s, statedb_seq(s)) && size_of(wal_path) == wal);
	CHECK(get(s, "one") == 2011 && count(s) == rows + 1);
	CHECK(!ftruncate(fd, 0) && !put(s, "room again", 1, NULL));
	statedb_close(s);
	_exit(0);
}

static void run_in_child(void (*fn)(void))
{
	int status = 0;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		fn();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void test_full_disk(void **state)
{
	(void)state;
	run_in_child(run_on_small_disk);
}

static void test_filled_disk(void **state)
{
	(void)state;
	run_in_child(run_on_filled_disk);
}

static unsigned damaged_files;

static int count_one(const char *name, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)flag;
	if (strstr(name + ftw->base, ".damaged-") && sb->st_size)
		damaged_files++;
	return 0;
}

static unsigned count_damaged(void)
{
	damaged_files = 0;
	assert_int_equal(nftw(dir, count_one, 8, FTW_PHYS), 0);
	return damaged_files;
}

#define WORKERS 4
#define ROUNDS 200

struct worker {
	struct statedb *s;
	unsigned number;
	atomic_uint *bad;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t seq = 0, last = 0;
	char k[32];
	int rc;

	for (unsigned i = 0; i < ROUNDS; i++) {
		snprintf(k, sizeof(k), "%u %u", w->number, i);
		if (put(w->s, k, i, &seq) || seq <= last)
			atomic_fetch_add(w->bad, 1);
		if (i % 10 == 0 && statedb_sync(w->s, seq))
			atomic_fetch_add(w->bad, 1);
		rc = i % 50 ? 0 : statedb_idle(w->s);
		/* The others may commit too fast for it. */
		if (rc && rc != -EAGAIN)
			atomic_fetch_add(w->bad, 1);
		last = seq;
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct statedb *s = reopen(NULL);
	uint64_t begin = statedb_seq(s);
	struct worker w[WORKERS];
	pthread_t t[WORKERS];
	atomic_uint bad = 0;

	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .s = s, .number = i, .bad = &bad };
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&bad), 0);
	assert_true(statedb_seq(s) >= begin + WORKERS * ROUNDS);
	assert_int_equal(count(s), WORKERS * ROUNDS);
	s = reopen(s);
	assert_int_equal(count(s), WORKERS * ROUNDS);
	statedb_close(s);
}

/* ---- checkpoints ---- */

static pthread_t tester;
static atomic_uint_fast64_t stopped_ms = 1000000; /* the time, for tests of checkpoints */

static uint64_t stopped_mono(void)
{
	return atomic_load(&stopped_ms);
}

static struct timespec stopped_wall(void)
{
	return (struct timespec){ .tv_sec = 1700000000 };
}

/* The store's own thread does nothing, and a sync takes what the test says. */
static void stop_clock(void)
{
	static const struct clock_source source = { stopped_mono, stopped_wall };

	tester = pthread_self();
	clock_set_source(&source);
}

static atomic_bool gate_closed;	  /* syncs of state.db wait */
static atomic_uint at_gate;	  /* so many do */
static atomic_uint syncs;	  /* of state.db and its WAL, on the test's thread */
static atomic_uint sync_takes_ms; /* each of them */

static int sync_at_gate(int fd, long call)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	char link[64], target[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	if (!strncmp(target, path, strlen(path))) {
		atomic_fetch_add(&syncs, pthread_equal(pthread_self(), tester) ? 1 : 0);
		atomic_fetch_add(&stopped_ms, atomic_load(&sync_takes_ms));
	}
	if (!strcmp(target, path)) {
		atomic_fetch_add(&at_gate, 1);
		while (atomic_load(&gate_closed))
			nanosleep(&pause, NULL);
		atomic_fetch_sub(&at_gate, 1);
	}
	return (int)syscall(call, fd);
}

/* In place of the C library's, for SQLite as well. */
int fdatasync(int fd)
{
	return sync_at_gate(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return sync_at_gate(fd, SYS_fsync);
}

/* 400 rows of 4 KiB and more, each a commit. */
static void put_many(struct statedb *s, int64_t from)
{
	char k[4000];

	memset(k, 'k', sizeof(k));
	for (int64_t i = from; i < from + 400; i++) {
		snprintf(k + sizeof(k) - 24, 24, "%08lld", (long long)i);
		assert_int_equal(put(s, k, i, NULL), 0);
	}
}

static void *idle(void *arg)
{
	return (void *)(intptr_t)statedb_idle(arg);
}

/* The database is being synced, for as long as it takes: commits, and what follows, go on. */
static void test_commits_beside_a_checkpoint(void **state)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	struct statedb *s;
	pthread_t thread;
	void *rc;

	(void)state;
	stop_clock();
	s = reopen(NULL);
	put_many(s, 0);
	atomic_store(&gate_closed, true);
	assert_int_equal(pthread_create(&thread, NULL, idle, s), 0);
	for (int n = 0; !atomic_load(&at_gate) && n < 30000; n++)
		nanosleep(&pause, NULL);
	assert_int_equal(atomic_load(&at_gate), 1);
	put_many(s, 400);
	assert_int_equal(get(s, "none"), -1);
	assert_int_equal(count(s), 800);
	assert_int_equal(statedb_sync(s, statedb_seq(s)), 0);
	assert_int_equal(atomic_load(&at_gate), 1);
	atomic_store(&gate_closed, false);
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_int_equal((intptr_t)rc, 0);
	s = reopen(s);
	assert_int_equal(count(s), 800);
	statedb_close(s);
	clock_set_source(NULL);
}

/* A sync takes a second: no commit makes one, and the WAL goes on until the disk is quick. */
static void test_slow_disk(void **state)
{
	struct statedb *s;
	unsigned before;
	off_t wal;

	(void)state;
	stop_clock();
	s = reopen(NULL);
	put_many(s, 0);
	atomic_store(&sync_takes_ms, 1000);
	assert_int_equal(statedb_idle(s), -EAGAIN);
	before = atomic_load(&syncs);
	/* All is copied, and the next commit would begin the WAL anew, with a sync. */
	put_many(s, 400);
	assert_int_equal(atomic_load(&syncs), before);
	assert_int_equal(statedb_idle(s), -EAGAIN);
	atomic_store(&sync_takes_ms, 0);
	assert_int_equal(statedb_idle(s), 0);
	wal = size_of(wal_path);
	put_many(s, 800);
	put_many(s, 1200);
	assert_int_equal(size_of(wal_path), wal);
	assert_int_equal(count(s), 1600);
	s = reopen(s);
	assert_int_equal(count(s), 1600);
	statedb_close(s);
	clock_set_source(NULL);
}

static void test_checkpoint(void **state)
{
	struct statedb *s;
	uint64_t seq = 0;
	char k[2000];
	off_t wal;

	(void)state;
	stop_clock();
	s = reopen(NULL);
	memset(k, 'k', sizeof(k));
	assert_int_equal(statedb_begin(s), 0);
	for (int64_t i = 0; i < 2000; i++) {
		snprintf(k + sizeof(k) - 24, 24, "%08lld", (long long)i);
		assert_int_equal(put_row(s, k, i), 0);
	}
	assert_int_equal(statedb_commit(s, &seq), 0);
	wal = size_of(wal_path);
	assert_true(wal >= 4 << 20);
	assert_int_equal(statedb_idle(s), 0);
	/* Its length stays, for syncs that write no new size; its content is in the database. */
	assert_int_equal(size_of(wal_path), wal);
	assert_true(size_of(path) >= 4 << 20);
	assert_true(statedb_seq(s) > seq);
	assert_int_equal(statedb_sync(s, seq), 0);
	assert_int_equal(put(s, "behind", 1, &seq), 0);
	assert_int_equal(statedb_sync(s, seq), 0);
	assert_int_equal(statedb_idle(s), 0);
	assert_int_equal(count(s), 2001);
	s = reopen(s);
	assert_int_equal(count(s), 2001);
	statedb_close(s);
	clock_set_source(NULL);
}

/* Overwrites len bytes at off. */
static void scribble(const char *name, off_t off, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(pwrite(fd, "\x5a", 1, off + (off_t)i), 1);
	close(fd);
}

/* Opens it, sees a new database, and the damaged one beside it. */
static void check_set_aside(const char *uuid, unsigned files)
{
	struct statedb *s = reopen(NULL);

	assert_false(statedb_is_intact(s));
	assert_string_not_equal(statedb_uuid(s), uuid);
	assert_int_equal(count(s), 0);
	assert_int_equal(count_damaged(), files);
	assert_int_equal(put(s, "new", 1, NULL), 0);
	s = reopen(s);
	assert_true(statedb_is_intact(s));
	assert_int_equal(get(s, "new"), 1);
	statedb_close(s);
}

static void make_old(char uuid[64])
{
	struct statedb *s = reopen(NULL);
	char k[32];

	snprintf(uuid, 64, "%s", statedb_uuid(s));
	for (int64_t i = 0; i < 1000; i++) {
		snprintf(k, sizeof(k), "%lld", (long long)i);
		assert_int_equal(put(s, k, i, NULL), 0);
	}
	statedb_close(s);
}

static void test_damage(void **state)
{
	char uuid[64];
	off_t size;

	(void)state;
	make_old(uuid);
	scribble(path, 0, 100);
	check_set_aside(uuid, 1);
	clear_dir(NULL);
	/* A page in the middle: only the check finds it. */
	make_old(uuid);
	size = size_of(path);
	assert_true(size > 5 * 4096);
	scribble(path, 4 * 4096, 4096);
	check_set_aside(uuid, 1);
	clear_dir(NULL);
	make_old(uuid);
	assert_int_equal(truncate(path, 5 * 4096 / 2), 0);
	check_set_aside(uuid, 1);
	clear_dir(NULL);
	/* No database of ours. */
	scribble(path, 0, 5000);
	check_set_aside("", 1);
	clear_dir(NULL);
	/* A WAL whose database is gone goes with it, twice in a second, too. */
	scribble(wal_path, 0, 5000);
	check_set_aside("", 1);
	scribble(path, 0, 5000);
	check_set_aside("", 2);
}

static void test_refused(void **state)
{
	struct statedb *s = reopen(NULL), *none = NULL;

	(void)state;
	assert_int_equal(statedb_define(s, "UPDATE meta SET value = 99 WHERE key = 'format'"), 0);
	statedb_close(s);
	assert_int_equal(statedb_open(dir, &none), -EPROTONOSUPPORT);
	assert_int_equal(count_damaged(), 0);
	assert_int_equal(unlink(path), 0);
	unlink(wal_path);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(statedb_open(dir, &none), -EBADMSG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(statedb_open(dir, &none), -EBADMSG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(statedb_open(dir, &none), -EBADMSG);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(statedb_open("/nowhere/at all", &none), -ENOENT);
	assert_int_equal(count_damaged(), 0);
}

#define TEST(f) cmocka_unit_test_teardown(f, clear_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reopen),
		TEST(test_failed_statement),
		TEST(test_later),
		TEST(test_later_fails),
		TEST(test_kill),
		TEST(test_second_process),
		TEST(test_failed_sync),
		TEST(test_full_disk),
		TEST(test_filled_disk),
		TEST(test_threads),
		TEST(test_commits_beside_a_checkpoint),
		TEST(test_slow_disk),
		TEST(test_checkpoint),
		TEST(test_damage),
		TEST(test_refused),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
