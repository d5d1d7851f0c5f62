/*
 * What users set on files and directories, kept over remounts (meta.h): modes,
 * owners and times by File id, and the directories that were made here.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/attrs_kept.h"
#include "fs/meta/meta.h"
#include "fs/tree/inode.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

static struct meta_attr attr_of(const struct inode *i)
{
	return (struct meta_attr){ .mode = i->mode,
				   .uid = i->uid,
				   .gid = i->gid,
				   /* A directory has no File to take its time from. */
				   .has_mtime = i->has_mtime || i->kind == INODE_DIR,
				   .mtime_s = i->mtime.tv_sec,
				   .mtime_ns = (uint32_t)i->mtime.tv_nsec };
}

static void take_attr(struct inode *i, const struct meta_attr *a)
{
	i->mode = a->mode & 07777;
	i->uid = a->uid;
	i->gid = a->gid;
	i->has_mtime = a->has_mtime;
	if (a->has_mtime)
		i->mtime = (struct timespec){ .tv_sec = a->mtime_s, .tv_nsec = a->mtime_ns };
}

void vfs_recall(struct vfs *s, struct inode *i)
{
	struct meta_attr a;

	if (s->cfg.meta && i->file_id && meta_get(s->cfg.meta, i->file_id, &a))
		take_attr(i, &a);
}

static void remember_dir(struct vfs *s, struct inode *i)
{
	struct meta_attr a = attr_of(i);
	char *path;

	if (!i->kept || i->fixed || i->special || !i->purpose || inode_path(i, &path))
		return;
	if (*path && meta_dir_set(s->cfg.meta, i->purpose, path, &a))
		log_warn("%s/%s: the directory will not be remembered", i->purpose, path);
	free(path);
}

void vfs_remember(struct vfs *s, struct inode *i)
{
	struct meta_attr a = attr_of(i);

	if (!s->cfg.meta)
		return;
	if (i->kind == INODE_DIR)
		remember_dir(s, i);
	else if (i->file_id && meta_set(s->cfg.meta, i->file_id, &a))
		log_warn("%s: its mode and times will not be remembered", i->file_id);
}

void vfs_forget_file(struct vfs *s, const char *file_id)
{
	if (s->cfg.meta)
		meta_forget(s->cfg.meta, file_id);
}

void vfs_forget_dir(struct vfs *s, struct inode *dir)
{
	char *path;

	for (struct inode *i = dir->child; i; i = i->next)
		if (i->kind == INODE_DIR)
			vfs_forget_dir(s, i);
	if (!s->cfg.meta || !dir->purpose || inode_path(dir, &path))
		return;
	meta_dir_forget(s->cfg.meta, dir->purpose, path);
	free(path);
}

void vfs_remember_tree(struct vfs *s, struct inode *dir)
{
	vfs_remember(s, dir);
	for (struct inode *i = dir->child; i; i = i->next)
		if (i->kind == INODE_DIR)
			vfs_remember_tree(s, i);
}

void vfs_keep_dir(struct vfs *s, struct inode *dir)
{
	if (dir->kept)
		return;
	dir->kept = true;
	vfs_remember(s, dir);
}

/* In one thread, before the mount: no lock is needed. */
static void make_again(void *arg, const char *purpose, const char *path, const struct meta_attr *a)
{
	struct vfs *s = arg;
	struct inode *at = vfs_dir_for_path(s, purpose, path);

	if (at && at != inode_root(s->table) && !at->fixed) {
		at->kept = true;
		take_attr(at, a);
	}
}

void vfs_load_dirs(struct vfs *s)
{
	if (s->cfg.meta)
		meta_dir_each(s->cfg.meta, make_again, s);
}
