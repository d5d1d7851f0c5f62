/* cache: what is kept, in which order it goes, and what a directory may hold. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/content/cache.h"
#include "fs/state/cached.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "fs/work/pool.h"
#include "net/base/clock.h"

static char top[64], dir[80];
static struct statedb *db;
static struct datadir *data;

static void open_store(void)
{
	assert_int_equal(statedb_open(top, &db), 0);
	assert_int_equal(datadir_open(top, db, &data), 0);
}

static void close_store(void)
{
	datadir_close(data);
	data = NULL;
	statedb_close(db);
	db = NULL;
}

static int setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/test_cache.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(dir, sizeof(dir), "%s/" DATA_DIR, top);
	open_store();
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	clock_set_source(NULL);
	close_store();
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct cache *open_cache(uint64_t size_max)
{
	struct cache *c = NULL;

	assert_int_equal(cache_open(data, db, size_max, &c), 0);
	assert_non_null(c);
	return c;
}

/* Ends the daemon and starts another. */
static struct cache *reopen(struct cache *c, uint64_t size_max)
{
	cache_close(c);
	close_store();
	open_store();
	return open_cache(size_max);
}

struct look {
	const char *id;
	struct cached row;
	bool found;
};

static int look_at(void *arg, const char *file_id, const struct cached *row)
{
	struct look *l = arg;

	if (strcmp(file_id, l->id))
		return 0;
	l->row = *row;
	l->found = true;
	return 0;
}

/* The row of id, if there is one. */
static bool row_of(const char *id, struct cached *ret)
{
	struct look l = { .id = id };

	statedb_lock(db);
	assert_int_equal(cached_each(db, look_at, &l), 0);
	statedb_unlock(db);
	*ret = l.row;
	return l.found;
}

static void path_of(const char *id, char ret[256])
{
	struct cached row;

	assert_true(row_of(id, &row));
	snprintf(ret, 256, "%s/%s" DATA_END, dir, row.data);
}

/* Changes the store, as a test says; takes its lock. */
static void change(const char *sql)
{
	assert_int_equal(statedb_define(db, sql), 0);
}

/* Content that comes by way of a fetch. */
static int put(struct cache *c, const char *id, size_t len, char seed)
{
	uint64_t token;
	char *buf = malloc(len + 1), md5[DIGEST_HEX_SIZE];
	int fd, rc;

	assert_non_null(buf);
	memset(buf, seed, len);
	assert_int_equal(cache_fetch_begin(c, &token, &fd), 0);
	assert_int_equal(pwrite(fd, buf, len, 0), len);
	rc = cache_fetch_done(c, id, token, len, md5);
	close(fd);
	free(buf);
	return rc;
}

static bool has(struct cache *c, const char *id, uint64_t bytes)
{
	struct cache_copy copy = { .fd = -1 };
	int rc = cache_get(c, id, bytes, &copy);

	if (rc) {
		assert_int_equal(rc, -ENOENT);
		assert_int_equal(copy.fd, -1);
		return false;
	}
	close(copy.fd);
	return true;
}

/* Data files there are. */
static unsigned files(void)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir(dir);

	assert_non_null(d);
	while ((de = readdir(d)) != NULL)
		n += strlen(de->d_name) == DATA_ID_LEN + strlen(DATA_END);
	closedir(d);
	return n;
}

static void test_put_get(void **state)
{
	struct cache *c = open_cache(1 << 20);
	struct cache_copy copy;
	char buf[8] = "", path[256];
	struct stat st;

	(void)state;
	assert_false(has(c, "file-1", 5));
	assert_int_equal(put(c, "file-1", 5, 'a'), 0);
	assert_int_equal(cache_used(c), 5);
	assert_int_equal(cache_get(c, "file-1", 5, &copy), 0);
	assert_int_equal(read(copy.fd, buf, 8), 5);
	assert_string_equal(buf, "aaaaa");
	assert_string_equal(copy.md5, "594f803b380a41396ed63dca39503542");
	assert_int_equal(write(copy.fd, buf, 1), -1);
	assert_true(fcntl(copy.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fstat(copy.fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	close(copy.fd);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	path_of("file-1", path);
	assert_int_equal(files(), 1);
	/* Put again: counted once, in a file of its own. */
	assert_int_equal(put(c, "file-1", 7, 'b'), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(cache_used(c), 7);
	assert_int_equal(files(), 1);
	cache_remove(c, "file-1");
	cache_remove(c, "file-1");
	assert_int_equal(cache_used(c), 0);
	assert_false(has(c, "file-1", 7));
	assert_int_equal(files(), 0);
	cache_close(c);
	cache_close(NULL);
}

static void test_wrong_file(void **state)
{
	struct cache *c = open_cache(1 << 20);
	char path[256];

	(void)state;
	assert_int_equal(put(c, "a", 5, 'a'), 0);
	assert_false(has(c, "a", 6)); /* another size: not the File's content */
	assert_int_equal(files(), 0);
	assert_int_equal(put(c, "a", 5, 'a'), 0);
	path_of("a", path);
	assert_int_equal(truncate(path, 3), 0);
	assert_false(has(c, "a", 5));
	assert_int_equal(files(), 0);
	assert_int_equal(cache_used(c), 0);
	/* Replaced by a link: not followed. */
	assert_int_equal(put(c, "b", 5, 'a'), 0);
	path_of("b", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_false(has(c, "b", 5));
	assert_int_equal(access("/etc/hostname", F_OK), 0);
	/* By a fifo: no hang. */
	assert_int_equal(put(c, "c", 0, 'a'), 0);
	path_of("c", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(has(c, "c", 0));
	/* Gone. */
	assert_int_equal(put(c, "d", 5, 'a'), 0);
	path_of("d", path);
	assert_int_equal(unlink(path), 0);
	assert_false(has(c, "d", 5));
	assert_int_equal(cache_used(c), 0);
	cache_close(c);
}

static void test_lru(void **state)
{
	struct cache *c = open_cache(30);
	struct cache_copy copy;
	char buf[16];

	(void)state;
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	assert_int_equal(put(c, "c", 10, 'c'), 0);
	assert_int_equal(cache_used(c), 30);
	assert_int_equal(cache_get(c, "a", 10, &copy), 0);
	assert_int_equal(put(c, "d", 10, 'd'), 0); /* b goes */
	assert_int_equal(cache_used(c), 30);
	assert_false(has(c, "b", 10));
	assert_true(has(c, "a", 10));
	assert_true(has(c, "c", 10));
	assert_true(has(c, "d", 10));
	assert_int_equal(put(c, "e", 25, 'e'), 0); /* all go */
	assert_int_equal(cache_used(c), 25);
	assert_int_equal(files(), 1);
	assert_true(has(c, "e", 25));
	/* One that was open goes on working. */
	assert_int_equal(pread(copy.fd, buf, 16, 0), 10);
	assert_memory_equal(buf, "aaaaaaaaaa", 10);
	close(copy.fd);
	cache_close(c);
}

/* A staged file's data becomes content: the row changes, the file does not. */
static void adopt(struct cache *c, const char *id, size_t len, int want)
{
	char name[DATA_ID_SIZE], buf[64] = "";
	struct record r = { .state = RECORD_COMPLETED };
	int fd;

	r.purpose = r.path = buf;
	assert_int_equal(datadir_create(data, name, &fd), 0);
	assert_int_equal(write(fd, buf, len), len);
	close(fd);
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_save(db, name, &r), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	assert_int_equal(cache_adopt(c, id, name, len, "d41d8cd98f00b204e9800998ecf8427e", false),
			 want);
	assert_int_equal(files_has(db, name), want != 0);
	assert_int_equal(cached_has_data(db, name), want == 0);
	if (!want)
		return;
	/* Its owner removes it, as the vfs does. */
	assert_int_equal(statedb_begin(db), 0);
	assert_int_equal(files_doom(db, name), 0);
	assert_int_equal(statedb_commit(db, NULL), 0);
	datadir_doom(data, name);
}

static void test_adopt(void **state)
{
	struct cache *c = open_cache(30);
	struct cached row;

	(void)state;
	adopt(c, "a", 10, 0);
	assert_true(has(c, "a", 10));
	assert_true(row_of("a", &row));
	assert_string_equal(row.md5, "d41d8cd98f00b204e9800998ecf8427e");
	assert_string_equal(row.era, datadir_era(data));
	assert_true(row.era[0]);
	adopt(c, "a", 11, 0);
	assert_int_equal(cache_used(c), 11);
	assert_int_equal(files(), 1);
	adopt(c, "big", 31, -EFBIG);
	assert_true(has(c, "a", 11));
	c = reopen(c, 30);
	assert_true(has(c, "a", 11));
	assert_int_equal(files(), 1);
	c = reopen(c, 0);
	assert_int_equal(files(), 0);
	adopt(c, "none", 0, -EFBIG);
	assert_int_equal(put(c, "x", 0, 'a'), -EFBIG);
	assert_int_equal(files(), 0);
	cache_close(c);
}

static void test_too_large(void **state)
{
	struct cache *c = open_cache(30);

	(void)state;
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "big", 31, 'b'), -EFBIG);
	assert_true(has(c, "a", 10));
	assert_int_equal(cache_used(c), 10);
	assert_int_equal(files(), 1);
	cache_close(c);
}

static void test_fetch_ends(void **state)
{
	struct cache *c = open_cache(100);
	char md5[DIGEST_HEX_SIZE];
	uint64_t one, two;
	int fd1, fd2;

	(void)state;
	assert_int_equal(cache_fetch_begin(c, &one, &fd1), 0);
	assert_int_equal(cache_fetch_begin(c, &two, &fd2), 0);
	assert_true(one != two);
	assert_int_equal(files(), 2);
	assert_int_equal(write(fd1, "abc", 3), 3);
	assert_int_equal(write(fd2, "abc", 3), 3);
	assert_int_equal(cache_fetch_done(c, "f", one, 4, md5), -EIO);
	assert_false(has(c, "f", 4));
	assert_false(has(c, "f", 3));
	assert_int_equal(files(), 1);
	cache_fetch_drop(c, two);
	cache_fetch_drop(c, two);
	assert_int_equal(files(), 0);
	assert_int_equal(cache_fetch_done(c, "f", two, 3, md5), -ENOENT);
	close(fd1);
	close(fd2);
	/* The daemon dies with a fetch under way: the next one removes what came. */
	assert_int_equal(cache_fetch_begin(c, &one, &fd1), 0);
	assert_int_equal(write(fd1, "abc", 3), 3);
	assert_int_equal(files(), 1);
	c = reopen(c, 100);
	assert_int_equal(files(), 0);
	cache_close(c);
	close(fd1);
}

static uint64_t now_ms = 5;

static uint64_t fake_mono(void)
{
	return now_ms;
}

static struct timespec fake_wall(void)
{
	return (struct timespec){ .tv_sec = 2000000000 + (time_t)(now_ms / 1000) };
}

static int64_t used_s(const char *id)
{
	struct cached row;

	assert_true(row_of(id, &row));
	return row.used_s - 2000000000;
}

/* Last uses are written once a minute, and at the end; the next daemon evicts by them. */
static void test_last_use(void **state)
{
	static const struct clock_source source = { fake_mono, fake_wall };
	struct cache *c;

	(void)state;
	clock_set_source(&source);
	c = open_cache(100);
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	now_ms += 50000;
	assert_true(has(c, "a", 10));
	assert_int_equal(used_s("a"), 0);
	now_ms += 10000;
	assert_true(has(c, "a", 10));
	assert_int_equal(used_s("a"), 60);
	assert_int_equal(used_s("b"), 0);
	now_ms += 10000;
	assert_true(has(c, "a", 10));
	assert_int_equal(used_s("a"), 60);
	c = reopen(c, 100);
	assert_int_equal(used_s("a"), 70);
	c = reopen(c, 10);
	assert_false(has(c, "b", 10));
	assert_true(has(c, "a", 10));
	cache_close(c);
}

static void damage(const char *id)
{
	char path[256];
	int fd;

	path_of(id, path);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "x", 1, 3), 1);
	close(fd);
}

/* After a power cut, what was not synced is compared before its first use. */
static void test_other_era(void **state)
{
	struct cache *c = open_cache(100);
	struct cached row;

	(void)state;
	assert_int_equal(put(c, "good", 10, 'g'), 0);
	assert_int_equal(put(c, "bad", 10, 'b'), 0);
	assert_int_equal(put(c, "unknown", 10, 'u'), 0);
	damage("bad");
	/* In this era the kernel has the bytes: no use is slowed down. */
	c = reopen(c, 100);
	assert_true(has(c, "bad", 10));
	cache_close(c);
	change("UPDATE cached SET era = 'another'");
	change("UPDATE cached SET md5 = '' WHERE file_id = 'unknown'");
	c = open_cache(100);
	assert_true(has(c, "good", 10));
	assert_false(has(c, "bad", 10));
	assert_false(has(c, "unknown", 10));
	assert_int_equal(files(), 1);
	/* Checked once. */
	assert_true(row_of("good", &row) && row.synced);
	damage("good");
	c = reopen(c, 100);
	assert_true(has(c, "good", 10));
	cache_close(c);
}

static void test_reject(void **state)
{
	struct cache *c = open_cache(100);
	struct cache_copy copy;

	(void)state;
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(cache_get(c, "a", 10, &copy), 0);
	close(copy.fd);
	/* Fetched anew meanwhile: that one stays. */
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	cache_reject(c, "a", copy.data);
	assert_true(has(c, "a", 10));
	assert_int_equal(cache_get(c, "a", 10, &copy), 0);
	close(copy.fd);
	cache_reject(c, "a", copy.data);
	assert_false(has(c, "a", 10));
	assert_int_equal(files(), 0);
	cache_close(c);
}

static bool keeps(void *arg, const char *file_id)
{
	return strchr(arg, *file_id) != NULL;
}

static void test_sweep(void **state)
{
	struct cache *c = open_cache(100);
	char kept[] = "ac";

	(void)state;
	cache_sweep(c, keeps, kept);
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	assert_int_equal(put(c, "c", 10, 'c'), 0);
	cache_sweep(c, keeps, kept);
	assert_int_equal(files(), 2);
	assert_false(has(c, "b", 10));
	assert_true(has(c, "a", 10) && has(c, "c", 10));
	cache_close(c);
}

static void test_shrink(void **state)
{
	struct cache *c = open_cache(100);

	(void)state;
	assert_int_equal(cache_shrink(c, 10), 0);
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	assert_int_equal(put(c, "c", 10, 'c'), 0);
	assert_int_equal(cache_shrink(c, 11), 20);
	assert_int_equal(files(), 1);
	assert_true(has(c, "c", 10));
	assert_int_equal(cache_shrink(c, UINT64_MAX), 10);
	assert_int_equal(cache_used(c), 0);
	assert_int_equal(files(), 0);
	cache_close(c);
}

/* With a worker nothing is unlinked by the thread that evicts. */
static void test_worker(void **state)
{
	struct cache *c = open_cache(30);
	struct pool *worker;

	(void)state;
	assert_int_equal(pool_new(1, &worker), 0);
	datadir_set_worker(data, worker);
	cache_set_worker(c, worker);
	for (int i = 0; i < 50; i++)
		assert_int_equal(put(c, i % 2 ? "a" : "b", 10 + (size_t)i % 3, 'a'), 0);
	cache_remove(c, "a");
	cache_set_worker(c, NULL);
	datadir_set_worker(data, NULL);
	pool_free(worker);
	assert_int_equal(files(), 1);
	assert_int_equal(cache_used(c), 10 + 48 % 3);
	cache_close(c);
}

/* Files without a byte are bounded too. */
static void test_count(void **state)
{
	struct cache *c;

	(void)state;
	/* The rows alone: their files are looked for when they are used. */
	change("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 65538)"
	       " INSERT INTO cached SELECT printf('f%06d', i), printf('%016x', i), 0, '', 1, '',"
	       " CASE i WHEN 7 THEN 1 ELSE 1000 END FROM n");
	c = open_cache(100);
	assert_false(cached_has_data(db, "0000000000000007"));
	assert_false(cached_has_data(db, "0000000000000001"));
	assert_true(cached_has_data(db, "0000000000000002"));
	assert_int_equal(put(c, "new", 0, 'n'), 0);
	assert_false(cached_has_data(db, "0000000000000002"));
	assert_true(cached_has_data(db, "0000000000000003"));
	assert_true(has(c, "new", 0));
	cache_close(c);
}

#define HAMMER_THREADS 4
#define HAMMER_STEPS 300

static void *hammer(void *arg)
{
	struct cache *c = arg;
	unsigned i, seed = (unsigned)(uintptr_t)&i >> 4;
	struct cache_copy copy;
	char id[8], buf[64];
	ssize_t n;

	for (i = 0; i < HAMMER_STEPS; i++) {
		snprintf(id, sizeof(id), "f%u", rand_r(&seed) % 8);
		switch (rand_r(&seed) % 4) {
		case 0:
			assert_int_equal(put(c, id, 10, id[1]), 0);
			break;
		case 1:
			cache_remove(c, id);
			break;
		default:
			if (cache_get(c, id, 10, &copy))
				break;
			n = pread(copy.fd, buf, sizeof(buf), 0);
			assert_int_equal(n, 10);
			assert_int_equal(buf[9], id[1]);
			close(copy.fd);
			break;
		}
		assert_true(cache_used(c) <= 45);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct cache *c = open_cache(45);
	pthread_t t[HAMMER_THREADS];
	uint64_t used;
	unsigned i;

	(void)state;
	for (i = 0; i < HAMMER_THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hammer, c), 0);
	for (i = 0; i < HAMMER_THREADS; i++)
		pthread_join(t[i], NULL);
	used = cache_used(c);
	assert_int_equal(files(), used / 10);
	/* What memory said is what the store says. */
	c = reopen(c, UINT64_MAX);
	assert_int_equal(cache_used(c), used);
	assert_int_equal(files(), used / 10);
	cache_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lru, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fetch_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_era, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reject, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shrink, setup, teardown),
		cmocka_unit_test_setup_teardown(test_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
