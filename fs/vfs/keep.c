/*
 * Files that -o no_delete keeps.
 */
#include "fs/vfs/keep.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/tree/inode.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

static bool is_file(const struct inode *i)
{
	return i->kind == INODE_FILE && i->file_id;
}

static int refuse(const struct inode *i, const char *what, const char *hint)
{
	char *path = NULL;

	if (inode_path(i, &path))
		path = NULL;
	log_warn("%s/%s: not %s: it is the File %s, and the mount has -o no_delete%s", i->purpose,
		 path ? path : i->name, what, i->file_id, hint);
	free(path);
	return -EPERM;
}

int vfs_may_delete(struct vfs *s, const struct inode *i)
{
	if (!s->cfg.no_delete || !is_file(i))
		return 0;
	return refuse(i, "removed or renamed", "");
}

int vfs_may_replace(struct vfs *s, const struct inode *i)
{
	/* Begun under a former mount: the File that it replaces stays. */
	bool begun = i->side && (i->side->dirty || i->side->killed);

	if (!s->cfg.no_overwrite || !is_file(i) || begun)
		return 0;
	return refuse(i, "overwritten", "; -o keep_old allows it, and keeps the File");
}
