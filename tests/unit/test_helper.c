/* helper: mount's and umount's command lines; mountpoint: who may use allow_other. */
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

#include "fs/host/helper.h"
#include "fs/host/mountpoint.h"
#include "fs/config/opts.h"

#define ARGS_MAX 16

static char err_text[4096];

/* Splits line at blanks; what is printed to stderr in err_text. */
static int take(enum helper_kind kind, const char *line, struct helper_call *ret)
{
	static char text[512];
	char *argv[ARGS_MAX + 1] = { NULL }, *rest = text, *word;
	int saved = fcntl(2, F_DUPFD_CLOEXEC, 10), argc = 0, fds[2], r;
	ssize_t n;

	snprintf(text, sizeof(text), "%s", line);
	while ((word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX)
		argv[argc++] = word;
	fflush(stderr);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(saved >= 0 && dup2(fds[1], 2) == 2);
	r = helper_take(kind, argc, argv, ret);
	fflush(stderr);
	dup2(saved, 2);
	n = read(fds[0], err_text, sizeof(err_text) - 1);
	err_text[n > 0 ? n : 0] = '\0';
	close(saved);
	close(fds[0]);
	close(fds[1]);
	return r;
}

/* The words for opts_parse(), with a blank before each. */
static const char *words_of(const struct helper_call *call)
{
	static char text[1024];
	size_t len = 0;

	for (int i = 0; i < call->argc; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s", call->argv[i]);
	return text;
}

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(helper_kind("/sbin/mount.uploadfs"), HELPER_MOUNT);
	assert_int_equal(helper_kind("mount.fuse.uploadfs"), HELPER_MOUNT);
	assert_int_equal(helper_kind("/sbin/umount.fuse.uploadfs"), HELPER_UMOUNT);
	assert_int_equal(helper_kind("/mount.d/uploadfs"), HELPER_NONE);
	assert_int_equal(helper_kind("build/uploadfs"), HELPER_NONE);
	assert_int_equal(helper_kind(NULL), HELPER_NONE);
}

static void test_mount(void **state)
{
	struct helper_call call;

	(void)state;
	assert_int_equal(take(HELPER_MOUNT, "mount.uploadfs local:/d /mnt", &call), 0);
	assert_string_equal(words_of(&call), " uploadfs -- local:/d /mnt");
	assert_false(call.sloppy || call.fake);
	assert_int_equal(
		take(HELPER_MOUNT, "mount.uploadfs local:/d /mnt -o ro -o a=b,c -o x", &call), 0);
	assert_string_equal(words_of(&call), " uploadfs -o ro,a=b,c,x -- local:/d /mnt");
	/* As mount(8) puts them, and as a man may. */
	assert_int_equal(take(HELPER_MOUNT, "mount.uploadfs none -m -sfnv -o rw,user -t a.b",
			      &call),
			 HELPER_USAGE);
	assert_int_equal(
		take(HELPER_MOUNT, "mount.uploadfs none /m -sfnv -o rw,user -t a.b", &call), 0);
	assert_string_equal(words_of(&call), " uploadfs -o rw,user -- none /m");
	assert_true(call.sloppy && call.fake);
	assert_int_equal(take(HELPER_MOUNT, "mount.uploadfs -n -o ro -v -- none -m", &call), 0);
	assert_string_equal(words_of(&call), " uploadfs -o ro -- none -m");
	assert_string_equal(call.dir, "-m");
}

static void test_umount(void **state)
{
	struct helper_call call;

	(void)state;
	assert_int_equal(take(HELPER_UMOUNT, "umount.fuse.uploadfs /mnt", &call), 0);
	assert_string_equal(call.dir, "/mnt");
	assert_false(call.lazy || call.force);
	assert_int_equal(take(HELPER_UMOUNT, "umount.fuse.uploadfs /mnt -nlfvr -t x", &call), 0);
	assert_true(call.lazy && call.force);
}

static void wrong(enum helper_kind kind, const char *line, int status, const char *part)
{
	struct helper_call call, before;

	memset(&call, 0x5a, sizeof(call));
	before = call;
	assert_int_equal(take(kind, line, &call), status);
	assert_memory_equal(&call, &before, sizeof(call));
	assert_int_equal(strncmp(err_text, "uploadfs: ", 10), 0);
	assert_non_null(strstr(err_text, "; "));
	assert_non_null(strstr(err_text, part));
	assert_ptr_equal(strchr(err_text, '\n'), err_text + strlen(err_text) - 1);
}

static void test_wrong(void **state)
{
	(void)state;
	wrong(HELPER_MOUNT, "mount.uploadfs", HELPER_USAGE, "mount -t uploadfs");
	wrong(HELPER_MOUNT, "mount.uploadfs /mnt", HELPER_USAGE, "SOURCE DIRECTORY");
	wrong(HELPER_MOUNT, "mount.uploadfs a b c", HELPER_USAGE, "SOURCE DIRECTORY");
	wrong(HELPER_MOUNT, "mount.uploadfs a b -o", HELPER_USAGE, "SOURCE DIRECTORY");
	wrong(HELPER_MOUNT, "mount.uploadfs a b -x", HELPER_USAGE, "SOURCE DIRECTORY");
	wrong(HELPER_UMOUNT, "umount.uploadfs", HELPER_USAGE, "use umount");
	wrong(HELPER_UMOUNT, "umount.uploadfs a b", HELPER_USAGE, "use umount");
	wrong(HELPER_UMOUNT, "umount.uploadfs a -s", HELPER_USAGE, "use umount");
	wrong(HELPER_MOUNT, "mount.uploadfs a b -N /none", HELPER_SYSTEM,
	      "namespace /none: No such");
	wrong(HELPER_UMOUNT, "umount.uploadfs b -N 4194305", HELPER_SYSTEM,
	      "namespace 4194305: No");
	wrong(HELPER_UMOUNT, "umount.uploadfs b -N /dev/null", HELPER_SYSTEM, "Invalid argument");
}

/* mount -s: what is not known is skipped; what is known is still checked. */
static void test_sloppy(void **state)
{
	char *argv[] = { (char[]){ "uploadfs" }, (char[]){ "-o" },   (char[]){ "quux,ro,=,x=y" },
			 (char[]){ "local:/x" }, (char[]){ "/tmp" }, NULL };
	struct opts o;

	(void)state;
	setenv("XDG_CONFIG_HOME", "/dev/null", 1);
	assert_int_equal(opts_parse_mount(5, argv, true, &o), OPTS_RUN);
	assert_true(o.ro);
	opts_release(&o);
	assert_int_equal(opts_parse_mount(5, argv, false, &o), OPTS_EXIT_USAGE);
	argv[2] = (char[]){ "parallel=x" };
	assert_int_equal(opts_parse_mount(5, argv, true, &o), OPTS_EXIT_USAGE);
}

static bool allows(const char *text)
{
	char path[] = "/tmp/test_helper.XXXXXX";
	int fd = mkstemp(path);
	bool r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	r = mountpoint_allows_other(path);
	unlink(path);
	return r;
}

static void test_fuse_conf(void **state)
{
	(void)state;
	assert_true(allows("user_allow_other\n"));
	assert_true(allows("# a note\nmount_max = 5\n \tuser_allow_other \n"));
	assert_true(allows("\n\nuser_allow_other"));
	assert_false(allows("#user_allow_other\n"));
	assert_false(allows("# user_allow_other\n"));
	assert_false(allows("user_allow_others\n"));
	assert_false(allows("user_allow_other x\n"));
	assert_false(allows(""));
	assert_false(mountpoint_allows_other("/nowhere/fuse.conf"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),  cmocka_unit_test(test_mount),
		cmocka_unit_test(test_umount), cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_sloppy), cmocka_unit_test(test_fuse_conf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
