/* place: what file system a state directory lies on, and where the default goes instead. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/config/opts.h"
#include "fs/host/place.h"
#include "fs/host/statedir.h"

#define NFS 0x6969
#define LUSTRE 0x0bd00bd0
#define FUSE 0x65735546
#define TMPFS 0x01021994
#define EXT4 0xef53

/* The kernel's answers, as far as a test plays them. */
static const char *there; /* what lies at or below this path ... */
static long type_there;	  /* ... is of this type, and so is /var/tmp if all is set */
static bool all;
static int no_flock, no_fcntl, no_fsync, no_rename; /* errno, or 0 */

int statfs(const char *path, struct statfs *ret)
{
	int r = (int)syscall(SYS_statfs, path, ret);

	ret->f_type = EXT4;
	if (all || (there && !strncmp(path, there, strlen(there))))
		ret->f_type = (__fsword_t)type_there;
	return r;
}

static int fail_with(int err)
{
	errno = err;
	return -1;
}

static bool no_stat;

int stat(const char *path, struct stat *ret)
{
	return no_stat ? fail_with(EIO) : fstatat(AT_FDCWD, path, ret, 0);
}

int flock(int fd, int how)
{
	return no_flock ? fail_with(no_flock) : (int)syscall(SYS_flock, fd, how);
}

int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (cmd == F_SETLK && no_fcntl)
		return fail_with(no_fcntl);
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

int fsync(int fd)
{
	return no_fsync ? fail_with(no_fsync) : (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return no_rename ? fail_with(no_rename)
			 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

static char top[64];

static int setup(void **state)
{
	(void)state;
	there = NULL;
	all = false;
	no_flock = no_fcntl = no_fsync = no_rename = 0;
	snprintf(top, sizeof(top), "/tmp/test_place.XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(top);
}

static void check(long type, enum place_kind kind, const char *name)
{
	char below[PATH_MAX];
	struct place p;

	there = top;
	type_there = type;
	place_look(top, &p);
	assert_int_equal(p.kind, kind);
	assert_string_equal(p.name, name);
	/* What does not exist yet will lie where its parent lies. */
	snprintf(below, sizeof(below), "%s/not/there/yet", top);
	memset(&p, 0x5a, sizeof(p));
	place_look(below, &p);
	assert_int_equal(p.kind, kind);
}

static void test_kinds(void **state)
{
	struct place p;

	(void)state;
	check(EXT4, PLACE_LOCAL, "");
	check(NFS, PLACE_NETWORK, "nfs");
	check(LUSTRE, PLACE_NETWORK, "lustre");
	check((long)0xff534d42, PLACE_NETWORK, "cifs");
	check(TMPFS, PLACE_VOLATILE, "tmpfs");
	there = top;
	type_there = FUSE;
	place_look(top, &p);
	assert_int_equal(p.kind, PLACE_FUSE);
}

static void tries(int want, const char *what)
{
	const char *said = NULL;

	assert_int_equal(place_try(top, &said), want);
	if (what)
		assert_string_equal(said, what);
}

static void test_try(void **state)
{
	(void)state;
	tries(0, NULL);
	tries(0, NULL);
	no_flock = ENOSYS; /* Lustre without -o flock */
	tries(-ENOSYS, "locks do not work");
	no_flock = 0;
	no_fcntl = ENOLCK;
	tries(-ENOLCK, "locks do not work");
	no_fcntl = 0;
	no_rename = EIO;
	tries(-EIO, "rename fails");
	no_rename = 0;
	no_fsync = EINVAL;
	tries(-EINVAL, "fsync fails");
	no_fsync = 0;
	tries(0, NULL);
	/* teardown() fails if a file was left. */
}

/* The state directory for these options; the caller frees it. */
static char *resolved(const char *more, char **ret_not)
{
	char mnt[PATH_MAX],
		*argv[] = { (char *)(uintptr_t) "uploadfs", (char *)(uintptr_t) "local:/x", mnt,
			    (char *)(uintptr_t) "-o",	    (char *)(uintptr_t)more,	    NULL };
	struct opts o;
	char *path;

	snprintf(mnt, sizeof(mnt), "%s/mnt", top);
	assert_int_equal(mkdir(mnt, 0700), 0);
	assert_int_equal(opts_parse(more ? 5 : 3, argv, &o), OPTS_RUN);
	assert_int_equal(rmdir(mnt), 0);
	path = o.state_dir;
	*ret_not = o.state_dir_not;
	o.state_dir = o.state_dir_not = NULL;
	opts_release(&o);
	return path;
}

static bool is_moved(void)
{
	size_t len = strlen(statedir_tmp());
	char *moved_from, *path = resolved(NULL, &moved_from);
	bool moved = !strncmp(path, statedir_tmp(), len) && path[len] == '/';

	assert_int_equal(moved, moved_from != NULL);
	if (moved)
		assert_string_equal(strrchr(path, '/'), strrchr(moved_from, '/'));
	free(path);
	free(moved_from);
	return moved;
}

static void test_default(void **state)
{
	char option[PATH_MAX], *path, *moved_from;

	(void)state;
	/* Root's default is elsewhere than that of others; / is above both, and above /var/tmp. */
	there = geteuid() ? top : "/var/lib";
	setenv("XDG_STATE_HOME", top, 1);
	type_there = EXT4;
	assert_false(is_moved());
	type_there = TMPFS;
	assert_false(is_moved());
	type_there = NFS;
	assert_true(is_moved());
	type_there = LUSTRE;
	assert_true(is_moved());
	type_there = FUSE;
	assert_true(is_moved());
	/* There is no better place. */
	all = true;
	assert_false(is_moved());
	all = false;
	/* What is named is taken; the daemon tries it. */
	there = top;
	type_there = NFS;
	snprintf(option, sizeof(option), "state_dir=%s/s", top);
	path = resolved(option, &moved_from);
	assert_string_equal(path, option + strlen("state_dir="));
	assert_null(moved_from);
	free(path);
}

/* A disk that answers nothing, the root directory included: the look ends all the same. */
static void test_no_answer(void **state)
{
	struct place p;

	(void)state;
	no_stat = true;
	alarm(30);
	place_look("/a/b/c", &p);
	alarm(0);
	no_stat = false;
	assert_int_equal(p.kind, PLACE_LOCAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_try, setup, teardown),
		cmocka_unit_test_setup_teardown(test_default, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
