/* Requests about open files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fuse/ops_impl.h"
#include "fs/proc/writer.h"
#include "net/base/log.h"

/* ---- create, open ---- */

struct opening {
	fuse_req_t req;
	struct vfs *s;
	struct fuse_file_info fi;
	bool create;
};

static void open_done(void *arg, int err, const struct vfs_entry *e, struct handle *h)
{
	struct opening *o = arg;
	struct fuse_entry_param p;
	int r;

	if (err) {
		fuse_reply_err(o->req, -err);
		free(o);
		return;
	}
	o->fi.fh = (uintptr_t)h;
	o->fi.direct_io = vfs_direct_io(h);
	o->fi.keep_cache = vfs_keep_cache(h);
	ops_entry(e, &p);
	if (e->new_file)
		p.attr_timeout = SETTLED_S;
	r = o->create ? fuse_reply_create(o->req, &p, &o->fi) : fuse_reply_open(o->req, &o->fi);
	/* The caller was interrupted: neither a release nor a forget comes. */
	if (r == -ENOENT) {
		vfs_release(o->s, h);
		if (o->create)
			vfs_forget(o->s, e->ino, 1);
	}
	free(o);
}

static struct opening *opening_new(fuse_req_t req, const struct fuse_file_info *fi, bool create)
{
	struct opening *o = calloc(1, sizeof(*o));

	if (!o) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	*o = (struct opening){ req, ops_vfs(req), *fi, create };
	return o;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct opening *o = opening_new(req, fi, true);
	struct vfs_caller who = ops_caller(req);

	if (o)
		vfs_create(o->s, parent, name, mode, fi->flags, &who, open_done, o);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opening *o = opening_new(req, fi, false);
	struct vfs_caller who = ops_caller(req);

	if (o)
		vfs_open(o->s, ino, fi->flags, &who, open_done, o);
}

static void node_made(void *arg, int err, const struct vfs_entry *e, struct handle *h)
{
	struct vfs *s = ops_vfs(arg);

	if (err || !e) {
		fuse_reply_err(arg, -err);
		return;
	}
	/* mknod leaves no handle open: the result is an empty file, as after touch(1). */
	vfs_release(s, h);
	ops_reply_entry(arg, e);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct vfs_caller who = ops_caller(req);

	(void)rdev;
	/* A File can only be a regular file. */
	if (S_ISREG(mode))
		vfs_create(ops_vfs(req), parent, name, mode, O_CREAT | O_EXCL | O_WRONLY, &who,
			   node_made, req);
	else
		fuse_reply_err(req, EPERM);
}

/* ---- write ---- */

/*
 * A write parked while its file is being published: its bytes wait in memory, at most one request's
 * worth for each writing thread.
 */
struct late_write {
	fuse_req_t req;
	struct vfs *s;
	struct handle *h;
	struct vfs_caller who;
	uint64_t off, lock_owner;
	int flags; /* flags of open(2) and of this write */
	size_t len;
	char data[];
};

static ssize_t put(int fd, const char *data, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, data + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/*
 * Note a failed or short write. done: bytes, or negative errno. A short write spoils the file
 * unless the rest is written later.
 */
static void note_failure(struct vfs *s, struct handle *h, uint64_t off, size_t len, ssize_t done)
{
	if (done < 0)
		vfs_write_failed(s, h, off, len, (int)done);
	else if ((size_t)done < len)
		vfs_write_failed(s, h, off + (size_t)done, len - (size_t)done, -EIO);
}

/*
 * Sync a write with O_DSYNC, which O_SYNC includes. done: bytes, or negative errno. Returns the
 * result for the writer.
 */
static ssize_t sync_write(struct vfs *s, struct handle *h, int flags, uint64_t off, ssize_t done)
{
	int r = done > 0 && (flags & O_DSYNC) ? vfs_write_sync(s, h, off, (uint64_t)done) : 0;

	return r ? r : done;
}

static void reply_write(fuse_req_t req, ssize_t n)
{
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

static void write_late(void *arg, int err)
{
	struct late_write *w = arg;
	ssize_t n = err;
	int fd, r = err;

	if (!r)
		r = vfs_write_begin(w->s, w->h, w->off, w->len, &w->who, &fd);
	if (r == -EBUSY) {
		vfs_wait_writable(w->s, w->h, write_late, w);
		return;
	}
	if (!r) {
		n = put(fd, w->data, w->len, w->off);
		vfs_write_end(w->s, w->h, w->off, w->len, n < 0 ? 0 : (uint64_t)n, &w->who,
			      w->lock_owner);
	} else {
		n = r;
	}
	note_failure(w->s, w->h, w->off, w->len, n);
	reply_write(w->req, sync_write(w->s, w->h, w->flags, w->off, n));
	free(w);
}

static void park_write(fuse_req_t req, struct fuse_bufvec *in, uint64_t off, size_t len,
		       struct fuse_file_info *fi)
{
	struct late_write *w = malloc(sizeof(*w) + len);
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(len);
	ssize_t n;

	if (!w) {
		vfs_write_failed(ops_vfs(req), ops_handle(fi), off, len, -ENOMEM);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*w = (struct late_write){ req, ops_vfs(req),   ops_handle(fi), ops_caller(req),
				  off, fi->lock_owner, fi->flags,      len };
	out.buf[0].mem = w->data;
	n = fuse_buf_copy(&out, in, 0);
	if (n != (ssize_t)len) {
		vfs_write_failed(w->s, w->h, off, len, n < 0 ? (int)n : -EIO);
		fuse_reply_err(req, n < 0 ? (int)-n : EIO);
		free(w);
		return;
	}
	vfs_wait_writable(w->s, w->h, write_late, w);
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		  struct fuse_file_info *fi)
{
	struct vfs *s = ops_vfs(req);
	struct vfs_caller who = ops_caller(req);
	size_t len = fuse_buf_size(in);
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(len);
	ssize_t n;
	int fd, r;

	(void)ino;
	r = vfs_write_begin(s, ops_handle(fi), (uint64_t)off, len, &who, &fd);
	if (r == -EBUSY) {
		park_write(req, in, (uint64_t)off, len, fi);
		return;
	}
	if (r) {
		vfs_write_failed(s, ops_handle(fi), (uint64_t)off, len, r);
		fuse_reply_err(req, -r);
		return;
	}
	out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK | FUSE_BUF_FD_RETRY;
	out.buf[0].fd = fd;
	out.buf[0].pos = off;
	n = fuse_buf_copy(&out, in, 0);
	vfs_write_end(s, ops_handle(fi), (uint64_t)off, len, n < 0 ? 0 : (uint64_t)n, &who,
		      fi->lock_owner);
	note_failure(s, ops_handle(fi), (uint64_t)off, len, n);
	reply_write(req, sync_write(s, ops_handle(fi), fi->flags, (uint64_t)off, n));
}

/* ---- flush ---- */

struct closing {
	struct ops_hold hold; /* first */
	fuse_req_t req;
	struct handle *h;
	struct vfs_caller who;
	uint64_t lock_owner;
	struct vfs_wait *wait; /* NULL: not made yet */
	bool blind;	       /* the end of the closing process can't be seen */
	_Atomic bool signalled;
};

static void flush_done(void *arg, int err)
{
	struct closing *c = arg;

	/* Waits for interrupted() if it runs, and keeps it from running later. */
	fuse_req_interrupt_func(c->req, NULL, NULL);
	fuse_reply_err(c->req, -err);
	free(c);
}

static void flush(struct closing *c)
{
	struct vfs *s = ops_vfs(c->req);

	if (!c->wait)
		c->wait = vfs_wait_new(s);
	if (c->wait)
		vfs_flush(s, c->h, &c->who, c->lock_owner, c->wait, flush_done, c);
	else
		flush_done(c, -ENOMEM);
}

static void hold_over(struct ops_hold *hold, int err)
{
	struct closing *c = (struct closing *)hold;

	if (!err && c->signalled) {
		vfs_close_killed(ops_vfs(c->req), c->h, &c->who, c->lock_owner);
		err = -EINTR;
	}
	if (err)
		flush_done(c, err);
	else
		flush(c);
}

/*
 * A fatal signal ends the wait, not the publication; other signals change nothing. While a close is
 * held because its process can't be seen, every signal counts as fatal: the close publishes
 * nothing.
 */
static void interrupted(fuse_req_t req, void *arg)
{
	struct closing *c = arg;

	if (c->blind) {
		c->signalled = true;
		if (!ops_hold_take(&c->hold))
			return;
		vfs_close_killed(ops_vfs(req), c->h, &c->who, c->lock_owner);
	} else if (!writer_fatal_signal(c->who.tid) || !vfs_wait_cancel(c->wait)) {
		return;
	}
	fuse_reply_err(req, EINTR);
	free(c);
}

static void flush_blind(struct closing *c)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&told))
		log_warn("a writer can't be seen from here (%s): its death by a core dump is taken "
			 "for an ordinary end, and its half of a file published; to end that: %s",
			 c->who.tid ? "/proc hides it" : "another PID namespace",
			 c->who.tid ? "mount /proc without hidepid"
				    : "shareProcessNamespace or hostPID, docker run --pid");
	c->blind = true;
	c->hold.over = hold_over;
	fuse_req_interrupt_func(c->req, interrupted, c);
	/* The INTERRUPT may have come before the FLUSH was read. */
	if (c->signalled || !ops_hold(&c->hold))
		hold_over(&c->hold, 0);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct closing *c = calloc(1, sizeof(*c));

	(void)ino;
	if (!c) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	c->req = req;
	c->h = ops_handle(fi);
	c->who = ops_caller(req);
	c->lock_owner = fi->lock_owner;
	if (vfs_close_is_blind(ops_vfs(req), c->h, &c->who)) {
		flush_blind(c);
		return;
	}
	c->wait = vfs_wait_new(ops_vfs(req));
	if (c->wait)
		fuse_req_interrupt_func(req, interrupted, c);
	flush(c);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	vfs_release(ops_vfs(req), ops_handle(fi));
	fuse_reply_err(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	fuse_reply_err(req, -vfs_fsync(ops_vfs(req), ops_handle(fi)));
}

/* ---- ioctl ---- */

/* Only root and the daemon's user may end it, as with kill(2). */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	const struct ops_context *ctx = fuse_req_userdata(req);
	uid_t uid = fuse_req_ctx(req)->uid;

	(void)ino, (void)arg, (void)in, (void)in_size, (void)out_size;
	if (flags & FUSE_IOCTL_DIR || cmd != ctx->end_cmd || !vfs_is_control(ops_handle(fi))) {
		fuse_reply_err(req, ENOTTY);
	} else if (uid != 0 && uid != geteuid()) {
		fuse_reply_err(req, EPERM);
	} else {
		fuse_reply_ioctl(req, 0, NULL, 0);
		ctx->end(ctx->arg);
	}
}

/* ---- fallocate ---- */

struct allocating {
	fuse_req_t req;
	struct vfs *s;
	struct handle *h;
	int mode;
	uint64_t off, len;
};

/* Wait as a write does: an error would make posix_fallocate() write to every block. */
static void allocate(void *arg, int err)
{
	struct allocating *a = arg;
	int r = err;

	if (!r)
		r = vfs_fallocate(a->s, a->h, a->mode, a->off, a->len);
	if (r == -EBUSY) {
		vfs_wait_writable(a->s, a->h, allocate, a);
		return;
	}
	fuse_reply_err(a->req, -r);
	free(a);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct allocating *a = calloc(1, sizeof(*a));

	(void)ino;
	if (!a) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	a->req = req;
	a->s = ops_vfs(req);
	a->h = ops_handle(fi);
	a->mode = mode;
	a->off = (uint64_t)off;
	a->len = (uint64_t)len;
	allocate(a, 0);
}
