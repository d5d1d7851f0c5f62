/*
 * Open and create.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/content/fetch.h"
#include "fs/proc/writer.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/state/store.h"
#include "fs/tree/inode.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/control.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/keep.h"
#include "fs/vfs/listed.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "fs/vfs/write.h"
#include "net/base/clock.h"

/* An open that may have to wait for a publication to end. */
struct opening {
	struct publish_wait w; /* first */
	struct vfs *s;
	uint64_t ino;
	int flags;
	struct vfs_caller who;
	vfs_open_cb *cb;
	void *arg;
};

static void open_again(void *arg, int err)
{
	struct opening *o = arg;

	/*
	 * An overwriter ignores the outcome of the former publication; but -EINTR means that no
	 * other one follows.
	 */
	if (err == -EINTR)
		o->cb(o->arg, err, NULL, NULL);
	else
		vfs_open(o->s, o->ino, o->flags, &o->who, o->cb, o->arg);
	free(o);
}

/* Open the source of reads for a handle without local bytes. Frees id. */
static int open_reading(struct vfs *s, struct handle *h, char *id, uint64_t bytes, const char *md5)
{
	int r = id ? fetch_open(s->cfg.fetcher, id, bytes, &h->fetch) : 0;

	if (id && !r && md5[0])
		fetch_expect(h->fetch, md5);
	free(id);
	return r;
}

/*
 * O_TRUNC on a file with a local side. Under lock. 0 or negative errno; -EBUSY while it is being
 * published.
 */
static int cut_local(struct staged_side *l)
{
	int r = staged_truncate(l->st, 0);

	if (r == -EBUSY) {
		r = side_reopen(l);
		if (r == 0)
			r = staged_truncate(l->st, 0);
	} else if (r == 0 && l->killed) {
		publish_reopen(l->pub);
	}
	if (r)
		return r;
	l->killed = false;
	lost_clear(&l->lost);
	l->abort_reported = false;
	l->dirty = l->pristine = l->recovered = false;
	/* All bytes are new: they may be a copy of another source. */
	l->predicted = l->predict_next = 0;
	l->predict_tries = 0;
	publish_predict(l->pub, 0);
	return 0;
}

enum open_step { OPEN_NOW, OPEN_WAIT };

/* Note a cut to nothing, which counts as a write. Under lock. */
static void cut_now(struct vfs *s, struct inode *i, const struct vfs_caller *who)
{
	i->side->touched = !i->side->dropped;
	i->mtime = clock_wall_ts();
	i->has_mtime = true;
	vfs_drop_privileges(s, i, who);
}

/*
 * Make i ready for a writer. st: a new staged file, consumed (set to NULL) when needed. Under lock.
 */
static int open_writing(struct vfs *s, struct inode *i, int flags, const struct vfs_caller *who,
			struct staged **st, enum open_step *ret)
{
	int r;

	*ret = OPEN_NOW;
	if (!vfs_is_purpose_writable(s, i))
		return -EPERM;
	r = flags & O_TRUNC ? vfs_may_replace(s, i) : 0;
	if (r)
		return r;
	vfs_take_name_back(s, i);
	if (i->side) {
		if (!(flags & O_TRUNC))
			return 0;
		r = cut_local(i->side);
		/* The name was removed meanwhile: the kernel looks it up again. */
		if (r == -EBUSY && i->side->dropped)
			return -ESTALE;
		if (r == -EBUSY) {
			*ret = OPEN_WAIT;
			return 0;
		}
		if (r == 0)
			cut_now(s, i, who);
		return r;
	}
	/*
	 * Removed and reopened through /proc/PID/fd, or removed elsewhere since the caller's
	 * lookup: there is no name to publish under. The kernel looks the name up again.
	 */
	if (!i->parent && (flags & O_TRUNC || !i->unlisted))
		return -ESTALE;
	/* Fetch the content at the first write: touch(1) needs none. */
	if (!(flags & O_TRUNC))
		return 0;
	r = side_make(s, i, *st, NULL);
	*st = NULL;
	if (r == 0)
		cut_now(s, i, who);
	return r;
}

static struct opening *opening_new(struct vfs *s, uint64_t ino, int flags,
				   const struct vfs_caller *who, vfs_open_cb *cb, void *arg)
{
	struct opening *o = calloc(1, sizeof(*o));

	if (o)
		*o = (struct opening){
			.s = s, .ino = ino, .flags = flags, .who = *who, .cb = cb, .arg = arg
		};
	return o;
}

/* The results of an open under the lock. */
struct opened {
	enum open_step step;
	struct handle *h;
	struct publish *await; /* see handle_await_change(); or NULL */
	struct vfs_entry e;
	char *file_id; /* the File to read from, or NULL */
	uint64_t bytes;
	char md5[sizeof(((struct published *)0)->md5)]; /* of its content; "": unknown */
};

/* Make i's handle and fill its attributes. w is consumed with the handle. Under lock. */
static int open_handle(struct vfs *s, struct inode *i, int flags, struct writer *w,
		       struct opened *ret)
{
	ret->h = handle_new(s, i, flags, w);
	if (!ret->h)
		return -ENOMEM;
	vfs_fill(s, i, &ret->e);
	/*
	 * A write-only handle needs the source, too: its first write wants the content, and the
	 * File may have been removed by then.
	 */
	if (ret->h->st || !i->file_id)
		return 0;
	ret->file_id = strdup(i->file_id);
	ret->bytes = i->bytes;
	if (i->published)
		memcpy(ret->md5, i->published->md5, sizeof(ret->md5));
	return ret->file_id ? 0 : -ENOMEM;
}

/* Under lock: open anew then. */
static void wait_until(struct opening *o, struct inode *i, enum publish_until until)
{
	o->w.until = until;
	o->w.cb = open_again;
	o->w.arg = o;
	publish_wait(i->side->pub, &o->w);
}

/* w: NULL for a reader; else *st is set. *st as in open_writing(). Under lock. */
static int open_locked(struct vfs *s, uint64_t ino, int flags, struct writer *w, struct opening *o,
		       struct staged **st, struct opened *ret)
{
	struct inode *i = inode_get(s->table, ino);
	bool cuts;
	int r;

	if (!i)
		return -ENOENT;
	if (i->kind == INODE_DIR)
		return -EISDIR;
	cuts = (flags & O_TRUNC) && (i->file_id || (i->side && staged_size(i->side->st)));
	if (!(flags & O_TRUNC) && i->side && publish_is_unproven(i->side->pub)) {
		wait_until(o, i, UNTIL_PROVEN);
		ret->step = OPEN_WAIT;
		return 0;
	}
	r = w ? open_writing(s, i, flags, &o->who, st, &ret->step) : 0;
	if (r == -EINPROGRESS)
		ret->await = publish_ref(i->side->pub);
	if (r)
		return r;
	if (ret->step == OPEN_WAIT) {
		wait_until(o, i, UNTIL_OPENABLE);
		return 0;
	}
	/* The file was removed after the lookup: fail instead of showing an empty file. */
	if (!i->side && !i->file_id)
		return -ESTALE;
	r = open_handle(s, i, flags, w, ret);
	if (ret->h)
		ret->h->cut = cuts;
	return r;
}

void vfs_open(struct vfs *s, uint64_t ino, int flags, const struct vfs_caller *who, vfs_open_cb *cb,
	      void *arg)
{
	struct opened opened = { .step = OPEN_NOW };
	struct writer *w = NULL;
	struct staged *st = NULL;
	struct opening *o = NULL;
	int r = 0;

	if (vfs_open_control(s, ino, flags, cb, arg))
		return;
	if (handle_wants_write(flags)) {
		if (atomic_load(&s->closing)) {
			cb(arg, -EROFS, NULL, NULL);
			return;
		}
		w = writer_new(who->tid);
		r = w ? staged_create(s->cfg.staging, &st) : -ENOMEM;
	}
	o = opening_new(s, ino, flags, who, cb, arg);
	if (!o && !r)
		r = -ENOMEM;
	if (!r) {
		pthread_mutex_lock(&s->lock);
		r = open_locked(s, ino, flags, w, o, &st, &opened);
		pthread_mutex_unlock(&s->lock);
	}
	staged_unref(st);
	if (!opened.h)
		writer_free(w);
	if (!r && opened.step == OPEN_WAIT)
		return;
	free(o);
	if (handle_await_change(opened.await, &r)) {
		vfs_open(s, ino, flags, who, cb, arg);
		return;
	}
	if (!r)
		r = open_reading(s, opened.h, opened.file_id, opened.bytes, opened.md5);
	if (r && opened.h)
		vfs_release(s, opened.h);
	cb(arg, r, r ? NULL : &opened.e, r ? NULL : opened.h);
}

/* ---- create ---- */

/* Create found a name made since the kernel looked: open it. */
struct creating {
	struct vfs *s;
	uint64_t ino;
	vfs_open_cb *cb;
	void *arg;
};

static void create_opened(void *arg, int err, const struct vfs_entry *e, struct handle *h)
{
	struct creating *c = arg;

	/* The kernel counts a lookup only when it hears of success. */
	if (err)
		vfs_forget(c->s, c->ino, 1);
	c->cb(c->arg, err, e, h);
	free(c);
}

static void create_existing(struct vfs *s, uint64_t ino, int flags, const struct vfs_caller *who,
			    vfs_open_cb *cb, void *arg)
{
	struct creating *c = malloc(sizeof(*c));

	if (!c) {
		vfs_forget(s, ino, 1);
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	*c = (struct creating){ s, ino, cb, arg };
	vfs_open(s, ino, flags & ~(O_CREAT | O_EXCL), who, create_opened, c);
}

/*
 * Make the file `name` in dir and a handle that writes. *st is consumed (set to NULL) when needed,
 * w with the handle. *ret stays NULL on failure. Under lock.
 */
static int create_new(struct vfs *s, struct inode *dir, const char *name, mode_t mode, int flags,
		      const struct vfs_caller *who, struct writer *w, struct staged **st,
		      struct handle **ret)
{
	struct inode *i = inode_new(s->table, dir, name, INODE_FILE);
	int r;

	if (!i)
		return -ENOMEM;
	i->mode = mode & 07777;
	i->uid = who->uid;
	i->gid = who->gid;
	vfs_inherit_group(dir, i);
	/* With the first row of the file. */
	vfs_keep_changed_later(s);
	r = side_make(s, i, *st, NULL);
	*st = NULL;
	if (r) {
		inode_unlink(s->table, i);
		return r;
	}
	i->side->touched = true;
	/* create implies writing, whatever the flags say. */
	*ret = handle_new(s, i, flags | (handle_wants_write(flags) ? 0 : O_RDWR), w);
	if (!*ret)
		return -ENOMEM;
	i->nlookup++;
	return 0;
}

void vfs_create(struct vfs *s, uint64_t parent, const char *name, mode_t mode, int flags,
		const struct vfs_caller *who, vfs_open_cb *cb, void *arg)
{
	struct writer *w = writer_new(who->tid);
	struct staged *st = NULL;
	struct handle *h = NULL;
	struct inode *dir, *i = NULL;
	struct vfs_entry e;
	uint64_t existing = 0;
	int r = !w ? -ENOMEM : atomic_load(&s->closing) ? -EROFS : 0;

	if (!r)
		r = staged_create(s->cfg.staging, &st);
	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (!r && !dir)
		r = -ENOENT;
	if (!r)
		r = vfs_check_new(s, dir, name);
	if (!r && (i = inode_find(s->table, dir, name)) != NULL) {
		r = flags & O_EXCL ? -EEXIST : 0;
		existing = i->ino;
		i->nlookup += r == 0;
		i->unseen = i->unseen && r;
	} else if (!r) {
		r = create_new(s, dir, name, mode, flags, who, w, &st, &h);
		if (s->cfg.db)
			statedb_flush(s->cfg.db);
		if (h) {
			vfs_fill(s, h->inode, &e);
			/* A write takes these bits, which the kernel does not see. */
			e.new_file = s->cfg.list_ttl_s && !(mode & (S_ISUID | S_ISGID));
		}
	}
	pthread_mutex_unlock(&s->lock);
	staged_unref(st);
	if (!h)
		writer_free(w);
	if (!r && existing)
		create_existing(s, existing, flags, who, cb, arg);
	else
		cb(arg, r, r ? NULL : &e, r ? NULL : h);
}
