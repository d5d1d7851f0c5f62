#include "fs/host/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/host/mounts.h"

#define FUSE_MAGIC 0x65735546
#define OVERLAY_MAGIC 0x794c7630

static const struct {
	unsigned long magic;
	enum place_kind kind;
	const char *name;
} known[] = {
	{ 0x6969, PLACE_NETWORK, "nfs" },	 { 0x0bd00bd0, PLACE_NETWORK, "lustre" },
	{ 0x517b, PLACE_NETWORK, "smb" },	 { 0xff534d42, PLACE_NETWORK, "cifs" },
	{ 0xfe534d42, PLACE_NETWORK, "smb" },	 { 0x00c36400, PLACE_NETWORK, "ceph" },
	{ 0x47504653, PLACE_NETWORK, "gpfs" },	 { 0x19830326, PLACE_NETWORK, "beegfs" },
	{ 0x5346414f, PLACE_NETWORK, "afs" },	 { 0x01021997, PLACE_NETWORK, "9p" },
	{ 0x01021994, PLACE_VOLATILE, "tmpfs" }, { 0x858458f6, PLACE_VOLATILE, "ramfs" },
	{ FUSE_MAGIC, PLACE_FUSE, "fuse" },
};

/* The nearest existing directory at or above path, allocated; NULL: no memory. */
static char *existing(const char *path)
{
	char *at = strdup(path), *slash;
	struct stat st;

	/* "/" itself may be one that can't be asked. */
	while (at && strcmp(at, "/") != 0 && stat(at, &st) < 0 && (slash = strrchr(at, '/')))
		*(slash == at ? slash + 1 : slash) = '\0';
	return at;
}

static bool has_option(const char *options, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strstr(options, name); at; at = strstr(at + 1, name))
		if ((at == options || at[-1] == ',') && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

/* What only the table of mounts tells. */
static void refine(const char *dir, unsigned long magic, struct place *ret)
{
	struct mount_type type;
	struct stat st;

	if (stat(dir, &st) || mounts_type_of(st.st_dev, &type))
		return;
	if (magic == OVERLAY_MAGIC && has_option(type.options, "volatile")) {
		ret->kind = PLACE_VOLATILE;
		snprintf(ret->name, sizeof(ret->name), "an overlay with -o volatile");
	} else if (magic == FUSE_MAGIC) {
		snprintf(ret->name, sizeof(ret->name), "%.60s", type.name);
		/* The host of a virtual machine; the root of a container without root's rights. */
		if (!strcmp(type.name, "virtiofs"))
			ret->kind = PLACE_NETWORK;
		else if (!strcmp(type.name, "fuse.fuse-overlayfs") ||
			 !strcmp(type.name, "fuse-overlayfs"))
			ret->kind = PLACE_LOCAL;
	}
}

void place_look(const char *path, struct place *ret)
{
	char *dir = existing(path);
	struct statfs fs;
	unsigned long magic;

	*ret = (struct place){ .kind = PLACE_LOCAL };
	if (dir && statfs(dir, &fs) == 0) {
		magic = (unsigned long)fs.f_type & 0xffffffffUL;
		for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
			if (known[i].magic != magic)
				continue;
			ret->kind = known[i].kind;
			snprintf(ret->name, sizeof(ret->name), "%s", known[i].name);
		}
		if (magic == FUSE_MAGIC || magic == OVERLAY_MAGIC)
			refine(dir, magic, ret);
	}
	free(dir);
}

/* Both kinds of lock: ours, and those of SQLite. */
static int try_locks(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (flock(fd, LOCK_EX | LOCK_NB) || fcntl(fd, F_SETLK, &whole))
		return -errno;
	return 0;
}

static int try_file(int dirfd, int fd, const char **ret_what)
{
	int rc = try_locks(fd);

	*ret_what = "locks do not work";
	if (rc)
		return rc;
	*ret_what = "fsync fails";
	if (write(fd, "x", 1) != 1 || fsync(fd))
		return errno ? -errno : -EIO;
	*ret_what = "rename fails";
	if (renameat(dirfd, ".try", dirfd, ".tried"))
		return -errno;
	*ret_what = "fsync of a directory fails";
	return fsync(dirfd) ? -errno : 0;
}

int place_try(const char *dir, const char **ret_what)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, rc;

	*ret_what = "it can't be opened";
	if (dirfd < 0)
		return -errno;
	unlinkat(dirfd, ".try", 0);
	*ret_what = "no file can be made";
	fd = openat(dirfd, ".try", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : try_file(dirfd, fd, ret_what);
	unlinkat(dirfd, ".try", 0);
	unlinkat(dirfd, ".tried", 0);
	if (fd >= 0)
		close(fd);
	close(dirfd);
	return rc;
}
