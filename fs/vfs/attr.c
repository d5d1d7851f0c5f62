/*
 * setattr: modes, owners, times, and truncation.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/vfs_impl.h"
#include "net/base/clock.h"

/* Under lock. */
static void set_plain(struct super *s, struct inode *i, const struct stat *st, unsigned what)
{
	if (what & SUPER_SET_MODE)
		i->mode = st->st_mode & 07777;
	if (what & SUPER_SET_UID)
		i->uid = st->st_uid;
	if (what & SUPER_SET_GID)
		i->gid = st->st_gid;
	if (what & SUPER_SET_MTIME) {
		i->mtime = st->st_mtim;
		i->has_mtime = true;
		if (i->local)
			staged_set_mtime(i->local->st, &i->mtime);
	}
	if (i->local && (what & (SUPER_SET_MODE | SUPER_SET_UID | SUPER_SET_GID)))
		publish_set_owner(i->local->pub, i->mode, i->uid, i->gid);
	/* Of what is being written it is remembered once it is a File. */
	if (what & ~(unsigned)SUPER_SET_SIZE && (!i->local || !i->local->dirty))
		super_remember(s, i);
}

static int truncate_local(struct super *s, struct handle *h, uint64_t size)
{
	struct staged *st = NULL;
	struct local *l;
	bool revived;
	uint64_t before;
	int r;

	/* Cutting to nothing needs no content, so it works for what may not be read, too. */
	if (size == 0 && (r = staged_create(s->cfg.staging, &st)) != 0)
		return r;
	pthread_mutex_lock(&s->lock);
	r = 0;
	if (!h->inode->local && st) {
		r = local_make(s, h->inode, st, NULL);
		st = NULL;
	}
	l = h->inode->local;
	if (!r)
		r = handle_writable(h, &revived);
	if (r)
		goto out;
	before = staged_size(l->st);
	r = staged_truncate(l->st, size);
	if (r == -EBUSY && local_reopen(l) == 0)
		r = staged_truncate(l->st, size);
	if (r == 0) {
		h->wrote = true;
		h->writer_killed = h->writer_killed && size > 0;
		/* Bytes that are missing behind its end are not missed. */
		if (size <= l->spoilt_at)
			l->spoilt = 0;
		local_changed(l);
		h->inode->mtime = clock_wall_ts();
		h->inode->has_mtime = true;
		if (size > before)
			local_declare(s, l, size);
		else if (l->predicted && size < before && !l->dropped) {
			l->predicted = 0;
			publish_predict(l->pub, 0);
		}
	} else {
		handle_not_written(h, revived);
	}
out:
	pthread_mutex_unlock(&s->lock);
	staged_unref(st);
	return r;
}

/* A setattr with a size, on its way. */
struct cutting {
	struct super *s;
	uint64_t ino, size;
	struct handle *h; /* of ours when by_path, else the caller's */
	bool by_path;
	int err;
	struct super_caller who;
	super_entry_cb *cb;
	void *arg;
};

static void answer(struct cutting *c, int err)
{
	struct super_entry e;

	if (!err)
		err = super_getattr(c->s, c->ino, &e);
	c->cb(c->arg, err, err ? NULL : &e);
	free(c);
}

static void cut_closed(void *arg, int err)
{
	struct cutting *c = arg;

	super_release(c->s, c->h);
	answer(c, c->err ? c->err : err);
}

static void cut_now(void *arg, int err)
{
	struct cutting *c = arg;
	struct super_wait *wait;

	if (!err)
		err = truncate_local(c->s, c->h, c->size);
	if (err == -EBUSY) {
		super_wait_writable(c->s, c->h, cut_now, c);
		return;
	}
	if (!c->by_path) {
		answer(c, err);
		return;
	}
	c->err = err;
	wait = super_wait_new(c->s);
	if (wait)
		super_flush(c->s, c->h, &c->who, 0, wait, cut_closed, c);
	else
		cut_closed(c, -ENOMEM); /* its release closes it */
}

static void cut_opened(void *arg, int err, const struct super_entry *e, struct handle *h)
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

void super_setattr(struct super *s, uint64_t ino, const struct stat *st, unsigned what,
		   struct handle *h, const struct super_caller *who, super_entry_cb *cb, void *arg)
{
	struct super_entry e;
	struct cutting *c;
	struct inode *i;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (!i)
		r = -ENOENT;
	else if (i->special)
		r = -EPERM;
	else if ((what & SUPER_SET_SIZE) && i->kind == INODE_DIR)
		r = -EISDIR;
	else
		set_plain(s, i, st, what);
	if (!r && !(what & SUPER_SET_SIZE))
		super_fill(s, i, &e);
	pthread_mutex_unlock(&s->lock);
	if (r || !(what & SUPER_SET_SIZE)) {
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
		super_open(s, ino, O_WRONLY | (c->size ? 0 : O_TRUNC), who, cut_opened, c);
}
