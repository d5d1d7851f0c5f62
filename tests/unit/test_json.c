/* json: what is refused, what is handed out, and that the writer's output reads back. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/json.h"

static int parse(const char *text, struct json **ret)
{
	size_t len = strlen(text);
	char *exact = malloc(len ? len : 1);
	int rc;

	/* Without a NUL behind it, so that a sanitizer sees a read past the end. */
	assert_non_null(exact);
	memcpy(exact, text, len);
	rc = json_parse(exact, len, ret);
	free(exact);
	return rc;
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",	      " ",	  "{",	       "[",	     "\"",	 "\"a",
		"{\"a\"",     "{\"a\":",  "{\"a\":1",  "{\"a\":1,}", "[1,]",	 "[1 2]",
		"tru",	      "nul",	  "1 2",       "{}x",	     "{} {}",	 "]",
		"}",	      "[}",	  "{\"a\":1]", "'a'",	     "\"\\x\"",	 "\"\\u12\"",
		"\"\\ud80\"", "\"a\nb\"", "\"\x01\"",  "+1",	     "-",	 ".",
		"{a:1}",      "<html>",	  "\\u0000",   "\"\\",	     "\"\\u000", "NaN",
	};
	struct json *j = (struct json *)bad;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i], &j) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_ptr_equal(j, bad);
	}
	assert_int_equal(json_parse("{}\0", 3, &j), -EINVAL);
	assert_int_equal(json_parse("\"a\0b\"", 5, &j), -EINVAL);
	/* These are no numbers, and no NUL either. */
	assert_int_equal(parse("\"a\\u12x4\"", &j), -EINVAL);
	assert_int_equal(parse("\"\\ud83d\\u12x4\"", &j), -EINVAL);
	assert_int_equal(parse("{\"\\u+123\":1}", &j), -EINVAL);
}

static void test_depth(void **state)
{
	char text[2 * JSON_DEPTH_MAX + 3];
	struct json *j;

	(void)state;
	memset(text, 0, sizeof(text));
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_int_equal(parse(text, &j), 0);
	json_free(j);
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	assert_int_equal(parse(text, &j), -EMSGSIZE);
	/* Brackets in a string do not count. */
	memset(text + 1, '[', 2 * JSON_DEPTH_MAX);
	text[0] = text[2 * JSON_DEPTH_MAX + 1] = '"';
	assert_int_equal(parse(text, &j), 0);
	json_free(j);
}

static void test_nodes(void **state)
{
	size_t len = 2 * (size_t)JSON_NODES_MAX + 3, i;
	char *text = malloc(len);
	struct json *j;

	(void)state;
	assert_non_null(text);
	text[0] = '[';
	for (i = 1; i < len - 2; i += 2)
		memcpy(text + i, "0,", 2);
	text[len - 2] = '0';
	text[len - 1] = ']';
	assert_int_equal(json_parse(text, len, &j), -EMSGSIZE);
	free(text);
}

static void test_reader(void **state)
{
	const struct json *m;
	struct json *j;

	(void)state;
	assert_int_equal(
		parse(" {\"a\":1,\"A\":\"x\",\"l\":[true,null,2.5],\"o\":{},\"a\":7} \n", &j), 0);
	assert_true(json_is_object(j));
	assert_int_equal(json_len(j), 5);
	assert_true(json_num(json_get(j, "a"), -1) == 1);
	assert_string_equal(json_get_str(j, "A"), "x");
	assert_null(json_get_str(j, "a"));
	assert_null(json_get(j, "none"));
	m = json_first(json_get(j, "l"));
	assert_true(json_is_bool(m) && json_bool(m, false));
	assert_null(json_key(m));
	m = json_next(m);
	assert_true(json_is_null(m));
	m = json_next(m);
	assert_true(json_is_number(m) && json_num(m, 0) == 2.5);
	assert_null(json_next(m));
	m = json_first(j);
	assert_string_equal(json_key(m), "a");
	assert_null(json_get(json_get(j, "l"), "a"));
	assert_null(json_first(json_get(j, "A")));
	assert_int_equal(json_len(json_get(j, "o")), 0);
	json_free(j);
	json_free(NULL);
	assert_false(json_is_object(NULL) || json_is_array(NULL) || json_is_string(NULL) ||
		     json_is_number(NULL) || json_is_bool(NULL) || json_is_null(NULL));
	assert_null(json_get(NULL, "a"));
	assert_null(json_first(NULL));
	assert_true(json_bool(NULL, true));
}

static void check_str(const char *text, const char *want)
{
	struct json *j;

	assert_int_equal(parse(text, &j), 0);
	assert_string_equal(json_str(j), want);
	json_free(j);
}

static void test_strings(void **state)
{
	(void)state;
	check_str("\"a\\u0000b\"", "a\xc0\x80"
				   "b");
	check_str("\"\\\\u0000\"", "\\u0000");
	/* Halves of surrogate pairs, which some programs make of what is not UTF-8. */
	check_str("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80");
	check_str("\"\\udcff\"", "\xed\xb3\xbf");
	check_str("\"\\ud83d\"", "\xed\xa0\xbd");
	check_str("\"\\ud83d\\ud83d\\ude00\"", "\xed\xa0\xbd\xf0\x9f\x98\x80");
	check_str("\"\\ude00\\ud83d.\"", "\xed\xb8\x80\xed\xa0\xbd.");
	check_str("\"\\\\ud83d\\\\\"", "\\ud83d\\");
	check_str("\"\\\\\\u0000\"", "\\\xc0\x80");
	check_str("\"\\u00e4\\ud83d\\ude00\\/\\n\"", "\xc3\xa4\xf0\x9f\x98\x80/\n");
	check_str("\"\\\"\"", "\"");
}

/* What no character is written as reads back as the same. */
static void test_misfits_return(void **state)
{
	static const char *const texts[] = { "[\"a\\u0000b\"]", "[\"\\udcff\"]", "[\"x\\ud83d\"]",
					     "[\"\\ude00\\ud83d\"]",
					     "[\"\\u0000\\ud83d\\ud83d!\"]" };
	struct json_writer w;
	struct json *j;
	struct buf b;

	(void)state;
	for (size_t n = 0; n < sizeof(texts) / sizeof(texts[0]); n++) {
		assert_int_equal(parse(texts[n], &j), 0);
		buf_init(&b, 1000);
		json_w_init(&w, &b);
		json_w_array(&w, NULL);
		json_w_str(&w, NULL, json_str(json_first(j)));
		json_w_end_array(&w);
		assert_string_equal(buf_str(&b), texts[n]);
		buf_release(&b);
		json_free(j);
	}
	/* But two halves that would read as a pair. */
	buf_init(&b, 1000);
	json_w_init(&w, &b);
	json_w_str(&w, NULL, "\xed\xa0\xbd\xed\xb8\x80");
	assert_string_equal(buf_str(&b), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\ude00\"");
	buf_release(&b);
}

static void test_ints(void **state)
{
	static const char *const no[] = { "-1",	   "1.5",  "1e300", "9007199254740994",
					  "\"1\"", "true", "null",  "[]" };
	struct json *j;
	uint64_t u = 42;
	int64_t i = 42;
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(no) / sizeof(no[0]); n++) {
		assert_int_equal(parse(no[n], &j), 0);
		assert_int_equal(json_u64(j, &u), -EINVAL);
		json_free(j);
	}
	assert_int_equal(u, 42);
	assert_int_equal(json_u64(NULL, &u), -EINVAL);
	assert_int_equal(parse("9007199254740992", &j), 0);
	assert_int_equal(json_u64(j, &u), 0);
	assert_true(u == 1ULL << 53);
	json_free(j);
	assert_int_equal(parse("-8589934592", &j), 0);
	assert_int_equal(json_i64(j, &i), 0);
	assert_true(i == -8589934592LL);
	json_free(j);
	assert_int_equal(parse("0", &j), 0);
	assert_int_equal(json_u64(j, &u), 0);
	assert_int_equal(u, 0);
	json_free(j);
}

static void test_writer(void **state)
{
	struct json_writer w;
	struct json *j;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	json_w_init(&w, &b);
	json_w_object(&w, NULL);
	json_w_str(&w, "s", "q\"\\\n\x01\x7f \xc3\xa4 \xff\xc0\xaf\xed\xa0\x80");
	json_w_str(&w, "none", NULL);
	json_w_array(&w, "l");
	json_w_u64(&w, NULL, UINT64_MAX);
	json_w_i64(&w, NULL, INT64_MIN);
	json_w_object(&w, NULL);
	json_w_end_object(&w);
	json_w_num(&w, NULL, 0.1);
	json_w_num(&w, NULL, INFINITY);
	json_w_num(&w, NULL, 1.0 / 3);
	json_w_end_array(&w);
	json_w_bool(&w, "b\"", true);
	json_w_null(&w, "z");
	json_w_end_object(&w);
	assert_int_equal(b.err, 0);
	assert_string_equal(
		buf_str(&b),
		"{\"s\":\"q\\\"\\\\\\u000a\\u0001\\u007f \xc3\xa4 "
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\ud800\","
		"\"none\":null,\"l\":[18446744073709551615,-9223372036854775808,{},0.1,null,"
		"0.33333333333333331],\"b\\\"\":true,\"z\":null}");
	assert_int_equal(json_parse(b.data, b.len, &j), 0);
	json_free(j);
	buf_release(&b);

	buf_init(&b, 4);
	json_w_init(&w, &b);
	json_w_str(&w, NULL, "too long");
	assert_int_equal(b.err, -EMSGSIZE);
	buf_release(&b);
}

/* Every prefix and every single-byte change of a document: no crash, no read past the end. */
static void test_mutations(void **state)
{
	static const char doc[] =
		"{\"id\":\"file-1\",\"b\":[1.5e3,-2,true,null,\"\\u00e4\\u0000\"],"
		"\"n\":{\"x\":\"\\ud83d\\ude00\"}}";
	const size_t len = sizeof(doc) - 1;
	unsigned taken = 0, c;
	struct json *j;
	char *copy;
	size_t i;

	(void)state;
	for (i = 0; i < len; i++) {
		copy = malloc(i ? i : 1);
		memcpy(copy, doc, i);
		assert_true(json_parse(copy, i, &j) < 0);
		free(copy);
	}
	copy = malloc(len);
	for (i = 0; i < len; i++) {
		for (c = 0; c < 256; c++) {
			memcpy(copy, doc, len);
			copy[i] = (char)c;
			if (!json_parse(copy, len, &j)) {
				taken++;
				json_free(j);
			}
		}
	}
	free(copy);
	assert_true(taken > len);
}

/* Of members that take as much memory as they can for their text there is room for all. */
static void test_dense(void **state)
{
	static const char *const members[] = {
		"\"\"",
		"1",
		"{}",
		"[]",
		"[0]",
		"{\"\":\"\"}",
		"{\"a\":1}",
		"[[],[]]",
		"\"1234567\"",
		"-1.5e300",
		"null",
		"true",
		"\"\\n\"",
		"\"\\u00e9\"",
		"{\"1234567\":\"1234567\"}",
		"{\"12345678\":[\"12345678\",12345678]}",
	};
	enum { KINDS = sizeof(members) / sizeof(members[0]), COUNT = 3000 };
	struct json *j;
	struct buf b;

	(void)state;
	for (unsigned kind = 0; kind <= KINDS; kind++) {
		buf_init(&b, 1 << 20);
		buf_addc(&b, '[');
		for (unsigned i = 0; i < COUNT; i++) {
			if (i)
				buf_addc(&b, ',');
			/* In the end a mixture. */
			buf_adds(&b, members[kind < KINDS ? kind : i * 7 % KINDS]);
		}
		buf_addc(&b, ']');
		assert_int_equal(b.err, 0);
		assert_int_equal(json_parse(b.data, b.len, &j), 0);
		assert_int_equal(json_len(j), COUNT);
		json_free(j);
		/* Cut anywhere it is none, and nothing is left of it. */
		assert_int_equal(json_parse(b.data, b.len - 1 - kind, &j), -EINVAL);
		buf_release(&b);
	}
	for (unsigned kind = 0; kind < KINDS; kind++) {
		assert_int_equal(json_parse(members[kind], strlen(members[kind]), &j), 0);
		json_free(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_depth),
		cmocka_unit_test(test_nodes),	  cmocka_unit_test(test_reader),
		cmocka_unit_test(test_strings),	  cmocka_unit_test(test_misfits_return),
		cmocka_unit_test(test_ints),	  cmocka_unit_test(test_writer),
		cmocka_unit_test(test_mutations), cmocka_unit_test(test_dense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
