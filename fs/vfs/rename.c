/*
 * Rename of files and directories.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/cache.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/check.h"
#include "fs/vfs/copyup.h"
#include "fs/vfs/gone.h"
#include "fs/vfs/intent.h"
#include "fs/vfs/keep.h"
#include "fs/vfs/lifetime.h"
#include "fs/vfs/node.h"
#include "fs/vfs/side_name.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/unlink.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

#define RENAME_NOREPLACE_FLAG 1U /* as in linux/fs.h */

struct renaming {
	struct publish_wait w;		/* first */
	struct renaming *next, **pprev; /* list vfs.renamings, under vfs.lock */
	struct vfs *s;
	uint64_t parent, new_parent;
	unsigned flags;
	struct inode *inode; /* referenced once it is moved, staged or waited for */
	bool was_file;	     /* a published File: failure undoes the rename */
	bool was_held;	     /* held: failure holds it again */
	bool interrupted;    /* its caller was killed: end it unless complete was asked */
	bool wants_file;     /* the name moves once its File exists */
	struct rename_intent intent;
	vfs_done_cb *cb;
	void *arg;
	char *new_name;
	char name[];
};

static void rename_end(struct renaming *n, int err)
{
	struct staged_side *out = NULL;

	pthread_mutex_lock(&n->s->lock);
	*n->pprev = n->next;
	if (n->next)
		n->next->pprev = n->pprev;
	intent_close(&n->intent);
	if (n->inode) {
		/* Drop content fetched in vain. */
		out = side_settle(n->s, n->inode);
		inode_unref(n->s->table, n->inode);
	}
	pthread_mutex_unlock(&n->s->lock);
	side_release(n->s, out);
	n->cb(n->arg, err);
	intent_release(&n->intent);
	free(n->new_name);
	free(n);
}

static void rename_step(struct renaming *n);

static void rename_again(void *arg, int err)
{
	if (err == -EINTR)
		rename_end(arg, err); /* nothing is published any more */
	else
		rename_step(arg);
}

static void rename_staged(void *arg, int err)
{
	if (err)
		rename_end(arg, err);
	else
		rename_step(arg);
}

/*
 * Undo the intent: both names are as before. Under lock, on the publisher thread. Returns an
 * argument for side_release(), or NULL.
 */
static struct staged_side *give_up(struct vfs *s, struct renaming *n)
{
	struct staged_side *l = n->inode->side;

	if (!l || l->intent != &n->intent)
		return NULL;
	staged_intend(l->st, false);
	if (l->dropped) {
		intent_close(&n->intent);
		return NULL;
	}
	if (side_moved_back(s, n->inode, &n->intent))
		log_error("a file keeps the name of a failed rename");
	lifetime_moved(s, n->inode, n->inode->parent, NULL);
	check_moved(s, n->inode, n->inode->parent);
	if (l->dirty || l->touched || l->killed)
		return NULL;
	/* The File stands: what is staged goes when no writer has it open. */
	l->pristine = n->was_file && staged_is_copy(l->st);
	if (n->was_held)
		side_seal(s, n->inode);
	return side_settle(s, n->inode);
}

static void rename_published(void *arg, int err)
{
	struct renaming *n = arg;
	struct vfs *s = n->s;
	struct staged_side *out = NULL;

	pthread_mutex_lock(&s->lock);
	/* At the end of the daemon the row stays as it is: the next mount decides. */
	if (err != -EINTR)
		out = give_up(s, n);
	else
		intent_close(&n->intent);
	if (err == -ECANCELED)
		err = n->intent.taken ? -EEXIST : -EINTR;
	/* The file was removed by its id meanwhile. */
	if (!err && n->wants_file && !n->intent.done)
		err = -ENOENT;
	pthread_mutex_unlock(&s->lock);
	side_release(s, out);
	rename_end(n, err);
}

/*
 * 0 if everything below dir is staged only, -EXDEV if there is a File. *ret_busy: a file being
 * published, whose name can't change before the end. Under lock.
 */
static int only_local(const struct inode *dir, struct inode **ret_busy)
{
	struct publish_info info;
	struct inode *i = dir->child;

	for (; i; i = inode_next_below(dir, i)) {
		if (i->kind == INODE_DIR)
			continue;
		if (i->file_id || !i->side)
			return -EXDEV;
		publish_get_info(i->side->pub, &info);
		if (info.under_way && strcmp(info.status, "held") != 0)
			*ret_busy = i;
	}
	return 0;
}

static bool is_below(const struct inode *i, const struct inode *dir)
{
	for (; i; i = i->parent)
		if (i == dir)
			return true;
	return false;
}

/*
 * Commit the move of the directory and of all below it, which is local, at once. Only lack of
 * memory can fail after the commit. Under lock.
 */
static int move_dir(struct vfs *s, struct inode *i, struct inode *other, struct inode *dir,
		    const char *name)
{
	struct inode *at;
	int r;

	for (at = i; at; at = inode_next_below(i, at))
		if (at->kind == INODE_FILE)
			staged_placed(at->side->st);
	r = vfs_move_dir(s, i, dir, name);
	if (r)
		return r;
	if (other)
		inode_unlink(s->table, other);
	r = inode_move(s->table, i, dir, name);
	vfs_keep_changed(s);
	for (at = i; !r && at; at = inode_next_below(i, at)) {
		if (at->kind != INODE_FILE)
			continue;
		if (side_told(s, at))
			log_error("out of memory: a file is published under its former name");
		lifetime_moved(s, at, at->parent, NULL);
		check_moved(s, at, at->parent);
	}
	return r;
}

/* 0 with *ret_busy set: retry when that file is published. Under lock. */
static int rename_dir(struct vfs *s, struct inode *i, struct inode *other, struct inode *dir,
		      const char *name, struct inode **ret_busy)
{
	int r;

	if (i->fixed || i->special)
		return -EPERM;
	if (is_below(dir, i))
		return -EINVAL;
	if (other && other->kind != INODE_DIR)
		return -ENOTDIR;
	if (other && other->fixed)
		return -EPERM;
	if (other && other->child)
		return -ENOTEMPTY;
	/* Each File below would have to be sent again; -EXDEV makes mv copy. */
	r = only_local(i, ret_busy);
	if (r || *ret_busy)
		return r;
	if (inode_path_size(dir) + strlen(name) + 1 + inode_size_below(i) > PATH_MAX)
		return -ENAMETOOLONG;
	vfs_keep_dir(s, i->parent);
	if (other)
		vfs_forget_dir(s, other);
	return move_dir(s, i, other, dir, name);
}

/* Move i to its new name. Do everything that can fail before the target goes. Under lock. */
static int move_now(struct vfs *s, struct renaming *n, struct inode *i, struct inode *other,
		    struct inode *dir, struct staged_side **ret_out)
{
	struct inode *from = i->parent;
	int r;

	vfs_keep_dir(s, from);
	r = inode_move(s->table, i, dir, n->new_name);
	if (r)
		return r;
	r = side_moved(s, i, other);
	if (r && inode_move(s->table, i, from, n->name) == 0)
		side_renamed(s, i);
	vfs_keep_changed(s);
	i->side->moved = i->side->moved || !r;
	if (!r && other)
		*ret_out = vfs_detach(s, other);
	return r;
}

/* Begin to publish under the new name; move nothing yet. Under lock. */
static int begin_intent(struct vfs *s, struct renaming *n, struct inode *i, struct inode *other,
			struct inode *dir)
{
	struct rename_intent *t = &n->intent;
	int r;

	t->dir = dir->ino;
	t->name = n->new_name;
	t->noreplace = n->flags & RENAME_NOREPLACE_FLAG;
	n->wants_file = true;
	intent_open(s, t, i->side);
	staged_intend(i->side->st, !t->noreplace);
	r = n->was_file ? staged_mark_copy(i->side->st, i->file_id) : 0;
	if (!r)
		r = side_moved(s, i, other);
	if (r) {
		/* Its next File must not delete what the target keeps. */
		for (size_t k = 0; k < t->victim_count; k++)
			publish_take_back(i->side->pub, t->victims[k]);
		intent_close(t);
		staged_intend(i->side->st, false);
	}
	return r;
}

enum rename_next { RENAME_DONE, RENAME_WAIT, RENAME_STAGE, RENAME_PUBLISH };

/* Under lock. */
static int rename_file(struct vfs *s, struct renaming *n, struct inode *i, struct inode *other,
		       struct inode *dir, struct staged_side **ret_out, enum rename_next *ret)
{
	struct publish_info info = { 0 };
	struct staged_side *l = i->side;
	char temporary[NAMES_MAX + 1];
	bool held, empty, publishes;
	int r;

	*ret = RENAME_DONE;
	if (other && other->kind == INODE_DIR)
		return -EISDIR;
	if (!l) {
		*ret = RENAME_STAGE;
		return 0;
	}
	publish_get_info(l->pub, &info);
	held = !strcmp(info.status, "held");
	/* An empty file makes no File to replace the other's: that one goes with this rename. */
	empty = info.outcome == OUTCOME_EMPTY && other && !l->touched && !l->dirty;
	if (info.under_way && !held) {
		*ret = RENAME_WAIT;
		return 0;
	}
	if (info.outcome == OUTCOME_COMPLETED && i->file_id) {
		/* Published but still open: publish again under the new name. */
		n->was_file = true;
		r = l->killed ? 0 : staged_mark_copy(l->st, i->file_id);
		if (r)
			return r;
		if (side_reopen(l)) {
			*ret = RENAME_WAIT;
			return 0;
		}
	}
	/* A killed writer changed the bytes meanwhile: they are no File. */
	if (info.outcome == OUTCOME_ABORTED || l->killed)
		n->was_file = false;
	/* A failed write fetched the File's content: the File itself has the old name. */
	n->was_file = n->was_file || l->pristine;
	n->was_held = held;
	publishes = held || n->was_file;
	lifetime_moved(s, i, dir, n->was_file ? NULL : other);
	check_moved(s, i, dir);
	/* A temporary name is held, so that the rename needs no File; a File stays one. */
	r = publishes && (n->was_file || !names_temporary(n->new_name, temporary))
		    ? begin_intent(s, n, i, other, dir)
		    : move_now(s, n, i, other, dir, ret_out);
	if (r)
		return r;
	if (publishes)
		side_seal(s, i);
	else if (empty)
		publish_reap(l->pub);
	if (publishes || empty)
		*ret = RENAME_PUBLISH;
	return 0;
}

static int rename_check(struct vfs *s, struct renaming *n, struct inode **ret_i,
			struct inode **ret_other, struct inode **ret_dir)
{
	struct inode *from = inode_get(s->table, n->parent);
	struct inode *dir = inode_get(s->table, n->new_parent);
	struct inode *i = from ? inode_find(s->table, from, n->name) : NULL;
	int r;

	/*
	 * Another File has come by this name, which the caller has not seen. The kernel always
	 * looks the target up.
	 */
	if (!i || !dir || vfs_find_meant(s, from, n->name) != i)
		return -ENOENT;
	r = vfs_check_new(s, dir, n->new_name);
	if (r)
		return r;
	if (!vfs_is_purpose_writable(s, i))
		return -EPERM;
	*ret_other = inode_find(s->table, dir, n->new_name);
	if (*ret_other && (n->flags & RENAME_NOREPLACE_FLAG))
		return -EEXIST;
	r = i == *ret_other ? 0 : vfs_may_delete(s, i);
	if (!r && *ret_other && i != *ret_other)
		r = vfs_may_replace(s, *ret_other);
	if (r)
		return r;
	*ret_i = i;
	*ret_dir = dir;
	return 0;
}

/*
 * 0 if the cache has the whole File. -EXDEV if not: the parents are locked by the kernel until the
 * rename ends, which is no time for a download; mv copies then.
 */
static int cached_here(struct vfs *s, const char *id, uint64_t bytes)
{
	struct cache_copy copy;
	int r = id ? cache_get(s->cfg.cache, id, bytes, &copy) : -ENOENT;

	if (r)
		return r == -ENOENT ? -EXDEV : r;
	close(copy.fd);
	return 0;
}

/* -EAGAIN if the source is no longer the File that was looked for in the cache, else r. */
static int look_again(struct renaming *n, const char *id, int r)
{
	const struct inode *from, *i = n->inode;

	pthread_mutex_lock(&n->s->lock);
	from = inode_get(n->s->table, n->parent);
	if (!from || inode_find(n->s->table, from, n->name) != i || i->side || !i->file_id || !id ||
	    strcmp(i->file_id, id) != 0)
		r = -EAGAIN;
	else if (vfs_is_gone(n->s, id))
		r = -ENOENT;
	pthread_mutex_unlock(&n->s->lock);
	return r;
}

static void rename_step(struct renaming *n)
{
	enum rename_next next = RENAME_DONE;
	struct vfs *s = n->s;
	struct inode *i = NULL, *other = NULL, *dir = NULL, *busy = NULL;
	char held[NAMES_MAX + 1], *id = NULL;
	struct staged_side *out = NULL;
	uint64_t bytes = 0;
	int r;

	pthread_mutex_lock(&s->lock);
	r = n->interrupted ? -EINTR : rename_check(s, n, &i, &other, &dir);
	/* The name is another inode by now: forget the facts of the former one. */
	if (!r && n->inode && n->inode != i)
		n->was_file = false;
	if (!r && i != other && i->kind == INODE_FILE)
		r = rename_file(s, n, i, other, dir, &out, &next);
	else if (!r && i != other)
		r = rename_dir(s, i, other, dir, n->new_name, &busy);
	if (!r && busy) {
		next = RENAME_WAIT;
		i = busy;
	}
	if (!r && next != RENAME_DONE && n->inode != i) {
		if (n->inode)
			inode_unref(s->table, n->inode);
		n->inode = i;
		inode_ref(i);
	}
	if (!r && (next == RENAME_WAIT || next == RENAME_PUBLISH)) {
		/* What was held under a temporary name stays so under another one. */
		n->w.until = next == RENAME_WAIT ? UNTIL_WRITABLE
			     : !n->wants_file && names_temporary(n->new_name, held)
				     ? side_held_until(s)
				     : UNTIL_ENDED;
		n->w.cb = next == RENAME_WAIT ? rename_again : rename_published;
		n->w.arg = n;
		publish_wait(i->side->pub, &n->w);
	}
	if (!r && next == RENAME_STAGE && i->file_id) {
		id = strdup(i->file_id);
		bytes = i->bytes;
	}
	pthread_mutex_unlock(&s->lock);
	side_release(s, out);
	if (!r && next == RENAME_STAGE)
		r = cached_here(s, id, bytes);
	if (r == -EXDEV && next == RENAME_STAGE)
		r = look_again(n, id, r);
	free(id);
	if (r == -EAGAIN)
		rename_step(n);
	else if (r || next == RENAME_DONE)
		rename_end(n, r);
	else if (next == RENAME_STAGE) {
		/* Retried through rename_file(), now staged. */
		n->was_file = true;
		vfs_stage_content(s, i, NULL, rename_staged, n);
	}
}

void vfs_rename_interrupted(struct vfs *s, const void *arg)
{
	struct renaming *n;

	pthread_mutex_lock(&s->lock);
	for (n = s->renamings; n && n->arg != arg; n = n->next)
		;
	if (n) {
		n->interrupted = true;
		if (n->intent.side)
			publish_withdraw(n->intent.side->pub);
	}
	pthread_mutex_unlock(&s->lock);
}

void vfs_rename(struct vfs *s, uint64_t parent, const char *name, uint64_t new_parent,
		const char *new_name, unsigned flags, vfs_done_cb *cb, void *arg)
{
	size_t len = strlen(name) + 1;
	struct renaming *n;

	if (flags & ~RENAME_NOREPLACE_FLAG) {
		cb(arg, -EINVAL);
		return;
	}
	n = calloc(1, sizeof(*n) + len);
	if (n)
		n->new_name = strdup(new_name);
	if (!n || !n->new_name) {
		free(n);
		cb(arg, -ENOMEM);
		return;
	}
	n->s = s;
	n->parent = parent;
	n->new_parent = new_parent;
	n->flags = flags;
	n->cb = cb;
	n->arg = arg;
	memcpy(n->name, name, len);
	pthread_mutex_lock(&s->lock);
	n->next = s->renamings;
	if (n->next)
		n->next->pprev = &n->next;
	n->pprev = &s->renamings;
	s->renamings = n;
	pthread_mutex_unlock(&s->lock);
	rename_step(n);
}
