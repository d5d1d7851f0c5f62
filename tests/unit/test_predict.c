/* predict: what real processes have open, against what may be concluded from it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/proc/source.h"

#define SIZE 100000 /* bytes of the source */
#define DONE 40000  /* bytes written so far */

static char dir[] = "/tmp/test_predict.XXXXXX";
static char source[64], other[64], empty[64], staged[64];
static int staged_fd;
static pid_t writer;
static uid_t writer_uid;
static int to_writer = -1, from_writer = -1;
static uid_t start_as; /* what the writer becomes once its files are open; 0: it stays */

static void fill(const char *path, size_t size, unsigned seed)
{
	FILE *f = fopen(path, "we");
	size_t i;

	assert_non_null(f);
	for (i = 0; i < size; i++)
		assert_true(putc((int)((i * 2654435761u + seed) >> 7 & 0xff), f) != EOF);
	assert_int_equal(fclose(f), 0);
}

static int setup_all(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(source, sizeof(source), "%s/source", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	snprintf(empty, sizeof(empty), "%s/empty", dir);
	snprintf(staged, sizeof(staged), "%s/staged", dir);
	fill(source, SIZE, 1);
	fill(other, SIZE, 2);
	fill(empty, 0, 0);
	fill(staged, DONE, 1);
	staged_fd = open(staged, O_RDWR | O_CLOEXEC);
	writer_uid = geteuid();
	return staged_fd < 0 ? -1 : 0;
}

static int teardown_all(void **state)
{
	(void)state;
	close(staged_fd);
	unlink(source);
	unlink(other);
	unlink(empty);
	unlink(staged);
	return rmdir(dir);
}

static void writer_end(void)
{
	if (writer <= 0)
		return;
	close(to_writer);
	close(from_writer);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	writer = 0;
}

static int teardown(void **state)
{
	(void)state;
	writer_end();
	start_as = 0;
	writer_uid = geteuid();
	return 0;
}

/* One file that the writer has open. */
struct opened {
	const char *path;
	int flags;
	off_t pos;
};

static void open_as_told(const struct opened *files, size_t n)
{
	size_t i;
	int fd;

	for (i = 0; i < n; i++) {
		fd = open(files[i].path, files[i].flags, 0600);
		if (fd < 0 || (files[i].pos && lseek(fd, files[i].pos, SEEK_SET) < 0))
			_exit(99);
	}
}

/* Starts a process with exactly these files open beside two pipes and /dev/null. */
static void writer_start(const struct opened *files, size_t n)
{
	int up[2], down[2], null;
	char c;

	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	writer = fork();
	assert_true(writer >= 0);
	if (!writer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		null = open("/dev/null", O_RDWR);
		if (dup2(null, 0) < 0 || dup2(up[1], 1) < 0 || dup2(down[0], 2) < 0)
			_exit(98);
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		open_as_told(files, n);
		if (start_as && (setgid(start_as) || setuid(start_as)))
			_exit(96);
		if (write(1, "", 1) != 1)
			_exit(97);
		/* Each byte says: the file at hand goes in the place of the first one. */
		while (read(2, &c, 1) == 1)
			if (dup2(3 + c, 3) < 0 || write(1, "", 1) != 1)
				_exit(95);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	to_writer = down[1];
	assert_int_equal(read(up[0], &c, 1), 1);
	from_writer = up[0];
}

/* The writer's first file becomes its nth, from 0. */
static void writer_swap(char n)
{
	assert_int_equal(write(to_writer, &n, 1), 1);
	assert_int_equal(read(from_writer, &n, 1), 1);
}

static struct predict_query query(uint64_t end, dev_t own_dev)
{
	return (struct predict_query){ .tid = writer,
				       .uid = writer_uid,
				       .gid = writer_uid,
				       .staged_fd = staged_fd,
				       .end = end,
				       .own_dev = own_dev };
}

static int observe(uint64_t end, dev_t own_dev, uint64_t *ret_size)
{
	struct predict_query q = query(end, own_dev);
	struct predict_look *l;
	int rc = predict_begin(&q, &l);

	if (rc)
		return rc;
	rc = predict_note(l);
	if (!rc)
		rc = predict_finish(l, ret_size);
	predict_free(l);
	return rc;
}

static void check(const struct opened *files, size_t n, uint64_t end, int rc)
{
	uint64_t size = 4711;

	writer_start(files, n);
	assert_int_equal(observe(end, 1, &size), rc);
	assert_int_equal(size, rc ? 4711 : SIZE);
	writer_end();
}

#define CHECK(files, end, rc) check(files, sizeof(files) / sizeof((files)[0]), end, rc)

/* cp, dd, cat: the position of the source is where our file ends. */
static void test_position(void **state)
{
	const struct opened at_end[] = { { source, O_RDONLY, DONE } };
	const struct opened whole[] = { { source, O_RDONLY, SIZE } };
	const struct opened update[] = { { source, O_RDWR, DONE } };
	const struct opened beyond[] = { { source, O_RDONLY, SIZE + 10 } };

	(void)state;
	CHECK(at_end, DONE, 0);
	CHECK(whole, SIZE, 0);
	CHECK(update, DONE, 0);
	CHECK(at_end, DONE - 1, -ENOENT);
	CHECK(at_end, DONE + 1, -ENOENT);
	CHECK(at_end, 0, -ENOENT);
	CHECK(beyond, SIZE + 10, -ENOENT); /* the size would be below what is there */
}

/* sendfile and the like: the position stays 0, the bytes tell. */
static void test_bytes(void **state)
{
	const struct opened same[] = { { source, O_RDONLY, 0 } };
	const struct opened different[] = { { other, O_RDONLY, 0 } };
	const struct opened moved[] = { { source, O_RDONLY, 5 } };

	(void)state;
	CHECK(same, DONE, 0);
	CHECK(same, 1, 0);
	CHECK(same, 4096, 0);
	CHECK(same, 4097, 0);
	CHECK(different, DONE, -ENOENT);
	CHECK(moved, DONE, -ENOENT);
	/* We don't have so many bytes to compare. */
	CHECK(same, DONE + 1, -ENOENT);
}

/* A source that begins like ours and goes on otherwise. */
static void test_bytes_at_end(void **state)
{
	const struct opened same[] = { { source, O_RDONLY, 0 } };
	char was, changed;

	(void)state;
	assert_int_equal(pread(staged_fd, &was, 1, DONE - 100), 1);
	changed = (char)~was;
	assert_int_equal(pwrite(staged_fd, &changed, 1, DONE - 100), 1);
	CHECK(same, DONE, -ENOENT);
	assert_int_equal(pwrite(staged_fd, &was, 1, DONE - 100), 1);
	CHECK(same, DONE, 0);
}

static void test_exactly_one(void **state)
{
	const struct opened none[] = { { "/dev/zero", O_RDONLY, 0 } };
	const struct opened two[] = { { source, O_RDONLY, DONE }, { other, O_RDONLY, 0 } };
	const struct opened beside[] = {
		{ "/dev/zero", O_RDONLY, 0 },
		{ "/tmp", O_RDONLY | O_DIRECTORY, 0 },
		{ other, O_WRONLY, DONE },
		{ other, O_PATH, 0 },
		{ empty, O_RDONLY, 0 },
		{ other, O_RDWR | O_APPEND, 0 },
		{ "/proc/self/status", O_RDONLY, 10 },
		{ source, O_RDONLY, DONE },
	};

	(void)state;
	CHECK(none, DONE, -ENOENT);
	CHECK(two, DONE, -ENOENT);
	CHECK(beside, DONE, 0);
}

static void test_not_a_source(void **state)
{
	const struct opened empty_one[] = { { empty, O_RDONLY, 0 } };
	const struct opened pseudo[] = { { "/proc/self/status", O_RDONLY, 100 } };
	const struct opened sysfs[] = { { "/proc/sys/kernel/ostype", O_RDONLY, 0 } };
	const struct opened path[] = { { source, O_PATH, 0 } };
	const struct opened append[] = { { source, O_RDWR | O_APPEND, DONE } };
	const struct opened output[] = { { source, O_WRONLY, DONE } };

	(void)state;
	CHECK(empty_one, DONE, -ENOENT);
	CHECK(pseudo, 100, -ENOENT);
	CHECK(sysfs, 6, -ENOENT);
	CHECK(path, DONE, -ENOENT);
	CHECK(append, DONE, -ENOENT);
	CHECK(output, DONE, -ENOENT);
}

/* A file on our own mount is no source, least of all the one that is being written. */
static void test_own_mount(void **state)
{
	const struct opened at_end[] = { { source, O_RDWR, DONE } };
	uint64_t size = 0;
	struct stat st;

	(void)state;
	assert_int_equal(stat(source, &st), 0);
	writer_start(at_end, 1);
	assert_int_equal(observe(DONE, st.st_dev, &size), -ENOENT);
	assert_int_equal(observe(DONE, st.st_dev + 1, &size), 0);
	/* The mount isn't known: a local disk can't be it. */
	assert_int_equal(observe(DONE, 0, &size), 0);
	assert_int_equal(size, SIZE);
}

/* The source grows or shrinks: the size of this moment is told. */
static void test_size_of_now(void **state)
{
	const struct opened at_end[] = { { source, O_RDONLY, DONE } };
	uint64_t size = 0;

	(void)state;
	writer_start(at_end, 1);
	assert_int_equal(truncate(source, DONE), 0);
	assert_int_equal(observe(DONE, 1, &size), 0);
	assert_int_equal(size, DONE);
	assert_int_equal(truncate(source, DONE - 1), 0);
	assert_int_equal(observe(DONE, 1, &size), -ENOENT);
	fill(source, SIZE, 1);
	assert_int_equal(observe(DONE, 1, &size), 0);
	assert_int_equal(size, SIZE);
}

/* A removed source is still read, and its size is known. */
static void test_removed(void **state)
{
	const struct opened at_start[] = { { source, O_RDONLY, 0 } };
	uint64_t size = 0;

	(void)state;
	writer_start(at_start, 1);
	assert_int_equal(unlink(source), 0);
	assert_int_equal(observe(DONE, 1, &size), 0);
	assert_int_equal(size, SIZE);
	fill(source, SIZE, 1);
}

static void test_many_files(void **state)
{
	struct opened files[300];
	size_t i;

	(void)state;
	for (i = 0; i < 300; i++)
		files[i] = (struct opened){ "/dev/null", O_RDONLY, 0 };
	files[0] = (struct opened){ source, O_RDONLY, DONE };
	check(files, 200, DONE, 0);
	check(files, 300, DONE, -ENOENT);
}

static void test_nobody(void **state)
{
	const struct opened at_end[] = { { source, O_RDONLY, DONE } };
	uint64_t size = 4711;
	pid_t gone;

	(void)state;
	writer_start(at_end, 1);
	gone = writer;
	writer_end();
	writer = gone;
	assert_int_equal(observe(DONE, 1, &size), -ENOENT);
	writer = 0;
	assert_int_equal(observe(DONE, 1, &size), -ENOENT);
	assert_int_equal(size, 4711);
}

/* Looked at by a user who may not. */
static void test_no_access(void **state)
{
	const struct opened at_end[] = { { source, O_RDONLY, DONE } };
	uint64_t size;
	int status;
	pid_t pid;

	(void)state;
	writer_start(at_end, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		/* Without root, init's files are as much out of reach. */
		if (geteuid() != 0)
			writer = 1;
		else if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(observe(DONE, 1, &size) == -EACCES ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/*
 * Between the two steps another file takes the number of the one that was found:
 * what the writer can't read is not read for it.
 */
static void swap_in(const char *path, int flags, int rc)
{
	const struct opened two[] = { { source, O_RDONLY, 0 }, { path, flags, 0 } };
	struct predict_query q;
	struct predict_look *l;
	uint64_t size = 4711;

	writer_start(two, 2);
	q = query(DONE, 1);
	assert_int_equal(predict_begin(&q, &l), 0);
	assert_int_equal(predict_note(l), 0);
	writer_swap(1);
	assert_int_equal(predict_finish(l, &size), rc);
	assert_int_equal(size, rc ? 4711 : SIZE);
	predict_free(l);
	writer_end();
}

static void test_swapped(void **state)
{
	(void)state;
	swap_in(source, O_WRONLY, -ENOENT);
	swap_in(source, O_PATH, -ENOENT);
	swap_in(source, O_RDWR | O_APPEND, -ENOENT);
	swap_in(source, O_WRONLY, -ENOENT);
	swap_in("/tmp", O_RDONLY | O_DIRECTORY, -ENOENT);
}

/* A process that gave its rights away holds a file its user may not read: no bytes are compared. */
static void test_not_its_users(void **state)
{
	const struct opened start[] = { { source, O_RDONLY, 0 } };
	const struct opened at_end[] = { { source, O_RDONLY, DONE } };
	uint64_t size;

	(void)state;
	if (geteuid() != 0)
		skip();
	start_as = writer_uid = 65534;
	assert_int_equal(chmod(source, 0600), 0);
	CHECK(start, DONE, -ENOENT);
	CHECK(at_end, DONE, 0);
	assert_int_equal(chmod(source, 0604), 0);
	CHECK(start, DONE, 0);
	/* One user writes, the process is another one's. */
	start_as = 65533;
	writer_start(start, 1);
	assert_int_equal(observe(DONE, 1, &size), -ENOENT);
	writer_end();
	start_as = writer_uid = 0;
	assert_int_equal(chmod(source, 0600), 0);
}

/* The look has begun when the writer ends: nothing is told of who has its number next. */
static void test_writer_ends(void **state)
{
	const struct opened start[] = { { source, O_RDONLY, 0 } };
	struct predict_query q;
	struct predict_look *l;
	uint64_t size;

	(void)state;
	writer_start(start, 1);
	q = query(DONE, 1);
	assert_int_equal(predict_begin(&q, &l), 0);
	assert_int_equal(predict_note(l), 0);
	writer_end();
	assert_int_equal(predict_finish(l, &size), -ENOENT);
	predict_free(l);
}

/* No descriptor of ours is left behind. */
static void test_leaves_nothing(void **state)
{
	const struct opened same[] = { { source, O_RDONLY, 0 } };
	uint64_t size;
	int before, after, i;

	(void)state;
	writer_start(same, 1);
	before = dup(0);
	close(before);
	for (i = 0; i < 50; i++)
		assert_int_equal(observe(DONE, 1, &size), 0);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_position, teardown),
		cmocka_unit_test_teardown(test_bytes, teardown),
		cmocka_unit_test_teardown(test_bytes_at_end, teardown),
		cmocka_unit_test_teardown(test_exactly_one, teardown),
		cmocka_unit_test_teardown(test_not_a_source, teardown),
		cmocka_unit_test_teardown(test_own_mount, teardown),
		cmocka_unit_test_teardown(test_size_of_now, teardown),
		cmocka_unit_test_teardown(test_removed, teardown),
		cmocka_unit_test_teardown(test_many_files, teardown),
		cmocka_unit_test_teardown(test_nobody, teardown),
		cmocka_unit_test_teardown(test_no_access, teardown),
		cmocka_unit_test_teardown(test_swapped, teardown),
		cmocka_unit_test_teardown(test_not_its_users, teardown),
		cmocka_unit_test_teardown(test_writer_ends, teardown),
		cmocka_unit_test_teardown(test_leaves_nothing, teardown),
	};

	return cmocka_run_group_tests_name("predict", tests, setup_all, teardown_all);
}
