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
#include "net/base/clock.h"

static char top[64], dir[80];

static int setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/test_cache.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(dir, sizeof(dir), "%s/cache", top);
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
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct cache *open_cache(uint64_t size_max)
{
	struct cache *c = NULL;

	assert_int_equal(cache_open(dir, size_max, &c), 0);
	assert_non_null(c);
	return c;
}

static void path_of(const char *name, char ret[256])
{
	snprintf(ret, 256, "%s/%s", dir, name);
}

/* A file of len bytes seed, at path. */
static void make_file(const char *path, size_t len, char seed)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	char buf[4096];
	size_t n;

	assert_true(fd >= 0);
	memset(buf, seed, sizeof(buf));
	while (len) {
		n = len < sizeof(buf) ? len : sizeof(buf);
		assert_int_equal(write(fd, buf, n), n);
		len -= n;
	}
	close(fd);
}

/* Content that comes by way of a fetch. */
static int put(struct cache *c, const char *id, size_t len, char seed)
{
	uint64_t token;
	char *buf = malloc(len + 1);
	int fd, rc;

	assert_non_null(buf);
	memset(buf, seed, len);
	assert_int_equal(cache_fetch_begin(c, id, &token, &fd), 0);
	assert_int_equal(pwrite(fd, buf, len, 0), len);
	rc = cache_fetch_done(c, id, token, len);
	close(fd);
	free(buf);
	return rc;
}

static bool has(struct cache *c, const char *id, uint64_t bytes)
{
	int fd = -1, rc = cache_get(c, id, bytes, &fd);

	if (rc) {
		assert_int_equal(rc, -ENOENT);
		assert_int_equal(fd, -1);
		return false;
	}
	close(fd);
	return true;
}

static bool on_disk(const char *name)
{
	char path[256];
	struct stat st;

	path_of(name, path);
	return lstat(path, &st) == 0;
}

static unsigned entries(const char *name)
{
	struct dirent *de;
	char path[256];
	unsigned n = 0;
	DIR *d;

	path_of(name, path);
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d)) != NULL)
		n += strcmp(de->d_name, ".") && strcmp(de->d_name, "..");
	closedir(d);
	return n;
}

static void test_put_get(void **state)
{
	struct cache *c = open_cache(1 << 20);
	char buf[8] = "", path[256];
	struct stat st;
	int fd;

	(void)state;
	assert_false(has(c, "file-1", 5));
	assert_int_equal(put(c, "file-1", 5, 'a'), 0);
	assert_int_equal(cache_used(c), 5);
	assert_int_equal(cache_get(c, "file-1", 5, &fd), 0);
	assert_int_equal(read(fd, buf, 8), 5);
	assert_string_equal(buf, "aaaaa");
	assert_int_equal(write(fd, buf, 1), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	path_of(".fetch", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(entries(".fetch"), 0);
	/* Put again: counted once. */
	assert_int_equal(put(c, "file-1", 7, 'b'), 0);
	assert_int_equal(cache_used(c), 7);
	cache_remove(c, "file-1");
	cache_remove(c, "file-1");
	assert_int_equal(cache_used(c), 0);
	assert_false(has(c, "file-1", 7));
	assert_false(on_disk("file-1"));
	cache_close(c);
	cache_close(NULL);
}

static void test_wrong_size(void **state)
{
	struct cache *c = open_cache(1 << 20);
	char path[256];

	(void)state;
	assert_int_equal(put(c, "a", 5, 'a'), 0);
	path_of("a", path);
	assert_int_equal(truncate(path, 3), 0);
	assert_false(has(c, "a", 5));
	assert_false(on_disk("a"));
	assert_int_equal(cache_used(c), 0);
	/* Replaced by a link: not followed. */
	assert_int_equal(put(c, "b", 5, 'a'), 0);
	path_of("b", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_false(has(c, "b", 5));
	assert_int_equal(access("/etc/hostname", F_OK), 0);
	cache_close(c);
}

static void test_lru(void **state)
{
	struct cache *c = open_cache(30);
	char buf[16];
	int fd;

	(void)state;
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	assert_int_equal(put(c, "c", 10, 'c'), 0);
	assert_int_equal(cache_used(c), 30);
	assert_int_equal(cache_get(c, "a", 10, &fd), 0);
	assert_int_equal(put(c, "d", 10, 'd'), 0); /* b goes */
	assert_int_equal(cache_used(c), 30);
	assert_false(has(c, "b", 10));
	assert_true(has(c, "a", 10));
	assert_true(has(c, "c", 10));
	assert_true(has(c, "d", 10));
	assert_int_equal(put(c, "e", 25, 'e'), 0); /* all go */
	assert_int_equal(cache_used(c), 25);
	assert_false(on_disk("a"));
	assert_false(on_disk("c"));
	assert_false(on_disk("d"));
	assert_true(has(c, "e", 25));
	/* One that was open goes on working. */
	assert_int_equal(pread(fd, buf, 16, 0), 10);
	assert_memory_equal(buf, "aaaaaaaaaa", 10);
	close(fd);
	assert_int_equal(entries(".fetch"), 0);
	cache_close(c);
}

static void test_too_large(void **state)
{
	struct cache *c = open_cache(30);
	char path[256];

	(void)state;
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "big", 31, 'b'), 0);
	assert_false(on_disk("big"));
	assert_true(has(c, "a", 10));
	path_of("big", path);
	make_file(path, 31, 'b');
	assert_int_equal(cache_added(c, "big", 31), 0);
	assert_false(on_disk("big"));
	assert_true(has(c, "a", 10));
	assert_int_equal(cache_used(c), 10);
	assert_int_equal(entries(".fetch"), 0);
	cache_close(c);
}

static void test_size_zero(void **state)
{
	struct cache *c = open_cache(1000);
	char path[256];
	int fd;

	(void)state;
	assert_int_equal(put(c, "old", 10, 'a'), 0);
	cache_close(c);
	c = open_cache(0);
	assert_false(on_disk("old"));
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "none", 0, 'a'), 0);
	assert_false(on_disk("a"));
	assert_false(on_disk("none"));
	assert_int_equal(cache_path(c, "b", path, sizeof(path)), 0);
	make_file(path, 4, 'b');
	fd = open(path, O_RDONLY);
	assert_int_equal(cache_added(c, "b", 4), 0);
	assert_false(on_disk("b"));
	assert_int_equal(read(fd, path, 8), 4);
	close(fd);
	assert_int_equal(cache_used(c), 0);
	assert_int_equal(entries(".fetch"), 0);
	cache_close(c);
}

static void test_added(void **state)
{
	struct cache *c = open_cache(100);
	char path[256], expect[256];

	(void)state;
	assert_int_equal(cache_path(c, "x", path, 5), -ENAMETOOLONG);
	assert_int_equal(cache_path(c, "x", path, sizeof(path)), 0);
	path_of("x", expect);
	assert_string_equal(path, expect);
	assert_int_equal(cache_added(c, "x", 5), -ENOENT);
	make_file(path, 5, 'x');
	assert_false(has(c, "x", 5)); /* not yet ours */
	assert_int_equal(cache_added(c, "x", 5), 0);
	assert_true(has(c, "x", 5));
	assert_int_equal(cache_used(c), 5);
	assert_int_equal(cache_path(c, "y", path, sizeof(path)), 0);
	make_file(path, 5, 'y');
	assert_int_equal(cache_added(c, "y", 6), -EIO);
	assert_false(on_disk("y"));
	assert_int_equal(cache_used(c), 5);
	/* Gone behind our back, and said to be there. */
	cache_path(c, "x", path, sizeof(path));
	unlink(path);
	assert_int_equal(cache_added(c, "x", 5), -ENOENT);
	assert_int_equal(cache_used(c), 0);
	cache_close(c);
}

static void test_fetch_ends(void **state)
{
	struct cache *c = open_cache(100);
	uint64_t one, two;
	int fd1, fd2;

	(void)state;
	assert_int_equal(cache_fetch_begin(c, "f", &one, &fd1), 0);
	assert_int_equal(cache_fetch_begin(c, "f", &two, &fd2), 0);
	assert_true(one != two);
	assert_int_equal(entries(".fetch"), 2);
	assert_int_equal(write(fd1, "abc", 3), 3);
	assert_int_equal(write(fd2, "abc", 3), 3);
	assert_int_equal(cache_fetch_done(c, "f", one, 4), -EIO);
	assert_false(has(c, "f", 4));
	assert_false(has(c, "f", 3));
	assert_int_equal(entries(".fetch"), 1);
	cache_fetch_drop(c, two);
	cache_fetch_drop(c, two);
	assert_int_equal(entries(".fetch"), 0);
	assert_int_equal(cache_fetch_done(c, "f", two, 3), -ENOENT);
	close(fd1);
	close(fd2);
	/* What is still under way at the end does not stay. */
	assert_int_equal(cache_fetch_begin(c, "f", &one, &fd1), 0);
	cache_close(c);
	assert_int_equal(entries(".fetch"), 0);
	close(fd1);
}

static void set_times(const char *name, time_t atime, time_t mtime)
{
	struct timespec times[2] = { { .tv_sec = atime }, { .tv_sec = mtime } };
	char path[256];

	path_of(name, path);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_reopen(void **state)
{
	struct cache *c = open_cache(100);

	(void)state;
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	assert_int_equal(put(c, "c", 10, 'c'), 0);
	assert_int_equal(put(c, "d", 10, 'd'), 0);
	cache_close(c);
	set_times("a", 4000, 1000);
	set_times("b", 1000, 2000);
	set_times("c", 1000, 1000);
	set_times("d", 1000, 3000);
	c = open_cache(30); /* c was used longest ago */
	assert_int_equal(cache_used(c), 30);
	assert_false(on_disk("c"));
	assert_int_equal(put(c, "e", 10, 'e'), 0);
	assert_false(on_disk("b"));
	assert_int_equal(put(c, "f", 10, 'f'), 0);
	assert_false(on_disk("d"));
	assert_true(has(c, "a", 10));
	cache_close(c);
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

static time_t atime_of(const char *name)
{
	char path[256];
	struct stat st;

	path_of(name, path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_mtim.tv_sec == 1000);
	return st.st_atim.tv_sec;
}

static void test_atime(void **state)
{
	static const struct clock_source source = { fake_mono, fake_wall };
	struct cache *c;

	(void)state;
	clock_set_source(&source);
	c = open_cache(100);
	assert_int_equal(put(c, "a", 10, 'a'), 0);
	assert_int_equal(put(c, "b", 10, 'b'), 0);
	set_times("a", 1000, 1000);
	set_times("b", 1000, 1000);
	assert_true(has(c, "a", 10));
	assert_int_equal(atime_of("a"), 2000000000);
	now_ms += 59000;
	assert_true(has(c, "a", 10));
	assert_int_equal(atime_of("a"), 2000000000);
	now_ms += 2000;
	assert_true(has(c, "a", 10));
	assert_int_equal(atime_of("a"), 2000000061);
	assert_int_equal(atime_of("b"), 1000);
	cache_close(c);
	c = open_cache(10); /* a was used, b was not */
	assert_true(on_disk("a"));
	assert_false(on_disk("b"));
	cache_close(c);
}

static void test_strange_directory(void **state)
{
	char path[256], outside[256];
	struct cache *c;

	(void)state;
	snprintf(outside, sizeof(outside), "%s/outside", top);
	make_file(outside, 3, 'o');
	assert_int_equal(mkdir(dir, 0777), 0);
	path_of("sub", path);
	assert_int_equal(mkdir(path, 0700), 0);
	path_of("link", path);
	assert_int_equal(symlink(outside, path), 0);
	path_of("fifo", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	path_of("not an id", path);
	make_file(path, 3, 'x');
	path_of(".hidden", path);
	make_file(path, 3, 'x');
	path_of("file-ok", path);
	make_file(path, 3, 'x');
	path_of(".fetch", path); /* in the way of ours */
	assert_int_equal(symlink(top, path), 0);
	c = open_cache(100);
	assert_int_equal(cache_used(c), 3);
	assert_true(has(c, "file-ok", 3));
	assert_false(has(c, "link", 3));
	assert_false(has(c, "fifo", 0));
	assert_false(has(c, "sub", 4096));
	assert_true(on_disk("sub"));
	assert_true(on_disk("link"));
	assert_true(on_disk("fifo"));
	assert_true(on_disk("not an id"));
	assert_true(on_disk(".hidden"));
	assert_int_equal(access(outside, F_OK), 0);
	assert_int_equal(put(c, "new", 3, 'n'), 0);
	cache_close(c);
	/* Left-overs of a run that was killed, whatever they are. */
	path_of(".fetch/17", path);
	make_file(path, 3, 'x');
	path_of(".fetch/dir", path);
	assert_int_equal(mkdir(path, 0700), 0);
	c = open_cache(100);
	assert_false(on_disk(".fetch/17"));
	assert_int_equal(put(c, "newer", 3, 'n'), 0);
	assert_int_equal(cache_used(c), 9);
	cache_close(c);
}

static void test_cannot_open(void **state)
{
	struct cache *c = NULL;
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/none/cache", top);
	assert_int_equal(cache_open(path, 10, &c), -ENOENT);
	snprintf(path, sizeof(path), "%s/file", top);
	make_file(path, 1, 'x');
	assert_int_equal(cache_open(path, 10, &c), -ENOTDIR);
	assert_null(c);
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
	assert_false(on_disk("a"));
	assert_false(on_disk("b"));
	assert_true(has(c, "c", 10));
	assert_int_equal(cache_shrink(c, UINT64_MAX), 10);
	assert_int_equal(cache_used(c), 0);
	assert_int_equal(entries(".fetch"), 0);
	cache_close(c);
}

/* Files without a byte are bounded too. */
static void test_count(void **state)
{
	struct cache *c = open_cache(100);
	char path[256];
	unsigned i;
	int fd;

	(void)state;
	cache_close(c);
	for (i = 0; i < CACHE_FILES_MAX + 3; i++) {
		snprintf(path, sizeof(path), "%s/f%06u", dir, i);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	set_times("f000007", 2000, 2000);
	c = open_cache(100);
	assert_int_equal(entries(""), CACHE_FILES_MAX + 1); /* and .fetch */
	assert_false(on_disk("f000007"));
	assert_int_equal(put(c, "new", 0, 'n'), 0);
	assert_int_equal(entries(""), CACHE_FILES_MAX + 1);
	assert_true(has(c, "new", 0));
	cache_close(c);
}

#define HAMMER_THREADS 4
#define HAMMER_STEPS 300

static void *hammer(void *arg)
{
	struct cache *c = arg;
	unsigned i, seed = (unsigned)(uintptr_t)&i >> 4;
	char id[8], buf[64], path[256];
	ssize_t n;
	int fd;

	for (i = 0; i < HAMMER_STEPS; i++) {
		snprintf(id, sizeof(id), "f%u", rand_r(&seed) % 8);
		switch (rand_r(&seed) % 4) {
		case 0:
			assert_int_equal(put(c, id, 10, id[1]), 0);
			break;
		case 1:
			cache_remove(c, id);
			break;
		case 2:
			/* As staged_give() does it: several at once may do so. */
			snprintf(path, sizeof(path), "%s/give-%p-%u", top, (void *)&i, i);
			make_file(path, 10, id[1]);
			assert_int_equal(cache_path(c, id, buf, sizeof(buf)), 0);
			assert_int_equal(rename(path, buf), 0);
			fd = cache_added(c, id, 10);
			assert_true(fd == 0 || fd == -ENOENT);
			break;
		default:
			if (cache_get(c, id, 10, &fd))
				break;
			n = pread(fd, buf, sizeof(buf), 0);
			assert_int_equal(n, 10);
			assert_int_equal(buf[9], id[1]);
			close(fd);
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
	assert_int_equal(entries(".fetch"), 0);
	cache_close(c);
	/* What the table said is what is on disk. */
	c = open_cache(UINT64_MAX);
	assert_int_equal(cache_used(c), used);
	cache_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lru, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_size_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(test_added, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fetch_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_atime, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strange_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shrink, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
