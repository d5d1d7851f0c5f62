/*
 * setattr: modes, owners, times, and truncation.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/keep.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "fs/vfs/write.h"
#include "net/base/clock.h"

/* Mode, owner and group: recorded before they count. Under lock. */
static int set_owner(struct inode *i, const struct stat *st, unsigned what)
{
	uint32_t mode = what & VFS_SET_MODE ? st->st_mode & 07777 : i->mode;
	uint32_t uid = what & VFS_SET_UID ? st->st_uid : i->uid;
	uint32_t gid = what & VFS_SET_GID ? st->st_gid : i->gid;
	int r = i->side ? publish_set_owner(i->side->pub, mode, uid, gid) : 0;

	if (r)
		return r;
	i->mode = mode;
	i->uid = uid;
	i->gid = gid;
	return 0;
}

/* Under lock. */
static int set_plain(struct vfs *s, struct inode *i, const struct stat *st, unsigned what)
{
	int r = 0;

	if (what & (VFS_SET_MODE | VFS_SET_UID | VFS_SET_GID))
		r = set_owner(i, st, what);
	if (r)
		return r;
	if (what & VFS_SET_MTIME) {
		i->mtime = st->st_mtim;
		i->has_mtime = true;
		if (i->side)
			staged_set_mtime(i->side->st, &i->mtime);
	}
	/* The attributes of a file being written are stored once it is a File. */
	if (what & ~(unsigned)VFS_SET_SIZE && (!i->side || !i->side->dirty))
		vfs_remember(s, i);
	return 0;
}

/* Under lock: h's local side was cut or extended from before to size bytes. */
static void truncated(struct vfs *s, struct handle *h, uint64_t before, uint64_t size)
{
	struct staged_side *l = h->inode->side;

	h->wrote = true;
	h->writer_killed = h->writer_killed && size > 0;
	lost_move(&l->lost, &h->lost);
	lost_cut(&l->lost, size);
	side_changed(l);
	h->inode->mtime = clock_wall_ts();
	h->inode->has_mtime = true;
	if (size > before)
		side_declare(s, l, size);
	else if (l->predicted && size < before && !l->dropped) {
		l->predicted = 0;
		publish_predict(l->pub, 0);
	}
}

/* Under lock; h has a local side. */
static int truncate_locked(struct vfs *s, struct handle *h, uint64_t size,
			   const struct vfs_caller *who)
{
	struct staged_side *l = h->inode->side;
	uint64_t before;
	bool revived;
	int r = handle_writable(s, h, &revived);

	if (r)
		return r;
	before = staged_size(l->st);
	r = staged_truncate(l->st, size);
	if (r == -EBUSY && side_reopen(l) == 0)
		r = staged_truncate(l->st, size);
	if (r)
		handle_not_written(h, revived);
	else
		truncated(s, h, before, size);
	if (!r)
		vfs_drop_privileges(s, h->inode, who);
	return r;
}

static int truncate_once(struct vfs *s, struct handle *h, uint64_t size,
			 const struct vfs_caller *who, struct publish **ret_await)
{
	struct staged *st = NULL;
	int r = 0;

	/* A cut to nothing needs no content, so it also works for a File that may not be read. */
	if (size == 0 && (r = staged_create(s->cfg.staging, &st)) != 0)
		return r;
	pthread_mutex_lock(&s->lock);
	r = vfs_may_replace(s, h->inode);
	if (!r && !h->inode->side && st) {
		r = side_make(s, h->inode, st, NULL);
		st = NULL;
	}
	if (!r)
		r = truncate_locked(s, h, size, who);
	if (r == -EINPROGRESS)
		*ret_await = publish_ref(h->inode->side->pub);
	pthread_mutex_unlock(&s->lock);
	staged_unref(st);
	return r;
}

static int truncate_local(struct vfs *s, struct handle *h, uint64_t size,
			  const struct vfs_caller *who)
{
	struct publish *pub;
	int r;

	do {
		pub = NULL;
		r = truncate_once(s, h, size, who, &pub);
	} while (handle_await_change(pub, &r));
	return r;
}

/* A setattr with a size, under way. */
struct cutting {
	struct vfs *s;
	uint64_t ino, size;
	struct handle *h; /* ours if by_path, else the caller's */
	bool by_path;
	int err;
	struct vfs_caller who;
	vfs_entry_cb *cb;
	void *arg;
};

static void answer(struct cutting *c, int err)
{
	struct vfs_entry e;

	if (!err)
		err = vfs_getattr(c->s, c->ino, &e);
	c->cb(c->arg, err, err ? NULL : &e);
	free(c);
}

static void cut_closed(void *arg, int err)
{
	struct cutting *c = arg;

	vfs_release(c->s, c->h);
	answer(c, c->err ? c->err : err);
}

static void cut_now(void *arg, int err)
{
	struct cutting *c = arg;
	struct vfs_wait *wait;

	if (!err)
		err = truncate_local(c->s, c->h, c->size, &c->who);
	if (err == -EBUSY) {
		vfs_wait_writable(c->s, c->h, cut_now, c);
		return;
	}
	if (!c->by_path) {
		answer(c, err);
		return;
	}
	c->err = err;
	wait = vfs_wait_new(c->s);
	if (wait)
		vfs_flush(c->s, c->h, &c->who, 0, wait, cut_closed, c);
	else
		cut_closed(c, -ENOMEM); /* the release closes it */
}

static void cut_opened(void *arg, int err, const struct vfs_entry *e, struct handle *h)
{
	struct cutting *c = arg;

	(void)e;
	if (err) {
		answer(c, err);
		return;
	}
	c->h = h;
	cut_now(c, 0);
}

void vfs_setattr(struct vfs *s, uint64_t ino, const struct stat *st, unsigned what,
		 struct handle *h, const struct vfs_caller *who, vfs_entry_cb *cb, void *arg)
{
	struct vfs_entry e;
	struct cutting *c;
	struct inode *i;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (!i)
		r = -ENOENT;
	else if (i->special)
		r = -EPERM;
	else if ((what & VFS_SET_SIZE) && i->kind == INODE_DIR)
		r = -EISDIR;
	else
		r = set_plain(s, i, st, what);
	if (!r && !(what & VFS_SET_SIZE))
		vfs_fill(s, i, &e);
	pthread_mutex_unlock(&s->lock);
	if (r || !(what & VFS_SET_SIZE)) {
		cb(arg, r, r ? NULL : &e);
		return;
	}
	if ((uint64_t)st->st_size > STAGED_SIZE_MAX) {
		cb(arg, -EFBIG, NULL);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		cb(arg, -ENOMEM, NULL);
		return;
	}
	*c = (struct cutting){ .s = s,
			       .ino = ino,
			       .size = (uint64_t)st->st_size,
			       .h = h,
			       .by_path = !h || !h->may_write,
			       .who = *who,
			       .cb = cb,
			       .arg = arg };
	if (!c->by_path)
		cut_now(c, 0);
	else
		vfs_open(s, ino, O_WRONLY | (c->size ? 0 : O_TRUNC), who, cut_opened, c);
}
