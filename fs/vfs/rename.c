/*
 * Rename of files and directories.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/copyup.h"
#include "fs/vfs/gone.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/unlink.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

#define RENAME_NOREPLACE_FLAG 1U /* as in linux/fs.h */

struct renaming {
	struct publish_wait w; /* first */
	struct vfs *s;
	uint64_t parent, new_parent;
	unsigned flags;
	struct inode *inode; /* referenced once it is moved, staged or waited for */
	bool was_file;	     /* a published File: failure undoes the rename */
	bool wants_file;     /* the name moves once its File exists */
	struct rename_intent intent;
	char *former; /* with keep_old: id of the File to delete; the overwritten one stays */
	vfs_done_cb *cb;
	void *arg;
	char *new_name;
	char name[];
};

static void rename_end(struct renaming *n, int err)
{
	struct staged_side *out = NULL;

	if (n->inode) {
		pthread_mutex_lock(&n->s->lock);
		/* Drop content fetched in vain. */
		out = side_settle(n->s, n->inode);
		inode_unref(n->s->table, n->inode);
		pthread_mutex_unlock(&n->s->lock);
		side_release(n->s, out);
	}
	n->cb(n->arg, err);
	while (n->intent.victim_count)
		free(n->intent.victims[--n->intent.victim_count]);
	free(n->intent.victims);
	free(n->former);
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

/* True if the staged file only copies the File and nobody is about to change it. Under lock. */
static bool only_a_copy(const struct staged_side *l)
{
	struct publish_info info;

	publish_get_info(l->pub, &info);
	return !l->writers && !l->dirty && !l->touched && !info.under_way;
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
	l->intent = NULL;
	if (l->dropped)
		return NULL;
	for (size_t k = 0; k < n->intent.victim_count; k++)
		publish_spare(l->pub, n->intent.victims[k]);
	if (n->was_file && only_a_copy(l)) {
		side_drop(l);
		return side_take(s, n->inode);
	}
	if (n->inode->parent && side_renamed(s, n->inode))
		log_error("out of memory: a file keeps the name of a failed rename");
	return NULL;
}

static void rename_published(void *arg, int err)
{
	struct renaming *n = arg;
	struct vfs *s = n->s;
	struct staged_side *out = NULL;

	pthread_mutex_lock(&s->lock);
	if (err != -EINTR)
		out = give_up(s, n);
	else if (n->inode->side && n->inode->side->intent == &n->intent)
		n->inode->side->intent = NULL; /* the next mount resumes the intent */
	/* The file was removed by its id meanwhile. */
	if (!err && n->wants_file && !n->intent.done)
		err = -ENOENT;
	pthread_mutex_unlock(&s->lock);
	side_release(s, out);
	if (!err && n->former)
		vfs_delete_unwanted(s, n->former);
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
	for (at = i; !r && at; at = inode_next_below(i, at))
		if (at->kind == INODE_FILE && side_told(s, at))
			log_error("out of memory: a file is published under its former name");
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

/*
 * Mark the File for deletion along with l's publication: now, or once the intent is done. Under
 * lock.
 */
static int doom(struct renaming *n, struct staged_side *l, const char *id)
{
	struct rename_intent *t = &n->intent;
	char **grown;
	int r;

	if (!n->wants_file)
		return side_supersede(l, id);
	grown = realloc(t->victims, (t->victim_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	t->victims = grown;
	grown[t->victim_count] = strdup(id);
	if (!grown[t->victim_count])
		return -ENOMEM;
	r = publish_supersede(l->pub, id);
	if (r)
		free(grown[t->victim_count]);
	else
		t->victim_count++;
	return r;
}

/*
 * Mark every File of `other`, the replaced entry, for deletion. Leaves the entry alone. Under lock.
 */
static int doom_all(struct renaming *n, struct staged_side *l, const struct inode *other)
{
	int r = other->file_id ? doom(n, l, other->file_id) : 0;

	/* Inherit the Files `other` was to supersede. */
	for (size_t k = 0; other->side && !r && k < other->side->superseded_count; k++)
		r = doom(n, l, other->side->superseded_files[k]);
	return r;
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
	if (r || !other)
		return r;
	/* The new name is committed: only log a failure. */
	if (doom_all(n, i->side, other))
		log_error("out of memory: a File that was replaced shows beside %s", n->new_name);
	*ret_out = vfs_detach(s, other);
	return 0;
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
	i->side->intent = t;
	r = side_renamed(s, i);
	if (!r && other)
		r = doom_all(n, i->side, other);
	if (r) {
		/* Its next File must not delete what the target keeps. */
		for (size_t k = 0; k < t->victim_count; k++)
			publish_take_back(i->side->pub, t->victims[k]);
		i->side->intent = NULL;
		side_renamed(s, i);
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
	publishes = held || n->was_file || empty;
	/* A temporary name is held, so the rename needs no File. */
	r = publishes && !names_temporary(n->new_name, temporary)
		    ? begin_intent(s, n, i, other, dir)
		    : move_now(s, n, i, other, dir, ret_out);
	if (r)
		return r;
	if (publishes) {
		side_seal(s, i);
		*ret = RENAME_PUBLISH;
	}
	return 0;
}

static int rename_check(struct vfs *s, struct renaming *n, struct inode **ret_i,
			struct inode **ret_other, struct inode **ret_dir)
{
	struct inode *from = inode_get(s->table, n->parent);
	struct inode *dir = inode_get(s->table, n->new_parent);
	struct inode *i = from ? inode_find(s->table, from, n->name) : NULL;
	int r;

	if (!i || !dir)
		return -ENOENT;
	r = vfs_check_new(s, dir, n->new_name);
	if (r)
		return r;
	if (!vfs_is_purpose_writable(s, i))
		return -EPERM;
	*ret_other = inode_find(s->table, dir, n->new_name);
	if (*ret_other && (n->flags & RENAME_NOREPLACE_FLAG))
		return -EEXIST;
	*ret_i = i;
	*ret_dir = dir;
	return 0;
}

static void rename_step(struct renaming *n)
{
	enum rename_next next = RENAME_DONE;
	struct vfs *s = n->s;
	struct inode *i = NULL, *other = NULL, *dir = NULL, *busy = NULL;
	char held[NAMES_MAX + 1];
	struct staged_side *out = NULL;
	int r;

	pthread_mutex_lock(&s->lock);
	r = rename_check(s, n, &i, &other, &dir);
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
	/* Without keep_old the new File supersedes it. */
	if (!r && next == RENAME_PUBLISH && n->was_file && s->cfg.keep_old && i->file_id)
		n->former = strdup(i->file_id);
	if (!r && (next == RENAME_WAIT || next == RENAME_PUBLISH)) {
		/* A rename between temporary names stays held. */
		n->w.until = next == RENAME_WAIT		  ? UNTIL_WRITABLE
			     : names_temporary(n->new_name, held) ? side_held_until(s)
								  : UNTIL_ENDED;
		n->w.cb = next == RENAME_WAIT ? rename_again : rename_published;
		n->w.arg = n;
		publish_wait(i->side->pub, &n->w);
	}
	pthread_mutex_unlock(&s->lock);
	side_release(s, out);
	if (r || next == RENAME_DONE)
		rename_end(n, r);
	else if (next == RENAME_STAGE) {
		/* Retried through rename_file(), now staged. */
		n->was_file = true;
		vfs_stage_content(s, i, NULL, rename_staged, n);
	}
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
	rename_step(n);
}
