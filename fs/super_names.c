/*
 * Names that go away or change: unlink and rename.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cache.h"
#include "fs/errmap.h"
#include "fs/super_impl.h"
#include "net/api.h"
#include "net/clock.h"
#include "net/log.h"

#define RENAME_NOREPLACE_FLAG 1U	/* as in linux/fs.h */

/* ---- unlink ---- */

struct removing {
	struct super *s;
	struct inode *inode;	/* referenced */
	char *file_id;
	super_done_cb *cb;
	void *arg;
};

/* Under lock: i goes from its directory, which stays even when it is empty now. */
static struct local *detach(struct super *s, struct inode *i)
{
	struct inode *dir = i->parent;
	struct local *out;

	if (dir) {
		dir->kept = true;
		dir->mtime = clock_wall_ts();
	}
	if (i->local)
		local_drop(i->local);
	out = local_settle(s, i);
	inode_unlink(s->table, i);
	return out;
}

static void on_deleted(void *arg, const struct api_error *err)
{
	struct removing *d = arg;
	struct super *s = d->s;
	struct local *out = NULL;
	char text[640];
	int r = errmap(err, ERRMAP_DELETE);

	if (r == -ENOENT)
		r = 0;		/* another host was quicker */
	if (r) {
		errmap_text(err, ERRMAP_DELETE, text, sizeof(text));
		log_error("removing %s: %s", d->file_id, text);
	}
	pthread_mutex_lock(&s->lock);
	if (!r && d->inode->file_id && !strcmp(d->inode->file_id, d->file_id)) {
		out = detach(s, d->inode);
		inode_set_file_id(s->table, d->inode, NULL);
	}
	inode_unref(s->table, d->inode);
	pthread_mutex_unlock(&s->lock);
	local_release(s, out);
	if (!r)
		cache_remove(s->cfg.cache, d->file_id);
	d->cb(d->arg, r);
	free(d->file_id);
	free(d);
}

static void delete_file(struct super *s, struct removing *d)
{
	struct api_req *req = api_file_delete(s->cfg.api, d->file_id, on_deleted, d);

	if (!req) {
		struct api_error none = { .kind = API_ERR_LOCAL, .local_errno = -ENOMEM };

		on_deleted(d, &none);
	}
	api_req_unref(req);
}

void super_unlink(struct super *s, uint64_t parent, const char *name, super_done_cb *cb, void *arg)
{
	struct removing *d = calloc(1, sizeof(*d));
	struct local *out = NULL;
	struct inode *dir, *i = NULL;
	int r = d ? 0 : -ENOMEM;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (dir)
		i = inode_find(s->table, dir, name);
	if (!r && !i)
		r = dir && dir->special ? -EPERM : -ENOENT;
	else if (!r && i->kind == INODE_DIR)
		r = -EISDIR;
	if (!r && i->file_id) {
		/* Its File, and with it the local side, if there is one. */
		*d = (struct removing){ s, i, strdup(i->file_id), cb, arg };
		r = d->file_id ? 1 : -ENOMEM;
		if (r == 1)
			inode_ref(i);
	} else if (!r) {
		out = detach(s, i);
	}
	pthread_mutex_unlock(&s->lock);
	local_release(s, out);
	if (r == 1) {
		delete_file(s, d);
		return;
	}
	free(d);
	cb(arg, r);
}

/* ---- rename ---- */

struct renaming {
	struct publish_wait w;	/* first */
	struct super *s;
	uint64_t parent, new_parent;
	unsigned flags;
	struct inode *inode;	/* referenced from the moment it was moved, or is being staged */
	bool was_file;		/* a published File: on failure it goes back where it was */
	super_done_cb *cb;
	void *arg;
	char *new_name;
	char name[];
};

static void rename_end(struct renaming *n, int err)
{
	if (n->inode) {
		pthread_mutex_lock(&n->s->lock);
		inode_unref(n->s->table, n->inode);
		pthread_mutex_unlock(&n->s->lock);
	}
	n->cb(n->arg, err);
	free(n->new_name);
	free(n);
}

static void rename_step(struct renaming *n);

static void rename_again(void *arg, int err)
{
	(void)err;
	rename_step(arg);
}

static void rename_staged(void *arg, int err)
{
	if (err)
		rename_end(arg, err);
	else
		rename_step(arg);
}

/* What was a File under its old name still is one: the entry goes back there. */
static void rename_published(void *arg, int err)
{
	struct renaming *n = arg;
	struct super *s = n->s;
	struct inode *dir;
	struct local *out = NULL;

	if (err && n->was_file) {
		pthread_mutex_lock(&s->lock);
		dir = inode_get(s->table, n->parent);
		if (dir && n->inode->local && n->inode->parent &&
		    !inode_find(s->table, dir, n->name)) {
			local_drop(n->inode->local);
			out = local_take(s, n->inode);
			inode_move(s->table, n->inode, dir, n->name);
		}
		pthread_mutex_unlock(&s->lock);
		local_release(s, out);
	}
	rename_end(n, err);
}

static bool only_local(const struct inode *dir)
{
	for (const struct inode *i = dir->child; i; i = i->next)
		if (i->kind == INODE_DIR ? !only_local(i) : i->file_id != NULL || !i->local)
			return false;
	return true;
}

static void tell_new_paths(struct inode *dir)
{
	char *path;

	for (struct inode *i = dir->child; i; i = i->next) {
		if (i->kind == INODE_DIR) {
			tell_new_paths(i);
		} else if (i->local && inode_path(i, &path) == 0) {
			publish_rename(i->local->pub, i->purpose, path);
			free(path);
		}
	}
}

static bool is_below(const struct inode *i, const struct inode *dir)
{
	for (; i; i = i->parent)
		if (i == dir)
			return true;
	return false;
}

/* Under lock. */
static int rename_dir(struct super *s, struct inode *i, struct inode *other, struct inode *dir,
		      const char *name)
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
	/* Each File below would have to be sent again: mv does that by itself. */
	if (!only_local(i))
		return -EXDEV;
	if (other)
		inode_unlink(s->table, other);
	i->parent->kept = true;
	r = inode_move(s->table, i, dir, name);
	if (!r)
		tell_new_paths(i);
	return r;
}

/* The entry that is replaced goes; its File will be superseded. Under lock. */
static int replace(struct super *s, struct local *l, struct inode *other, struct local **ret_out)
{
	int r = other->file_id ? publish_supersede(l->pub, other->file_id) : 0;

	if (!r)
		*ret_out = detach(s, other);
	return r;
}

enum rename_next { RENAME_DONE, RENAME_WAIT, RENAME_STAGE, RENAME_PUBLISH };

/* Under lock. */
static int rename_file(struct super *s, struct renaming *n, struct inode *i, struct inode *other,
		       struct inode *dir, struct local **ret_out, enum rename_next *ret)
{
	struct publish_info info = { 0 };
	struct local *l = i->local;
	bool held;
	char *path;
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
	if (info.under_way && !held) {
		*ret = RENAME_WAIT;
		return 0;
	}
	if (info.outcome == OUTCOME_COMPLETED && i->file_id) {
		/* Published, and still open somewhere: once more, under the new name. */
		n->was_file = true;
		if (local_reopen(l))
			return -EBUSY;
		l->dirty = true;
	}
	if (other && (r = replace(s, l, other, ret_out)) != 0)
		return r;
	i->parent->kept = true;
	r = inode_move(s->table, i, dir, n->new_name);
	if (!r)
		r = inode_path(i, &path);
	if (r)
		return r;
	r = publish_rename(l->pub, i->purpose, path);
	free(path);
	if (r)
		return r;
	if (held || n->was_file) {
		if (n->was_file && l->writers == 0)
			l->dirty = true;
		local_seal(s, i);
		*ret = RENAME_PUBLISH;
	}
	return 0;
}

static int rename_check(struct super *s, struct renaming *n, struct inode **ret_i,
			struct inode **ret_other, struct inode **ret_dir)
{
	struct inode *from = inode_get(s->table, n->parent);
	struct inode *dir = inode_get(s->table, n->new_parent);
	struct inode *i = from ? inode_find(s->table, from, n->name) : NULL;
	int r;

	if (!i || !dir)
		return -ENOENT;
	r = super_check_new(s, dir, n->new_name);
	if (r)
		return r;
	if (!super_is_purpose_writable(s, i))
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
	struct super *s = n->s;
	struct inode *i = NULL, *other = NULL, *dir = NULL;
	struct local *out = NULL;
	int r;

	pthread_mutex_lock(&s->lock);
	r = rename_check(s, n, &i, &other, &dir);
	if (!r && i != other) {
		if (i->kind == INODE_DIR)
			r = rename_dir(s, i, other, dir, n->new_name);
		else
			r = rename_file(s, n, i, other, dir, &out, &next);
	}
	if (!r && next != RENAME_DONE && !n->inode) {
		n->inode = i;
		inode_ref(i);
	}
	if (!r && (next == RENAME_WAIT || next == RENAME_PUBLISH)) {
		n->w.until = UNTIL_ENDED;
		n->w.cb = next == RENAME_WAIT ? rename_again : rename_published;
		n->w.arg = n;
		publish_wait(i->local->pub, &n->w);
	}
	pthread_mutex_unlock(&s->lock);
	local_release(s, out);
	if (r || next == RENAME_DONE)
		rename_end(n, r);
	else if (next == RENAME_STAGE) {
		/* On its way back through rename_file() it has a local side. */
		n->was_file = true;
		super_stage_content(s, i, UINT64_MAX, rename_staged, n);
	}
}

void super_rename(struct super *s, uint64_t parent, const char *name, uint64_t new_parent,
		  const char *new_name, unsigned flags, super_done_cb *cb, void *arg)
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
