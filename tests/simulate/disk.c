#include "tests/simulate/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulate/sim.h"

#define ROOM (24ULL << 20) /* of a disk: the store then keeps a small WAL */
#define ENTRIES 256
#define CHANGES 256

struct disk_op {
	struct disk_op *next;
	bool cut; /* to off */
	uint64_t off;
	size_t len;
	unsigned char data[];
};

struct entry {
	char path[96];
	struct disk_file *file;
};

struct change {
	bool add;  /* else: remove */
	bool more; /* not without the next one */
	struct entry e;
};

static struct disk {
	struct entry now[ENTRIES], base[ENTRIES];
	unsigned now_count, base_count;
	struct change changes[CHANGES];
	unsigned change_count;
	uint64_t used;
	bool full, failed;
} disks[HOSTS];
static unsigned fault_rate, files_made;

void disk_reset(void)
{
	memset(disks, 0, sizeof(disks));
	fault_rate = files_made = 0;
}

void disk_set_faults(unsigned per_mille)
{
	fault_rate = per_mille;
}

void disk_fill(unsigned host, bool full)
{
	disks[host].full = full;
}

bool disk_has_failed(unsigned host)
{
	return disks[host].failed;
}

void disk_forgive(unsigned host)
{
	disks[host].failed = false;
}

uint64_t disk_free_bytes(unsigned host)
{
	const struct disk *d = &disks[host];

	return d->full || d->used > ROOM ? 0 : ROOM - d->used;
}

/* ---- entries ---- */

static void drop_ops(struct disk_file *f)
{
	struct disk_op *op;

	while ((op = f->ops) != NULL) {
		f->ops = op->next;
		free(op);
	}
	f->last = &f->ops;
}

void disk_put(struct disk_file *f)
{
	if (!f || --f->refs)
		return;
	disks[f->host].used -= f->len;
	drop_ops(f);
	free(f->now);
	free(f->base);
	free(f);
}

static struct entry *find_in(struct entry *v, unsigned n, const char *path)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(v[i].path, path))
			return &v[i];
	return NULL;
}

static void add_to(struct entry *v, unsigned *n, const struct entry *e)
{
	if (*n == ENTRIES)
		abort();
	v[*n] = *e;
	v[(*n)++].file->refs++;
}

static void remove_from(struct entry *v, unsigned *n, const char *path)
{
	struct entry *e = find_in(v, *n, path);
	struct disk_file *f;

	if (!e)
		return;
	f = e->file;
	memmove(e, e + 1, (size_t)(v + *n - e - 1) * sizeof(*e));
	(*n)--;
	disk_put(f);
}

static void apply(struct disk *d, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct change *c = &d->changes[i];

		if (c->add) {
			remove_from(d->base, &d->base_count, c->e.path);
			add_to(d->base, &d->base_count, &c->e);
		} else {
			remove_from(d->base, &d->base_count, c->e.path);
		}
	}
	for (unsigned i = 0; i < count; i++)
		disk_put(d->changes[i].e.file);
	memmove(d->changes, d->changes + count, (d->change_count - count) * sizeof(d->changes[0]));
	d->change_count -= count;
}

static void note(struct disk *d, bool add, const struct entry *e, bool more)
{
	/* A journal is written sooner or later. */
	if (d->change_count == CHANGES)
		apply(d, CHANGES / 2);
	d->changes[d->change_count++] = (struct change){ add, more, *e };
	e->file->refs++;
}

void disk_sync_entries(unsigned host)
{
	apply(&disks[host], disks[host].change_count);
}

/* "/sim/H/..." */
static bool host_of(const char *path, unsigned *ret)
{
	if (strncmp(path, "/sim/", 5) || path[5] < '0' || path[5] >= '0' + HOSTS)
		return false;
	*ret = (unsigned)(path[5] - '0');
	return true;
}

struct disk_file *disk_find(const char *path, unsigned *ret_host)
{
	struct entry *e;

	if (!host_of(path, ret_host))
		return NULL;
	e = find_in(disks[*ret_host].now, disks[*ret_host].now_count, path);
	return e ? e->file : NULL;
}

struct disk_file *disk_make(unsigned host, const char *path, bool is_dir)
{
	struct disk *d = &disks[host];
	unsigned was = arena_enter(ARENA_WORLD);
	struct disk_file *f = calloc(1, sizeof(*f));
	struct entry e = { .file = f };

	f->host = host;
	f->nr = ++files_made;
	f->is_dir = is_dir;
	f->last = &f->ops;
	f->mtime_ms = sim_ms;
	snprintf(e.path, sizeof(e.path), "%s", path);
	add_to(d->now, &d->now_count, &e);
	note(d, true, &e, false);
	arena_enter(was);
	return f;
}

void disk_unlink(unsigned host, const char *path)
{
	struct disk *d = &disks[host];
	struct entry *e = find_in(d->now, d->now_count, path);

	note(d, false, e, false);
	remove_from(d->now, &d->now_count, path);
}

void disk_rename(unsigned host, const char *from, const char *to)
{
	struct disk *d = &disks[host];
	struct entry *e = find_in(d->now, d->now_count, from), moved = *e;

	snprintf(moved.path, sizeof(moved.path), "%s", to);
	note(d, false, e, true);
	note(d, true, &moved, false);
	remove_from(d->now, &d->now_count, to);
	add_to(d->now, &d->now_count, &moved);
	remove_from(d->now, &d->now_count, from);
}

const char *disk_entry(unsigned host, const char *dir, unsigned nth)
{
	struct disk *d = &disks[host];
	size_t len = strlen(dir);

	for (unsigned i = 0; i < d->now_count; i++) {
		const char *p = d->now[i].path;

		if (!strncmp(p, dir, len) && p[len] == '/' && !strchr(p + len + 1, '/') && !nth--)
			return p + len + 1;
	}
	return NULL;
}

/* ---- bytes ---- */

/* 0, or the errno of a fault that strikes. */
static int fault(struct disk_file *f, bool sync, size_t *len)
{
	static const char *const names[] = { "EIO", "ENOSPC", "short" };
	unsigned kind;

	if (!fault_rate || !luck_chance(LUCK_DISK, fault_rate))
		return 0;
	kind = sync ? 0 : luck_any(LUCK_DISK, 3);
	if (kind == 2 && *len < 2)
		return 0;
	if (!choice_made(CHOICE_DISK))
		return 0;
	trace("disk %u: %s of a %s of file %u", f->host, names[kind], sync ? "sync" : "write",
	      f->nr);
	disks[f->host].failed = true;
	if (kind < 2)
		return kind ? ENOSPC : EIO;
	*len = 1 + luck_any(LUCK_DISK, (unsigned)*len - 1);
	return 0;
}

static void resize(struct disk_file *f, uint64_t len)
{
	disks[f->host].used += len;
	disks[f->host].used -= f->len;
	if (len > f->room) {
		f->room = len < 256 ? 256 : 2 * len;
		f->now = realloc(f->now, f->room);
	}
	if (len > f->len)
		memset(f->now + f->len, 0, len - f->len);
	f->len = len;
}

static void add_op(struct disk_file *f, bool cut, uint64_t off, const void *data, size_t len)
{
	struct disk_op *op = malloc(sizeof(*op) + len);

	*op = (struct disk_op){ .cut = cut, .off = off, .len = len };
	if (len)
		memcpy(op->data, data, len);
	*f->last = op;
	f->last = &op->next;
}

ssize_t disk_read(struct disk_file *f, void *buf, size_t len, uint64_t off)
{
	co_point();
	if (off >= f->len)
		return 0;
	if (len > f->len - off)
		len = f->len - off;
	memcpy(buf, f->now + off, len);
	return (ssize_t)len;
}

ssize_t disk_write(struct disk_file *f, const void *buf, size_t len, uint64_t off)
{
	unsigned was;
	int err;

	co_point();
	err = fault(f, false, &len);
	if (err)
		return -err;
	if (off + len > f->len && off + len - f->len > disk_free_bytes(f->host))
		return -ENOSPC;
	was = arena_enter(ARENA_WORLD);
	if (off + len > f->len)
		resize(f, off + len);
	memcpy(f->now + off, buf, len);
	f->mtime_ms = sim_ms;
	add_op(f, false, off, buf, len);
	arena_enter(was);
	return (ssize_t)len;
}

int disk_truncate(struct disk_file *f, uint64_t len)
{
	unsigned was = arena_enter(ARENA_WORLD);

	resize(f, len);
	add_op(f, true, len, NULL, 0);
	f->mtime_ms = sim_ms;
	arena_enter(was);
	co_point();
	return 0;
}

static void base_resize(struct disk_file *f, uint64_t len)
{
	if (len > f->base_room) {
		f->base_room = len < 256 ? 256 : 2 * len;
		f->base = realloc(f->base, f->base_room);
	}
	if (len > f->base_len)
		memset(f->base + f->base_len, 0, len - f->base_len);
	f->base_len = len;
}

static void apply_op(struct disk_file *f, const struct disk_op *op, size_t len)
{
	if (op->cut) {
		base_resize(f, op->off);
		return;
	}
	if (op->off + len > f->base_len)
		base_resize(f, op->off + len);
	if (len)
		memcpy(f->base + op->off, op->data, len);
}

void disk_keep(struct disk_file *f)
{
	unsigned was = arena_enter(ARENA_WORLD);

	for (const struct disk_op *op = f->ops; op; op = op->next)
		apply_op(f, op, op->len);
	drop_ops(f);
	arena_enter(was);
}

/* Any of the writes have reached the disk; a torn one ends at a sector or in one. */
static void keep_some(struct disk_file *f)
{
	unsigned mode = luck_any(LUCK_DISK, 3);

	for (const struct disk_op *op = f->ops; op; op = op->next) {
		if (op->cut || mode == 0)
			apply_op(f, op, op->len);
		else if (mode == 2 && luck_chance(LUCK_DISK, 500))
			apply_op(f, op,
				 luck_chance(LUCK_DISK, 700)
					 ? op->len
					 : luck_any(LUCK_DISK, (unsigned)op->len + 1));
	}
	drop_ops(f);
}

int disk_sync(struct disk_file *f)
{
	size_t len = 0;
	unsigned was;
	int err;

	co_point();
	err = fault(f, true, &len);
	if (!err) {
		if (!conf.lying_disk)
			disk_keep(f);
		return 0;
	}
	/* The pages count as clean now, and the disk has other bytes. */
	was = arena_enter(ARENA_WORLD);
	f->failures++;
	keep_some(f);
	arena_enter(was);
	return -err;
}

void disk_cut_power(unsigned host)
{
	struct disk *d = &disks[host];
	unsigned was = arena_enter(ARENA_WORLD);
	unsigned kept = luck_any(LUCK_DISK, d->change_count + 1);

	if (kept && d->changes[kept - 1].more)
		kept--;
	apply(d, kept);
	while (d->change_count)
		disk_put(d->changes[--d->change_count].e.file);
	while (d->now_count)
		disk_put(d->now[--d->now_count].file);
	for (unsigned i = 0; i < d->base_count; i++) {
		struct disk_file *f = d->base[i].file;

		add_to(d->now, &d->now_count, &d->base[i]);
		keep_some(f);
		resize(f, f->base_len);
		if (f->base_len)
			memcpy(f->now, f->base, f->base_len);
	}
	arena_enter(was);
}
