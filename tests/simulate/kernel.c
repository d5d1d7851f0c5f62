#include "tests/simulate/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fuse/ops.h"
#include "fs/proc/writer.h"
#include "tests/simulate/host.h"
#include "tests/simulate/sim.h"

enum request {
	R_LOOKUP,
	R_MKDIR,
	R_FORGET,
	R_CREATE,
	R_OPEN,
	R_WRITE,
	R_READ,
	R_FLUSH,
	R_RELEASE,
	R_FSYNC,
	R_TRUNCATE,
	R_UNLINK,
	R_RENAME,
	R_FILE_ID
};

/* In the world's memory. fuse_req_t points to one. */
struct fuse_req {
	struct fuse_req *next;
	enum request what;
	struct sim_process *who;
	struct fuse_ctx ctx;
	bool done, running; /* running: its interrupt function */
	int err;
	/* asked */
	uint64_t ino, off;
	const char *name, *to;
	struct fuse_file_info fi;
	const void *in;
	size_t len;
	/* answered */
	struct fuse_entry_param entry;
	struct stat attr;
	void *out;
	size_t got;
	fuse_interrupt_func_t interrupt;
	void *interrupt_arg;
	bool gone; /* its daemon died */
};

static struct fuse_req *requests;

void kernel_reset(void)
{
	requests = NULL;
}

static void answer(struct fuse_req *r, int err)
{
	if (r->gone)
		wrong("a dead daemon answers");
	if (r->done)
		wrong("request %d of process %d is answered twice", r->what, r->ctx.pid);
	r->done = true;
	r->err = err;
	co_wake(r);
}

/* ---- libfuse ---- */

int fuse_reply_err(fuse_req_t req, int err)
{
	answer(req, -err);
	return 0;
}

void fuse_reply_none(fuse_req_t req)
{
	answer(req, 0);
}

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
	req->entry = *e;
	answer(req, 0);
	return 0;
}

int fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *e,
		      const struct fuse_file_info *fi)
{
	req->entry = *e;
	req->fi = *fi;
	answer(req, 0);
	return 0;
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	(void)timeout;
	req->attr = *attr;
	answer(req, 0);
	return 0;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	req->fi = *fi;
	answer(req, 0);
	return 0;
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	req->got = count;
	answer(req, 0);
	return 0;
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	if (req->out && size)
		memcpy(req->out, buf, size);
	req->got = size;
	answer(req, 0);
	return 0;
}

int fuse_reply_data(fuse_req_t req, struct fuse_bufvec *v, enum fuse_buf_copy_flags flags)
{
	ssize_t n = pread(v->buf[0].fd, req->out, v->buf[0].size, v->buf[0].pos);

	(void)flags;
	req->got = n < 0 ? 0 : (size_t)n;
	answer(req, n < 0 ? -errno : 0);
	return 0;
}

int fuse_reply_statfs(fuse_req_t req, const struct statvfs *st)
{
	(void)st;
	answer(req, 0);
	return 0;
}

int fuse_reply_xattr(fuse_req_t req, size_t count)
{
	req->got = count;
	answer(req, 0);
	return 0;
}

int fuse_reply_ioctl(fuse_req_t req, int result, const void *buf, size_t size)
{
	(void)buf, (void)size;
	answer(req, result);
	return 0;
}

size_t fuse_buf_size(const struct fuse_bufvec *v)
{
	return v->buf[0].size;
}

/* From memory to memory, or to a file. */
ssize_t fuse_buf_copy(struct fuse_bufvec *dst, struct fuse_bufvec *src,
		      enum fuse_buf_copy_flags flags)
{
	const char *from = src->buf[0].mem;
	size_t len = src->buf[0].size, done = 0;

	(void)flags;
	if (!(dst->buf[0].flags & FUSE_BUF_IS_FD)) {
		memcpy(dst->buf[0].mem, from, len);
		return (ssize_t)len;
	}
	while (done < len) {
		ssize_t n = pwrite(dst->buf[0].fd, from + done, len - done,
				   dst->buf[0].pos + (off_t)done);

		if (n < 0)
			return done ? (ssize_t)done : -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &req->ctx;
}

void *fuse_req_userdata(fuse_req_t req)
{
	return host_context(req->who->host);
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	while (req->running)
		co_block(&req->running);
	req->interrupt = func;
	req->interrupt_arg = data;
	/* The signal came before. */
	if (func && req->who->killed)
		func(req, data);
}

/* ---- processes ---- */

struct writer {
	pid_t pid;
	uint64_t owner;
};

static const struct sim_process *process_of(pid_t pid)
{
	return host_process(pid);
}

struct writer *writer_new(pid_t tid)
{
	struct writer *w = calloc(1, sizeof(*w));

	w->pid = tid;
	return w;
}

void writer_free(struct writer *w)
{
	free(w);
}

void writer_note_owner(struct writer *w, uint64_t lock_owner)
{
	if (!w->owner)
		w->owner = lock_owner;
}

bool writer_is_opener(struct writer *w, pid_t tid, uint64_t lock_owner)
{
	(void)lock_owner;
	return w->pid == tid;
}

enum writer_fate writer_fate(const struct writer *w, pid_t closing_tid)
{
	const struct sim_process *p = process_of(closing_tid ? closing_tid : w->pid);

	return p && p->killed ? WRITER_KILLED : WRITER_ALIVE;
}

bool writer_is_blind(pid_t closing_tid)
{
	(void)closing_tid;
	return false;
}

pid_t writer_process(pid_t tid)
{
	return tid;
}

bool writer_fatal_signal(pid_t tid)
{
	const struct sim_process *p = process_of(tid);

	return p && p->killed;
}

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

struct predict_look;
struct predict_query;

int __wrap_predict_begin(const struct predict_query *q, struct predict_look **ret)
{
	(void)q, (void)ret;
	return -ENOENT;
}

/* ---- requests ---- */

static void run_file(struct fuse_req *r)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(r->len);
	struct stat st = { .st_size = (off_t)r->len };

	switch (r->what) {
	case R_WRITE:
		v.buf[0].mem = (void *)r->in;
		ops_table.write_buf(r, r->ino, &v, (off_t)r->off, &r->fi);
		break;
	case R_READ:
		ops_table.read(r, r->ino, r->len, (off_t)r->off, &r->fi);
		break;
	case R_FLUSH:
		ops_table.flush(r, r->ino, &r->fi);
		break;
	case R_RELEASE:
		ops_table.release(r, r->ino, &r->fi);
		break;
	case R_FSYNC:
		ops_table.fsync(r, r->ino, 0, &r->fi);
		break;
	default:
		ops_table.setattr(r, r->ino, &st, FUSE_SET_ATTR_SIZE, &r->fi);
		break;
	}
}

static void *run(void *arg)
{
	struct fuse_req *r = arg;

	switch (r->what) {
	case R_LOOKUP:
		ops_table.lookup(r, r->ino, r->name);
		break;
	case R_MKDIR:
		ops_table.mkdir(r, r->ino, r->name, 0755);
		break;
	case R_FORGET:
		ops_table.forget(r, r->ino, 1);
		break;
	case R_CREATE:
		ops_table.create(r, r->ino, r->name, 0644, &r->fi);
		break;
	case R_OPEN:
		ops_table.open(r, r->ino, &r->fi);
		break;
	case R_UNLINK:
		ops_table.unlink(r, r->ino, r->name);
		break;
	case R_RENAME:
		ops_table.rename(r, r->ino, r->name, r->ino, r->to, 0);
		break;
	case R_FILE_ID:
		ops_table.getxattr(r, r->ino, "user.upload.file_id", r->len);
		break;
	default:
		run_file(r);
		break;
	}
	return NULL;
}

static int ask(struct fuse_req *r)
{
	struct fuse_req **at = &requests;
	unsigned life = host_life(r->who->host);

	if (!host_is_up(r->who->host))
		return -ENOTCONN;
	r->ctx.pid = r->who->pid;
	r->ctx.uid = getuid();
	r->ctx.gid = getgid();
	r->next = requests;
	requests = r;
	co_detach(co_start(ARENA_HOST + r->who->host, "fuse", run, r));
	while (!r->done || r->running)
		co_block(r);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	/* The daemon may have died since it answered. */
	return host_is_up(r->who->host) && host_life(r->who->host) == life ? r->err : -ENOTCONN;
}

void kernel_died(unsigned host)
{
	for (struct fuse_req *r = requests; r; r = r->next) {
		if (r->who->host != host)
			continue;
		if (!r->done) {
			r->done = r->gone = true;
			r->err = -ENOTCONN;
		}
		r->running = false;
		co_wake(r);
	}
}

unsigned kernel_waiting(unsigned host)
{
	unsigned n = 0;

	for (struct fuse_req *r = requests; r; r = r->next)
		n += r->who->host == host && !r->done;
	return n;
}

static void *interrupt(void *arg)
{
	struct fuse_req *r = arg;

	if (!r->done && r->interrupt)
		r->interrupt(r, r->interrupt_arg);
	r->running = false;
	co_wake(&r->running);
	co_wake(r);
	return NULL;
}

bool kernel_kill_one(void)
{
	struct fuse_req *r;
	unsigned n = 0, k;

	for (r = requests; r; r = r->next)
		n += !r->done && !r->who->killed;
	if (!n)
		return false;
	k = luck_any(LUCK_WORLD, n);
	for (r = requests; r->done || r->who->killed || k--; r = r->next)
		;
	trace("process %d is killed", r->ctx.pid);
	r->who->killed = true;
	r->running = true;
	co_detach(co_start(ARENA_HOST + r->who->host, "interrupt", interrupt, r));
	return true;
}

static struct fuse_req with(enum request what, struct sim_process *p, const struct sim_handle *h)
{
	return (struct fuse_req){
		.what = what,
		.who = p,
		.ino = h->ino,
		.fi = { .fh = h->fh, .flags = h->flags, .lock_owner = (uint64_t)p->pid }
	};
}

static bool is_stale(const struct sim_process *p, const struct sim_handle *h)
{
	return h->life != host_life(p->host);
}

int k_lookup(struct sim_process *p, uint64_t dir, const char *name, uint64_t *ret_ino)
{
	struct fuse_req r = { .what = R_LOOKUP, .who = p, .ino = dir, .name = name };
	int err = ask(&r);

	/* libfuse's reply for a name that is remembered to be missing. */
	if (!err && !r.entry.ino)
		return -ENOENT;
	*ret_ino = r.entry.ino;
	return err;
}

int k_mkdir(struct sim_process *p, uint64_t dir, const char *name, uint64_t *ret_ino)
{
	struct fuse_req r = { .what = R_MKDIR, .who = p, .ino = dir, .name = name };
	int err = ask(&r);

	*ret_ino = r.entry.ino;
	return err;
}

void k_forget(struct sim_process *p, uint64_t ino, unsigned life)
{
	struct fuse_req r = { .what = R_FORGET, .who = p, .ino = ino };

	if (life == host_life(p->host))
		ask(&r);
}

static int opened(struct fuse_req *r, uint64_t ino, int err, struct sim_handle *ret)
{
	if (!err)
		*ret = (struct sim_handle){ ino, r->fi.fh, host_life(r->who->host), r->fi.flags };
	return err;
}

int k_create(struct sim_process *p, uint64_t dir, const char *name, struct sim_handle *ret)
{
	struct fuse_req r = { .what = R_CREATE,
			      .who = p,
			      .ino = dir,
			      .name = name,
			      .fi = { .flags = O_CREAT | O_WRONLY | O_TRUNC } };
	int err = ask(&r);

	return opened(&r, r.entry.ino, err, ret);
}

int k_open(struct sim_process *p, uint64_t ino, int flags, struct sim_handle *ret)
{
	struct fuse_req r = { .what = R_OPEN, .who = p, .ino = ino, .fi = { .flags = flags } };

	return opened(&r, ino, ask(&r), ret);
}

ssize_t k_write(struct sim_process *p, struct sim_handle *h, const void *buf, size_t len,
		uint64_t off)
{
	struct fuse_req r = with(R_WRITE, p, h);
	int err;

	r.in = buf;
	r.len = len;
	r.off = off;
	err = is_stale(p, h) ? -ENOTCONN : ask(&r);
	return err ? err : (ssize_t)r.got;
}

ssize_t k_read(struct sim_process *p, struct sim_handle *h, void *buf, size_t len, uint64_t off)
{
	struct fuse_req r = with(R_READ, p, h);
	int err;

	r.out = buf;
	r.len = len;
	r.off = off;
	err = is_stale(p, h) ? -ENOTCONN : ask(&r);
	return err ? err : (ssize_t)r.got;
}

static int plain(enum request what, struct sim_process *p, struct sim_handle *h, size_t len)
{
	struct fuse_req r = with(what, p, h);

	r.len = len;
	return is_stale(p, h) ? -ENOTCONN : ask(&r);
}

int k_flush(struct sim_process *p, struct sim_handle *h)
{
	return plain(R_FLUSH, p, h, 0);
}

int k_release(struct sim_process *p, struct sim_handle *h)
{
	return plain(R_RELEASE, p, h, 0);
}

int k_fsync(struct sim_process *p, struct sim_handle *h)
{
	return plain(R_FSYNC, p, h, 0);
}

int k_truncate(struct sim_process *p, struct sim_handle *h, uint64_t size)
{
	return plain(R_TRUNCATE, p, h, size);
}

int k_file_id(struct sim_process *p, uint64_t ino, char *ret, size_t size)
{
	struct fuse_req r = {
		.what = R_FILE_ID, .who = p, .ino = ino, .out = ret, .len = size - 1
	};
	int err = ask(&r);

	ret[err ? 0 : r.got] = '\0';
	return err;
}

int k_unlink(struct sim_process *p, uint64_t dir, const char *name)
{
	struct fuse_req r = { .what = R_UNLINK, .who = p, .ino = dir, .name = name };

	return ask(&r);
}

int k_rename(struct sim_process *p, uint64_t dir, const char *from, const char *to)
{
	struct fuse_req r = { .what = R_RENAME, .who = p, .ino = dir, .name = from, .to = to };

	return ask(&r);
}
