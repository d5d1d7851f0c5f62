/*
 * The file system, from the start of a daemon to its end: each request has one answer, a close of 0
 * has its File, and what failed succeeds once nothing fails any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/config/opts.h"
#include "fs/daemon/core.h"
#include "fs/state/store.h"
#include "fs/tree/snapshot.h"
#include "fs/vfs/vfs.h"
#include "tests/torture/scenes.h"
#include "tests/torture/torture.h"
#include "tests/unit/fake_api.h"

#define ROOT_INO 1
#define SIZE 150000
#define OWNER 7 /* of locks */
/* Faults end after a while, for a request that waits for memory. */
#define PATIENCE_MS 400

struct answer {
	atomic_uint calls;
	int err;
	uint64_t ino;
	struct handle *h;
	struct dir *d;
};

static struct vfs_caller me(void)
{
	return (struct vfs_caller){ .tid = getpid() };
}

static int await(struct answer *a)
{
	struct timespec pause = { 0, 1000000 };

	for (unsigned ms = 0; !atomic_load(&a->calls); ms++) {
		nanosleep(&pause, NULL);
		if (ms == PATIENCE_MS)
			inject_disarm();
	}
	must(atomic_load(&a->calls) == 1);
	return a->err;
}

static void end(struct answer *a, int err)
{
	a->err = err;
	atomic_fetch_add(&a->calls, 1);
}

static void on_entry(void *arg, int err, const struct vfs_entry *e)
{
	struct answer *a = arg;

	must(err || e);
	a->ino = err ? 0 : e->ino;
	end(a, err);
}

static void on_done(void *arg, int err)
{
	end(arg, err);
}

static void on_open(void *arg, int err, const struct vfs_entry *e, struct handle *h)
{
	struct answer *a = arg;

	must(err || (e && h));
	a->ino = err ? 0 : e->ino;
	a->h = err ? NULL : h;
	end(a, err);
}

static void on_dir(void *arg, int err, struct dir *d)
{
	struct answer *a = arg;

	must(err || d);
	a->d = err ? NULL : d;
	end(a, err);
}

/* What the byte at off of a file is. */
static char byte_at(char seed, uint64_t off)
{
	return (char)(seed + off / 251);
}

/* On the network thread, or at once: err holds the result of the comparison. */
static char read_seed;

static void on_read(void *arg, int err, int fd, uint64_t off, size_t len)
{
	static char got[SIZE];

	if (!err) {
		must(off == 0 && len == SIZE && pread(fd, got, len, 0) == (ssize_t)len);
		for (size_t i = 0; i < len; i++)
			must(got[i] == byte_at(read_seed, i));
	}
	end(arg, err);
}

static int put(struct vfs *s, struct handle *h, char seed)
{
	static char bytes[SIZE];
	struct vfs_caller who = me();
	int fd, err = vfs_write_begin(s, h, 0, SIZE, &who, &fd);

	if (err) {
		vfs_write_failed(s, h, 0, SIZE, err);
		return err;
	}
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = byte_at(seed, i);
	must(pwrite(fd, bytes, SIZE, 0) == SIZE);
	vfs_write_end(s, h, 0, SIZE, SIZE, &who, OWNER);
	return 0;
}

static int close_file(struct vfs *s, struct handle *h)
{
	struct vfs_caller who = me();
	struct vfs_wait *w = vfs_wait_new(s);
	struct answer a = { 0 };

	if (!w)
		return -ENOMEM;
	vfs_flush(s, h, &who, OWNER, w, on_done, &a);
	return await(&a);
}

/* What open(O_CREAT | O_TRUNC), write() and close() say. */
static int write_file(struct vfs *s, const char *name, char seed)
{
	struct vfs_caller who = me();
	struct answer found = { 0 }, a = { 0 };
	int err, closed;

	vfs_lookup(s, ROOT_INO, name, on_entry, &found);
	err = await(&found);
	if (!err)
		vfs_open(s, found.ino, O_WRONLY | O_TRUNC, &who, on_open, &a);
	else if (err == -ENOENT)
		vfs_create(s, ROOT_INO, name, 0644, O_WRONLY | O_CREAT, &who, on_open, &a);
	else
		return err;
	if (!await(&a)) {
		err = put(s, a.h, seed);
		closed = close_file(s, a.h);
		err = err ? err : closed;
		vfs_release(s, a.h);
		if (found.err)
			vfs_forget(s, a.ino, 1);
	} else {
		err = a.err;
	}
	if (!found.err)
		vfs_forget(s, found.ino, 1);
	return err;
}

static int read_file(struct vfs *s, const char *name, char seed)
{
	struct vfs_caller who = me();
	struct answer found = { 0 }, opened = { 0 }, got = { 0 };
	int err;

	vfs_lookup(s, ROOT_INO, name, on_entry, &found);
	if (await(&found))
		return found.err;
	vfs_open(s, found.ino, O_RDONLY, &who, on_open, &opened);
	err = await(&opened);
	if (!err) {
		read_seed = seed;
		vfs_read(s, opened.h, 0, SIZE, on_read, &got);
		err = await(&got);
		vfs_release(s, opened.h);
	}
	vfs_forget(s, found.ino, 1);
	return err;
}

static int rename_file(struct vfs *s, const char *from, const char *to)
{
	struct answer a = { 0 };

	vfs_rename(s, ROOT_INO, from, ROOT_INO, to, 0, on_done, &a);
	return await(&a);
}

static int remove_file(struct vfs *s, const char *name)
{
	struct answer a = { 0 };

	vfs_unlink(s, ROOT_INO, name, on_done, &a);
	return await(&a);
}

static int list(struct vfs *s)
{
	struct answer a = { 0 };

	vfs_opendir(s, ROOT_INO, on_dir, &a);
	if (!await(&a))
		vfs_closedir(s, a.d);
	return a.err;
}

static int make_dir(struct vfs *s, const char *name)
{
	struct vfs_caller who = me();
	struct vfs_entry e;
	int err = vfs_mkdir(s, ROOT_INO, name, 0755, &who, &e);

	if (!err)
		vfs_forget(s, e.ino, 1);
	return err;
}

static int set_mime(struct vfs *s, const char *name)
{
	struct answer found = { 0 }, a = { 0 };

	vfs_lookup(s, ROOT_INO, name, on_entry, &found);
	if (await(&found))
		return found.err;
	vfs_setxattr(s, found.ino, "user.upload.mime_type", "text/x-mine", 11, on_done, &a);
	await(&a);
	vfs_forget(s, found.ino, 1);
	return a.err;
}

static bool is_file(struct api *api, const char *name, char seed)
{
	static char got[SIZE + 1];
	char id[API_ID_MAX + 1];

	for (unsigned n = 0; fake_api_find(api, name, n, id); n++) {
		bool right = fake_api_read(api, id, 0, got, sizeof(got)) == SIZE;

		for (size_t i = 0; right && i < SIZE; i++)
			right = got[i] == byte_at(seed, i);
		if (right)
			return true;
	}
	return false;
}

static void set_opts(struct opts *o, char *dir)
{
	static char url[] = "https://torture/v1", mountpoint[] = "/mnt", purpose[] = "user_data";

	memset(o, 0, sizeof(*o));
	o->base_url = url;
	o->mountpoint = mountpoint;
	o->purpose = purpose;
	o->state_dir = dir;
	o->part_size = 65536;
	o->parallel = 2;
	o->cache_size = 1 << 20;
	o->list_ttl_s = 30;
	o->hold_timeout_s = 60;
	o->retry_timeout_s = 1;
	o->retry_delay_s = 1;
	o->connect_timeout_s = 10;
	o->idle_timeout_s = 60;
	o->drain_timeout_s = 60;
	o->file_mode = 0644;
	o->dir_mode = 0755;
}

/* Each step, whatever became of the one before it. */
static void use(struct core *c)
{
	struct vfs *s = c->vfs;
	int err;

	list(s);
	make_dir(s, "d");
	if (!write_file(s, "a", 'a'))
		must(is_file(c->api, "a", 'a'));
	set_mime(s, "a");
	read_file(s, "a", 'a');
	err = write_file(s, "a", 'b');
	if (!err)
		must(is_file(c->api, "a", 'b'));
	/* What is no File is renamed here alone. */
	if (!rename_file(s, "a", "b") && !err)
		must(is_file(c->api, "b", 'b'));
	remove_file(s, "b");
	vfs_rmdir(s, ROOT_INO, "d");
}

/* Once nothing fails any more. A store that failed refuses every change until the next mount. */
static void use_well(struct core *c)
{
	struct vfs *s = c->vfs;

	must(!list(s));
	if (statedb_error(c->statedb))
		return;
	must(!write_file(s, "c", 'c'));
	must(is_file(c->api, "c", 'c'));
	must(!read_file(s, "c", 'c'));
	must(!write_file(s, "a", 'd'));
	must(is_file(c->api, "a", 'd'));
	must(!remove_file(s, "c"));
	must(!is_file(c->api, "c", 'c'));
}

void scene_vfs(void)
{
	char dir[200];
	struct opts opts;
	struct core c;

	torture_dir(dir, sizeof(dir));
	set_opts(&opts, dir);
	inject_arm();
	if (!core_start(&opts, false, &c)) {
		use(&c);
	} else {
		inject_disarm();
		core_finish(&c, 0);
		core_free(&c);
		must(!core_start(&opts, false, &c));
	}
	inject_disarm();
	use_well(&c);
	core_finish(&c, 10);
	core_free(&c);
	torture_remove(dir);
}
