/* mounts: which lines of mountinfo are ours, and what they say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "fs/host/mounts.h"

static struct mount_list list;

static int setup(void **state)
{
	(void)state;
	memset(&list, 0, sizeof(list));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mounts_free(&list);
	return 0;
}

static void take(const char *line)
{
	assert_int_equal(mounts_take_line(&list, line), 0);
}

static void test_lines(void **state)
{
	(void)state;
	take("36 35 0:50 / /mnt/a rw,nosuid shared:1 - fuse.uploadfs https://h/v1 "
	     "rw,user_id=1000,group_id=4,default_permissions,allow_other\n");
	take("37 35 0:51 / /mnt/with\\040blank\\134 ro - fuse.uploadfs local:/a\\040b "
	     "rw,user_id=0,group_id=0");
	assert_int_equal(list.count, 2);
	assert_string_equal(list.v[0].path, "/mnt/a");
	assert_string_equal(list.v[0].source, "https://h/v1");
	assert_int_equal(list.v[0].uid, 1000);
	assert_int_equal(list.v[0].dev, makedev(0, 50));
	assert_string_equal(list.v[1].path, "/mnt/with blank\\");
	assert_string_equal(list.v[1].source, "local:/a b");
	assert_int_equal(list.v[1].uid, 0);
}

/* A backslash with fewer than three octal digits behind it stands for itself. */
static void test_short_escapes(void **state)
{
	static const char *const paths[] = { "/a\\",	"/a\\1",   "/a\\04",
					     "/a\\04x", "/a\\400", "/a\\8" };
	char line[128];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(line, sizeof(line), "36 35 0:50 / %s rw - fuse.uploadfs s rw,user_id=0",
			 paths[i]);
		take(line);
		assert_string_equal(list.v[i].path, paths[i]);
	}
}

static void test_other_lines(void **state)
{
	(void)state;
	take("");
	take("\n");
	take("36 35 0:50 / /mnt rw - ext4 /dev/sda rw");
	take("36 35 0:50 / /mnt rw - fuse.sshfs uploadfs rw,user_id=0");
	take("36 35 x:y / /mnt rw - fuse.uploadfs s rw,user_id=0");
	/* Cut short, and without an owner. */
	take("36 35 0:50 / /mnt rw - fuse.uploadfs s rw,group_id=0");
	take("36 35 0:50 / /mnt rw - fuse.uploadfs s rw,xuser_id=3");
	assert_int_equal(list.count, 0);
}

static void add(const char *path, unsigned uid)
{
	char line[256];

	snprintf(line, sizeof(line), "1 2 0:9 / %s rw - fuse.uploadfs s rw,user_id=%u", path, uid);
	take(line);
}

static void test_find_and_only(void **state)
{
	(void)state;
	assert_null(mounts_only(&list, 1));
	add("/a", 7);
	assert_string_equal(mounts_only(&list, 1)->path, "/a");
	add("/b", 1);
	assert_string_equal(mounts_only(&list, 1)->path, "/b");
	assert_string_equal(mounts_only(&list, 7)->path, "/a");
	assert_null(mounts_only(&list, 2));
	add("/a", 1);
	assert_null(mounts_only(&list, 1));
	/* The one on top. */
	assert_ptr_equal(mounts_find(&list, "/a"), &list.v[2]);
	assert_null(mounts_find(&list, "/a/"));
}

static void test_above(void **state)
{
	(void)state;
	take("36 35 0:50 / /mnt rw - fuse.uploadfs a rw,user_id=0,group_id=0");
	take("37 36 0:51 / /mnt/b rw - fuse.uploadfs b rw,user_id=0,group_id=0");
	take("38 36 0:52 / /mnt rw - fuse.uploadfs c rw,user_id=0,group_id=0");
	assert_string_equal(mounts_above(&list, "/mnt/b/x")->source, "b");
	assert_string_equal(mounts_above(&list, "/mnt/b")->source, "b");
	assert_string_equal(mounts_above(&list, "/mnt/bc")->source, "c");
	assert_null(mounts_above(&list, "/mn"));
	assert_null(mounts_above(&list, "mnt"));
}

static void test_the_real_table(void **state)
{
	(void)state;
	assert_int_equal(mounts_read(&list), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short_escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_find_and_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_above, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_real_table, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
