#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulate/client.h"
#include "tests/simulate/disk.h"
#include "tests/simulate/host.h"
#include "tests/simulate/kernel.h"
#include "tests/simulate/model.h"
#include "tests/simulate/sim.h"
#include "tests/simulate/stranger.h"

#define READ_MAX 16384

struct name {
	char name[4], path[24];
	struct mays now, safe; /* safe: after a power cut */
	bool tangled;	       /* a rename went on without its caller: all may come of it */
	bool renames;	       /* what was no File has left it */
	struct mays hidden;    /* Files that what was renamed to it should have replaced */
	/* Of another host: it made a File of that name; it deleted one, of any host. */
	bool shared, robbed;
	bool busy;	 /* an operation on the name is under way */
	bool unbounded;	 /* one may go on without its caller */
	unsigned grants; /* how many Files of others the operations so far may have deleted */
};

struct client {
	struct sim_process p;
	unsigned nr, life;
	char dir[12];
	uint64_t dir_ino;
	struct name names[NAMES];
	bool ended;
};

static struct client clients[HOSTS * CLIENTS];
static unsigned count;
static pid_t last_pid;
static uint64_t operations;

void clients_reset(void)
{
	memset(clients, 0, sizeof(clients));
	count = 0;
	last_pid = 100;
}

uint64_t clients_operations(void)
{
	return operations;
}

const struct sim_process *host_process(pid_t pid)
{
	for (unsigned i = 0; i < count; i++)
		if (clients[i].p.pid == pid)
			return &clients[i].p;
	return NULL;
}

static unsigned any(struct client *c, unsigned n)
{
	return luck_any(LUCK_CLIENT + c->nr, n);
}

static void unsure(struct name *n)
{
	/* What lists do not show yet may be missing, or another one be shown. */
	if (!conf.lag_ms)
		return;
	mays_add(&n->now, 0, 0, 0, false);
	mays_add(&n->safe, 0, 0, 0, false);
	mays_add_files(&n->now, n->path, 0);
	mays_add_files(&n->safe, n->path, 0);
}

void clients_host_died(unsigned host, bool cut)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < NAMES && clients[i].p.host == host; k++) {
			struct name *n = &clients[i].names[k];

			if (cut)
				n->now = n->safe;
			unsure(n);
		}
}

/* ---- another host ---- */

void clients_stranger_came(const struct sim_file *f)
{
	unsigned who = f->deleted ? f->deleter : f->maker;

	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < NAMES; k++) {
			struct name *n = &clients[i].names[k];

			if (clients[i].p.host == who || strcmp(n->path, f->filename))
				continue;
			/* An operation under way may find it at the name. */
			n->grants += n->busy && !n->shared;
			n->shared = true;
			n->robbed |= f->deleted;
		}
}

static void grant(const struct client *c, const struct name *n)
{
	for (struct sim_file *f = service_files(); f; f = f->next)
		if (f->listed & 1U << c->p.host && !strcmp(f->filename, n->path))
			f->doomed |= 1U << c->p.host;
}

static void set_busy(struct name *n)
{
	n->busy = true;
	n->grants += n->shared;
}

static void set_idle(const struct client *c, struct name *n, int err)
{
	n->busy = false;
	if (!n->shared)
		return;
	grant(c, n);
	n->unbounded |= err == -EINTR || err == -ENOTCONN;
}

bool names_can_doom(struct sim_file *f, unsigned host)
{
	/* Without content nothing tells it from ours. */
	if (conf.refuse && service_has_twin(f, host))
		return true;
	if (!(f->listed & 1U << host))
		return false;
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < NAMES; k++) {
			struct name *n = &clients[i].names[k];

			if (clients[i].p.host != host || strcmp(n->path, f->filename))
				continue;
			if (n->unbounded)
				return true;
			if (n->grants && (n->busy || f->doomed & 1U << host)) {
				n->grants--;
				return true;
			}
		}
	return false;
}

static bool may_move(const struct name *n, const struct version *v)
{
	if (!n->busy && !n->unbounded)
		return false;
	for (const struct sim_file *f = service_files(); f; f = f->next)
		if (!strcmp(f->filename, n->path) && version_of(f->data, f->len) == v)
			return true;
	return false;
}

/* A rename from that path makes Files of the versions there. */
static void names_move(const char *path)
{
	for (const struct sim_file *f = service_files(); f; f = f->next)
		if (!strcmp(f->filename, path) && version_of(f->data, f->len))
			version_of(f->data, f->len)->renamed = true;
}

bool names_can_move(struct version *v, unsigned host)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < NAMES && !v->renamed; k++)
			v->renamed = clients[i].p.host == host && may_move(&clients[i].names[k], v);
	return v->renamed;
}

/* The File that a name of v is, as its file_id has it, is one of v. */
static void check_id(struct client *c, struct name *n, uint64_t ino, const struct version *v)
{
	const struct sim_file *f;
	char id[64];

	if ((!conf.stranger && conf.hosts == 1) || k_file_id(&c->p, ino, id, sizeof(id)))
		return;
	f = service_files();
	while (f && strcmp(f->id, id))
		f = f->next;
	if (!f)
		wrong("%s is %s, which never was", n->path, id);
	if (version_of(f->data, f->len) == v)
		return;
	if (!conf.refuse || !service_has_twin(f, c->p.host))
		wrong("%s is v%u, and its File is %s of host %u", n->path, v->nr, id, f->maker);
	/* Inferred, and wrong. */
	n->tangled = true;
}

/*
 * A File of n that its daemon has not got an answer about, or could not delete: where the name has
 * nothing, it shows until it is found, or for good. Where another host deletes Files, any older
 * one.
 */
static bool is_astray(const struct name *n, const unsigned char *data, size_t len)
{
	for (const struct sim_file *f = service_files(); f; f = f->next)
		if ((f->astray || n->robbed) && f->len == len && !memcmp(f->data, data, len) &&
		    !strcmp(f->filename, n->path))
			return true;
	return false;
}

/* What another host has written, or has made a File of by this name. */
static bool is_strangers(const struct client *c, const struct name *n, const unsigned char *data,
			 size_t len)
{
	const struct version *v = version_of(data, len);

	if (v && v->host != c->p.host)
		return v->closing;
	for (const struct sim_file *f = service_files(); v && f; f = f->next)
		if (f->maker != c->p.host && !strcmp(f->filename, n->path) && f->len == len &&
		    !memcmp(f->data, data, len))
			return true;
	return false;
}

bool names_can_lose(const struct sim_file *f, unsigned host)
{
	const struct version *v = version_of(f->data, f->len);

	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < NAMES; k++) {
			const struct name *n = &clients[i].names[k];

			if (clients[i].p.host != host || strcmp(n->path, f->filename))
				continue;
			if (n->now.n == 1 && !n->tangled && !n->now.all && n->now.v[0].nr == v->nr)
				return false;
		}
	return true;
}

/* ---- one operation ---- */

static bool find_dir(struct client *c)
{
	int err = 0;

	while (!host_is_up(c->p.host))
		co_block_until(NULL, sim_ms + 1000);
	if (c->life == host_life(c->p.host) && c->dir_ino)
		return true;
	c->dir_ino = 0;
	c->life = host_life(c->p.host);
	err = k_lookup(&c->p, 1, c->dir, &c->dir_ino);
	if (err == -ENOENT)
		err = k_mkdir(&c->p, 1, c->dir, &c->dir_ino);
	if (err)
		c->dir_ino = 0;
	return !err;
}

static void tell(const struct client *c, struct name *n, const char *what, long r)
{
	char may[300];

	/* Changes that are refused from then on may be half done. */
	if (disk_has_failed(c->p.host))
		n->tangled = true;
	if (!trace_loud)
		return;
	mays_text(&n->now, may, sizeof(may));
	trace("client %u: %s %s: %ld  %s", c->nr, what, n->path, r, may);
}

/* Where a list may fail, a File that the daemon has not seen yet may be missing. */
static bool may_be_missing(const struct name *n)
{
	if (n->tangled || n->robbed)
		return true;
	if (!conf.list_faults || !conf.net_faults)
		return false;
	for (unsigned i = 0; i < n->now.n; i++) {
		const struct version *v = version_at(n->now.v[i].nr);

		/* It may be no more than the File that it began with. */
		if (v->closing || (v->base && n->now.v[i].min <= v->base))
			return true;
	}
	return n->now.all;
}

static void look(struct client *c, struct name *n, const unsigned char *data, size_t len)
{
	int at = mays_find(&n->now, data, len);
	char may[300];

	if (at < 0 && data && n->shared && is_strangers(c, n, data, len))
		return;
	if (at < 0 && data && (n->robbed || mays_has(&n->now, 0)) && is_astray(n, data, len))
		return;
	if (at < 0 && !n->tangled && (data || !may_be_missing(n))) {
		mays_text(&n->now, may, sizeof(may));
		wrong("%s of host %u %s \"%.*s\" (%zu bytes), may be: %s", n->path, c->p.host,
		      data ? "is" : "is missing", data ? (int)(len < 30 ? len : 30) : 0,
		      data ? (const char *)data : "", len, may);
	}
}

/* As the kernel does before it asks for a change of a name. */
static int find(struct client *c, struct name *n, uint64_t *ret_ino)
{
	int err = k_lookup(&c->p, c->dir_ino, n->name, ret_ino);

	if (err == -ENOENT)
		look(c, n, NULL, 0);
	return err;
}

/* Reads the whole; bytes, or negative errno. */
static ssize_t read_all(struct client *c, struct sim_handle *h, unsigned char *buf)
{
	size_t got = 0, step = 1 + any(c, 4000);
	ssize_t n;

	for (;;) {
		if (step > READ_MAX - got)
			step = READ_MAX - got;
		n = step ? k_read(&c->p, h, buf + got, step, got) : 0;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return n < 0 ? n : (ssize_t)got;
}

static bool is_clean(const struct name *n)
{
	return !n->tangled && n->now.n == 1 && !n->now.all && n->now.v[0].nr &&
	       !n->now.v[0].loose && version_at(n->now.v[0].nr)->closed &&
	       n->now.v[0].min == version_at(n->now.v[0].nr)->len;
}

static void op_read(struct client *c, struct name *n)
{
	unsigned life = c->life;
	unsigned char *buf;
	struct sim_handle h;
	uint64_t ino;
	ssize_t got;
	int err = find(c, n, &ino);

	if (err) {
		tell(c, n, "look up", err);
		return;
	}
	err = k_open(&c->p, ino, O_RDONLY, &h);
	if (err) {
		tell(c, n, "open to read", err);
		k_forget(&c->p, ino, life);
		return;
	}
	buf = malloc(READ_MAX + 1);
	got = read_all(c, &h, buf);
	tell(c, n, "read", got);
	if (got >= 0)
		look(c, n, buf, (size_t)got);
	if (got > 0 && is_clean(n) && version_of(buf, (size_t)got) == version_at(n->now.v[0].nr))
		check_id(c, n, ino, version_at(n->now.v[0].nr));
	free(buf);
	k_flush(&c->p, &h);
	k_release(&c->p, &h);
	k_forget(&c->p, ino, life);
}

/*
 * What shows once n is gone: nothing, a File that it should have replaced, or a File that could not
 * be deleted.
 */
static void behind(const struct name *n, struct mays *ret)
{
	mays_only(ret, 0, 0, 0, false);
	mays_join(ret, &n->hidden);
	mays_add_files(ret, n->path,
		       is_clean(n) && !conf.net_faults && !n->shared ? n->now.v[0].nr : 0);
}

static void op_unlink(struct client *c, struct name *n)
{
	struct mays was = n->now, after = { .n = 0 };
	bool was_file = is_clean(n) && !conf.close_async;
	uint64_t ino;
	int err = find(c, n, &ino);

	if (err)
		return;
	behind(n, &after);
	mays_join(&n->now, &after);
	mays_join(&n->safe, &after);
	set_busy(n);
	err = k_unlink(&c->p, c->dir_ino, n->name);
	set_idle(c, n, err);
	if (err == -ENOENT && !n->shared && !mays_has(&was, 0) && !may_be_missing(n) &&
	    !conf.net_faults)
		wrong("%s is missing", n->path);
	if (!err || err == -ENOENT) {
		/* What could not be deleted, or is made although it came too late. */
		if (conf.net_faults)
			mays_add_files(&after, n->path, 0);
		if (conf.net_faults)
			mays_join(&after, &was);
		n->now = after;
		/* What was no File is only gone for good once the directory is synced. */
		if (was_file)
			n->safe = after;
		unsure(n);
	}
	tell(c, n, "unlink", err);
	k_forget(&c->p, ino, c->life);
}

static void op_rename(struct client *c, struct name *n, struct name *to)
{
	struct mays from_now = n->now, from_safe = n->safe, after = { .n = 0 };
	uint64_t ino, ino_to;
	int err, err_to;

	if (n == to)
		return;
	err = find(c, n, &ino);
	err_to = err ? 0 : find(c, to, &ino_to);
	if (err || (err_to && err_to != -ENOENT))
		return;
	behind(n, &after);
	if (!is_clean(n))
		n->renames = true;
	for (unsigned i = 0; i < n->now.n; i++)
		version_at(n->now.v[i].nr)->renamed = true;
	/* What was no File yet goes on hiding the File that it should replace. */
	mays_join(&to->hidden, &n->hidden);
	mays_add_files(&to->hidden, n->path, 0);
	mays_join(&to->now, &n->now);
	mays_join(&to->safe, &n->safe);
	mays_join(&n->now, &after);
	mays_join(&n->safe, &after);
	/* It may be a File of another host that moves, however late its complete is. */
	if (n->shared) {
		names_move(n->path);
		mays_add_files(&from_now, n->path, 0);
		mays_join(&to->now, &from_now);
		to->shared = true;
		to->robbed |= n->robbed;
	}
	set_busy(n);
	set_busy(to);
	err = k_rename(&c->p, c->dir_ino, n->name, to->name);
	set_idle(c, n, err);
	set_idle(c, to, err);
	if (err == -ENOENT && !n->shared && !mays_has(&from_now, 0) && !may_be_missing(n) &&
	    !conf.net_faults)
		wrong("%s is missing", n->path);
	if (err == -EINTR)
		n->tangled = to->tangled = true;
	/* Which of both came first is not known: what the source is, the target may be now. */
	to->tangled |= n->tangled;
	if (!err) {
		to->now = from_now;
		mays_join(&to->safe, &from_safe);
		behind(n, &after);
		n->now = after;
		unsure(n);
		unsure(to);
	}
	tell(c, to, "rename to", err);
	tell(c, n, "rename", err);
	k_forget(&c->p, ino, c->life);
	if (!err_to)
		k_forget(&c->p, ino_to, c->life);
}

/* ---- writing ---- */

struct writing {
	struct client *c;
	struct name *n;
	struct version *v;
	struct sim_handle h;
	uint64_t ino;
	size_t done, synced, base;
	bool failed;
};

/*
 * What a name that others write, too, is now: a whole version, or NULL. Its inode is for the caller
 * to forget.
 */
static struct version *peek(struct client *c, struct name *n, uint64_t *ret_ino)
{
	unsigned life = c->life;
	unsigned char *buf;
	struct version *v;
	struct sim_handle h;
	ssize_t got;

	if (find(c, n, ret_ino))
		return NULL;
	if (k_open(&c->p, *ret_ino, O_RDONLY, &h)) {
		k_forget(&c->p, *ret_ino, life);
		return NULL;
	}
	buf = malloc(READ_MAX + 1);
	got = read_all(c, &h, buf);
	v = got > 0 ? version_of(buf, (size_t)got) : NULL;
	free(buf);
	k_flush(&c->p, &h);
	k_release(&c->p, &h);
	if (v && v->closed && v->len <= 10000)
		return v;
	k_forget(&c->p, *ret_ino, life);
	return NULL;
}

/* Opens, makes, or opens for more. */
static int begin(struct writing *w, bool append)
{
	struct client *c = w->c;
	struct name *n = w->n;
	struct mays was = n->now;
	int err = w->ino ? 0 : find(c, n, &w->ino);

	if (err && err != -ENOENT)
		return err;
	if (append && err)
		return err;
	mays_add(&n->now, w->v->nr, w->done, w->done, false);
	mays_add(&n->safe, w->v->nr, 0, w->v->len, true);
	set_busy(n);
	if (err)
		err = k_create(&c->p, c->dir_ino, n->name, &w->h);
	else
		err = k_open(&c->p, w->ino, append ? O_WRONLY : O_WRONLY | O_TRUNC, &w->h);
	set_idle(c, n, err);
	if (!err)
		w->ino = w->h.ino;
	if (err && err != -ENOTCONN && !disk_has_failed(c->p.host))
		n->now = was;
	if (!err)
		mays_only(&n->now, w->v->nr, w->done, w->done, false);
	tell(c, n, append ? "open to append" : "open to write", err);
	return err;
}

static int put(struct writing *w)
{
	struct client *c = w->c;
	size_t left = w->v->len - w->done, len = left < 64 ? left : 1 + any(c, (unsigned)left);
	ssize_t n;

	if (!host_is_up(c->p.host) || host_life(c->p.host) != w->h.life)
		return -ENOTCONN;
	mays_only(&w->n->now, w->v->nr, w->done, w->done + len, false);
	n = k_write(&c->p, &w->h, w->v->data + w->done, len, w->done);
	if (n >= 0) {
		w->done += (size_t)n;
		mays_only(&w->n->now, w->v->nr, w->done, w->done, false);
	}
	if (n != (ssize_t)len && n != -ENOTCONN) {
		/* Some of it may be there. */
		mays_only(&w->n->now, w->v->nr, w->done, w->v->len, false);
		w->failed = n < 0; /* the rest of a short one follows */
	}
	tell(c, w->n, "write", n);
	return n < 0 ? (int)n : 0;
}

static void sync_it(struct writing *w)
{
	int err = k_fsync(&w->c->p, &w->h);

	if (!err) {
		w->synced = w->done;
		mays_only(&w->n->safe, w->v->nr, w->done, w->v->len, true);
	}
	tell(w->c, w->n, "fsync", err);
}

static bool has_file(const struct writing *w)
{
	for (const struct sim_file *f = service_files(); f; f = f->next)
		if ((!f->deleted || f->deleter != w->c->p.host) &&
		    version_of(f->data, f->len) == w->v && f->maker == w->c->p.host &&
		    !strcmp(f->filename, w->n->path))
			return true;
	return false;
}

/* Without content a File of another host may have been inferred to be ours. */
static bool may_have_inferred(const struct writing *w)
{
	for (const struct sim_file *f = service_files(); f; f = f->next)
		if (conf.refuse && f->maker != w->c->p.host && f->len == w->v->len &&
		    !strcmp(f->filename, w->n->path) && service_has_twin(f, w->c->p.host))
			return true;
	return false;
}

static void check_closed(struct writing *w, int err)
{
	struct version *v = w->v;

	if (err == -ENOTCONN)
		return;
	if (!err) {
		if (!conf.close_async && !w->n->tangled && !has_file(w) && !may_have_inferred(w))
			wrong("close of %s is 0, and there is no File of v%u", w->n->path, v->nr);
		v->closed = true;
		mays_only(&w->n->safe, v->nr, v->len, v->len, false);
	} else if (err != -EINTR && !disk_has_failed(w->c->p.host)) {
		mays_only(&w->n->safe, v->nr, v->len, v->len, false);
	}
}

static void finish(struct writing *w)
{
	struct client *c = w->c;
	bool whole = w->done == w->v->len && !w->failed;
	int err;

	if (conf.signals && any(c, 100) < 5) {
		trace("client %u: is killed", c->nr);
		c->p.killed = true;
	}
	if (c->p.killed)
		whole = false;
	if (whole)
		w->v->closing = true;
	err = k_flush(&c->p, &w->h);
	/* Nobody knows whether the signal was seen. */
	if (whole && c->p.killed)
		whole = false, err = -EINTR;
	if (whole)
		check_closed(w, err);
	else if (!err && !c->p.killed && w->done > w->base)
		wrong("close of %s is 0, and not all was written", w->n->path);
	tell(c, w->n, "close", err);
	if (!err && whole)
		check_id(c, w->n, w->ino, w->v);
	k_release(&c->p, &w->h);
	k_forget(&c->p, w->ino, c->life);
}

/* Another host's File came before the open: it is not known what would be written to. */
static void leave(struct writing *w, const struct mays *was)
{
	struct name *n = w->n;

	n->now = *was;
	mays_add_files(&n->now, n->path, 0);
	mays_add_files(&n->safe, n->path, 0);
	k_flush(&w->c->p, &w->h);
	k_release(&w->c->p, &w->h);
	k_forget(&w->c->p, w->ino, w->c->life);
}

static void op_write(struct client *c, struct name *n, bool append)
{
	static const unsigned sizes[] = { 12, 12, 40, 40, 300, 1500, 5000 };
	struct writing w = { .c = c, .n = n };
	struct version *base = NULL;
	struct mays was = n->now;
	bool alone = !n->shared;

	if (append && n->shared)
		base = peek(c, n, &w.ino);
	else if (append && is_clean(n))
		base = version_at(n->now.v[0].nr);
	if (append && !base)
		return;
	if (base && base->len > 10000 && !w.ino)
		return;
	w.base = w.done = base ? base->len : 0;
	w.v = version_new(c->p.host, base, sizes[any(c, 7)]);
	if (begin(&w, append))
		return;
	if (append && alone && n->shared) {
		leave(&w, &was);
		return;
	}
	while (w.done < w.v->len) {
		if (put(&w))
			break;
		if (any(c, 100) < 15)
			sync_it(&w);
		if (conf.signals && any(c, 100) < 4)
			c->p.killed = true;
		if (c->p.killed)
			break;
	}
	finish(&w);
}

static void operate(struct client *c)
{
	struct name *n = &c->names[any(c, NAMES)], *to = &c->names[any(c, NAMES)];
	unsigned what = any(c, 100);

	if (!find_dir(c))
		return;
	operations++;
	if (what < 45)
		op_write(c, n, false);
	else if (what < 55)
		op_write(c, n, true);
	else if (what < 70)
		op_read(c, n);
	else if (what < 82)
		op_unlink(c, n);
	else
		op_rename(c, n, to);
}

static void new_process(struct client *c)
{
	c->p.pid = ++last_pid;
	c->p.killed = false;
}

static void *client_main(void *arg)
{
	struct client *c = arg;

	for (unsigned i = 0; i < conf.ops; i++) {
		unsigned life = c->life;

		if (c->p.killed)
			new_process(c);
		if (choice_made(CHOICE_OP))
			operate(c);
		/* A recovery is looked at. */
		if (life && life != c->life && c->dir_ino)
			for (unsigned k = 0; k < NAMES; k++)
				op_read(c, &c->names[k]);
		if (any(c, 4) == 0)
			co_block_until(NULL, sim_ms + any(c, 3000));
	}
	for (unsigned k = 0; k < NAMES; k++) {
		if (c->p.killed)
			new_process(c);
		if (find_dir(c))
			op_read(c, &c->names[k]);
	}
	c->ended = true;
	return NULL;
}

void clients_start(void)
{
	for (unsigned h = 0; h < conf.hosts; h++)
		for (unsigned k = 0; k < conf.clients; k++) {
			struct client *c = &clients[count];

			c->nr = count++;
			c->p.host = h;
			new_process(c);
			snprintf(c->dir, sizeof(c->dir), "d%u", k);
			for (unsigned i = 0; i < NAMES; i++) {
				struct name *n = &c->names[i];

				snprintf(n->name, sizeof(n->name), "%c", 'a' + (char)i);
				snprintf(n->path, sizeof(n->path), "%s/%s", c->dir, n->name);
				mays_only(&n->now, 0, 0, 0, false);
				mays_only(&n->safe, 0, 0, 0, false);
				/* A File that is made after its cancel may take any name. */
				n->tangled = conf.race && (conf.net_faults || conf.kills);
			}
			co_detach(co_start(ARENA_WORLD, "client", client_main, c));
		}
}

bool clients_ended(void)
{
	for (unsigned i = 0; i < count; i++)
		if (!clients[i].ended)
			return false;
	return true;
}

/* ---- the end ---- */

static void check_name(const struct client *c, const struct name *n)
{
	unsigned mine = 0, others = 0;
	const struct may *m = &n->now.v[0];

	if (n->tangled || n->now.n != 1 || n->now.all || m->loose || conf.race)
		return;
	if (m->nr && !version_at(m->nr)->closed)
		return;
	for (const struct sim_file *f = service_files(); f; f = f->next) {
		const struct version *v = version_of(f->data, f->len);

		if ((f->deleted && !(n->robbed && f->deleter != c->p.host)) ||
		    strcmp(f->filename, n->path))
			continue;
		if (v->nr == m->nr)
			mine++;
		else
			others++, trace("%s \"%s\" is v%u", f->id, f->filename, v->nr);
	}
	if (m->nr && version_at(m->nr)->closed && (mine < 1 || (mine > 1 && !n->shared)) &&
	    host_drained(c->p.host))
		wrong("%s is v%u in the end, of which there are %u Files", n->path, m->nr, mine);
	if (others && !n->shared && host_drained(c->p.host) && !n->renames && !conf.keep_old &&
	    !conf.cuts && !conf.net_faults && !conf.lag_ms)
		wrong("%s is v%u in the end, and there are %u other Files", n->path, m->nr, others);
}

void clients_check_end(void)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < NAMES; k++)
			check_name(&clients[i], &clients[i].names[k]);
}
