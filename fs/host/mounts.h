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
	uid_t uid; /* of the user who mounted it */
};

struct mount_list {
	struct mount_entry *v;
	size_t count;
};

/* The mounts of type fuse.uploadfs, in the order they were made. 0, -ENOMEM or another errno. */
int mounts_read(struct mount_list *ret);
void mounts_free(struct mount_list *list); /* its entries, not list itself */
/* The topmost mount at that absolute path; NULL: none. */
const struct mount_entry *mounts_find(const struct mount_list *list, const char *path);

/* The mount that an absolute path lies on, by its text: path or what is above it; NULL: none. */
const struct mount_entry *mounts_above(const struct mount_list *list, const char *path);

/* The only mount of uid, else the only mount at all; NULL: none or several. */
const struct mount_entry *mounts_only(const struct mount_list *list, uid_t uid);

struct mount_type {
	char name[64];	   /* "ext4", "fuse.sshfs", ... */
	char options[512]; /* of the file system, cut at that */
};
/* The type of the file system with that device number. 0, -ENOENT or another negative errno. */
int mounts_type_of(dev_t dev, struct mount_type *ret);

/* Add a line of mountinfo if its type is fuse.uploadfs. For mounts_read() and tests. */
int mounts_take_line(struct mount_list *list, const char *line);

#endif
