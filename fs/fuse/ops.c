/*
 * Requests about names and attributes, and the table. Requests about open files are in file.c.
 */
#include "fs/fuse/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/tree/snapshot.h"
#include "fs/fuse/ops_impl.h"
#include "net/base/log.h"

/* Callback of requests whose reply is only an error or success. */
static void parked_done(void *arg, int err)
{
	struct ops_parked *p = arg;

	if (ops_unpark(p))
		fuse_reply_err(p->req, -err);
	free(p);
}

static void want(struct fuse_conn_info *conn, unsigned cap)
{
	if (conn->capable & cap)
		conn->want |= cap;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct ops_context *ctx = userdata;

	/*
	 * Splice reads from the page cache to the kernel without a buffer of ours: a third of the
	 * time. Refuse what libfuse would also want: MOVE takes the pages from the cache, and
	 * writes gain nothing by a pipe (docs/performance.md).
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_MOVE);
	/* The kernel names no interrupt for asynchronous direct I/O: kill -9 would have to wait. */
	conn->want &= ~(unsigned)FUSE_CAP_ASYNC_DIO;
	want(conn, FUSE_CAP_SPLICE_WRITE);
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	want(conn, FUSE_CAP_PARALLEL_DIROPS);
	want(conn, FUSE_CAP_READDIRPLUS);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO);
	/* Writes must arrive in the order they were made. */
	conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
	/* A change of owner drops setuid and setgid: the kernel asks for it with the owner. */
	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	conn->max_write = 1 << 20;
	conn->max_readahead = 1 << 20;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	if (ctx->ready)
		ctx->ready(ctx->arg);
}

static void reply_found(fuse_req_t req, int err, const struct vfs_entry *e)
{
	if (err || !e)
		fuse_reply_err(req, -err);
	else
		ops_reply_entry(req, e);
}

static void lookup_done(void *arg, int err, const struct vfs_entry *e)
{
	struct ops_parked *p = arg;

	if (ops_unpark(p))
		reply_found(p->req, err, e);
	else if (!err && e)
		vfs_forget(p->s, e->ino, 1);
	free(p);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ops_parked *p = ops_park(req);

	if (p)
		vfs_lookup(p->s, parent, name, lookup_done, p);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	vfs_forget(ops_vfs(req), ino, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *v)
{
	for (size_t i = 0; i < count; i++)
		vfs_forget(ops_vfs(req), v[i].ino, v[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vfs_entry e;
	int r = vfs_getattr(ops_vfs(req), ino, &e);

	(void)fi;
	if (r)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &e.st, e.settled ? SETTLED_S : 0);
}

static void attr_done(void *arg, int err, const struct vfs_entry *e)
{
	if (err)
		fuse_reply_err(arg, -err);
	else
		fuse_reply_attr(arg, &e->st, e->settled ? SETTLED_S : 0);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct vfs_caller who = ops_caller(req);
	struct stat st = *attr;
	unsigned what = 0;

	what |= to_set & FUSE_SET_ATTR_MODE ? VFS_SET_MODE : 0;
	what |= to_set & FUSE_SET_ATTR_UID ? VFS_SET_UID : 0;
	what |= to_set & FUSE_SET_ATTR_GID ? VFS_SET_GID : 0;
	what |= to_set & FUSE_SET_ATTR_SIZE ? VFS_SET_SIZE : 0;
	if (to_set & FUSE_SET_ATTR_MTIME)
		what |= VFS_SET_MTIME;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
		what |= VFS_SET_MTIME;
		clock_gettime(CLOCK_REALTIME, &st.st_mtim);
	}
	vfs_setattr(ops_vfs(req), ino, &st, what, fi ? ops_handle(fi) : NULL, &who, attr_done, req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct vfs_caller who = ops_caller(req);
	struct vfs_entry e;
	int r = vfs_mkdir(ops_vfs(req), parent, name, mode, &who, &e);

	reply_found(req, r, r ? NULL : &e);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, -vfs_rmdir(ops_vfs(req), parent, name));
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ops_parked *p = ops_park_for(req, vfs_unlink_interrupted);

	if (p)
		vfs_unlink(p->s, parent, name, parked_done, p);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned flags)
{
	struct ops_parked *p = ops_park_for(req, vfs_rename_interrupted);

	if (p)
		vfs_rename(p->s, parent, name, new_parent, new_name, flags, parked_done, p);
}

/* The service has neither symbolic nor hard links; rename(2) and copying work without. */
static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target;
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void)ino;
	vfs_statfs(ops_vfs(req), &st);
	fuse_reply_statfs(req, &st);
}

/* ---- directories ---- */

static void opendir_done(void *arg, int err, struct dir *d)
{
	struct ops_parked *p = arg;
	bool asked = ops_unpark(p);

	p->fi.fh = (uintptr_t)d;
	if (asked && err)
		fuse_reply_err(p->req, -err);
	else if (!err && (!asked || fuse_reply_open(p->req, &p->fi)))
		vfs_closedir(p->s, d); /* the caller is gone: no releasedir comes */
	free(p);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ops_parked *p = ops_park(req);

	if (!p)
		return;
	p->fi = *fi;
	vfs_opendir(p->s, ino, opendir_done, p);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct dir *d = (struct dir *)(uintptr_t)fi->fh;
	char *buf = malloc(size);
	const char *name;
	size_t used = 0, n;
	uint64_t child;
	bool is_dir;

	(void)ino;
	/* The snapshot stays the same until the reader starts over. */
	if (!buf || (off == 0 && vfs_rewinddir(ops_vfs(req), d))) {
		fuse_reply_err(req, ENOMEM);
		free(buf);
		return;
	}
	while ((name = dir_entry(d, (size_t)off, &child, &is_dir)) != NULL) {
		struct stat st = { .st_ino = child, .st_mode = is_dir ? S_IFDIR : S_IFREG };

		n = fuse_add_direntry(req, buf + used, size - used, name, &st, off + 1);
		if (n > size - used)
			break;
		used += n;
		off++;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

/* Entries of one readdirplus reply, and the lookups the kernel will count for them. */
struct plus_page {
	char *buf;
	size_t size, used;
	uint64_t *looked_up;
	size_t count;
};

/* Below the size of the smallest entry, so looked_up has room for every entry of a page. */
#define PLUS_ENTRY_MIN 128

static int plus_page_init(struct plus_page *p, size_t size)
{
	*p = (struct plus_page){ .buf = malloc(size), .size = size };
	p->looked_up = malloc((size / PLUS_ENTRY_MIN + 1) * sizeof(*p->looked_up));
	return p->buf && p->looked_up ? 0 : -ENOMEM;
}

static void plus_page_free(struct plus_page *p)
{
	free(p->looked_up);
	free(p->buf);
}

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Add one entry. off: offset of the next entry. False: no room. */
static bool plus_page_add(struct plus_page *p, fuse_req_t req, fuse_ino_t parent, const char *name,
			  const struct stat *listed, off_t off)
{
	struct fuse_entry_param out = { .attr = *listed };
	size_t room = p->size - p->used;
	struct vfs_entry e;

	/* Check the room before the lookup, so that no lookup is undone. */
	if (fuse_add_direntry_plus(req, NULL, 0, name, &out, off) > room)
		return false;
	/* Without an inode the kernel takes only the name and looks it up on use. */
	if (!is_dots(name) &&
	    vfs_lookup_listed(ops_vfs(req), parent, name, listed->st_ino, &e) == 0) {
		ops_entry(&e, &out);
		p->looked_up[p->count++] = e.ino;
	}
	p->used += fuse_add_direntry_plus(req, p->buf + p->used, room, name, &out, off);
	return true;
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	struct dir *d = (struct dir *)(uintptr_t)fi->fh;
	struct vfs *s = ops_vfs(req);
	struct plus_page page;
	const char *name;
	uint64_t child;
	bool is_dir;
	int r = plus_page_init(&page, size);

	if (!r && off == 0)
		r = vfs_rewinddir(s, d);
	if (r) {
		fuse_reply_err(req, ENOMEM);
		plus_page_free(&page);
		return;
	}
	while ((name = dir_entry(d, (size_t)off, &child, &is_dir)) != NULL) {
		struct stat st = { .st_ino = child, .st_mode = is_dir ? S_IFDIR : S_IFREG };

		if (!plus_page_add(&page, req, ino, name, &st, off + 1))
			break;
		off++;
	}
	/* The caller is gone: the kernel counts none of these lookups. */
	if (fuse_reply_buf(req, page.buf, page.used) == -ENOENT)
		while (page.count)
			vfs_forget(s, page.looked_up[--page.count], 1);
	plus_page_free(&page);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, -vfs_fsyncdir(ops_vfs(req)));
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	vfs_closedir(ops_vfs(req), (struct dir *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

/* ---- extended attributes ---- */

static void reply_xattr(fuse_req_t req, int err, const char *value, size_t len, size_t size)
{
	if (err)
		fuse_reply_err(req, -err);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static void xattr_done(void *arg, int err, const char *value, size_t len)
{
	struct ops_parked *p = arg;

	if (ops_unpark(p))
		reply_xattr(p->req, err, value, len, p->size);
	free(p);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct ops_parked *p = ops_park(req);

	if (!p)
		return;
	p->size = size;
	vfs_getxattr(p->s, ino, name, xattr_done, p);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct ops_parked *p = ops_park(req);

	if (!p)
		return;
	p->size = size;
	vfs_listxattr(p->s, ino, xattr_done, p);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	struct ops_parked *p = ops_park(req);

	(void)flags;
	if (p)
		vfs_setxattr(p->s, ino, name, value, size, parked_done, p);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, -vfs_removexattr(ops_vfs(req), ino, name));
}

const struct fuse_lowlevel_ops ops_table = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mkdir = op_mkdir,
	.rmdir = op_rmdir,
	.unlink = op_unlink,
	.rename = op_rename,
	.symlink = op_symlink,
	.link = op_link,
	.mknod = op_mknod,
	.statfs = op_statfs,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write_buf = op_write_buf,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.ioctl = op_ioctl,
};
