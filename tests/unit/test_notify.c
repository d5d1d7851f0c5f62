/* notify: what arrives at a real socket of the manager's, by path and without one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/host/notify.h"

static char dir[] = "/tmp/test_notify.XXXXXX", path[64], text[8192];

static int setup(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/notify", dir);
	unsetenv("NOTIFY_SOCKET");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

/* A manager that listens; name with '@' in front: in no directory. */
static int listen_at(const char *name)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", name);
	if (*name == '@')
		sa.sun_path[0] = '\0';
	else
		len++;
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sa, len), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

/* The next datagram; "" when there is none. */
static const char *next(int fd)
{
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void test_nobody_asks(void **state)
{
	(void)state;
	assert_int_equal(notify_ready("x"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_stopping(1, "x"), 0);
}

static void test_path(void **state)
{
	int fd = listen_at(path);

	(void)state;
	assert_int_equal(notify_ready("https://h/v1 on /mnt"), 0);
	assert_string_equal(next(fd), "READY=1\nSTATUS=https://h/v1 on /mnt");
	assert_int_equal(notify_stopping(70, "finishing"), 0);
	assert_string_equal(next(fd), "STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000\nSTATUS=finishing");
	assert_string_equal(next(fd), "");
	close(fd);
}

static void test_no_directory(void **state)
{
	char name[80];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@%s", path);
	fd = listen_at(name);
	assert_int_equal(notify_ready("up"), 0);
	assert_string_equal(next(fd), "READY=1\nSTATUS=up");
	close(fd);
	assert_int_equal(notify_ready("up"), -ECONNREFUSED);
}

/* A path with a newline in it claims nothing. */
static void test_one_line(void **state)
{
	static char status[7000];
	int fd = listen_at(path);

	(void)state;
	assert_int_equal(notify_ready("on /mnt\nMAINPID=1\t"), 0);
	assert_string_equal(next(fd), "READY=1\nSTATUS=on /mnt?MAINPID=1?");
	memset(status, 'a', sizeof(status) - 1);
	assert_int_equal(notify_ready(status), 0);
	assert_int_equal(strlen(next(fd)), 5999);
	assert_int_equal(strncmp(text, "READY=1\nSTATUS=aaaa", 19), 0);
	close(fd);
}

static void test_wrong_names(void **state)
{
	static const char *const bad[] = { "relative", "@", "/", "vsock:2:1234", NULL };
	char name[200];

	(void)state;
	for (unsigned i = 0; bad[i]; i++) {
		setenv("NOTIFY_SOCKET", bad[i], 1);
		assert_int_equal(notify_ready("x"), -EINVAL);
	}
	memset(name, 'a', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_ready("x"), -EINVAL);
	setenv("NOTIFY_SOCKET", path, 1);
	assert_int_equal(notify_ready("x"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody_asks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_names, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
