/*
 * Write to the staged file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/write.h"
#include "fs/proc/writer.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/copyup.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/keep.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "fs/vfs/wait.h"
#include "net/base/clock.h"

int handle_writable(struct vfs *s, struct handle *h, bool *ret_revived)
{
	struct staged_side *l = h->inode->side;
	int r;

	*ret_revived = false;
	if (!h->may_write)
		return -EBADF;
	r = vfs_may_replace(s, h->inode);
	if (r)
		return r;
	if (!l)
		return -EBUSY; /* the File's content is still to be fetched */
	/* A handle opened since takes over a killed writer's file. */
	if (l->killed && h->kills == l->kills) {
		if (!publish_reopen(l->pub))
			return -EBUSY;
		l->killed = false;
		*ret_revived = true;
	}
	return 0;
}

void handle_not_written(struct handle *h, bool revived)
{
	if (revived)
		h->inode->side->killed = true;
}

/* Under lock: the publication to wait for if r says that bytes can't change yet; else NULL. */
static struct publish *to_await(struct handle *h, int r)
{
	return r == -EINPROGRESS ? publish_ref(h->inode->side->pub) : NULL;
}

bool handle_await_change(struct publish *pub, int *r)
{
	if (!pub)
		return false;
	*r = publish_await_change(pub);
	publish_unref(pub);
	return *r == 0;
}

/* One try; *ret_await: see to_await(). */
static int write_begin(struct vfs *s, struct handle *h, uint64_t off, uint64_t len,
		       const struct vfs_caller *who, int *ret_fd, struct publish **ret_await)
{
	struct staged_side *l;
	bool revived;
	int r;

	pthread_mutex_lock(&s->lock);
	l = h->inode->side;
	r = handle_writable(s, h, &revived);
	if (!r) {
		r = staged_write_begin(l->st, off, len, ret_fd);
		if (r == -EBUSY && side_reopen(l) == 0)
			r = staged_write_begin(l->st, off, len, ret_fd);
	}
	/*
	 * Mark the change now, not at the end: a close in between waits for these bytes and
	 * publishes them.
	 */
	if (!r) {
		h->wrote = true;
		lost_move(&l->lost, &h->lost);
		side_changed(l);
		vfs_drop_privileges(s, h->inode, who);
	} else {
		handle_not_written(h, revived);
	}
	*ret_await = to_await(h, r);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int vfs_write_begin(struct vfs *s, struct handle *h, uint64_t off, uint64_t len,
		    const struct vfs_caller *who, int *ret_fd)
{
	struct publish *pub;
	int r;

	do
		r = write_begin(s, h, off, len, who, ret_fd, &pub);
	while (handle_await_change(pub, &r));
	return r;
}

/*
 * Note tid's process while it waits for the reply: later it may have ended, and another process may
 * have its lock owner.
 */
static void note_process(struct vfs *s, struct handle *h, pid_t tid)
{
	pid_t pid = writer_process(tid);

	pthread_mutex_lock(&s->lock);
	if (h->last_tid == tid)
		h->last_pid = pid;
	pthread_mutex_unlock(&s->lock);
}

void vfs_write_end(struct vfs *s, struct handle *h, uint64_t off, uint64_t len, uint64_t done,
		   const struct vfs_caller *who, uint64_t lock_owner)
{
	struct inode *i = h->inode;
	bool other;

	/* The local side stays as long as a handle that may write is open. */
	staged_write_end(i->side->st, off, len, done);
	pthread_mutex_lock(&s->lock);
	i->mtime = clock_wall_ts();
	i->has_mtime = true;
	h->last_owner = lock_owner;
	other = h->last_tid != who->tid;
	if (other)
		h->last_pid = 0;
	h->last_tid = who->tid;
	lost_mend(&i->side->lost, off, done);
	writer_note_owner(h->writer, lock_owner);
	pthread_mutex_unlock(&s->lock);
	if (other)
		note_process(s, h, who->tid);
	if (done)
		side_predict(s, h, off, off + done, who);
}

void vfs_write_failed(struct vfs *s, struct handle *h, uint64_t off, uint64_t len, int err)
{
	struct staged_side *l;

	pthread_mutex_lock(&s->lock);
	l = h->inode->side;
	if (l && !l->dropped && h->may_write) {
		h->wrote = true;
		l->dirty = true;
		lost_add(&l->lost, off, len, err);
	} else if (!l && h->may_write) {
		lost_add(&h->lost, off, len, err);
	}
	pthread_mutex_unlock(&s->lock);
}

static void writable_again(void *arg, int err)
{
	struct waiting *w = arg;

	/* Only the closer gets the outcome; but -EINTR means that nothing is published any more. */
	w->cb(w->arg, err == -EINTR ? err : 0);
	free(w);
}

/* The handle keeps its inode: no further reference is needed until the callback. */
static void content_staged(void *arg, int err)
{
	struct waiting *w = arg;

	w->cb(w->arg, err);
	free(w);
}

void vfs_wait_writable(struct vfs *s, struct handle *h, vfs_done_cb *cb, void *arg)
{
	struct waiting *w = waiting_new(UNTIL_WRITABLE, cb, arg);
	bool has_local;

	if (!w) {
		cb(arg, -ENOMEM);
		return;
	}
	w->w.cb = writable_again;
	pthread_mutex_lock(&s->lock);
	has_local = h->inode->side != NULL;
	if (has_local)
		publish_wait(h->inode->side->pub, &w->w);
	pthread_mutex_unlock(&s->lock);
	if (!has_local)
		vfs_stage_content(s, h->inode, h->fetch, content_staged, w);
}

/*
 * Note allocated space. seals: side->seals at the start of the call. size: the file's new size if
 * it grew, else 0. Under lock.
 */
static void allocated(struct vfs *s, struct handle *h, unsigned seals, uint64_t size)
{
	struct staged_side *l = h->inode->side;

	h->wrote = true;
	lost_move(&l->lost, &h->lost);
	h->inode->mtime = clock_wall_ts();
	h->inode->has_mtime = true;
	/* A close since then publishes the change already. */
	if (l->seals == seals)
		side_changed(l);
	/*
	 * rsync --preallocate keeps the size and asks for a byte less than it writes: no
	 * declaration.
	 */
	if (size)
		side_declare(s, l, size);
}

int vfs_fallocate(struct vfs *s, struct handle *h, int mode, uint64_t off, uint64_t len)
{
	unsigned seals = 0;
	struct staged_side *l;
	uint64_t before;
	bool revived;
	int r = staged_check_fallocate(mode, off, len);

	/* Check first, so that no content is fetched in vain. */
	if (r)
		return r;
	pthread_mutex_lock(&s->lock);
	l = h->inode->side;
	r = handle_writable(s, h, &revived);
	if (!r)
		seals = l->seals;
	pthread_mutex_unlock(&s->lock);
	if (r)
		return r;
	/* The local side stays as long as a handle that may write is open. */
	before = staged_size(l->st);
	r = staged_fallocate(l->st, mode, off, len);
	if (r == -EBUSY) {
		pthread_mutex_lock(&s->lock);
		r = side_reopen(l);
		seals = l->seals;
		pthread_mutex_unlock(&s->lock);
		if (r == 0)
			r = staged_fallocate(l->st, mode, off, len);
	}
	if (r == -EINPROGRESS) {
		r = publish_await_change(l->pub);
		if (r == 0)
			r = staged_fallocate(l->st, mode, off, len);
	}
	pthread_mutex_lock(&s->lock);
	if (r)
		handle_not_written(h, revived && !l->dirty && l->seals == seals);
	else
		allocated(s, h, seals,
			  mode & FALLOC_FL_KEEP_SIZE || off + len <= before ? 0 : off + len);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* Sync bytes and record. Without a record the file was removed or is a File: success. */
static int sync_all(struct staged *st, struct publish *pub)
{
	int r = staged_sync(st);

	if (!r)
		r = publish_sync_record(pub);
	return r == -ENOENT ? 0 : r;
}

int vfs_write_sync(struct vfs *s, struct handle *h, uint64_t off, uint64_t len)
{
	/* The local side stays as long as a handle that may write is open. */
	int r = sync_all(h->inode->side->st, h->inode->side->pub);

	if (r)
		vfs_write_failed(s, h, off, len, r);
	return r;
}

int vfs_fsync(struct vfs *s, struct handle *h)
{
	struct publish *pub = NULL;
	struct staged *st;
	int r, lost;

	pthread_mutex_lock(&s->lock);
	st = h->inode->side ? staged_ref(h->inode->side->st) : NULL;
	if (st)
		pub = publish_ref(h->inode->side->pub);
	lost = h->inode->side ? h->inode->side->lost.err : 0;
	pthread_mutex_unlock(&s->lock);
	if (!st)
		return 0;
	r = sync_all(st, pub);
	staged_unref(st);
	publish_unref(pub);
	return lost ? lost : r;
}
