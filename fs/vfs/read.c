/*
 * Reading: staged bytes, cached content, or content as it arrives.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fs/content/fetch.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/control.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"

struct reading {
	struct vfs *s;
	struct handle *h; /* lives until the reply */
	vfs_read_cb *cb;
	void *arg;
};

#define OUTDATED "the service lists another size since it was opened: open it again"

/*
 * Returns the reason why [0, end) of fd is not the File's content after all, or NULL. A cached copy
 * that was cut would give a short reply, which reads as the end of the file.
 */
static const char *is_unfit(const struct reading *r, int fd, uint64_t end)
{
	struct stat st;
	bool outdated;
	int err;

	/* Take the lock as vfs_read() does: the release closes fd. */
	pthread_mutex_lock(&r->s->lock);
	err = fstat(fd, &st);
	outdated = r->h->outdated;
	pthread_mutex_unlock(&r->s->lock);
	if (outdated)
		return OUTDATED;
	if (err || (uint64_t)st.st_size < end)
		return "its copy in the cache was cut; it is fetched again once nobody has it open";
	return NULL;
}

static void fetched(void *arg, int err, const char *text, int fd, uint64_t off, size_t len)
{
	struct reading *r = arg;
	const char *why = !err && len ? is_unfit(r, fd, off + len) : NULL;

	if (why) {
		err = -EIO;
		text = why;
	}
	if (err)
		vfs_log_failed(r->s, r->h->inode, "reading it failed", err, text);
	r->cb(r->arg, err, fd, off, len);
	free(r);
}

static void read_staged(struct staged *st, uint64_t off, size_t len, vfs_read_cb *cb, void *arg)
{
	uint64_t size = staged_size(st);
	int fd = staged_fd(st);

	if (off >= size)
		len = 0;
	else if (len > size - off)
		len = size - off;
	cb(arg, fd < 0 ? fd : 0, fd, off, len);
}

static void read_content(struct vfs *s, struct handle *h, uint64_t off, size_t len, vfs_read_cb *cb,
			 void *arg)
{
	struct reading *r;
	bool outdated;

	if (!h->fetch) {
		cb(arg, -ESTALE, -1, off, 0);
		return;
	}
	r = malloc(sizeof(*r));
	if (!r) {
		cb(arg, -ENOMEM, -1, off, 0);
		return;
	}
	*r = (struct reading){ s, h, cb, arg };
	pthread_mutex_lock(&s->lock);
	outdated = h->outdated;
	pthread_mutex_unlock(&s->lock);
	if (outdated)
		fetched(r, -EIO, OUTDATED, -1, off, 0);
	else
		fetch_read(h->fetch, off, len, fetched, r);
}

void vfs_read(struct vfs *s, struct handle *h, uint64_t off, size_t len, vfs_read_cb *cb, void *arg)
{
	struct staged *st = NULL;
	uint64_t text_size;
	int text_fd;

	/*
	 * Read even the handle's constant fields under the lock: the release, in another thread,
	 * follows the reply only by the kernel's ordering, not by a lock.
	 */
	pthread_mutex_lock(&s->lock);
	text_fd = h->text_fd;
	text_size = h->text_size;
	if (h->inode->side)
		st = staged_ref(h->inode->side->st);
	else if (h->st)
		st = staged_ref(h->st);
	pthread_mutex_unlock(&s->lock);
	if (text_fd >= 0) {
		vfs_read_control(text_fd, text_size, off, len, cb, arg);
		return;
	}
	if (st) {
		read_staged(st, off, len, cb, arg);
		staged_unref(st);
		return;
	}
	read_content(s, h, off, len, cb, arg);
}

static bool is_reading_for(const void *reading, const void *arg)
{
	return ((const struct reading *)reading)->arg == arg;
}

bool vfs_read_cancel(struct handle *h, void *arg)
{
	struct reading *r = NULL;

	if (h->fetch)
		r = fetch_read_cancel(h->fetch, fetched, is_reading_for, arg);
	free(r);
	return r != NULL;
}
