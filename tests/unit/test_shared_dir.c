/* shared_dir: hostile ids as names, what counts as content, locks. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/content/shared_dir.h"

#define TEXT "what a File holds"
#define BYTES (sizeof(TEXT) - 1)

static char path[64];
static int dir, in, out;
static struct shared_name name;

static int step(void *arg, uint64_t copied)
{
	(void)copied;
	return arg ? *(int *)arg : 0;
}

static const struct shared_watch watch = { step, NULL };

static int setup(void **state)
{
	mode_t mode;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_shared_dir.XXXXXX");
	assert_non_null(mkdtemp(path));
	assert_int_equal(shared_dir_open(path, &dir, &mode), 0);
	assert_int_equal(mode, 0600);
	in = openat(dir, "in", O_RDWR | O_CREAT, 0600);
	out = openat(dir, "out", O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(in, TEXT, BYTES), BYTES);
	assert_true(shared_dir_name("http://h/v1", "../a/b.md5", &name));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(in);
	close(out);
	unlinkat(dir, "in", 0);
	unlinkat(dir, "out", 0);
	unlinkat(dir, name.content, 0);
	unlinkat(dir, name.sum, 0);
	unlinkat(dir, name.lock, 0);
	close(dir);
	assert_int_equal(rmdir(path), 0); /* nothing temporary is left */
	return 0;
}

static void test_names(void **state)
{
	struct shared_name other;
	char id[1025];

	(void)state;
	assert_non_null(strstr(name.content, "%2E%2E%2Fa%2Fb%2Emd5."));
	assert_null(strchr(name.content, '/'));
	assert_true(shared_dir_name("http://h/v2", "../a/b.md5", &other));
	assert_string_not_equal(other.content, name.content);
	for (size_t len = 1; len < sizeof(id); len++) {
		memset(id, len % 2 ? 'a' : '\xff', len);
		id[len] = '\0';
		if (shared_dir_name("s", id, &other))
			assert_true(strlen(other.lock) + SHARED_TOKEN_SIZE <= NAME_MAX);
		else
			assert_true(len > 70);
	}
}

static int take(const char *md5)
{
	return shared_dir_take(dir, &name, BYTES, md5, out, &watch);
}

static void test_put_and_take(void **state)
{
	char buf[BYTES], other[DIGEST_HEX_SIZE] = "00000000000000000000000000000000";
	int stop = -ECANCELED;
	const struct shared_watch stopped = { step, &stop };

	(void)state;
	assert_int_equal(take(""), -ENOENT);
	assert_int_equal(shared_dir_put(dir, &name, 0600, BYTES, "", in, &stopped), -ECANCELED);
	assert_int_equal(shared_dir_put(dir, &name, 0600, BYTES + 1, "", in, &watch), -EIO);
	assert_int_equal(shared_dir_put(dir, &name, 0600, BYTES, other, in, &watch), -EIO);
	assert_int_equal(take(""), -ENOENT);
	assert_int_equal(shared_dir_put(dir, &name, 0600, BYTES, "", in, &watch), 0);
	assert_int_equal(take(""), 0);
	assert_int_equal(pread(out, buf, BYTES, 0), BYTES);
	assert_memory_equal(buf, TEXT, BYTES);
	/* Not the MD5 that is known: removed, whatever lies beside it. */
	assert_int_equal(take(other), -ENOENT);
	assert_int_equal(faccessat(dir, name.content, F_OK, 0), -1);
}

static void make_content(const char *text)
{
	int fd = openat(dir, name.content, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_damage(void **state)
{
	(void)state;
	make_content("What a File holds");
	assert_int_equal(take(""), 0); /* without an MD5 only the size is compared */
	assert_int_equal(shared_dir_put(dir, &name, 0600, BYTES, "", in, &watch), 0);
	make_content("What a File holds");
	assert_int_equal(take(""), -ENOENT);
	make_content(TEXT "!");
	assert_int_equal(take(""), -ENOENT);
	assert_int_equal(symlinkat("in", dir, name.content), 0);
	assert_int_equal(take(""), -ENOENT);
	assert_int_equal(mkfifoat(dir, name.content, 0600), 0);
	assert_int_equal(take(""), -ENOENT);
	assert_int_equal(faccessat(dir, name.content, F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

/* A file of that name, last changed so many seconds ago. */
static void leave(const char *file, int64_t age_s)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - age_s },
				 { .tv_sec = time(NULL) - age_s } };
	int fd = openat(dir, file, O_WRONLY | O_CREAT, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(futimens(fd, t), 0);
	close(fd);
}

/* Temporary files and locks of dead hosts go; what is young, or not ours, stays. */
static void test_clean(void **state)
{
	static const char *const gone[] = { "file-1.0123456789abcdef.fedcba9876543210.tmp",
					    "file-1.0123456789abcdef.lock" };
	static const char *const stay[] = { "file-1.0123456789abcdef",
					    "file-1.0123456789abcdef.md5",
					    "notes.tmp",
					    "my.lock",
					    "file-1.0123456789abcdeX.lock",
					    "file-1.0123456789abcdef.fedcba987654321.tmp" };

	(void)state;
	assert_int_equal(shared_dir_put(dir, &name, 0600, BYTES, "", in, &watch), 0);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		leave(gone[i], SHARED_DEAD_S - 60);
		shared_dir_clean(dir, &name, &watch);
		assert_int_equal(faccessat(dir, gone[i], F_OK, 0), 0);
		leave(gone[i], SHARED_DEAD_S + 60);
	}
	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
		leave(stay[i], 10 * SHARED_DEAD_S);
	shared_dir_clean(dir, &name, &watch);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_int_equal(faccessat(dir, gone[i], F_OK, 0), -1);
	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
		assert_int_equal(unlinkat(dir, stay[i], 0), 0);
}

static void test_locks(void **state)
{
	char ours[SHARED_TOKEN_SIZE], other[SHARED_TOKEN_SIZE], holder[SHARED_TOKEN_SIZE];
	uint64_t progress;

	(void)state;
	assert_int_equal(shared_dir_token(ours), 0);
	assert_int_equal(shared_dir_token(other), 0);
	assert_int_equal(shared_dir_holder(dir, &name, holder, &progress), -ENOENT);
	assert_int_equal(shared_dir_lock(dir, &name, 0600, ours), 0);
	assert_int_equal(shared_dir_lock(dir, &name, 0600, other), -EEXIST);
	assert_int_equal(shared_dir_beat(dir, &name, other, 7), -ESTALE);
	assert_int_equal(shared_dir_beat(dir, &name, ours, 7), 0);
	assert_int_equal(shared_dir_holder(dir, &name, holder, &progress), 0);
	assert_string_equal(holder, ours);
	assert_true(progress == 7);
	shared_dir_unlock(dir, &name, other);
	assert_int_equal(shared_dir_lock(dir, &name, 0600, other), -EEXIST);
	shared_dir_unlock(dir, &name, ours);
	assert_int_equal(shared_dir_lock(dir, &name, 0600, other), 0);
	unlinkat(dir, name.lock, 0);
	assert_int_equal(mkfifoat(dir, name.lock, 0600), 0);
	assert_int_equal(shared_dir_holder(dir, &name, holder, &progress), 0);
	assert_string_equal(holder, "");
}

static void test_who_may_write(void **state)
{
	mode_t mode;
	int fd;

	(void)state;
	assert_int_equal(chmod(path, 01777), 0);
	assert_int_equal(shared_dir_open(path, &fd, &mode), -EPERM);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(shared_dir_open(path, &fd, &mode), 0);
	assert_int_equal(mode, 0640);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_and_take, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clean, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_may_write, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
