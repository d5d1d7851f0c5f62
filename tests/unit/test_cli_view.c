/* cli_view: the screens, as they look; hostile names; rates. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/cli/cli.h"
#include "fs/cli/mount.h"
#include "fs/cli/view.h"
#include "fs/cli/columns.h"
#include "net/base/json.h"

#define HEAD                                                                                   \
	"{\"mountpoint\":\"/mnt/openai\",\"service_url\":\"https://api.openai.com/v1\","       \
	"\"time\":1000,\"totals\":{\"publishing\":1,\"streaming\":1,\"writing\":1,\"held\":1," \
	"\"failed\":1,\"aborted\":1,\"empty\":0,\"completed\":12,"                             \
	"\"completed_bytes\":3650722201},\"files_omitted\":0,\"files\":["

#define MOVING(path, status, sent, rate)                                                     \
	"{\"path\":\"" path "\",\"status\":\"" status "\",\"size\":2097152,\"upload_size\":" \
	"4194304,\"upload_id\":\"upload_1\",\"sent\":" sent ",\"rate\":" rate                \
	",\"parts_done\":1,\"parts_total\":4,\"error\":null,\"next_try\":null}"

#define RESTING(path, status, error, next)                                                    \
	"{\"path\":\"" path "\",\"status\":\"" status "\",\"size\":100,\"upload_size\":null," \
	"\"upload_id\":null,\"sent\":0,\"rate\":0,\"parts_done\":0,\"parts_total\":0,"        \
	"\"error\":" error ",\"next_try\":" next "}"

/* clang-format off */
static const char all[] =
	HEAD MOVING("batch/going.jsonl", "publishing", "1048576", "1048576") ","
	MOVING("batch/streaming.bin", "streaming", "0", "0") ","
	RESTING("batch/open", "writing", "null", "null") ","
	RESTING("batch/.h.AbC123", "held", "null", "null") ","
	RESTING("user_data/bad.json", "failed", "\"HTTP 400 bad\"", "1027") ","
	RESTING("batch/killed", "aborted", "null", "null") "]}";
/* clang-format on */

static struct json *parse(const char *text)
{
	struct json *doc = NULL;

	assert_int_equal(json_parse(text, strlen(text), &doc), 0);
	return doc;
}

static const struct cli_screen plain = { 100, 40, false };

static void check(struct buf *b, const char *want)
{
	assert_int_equal(b->err, 0);
	assert_string_equal(buf_str(b), want);
	buf_release(b);
}

static void test_table(void **state)
{
	struct json *doc = parse(all);
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	assert_int_equal(cli_view_table(doc, NULL, &plain, &b), 9);
	check(&b,
	      "/mnt/openai  https://api.openai.com/v1\n"
	      "1 publishing, 2 being written, 1 held, 1 failed, 1 aborted; 12 published (3.4 GiB)\n"
	      "batch/going.jsonl                        [#####-------------"
	      "--]  25%     1.0 MiB/s     0:03      1/4\n"
	      "batch/streaming.bin                      [------------------"
	      "--]   0%         0 B/s     -:--      1/4\n"
	      "batch/open                               writing, 100 B\n"
	      "batch/.h.AbC123                   held: waits for its rename\n"
	      "user_data/bad.json                failed: HTTP 400 bad; next try in 27 s\n"
	      "batch/killed                      aborted: not closed by its writer; write it "
	      "again, remove it, or\n"
	      "                                  set user.upload.publish to 1\n");
	json_free(doc);
}

static void test_plain(void **state)
{
	struct json *doc = parse(all);
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	cli_view_plain(doc, NULL, &b);
	check(&b, "publishing   25%  1.0 MiB of 4.0 MiB  parts 1/4  1.0 MiB/s  0:03 left  "
		  "batch/going.jsonl\n"
		  "streaming     0%  0 B of 4.0 MiB  parts 1/4  0 B/s  -:-- left  "
		  "batch/streaming.bin\n"
		  "writing          100 B  batch/open\n"
		  "held             100 B  batch/.h.AbC123: waits for its rename\n"
		  "failed           100 B  user_data/bad.json: HTTP 400 bad; next try in 27 s\n"
		  "aborted          100 B  batch/killed: not closed by its writer; write it again, "
		  "remove it, or set user.upload.publish to 1\n"
		  "1 publishing, 2 being written, 1 held, 1 failed, 1 aborted; 12 published (3.4 "
		  "GiB)\n");
	json_free(doc);
}

/* Colours for what is done and what is wrong; no line leaves one behind. */
static void test_colours(void **state)
{
	const struct cli_screen screen = { 100, 40, true };
	struct json *doc = parse(all);
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	cli_view_table(doc, NULL, &screen, &b);
	assert_non_null(strstr(buf_str(&b), "[\033[32m#####\033[0m---------------]  25%"));
	assert_non_null(strstr(buf_str(&b), " \033[36mheld\033[0m: waits for its rename\n"));
	assert_non_null(strstr(buf_str(&b), " \033[31mfailed\033[0m: HTTP 400 bad; next try"));
	assert_non_null(strstr(buf_str(&b), " \033[33maborted\033[0m: not closed by its writer; "
					    "write it again, remove it, or\n"));
	buf_release(&b);
	json_free(doc);
}

#define WIDE "\u5831\u544a\u66f8" /* three characters, six columns */

/* clang-format off */
static const char wide[] =
	HEAD MOVING("batch/" WIDE WIDE WIDE WIDE "2026" WIDE WIDE ".jsonl", "publishing", "1048576",
		    "1048576") ","
	MOVING("batch/e\u0301\u0301\u0301" WIDE WIDE WIDE "\U0001f600", "streaming", "0", "0") ","
	RESTING("batch/" WIDE WIDE, "writing", "null", "null") ","
	RESTING(WIDE "/" WIDE WIDE WIDE WIDE, "failed", "\"HTTP 400 " WIDE WIDE " " WIDE "\"",
		"1027") ","
	RESTING("batch/" WIDE, "aborted", "null", "null") "]}";
/* clang-format on */

static unsigned lines_within(const char *text, unsigned columns)
{
	unsigned lines = 0;

	for (size_t n; *text; text += n + 1, lines++) {
		char line[1024];

		n = strcspn(text, "\n");
		assert_true(n < sizeof(line));
		memcpy(line, text, n);
		line[n] = '\0';
		assert_true(columns_of(line) <= columns);
	}
	return lines;
}

/* No line is wider than the terminal, and there are no more than it has. */
static void test_sizes(void **state)
{
	static const char *const texts[] = { all, wide };

	(void)state;
	for (unsigned at = 0; at < 2 * 200 * 7; at++) {
		const struct cli_screen screen = { 1 + at / 2 % 200, 5 + at / 400, false };
		struct json *doc = parse(texts[at % 2]);
		unsigned lines;
		struct buf b;

		buf_init(&b, 1 << 20);
		lines = cli_view_table(doc, NULL, &screen, &b);
		assert_true(lines <= screen.rows);
		assert_int_equal(lines_within(buf_str(&b), screen.columns), lines);
		buf_release(&b);
		json_free(doc);
	}
}

/* Rows of wide characters stand below each other; what is little is cut from the name. */
static void test_wide(void **state)
{
	const struct cli_screen eighty = { 79, 24, false }, forty = { 39, 24, false };
	struct json *doc = parse(wide);
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	cli_view_table(doc, NULL, &eighty, &b);
	assert_non_null(strstr(buf_str(&b), "\n.."
					    "2026" WIDE WIDE ".jsonl [###------------]"));
	assert_non_null(strstr(buf_str(&b), "\n../e\u0301\u0301\u0301" WIDE WIDE WIDE
					    "\U0001f600 [---------------]   0%"));
	assert_non_null(strstr(buf_str(&b), "\nbatch/" WIDE WIDE "       writing, 100 B\n"));
	buf_reset(&b);
	cli_view_table(doc, NULL, &forty, &b);
	assert_non_null(strstr(buf_str(&b), "\n.." WIDE ".jsonl  [#------]  25%     0:03\n"));
	assert_non_null(strstr(buf_str(&b), "\nbatch/" WIDE "  aborted: not closed by\n"
					    "              its writer; write it\n"));
	buf_release(&b);
	json_free(doc);
}

static void test_columns(void **state)
{
	static const char text[] = "a" WIDE "e\u0301\u0301"
				   "b";

	(void)state;
	assert_int_equal(columns_of(""), 0);
	assert_int_equal(columns_of("abc"), 3);
	assert_int_equal(columns_of(text), 1 + 6 + 1 + 1);
	assert_int_equal(columns_of("\xff\xe5\xa0x"), 4);
	assert_string_equal(columns_cut(text, 99), "");
	/* A wide one does not stand in half of its place. */
	assert_string_equal(columns_cut(text, 2), WIDE "e\u0301\u0301"
						       "b");
	assert_string_equal(columns_cut(text, 3), "\u544a\u66f8"
						  "e\u0301\u0301"
						  "b");
	/* What combines goes with its character. */
	assert_string_equal(columns_cut(text, 8), "b");
	assert_string_equal(columns_tail(text, 9), text);
	assert_string_equal(columns_tail(text, 8), WIDE "e\u0301\u0301"
							"b");
	assert_string_equal(columns_tail(text, 7), "\u544a\u66f8"
						   "e\u0301\u0301"
						   "b");
	assert_string_equal(columns_tail(text, 3), "e\u0301\u0301"
						   "b");
	assert_string_equal(columns_tail(text, 1), "b");
	assert_string_equal(columns_tail(text, 0), "");
}

/* What a name or an error holds is shown, not obeyed by the terminal. */
static void test_hostile(void **state)
{
	struct json *doc =
		parse(HEAD MOVING("a\\u001b[2Jb\\n\\u009bc", "publishing", "0", "0") "," RESTING(
			"x\\u0007", "failed", "\"\\u001b]0;title\\u0007\"", "null") "]}");
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	cli_view_plain(doc, NULL, &b);
	cli_view_table(doc, NULL, &plain, &b);
	for (size_t i = 0; i < b.len; i++)
		assert_true((unsigned char)b.data[i] >= ' ' || b.data[i] == '\n');
	assert_null(strstr(b.data, "\xc2\x9b"));
	assert_non_null(strstr(b.data, "a?[2Jb??c"));
	buf_release(&b);
	json_free(doc);
}

/* The rate is that of the last moments; a file that is sent anew starts anew. */
static void test_rates(void **state)
{
	struct cli_rates *r = cli_rates_new();
	struct json *at0 = parse(HEAD MOVING("f", "publishing", "0", "7") "]}");
	struct json *at2 = parse(HEAD MOVING("f", "publishing", "2097152", "7") "]}");
	struct json *none = parse(HEAD "]}");
	struct buf b;

	(void)state;
	assert_non_null(r);
	buf_init(&b, 1 << 20);
	cli_rates_look(r, at0, 1000);
	cli_view_plain(at0, r, &b);
	assert_non_null(strstr(buf_str(&b), " 7 B/s"));
	cli_rates_look(r, at2, 3000);
	buf_reset(&b);
	cli_view_plain(at2, r, &b);
	assert_non_null(strstr(buf_str(&b), " 50%  2.0 MiB of 4.0 MiB"));
	assert_non_null(strstr(buf_str(&b), " 1.0 MiB/s  0:02 left"));
	cli_rates_look(r, at0, 4000);
	buf_reset(&b);
	cli_view_plain(at0, r, &b);
	assert_non_null(strstr(buf_str(&b), " 7 B/s"));
	cli_rates_look(r, none, 5000);
	cli_rates_look(r, at2, 6000);
	buf_reset(&b);
	cli_view_plain(at2, r, &b);
	assert_non_null(strstr(buf_str(&b), " 7 B/s"));
	buf_release(&b);
	json_free(at0);
	json_free(at2);
	json_free(none);
	cli_rates_free(r);
	cli_rates_free(NULL);
}

static void test_sizes_in_words(void **state)
{
	(void)state;
	assert_string_equal(cli_size(0), "0 B");
	assert_string_equal(cli_size(1023), "1023 B");
	assert_string_equal(cli_size(1024), "1.0 KiB");
	assert_string_equal(cli_size(1048575), "1.0 MiB");
	assert_string_equal(cli_size(UINT64_MAX), "16.0 EiB");
}

/* A status of another format is refused, and nothing of it is handed out. */
static void test_other_format(void **state)
{
	char top[] = "/tmp/view-XXXXXX", dir[64], path[80];
	struct json *doc = NULL;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/.uploadfs", top);
	snprintf(path, sizeof(path), "%s/status", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	for (int format = 1; format <= 2; format++) {
		f = fopen(path, "w");
		assert_non_null(f);
		fprintf(f, "{\"format\":%d}", format);
		assert_int_equal(fclose(f), 0);
		assert_int_equal(cli_read_status(top, 30, &doc, NULL), format == 1 ? 0 : -EBADMSG);
		assert_int_equal(doc != NULL, format == 1);
		json_free(doc);
		doc = NULL;
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	       cmocka_unit_test(test_plain),
		cmocka_unit_test(test_colours),	       cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_hostile),	       cmocka_unit_test(test_rates),
		cmocka_unit_test(test_sizes_in_words), cmocka_unit_test(test_wide),
		cmocka_unit_test(test_columns),	       cmocka_unit_test(test_other_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
