/* digest: RFC 1321's vectors, snapshots, randomness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/digest.h"

static void check(const char *text, size_t step, const char *want)
{
	struct digest *d = digest_new();
	size_t len = strlen(text), at, n;
	char hex[DIGEST_HEX_SIZE];

	assert_non_null(d);
	for (at = 0; at < len; at += n) {
		n = len - at < step ? len - at : step;
		assert_int_equal(digest_update(d, text + at, n), 0);
	}
	assert_int_equal(digest_hex(d, hex), 0);
	assert_string_equal(hex, want);
	digest_free(d);
}

static void test_vectors(void **state)
{
	(void)state;
	check("", 1, "d41d8cd98f00b204e9800998ecf8427e");
	check("abc", 1, "900150983cd24fb0d6963f7d28e17f72");
	check("message digest", 5, "f96b697d7cb7938d525a2f31aaf161d0");
	check("12345678901234567890123456789012345678901234567890123456789012345678901234567890",
	      63, "57edf4a22be3c955ac49da2e2107b67a");
}

static void test_copy(void **state)
{
	struct digest *d = digest_new(), *snap;
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	digest_update(d, "message ", 8);
	snap = digest_copy(d);
	assert_non_null(snap);
	digest_update(d, "something else", 14);
	/* The digest so far can be asked for without ending the stream. */
	assert_int_equal(digest_hex(snap, hex), 0);
	digest_update(snap, "digest", 6);
	digest_free(d);
	assert_int_equal(digest_hex(snap, hex), 0);
	assert_string_equal(hex, "f96b697d7cb7938d525a2f31aaf161d0");
	digest_free(snap);
	digest_free(NULL);
}

static void test_random(void **state)
{
	static unsigned char a[4096], b[4096];

	(void)state;
	assert_int_equal(digest_random(a, sizeof(a)), 0);
	assert_int_equal(digest_random(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a + sizeof(a) - 16, b + sizeof(b) - 16, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
