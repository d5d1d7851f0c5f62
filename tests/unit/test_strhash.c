/* strhash: the published values of SipHash-2-4, and what the tables rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/base/strhash.h"

/* Key 00..0f, data 00, 01, …: the test values of the paper and of its reference. */
static void test_published_values(void **state)
{
	static const uint64_t key[2] = { 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL };
	unsigned char data[16];

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)i;
	assert_true(strhash_keyed(key, data, 0) == 0x726fdb47dd0e0e31ULL);
	assert_true(strhash_keyed(key, data, 1) == 0x74f839c593dc67fdULL);
	assert_true(strhash_keyed(key, data, 8) == 0x93f5f5799a932462ULL);
	assert_true(strhash_keyed(key, data, 15) == 0xa129ca6149be45e5ULL);
}

static void test_context(void **state)
{
	char copy[] = "name";

	(void)state;
	assert_true(strhash("name") == strhash(copy));
	assert_true(strhash_in(7, "name") == strhash_in(7, copy));
	assert_true(strhash_in(7, "name") != strhash_in(8, "name"));
	assert_true(strhash("name") != strhash("names"));
}

/* What two processes make of one string; hash_in_child() writes it to fd. */
static uint64_t hash_in_child(void)
{
	uint64_t h = 0;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		h = strhash("name");
		_exit(write(fds[1], &h, sizeof(h)) == sizeof(h) ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(read(fds[0], &h, sizeof(h)), sizeof(h));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fds[0]);
	close(fds[1]);
	return h;
}

/* Runs before anything has made this process's key, which a child would inherit. */
static void test_another_key_in_each_process(void **state)
{
	(void)state;
	assert_true(hash_in_child() != hash_in_child());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_key_in_each_process),
		cmocka_unit_test(test_published_values),
		cmocka_unit_test(test_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
