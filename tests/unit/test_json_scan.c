/* json_scan: that it walks, takes and refuses as json.h does, which makes a tree. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/json.h"
#include "net/base/json_scan.h"

/* One value and nothing else, from a copy without a NUL behind it, so that a read past it shows. */
static int scan(const char *text, size_t len)
{
	char *exact = malloc(len ? len : 1);
	struct json_value v;
	struct json_scan s;
	int rc;

	assert_non_null(exact);
	memcpy(exact, text, len);
	json_scan_init(&s, exact, len);
	json_scan_value(&s, &v);
	rc = json_scan_end(&s);
	assert_true((v.kind == JSON_NONE) <= (rc != 0));
	free(exact);
	return rc;
}

/* Both readers are of one mind about it; which they are. */
static bool taken(const char *text, size_t len)
{
	struct json *root = NULL;
	int rc = json_parse(text, len, &root);

	json_free(root);
	if (!rc != !scan(text, len))
		fail_msg("%s by one of them only: %.*s", rc ? "refused" : "taken", (int)len, text);
	return !rc;
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"[",
		"\"",
		"\"a",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,}",
		"[1,]",
		"[1 2]",
		"tru",
		"nul",
		"1 2",
		"{}x",
		"{} {}",
		"]",
		"}",
		"[}",
		"{\"a\":1]",
		"'a'",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\ud80\"",
		"\"a\nb\"",
		"\"\x01\"",
		"+1",
		"-",
		".",
		"{a:1}",
		"<html>",
		"\\u0000",
		"\"\\",
		"\"\\u000",
		"NaN",
		"[,]",
		"{,}",
		"{\"a\" 1}",
		"{1:2}",
		"[1}",
		"1e",
		"1.5.2",
		"--1",
		"1-2",
		"\"\\u12x4\"",
		"\"\\ud83d\\u12x4\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (scan(bad[i], strlen(bad[i])) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_false(taken(bad[i], strlen(bad[i])));
	}
	assert_false(taken("{}\0", 3));
	assert_false(taken("[\0]", 3));
	assert_false(taken("\"a\0b\"", 5));
	assert_false(taken("1\0", 2));
}

/* What no standard allows and cJSON takes is taken here, too: nobody shall see a difference. */
static void test_lenient(void **state)
{
	static const char *const odd[] = {
		"01",		"-01",	"1.", "-.5", "1.e2", "[\v1\x01]", "\xef\xbb\xbf[]",
		"\"\xff\xc0\"", "1e999"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_true(taken(odd[i], strlen(odd[i])));
	assert_false(taken("[]\v", 3));
}

static void test_bounds(void **state)
{
	size_t len = 2 * (size_t)JSON_NODES_MAX + 3, i;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_true(taken(text, 2 * (size_t)JSON_DEPTH_MAX));
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	assert_int_equal(scan(text, 2 * (size_t)JSON_DEPTH_MAX + 2), -EMSGSIZE);
	assert_false(taken(text, 2 * (size_t)JSON_DEPTH_MAX + 2));
	/* One more than may be, with the list itself; then as many as may be. */
	text[0] = '[';
	for (i = 1; i < len - 2; i += 2)
		memcpy(text + i, "0,", 2);
	memcpy(text + len - 2, "0]", 2);
	assert_int_equal(scan(text, len), -EMSGSIZE);
	text[2] = '[';
	assert_int_equal(scan(text + 2, len - 2), 0);
	free(text);
}

/* The members of the object at s, as "key=kind,key=kind". */
static void list_members(struct json_scan *s, char *dst, size_t size)
{
	struct json_slice key;
	struct json_value v;
	char name[64];
	size_t at = 0;

	assert_true(json_scan_open(s, '{'));
	while (json_scan_key(s, &key)) {
		assert_true(key.len < sizeof(name));
		json_slice_copy(&key, name);
		json_scan_value(s, &v);
		at += (size_t)snprintf(dst + at, size - at, "%s=%d,", name, (int)v.kind);
		assert_true(at < size);
	}
}

static void test_walk(void **state)
{
	static const char doc[] =
		" {\"a\" : [ {\"x\":null,\"y\":[1,2]} , true ], \"b\":{}, \"c\":-7,"
		"\"\\u0064\":\"\\u0064\", \"e\":false } ";
	struct json_value v;
	struct json_slice key;
	struct json_scan s;
	char text[128];

	(void)state;
	json_scan_init(&s, doc, sizeof(doc) - 1);
	assert_false(json_scan_open(&s, '['));
	assert_true(json_scan_open(&s, '{'));
	assert_true(json_scan_key(&s, &key) && json_slice_is(&key, "a", 1));
	assert_true(json_scan_open(&s, '[') && json_scan_item(&s));
	list_members(&s, text, sizeof(text));
	assert_string_equal(text, "x=1,y=7,");
	assert_true(json_scan_item(&s) && !json_scan_open(&s, '{'));
	json_scan_value(&s, &v);
	assert_int_equal(v.kind, JSON_TRUE);
	assert_false(json_scan_item(&s));
	assert_true(json_scan_key(&s, &key) && json_slice_is(&key, "b", 1));
	list_members(&s, text, sizeof(text));
	assert_true(json_scan_key(&s, &key) && json_slice_is(&key, "c", 1));
	json_scan_value(&s, &v);
	assert_true(v.kind == JSON_NUMBER && v.is_integer && v.integer == -7);
	assert_true(json_scan_key(&s, &key) && json_slice_is(&key, "d", 1));
	json_scan_value(&s, &v);
	assert_true(v.kind == JSON_STRING && json_slice_is(&v.str, "d", 1));
	assert_false(json_slice_is(&v.str, "dd", 2) || json_slice_is(&v.str, "", 0));
	assert_true(json_scan_key(&s, &key));
	json_scan_value(&s, &v);
	assert_int_equal(v.kind, JSON_FALSE);
	assert_false(json_scan_key(&s, &key));
	assert_int_equal(json_scan_end(&s), 0);
}

/* An error sticks: whoever goes on reads nothing, and it shows in the end. */
static void test_sticks(void **state)
{
	static const char doc[] = "{\"a\":[1,x],\"b\":2}";
	struct json_slice key;
	struct json_value v;
	struct json_scan s;

	(void)state;
	json_scan_init(&s, doc, sizeof(doc) - 1);
	assert_true(json_scan_open(&s, '{') && json_scan_key(&s, &key));
	json_scan_value(&s, &v);
	assert_int_equal(v.kind, JSON_NONE);
	assert_false(json_scan_key(&s, &key) || json_scan_item(&s) || json_scan_open(&s, '{'));
	json_scan_value(&s, &v);
	assert_int_equal(v.kind, JSON_NONE);
	assert_int_equal(json_scan_end(&s), -EINVAL);
	/* What is not closed is no text, though nothing in it is wrong. */
	json_scan_init(&s, "[1", 2);
	assert_true(json_scan_open(&s, '[') && json_scan_item(&s));
	json_scan_value(&s, &v);
	assert_int_equal(json_scan_end(&s), -EINVAL);
}

static void check_string(const char *text, const char *want)
{
	struct json_value v;
	struct json_scan s;
	char *copy = malloc(strlen(text));

	assert_non_null(copy);
	json_scan_init(&s, text, strlen(text));
	json_scan_value(&s, &v);
	assert_int_equal(v.kind, JSON_STRING);
	assert_int_equal(json_slice_copy(&v.str, copy), strlen(want));
	assert_string_equal(copy, want);
	assert_int_equal(json_scan_end(&s), 0);
	assert_true(taken(text, strlen(text)));
	free(copy);
}

static void test_strings(void **state)
{
	(void)state;
	check_string("\"\"", "");
	check_string("\"seven b\"", "seven b");
	check_string("\"and eight and more of them \xc3\xa9\"",
		     "and eight and more of them \xc3\xa9");
	check_string("\"a\\u0000b\"", "a\xc0\x80"
				      "b");
	check_string("\"\\\\u0000\"", "\\u0000");
	check_string("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80");
	check_string("\"\\udcff\"", "\xed\xb3\xbf");
	check_string("\"\\ud83d\"", "\xed\xa0\xbd");
	check_string("\"\\ud83d\\ud83d\\ude00\"", "\xed\xa0\xbd\xf0\x9f\x98\x80");
	check_string("\"\\ude00\\ud83d.\"", "\xed\xb8\x80\xed\xa0\xbd.");
	check_string("\"\\\\\\u0000\\\"\"", "\\\xc0\x80\"");
	check_string("\"\\u00e4\\uD83D\\uDE00\\/\\b\\f\\n\\r\\t\"",
		     "\xc3\xa4\xf0\x9f\x98\x80/\b\f\n\r\t");
}

#define LONG "1000000000000000000000000000000000000000000000000000000000000"

/* Integers are those of json_i64(). */
static void test_numbers(void **state)
{
	static const char *const texts[] = {
		"0",
		"-0",
		"7",
		"-8589934592",
		"999999999999999",
		"1e3",
		"9007199254740992",
		"9007199254740993",
		"-9007199254740992",
		"1e15",
		"9007199254740994",
		"-9007199254740994",
		"1.5",
		"1e300",
		"1e-300",
		"2.50e1",
		"1234567890123456",
		"00012",
		"1e999",
		"123456789012345678901234567890",
		LONG "01",
		LONG ".",
		LONG "." LONG "e-70",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json *root = NULL;
		struct json_value v;
		struct json_scan s;
		int64_t want = 0;
		bool is_integer;

		json_scan_init(&s, texts[i], strlen(texts[i]));
		json_scan_value(&s, &v);
		assert_true(v.kind == JSON_NUMBER && !json_scan_end(&s));
		/* An old cJSON (1.7.14) refuses numbers of more than 63 characters. */
		if (json_parse(texts[i], strlen(texts[i]), &root) == -EINVAL &&
		    strlen(texts[i]) > 63)
			continue;
		assert_non_null(root);
		is_integer = !json_i64(root, &want);
		assert_int_equal(v.is_integer, is_integer);
		assert_true(!is_integer || v.integer == want);
		json_free(root);
	}
}

/* Every prefix and every single-byte change of a document: what one refuses the other does, too. */
static void test_mutations(void **state)
{
	static const char doc[] =
		"{\"id\":\"file-1\",\"b\":[1.5e3,-2,true,null,\"\\u00e4\\u0000\"],"
		"\"n\":{\"x\":\"\\ud83d\\ude00\",\"long enough\":false}}";
	size_t len = sizeof(doc) - 1, good = 0;
	char copy[sizeof(doc)];

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_false(taken(doc, i));
		for (unsigned c = 0; c < 256; c++) {
			memcpy(copy, doc, len);
			copy[i] = (char)c;
			good += taken(copy, len);
		}
	}
	assert_true(good > len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_lenient),
		cmocka_unit_test(test_bounds),	cmocka_unit_test(test_walk),
		cmocka_unit_test(test_sticks),	cmocka_unit_test(test_strings),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
