/*
 * Keep over remounts what users set (fs/state/attrs.h): modes, owners and times by File id, and the
 * directories made here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/content/cache.h"
#include "fs/state/attrs.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/tree/inode.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

#define FOREIGN_MAX 100000 /* Files whose attributes are kept though a list can't name them */

static struct attr_set attr_of(const struct inode *i)
{
	return (struct attr_set){ .mode = i->mode,
				  .uid = i->uid,
				  .gid = i->gid,
				  /* A directory has no File to supply a time. */
				  .has_mtime = i->has_mtime || i->kind == INODE_DIR,
				  .mtime_s = i->mtime.tv_sec,
				  .mtime_ns = (uint32_t)i->mtime.tv_nsec };
}

static void take_attr(struct inode *i, const struct attr_set *a)
{
	i->mode = a->mode & 07777;
	i->uid = a->uid;
	i->gid = a->gid;
	i->has_mtime = a->has_mtime;
	if (a->has_mtime)
		i->mtime = (struct timespec){ .tv_sec = a->mtime_s, .tv_nsec = a->mtime_ns };
}

bool vfs_recall(struct vfs *s, struct inode *i)
{
	struct attr_set a;
	bool known = s->cfg.attrs && i->file_id && attrs_get(s->cfg.attrs, i->file_id, &a);

	if (known)
		take_attr(i, &a);
	return known;
}

static void remember_dir(struct vfs *s, struct inode *i, bool later)
{
	struct attr_set a = attr_of(i);
	char *path;
	int r = 0;

	if (!s->cfg.attrs || !i->kept || i->fixed || i->special || !i->purpose ||
	    inode_path(i, &path))
		return;
	if (*path)
		r = (later ? attrs_dir_set_later : attrs_dir_set)(s->cfg.attrs, i->purpose, path,
								  &a);
	if (r)
		log_warn("%s/%s: the directory will not be remembered", i->purpose, path);
	free(path);
}

void vfs_remember(struct vfs *s, struct inode *i)
{
	struct attr_set a = attr_of(i);

	if (!s->cfg.attrs)
		return;
	if (i->kind == INODE_DIR)
		remember_dir(s, i, false);
	else if (i->file_id && attrs_set(s->cfg.attrs, i->file_id, &a))
		log_warn("%s: its mode and times will not be remembered", i->file_id);
}

void vfs_remember_later(struct vfs *s, struct inode *i)
{
	struct attr_set a = attr_of(i);

	if (s->cfg.attrs && attrs_set_later(s->cfg.attrs, i->file_id, &a))
		log_warn("%s: its mode and times will not be remembered", i->file_id);
}

void vfs_forget_file(struct vfs *s, const char *file_id)
{
	if (s->cfg.attrs)
		attrs_forget(s->cfg.attrs, file_id);
}

void vfs_sweep_begin(struct vfs *s)
{
	if (s->cfg.attrs)
		attrs_sweep_begin(s->cfg.attrs);
}

void vfs_sweep_mark(struct vfs *s, const char *file_id)
{
	if (s->cfg.attrs)
		attrs_sweep_mark(s->cfg.attrs, file_id);
}

/* True if the File has an entry, listed or not. The inode of a File that is gone may live on. */
static bool has_entry(void *arg, const char *file_id)
{
	struct vfs *s = arg;
	const struct inode *i;
	bool r;

	pthread_mutex_lock(&s->lock);
	i = inode_by_file_id(s->table, file_id);
	r = i && (i->parent || i->unlisted || i->side);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void vfs_sweep_end(struct vfs *s)
{
	/* Of one purpose the list tells nothing of other Files: these stay, up to a bound. */
	if (s->cfg.attrs && (!s->cfg.purpose || attrs_count(s->cfg.attrs) > FOREIGN_MAX))
		attrs_sweep_end(s->cfg.attrs, has_entry, s);
	if (!s->cfg.purpose)
		cache_sweep(s->cfg.cache, has_entry, s);
}

void vfs_forget_dir(struct vfs *s, struct inode *dir)
{
	char *path;

	if (!s->cfg.attrs || !dir->purpose || inode_path(dir, &path))
		return;
	if (*path && attrs_dir_forget(s->cfg.attrs, dir->purpose, path))
		log_warn("%s/%s: the directory may be back after a remount", dir->purpose, path);
	free(path);
}

int vfs_move_dir(struct vfs *s, const struct inode *dir, const struct inode *to, const char *name)
{
	char *from = NULL, *base = NULL, *path = NULL;
	int r;

	if (!s->cfg.attrs)
		return 0;
	r = inode_path(dir, &from);
	if (!r)
		r = inode_path(to, &base);
	if (!r && asprintf(&path, "%s%s%s", base, *base ? "/" : "", name) < 0)
		r = -ENOMEM;
	if (!r)
		r = attrs_dir_move(s->cfg.attrs, dir->purpose, from, to->purpose, path);
	free(path);
	free(base);
	free(from);
	return r;
}

void vfs_keep_dir(struct vfs *s, struct inode *dir)
{
	if (dir->kept)
		return;
	dir->kept = true;
	vfs_remember(s, dir);
}

static void keep_changed(struct vfs *s, bool later)
{
	struct inode *dir;

	while ((dir = inode_take_changed(s->table)) != NULL)
		remember_dir(s, dir, later);
}

void vfs_keep_changed(struct vfs *s)
{
	keep_changed(s, false);
}

void vfs_keep_changed_later(struct vfs *s)
{
	keep_changed(s, true);
}

/* Runs in one thread before the mount: no lock is needed. */
static void make_again(void *arg, const char *purpose, const char *path, const struct attr_set *a)
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
	if (!s->cfg.attrs)
		return;
	inode_table_quiet(s->table, true);
	attrs_dir_each(s->cfg.attrs, make_again, s);
	inode_table_quiet(s->table, false);
}
