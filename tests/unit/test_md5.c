/* md5, and digest's many messages at once: every way against OpenSSL, on random pieces. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/md5.h>

#include "net/base/digest.h"
#include "net/base/md5.h"

#define SPAN 70000
static unsigned char bytes[SPAN];
static unsigned seed = 1;

static unsigned below(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

static int make_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < SPAN; i++)
		bytes[i] = (unsigned char)below(256);
	return 0;
}

static void reference(const void *data, size_t len, char ret[DIGEST_HEX_SIZE])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	assert_int_equal(EVP_Digest(data, len, md, &n, EVP_md5(), NULL), 1);
	for (unsigned i = 0; i < 16; i++)
		snprintf(ret + 2 * i, 3, "%02x", md[i]);
}

/* Each lane from any state and alignment, any number of blocks; what is beside them stays. */
static void check_way(const struct md5_way *way)
{
	size_t blocks = below(20);
	struct md5_lanes l;
	MD5_CTX want[MD5_LANES_MAX];

	memset(&l, 0x5a, sizeof(l));
	for (unsigned i = 0; i < way->lanes; i++) {
		MD5_Init(&want[i]);
		MD5_Update(&want[i], bytes + below(SPAN - 640), 64 * below(10));
		l.state[0][i] = want[i].A;
		l.state[1][i] = want[i].B;
		l.state[2][i] = want[i].C;
		l.state[3][i] = want[i].D;
		l.data[i] = bytes + below(SPAN - 20 * MD5_BLOCK);
		MD5_Update(&want[i], l.data[i], blocks * MD5_BLOCK);
	}
	way->run(&l, blocks);
	for (unsigned i = 0; i < way->lanes; i++) {
		assert_int_equal(l.state[0][i], want[i].A);
		assert_int_equal(l.state[1][i], want[i].B);
		assert_int_equal(l.state[2][i], want[i].C);
		assert_int_equal(l.state[3][i], want[i].D);
	}
}

static void test_ways(void **state)
{
	size_t n;
	const struct md5_way *w = md5_ways(&n);

	(void)state;
	assert_int_equal(w[n - 1].lanes, 1);
	assert_true(w[n - 1].usable());
	assert_true(md5_best()->usable() && md5_single()->usable());
	assert_int_equal(md5_single()->lanes, 1);
	for (size_t i = 0; i < n; i++) {
		assert_true(w[i].lanes >= 1 && w[i].lanes <= MD5_LANES_MAX);
		assert_true(!w[i].usable() || w[i].lanes <= md5_best()->lanes);
		for (int k = 0; k < 80 && w[i].usable(); k++)
			check_way(&w[i]);
	}
}

/* As few lanes as do, where a way with fewer exists: lanes that are empty take time, too. */
static void test_way_for(void **state)
{
	const struct md5_way *w, *got;
	unsigned count;
	size_t n, i;

	(void)state;
	w = md5_ways(&n);
	assert_ptr_equal(md5_for(0), md5_single());
	assert_ptr_equal(md5_for(1), md5_single());
	for (count = 2; count <= MD5_LANES_MAX; count++) {
		got = md5_for(count);
		assert_true(got->usable());
		assert_true(got->lanes >= count || got == md5_best());
		/* Eight lanes of the newer instructions take less time than four of the older. */
		for (i = 0; i < n; i++)
			if (w[i].lanes >= count && w[i].usable())
				assert_true(got->lanes <= w[i].lanes || got > &w[i]);
	}
}

#define MESSAGES 40

/* Messages of random lengths in random pieces, a random set of them in each call. */
static void mix(unsigned messages, unsigned max_piece)
{
	size_t at[MESSAGES], len[MESSAGES], fed[MESSAGES] = { 0 };
	char want[DIGEST_HEX_SIZE], got[DIGEST_HEX_SIZE];
	struct digest *d[MESSAGES];
	struct digest_piece p[MESSAGES];
	unsigned i, n, left = messages;

	for (i = 0; i < messages; i++) {
		at[i] = below(64);
		len[i] = below(4) ? below(SPAN - 64) : below(200);
		d[i] = digest_new();
		assert_non_null(d[i]);
	}
	while (left) {
		for (i = n = left = 0; i < messages; i++) {
			size_t m = below(max_piece);

			if (m > len[i] - fed[i])
				m = len[i] - fed[i];
			if (below(3)) {
				p[n++] = (struct digest_piece){ d[i], bytes + at[i] + fed[i], m };
				fed[i] += m;
			}
			left += fed[i] < len[i];
		}
		assert_int_equal(digest_update_many(p, n), 0);
	}
	for (i = 0; i < messages; i++) {
		reference(bytes + at[i], len[i], want);
		assert_int_equal(digest_hex(d[i], got), 0);
		assert_string_equal(got, want);
		digest_free(d[i]);
	}
}

static void mix_all(void)
{
	static const unsigned pieces[] = { 3, 130, 5000, SPAN };

	for (unsigned i = 0; i < 12; i++)
		mix(i % 3 ? 1 + below(DIGEST_LANES_MAX) : MESSAGES, pieces[i % 4]);
}

static void test_many(void **state)
{
	struct digest_choice c;

	(void)state;
	mix_all();
	digest_choose(&c);
	assert_non_null(c.one);
	assert_non_null(c.many);
	assert_true(c.openssl_ms > 0 && c.own_ms > 0);
	mix_all();
	assert_int_equal(digest_update_many(NULL, 0), 0);
	assert_true(digest_lanes() >= 1 && digest_lanes() <= DIGEST_LANES_MAX);
}

/* Sanitizers take long for it, and see nothing that test_many() doesn't have. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define WITH_LONG
/* The count of bits passes 32 bits: 512 MiB and a little, as several messages. */
static void test_long(void **state)
{
	static unsigned char block[1 << 20];
	struct digest *d[3] = { digest_new(), digest_new(), digest_new() };
	struct digest_piece p[3];
	char got[DIGEST_HEX_SIZE];

	(void)state;
	for (int k = 0; k < 513; k++) {
		for (int i = 0; i < 3; i++)
			p[i] = (struct digest_piece){ d[i], block, sizeof(block) };
		assert_int_equal(digest_update_many(p, 3), 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(digest_hex(d[i], got), 0);
		/* Of head -c 513M /dev/zero. */
		assert_string_equal(got, "f3a8799d64129a6fd8a5aa56f199ac54");
		digest_free(d[i]);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_way_for),
		cmocka_unit_test(test_many),
#ifdef WITH_LONG
		cmocka_unit_test(test_long),
#endif
	};

	return cmocka_run_group_tests(tests, make_bytes, NULL);
}
