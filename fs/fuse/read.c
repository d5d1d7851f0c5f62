/*
 * Read an open file. A fatal signal of the reader ends its wait for content.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs/fuse/ops_impl.h"
#include "fs/proc/writer.h"

/*
 * A read under way. Its handle lives until the request is answered: whoever gives the read up does
 * so under the lock, and read_done() sets `over` under the lock before it answers.
 */
struct reading {
	fuse_req_t req;
	struct handle *h;
	pid_t tid;
	pthread_mutex_t lock;
	unsigned nref;	/* op_read(), and whoever answers */
	bool begun;	/* vfs_read() has returned */
	bool signalled; /* by a fatal signal */
	bool over;	/* the read is answered, or is about to be */
};

static void unref(struct reading *r)
{
	bool last;

	pthread_mutex_lock(&r->lock);
	last = !--r->nref;
	pthread_mutex_unlock(&r->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* True: the read waited for content and was given up, and the caller has to answer it. */
static bool give_up(struct reading *r)
{
	bool given_up;

	pthread_mutex_lock(&r->lock);
	given_up = r->begun && r->signalled && !r->over && vfs_read_cancel(r->h, r);
	r->over = r->over || given_up;
	pthread_mutex_unlock(&r->lock);
	return given_up;
}

/* A fatal signal ends the wait; other signals change nothing. */
static void interrupted(fuse_req_t req, void *arg)
{
	struct reading *r = arg;

	if (!writer_fatal_signal(r->tid))
		return;
	pthread_mutex_lock(&r->lock);
	r->signalled = true;
	pthread_mutex_unlock(&r->lock);
	if (!give_up(r))
		return;
	fuse_reply_err(req, EINTR);
	unref(r);
}

static void reply_data(fuse_req_t req, int fd, uint64_t off, size_t len)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(len);

	v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	v.buf[0].fd = fd;
	v.buf[0].pos = (off_t)off;
	if (len == 0)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_data(req, &v, 0);
}

static void read_done(void *arg, int err, int fd, uint64_t off, size_t len)
{
	struct reading *r = arg;

	pthread_mutex_lock(&r->lock);
	r->over = true;
	pthread_mutex_unlock(&r->lock);
	/* Waits for interrupted() if it runs, and keeps it from running later. */
	fuse_req_interrupt_func(r->req, NULL, NULL);
	if (err)
		fuse_reply_err(r->req, -err);
	else
		reply_data(r->req, fd, off, len);
	unref(r);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct reading *r = calloc(1, sizeof(*r));

	(void)ino;
	if (!r) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r->req = req;
	r->h = ops_handle(fi);
	r->tid = fuse_req_ctx(req)->pid;
	r->nref = 2;
	pthread_mutex_init(&r->lock, NULL);
	fuse_req_interrupt_func(req, interrupted, r);
	vfs_read(ops_vfs(req), r->h, (uint64_t)off, size, read_done, r);
	pthread_mutex_lock(&r->lock);
	r->begun = true;
	pthread_mutex_unlock(&r->lock);
	/* The signal came before there was a wait to end. */
	if (give_up(r)) {
		fuse_req_interrupt_func(req, NULL, NULL);
		fuse_reply_err(req, EINTR);
		unref(r);
	}
	unref(r);
}
