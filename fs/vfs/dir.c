/*
 * Directories: snapshot, mkdir, rmdir.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/remote/listing.h"
#include "fs/state/store.h"
#include "fs/tree/inode.h"
#include "fs/tree/snapshot.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/node.h"
#include "fs/vfs/vfs_impl.h"

struct opening_dir {
	struct vfs *s;
	uint64_t ino;
	vfs_dir_cb *cb;
	void *arg;
};

/* Fill d with the present entries. -ENOENT: the directory was removed. Under lock. */
static int fill(struct vfs *s, struct dir *d)
{
	struct inode *dir = inode_get(s->table, dir_ino(d));
	int r;

	if (!dir)
		return -ENOENT;
	if (dir->kind != INODE_DIR)
		return -ENOTDIR;
	r = dir_add(d, ".", dir->ino, true);
	if (!r)
		r = dir_add(d, "..", dir->parent ? dir->parent->ino : dir->ino, true);
	for (struct inode *i = dir->child; i && !r; i = i->next)
		if (!i->special || dir->special)
			r = dir_add(d, i->name, i->ino, i->kind == INODE_DIR);
	return r;
}

/* Make an empty snapshot; vfs_rewinddir() fills it. */
static int snapshot(struct vfs *s, uint64_t ino, struct dir **ret)
{
	struct dir *d = dir_new(ino);
	const struct inode *i;
	int r;

	if (!d)
		return -ENOMEM;
	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	r = !i ? -ENOENT : i->kind != INODE_DIR ? -ENOTDIR : 0;
	if (!r)
		dir_link(d, &s->dirs);
	pthread_mutex_unlock(&s->lock);
	if (r)
		dir_free(d);
	else
		*ret = d;
	return r;
}

int vfs_rewinddir(struct vfs *s, struct dir *d)
{
	int r;

	pthread_mutex_lock(&s->lock);
	dir_clear(d);
	r = fill(s, d);
	pthread_mutex_unlock(&s->lock);
	/* A directory removed meanwhile is empty. */
	return r == -ENOENT ? 0 : r;
}

void vfs_closedir(struct vfs *s, struct dir *d)
{
	pthread_mutex_lock(&s->lock);
	dir_free(d);
	pthread_mutex_unlock(&s->lock);
}

static void opendir_listed(void *arg, int err, bool known)
{
	struct opening_dir *o = arg;
	struct dir *d = NULL;

	/* An older listing is better than none while the service can't be reached. */
	if (!err || known)
		err = snapshot(o->s, o->ino, &d);
	o->cb(o->arg, err, d);
	free(o);
}

/* True for a directory whose entries don't come from the service. */
static bool is_special(struct vfs *s, uint64_t ino)
{
	const struct inode *i;
	bool special;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	special = i && i->special;
	pthread_mutex_unlock(&s->lock);
	return special;
}

void vfs_opendir(struct vfs *s, uint64_t ino, vfs_dir_cb *cb, void *arg)
{
	struct opening_dir *o = malloc(sizeof(*o));

	if (!o) {
		cb(arg, -ENOMEM, NULL);
		return;
	}
	*o = (struct opening_dir){ s, ino, cb, arg };
	if (is_special(s, ino)) {
		opendir_listed(o, 0, true);
		return;
	}
	listing_want(s->listing, s->cfg.list_ttl_s * 1000ULL, opendir_listed, o);
}

int vfs_mkdir(struct vfs *s, uint64_t parent, const char *name, mode_t mode,
	      const struct vfs_caller *who, struct vfs_entry *ret)
{
	struct inode *dir, *d = NULL;
	int r;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	r = dir ? vfs_check_new(s, dir, name) : -ENOENT;
	if (!r && inode_find(s->table, dir, name))
		r = -EEXIST;
	if (!r && !(d = inode_new(s->table, dir, name, INODE_DIR)))
		r = -ENOMEM;
	if (d) {
		d->mode = mode & 07777;
		d->uid = who->uid;
		d->gid = who->gid;
		vfs_inherit_group(dir, d);
		vfs_keep_dir(s, d);
		vfs_keep_changed(s);
		d->nlookup++;
		vfs_fill(s, d, ret);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int vfs_rmdir(struct vfs *s, uint64_t parent, const char *name)
{
	struct inode *dir, *d = NULL;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (dir)
		d = inode_find(s->table, dir, name);
	if (!d)
		r = -ENOENT;
	else if (d->kind != INODE_DIR)
		r = -ENOTDIR;
	else if (d->fixed || d->special)
		r = -EPERM;
	else if (d->child)
		r = -ENOTEMPTY;
	else {
		vfs_forget_dir(s, d);
		inode_unlink(s->table, d);
		vfs_keep_dir(s, dir);
		vfs_keep_changed(s);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int vfs_fsyncdir(struct vfs *s)
{
	return s->cfg.db ? statedb_sync(s->cfg.db, statedb_seq(s->cfg.db)) : 0;
}
