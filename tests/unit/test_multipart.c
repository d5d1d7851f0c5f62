/* The multipart parser, fed in every possible pair of pieces, and with hostile input. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/buf.h"
#include "net/server/multipart.h"

#define TYPE "multipart/form-data; boundary=bnd"
#define HEAD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

#define DISPOSITION "Content-Disposition: form-data; "

/* What the parser says, written down: <name|filename>data</> */
static int on_begin(void *arg, const char *name, const char *filename)
{
	return buf_addf(arg, "<%s|%s>", name, filename ? filename : "-");
}

static int on_data(void *arg, const void *data, size_t len)
{
	return buf_add(arg, data, len);
}

static int on_end(void *arg)
{
	return buf_adds(arg, "</>");
}

static const struct multipart_ops ops = { on_begin, on_data, on_end };

/* Feeds body in pieces that end at a and b. Returns the outcome; what was said is in out. */
static int parse(const char *type, const char *body, size_t len, size_t a, size_t b,
		 struct buf *out)
{
	struct multipart *mp;
	int err = multipart_new(type, &ops, out, &mp);

	if (err)
		return err;
	err = multipart_feed(mp, body, a);
	if (!err)
		err = multipart_feed(mp, body + a, b - a);
	if (!err)
		err = multipart_feed(mp, body + b, len - b);
	if (!err)
		err = multipart_finish(mp);
	multipart_free(mp);
	return err;
}

static void expect(const char *type, const char *body, int want_err, const char *want)
{
	size_t len = strlen(body), a, b;
	struct buf out;
	int err;

	buf_init(&out, 1 << 20);
	for (a = 0; a <= len; a++) {
		/* Each first cut, with a second one right behind it, and at the end. */
		for (b = a; b <= len; b += b < a + 3 || b == len ? 1 : len - b) {
			buf_reset(&out);
			err = parse(type, body, len, a, b, &out);
			assert_int_equal(err, want_err);
			if (want)
				assert_string_equal(buf_str(&out), want);
		}
	}
	buf_release(&out);
}

static void test_fields(void **state)
{
	(void)state;
	expect(TYPE, "--bnd\r\n" HEAD("data") "hello\r\n--bnd--\r\n", 0, "<data|->hello</>");
	expect(TYPE, "--bnd\r\n" HEAD("a") "1\r\n--bnd\r\n" HEAD("b") "2\r\n--bnd--", 0,
	       "<a|->1</><b|->2</>");
	expect(TYPE, "--bnd\r\n" HEAD("data") "\r\n--bnd--\r\n", 0, "<data|-></>");
	expect(TYPE, "preamble\r\n--bnd  \r\n" HEAD("d") "x\r\n--bnd--epilogue\r\n--bnd\r\n", 0,
	       "<d|->x</>");
	expect(TYPE,
	       "--bnd\r\nX-Other: y\r\ncontent-disposition: form-data; name=d; "
	       "filename=\"a \\\"b\\\\\"\r\nContent-Type: a/b\r\n\r\nx\r\n--bnd--",
	       0, "<d|a \"b\\>x</>");
	expect(TYPE, "--bnd--", 0, "");
}

static void test_data_like_the_delimiter(void **state)
{
	static const char *const data[] = {
		"\r",
		"\n",
		"\r\n",
		"\r\n-",
		"\r\n--",
		"\r\n--b",
		"\r\n--bn",
		"\r\n--bn\r\n--bn",
		"\r\r\n--bn",
		"--bnd",
		"\n--bnd",
		"\r--bnd",
		"\r\n\r\n--bn",
		"\r\n-\r\n--bn",
		"\r\n--bnx\r\r\n",
		"a\r\n--\r\n--b\r\n--bn",
	};
	char body[200], want[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(data) / sizeof(*data); i++) {
		snprintf(body, sizeof(body), "--bnd\r\n" HEAD("d") "%s\r\n--bnd--\r\n", data[i]);
		snprintf(want, sizeof(want), "<d|->%s</>", data[i]);
		expect(TYPE, body, 0, want);
	}
}

static void test_malformed(void **state)
{
	static const char *const bodies[] = {
		"",
		"nothing",
		"--bnd",
		"--bnd\r\n",
		"--bnd\r\n" HEAD("d"),
		"--bnd\r\n" HEAD("d") "x\r\n--bnd",
		"--bnd\r\n" HEAD("d") "x\r\n--bnd-",
		"--bnd\r\n" HEAD("d") "x\r\n--bndx\r\n",
		"--bnd\r\n" HEAD("d") "x\r\n--bnd-\r\n",
		"--bnd\r\n\r\nx\r\n--bnd--",
		"--bnd\r\nX: y\r\n\r\nx\r\n--bnd--",
		"--bnd\r\nContent-Disposition: form-data\r\n\r\nx\r\n--bnd--",
		"--bnd\r\nContent-Disposition: form-data; name=\"d\r\n\r\nx\r\n--bnd--",
		"--bnd\r\n" DISPOSITION "name=a\r\n" DISPOSITION "name=b\r\n\r\nx\r\n--bnd--",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
		expect(TYPE, bodies[i], -EINVAL, NULL);
}

static void test_boundaries(void **state)
{
	static const char body[] = "--a b;c\r\n" HEAD("d") "x\r\n--a b;c--";
	struct multipart *mp;
	char type[400];

	(void)state;
	expect("Multipart/Form-Data; charset=\"x;boundary=y\"; BOUNDARY=\"a b;c\"; z=1", body, 0,
	       "<d|->x</>");
	assert_int_equal(multipart_new("multipart/form-data", &ops, NULL, &mp), -EINVAL);
	assert_int_equal(multipart_new("multipart/form-data; boundary=", &ops, NULL, &mp), -EINVAL);
	assert_int_equal(multipart_new("multipart/form-data; boundary=\"a", &ops, NULL, &mp),
			 -EINVAL);
	assert_int_equal(multipart_new("multipart/mixed; boundary=a", &ops, NULL, &mp), -EINVAL);
	assert_int_equal(multipart_new("", &ops, NULL, &mp), -EINVAL);
	snprintf(type, sizeof(type), "multipart/form-data; boundary=%0*d",
		 MULTIPART_BOUNDARY_MAX + 1, 7);
	assert_int_equal(multipart_new(type, &ops, NULL, &mp), -EINVAL);
	multipart_free(NULL);
}

static void test_headers_are_bounded(void **state)
{
	struct multipart *mp;
	struct buf out;
	int i, err = 0;

	(void)state;
	buf_init(&out, 1 << 20);
	assert_int_equal(multipart_new(TYPE, &ops, &out, &mp), 0);
	assert_int_equal(multipart_feed(mp, "--bnd\r\n", 7), 0);
	for (i = 0; i < MULTIPART_HEAD_MAX && !err; i++)
		err = multipart_feed(mp, "X: y\r\n", 6);
	assert_int_equal(err, -EMSGSIZE);
	multipart_free(mp);
	buf_release(&out);
}

static int refuse_data(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return -EFBIG;
}

static void test_errors_of_callbacks_come_back(void **state)
{
	static const struct multipart_ops refusing = { on_begin, refuse_data, on_end };
	static const char body[] = "--bnd\r\n" HEAD("d") "x\r\n--bnd--";
	struct multipart *mp;
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	assert_int_equal(multipart_new(TYPE, &refusing, &out, &mp), 0);
	assert_int_equal(multipart_feed(mp, body, strlen(body)), -EFBIG);
	multipart_free(mp);
	buf_release(&out);
}

/* Random data with many almost-delimiters, in random pieces: what goes in comes out. */
static void test_random_pieces(void **state)
{
	static const char alphabet[] = "\r\n-bnd";
	static const char head[] = "--bnd\r\n" HEAD("d"), tail[] = "\r\n--bnd--";
	unsigned round, seed = 12345;
	struct buf body, out;
	struct multipart *mp;
	size_t i, n;

	(void)state;
	buf_init(&body, 1 << 20);
	buf_init(&out, 1 << 20);
	for (round = 0; round < 2000; round++) {
		buf_reset(&body);
		buf_reset(&out);
		buf_adds(&body, head);
		for (i = 0; i < 300; i++)
			buf_addc(&body, alphabet[rand_r(&seed) % 6]);
		/* The one thing that must not stand in the data. */
		while (strstr(body.data + strlen(head) - 2, "\r\n--bnd"))
			strstr(body.data + strlen(head) - 2, "\r\n--bnd")[4] = 'x';
		buf_adds(&body, tail);
		assert_int_equal(multipart_new(TYPE, &ops, &out, &mp), 0);
		for (i = 0; i < body.len; i += n) {
			n = 1 + (size_t)(rand_r(&seed) % 40);
			n = n < body.len - i ? n : body.len - i;
			assert_int_equal(multipart_feed(mp, body.data + i, n), 0);
		}
		assert_int_equal(multipart_finish(mp), 0);
		multipart_free(mp);
		assert_int_equal(out.len, 5 + 300 + 3);
		assert_memory_equal(out.data + 5, body.data + strlen(head), 300);
	}
	buf_release(&body);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_data_like_the_delimiter),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_boundaries),
		cmocka_unit_test(test_headers_are_bounded),
		cmocka_unit_test(test_errors_of_callbacks_come_back),
		cmocka_unit_test(test_random_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
