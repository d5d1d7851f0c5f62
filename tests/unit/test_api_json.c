/* api_json, api_text: objects of the API, honest, odd and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/api/json.h"
#include "net/base/log.h"

#define FILE_JSON                                                                       \
	"{\"object\":\"file\",\"id\":\"file-1\",\"purpose\":\"fine-tune\",\"bytes\":8," \
	"\"filename\":\"a/b.jsonl\",\"created_at\":1700000000,\"expires_at\":null,"     \
	"\"status\":\"processed\",\"status_details\":null}"
#define UPLOAD_HEAD \
	"{\"id\":\"upload_1\",\"object\":\"upload\",\"bytes\":8,\"created_at\":1700000000,"

static struct json *parse(const char *text)
{
	struct json *j;

	assert_int_equal(json_parse(text, strlen(text), &j), 0);
	return j;
}

static void test_requests(void **state)
{
	static const char *const ids[] = { "part_1", "part_2" };
	struct api_upload_spec spec = {
		.filename = "a\"b\n",
		.purpose = "batch",
		.mime_type = "text/jsonl",
		.bytes = 8589934592ULL,
	};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	api_json_put_create(&b, &spec);
	assert_string_equal(
		buf_str(&b),
		"{\"filename\":\"a\\\"b\\u000a\",\"purpose\":\"batch\",\"bytes\":8589934592,"
		"\"mime_type\":\"text/jsonl\"}");
	buf_reset(&b);
	spec.filename = "x";
	spec.bytes = 0;
	spec.expires_after_s = 3600;
	api_json_put_create(&b, &spec);
	assert_string_equal(buf_str(&b),
			    "{\"filename\":\"x\",\"purpose\":\"batch\",\"bytes\":0,\"mime_type\":"
			    "\"text/jsonl\",\"expires_after\":{\"anchor\":\"created_at\","
			    "\"seconds\":3600}}");
	buf_reset(&b);
	api_json_put_complete(&b, ids, 2, "0123");
	assert_string_equal(buf_str(&b), "{\"part_ids\":[\"part_1\",\"part_2\"],\"md5\":\"0123\"}");
	buf_reset(&b);
	api_json_put_complete(&b, NULL, 0, NULL);
	assert_string_equal(buf_str(&b), "{\"part_ids\":[]}");
	buf_release(&b);
}

static void test_upload(void **state)
{
	struct api_upload up;
	struct json *j;

	(void)state;
	j = parse(UPLOAD_HEAD "\"filename\":\"x\",\"purpose\":\"batch\",\"status\":\"pending\","
			      "\"expires_at\":1700003600,\"new_key\":{}}");
	assert_null(api_json_upload(j, &up));
	assert_string_equal(up.id, "upload_1");
	assert_int_equal(up.status, API_UPLOAD_PENDING);
	assert_int_equal(up.bytes, 8);
	assert_int_equal(up.created_at, 1700000000);
	assert_int_equal(up.expires_at, 1700003600);
	assert_false(up.has_file);
	json_free(j);
	j = parse(UPLOAD_HEAD "\"status\":\"completed\",\"file\":" FILE_JSON "}");
	assert_null(api_json_upload(j, &up));
	assert_int_equal(up.status, API_UPLOAD_COMPLETED);
	assert_int_equal(up.expires_at, 1700003600);
	assert_true(up.has_file);
	assert_string_equal(up.file.id, "file-1");
	assert_string_equal(up.file.filename, "a/b.jsonl");
	assert_string_equal(up.file.purpose, "fine-tune");
	assert_int_equal(up.file.bytes, 8);
	assert_int_equal(up.file.expires_at, 0);
	json_free(j);
	j = parse(UPLOAD_HEAD "\"status\":\"cancelled\",\"file\":null}");
	assert_null(api_json_upload(j, &up));
	assert_int_equal(up.status, API_UPLOAD_CANCELLED);
	json_free(j);
	j = parse(UPLOAD_HEAD "\"status\":\"in some limbo\"}");
	assert_null(api_json_upload(j, &up));
	assert_int_equal(up.status, API_UPLOAD_OTHER);
	json_free(j);
}

static void test_bad_uploads(void **state)
{
	static const char *const bad[] = {
		"null",
		"[]",
		"\"upload\"",
		"1",
		"{}",
		"{\"id\":1,\"bytes\":8,\"created_at\":1,\"status\":\"pending\"}",
		"{\"id\":\"\",\"bytes\":8,\"created_at\":1,\"status\":\"pending\"}",
		"{\"id\":\"..\",\"bytes\":8,\"created_at\":1,\"status\":\"pending\"}",
		"{\"id\":\"u\",\"bytes\":8,\"created_at\":1,\"status\":\"completed\",\"file\":1}",
		"{\"id\":\"u\",\"bytes\":8,\"created_at\":1,\"status\":\"completed\",\"file\":{}}",
	};
	struct api_upload up = { .id = "untouched" };
	struct json *j;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		j = parse(bad[i]);
		if (!api_json_upload(j, &up))
			fail_msg("taken: %s", bad[i]);
		assert_string_equal(up.id, "untouched");
		json_free(j);
	}
}

/* Only the id is needed: what is missing or makes no sense is unknown. */
static void test_odd_uploads(void **state)
{
	static const char *const texts[] = {
		"{\"id\":\"a:b/c d?\",\"status\":\"completed\","
		"\"file\":{\"id\":\"x/y==\"}}",
		"{\"id\":\"u\",\"bytes\":-8,\"created_at\":\"x\",\"status\":1,"
		"\"file\":{\"id\":\"f\","
		"\"bytes\":[],\"filename\":7,\"purpose\":\"\",\"created_at\":-1,"
		"\"expires_at\":{}}}",
		"{\"id\":\"u\",\"bytes\":1e40,\"created_at\":null,\"file\":{\"id\":\"f\","
		"\"bytes\":null,\"created_at\":1e300}}",
	};
	struct api_upload up;
	struct json *j;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		j = parse(texts[i]);
		assert_null(api_json_upload(j, &up));
		assert_true(up.bytes_unknown && up.has_file && up.file.bytes_unknown);
		assert_true(up.file.filename_unknown && up.file.purpose_unknown);
		assert_ptr_equal(up.file.filename, up.file.id);
		assert_string_equal(up.file.purpose, API_PURPOSE_UNKNOWN);
		assert_int_equal(up.created_at, 0);
		assert_int_equal(up.file.created_at, 0);
		assert_int_equal(up.file.expires_at, 0);
		assert_int_equal(up.status_unknown, i > 0);
		json_free(j);
	}
}

static void test_numbers(void **state)
{
	static const struct {
		const char *time;
		int64_t seconds;
	} cases[] = {
		{ "1700000000", 1700000000 },
		{ "1700000000.9", 1700000000 },
		{ "1700000000123", 1700000000 },
		{ "1700000000123.5", 1700000000 },
		{ "1700000000123456", 1700000000 },
		{ "1.7e18", 1700000000 },
		{ "1e300", 0 },
		{ "-5", 0 },
		{ "253402300799", 253402300799LL },
		{ "\"1700000000\"", 0 },
	};
	struct api_file_page page;
	struct api_file f;
	char text[300];
	struct json *j;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text),
			 "{\"id\":\"f\",\"bytes\":12.75,\"created_at\":%s,\"expires_at\":%s}",
			 cases[i].time, cases[i].time);
		j = parse(text);
		assert_null(api_json_file(j, &f));
		assert_int_equal(f.created_at, cases[i].seconds);
		assert_int_equal(f.expires_at, cases[i].seconds);
		assert_true(f.bytes == 12 && !f.bytes_unknown);
		json_free(j);
		snprintf(text, sizeof(text),
			 "{\"data\":[{\"id\":\"f\",\"bytes\":12.75,\"created_at\":%s}]}",
			 cases[i].time);
		assert_null(api_json_page(text, strlen(text), "", &page));
		assert_int_equal(page.files[0].created_at, cases[i].seconds);
		assert_true(page.files[0].bytes == 12 && !page.files[0].bytes_unknown);
		free(page.files);
		free(page.text);
	}
}

static void test_file_error(void **state)
{
	struct api_file f;
	struct json *j;

	(void)state;
	j = parse("{\"id\":\"f\",\"status\":\"error\",\"status_details\":\"not JSONL\"}");
	assert_null(api_json_file(j, &f));
	assert_true(f.failed);
	assert_string_equal(f.details, "not JSONL");
	json_free(j);
	j = parse("{\"id\":\"f\",\"status\":\"error\",\"status_details\":{\"message\":\"bad\"}}");
	assert_null(api_json_file(j, &f));
	assert_string_equal(f.details, "bad");
	json_free(j);
	j = parse("{\"id\":\"f\",\"status\":\"processed\",\"status_details\":\"fine\"}");
	assert_null(api_json_file(j, &f));
	assert_false(f.failed);
	assert_null(f.details);
	json_free(j);
}

static void test_file(void **state)
{
	struct api_file f = { .id = "untouched" };
	char *big;
	struct json *j;
	size_t i;

	(void)state;
	/* A count that is not known yet, and a name that no directory can hold. */
	j = parse("{\"id\":\"f\",\"filename\":\"../\\u0000\",\"purpose\":\"p\",\"bytes\":null,"
		  "\"created_at\":1,\"expires_at\":5}");
	assert_null(api_json_file(j, &f));
	assert_string_equal(f.filename, "../\xc0\x80");
	assert_int_equal(f.bytes, 0);
	assert_true(f.bytes_unknown);
	assert_int_equal(f.expires_at, 5);
	json_free(j);
	/* No count at all is not known either. */
	j = parse("{\"id\":\"f\",\"filename\":\"x\",\"purpose\":\"p\",\"created_at\":1}");
	assert_null(api_json_file(j, &f));
	assert_true(f.bytes_unknown && f.bytes == 0);
	json_free(j);
	big = malloc(API_FILENAME_MAX + 200);
	assert_non_null(big);
	for (i = API_FILENAME_MAX; i <= API_FILENAME_MAX + 1; i++) {
		snprintf(big, API_FILENAME_MAX + 200,
			 "{\"id\":\"f\",\"filename\":\"%*d\",\"purpose\":\"p\",\"created_at\":1}",
			 (int)i, 1);
		j = parse(big);
		assert_null(api_json_file(j, &f));
		assert_int_equal(f.filename_unknown, i > API_FILENAME_MAX);
		json_free(j);
	}
	free(big);
}

static void test_part_and_delete(void **state)
{
	struct api_part part = { .id = "untouched" };
	struct json *j;

	(void)state;
	j = parse("{\"id\":\"part_1\",\"object\":\"upload.part\",\"upload_id\":\"u\"}");
	assert_null(api_json_part(j, &part));
	assert_string_equal(part.id, "part_1");
	json_free(j);
	part.id = "untouched";
	j = parse("{\"id\":\"\"}");
	assert_non_null(api_json_part(j, &part));
	assert_string_equal(part.id, "untouched");
	json_free(j);
	/* As in Azure's description: no upload_id is required, and any string may be the id. */
	j = parse("{\"id\":\"LnmictL3p0u4LH/ko343nw==\"}");
	assert_null(api_json_part(j, &part));
	assert_string_equal(part.id, "LnmictL3p0u4LH/ko343nw==");
	assert_null(part.upload_id);
	json_free(j);
	j = parse("{\"deleted\":true}");
	assert_null(api_json_deleted(j, "file-1"));
	json_free(j);
	j = parse("{\"id\":\"file-1\",\"object\":\"file.deleted\"}");
	assert_null(api_json_deleted(j, "file-1"));
	json_free(j);
	j = parse("{}");
	assert_non_null(api_json_deleted(j, "file-1"));
	json_free(j);
	j = parse("{\"id\":\"file-1\",\"deleted\":true}");
	assert_null(api_json_deleted(j, "file-1"));
	assert_non_null(api_json_deleted(j, "file-2"));
	json_free(j);
	j = parse("{\"id\":\"file-1\",\"deleted\":\"true\"}");
	assert_non_null(api_json_deleted(j, "file-1"));
	json_free(j);
	assert_non_null(api_json_deleted(NULL, "file-1"));
}

/* As api_json_page(), of a copy without a NUL behind it; NULL or what is wrong. */
static const char *read_page(const char *text, const char *after, struct api_file_page *ret)
{
	size_t len = strlen(text);
	char *exact = malloc(len ? len : 1);
	const char *why;

	assert_non_null(exact);
	memcpy(exact, text, len);
	why = api_json_page(exact, len, after, ret);
	free(exact);
	return why;
}

static void page_release(struct api_file_page *page)
{
	free(page->files);
	free(page->text);
	memset(page, 0, sizeof(*page));
}

static void test_page(void **state)
{
	static const char more[] =
		"{\"data\":[" FILE_JSON ",{\"id\":\"file-2\",\"filename\":\"x\",\"purpose\":\"p\","
		"\"bytes\":1,\"created_at\":1,\"status\":\"deleted\"},{\"id\":\"file-9\","
		"\"status\":\"deleting\"}],\"has_more\":true}";
	struct api_file_page page = { .last_id = "untouched" };

	(void)state;
	assert_null(read_page("{\"object\":\"list\",\"data\":[" FILE_JSON
			      ",{\"id\":\"\"},7," FILE_JSON
			      "],\"first_id\":\"file-1\",\"last_id\":\"file-9\",\"has_more\":true}",
			      "file-0", &page));
	assert_int_equal(page.count, 2);
	assert_int_equal(page.skipped, 2);
	assert_true(page.has_more);
	assert_string_equal(page.last_id, "file-9");
	assert_string_equal(page.files[1].filename, "a/b.jsonl");
	page_release(&page);
	/* What was deleted may be listed for a while. */
	assert_null(read_page(more, "file-0", &page));
	assert_int_equal(page.count, 1);
	assert_int_equal(page.skipped, 0);
	assert_string_equal(page.last_id, "file-9");
	page_release(&page);
	/* The same place again would be read for ever: it is the last page. */
	assert_null(read_page(more, "file-9", &page));
	assert_true(page.stuck && !page.has_more);
	assert_int_equal(page.count, 1);
	page_release(&page);
	assert_null(read_page("{\"data\":[" FILE_JSON "],\"has_more\":true}", "", &page));
	assert_string_equal(page.last_id, "file-1");
	page_release(&page);
	assert_null(read_page("{\"data\":[]}", "", &page));
	assert_int_equal(page.count, 0);
	assert_false(page.has_more);
	assert_string_equal(page.last_id, "");
	page_release(&page);
	assert_null(read_page("{\"data\":[],\"has_more\":true,\"last_id\":\"..\"}", "", &page));
	assert_true(page.stuck && !page.has_more);
	page_release(&page);
	/* An entry shows with what is known of it, and is skipped without an id. */
	assert_null(read_page("{\"data\":[{\"id\":\"a/b\",\"bytes\":\"x\"},{\"filename\":\"y\"}]}",
			      "", &page));
	assert_int_equal(page.count, 1);
	assert_int_equal(page.skipped, 1);
	assert_true(page.files[0].filename_unknown && page.files[0].bytes_unknown);
	assert_string_equal(page.files[0].purpose, API_PURPOSE_UNKNOWN);
	page_release(&page);
	assert_string_equal(read_page("{\"data\":{}}", "", &page), "the list has no data");
	assert_string_equal(read_page("{}", "", &page), "the list has no data");
	assert_string_equal(read_page("[]", "", &page), "the list has no data");
	assert_string_equal(read_page("{\"data\":[]", "", &page), "it is not JSON");
	assert_string_equal(read_page("{\"data\":[]}}", "", &page), "it is not JSON");
	assert_string_equal(read_page("", "", &page), "it is not JSON");
}

/* Members that are there twice, are called by escapes, or are of another type than they should. */
static void test_page_odd(void **state)
{
	struct api_file_page page;

	(void)state;
	assert_null(read_page(
		"{ \"x\" : [ { \"data\" : [ 1 ] } ] , \"d\\u0061ta\" : [ { "
		"\"\\u0069d\":\"f\\u0031\",\"id\":\"f2\",\"filename\":\"a\\u0000\\/\\ud83d"
		"\",\"filename\":7,\"purpose\":\"p\",\"created_at\":1.5e3,\"bytes\":2e0,"
		"\"status\":[\"deleted\"],\"expires_at\":null } ] , \"data\":[],"
		"\"last_id\":5,\"last_id\":\"f9\",\"has_more\":1,\"has_more\":true}",
		"", &page));
	assert_int_equal(page.count, 1);
	assert_int_equal(page.skipped, 0);
	assert_false(page.has_more);
	assert_string_equal(page.last_id, "f1");
	assert_string_equal(page.files[0].id, "f1");
	assert_string_equal(page.files[0].filename, "a\xc0\x80/\xed\xa0\xbd");
	assert_true(page.files[0].created_at == 1500 && page.files[0].bytes == 2);
	assert_true(page.files[0].expires_at == 0 && !page.files[0].bytes_unknown);
	page_release(&page);
	/* An id of which each character is escaped is none the worse; one that is too long is. */
	assert_null(read_page("{\"data\":[],\"has_more\":true,\"last_id\":\"\\u0066\\u0031\"}",
			      "f2", &page));
	assert_string_equal(page.last_id, "f1");
	page_release(&page);
	assert_null(read_page("{\"data\":[],\"has_more\":true,\"last_id\":\"\\u0066\\u0031\"}",
			      "f1", &page));
	assert_true(page.stuck);
	page_release(&page);
	/* A count that is null or missing is unknown; 0 is known. */
	assert_null(
		read_page("{\"data\":["
			  "{\"id\":\"a\",\"filename\":\"x\",\"purpose\":\"p\",\"created_at\":1},"
			  "{\"id\":\"b\",\"filename\":\"x\",\"purpose\":\"p\",\"created_at\":1,"
			  "\"bytes\":null},"
			  "{\"id\":\"c\",\"filename\":\"x\",\"purpose\":\"p\",\"created_at\":1,"
			  "\"bytes\":0}]}",
			  "", &page));
	assert_int_equal(page.count, 3);
	assert_true(page.files[0].bytes_unknown && page.files[0].bytes == 0);
	assert_true(page.files[1].bytes_unknown && !page.files[2].bytes_unknown);
	page_release(&page);
	/* The first is what counts, also where it is no list. */
	assert_non_null(read_page("{\"data\":0,\"data\":[]}", "", &page));
}

static void check_error(const char *body, const char *code, const char *type, const char *message)
{
	struct api_error err = { .kind = API_ERR_HTTP };

	api_json_error(body, strlen(body), &err);
	assert_string_equal(err.code, code);
	assert_string_equal(err.type, type);
	assert_string_equal(err.message, message);
}

static void test_errors(void **state)
{
	(void)state;
	log_secret("key-to-hide-1");
	check_error("{\"error\":{\"message\":\"Bad\\nthing\",\"type\":\"invalid_request_error\","
		    "\"param\":null,\"code\":null}}",
		    "", "invalid_request_error", "Bad thing");
	check_error("{\"error\":{\"message\":\"m\",\"code\":\"c\",\"type\":\"t\",\"more\":[1]}}",
		    "c", "t", "m");
	check_error("{\"error\":{\"message\":\"m\",\"code\":404}}", "404", "", "m");
	check_error("{\"error\":\"all of it\"}", "", "", "all of it");
	check_error("{\"message\":\"flat\"}", "", "", "flat");
	check_error("{\"detail\":\"Not Found\"}", "", "", "Not Found");
	check_error("{\"error\":{\"code\":\"c\"}}", "c", "", "the reply says no more");
	check_error("{\"error\":{\"message\":\"key-to-hide-1 and sk-abc\\u001b[2J\"}}", "", "",
		    "[redacted] and [redacted]\\x1b[2J");
	/* An escape must not put together what the server took apart. */
	log_secret("feedfacefeedface");
	check_error("{\"error\":{\"message\":\"a\\u000feedfacefeedface b\"}}", "", "",
		    "a\\x0[redacted] b");
	check_error("", "", "", "the reply says no more");
	check_error("\r\n\r\n", "", "", "the reply says no more");
	check_error("upstream connect error\r\nmore", "", "", "upstream connect error");
	check_error("<html>\r\n<head><title>502 Bad Gateway</title></head>", "", "",
		    "502 Bad Gateway");
	check_error("<p>\x01 nothing", "", "", "\\x01 nothing");
	check_error("[1]", "", "", "[1]");
}

/* What servers beside OpenAI's and what stands before them send. */
static void test_other_errors(void **state)
{
	(void)state;
	check_error("{\"error\":{\"code\":\"401\",\"message\":\"Access denied\"}}", "401", "",
		    "Access denied");
	check_error("{\"error\":{\"code\":\"conflict\",\"message\":\"m\",\"innererror\":{}}}",
		    "conflict", "", "m");
	check_error("[{\"error\":{\"code\":400,\"message\":\"in a list\"}}]", "400", "",
		    "in a list");
	check_error("{\"error\":[\"first\",\"second\"]}", "", "", "first");
	check_error("{\"error\":[{\"message\":\"m\",\"code\":\"c\"}]}", "c", "", "m");
	check_error("{\"errors\":[{\"code\":7003,\"message\":\"No route\"}]}", "7003", "",
		    "No route");
	check_error("{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\","
		    "\"type\":\"missing\"}]}",
		    "", "missing", "field required");
	check_error("{\"message\":[\"bytes must be a number\"],\"error\":\"Bad Request\"}", "", "",
		    "bytes must be a number");
	check_error("{\"error\":\"not_found\",\"message\":\"It is not there\"}", "", "",
		    "It is not there");
	check_error("[\"only words\"]", "", "", "only words");
	check_error("{\"error\":null,\"message\":\"m\"}", "", "", "m");
	check_error("{\"error\":[]}", "", "", "{\"error\":[]}");
	check_error("[[[]]]", "", "", "[[[]]]");
	check_error("<!DOCTYPE html>\n<html><body>\n<h1 class='x'>\nToo much</h1>", "", "",
		    "Too much");
	check_error("<?xml version='1.0'?>\n<Error><Code>C</Code><Message>No such thing</Message>",
		    "", "", "No such thing");
	check_error("<pre>Cannot POST</pre>", "", "", "<pre>Cannot POST</pre>");
	check_error("<title>", "", "", "<title>");
	check_error("<html><title></title><h1>404</h1>", "", "", "404");
}

/* A message that is cut is cut between characters, and never shows half a key. */
static void test_long_errors(void **state)
{
	char body[2048];
	struct api_error err;
	size_t pad;

	(void)state;
	log_secret("key-to-hide-1");
	for (pad = 490; pad < 515; pad++) {
		snprintf(body, sizeof(body), "{\"error\":\"%0*d\xf0\x9f\x98\x80 key-to-hide-1\"}",
			 (int)pad, 0);
		memset(&err, 0, sizeof(err));
		api_json_error(body, strlen(body), &err);
		assert_null(strstr(err.message, "key-to"));
		assert_true(strlen(err.message) < sizeof(err.message));
		assert_true(strlen(err.message) == pad || strlen(err.message) >= pad + 4 ||
			    strlen(err.message) >= sizeof(err.message) - 5);
		assert_true((unsigned char)err.message[strlen(err.message) - 1] < 0xc0);
	}
	/* The same where the body is no JSON, whose text is cut at 300 bytes. */
	for (pad = 270; pad < 305; pad++) {
		snprintf(body, sizeof(body), "%0*d key-to-hide-1 more", (int)pad, 0);
		api_json_error(body, strlen(body), &err);
		assert_null(strstr(err.message, "key-to"));
		assert_true(strlen(err.message) <= 300 && strlen(err.message) >= 270);
	}
	memset(body, 'x', sizeof(body) - 1);
	body[sizeof(body) - 1] = '\0';
	api_json_error(body, strlen(body), &err);
	assert_int_equal(strlen(err.message), 300);
}

/* Every single-byte change of a page: no crash, no bad id or purpose gets through. */
static void test_mutations(void **state)
{
	static const char doc[] =
		"{\"data\":[" FILE_JSON "],\"last_id\":\"file-1\",\"has_more\":true}";
	struct api_file_page page;
	struct api_error err;
	unsigned c, taken = 0;
	char *copy = malloc(sizeof(doc) - 1);
	size_t i, len = sizeof(doc) - 1;

	(void)state;
	assert_non_null(copy);
	for (i = 0; i < len; i++) {
		for (c = 0; c < 256; c += 3) {
			memcpy(copy, doc, len);
			copy[i] = (char)c;
			memset(&err, 0, sizeof(err));
			api_json_error(copy, len, &err);
			assert_true(err.message[0]);
			if (api_json_page(copy, len, "", &page))
				continue;
			assert_true(page.count + page.skipped == 1);
			assert_true(!page.count ||
				    (api_id_valid(page.files[0].id) && page.files[0].purpose[0]));
			assert_true(!*page.last_id || api_id_valid(page.last_id));
			page_release(&page);
			taken++;
		}
	}
	free(copy);
	assert_true(taken > len);
}

static void test_ids_and_types(void **state)
{
	char id[API_ID_MAX + 2];

	(void)state;
	assert_true(api_id_valid("file-abc_DEF.123"));
	assert_false(api_id_valid(NULL));
	assert_false(api_id_valid(""));
	assert_false(api_id_valid("."));
	assert_false(api_id_valid(".."));
	assert_true(api_id_valid(".a"));
	assert_true(api_id_valid("a/b"));
	assert_true(api_id_valid("a b:?#\xc3\xa4\xff\n"));
	assert_true(api_word_valid("2024-10-21.x_Y"));
	assert_false(api_word_valid(".a"));
	assert_false(api_word_valid("a/b"));
	assert_false(api_word_valid(""));
	memset(id, 'a', sizeof(id));
	id[API_ID_MAX] = '\0';
	assert_true(api_id_valid(id));
	id[API_ID_MAX] = 'a';
	id[API_ID_MAX + 1] = '\0';
	assert_false(api_id_valid(id));
	assert_string_equal(api_mime_type("train.jsonl"), "text/jsonl");
	assert_string_equal(api_mime_type("a.b/C.PDF"), "application/pdf");
	assert_string_equal(api_mime_type("a.pdf/noext"), "application/octet-stream");
	assert_string_equal(api_mime_type(""), "application/octet-stream");
	assert_string_equal(api_mime_type("x."), "application/octet-stream");
}

static void test_error_text(void **state)
{
	struct api_error err = {
		.kind = API_ERR_HTTP,
		.http_status = 429,
		.attempts = 3,
		.code = "rate_limit_exceeded",
		.message = "text",
		.request_id = "req_1",
	};
	char text[128], tiny[9] = "xxxxxxxx";

	(void)state;
	api_error_text(&err, text, sizeof(text));
	assert_string_equal(text,
			    "HTTP 429 rate_limit_exceeded: text (request req_1) (tried 3 times)");
	api_error_text(&err, tiny, sizeof(tiny));
	assert_string_equal(tiny, "HTTP 429");
	api_error_text(&err, tiny, 0);
	err = (struct api_error){ .kind = API_ERR_LOCAL, .local_errno = -28, .attempts = 1 };
	api_error_text(&err, text, sizeof(text));
	assert_string_equal(text, "local error: No space left on device");
	err = (struct api_error){ .kind = API_ERR_LOCAL, .local_errno = -99999 };
	api_error_text(&err, text, sizeof(text));
	assert_string_equal(text, "local error: errno 99999");
	err = (struct api_error){ .kind = API_ERR_CANCELLED, .attempts = 1 };
	api_error_text(&err, text, sizeof(text));
	assert_string_equal(text, "cancelled");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),      cmocka_unit_test(test_upload),
		cmocka_unit_test(test_bad_uploads),   cmocka_unit_test(test_odd_uploads),
		cmocka_unit_test(test_numbers),	      cmocka_unit_test(test_file_error),
		cmocka_unit_test(test_file),	      cmocka_unit_test(test_part_and_delete),
		cmocka_unit_test(test_page),	      cmocka_unit_test(test_page_odd),
		cmocka_unit_test(test_errors),	      cmocka_unit_test(test_other_errors),
		cmocka_unit_test(test_long_errors),   cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_ids_and_types), cmocka_unit_test(test_error_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
