/*
 * mounts: the kernel's table of mounts. Reads /proc/self/mountinfo, so it asks
 * no file system and can't hang. Any thread.
 */
#ifndef UPLOADFS_FS_HOST_MOUNTS_H
#define UPLOADFS_FS_HOST_MOUNTS_H

#include <stddef.h>
#include <sys/types.h>

struct mount_entry {
	char *path, *source; /* owned */
	dev_t dev;
	uid_t uid; /* who mounted it */
};

struct mount_list {
	struct mount_entry *v;
	size_t count;
};

/* The mounts of type fuse.uploadfs, in the order they were made. 0, -ENOMEM or another errno. */
int mounts_read(struct mount_list *ret);
void mounts_free(struct mount_list *list); /* what it holds */
/* The last one at that absolute path; NULL: none. */
const struct mount_entry *mounts_find(const struct mount_list *list, const char *path);

/* The only one of uid, or the only one at all; NULL: there are none, or several. */
const struct mount_entry *mounts_only(const struct mount_list *list, uid_t uid);

/* Adds the entry of a line of mountinfo, if it is one of ours. For mounts_read() and tests. */
int mounts_take_line(struct mount_list *list, const char *line);

#endif
