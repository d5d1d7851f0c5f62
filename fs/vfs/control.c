/*
 * .uploadfs: read-only files at the root; the daemon makes their text at each open. The directory
 * is not listed, and no File of the account can have its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/vfs/control.h"
#include "fs/tree/inode.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/node.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/buf.h"
#include "net/base/clock.h"
#include "net/base/fdio.h"

static const char *const names[VFS_CONTROLS] = { "status", "metrics" };

/* With allow_other every user may read the files; without it the kernel keeps others out. */
static void set_owner(const struct vfs *s, struct inode *i, mode_t mode)
{
	i->special = i->fixed = true;
	i->mode = s->cfg.allow_other ? mode : mode & 0700;
	/* Ignore uid=: the owner is the daemon's user, who alone may also stop it. */
	i->uid = geteuid();
	i->gid = getegid();
	i->mtime = clock_wall_ts();
	i->has_mtime = true;
}

int vfs_make_control(struct vfs *s)
{
	struct inode *dir;

	if (!s->cfg.control)
		return 0;
	dir = inode_new(s->table, inode_root(s->table), ".uploadfs", INODE_DIR);
	if (!dir)
		return -ENOMEM;
	dir->purpose = NULL;
	set_owner(s, dir, 0555);
	for (unsigned k = 0; k < VFS_CONTROLS; k++) {
		s->control[k] = inode_new(s->table, dir, names[k], INODE_FILE);
		if (!s->control[k])
			return -ENOMEM;
		set_owner(s, s->control[k], 0444);
	}
	return 0;
}

/* Put the text into a file without a name; it vanishes with its last descriptor. */
static int text_file(const struct buf *text, int *ret_fd)
{
	int fd = memfd_create("uploadfs", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = fdio_write(fd, text->data, text->len, NULL);
	if (r)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

static int open_text(struct vfs *s, unsigned which, int flags, struct vfs_entry *e,
		     struct handle **ret)
{
	struct inode *i = s->control[which];
	struct handle *h;
	struct buf text;
	int fd = -1, r;

	buf_init(&text, VFS_CONTROL_MAX);
	r = s->cfg.control(s->cfg.control_arg, (enum vfs_control)which, &text);
	if (!r)
		r = text_file(&text, &fd);
	if (r)
		goto out;
	pthread_mutex_lock(&s->lock);
	h = handle_new(s, i, flags, NULL);
	if (h) {
		h->text_fd = fd;
		h->text_size = text.len;
		/*
		 * Each open has a text of its own: the kernel must neither cache it nor trust the
		 * size it knows.
		 */
		h->direct_io = true;
		h->keep_cache = false;
		i->bytes = text.len;
		i->mtime = clock_wall_ts();
		vfs_fill(s, i, e);
	}
	pthread_mutex_unlock(&s->lock);
	if (h)
		*ret = h;
	else
		close(fd);
	r = h ? 0 : -ENOMEM;
out:
	buf_release(&text);
	return r;
}

bool vfs_open_control(struct vfs *s, uint64_t ino, int flags, vfs_open_cb *cb, void *arg)
{
	struct vfs_entry e;
	struct handle *h = NULL;
	unsigned k = 0;
	int r;

	/* control[] is set once at the start: no lock is needed. */
	while (k < VFS_CONTROLS && (!s->control[k] || s->control[k]->ino != ino))
		k++;
	if (k == VFS_CONTROLS)
		return false;
	if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
		r = -EPERM;
	else
		r = open_text(s, k, flags, &e, &h);
	cb(arg, r, r ? NULL : &e, h);
	return true;
}

void vfs_read_control(int fd, uint64_t size, uint64_t off, size_t len, vfs_read_cb *cb, void *arg)
{
	if (off >= size)
		len = 0;
	else if (len > size - off)
		len = (size_t)(size - off);
	cb(arg, 0, fd, off, len);
}
