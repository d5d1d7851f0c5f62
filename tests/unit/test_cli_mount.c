/* cli mount: the status document of a mount that may be a program of another user. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/mount.h"
#include "net/base/json.h"

static char dir[64], control[80], status[96], other[80];

static void write_file(const char *path)
{
	static const char doc[] = "{\"format\":1,\"pid\":1}";
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, doc, strlen(doc)), strlen(doc));
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/cli-mount-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(control, sizeof(control), "%s/.uploadfs", dir);
	snprintf(status, sizeof(status), "%s/status", control);
	snprintf(other, sizeof(other), "%s/other", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(status);
	unlink(control);
	rmdir(control);
	snprintf(status, sizeof(status), "%s/status", other);
	unlink(status);
	unlink(other);
	rmdir(other);
	return rmdir(dir);
}

static int read_it(void)
{
	struct json *doc = NULL;
	int r = cli_read_status(dir, 5, &doc, NULL);

	json_free(doc);
	return r;
}

static void test_plain(void **state)
{
	(void)state;
	assert_int_equal(read_it(), -ENOENT);
	assert_int_equal(mkdir(control, 0700), 0);
	assert_int_equal(read_it(), -ENOENT);
	write_file(status);
	assert_int_equal(read_it(), 0);
}

/* Root's umount opens, and asks to end, nothing that the mount's own program has chosen. */
static void test_links(void **state)
{
	(void)state;
	assert_int_equal(mkdir(control, 0700), 0);
	write_file(other);
	assert_int_equal(symlink(other, status), 0);
	assert_int_equal(read_it(), -EBADMSG);
	assert_int_equal(cli_ask_end(dir, 5), -EBADMSG);
	assert_int_equal(unlink(status) || unlink(other) || rmdir(control) || mkdir(other, 0700),
			 0);
	assert_int_equal(symlink(other, control), 0);
	snprintf(status, sizeof(status), "%s/status", other);
	write_file(status);
	assert_int_equal(read_it(), -EBADMSG);
}

static void test_other_kinds(void **state)
{
	(void)state;
	assert_int_equal(mkdir(control, 0700) || mkfifo(status, 0600), 0);
	assert_int_equal(read_it(), -EBADMSG);
	assert_int_equal(cli_ask_end(dir, 5), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_kinds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
