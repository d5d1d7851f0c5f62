/*
 * uploadfs prune: removes the state directories of mounts that are long gone, with the cached
 * content, modes and directories in them. One with unpublished files stays.
 */
#include "fs/cli/prune.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/config/opts.h"
#include "fs/host/statedir.h"
#include "fs/stage/offline.h"

static const char help[] =
	"usage: uploadfs prune [--days N] [--dry-run] [DIR]\n"
	"Removes state directories that no mount has used for 30 days, with the cached\n"
	"content, and the modes and empty directories they remember. Those with files\n"
	"that are not published stay and are named. DIR holds the state directories;\n"
	"default: where the mounts of this user have theirs.\n"
	"  --days      days without a mount\n"
	"  --dry-run   removes nothing, says what it would\n"
	"Exit status: 0 done; 1 trouble, or one has unpublished files; 2 wrong usage.\n";

struct pruning {
	unsigned days;
	bool dry, quiet;
	unsigned count; /* removed, or to be removed */
	uint64_t bytes;
	int status;
};

/* What a mount writes when it starts and ends. */
static const char *const used[] = { "lock", "state.db", "state.db-wal" };

#define USED (sizeof(used) / sizeof(used[0]))

/* 0: no state directory. */
static time_t last_use(const char *dir)
{
	struct stat st;
	char path[4420];
	time_t last = 0;

	for (size_t i = 0; i < USED; i++) {
		snprintf(path, sizeof(path), "%.4399s/%s", dir, used[i]);
		errno = 0;
		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_mtime > last)
			last = st.st_mtime;
		else if (i < 2 && errno == ENOENT)
			return 0; /* every daemon leaves its lock and its database */
	}
	return last;
}

/* A look is no use: the lock and the database were written to. */
static void restore_use(const char *dir, time_t last)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = last } };
	char path[4420];

	for (size_t i = 0; i < USED; i++) {
		snprintf(path, sizeof(path), "%.4399s/%s", dir, used[i]);
		utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
	}
}

static int count_unpublished(void *arg, const struct kept *k)
{
	unsigned *n = arg;

	*n += kept_is_closed(k) || ((kept_is_open(k) || k->err || k->set_aside) && k->size);
	return 0;
}

/* Count what is in dir, and remove it. 0 or negative errno. */
static int remove_tree(const char *dir, bool dry, uint64_t *ret_bytes)
{
	char *const paths[] = { (char *)(uintptr_t)dir, NULL };
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	int r = 0;
	FTSENT *e;

	if (!fts)
		return -errno;
	while ((e = fts_read(fts)) != NULL) {
		if (e->fts_info == FTS_D || e->fts_info == FTS_DC)
			continue;
		if (e->fts_info == FTS_F)
			*ret_bytes += (uint64_t)e->fts_statp->st_blocks * 512;
		if (!dry && remove(e->fts_accpath) && errno != ENOENT)
			r = -errno;
	}
	fts_close(fts);
	return r;
}

/* Look at a state directory whose lock is held. */
static void prune_locked(struct pruning *p, const char *dir)
{
	unsigned unpublished = 0;
	uint64_t bytes = 0;
	int r = kept_scan(dir, count_unpublished, &unpublished);

	if (!r && !unpublished)
		r = remove_tree(dir, p->dry, &bytes);
	if (p->quiet) {
		p->count += !r && !unpublished;
		return;
	}
	if (r || unpublished) {
		p->status = CLI_FAILED;
		if (r)
			cli_error("%s: %s", dir, strerror(-r));
		else
			cli_error("%s stays: %u files in it are not published; see uploadfs "
				  "recover list %s",
				  dir, unpublished, dir);
		return;
	}
	printf("%s: %s %s\n", cli_clean(dir), cli_size(bytes),
	       p->dry ? "would be removed" : "removed");
	p->count++;
	p->bytes += bytes;
}

static void prune_one(struct pruning *p, const char *dir)
{
	time_t last = last_use(dir);
	int fd = -1, pid, r;

	if (!last || time(NULL) - last < (time_t)p->days * 86400)
		return;
	r = statedir_open(dir, 0, &fd, &pid);
	if (r == 0) {
		prune_locked(p, dir);
		restore_use(dir, last);
		close(fd);
	} else if (r != -EWOULDBLOCK && !p->quiet) {
		cli_error("%s: %s", dir, strerror(-r));
		p->status = CLI_FAILED;
	}
}

static int prune_all(struct pruning *p, const char *parent)
{
	DIR *d = opendir(parent);
	const struct dirent *e;
	char path[4400];

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d)) != NULL) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))
			continue;
		snprintf(path, sizeof(path), "%s/%s", parent, e->d_name);
		prune_one(p, path);
	}
	closedir(d);
	return 0;
}

unsigned cli_prunable(const char *parent)
{
	struct pruning p = { .days = PRUNE_DAYS, .dry = true, .quiet = true };

	prune_all(&p, parent);
	return p.count;
}

static int run(struct pruning *p, const char *parent)
{
	int r = prune_all(p, parent);

	if (r) {
		cli_error("%s: %s", parent, strerror(-r));
		return CLI_FAILED;
	}
	printf("%u state directories, %s%s\n", p->count, cli_size(p->bytes),
	       p->dry ? ", not removed" : "");
	return p->status;
}

int cli_prune(int argc, char **argv)
{
	struct pruning p = { .days = PRUNE_DAYS };
	const struct cli_option options[] = { { "--days", NULL, &p.days },
					      { "--dry-run", &p.dry, NULL },
					      { NULL, NULL, NULL } };
	char *none[] = { argv[0], NULL }, *said = NULL;
	const char *parent = NULL;
	struct opts o;
	size_t n;
	int r = cli_args(argc, argv, help, options, &parent, 1, &n);

	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (parent)
		return run(&p, parent);
	/* As for the doctor: no key is needed. */
	if (opts_parse_doctor(1, none, &said, &o) != OPTS_RUN) {
		cli_error("%s", said ? said : "name the DIR");
		free(said);
		return CLI_USAGE;
	}
	r = run(&p, o.state_dir);
	opts_release(&o);
	free(said);
	return r;
}
