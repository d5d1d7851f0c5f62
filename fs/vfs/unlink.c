/*
 * Unlink: delete the Files of an entry, then the entry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/unlink.h"
#include "fs/content/cache.h"
#include "fs/publish/publisher.h"
#include "fs/remote/errmap.h"
#include "fs/remote/listing.h"
#include "fs/tree/inode.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/gone.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/keep.h"
#include "fs/vfs/listed.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"

struct removing {
	struct removing *next, **pprev; /* list vfs.removings, under vfs.lock */
	struct vfs *s;
	struct inode *inode; /* referenced */
	char *own;	     /* the entry's File, or NULL */
	char **ids;	     /* Files to delete, last one first */
	size_t count;
	bool alone; /* its caller was killed: what is written since stays */
	vfs_done_cb *cb;
	void *arg;
};

/* Take i out of its directory, which is kept. Under lock. */
struct staged_side *vfs_detach(struct vfs *s, struct inode *i)
{
	struct inode *dir = i->parent;
	struct staged_side *out;

	if (dir)
		vfs_keep_dir(s, dir);
	if (i->side)
		side_drop(i->side);
	out = side_settle(s, i);
	inode_unlink(s->table, i);
	vfs_keep_changed(s);
	return out;
}

static void delete_next(struct vfs *s, struct removing *d);

/* Consumes id. */
static int add_id(struct removing *d, char *id)
{
	char **grown = id ? realloc(d->ids, (d->count + 1) * sizeof(*grown)) : NULL;

	if (!grown) {
		free(id);
		return -ENOMEM;
	}
	d->ids = grown;
	grown[d->count++] = id;
	return 0;
}

static void removing_free(struct removing *d)
{
	if (!d)
		return;
	while (d->count)
		free(d->ids[--d->count]);
	free(d->ids);
	free(d->own);
	free(d);
}

/* True if a close ended meanwhile gave the entry another File: delete that one next. Under lock. */
static bool replaced_meanwhile(struct removing *d)
{
	const struct inode *i = d->inode;
	char *own;

	if (d->alone || !i->parent || !i->file_id || (d->own && !strcmp(i->file_id, d->own)))
		return false;
	own = strdup(i->file_id);
	if (!own || add_id(d, strdup(i->file_id))) {
		free(own);
		return false;
	}
	free(d->own);
	d->own = own;
	return true;
}

/* True if the entry is more than what the removal began with. Under lock. */
static bool was_written(const struct removing *d)
{
	const struct inode *i = d->inode;

	if (i->side && !i->side->pristine && !i->side->dropped)
		return true;
	return i->file_id && d->own && strcmp(i->file_id, d->own) != 0;
}

/* All Files are deleted: remove the entry. Under lock. */
static struct staged_side *removed(struct vfs *s, struct removing *d)
{
	struct inode *i = d->inode;
	struct staged_side *out;

	/* The entry is gone already, by its name or by a listing. */
	if (!i->parent && !i->file_id)
		return NULL;
	if (d->alone && i->parent && was_written(d)) {
		if (d->own && i->file_id && !strcmp(i->file_id, d->own))
			inode_set_file_id(s->table, i, NULL);
		return NULL;
	}
	out = vfs_detach(s, i);
	inode_set_file_id(s->table, i, NULL);
	return out;
}

static void on_deleted(void *arg, const struct api_error *err)
{
	struct removing *d = arg;
	struct vfs *s = d->s;
	struct staged_side *out = NULL;
	char text[640], *id = d->ids[--d->count];
	int r = errmap(err, ERRMAP_DELETE);
	bool more;

	if (r == -ENOENT)
		r = 0; /* another host deleted it */
	if (r) {
		errmap_text(err, ERRMAP_DELETE, text, sizeof(text));
		vfs_log_failed(s, d->inode, "removing its File failed", r, text);
	}
	pthread_mutex_lock(&s->lock);
	if (!r)
		vfs_note_gone(s, id);
	if (!r && (!d->own || strcmp(id, d->own) != 0))
		vfs_forget_listed(s, id);
	more = !r && (d->count || replaced_meanwhile(d));
	if (!r && !more)
		out = removed(s, d);
	if (!more) {
		*d->pprev = d->next;
		if (d->next)
			d->next->pprev = d->pprev;
		inode_unref(s->table, d->inode);
	}
	pthread_mutex_unlock(&s->lock);
	if (!r)
		cache_remove(s->cfg.cache, id);
	free(id);
	side_release(s, out);
	if (more) {
		delete_next(s, d);
		return;
	}
	d->cb(d->arg, r);
	removing_free(d);
}

static void delete_next(struct vfs *s, struct removing *d)
{
	struct api_req *req = api_file_delete(s->cfg.api, d->ids[d->count - 1], on_deleted, d);

	if (!req) {
		struct api_error none = { .kind = API_ERR_LOCAL, .local_errno = -ENOMEM };

		on_deleted(d, &none);
	}
	api_req_unref(req);
}

/* Collect the Files to delete for the removal of i. Under lock. */
static int collect_files(struct vfs *s, struct removing *d, const struct inode *i)
{
	int r = 0;

	for (size_t k = 0; i->side && !s->cfg.keep_old && !r && k < i->side->superseded_count; k++)
		r = add_id(d, strdup(i->side->superseded_files[k]));
	if (!r && i->file_id) {
		d->own = strdup(i->file_id);
		r = d->own ? add_id(d, strdup(i->file_id)) : -ENOMEM;
	}
	return r;
}

/* True if i's writing was broken off, so that its bytes are no File. Under lock. */
static bool is_aborted(struct vfs *s, const struct inode *i)
{
	struct publish_info info;

	if (!i->side || i->side->dropped)
		return false;
	publish_get_info(i->side->pub, &info);
	/* The RELEASE of a killed writer comes after its parent may know of its death. */
	return i->side->killed || info.outcome == OUTCOME_ABORTED || handle_has_killed(s, i, NULL);
}

/* Remove the bytes alone; show the File they would have replaced again. Under lock. */
static struct staged_side *remove_bytes(struct vfs *s, struct inode *i)
{
	struct inode *dir = i->parent;
	char *id = i->file_id ? strdup(i->file_id) : NULL, *name = strdup(i->name);
	/* Under the name that the service knows: after a rename the listing tells it. */
	bool here = !i->side->moved;
	struct staged_side *out;

	inode_ref(i);
	out = vfs_detach(s, i);
	inode_set_file_id(s->table, i, NULL);
	if (id && name && here)
		vfs_show_again(s, i, dir, name, id);
	inode_unref(s->table, i);
	vfs_keep_changed(s);
	free(name);
	free(id);
	listing_refresh(s->listing, 0);
	return out;
}

void vfs_unlink(struct vfs *s, uint64_t parent, const char *name, vfs_done_cb *cb, void *arg)
{
	struct removing *d = calloc(1, sizeof(*d));
	struct staged_side *out = NULL;
	struct inode *dir, *i = NULL;
	int r = d ? 0 : -ENOMEM;
	bool aborted;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (dir)
		i = vfs_find_meant(s, dir, name);
	if (!r && dir && dir->special)
		r = -EPERM;
	else if (!r && !i)
		r = -ENOENT;
	else if (!r && i->kind == INODE_DIR)
		r = -EISDIR;
	aborted = !r && is_aborted(s, i);
	if (!r && !aborted)
		r = vfs_may_delete(s, i);
	if (!r && !aborted)
		r = collect_files(s, d, i);
	/* With a File the service is asked first: it may refuse. */
	if (!r && i->side && (aborted || !d->count))
		r = side_note_removed(i->side);
	if (!r && aborted) {
		out = remove_bytes(s, i);
	} else if (!r && d->count) {
		/* Delete its File first, the local side with it. */
		d->s = s;
		d->inode = i;
		d->cb = cb;
		d->arg = arg;
		d->next = s->removings;
		if (d->next)
			d->next->pprev = &d->next;
		d->pprev = &s->removings;
		s->removings = d;
		inode_ref(i);
		r = 1;
	} else if (!r) {
		out = vfs_detach(s, i);
	}
	pthread_mutex_unlock(&s->lock);
	side_release(s, out);
	if (r == 1) {
		delete_next(s, d);
		return;
	}
	removing_free(d);
	cb(arg, r);
}

void vfs_unlink_interrupted(struct vfs *s, const void *arg)
{
	struct removing *d;

	pthread_mutex_lock(&s->lock);
	for (d = s->removings; d && d->arg != arg; d = d->next)
		;
	if (d)
		d->alone = true;
	pthread_mutex_unlock(&s->lock);
}
