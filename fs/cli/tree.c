#include "fs/cli/tree.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fs/cli/cli.h"

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
	default:
		return CLI_OK;
	}
}

int cli_walk(const char *path, bool deep, cli_file_fn *fn, void *arg)
{
	char *const paths[] = { (char *)(uintptr_t)path, NULL };
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_name);
	int worst = CLI_OK;
	FTSENT *e;

	if (!fts) {
		cli_error("%s: %s", path, strerror(errno));
		return CLI_FAILED;
	}
	while ((e = fts_read(fts)) != NULL) {
		int r = visit(fts, e, deep, fn, arg);

		worst = r > worst ? r : worst;
	}
	fts_close(fts);
	return worst;
}
