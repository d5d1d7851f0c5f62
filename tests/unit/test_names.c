/* names: hostile Files stay in their directory, told apart and readable. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "fs/tree/names.h"

#define ID "file-abc123"

/* What is called plain is shown as it is, in one component. */
static void check_plain(const char *filename, const char *shown)
{
	size_t len = names_plain(filename);

	assert_true(!len || (len == strlen(filename) && len <= NAMES_MAX));
	assert_true(!len || (!strcmp(filename, shown) && !strchr(filename, '/')));
}

static void shows_id(const char *filename, const char *id, const char *want)
{
	struct buf b;

	buf_init(&b, NAMES_PATH_MAX);
	assert_int_equal(names_path(filename, id, &b), 0);
	assert_string_equal(buf_str(&b), want);
	check_plain(filename, want);
	buf_release(&b);
}

static void shows(const char *filename, const char *want)
{
	shows_id(filename, ID, want);
}

static void test_ordinary(void **state)
{
	(void)state;
	shows("train.jsonl", "train.jsonl");
	shows("a/b/c.txt", "a/b/c.txt");
	shows(" with space ~ and 100% \"quotes\" \\", " with space ~ and 100% \"quotes\" \\");
	shows(".hidden", ".hidden");
	shows("...", "...");
	shows("a/.by-id", "a/.by-id");
	shows("gr\xc3\xbc\xc3\x9f"
	      "e \xe2\x82\xac \xf0\x9f\x98\x80",
	      "gr\xc3\xbc\xc3\x9f"
	      "e \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void test_plain(void **state)
{
	char name[NAMES_MAX + 2];

	(void)state;
	assert_int_equal(names_plain("train.jsonl"), 11);
	assert_int_equal(names_plain(" ~"), 2);
	assert_int_equal(names_plain(""), 0);
	assert_int_equal(names_plain("a/b"), 0);
	assert_int_equal(names_plain("a\x7f"), 0);
	memset(name, 'x', sizeof(name));
	name[NAMES_MAX + 1] = '\0';
	assert_int_equal(names_plain(name), 0);
	name[NAMES_MAX] = '\0';
	assert_int_equal(names_plain(name), NAMES_MAX);
}

static void test_hostile(void **state)
{
	(void)state;
	shows("", "%");
	shows(".", "%2E");
	shows("..", "%2E%2E");
	shows("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd");
	shows("a/../b", "a/%2E%2E/b");
	shows("a/..", "a/%2E%2E");
	shows("./a", "%2E/a");
	shows("/", "%2F");
	shows("//", "%2F%2F");
	shows("/a", "%2Fa");
	shows("/..", "%2F..");
	shows("a/", "a%2F");
	shows("../", "..%2F");
	shows("a//", "a%2F%2F");
	shows("a//b", "a/%2Fb");
	shows("a///b/", "a/%2F%2Fb%2F");
	shows("/etc/passwd", "%2Fetc/passwd");
	shows("a\nb\x1b[2J\x7f", "a%0Ab%1B[2J%7F");
	shows("\x01/\x02", "%01/%02");
	shows(".by-id", "%2Eby-id");
	shows(".uploadfs/status", "%2Euploadfs/status");
	shows(".by-id/", ".by-id%2F");
}

static void test_not_utf8(void **state)
{
	(void)state;
	shows("\xff\xfe", "%FF%FE");
	shows("a\x80z", "a%80z");
	shows("\xc3", "%C3");
	shows("\xc3/\xbc", "%C3/%BC");
	shows("\xe2\x82", "%E2%82");
	shows("\xc0\xaf", "%C0%AF");		   /* overlong '/' */
	shows("\xc0\xae\xc0\xae", "%C0%AE%C0%AE"); /* overlong ".." */
	shows("\xe0\x80\xaf", "%E0%80%AF");
	shows("\xf0\x80\x80\xaf", "%F0%80%80%AF");
	shows("a\xc0\x80"
	      "b/\xc0\x80",
	      "a%00b/%00");			   /* NUL */
	shows("\xed\xa0\x80", "%ED%A0%80");	   /* surrogate */
	shows("\xf4\x90\x80\x80", "%F4%90%80%80"); /* above U+10FFFF */
	shows("\xf8\x88\x80\x80\x80", "%F8%88%80%80%80");
	shows("\xc2\x85", "%C2%85"); /* C1: next line */
	shows("\xc2\xa0", "\xc2\xa0");
}

static void repeat(char *out, const char *unit, size_t times, const char *end)
{
	size_t i, len = strlen(unit);

	for (i = 0; i < times; i++)
		memcpy(out + i * len, unit, len);
	memcpy(out + times * len, end, strlen(end) + 1);
}

static void test_long(void **state)
{
	static char in[20000], want[4096];

	(void)state;
	repeat(in, "x", 255, "");
	shows(in, in);
	repeat(in, "x", 10000, ".jsonl");
	repeat(want, "x", 255 - strlen("~" ID ".jsonl"), "~" ID ".jsonl");
	shows(in, want);
	repeat(in, "x", 256, "");
	repeat(want, "x", 255 - strlen("~" ID), "~" ID);
	shows(in, want);
	/* An ending that is none: too long, or with bytes that had to be encoded. */
	repeat(in, "x", 300, ".abcdefghijklmnopq");
	shows(in, want);
	repeat(in, "x", 300, ".a\x01");
	shows(in, want);
	/* No character is split: 255 - 12 = 243 = 60 * 4 + 3. */
	repeat(in, "\xf0\x9f\x98\x80", 100, "");
	repeat(want, "\xf0\x9f\x98\x80", 60, "~" ID);
	shows(in, want);
	/* Nor a %XX: 243 = 81 * 3, with one byte before it 80 and two bytes over. */
	repeat(in, "\x01", 200, "");
	repeat(want, "%01", 81, "~" ID);
	shows(in, want);
	want[0] = in[0] = 'y';
	repeat(want + 1, "%01", 80, "~" ID);
	shows(in, want);
	/* A long directory. */
	repeat(in, "d", 400, "/f.txt");
	repeat(want, "d", 255 - strlen("~" ID), "~" ID "/f.txt");
	shows(in, want);
}

static void test_deep(void **state)
{
	static char in[20000], want[4096];

	(void)state;
	repeat(in, "d/", NAMES_DEPTH_MAX, "f");
	shows(in, in);
	repeat(in, "d/", NAMES_DEPTH_MAX + 2, "f");
	repeat(want, "d/", NAMES_DEPTH_MAX, "d%2Fd%2Ff");
	shows(in, want);
}

static void test_long_path(void **state)
{
	static char in[20000];
	char unit[256];
	struct buf a, b;

	(void)state;
	memset(unit, 'd', 249);
	unit[249] = '/';
	unit[250] = '\0';
	repeat(in, unit, 60, "f.jsonl");
	buf_init(&a, NAMES_PATH_MAX);
	buf_init(&b, NAMES_PATH_MAX);
	assert_int_equal(names_path(in, "file-1", &a), 0);
	assert_int_equal(names_path(in, "file-2", &b), 0);
	assert_true(a.len <= NAMES_PATH_MAX);
	assert_true(a.len > NAMES_PATH_MAX - 2 * (NAMES_MAX + 1));
	assert_string_equal(a.data + a.len - 13, "~file-1.jsonl");
	assert_string_not_equal(a.data, b.data);
	buf_release(&a);
	buf_release(&b);
}

static void test_appends(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 12);
	assert_int_equal(buf_adds(&b, "batch/"), 0);
	assert_int_equal(names_path("a/b", ID, &b), 0);
	assert_string_equal(buf_str(&b), "batch/a/b");
	assert_int_equal(names_path("abcd", ID, &b), -EMSGSIZE);
	assert_string_equal(buf_str(&b), "batch/a/b");
	buf_release(&b);
}

/* A File id is checked elsewhere; here it must do no harm either. */
static void test_hostile_id(void **state)
{
	static char in[300], id[1000];
	char ret[NAMES_MAX + 1];

	(void)state;
	names_duplicate("a", "../x\n", ret);
	assert_string_equal(ret, "a~..%2Fx%0A");
	names_id("a:b/c%\xc3", ret);
	assert_string_equal(ret, "a%3Ab%2Fc%25%C3");
	names_id_decode("a%3Ab%2fc%25%C3%00%4%zz", ret);
	assert_string_equal(ret, "a:b/c%\xc3%00%4%zz");
	names_id(".by-id", ret);
	assert_string_equal(ret, "%2Eby-id");
	memset(id, 'i', sizeof(id) - 1);
	memset(in, 'n', sizeof(in) - 1);
	names_duplicate(in, id, ret);
	assert_int_equal(strlen(ret), NAMES_MAX);
	names_duplicate("", id, ret);
	assert_int_equal(strlen(ret), 128);
	/* Long ids that differ only at their end make other names, also by a number behind it. */
	id[998] = 'j';
	names_duplicate("", id, in);
	assert_int_equal(strlen(in), 128);
	assert_string_not_equal(ret, in);
	memset(id, '/', sizeof(id) - 1);
	names_id(id, ret);
	assert_true(strlen(ret) <= 127 && !strchr(ret, '/'));
}

static void test_duplicate(void **state)
{
	char ret[NAMES_MAX + 1], in[300], want[300];

	(void)state;
	names_duplicate("a.txt", ID, ret);
	assert_string_equal(ret, "a.txt~" ID);
	repeat(in, "\xc3\xbc", 127, "");
	names_duplicate(in, ID, ret);
	repeat(want, "\xc3\xbc", 121, "~" ID); /* 255 - 12 = 243 = 121 * 2 + 1 */
	assert_string_equal(ret, want);
}

static void test_temporary(void **state)
{
	static const char *const no[] = { "",
					  ".",
					  "..",
					  ".a",
					  "a.bcdefg",
					  ".a.bcdef",
					  ".a.bcdefgh",
					  ".a.bcde-g",
					  ".a_bcdefg",
					  "..bcdefg",
					  "...abcdef",
					  "....abcdef",
					  ".a.bcd\xc3\xbc"
					  "e",
					  NULL };
	char ret[NAMES_MAX + 1] = "kept", in[300], want[300];
	size_t i;

	(void)state;
	for (i = 0; no[i]; i++) {
		assert_false(names_temporary(no[i], ret));
		assert_string_equal(ret, "kept");
	}
	assert_true(names_temporary(".train.jsonl.Ab3xYz", ret));
	assert_string_equal(ret, "train.jsonl");
	assert_true(names_temporary(".a.abcdef", ret));
	assert_string_equal(ret, "a");
	assert_true(names_temporary("..hidden.abcdef", ret));
	assert_string_equal(ret, ".hidden");
	assert_true(names_temporary(".....abcdef", ret));
	assert_string_equal(ret, "...");
	memset(in, 'n', sizeof(in));
	in[0] = '.';
	memcpy(in + 248, ".abcdef", 8);
	memset(want, 'n', 247);
	want[247] = '\0';
	assert_true(names_temporary(in, ret));
	assert_string_equal(ret, want);
	in[248] = 'n';
	memcpy(in + 249, ".abcdef", 8);
	assert_false(names_temporary(in, ret));
}

static void test_check_new(void **state)
{
	char in[300];

	(void)state;
	assert_int_equal(names_check_new("a"), 0);
	assert_int_equal(names_check_new(".a"), 0);
	assert_int_equal(names_check_new("..."), 0);
	assert_int_equal(names_check_new("100%2F \xf0\x9f\x98\x80"), 0);
	assert_int_equal(names_check_new(""), -EINVAL);
	assert_int_equal(names_check_new("."), -EINVAL);
	assert_int_equal(names_check_new(".."), -EINVAL);
	assert_int_equal(names_check_new("a/b"), -EINVAL);
	assert_int_equal(names_check_new("a\nb"), -EINVAL);
	assert_int_equal(names_check_new("a\x7f"), -EINVAL);
	assert_int_equal(names_check_new("a\xc2\x9b"), -EINVAL);
	assert_int_equal(names_check_new("\xe9t\xe9"), -EINVAL);
	memset(in, 'a', sizeof(in));
	in[255] = '\0';
	assert_int_equal(names_check_new(in), 0);
	in[255] = 'a';
	in[256] = '\0';
	assert_int_equal(names_check_new(in), -ENAMETOOLONG);
}

static void test_purposes(void **state)
{
	char ret[NAMES_MAX + 1], in[2000];
	size_t i;

	(void)state;
	for (i = 0; names_purposes[i]; i++) {
		assert_true(names_purpose_writable(names_purposes[i]));
		names_purpose_dir(names_purposes[i], ret);
		assert_string_equal(ret, names_purposes[i]);
	}
	assert_int_equal(i, 6);
	assert_false(names_purpose_writable("batch_output"));
	assert_false(names_purpose_writable(""));
	names_purpose_dir("batch_output", ret);
	assert_string_equal(ret, "batch_output");
	names_purpose_dir("", ret);
	assert_string_equal(ret, "%");
	names_purpose_dir("..", ret);
	assert_string_equal(ret, "%2E%2E");
	names_purpose_dir("../x", ret);
	assert_string_equal(ret, "..%2Fx");
	names_purpose_dir(".uploadfs", ret);
	assert_string_equal(ret, "%2Euploadfs");
	memset(in, 1, sizeof(in));
	in[sizeof(in) - 1] = '\0';
	names_purpose_dir(in, ret);
	assert_int_equal(strlen(ret), 255);
	repeat(in, "a\xf0\x9f\x98\x80", 100, "");
	names_purpose_dir(in, ret);
	assert_int_equal(strlen(ret), 255);
	assert_int_equal(names_check_new(ret), 0);
}

static uint64_t rng_state;

static uint32_t rng(uint32_t below)
{
	rng_state = rng_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(rng_state >> 33) % below;
}

/* Bytes that are likely to hurt more often than others. */
static void random_name(char *out, size_t len)
{
	static const char hot[] = "/./../%\x01\x7f\xc3\xbc\xf0\x9f\x98\x80\xc0\xaf"
				  "ax~";
	size_t i;

	for (i = 0; i < len; i++) {
		do
			out[i] = rng(3) ? hot[rng(sizeof(hot) - 1)] : (char)rng(256);
		while (!out[i]);
	}
	out[len] = '\0';
}

static void check_shown(const char *path)
{
	char part[NAMES_MAX + 1];
	unsigned depth = 0;
	size_t len;

	assert_true(strlen(path) <= NAMES_PATH_MAX);
	for (;; path++) {
		len = strcspn(path, "/");
		assert_true(len >= 1 && len <= NAMES_MAX);
		memcpy(part, path, len);
		part[len] = '\0';
		/* Neither ".", "..", nor control bytes, nor anything but UTF-8. */
		assert_int_equal(names_check_new(part), 0);
		assert_true(depth++ <= NAMES_DEPTH_MAX);
		path += len;
		if (!*path)
			return;
	}
}

static void test_random(void **state)
{
	uint64_t seed = (uint64_t)time(NULL);
	char name[9000], id[32];
	struct buf b, again;
	int i;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_state = seed;
	buf_init(&b, NAMES_PATH_MAX);
	buf_init(&again, NAMES_PATH_MAX);
	for (i = 0; i < 30000; i++) {
		random_name(name, i % 100 ? rng(40) : rng(sizeof(name) - 1));
		snprintf(id, sizeof(id), "file-%d", i);
		buf_reset(&b);
		assert_int_equal(names_path(name, id, &b), 0);
		check_plain(name, b.data);
		check_shown(b.data);
		/* What is shown is a name like any other, and shown as itself. */
		buf_reset(&again);
		assert_int_equal(names_path(b.data, id, &again), 0);
		assert_string_equal(again.data, b.data);
	}
	buf_release(&b);
	buf_release(&again);
}

/* Names that users create come back from the server as they are. */
static void test_random_round_trip(void **state)
{
	uint64_t seed = (uint64_t)time(NULL) + 1;
	unsigned accepted = 0;
	char name[300];
	int i;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	rng_state = seed;
	for (i = 0; i < 30000; i++) {
		random_name(name, rng(6));
		if (names_check_new(name))
			continue;
		accepted++;
		shows(name, name);
	}
	assert_true(accepted > 1000);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of all names of up to three bytes out of some, hardly any two are shown alike. */
static void test_mostly_distinct(void **state)
{
	static const char bytes[] = "/.a\x01\xff%";
	enum { N = 6 + 36 + 216 + 1296 };
	char *shown[N], name[8];
	size_t n = 0, same = 0, len, k, j, v, total;
	struct buf b;

	(void)state;
	for (len = 1, total = 6; len <= 4; len++, total *= 6) {
		for (k = 0; k < total; k++) {
			for (j = 0, v = k; j < len; j++, v /= 6)
				name[j] = bytes[v % 6];
			name[len] = '\0';
			buf_init(&b, NAMES_PATH_MAX);
			assert_int_equal(names_path(name, ID, &b), 0);
			shown[n++] = b.data;
		}
	}
	assert_int_equal(n, N);
	qsort(shown, n, sizeof(*shown), compare);
	for (k = 1; k < n; k++)
		same += !strcmp(shown[k - 1], shown[k]);
	assert_int_equal(same, 0);
	for (k = 0; k < n; k++)
		free(shown[k]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_not_utf8),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_appends),
		cmocka_unit_test(test_hostile_id),
		cmocka_unit_test(test_duplicate),
		cmocka_unit_test(test_temporary),
		cmocka_unit_test(test_check_new),
		cmocka_unit_test(test_purposes),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_round_trip),
		cmocka_unit_test(test_mostly_distinct),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
