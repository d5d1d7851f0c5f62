#include "fs/cli/doctor_fstab.h"

#include <errno.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/report.h"
#include "fs/config/opts.h"
#include "fs/host/real.h"
#include "net/http/url.h"

#define HELPER "/sbin/mount.uploadfs"
#define FUSE_HELPER "/sbin/mount.fuse" /* of the package fuse3, for the type fuse.uploadfs */

static bool is_ours(const struct mntent *m)
{
	return !strcmp(m->mnt_type, "uploadfs") || !strcmp(m->mnt_type, "fuse.uploadfs");
}

static void check_helper(const struct mntent *m, const char *where)
{
	bool fuse = !strcmp(m->mnt_type, "fuse.uploadfs");

	if (fuse && access(FUSE_HELPER, X_OK) < 0)
		cli_report_ill("%s: " FUSE_HELPER " is not there; install the package fuse3",
			       where);
	else if (!fuse && access(HELPER, X_OK) < 0)
		cli_report_ill("%s: " HELPER " is not there, so mount does not know the type; run "
			       "make install, or install the package uploadfs",
			       where);
	else
		cli_report_well("%s: mount knows the type %s", where, m->mnt_type);
}

static void check_words(const struct mntent *m, const char *where)
{
	if (strncmp(m->mnt_fsname, "local:", 6) && !url_is_loopback(m->mnt_fsname) &&
	    !hasmntopt(m, "_netdev") && !hasmntopt(m, "noauto"))
		cli_report_ill("%s: add _netdev: without it the network may be stopped before "
			       "what is closed was sent",
			       where);
	if (!strcmp(m->mnt_fsname, "none"))
		cli_report_ill("%s: write uploadfs instead of none: mount -a never finds none "
			       "mounted",
			       where);
}

static void check_options(const struct mntent *m, const char *where)
{
	char *why;

	/* mount.fuse handles these two. */
	if (hasmntopt(m, "setuid") || hasmntopt(m, "drop_privileges"))
		return;
	why = opts_check(m->mnt_opts);
	if (why)
		cli_report_ill("%s: %s", where, why);
	free(why);
}

/* The check of mounts reports a dead mount; here it counts as a directory. */
static void check_place(const struct mntent *m, const char *where)
{
	struct stat st;
	int r = -real_stat(m->mnt_dir, &st);

	if (!r && !S_ISDIR(st.st_mode))
		r = ENOTDIR;
	if (r == ENOENT)
		cli_report_ill("%s: the directory is not there; run mkdir -p %s", where,
			       m->mnt_dir);
	else if (r && r != ENOTCONN && r != EACCES)
		cli_report_ill("%s: %s; name a directory", where, strerror(r));
}

void cli_doctor_fstab(const char *fstab, const char *mountpoint)
{
	FILE *f = setmntent(fstab, "re");
	const struct mntent *m;
	char where[4400];

	if (!f)
		return; /* no fstab */
	while ((m = getmntent(f)) != NULL) {
		if (!is_ours(m))
			continue;
		if (mountpoint && strcmp(mountpoint, m->mnt_dir))
			continue;
		snprintf(where, sizeof(where), "%s, %.4096s", fstab, m->mnt_dir);
		check_helper(m, where);
		check_words(m, where);
		check_options(m, where);
		check_place(m, where);
	}
	endmntent(f);
}

/* ---- the line of a mountpoint, as a command line ---- */

static char dash_o[] = "-o";

/* Index of the only word that is not an option; 0: none or several. */
static int only_word(int argc, char **argv)
{
	bool all = false;
	int at = 0;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (!all && !strcmp(arg, "--")) {
			all = true;
		} else if (!all && arg[0] == '-' && arg[1]) {
			/* "-o WORDS", "-fo WORDS"; "-oWORDS" is one word */
			if (strchr(arg, 'o') == arg + strlen(arg) - 1)
				i++;
		} else if (at) {
			return 0;
		} else {
			at = i;
		}
	}
	return at;
}

static void take_line(const char *fstab, struct doctor_line *l)
{
	FILE *f = setmntent(fstab, "re");
	const struct mntent *m;

	while (f && !l->source && (m = getmntent(f)) != NULL) {
		if (!is_ours(m) || strcmp(m->mnt_dir, l->mountpoint))
			continue;
		l->source = strdup(m->mnt_fsname);
		l->options = strdup(m->mnt_opts);
	}
	if (f)
		endmntent(f);
}

void cli_doctor_line(const char *fstab, int argc, char **argv, struct doctor_line *ret)
{
	struct doctor_line l = { 0 };
	int at = only_word(argc, argv), i;

	l.mountpoint = at ? real_path(argv[at]) : NULL;
	if (at && !l.mountpoint)
		l.mountpoint = strdup(argv[at]);
	if (l.mountpoint)
		take_line(fstab, &l);
	if (l.source && l.options)
		l.argv = calloc((size_t)argc + 4, sizeof(*l.argv));
	if (l.argv) {
		l.argv[l.argc++] = argv[0];
		l.argv[l.argc++] = dash_o;
		l.argv[l.argc++] = l.options;
		for (i = 1; i < argc; i++) {
			if (i == at)
				l.argv[l.argc++] = l.source;
			l.argv[l.argc++] = argv[i];
		}
	}
	*ret = l;
}

void cli_doctor_line_free(struct doctor_line *l)
{
	free(l->source);
	free(l->options);
	free(l->argv);
	free(l->mountpoint);
}
