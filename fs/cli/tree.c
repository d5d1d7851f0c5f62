#include "fs/cli/tree.h"

#include <errno.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/mount.h"
#include "fs/host/mounts.h"
#include "fs/host/real.h"
#include "net/base/json.h"

#define ANSWER_S 10

int cli_attribute(const char *path, const char *name, char *buf, size_t size)
{
	char full[64];
	ssize_t n;

	snprintf(full, sizeof(full), "user.upload.%s", name);
	n = getxattr(path, full, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

int cli_no_attribute(const char *path, int err)
{
	if (err == -ENODATA || err == -EOPNOTSUPP) {
		cli_error("%s is no file of an uploadfs mount", path);
		return CLI_NO_MOUNT;
	}
	cli_error("%s: %s", path, strerror(-err));
	return err == -ENOTCONN ? CLI_NO_MOUNT : CLI_FAILED;
}

/* The mount that path lies on has to answer. CLI_OK, or CLI_NO_MOUNT after a message. */
static int ask_mount(const char *path)
{
	char *here = *path == '/' ? NULL : getcwd(NULL, 0), *full = NULL;
	const struct mount_entry *e = NULL;
	struct mount_list list = { 0 };
	struct json *doc = NULL;
	int r = CLI_NO_MOUNT;

	if (asprintf(&full, "%s%s%s", here ? here : "", here ? "/" : "", path) < 0)
		full = NULL;
	if (full && mounts_read(&list) == 0)
		e = mounts_above(&list, full);
	if (!e)
		cli_error("%s: its file system does not answer", path);
	else if ((r = cli_read_status(e->path, ANSWER_S, &doc, NULL)) != 0)
		r = cli_no_status(e->path, r);
	json_free(doc);
	mounts_free(&list);
	free(full);
	free(here);
	return r;
}

int cli_reach(const char *path)
{
	struct stat st;
	int r = CLI_OK;

	/* A name may wait for the first list: longer than a daemon that answers is waited for. */
	while (r == CLI_OK && real_stat(path, &st) == -ETIMEDOUT)
		r = ask_mount(path);
	return r;
}

static bool on_mount(const char *path)
{
	struct mount_list list = { 0 };
	bool found = false;
	struct stat st;

	if (stat(path, &st) || mounts_read(&list))
		return true;
	for (size_t i = 0; i < list.count && !found; i++)
		found = list.v[i].dev == st.st_dev;
	mounts_free(&list);
	return found;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int visit(FTS *fts, FTSENT *e, bool deep, cli_file_fn *fn, void *arg)
{
	switch (e->fts_info) {
	case FTS_D:
		if (e->fts_level > 0 && !deep)
			fts_set(fts, e, FTS_SKIP);
		return CLI_OK;
	case FTS_F:
		return fn(arg, e->fts_path, (uint64_t)e->fts_statp->st_size);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		cli_error("%s: %s", e->fts_path, strerror(e->fts_errno));
		return e->fts_errno == ENOTCONN ? CLI_NO_MOUNT : CLI_FAILED;
	case FTS_SLNONE:
		if (e->fts_level > 0)
			return CLI_OK;
		cli_error("%s: %s", e->fts_path, strerror(ENOENT));
		return CLI_FAILED;
	case FTS_DEFAULT:
		return e->fts_level > 0 ? CLI_OK : cli_no_attribute(e->fts_path, -ENODATA);
	default:
		return CLI_OK;
	}
}

int cli_walk(const char *path, bool deep, cli_file_fn *fn, void *arg)
{
	char *const paths[] = { (char *)(uintptr_t)path, NULL };
	const int how = FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR | FTS_XDEV;
	int worst = cli_reach(path);
	FTS *fts = worst == CLI_OK ? fts_open(paths, how, by_name) : NULL;
	bool any = false;
	FTSENT *e;

	if (!fts && worst == CLI_OK) {
		cli_error("%s: %s", path, strerror(errno));
		worst = CLI_FAILED;
	}
	if (!fts)
		return worst;
	while ((e = fts_read(fts)) != NULL) {
		int r = visit(fts, e, deep, fn, arg);

		any |= e->fts_info == FTS_F;
		worst = r > worst ? r : worst;
	}
	fts_close(fts);
	if (worst == CLI_OK && !any && !on_mount(path)) {
		cli_error("%s is on no uploadfs mount", path);
		worst = CLI_NO_MOUNT;
	}
	return worst;
}
