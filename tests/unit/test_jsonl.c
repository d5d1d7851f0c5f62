/* jsonl: each line is a JSON object, to the letter, wherever the bytes are cut. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/base/json_scan.h"
#include "net/base/jsonl.h"

/* Feed text in two pieces, the second in bytes; exact copies, so that a read past them shows. */
static bool good_at(const char *text, size_t len, size_t cut, char ret_text[JSONL_TEXT_SIZE])
{
	char *first = malloc(cut + 1), *byte = malloc(1);
	struct jsonl j, copy;
	bool good;

	memcpy(first, text, cut);
	jsonl_init(&j);
	jsonl_feed(&j, first, cut);
	copy = j;
	memset(&j, 0xff, sizeof(j));
	for (size_t i = cut; i < len; i++) {
		*byte = text[i];
		jsonl_feed(&copy, byte, 1);
	}
	good = jsonl_end(&copy);
	jsonl_text(&copy, ret_text);
	free(first);
	free(byte);
	return good;
}

/* "": good; else the fault. The same wherever the text is cut. */
static const char *fault_of(const char *text, size_t len)
{
	static char whole[JSONL_TEXT_SIZE];
	char cut[JSONL_TEXT_SIZE];
	bool good = good_at(text, len, len, whole);

	assert_int_equal(good, !*whole);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(good_at(text, len, i, cut), good);
		assert_string_equal(cut, whole);
	}
	return whole;
}

static void test_good(void **state)
{
	static const char *const good[] = {
		"",
		"{}",
		"{}\n",
		"{}\r\n{}\r\n",
		" {} \n\t{ }\t\n",
		"\xef\xbb\xbf{}\n{}\n",
		"{\"a\":1,\"b\":-0.5e+10,\"c\":[],\"d\":[1, 2,[{}]],\"e\":{\"f\":null}}\n",
		"{\"a\":true,\"b\":false,\"c\":[0,-0,10,1E5,1e-05,0.0]}",
		"{\"\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00Ff\"}\n",
		"{\"a\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}\n",
		"{\"a\":\"\xed\x9f\xbf\xf4\x8f\xbf\xbf\x7f\"}\n",
		"{\"half\":\"\\ud800\",\"half\":1}\n",
		"{\"long and plain, more than sixteen\":\"characters: the fast way is taken\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_string_equal(fault_of(good[i], strlen(good[i])), "");
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *fault;
	} bad[] = {
		{ "\n", "line 1: it is blank" },
		{ "{}\n\n{}\n", "line 2: it is blank" },
		{ "{}\n{}\n \t\r\n", "line 3: it is blank" },
		{ "{}\n{}\n ", "line 3: it is blank" },
		{ "{}\n[]\n", "line 2: it is no JSON object: \"[\" at byte 1" },
		{ "1\n", "line 1: it is no JSON object: \"1\" at byte 1" },
		{ "null", "line 1: it is no JSON object: \"n\" at byte 1" },
		{ "{}\n\xef\xbb\xbf{}\n", "line 2: it is no JSON object: 0xef at byte 1" },
		{ "\xef\xbb{}\n", "line 1: it is no JSON object: \"{\" at byte 3" },
		{ "{}\n{}\n{\"a\":1\n}\n", "line 3: it ends within its JSON object" },
		{ "{\"a\":\"b\n\"}", "line 1: it ends within its JSON object" },
		{ "{\"a\":1", "line 1: it ends within its JSON object" },
		{ "{", "line 1: it ends within its JSON object" },
		{ "{} {}\n", "line 1: more than one JSON object: \"{\" at byte 4" },
		{ "{},\n", "line 1: more than one JSON object: \",\" at byte 3" },
		{ "{\"a\":1,}\n", "line 1: it is not JSON: \"}\" at byte 8" },
		{ "{\"a\":[1,]}\n", "line 1: it is not JSON: \"]\" at byte 9" },
		{ "{\"a\":[1}}\n", "line 1: it is not JSON: \"}\" at byte 8" },
		{ "{\"a\" 1}\n", "line 1: it is not JSON: \"1\" at byte 6" },
		{ "{a:1}\n", "line 1: it is not JSON: \"a\" at byte 2" },
		{ "{'a':1}\n", "line 1: it is not JSON: \"'\" at byte 2" },
		{ "{\"a\":01}\n", "line 1: it is not JSON: \"1\" at byte 7" },
		{ "{\"a\":1.}\n", "line 1: it is not JSON: \"}\" at byte 8" },
		{ "{\"a\":-}\n", "line 1: it is not JSON: \"}\" at byte 7" },
		{ "{\"a\":1e}\n", "line 1: it is not JSON: \"}\" at byte 8" },
		{ "{\"a\":+1}\n", "line 1: it is not JSON: \"+\" at byte 6" },
		{ "{\"a\":.5}\n", "line 1: it is not JSON: \".\" at byte 6" },
		{ "{\"a\":NaN}\n", "line 1: it is not JSON: \"N\" at byte 6" },
		{ "{\"a\":nul}\n", "line 1: it is not JSON: \"}\" at byte 9" },
		{ "{\"a\":True}\n", "line 1: it is not JSON: \"T\" at byte 6" },
		{ "{\"a\":\"\t\"}\n", "line 1: a control character in a string: 0x09 at byte 7" },
		{ "{\"a\":\"\\x\"}\n", "line 1: a bad escape in a string: \"x\" at byte 8" },
		{ "{\"a\":\"\\u12g4\"}", "line 1: a bad escape in a string: \"g\" at byte 11" },
		{ "{\"a\":\"\xff\"}\n", "line 1: it is not UTF-8: 0xff at byte 7" },
		{ "{\"a\":\"\xc0\x80\"}\n", "line 1: it is not UTF-8: 0xc0 at byte 7" },
		{ "{\"a\":\"\xc3\"}\n", "line 1: it is not UTF-8: \"\"\" at byte 8" },
		{ "{\"a\":\"\xe0\x9f\xbf\"}", "line 1: it is not UTF-8: 0x9f at byte 8" },
		{ "{\"a\":\"\xed\xa0\x80\"}", "line 1: it is not UTF-8: 0xa0 at byte 8" },
		{ "{\"a\":\"\xf0\x8f\xbf\xbf\"}", "line 1: it is not UTF-8: 0x8f at byte 8" },
		{ "{\"a\":\"\xf4\x90\x80\x80\"}", "line 1: it is not UTF-8: 0x90 at byte 8" },
		{ "{\"a\":\v1}\n", "line 1: it is not JSON: 0x0b at byte 6" },
		{ "// x\n{}\n", "line 1: it is no JSON object: \"/\" at byte 1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_string_equal(fault_of(bad[i].text, strlen(bad[i].text)), bad[i].fault);
	assert_string_equal(fault_of("{\0}", 3), "line 1: it is not JSON: 0x00 at byte 2");
	assert_string_equal(fault_of("{\"\\\0\"}", 6),
			    "line 1: a bad escape in a string: 0x00 at byte 4");
}

/* depth braces and brackets in turn, the innermost empty. */
static char *nested(size_t depth)
{
	char *text = calloc(6 * depth + 1, 1), *at = text;

	for (size_t i = 0; i < depth; i++) {
		const char *open = i == depth - 1 ? "{" : i % 2 ? "[" : "{\"a\":";

		memcpy(at, open, strlen(open));
		at += strlen(open);
	}
	for (size_t i = depth; i-- > 0;)
		*at++ = i != depth - 1 && i % 2 ? ']' : '}';
	return text;
}

static void test_nesting(void **state)
{
	char text[JSONL_TEXT_SIZE], *deep = nested(JSONL_DEPTH_MAX);

	(void)state;
	assert_true(good_at(deep, strlen(deep), strlen(deep), text));
	free(deep);
	deep = nested(JSONL_DEPTH_MAX + 1);
	assert_false(good_at(deep, strlen(deep), strlen(deep), text));
	assert_non_null(strstr(text, "line 1: brackets are nested too deeply"));
	free(deep);
	deep = nested(200000);
	assert_false(good_at(deep, strlen(deep), strlen(deep), text));
	free(deep);
}

/* Texts of strings and what stands between them: the same fault in one piece and byte by byte. */
static void test_strings(void **state)
{
	static const char *const words[] = { "\"a\"", "\"\"",	":",	 ",",	     " ",  "{",
					     "}",     "[",	"]",	 "1",	     "\\", "\"",
					     "b",     "\": \"", "\",\"", "\xc3\xa4", "\n" };
	char text[256], whole[JSONL_TEXT_SIZE], bytes[JSONL_TEXT_SIZE];
	unsigned long good = 0;

	(void)state;
	srandom(11);
	for (unsigned i = 0; i < 200000; i++) {
		size_t len = (size_t)snprintf(text, sizeof(text), "{\"k\":[\"v\",\"w\"],\"a");

		for (unsigned k = (unsigned)random() % 8; k; k--) {
			const char *w = words[(size_t)random() % (sizeof(words) / sizeof(*words))];

			memcpy(text + len, w, strlen(w));
			len += strlen(w);
		}
		memcpy(text + len, "\":\"\"}", 5);
		len += 5;
		good += good_at(text, len, len, whole);
		good_at(text, len, 0, bytes);
		assert_string_equal(whole, bytes);
	}
	assert_true(good > 1000);
}

/* What is good here is good for the other reader, which is laxer. */
static void test_other_reader(void **state)
{
	static const char alphabet[] = "{}[]\"\\:, 01.-eEtrufalsn\x80\xc3\n\t";
	char text[16], why[JSONL_TEXT_SIZE];
	struct json_value v;
	struct json_scan s;
	unsigned long good = 0;

	(void)state;
	srandom(7);
	for (unsigned i = 0; i < 300000; i++) {
		size_t len = (size_t)random() % 12;

		memcpy(text, "{\"a\":", 5);
		for (size_t k = 0; k < len; k++)
			text[5 + k - (i % 2) * 4] =
				alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
		len += 5 - (i % 2) * 4;
		text[len - 1] = '}';
		if (memchr(text, '\n', len) || !good_at(text, len, len, why))
			continue;
		good++;
		json_scan_init(&s, text, len);
		json_scan_value(&s, &v);
		assert_int_equal(json_scan_end(&s), 0);
		assert_int_equal(v.kind, JSON_OBJECT);
	}
	assert_true(good > 100);
}

static void test_file(void **state)
{
	char text[JSONL_TEXT_SIZE] = "", path[] = "/tmp/test_jsonl.XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "r+");

	(void)state;
	assert_non_null(f);
	unlink(path);
	for (unsigned i = 0; i < 20000; i++)
		fprintf(f, "{\"n\":%u,\"text\":\"line of a file that takes many reads\"}\n", i);
	fflush(f);
	rewind(f);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(jsonl_check(fd, text), 0);
	fseek(f, 0, SEEK_END);
	fputs("{\"n\":}\n{}\n", f);
	fflush(f);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(jsonl_check(fd, text), -EINVAL);
	assert_string_equal(text, "line 20001: it is not JSON: \"}\" at byte 6");
	fclose(f);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	assert_int_equal(jsonl_check(fd, text), -EISDIR);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nesting), cmocka_unit_test(test_other_reader),
		cmocka_unit_test(test_file),	cmocka_unit_test(test_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
