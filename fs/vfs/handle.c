/*
 * Handles: make, free, and release at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/vfs/handle.h"
#include "fs/content/fetch.h"
#include "fs/proc/writer.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"

bool handle_wants_write(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

struct handle *handle_new(struct vfs *s, struct inode *i, int flags, struct writer *w)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->s = s;
	h->inode = i;
	h->flags = flags;
	h->may_write = handle_wants_write(flags);
	h->writer = w;
	h->text_fd = -1;
	/*
	 * A shared writable mapping needs O_RDWR and the page cache; a write-only handle is faster
	 * without the cache.
	 */
	h->direct_io = (flags & O_ACCMODE) == O_WRONLY;
	h->next = s->handles;
	if (h->next)
		h->next->pprev = &h->next;
	h->pprev = &s->handles;
	s->handles = h;
	inode_ref(i);
	i->nopen++;
	if (i->side) {
		h->st = staged_ref(i->side->st);
		h->kills = i->side->kills;
		i->side->writers += h->may_write;
	} else {
		/* A File never changes: the kernel's cached pages stay right. */
		h->keep_cache = !i->stale_pages;
		i->stale_pages = false;
	}
	return h;
}

/* Stop counting h as open. Under lock. */
static void handle_unlink(struct handle *h)
{
	*h->pprev = h->next;
	if (h->next)
		h->next->pprev = h->pprev;
	h->pprev = NULL;
	h->inode->nopen--;
}

void handle_free(struct handle *h)
{
	struct vfs *s = h->s;

	pthread_mutex_lock(&s->lock);
	if (h->pprev)
		handle_unlink(h);
	inode_unref(s->table, h->inode);
	pthread_mutex_unlock(&s->lock);
	staged_unref(h->st);
	fetch_close(h->fetch);
	if (h->text_fd >= 0)
		close(h->text_fd);
	writer_free(h->writer);
	lost_clear(&h->lost);
	free(h);
}

bool vfs_direct_io(const struct handle *h)
{
	return h->direct_io;
}

bool vfs_is_control(const struct handle *h)
{
	return h->text_fd >= 0;
}

bool vfs_keep_cache(const struct handle *h)
{
	return h->keep_cache;
}

bool handle_may_spoil(const struct handle *h)
{
	const struct inode *i = h->inode;

	return h->wrote || (h->cut && i->side && i->side->touched);
}

bool handle_has_killed(struct vfs *s, const struct inode *i, const struct handle *but)
{
	for (const struct handle *h = i->nopen ? s->handles : NULL; h; h = h->next)
		if (h != but && h->inode == i && h->writer_killed && handle_may_spoil(h))
			return true;
	return false;
}

/* Publish the bytes the last writer of i left, or give them up after a failure. Under lock. */
static void last_writer_gone(struct vfs *s, struct inode *i)
{
	struct staged_side *l = i->side;
	int write_err = l->lost.err;

	if (write_err) {
		lost_clear(&l->lost);
		l->killed = true;
		l->kills++;
	}
	if (l->killed) {
		l->dirty = l->touched = false;
		publish_abort(l->pub,
			      write_err		  ? write_err
			      : l->abort_reported ? -EIO
						  : 0,
			      write_err);
		l->abort_reported = false;
	} else if (l->dirty || l->touched) {
		side_seal(s, i);
	}
}

void vfs_release(struct vfs *s, struct handle *h)
{
	struct inode *i = h->inode;
	struct staged_side *l, *out = NULL;
	struct staged *rest;
	bool killed = false, spoils;

	/* No proper close followed the last write: learn how the opener ended. */
	pthread_mutex_lock(&s->lock);
	spoils = h->may_write && handle_may_spoil(h);
	pthread_mutex_unlock(&s->lock);
	if (spoils)
		killed = h->closer_killed || h->writer_killed ||
			 writer_fate(h->writer, 0) == WRITER_KILLED;
	pthread_mutex_lock(&s->lock);
	l = i->side;
	if (l && h->may_write) {
		l->writers--;
		if (killed && !l->dropped) {
			l->killed = true;
			l->kills++;
		}
		if (l->writers == 0 && !l->dropped)
			last_writer_gone(s, i);
	}
	/* Unlink before unlocking: the next local side would count h among its writers for ever. */
	handle_unlink(h);
	out = side_settle(s, i);
	rest = i->side && !i->nopen ? staged_ref(i->side->st) : NULL;
	pthread_mutex_unlock(&s->lock);
	side_release(s, out);
	handle_free(h);
	if (!rest)
		return;
	/* Of the side, its publication, and here. */
	staged_rest(rest, 3);
	staged_unref(rest);
}
