/* shared: two mounts with one directory, a stop while look-ups wait, what is stored at the end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/content/shared.h"
#include "net/base/clock.h"

#define TEXT "what a File holds"
#define BYTES (sizeof(TEXT) - 1)
#define FILES 20
#define DEADLINE_MS 30000

static char path[64];
static struct shared *one, *two;

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_shared.XXXXXX");
	assert_non_null(mkdtemp(path));
	assert_int_equal(shared_open(path, "http://h/v1", &one), 0);
	assert_int_equal(shared_open(path, "http://h/v1", &two), 0);
	return 0;
}

/* Removes what is in the directory. Returns how many had that text in their names. */
static int clear(const char *text)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		n += strstr(e->d_name, text) != NULL;
		assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
	}
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	(void)state;
	shared_close(one);
	shared_close(two);
	clear("");
	return rmdir(path);
}

/* A file with the text, or an empty one, without a name. */
static int temp(const char *text)
{
	char name[] = "/tmp/test_shared_fd.XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

struct look {
	struct shared_file *file;
	atomic_int calls, err;
	int fd;
};

static void looked(void *arg, int err)
{
	struct look *l = arg;

	atomic_store(&l->err, err);
	atomic_fetch_add(&l->calls, 1);
}

static void look(struct shared *s, const char *id, struct look *l)
{
	memset(l, 0, sizeof(*l));
	l->fd = temp("");
	l->file = shared_begin(s, id, BYTES, "");
	assert_non_null(l->file);
	assert_int_equal(shared_get(l->file, l->fd, looked, l), 0);
}

static int outcome(struct look *l)
{
	uint64_t end = clock_mono_ms() + DEADLINE_MS;

	while (!atomic_load(&l->calls)) {
		assert_true(clock_mono_ms() < end);
		usleep(1000);
	}
	return atomic_load(&l->err);
}

static void end(struct look *l)
{
	shared_end(l->file);
	close(l->fd);
	assert_int_equal(atomic_load(&l->calls), 1);
}

static void test_one_download(void **state)
{
	struct look first[FILES], second[FILES];
	char id[24], buf[BYTES];
	int fd = temp(TEXT);

	(void)state;
	for (int i = 0; i < FILES; i++) {
		snprintf(id, sizeof(id), "file-%d", i);
		look(one, id, &first[i]);
		assert_int_equal(outcome(&first[i]), -ENOENT);
		look(two, id, &second[i]);
	}
	for (int i = 0; i < FILES; i++) {
		assert_int_equal(atomic_load(&second[i].calls), 0); /* it waits for the first */
		shared_progress(first[i].file, BYTES);
		shared_put(first[i].file, fd);
		end(&first[i]);
	}
	close(fd);
	for (int i = 0; i < FILES; i++) {
		assert_int_equal(outcome(&second[i]), 0);
		assert_int_equal(pread(second[i].fd, buf, BYTES, 0), BYTES);
		assert_memory_equal(buf, TEXT, BYTES);
		end(&second[i]);
	}
	shared_stop(one);
	shared_stop(two);
	assert_int_equal(clear(".lock"), 0);
}

static void test_given_up(void **state)
{
	struct look first, second, third;

	(void)state;
	look(one, "file-1", &first);
	assert_int_equal(outcome(&first), -ENOENT);
	look(two, "file-1", &second);
	look(two, "file-1", &third);
	shared_cancel(third.file);
	assert_int_equal(outcome(&third), -ECANCELED);
	end(&third);
	end(&first); /* not downloaded: the next one may */
	assert_int_equal(outcome(&second), -ENOENT);
	end(&second);
	shared_stop(one);
	shared_stop(two);
	assert_int_equal(clear(""), 0);
}

static void test_stop(void **state)
{
	struct look first, second;
	int fd = temp(TEXT);

	(void)state;
	look(one, "file-1", &first);
	assert_int_equal(outcome(&first), -ENOENT);
	look(two, "file-1", &second);
	shared_stop(two);
	assert_int_equal(outcome(&second), -ECANCELED);
	assert_int_equal(shared_get(second.file, second.fd, looked, &second), -EBUSY);
	end(&second);
	shared_put(first.file, fd);
	shared_stop(one); /* stores it first */
	end(&first);
	close(fd);
	assert_int_equal(clear(".md5"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_download, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
