/* log: no secret and no forged line leaves it. */
#include <errno.h>
#include <fcntl.h>
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

#include "net/base/json.h"
#include "net/base/log.h"

static char path[64];

static int setup(void **state)
{
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_log.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	unlink(path);
	return log_to_file(path);
}

static int teardown(void **state)
{
	(void)state;
	log_to_stderr();
	log_set_level(LOG_LVL_INFO);
	return unlink(path);
}

/* What the log file holds now; the caller frees it. */
static char *slurp(void)
{
	char *text = calloc(1, 1 << 16);
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_non_null(text);
	assert_true(fd >= 0);
	n = read(fd, text, (1 << 16) - 1);
	assert_true(n >= 0);
	close(fd);
	return text;
}

static unsigned count_lines(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void check_redact(const char *src, const char *want)
{
	char out[256];

	log_redact(out, sizeof(out), src);
	assert_string_equal(out, want);
}

static void test_redact(void **state)
{
	char small[8];

	(void)state;
	log_secret(NULL);
	log_secret("abc");
	log_secret("hunter2-key");
	check_redact("abc is too short", "abc is too short");
	check_redact("key=hunter2-key.", "key=[redacted].");
	check_redact("xhunter2-keyhunter2-key", "x[redacted][redacted]");
	check_redact("hunter2-keysk-Ab12****xyz", "[redacted][redacted]");
	check_redact("Authorization: Bearer a.b-c", "Authorization: Bearer [redacted]");
	check_redact("authorization: bearer a.b-c d", "authorization: bearer [redacted] d");
	check_redact("provided: sk-proj-Ab12****xyz, see", "provided: [redacted], see");
	check_redact("the task-list and disk-x", "the task-list and disk-x");
	check_redact("Bearer ", "Bearer ");
	check_redact("sk-", "sk-");
	log_redact(small, sizeof(small), "hunter2-key");
	assert_string_equal(small, "[redact");
	small[0] = 'x';
	log_redact(small, 0, "y");
	assert_int_equal(small[0], 'x');
}

static void test_many_secrets(void **state)
{
	char secret[32];
	unsigned i;

	(void)state;
	for (i = 0; i < 9; i++) {
		snprintf(secret, sizeof(secret), "secret-number-%u", i);
		log_secret(secret);
	}
	/* A key that is replaced again and again: the newest are known. */
	for (i = 1; i < 9; i++) {
		snprintf(secret, sizeof(secret), "secret-number-%u", i);
		check_redact(secret, "[redacted]");
	}
	log_secret("secret-number");
	check_redact("secret-number-8", "[redacted]");
}

static void test_line(void **state)
{
	struct stat st;
	char *text;

	(void)state;
	log_secret("hunter2-key");
	log_secret("facade-key");
	/* The end of an escape and what follows it must not be a secret either. */
	log_error("a\nb\r\x1b[2J\x7f\xc2\x9b hunter2-key %s \x0f%s", "\xc3\xa4", "acade-key");
	log_debug("not at this level");
	log_set_level(LOG_LVL_DEBUG);
	assert_int_equal(log_get_level(), LOG_LVL_DEBUG);
	log_debug("second");
	text = slurp();
	assert_int_equal(count_lines(text), 2);
	assert_non_null(strstr(
		text,
		"error: a\\x0ab\\x0d\\x1b[2J\\x7f\\xc2\\x9b [redacted] \xc3\xa4 \\x0[redacted]\n"));
	assert_non_null(strstr(text, "debug: second\n"));
	assert_null(strstr(text, "hunter2"));
	assert_null(strstr(text, "not at this level"));
	free(text);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_long_line(void **state)
{
	char *big = malloc(20001), *text;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', 20000);
	memcpy(big + 19980, "hunter2-key", 11);
	big[20000] = '\0';
	log_secret("hunter2-key");
	log_info("%s", big);
	text = slurp();
	assert_int_equal(count_lines(text), 1);
	assert_null(strstr(text, "hunter"));
	assert_non_null(strstr(text, "x[redacted]x"));
	free(text);
	free(big);
}

static void test_bad_file(void **state)
{
	char *text;

	(void)state;
	assert_true(log_to_file("/nonexistent/dir/log") < 0);
	log_warn("still here");
	text = slurp();
	assert_non_null(strstr(text, "warning: still here\n"));
	free(text);
}

/* One object a line, with the fields; no secret and no broken JSON in any of them. */
static void test_json(void **state)
{
	const struct log_field fields[] = {
		{ "event", "x", 0 },
		{ "path", "a \"b\\\n\xff hunter2-key", 0 },
		{ "bytes", NULL, 12 },
	};
	struct json *doc = NULL;
	uint64_t n = 0;
	char *text;

	(void)state;
	log_secret("hunter2-key");
	log_set_json(true);
	log_event(LOG_LVL_WARN, fields, 3, "said \"%s\"", "hunter2-key\n");
	log_event(LOG_LVL_DEBUG, fields, 3, "not at this level");
	text = slurp();
	assert_int_equal(count_lines(text), 1);
	assert_int_equal(json_parse(text, strlen(text), &doc), 0);
	assert_string_equal(json_get_str(doc, "level"), "warning");
	assert_string_equal(json_get_str(doc, "message"), "said \"[redacted]\\x0a\"");
	assert_string_equal(json_get_str(doc, "event"), "x");
	assert_string_equal(json_get_str(doc, "path"), "a \"b\\\\x0a\xef\xbf\xbd [redacted]");
	assert_int_equal(json_u64(json_get(doc, "bytes"), &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(strlen(json_get_str(doc, "time")), strlen("2026-01-01T00:00:00Z"));
	json_free(doc);
	free(text);
	log_set_json(false);
	log_event(LOG_LVL_WARN, fields, 3, "plain");
	text = slurp();
	assert_non_null(strstr(text, "warning: plain\n"));
	free(text);
}

/* What was renamed is left alone; what can't be opened again goes on where it was. */
static void test_reopen(void **state)
{
	char old[80], *text;

	(void)state;
	snprintf(old, sizeof(old), "%s.1", path);
	log_info("first");
	assert_int_equal(rename(path, old), 0);
	log_info("second");
	assert_int_equal(log_reopen(), 0);
	log_info("third");
	text = slurp();
	assert_int_equal(count_lines(text), 1);
	assert_non_null(strstr(text, "third"));
	free(text);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(log_reopen(), -EISDIR);
	log_info("fourth");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(old, path), 0);
	text = slurp();
	assert_int_equal(count_lines(text), 2);
	free(text);
	log_to_stderr();
	assert_int_equal(log_reopen(), 0);
}

/* What another user may have put in the file's place: refused at once, and on SIGHUP, too. */
static void refused(const char *name, int rc)
{
	assert_int_equal(log_to_file(name), rc);
	assert_int_equal(rename(name, path), 0);
	assert_int_equal(log_reopen(), rc);
	assert_int_equal(unlink(path), 0);
}

static void test_not_a_file(void **state)
{
	char name[80], victim[80];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "%s.x", path);
	snprintf(victim, sizeof(victim), "%s.victim", path);
	fd = open(victim, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mkfifo(name, 0600), 0);
	refused(name, -EPERM);
	assert_int_equal(log_to_file(path), 0);
	assert_int_equal(symlink(victim, name), 0);
	refused(name, -ELOOP);
	assert_int_equal(log_to_file(path), 0);
	/* Another name of a file of ours: only where others can make one. */
	assert_int_equal(link(victim, name), 0);
	refused(name, -EPERM);
	assert_int_equal(log_to_file(path), 0);
	assert_int_equal(unlink(victim), 0);
}

/* The directory: who else could rename what is in it? */
static void test_directory(void **state)
{
	char dir[80], name[96];

	(void)state;
	snprintf(dir, sizeof(dir), "%s.d", path);
	snprintf(name, sizeof(name), "%s/log", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(log_to_file(name), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(log_to_file(name), -EPERM);
	assert_int_equal(chmod(dir, 01777), 0);
	assert_int_equal(log_to_file(name), 0);
	assert_int_equal(chmod(dir, 0770), 0);
	assert_int_equal(log_to_file(name), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(name, 65534, 65534), 0);
		assert_int_equal(log_to_file(name), -EPERM);
		assert_int_equal(chmod(dir, 0700), 0);
		assert_int_equal(log_to_file(name), 0);
		assert_int_equal(chown(dir, 65534, 65534), 0);
		assert_int_equal(log_to_file(name), -EPERM);
	}
	assert_int_equal(unlink(name), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(log_to_file(path), 0);
	assert_int_equal(log_to_file("/dev/null"), 0);
}

static void test_always(void **state)
{
	char *text;

	(void)state;
	log_set_level(LOG_LVL_ERROR);
	log_info("not at this level");
	log_always("asked for %d", 1);
	text = slurp();
	assert_int_equal(count_lines(text), 1);
	assert_non_null(strstr(text, "info: asked for 1\n"));
	free(text);
}

int main(void)
{
	alarm(60); /* should an open wait */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_redact),
		cmocka_unit_test(test_many_secrets),
		cmocka_unit_test_setup_teardown(test_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_always, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
