/* opts_config: files of options, what goes before what, and what is refused. */
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

#include "fs/config/opts.h"

static char dir[64], mnt[80], users[96], other[96], err_path[96], err_text[4096];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_opts_config.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(mnt, sizeof(mnt), "%s/mnt", dir);
	snprintf(users, sizeof(users), "%s/uploadfs.conf", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	snprintf(err_path, sizeof(err_path), "%s/err", dir);
	assert_int_equal(mkdir(mnt, 0700), 0);
	setenv("XDG_CONFIG_HOME", dir, 1);
	setenv("OPENAI_API_KEY", "sk-0123456789", 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(users);
	unlink(other);
	unlink(err_path);
	assert_int_equal(rmdir(mnt), 0);
	return rmdir(dir);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(chmod(path, 0644), 0);
}

/* uploadfs MNT -o words; what is printed to stderr in err_text */
static enum opts_result parse(const char *words, struct opts *ret)
{
	char *argv[] = { (char[]){ "uploadfs" }, mnt, (char[]){ "-o" }, strdup(words), NULL };
	int saved = fcntl(2, F_DUPFD_CLOEXEC, 10), fd;
	enum opts_result r;
	ssize_t n;

	fflush(stderr);
	fd = open(err_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(saved >= 0 && fd >= 0);
	dup2(fd, 2);
	r = opts_parse(4, argv, ret);
	fflush(stderr);
	dup2(saved, 2);
	n = pread(fd, err_text, sizeof(err_text) - 1, 0);
	err_text[n > 0 ? n : 0] = '\0';
	close(fd);
	close(saved);
	free(argv[3]);
	return r;
}

static void fails(const char *words, const char *part)
{
	struct opts o;

	assert_int_equal(parse(words, &o), OPTS_EXIT_USAGE);
	if (!strstr(err_text, part))
		print_error("%s lacks: %s\n", err_text, part);
	assert_non_null(strstr(err_text, part));
}

static void test_order(void **state)
{
	struct opts o;

	(void)state;
	write_file(users, "# a note\n\n  parallel=2  \r\n\tkeep_old\nlist_ttl =\t7\n"
			  "fsname=a,b\\c\nnodev\n#parallel=9\nclose=async");
	assert_int_equal(parse("list_ttl=8,nosuid", &o), OPTS_RUN);
	assert_string_equal(err_text, "");
	assert_int_equal(o.parallel, 2);
	assert_int_equal(o.list_ttl_s, 8);
	assert_true(o.keep_old && o.close_async);
	/* Each word once, though the command line is looked at twice. */
	assert_string_equal(o.fuse_opts, "fsname=a\\,b\\\\c,subtype=uploadfs,default_permissions,"
					 "nodev,nosuid");
	opts_release(&o);
}

static void test_another_file(void **state)
{
	struct opts o;
	char words[160];

	(void)state;
	write_file(users, "parallel=2\nkeep_old\n");
	write_file(other, "parallel=3\n");
	snprintf(words, sizeof(words), "config=%s,retry_delay=5", other);
	assert_int_equal(parse(words, &o), OPTS_RUN);
	assert_int_equal(o.parallel, 3);
	assert_int_equal(o.retry_delay_s, 5);
	assert_false(o.keep_old);
	opts_release(&o);
	unlink(other);
	setenv("OPENAI_API_KEY", "sk-0123456789", 1); /* the first parse has taken it */
	assert_int_equal(parse("config=/dev/null", &o), OPTS_RUN);
	assert_int_equal(o.parallel, 4);
	opts_release(&o);
	fails(words, "No such file");
}

static void test_bad_lines(void **state)
{
	(void)state;
	write_file(users, "parallel=2\n\nparalel=3\n");
	fails("ro", "\"paralel\" is not known; did you mean \"parallel\"?");
	assert_non_null(strstr(err_text, "uploadfs.conf, line 3; see uploadfs.conf(5)"));
	write_file(users, "parallel=0\n");
	fails("ro", "out of range");
	write_file(users, "config=/x\n");
	fails("ro", "it belongs to the command line");
	/* The key is refused, and not repeated. */
	write_file(users, "api_key=sk-secret-secret\n");
	fails("ro", "api_key_file");
	assert_null(strstr(err_text, "secret-"));
	assert_null(strstr(err_text, "command line"));
	/* What is found out later, about a value from there. */
	write_file(users, "parallel=2\n\napi_key_file=/dev/null\n");
	fails("ro", "the key file /dev/null is not a regular file");
	assert_non_null(strstr(err_text, "uploadfs.conf, line 3; see uploadfs.conf(5)"));
	fails("api_key_file=/dev/zero", "the key file /dev/zero");
	assert_null(strstr(err_text, "uploadfs.conf"));
	write_file(users, "ca_file=/dev/null\n");
	fails("ro", "uploadfs.conf, line 1;");
	write_file(users, "ro\nlog_file=/nowhere/at/../all\n");
	fails("ro", "uploadfs.conf, line 2;");
}

static void test_bad_files(void **state)
{
	(void)state;
	write_file(users, "ro\n");
	assert_int_equal(chmod(users, 0664), 0);
	fails("ro", "can be written by others; run chmod go-w /");
	assert_int_equal(chmod(users, 0602), 0);
	fails("ro", "can be written by others");
	unlink(users);
	assert_int_equal(mkdir(users, 0700), 0);
	fails("ro", "uploadfs.conf");
	assert_int_equal(rmdir(users), 0);
	assert_int_equal(mkfifo(users, 0600), 0);
	fails("ro", "uploadfs.conf is no file");
	unlink(users);
	fails("config=/nonexistent/file", "No such file");
}

static void test_none(void **state)
{
	struct opts o;

	(void)state;
	assert_int_equal(parse("ro", &o), OPTS_RUN);
	assert_int_equal(o.parallel, 4);
	assert_string_equal(err_text, "");
	opts_release(&o);
	/* A HOME that is no directory has no such file either. */
	setenv("XDG_CONFIG_HOME", "/dev/null", 1);
	setenv("OPENAI_API_KEY", "sk-0123456789", 1); /* the first parse has taken it */
	assert_int_equal(parse("ro", &o), OPTS_RUN);
	opts_release(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
