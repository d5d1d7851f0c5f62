#include "fs/cli_doctor.h"

#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/url.h"

#define HELPER "/sbin/mount.uploadfs"
#define FUSE_HELPER "/sbin/mount.fuse" /* of the package fuse3, for the type fuse.uploadfs */

static void check_helper(const struct mntent *m, const char *where)
{
	bool fuse = !strcmp(m->mnt_type, "fuse.uploadfs");

	if (fuse && access(FUSE_HELPER, X_OK) < 0)
		cli_doctor_ill("%s: " FUSE_HELPER " is not there; install the package fuse3",
			       where);
	else if (!fuse && access(HELPER, X_OK) < 0)
		cli_doctor_ill("%s: " HELPER " is not there, so mount does not know the type; run "
			       "make install, or install the package uploadfs",
			       where);
	else
		cli_doctor_well("%s: mount knows the type %s", where, m->mnt_type);
}

static void check_words(const struct mntent *m, const char *where)
{
	if (strncmp(m->mnt_fsname, "local:", 6) && !url_is_loopback(m->mnt_fsname) &&
	    !hasmntopt(m, "_netdev") && !hasmntopt(m, "noauto"))
		cli_doctor_ill("%s: add _netdev: without it the network may be stopped before "
			       "what is closed was sent",
			       where);
	if (!strcmp(m->mnt_fsname, "none"))
		cli_doctor_ill("%s: write uploadfs instead of none: mount -a never finds none "
			       "mounted",
			       where);
}

/* A dead mount is looked at with the mounts: here it is a directory. */
static void check_place(const struct mntent *m, const char *where)
{
	struct stat st;
	int r = stat(m->mnt_dir, &st) ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;

	if (r == ENOENT)
		cli_doctor_ill("%s: the directory is not there; run mkdir -p %s", where,
			       m->mnt_dir);
	else if (r && r != ENOTCONN && r != EACCES)
		cli_doctor_ill("%s: %s; name a directory", where, strerror(r));
}

void cli_doctor_fstab(const char *fstab, const char *mountpoint)
{
	FILE *f = setmntent(fstab, "re");
	const struct mntent *m;
	char where[4400];

	if (!f)
		return; /* no table, no lines */
	while ((m = getmntent(f)) != NULL) {
		if (strcmp(m->mnt_type, "uploadfs") && strcmp(m->mnt_type, "fuse.uploadfs"))
			continue;
		if (mountpoint && strcmp(mountpoint, m->mnt_dir))
			continue;
		snprintf(where, sizeof(where), "%s, %.4096s", fstab, m->mnt_dir);
		check_helper(m, where);
		check_words(m, where);
		check_place(m, where);
	}
	endmntent(f);
}
