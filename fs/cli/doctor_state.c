/*
 * The doctor's check of the state directory.
 */
#include "fs/cli/doctor_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/mount.h"
#include "fs/cli/prune.h"
#include "fs/cli/report.h"
#include "fs/config/opts.h"
#include "fs/host/mounts.h"
#include "fs/host/place.h"
#include "fs/stage/offline.h"
#include "net/base/json.h"

#define ANSWER_S 3 /* of a mount */
#define SPACE_MIN (1ULL << 30)

/* The nearest existing directory; the mount creates the missing ones below it. */
static char *existing(const char *path)
{
	char *at = strdup(path), *slash;
	struct stat st;

	while (at && stat(at, &st) < 0 && (slash = strrchr(at, '/')) != NULL)
		*(slash == at ? slash + 1 : slash) = '\0';
	return at;
}

int cli_doctor_room(const struct opts *o, uint64_t *ret)
{
	char *dir = existing(o->state_dir);
	struct statvfs st;
	int r = dir && statvfs(dir, &st) == 0 ? 0 : -errno;
	uint64_t space;

	free(dir);
	if (r)
		return r;
	space = (uint64_t)st.f_bavail * st.f_frsize;
	*ret = space > o->staging_reserve ? space - o->staging_reserve : 0;
	return 0;
}

static int count_kept(void *arg, const struct kept *k)
{
	*(unsigned *)arg += kept_is_closed(k);
	return 0;
}

static void check_room(const struct opts *o)
{
	char *dir = existing(o->state_dir);
	uint64_t space;
	int r = cli_doctor_room(o, &space);

	if (!dir)
		return;
	if (access(dir, W_OK | X_OK) < 0) {
		cli_report_ill("state directory %s: %s: %s; choose another with -o state_dir=",
			       o->state_dir, dir, strerror(errno));
	} else if (r) {
		cli_report_ill("state directory %s: %s", dir, strerror(-r));
	} else {
		if (space < SPACE_MIN)
			cli_report_ill(
				"state directory %s: room for %s only; files are staged there "
				"before they are sent: free some, or use -o state_dir= on another "
				"disk",
				o->state_dir, cli_size(space));
		else
			cli_report_well("state directory %s: room for %s", o->state_dir,
					cli_size(space));
	}
	free(dir);
}

/* True if the daemon of that mount has the directory; reports what waits there. */
static bool ask_daemon(const struct opts *o, const struct mount_entry *e)
{
	struct json *doc = NULL;
	const struct json *totals;
	uint64_t kept;
	bool ours;

	if (cli_read_status(e->path, ANSWER_S, &doc, NULL))
		return false;
	ours = !strcmp(cli_text(doc, "state_dir"), o->state_dir);
	totals = json_get(doc, "totals");
	kept = cli_number(totals, "publishing") + cli_number(totals, "held") +
	       cli_number(totals, "failed");
	if (ours)
		cli_report_well("%s, in use by the mount %s, holds %llu file(s) that are not "
				"published yet",
				o->state_dir, e->path, (unsigned long long)kept);
	json_free(doc);
	return ours;
}

static void ask_daemons(const struct opts *o)
{
	struct mount_list list = { 0 };
	bool found = false;

	if (mounts_read(&list) == 0) {
		for (size_t i = 0; i < list.count && !found; i++)
			found = ask_daemon(o, &list.v[i]);
		mounts_free(&list);
	}
	if (!found)
		cli_report_well("%s is in use by a daemon whose mount does not answer here",
				o->state_dir);
}

static void scan(const struct opts *o)
{
	unsigned kept = 0;
	int r = kept_scan(o->state_dir, count_kept, &kept);

	if (r == -EBADMSG)
		cli_report_ill("the database in %s is damaged; the next mount sets it aside, and "
			       "the files in it that are not published lose their names: keep a "
			       "copy of the directory first",
			       o->state_dir);
	else if (!r && kept)
		cli_report_well(
			"%s holds %u file(s) that are not published yet; the next mount sends "
			"them, and so does uploadfs recover publish",
			o->state_dir, kept);
}

/* Share the lock of the directory, but make none: a daemon that has it is asked instead. */
static void check_waiting(const struct opts *o)
{
	char path[4400];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", o->state_dir);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		scan(o);
	else if (errno == EWOULDBLOCK)
		ask_daemons(o);
	close(fd);
}

static void check_place(const struct opts *o)
{
	struct place place;

	place_look(o->state_dir, &place);
	if (o->state_dir_not)
		cli_report_well("the default state directory %s can't be used where it lies: %s "
				"is",
				o->state_dir_not, o->state_dir);
	if (place.kind == PLACE_FUSE)
		cli_report_ill("state directory %s lies on %s, where a program has to answer for "
			       "each byte; use -o state_dir= on a local disk",
			       o->state_dir, place.name);
	else if (place.kind == PLACE_NETWORK)
		cli_report_well("state directory %s lies on %s; the mount tries locks, rename and "
				"fsync there, and is refused if one does not work",
				o->state_dir, place.name);
	else if (place.kind == PLACE_VOLATILE)
		cli_report_well("state directory %s lies on %s: what is written and not yet "
				"published does not survive a power cut",
				o->state_dir, place.name);
}

/* Name state directories beside this one that `uploadfs prune` would remove. */
static void check_old(const char *state_dir, bool is_parent)
{
	char *parent = strdup(state_dir), *slash = parent ? strrchr(parent, '/') : NULL;
	unsigned n;

	if (slash && !is_parent)
		*slash = '\0';
	n = parent && (is_parent || slash > parent) ? cli_prunable(parent) : 0;
	if (n)
		cli_report_well("%u state directories in %s were not used for %d days; uploadfs "
				"prune removes them",
				n, parent, PRUNE_DAYS);
	free(parent);
}

void cli_doctor_state(const struct opts *o)
{
	check_place(o);
	check_room(o);
	check_waiting(o);
	check_old(o->state_dir, !o->mountpoint);
}
