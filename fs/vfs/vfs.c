/*
 * Life of the vfs, and what can be asked of one inode.
 */
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tree/snapshot.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

int vfs_new(const struct vfs_config *cfg, struct vfs **ret)
{
	struct vfs *s = calloc(1, sizeof(*s));
	struct listing_config lc = { .api = cfg->api,
				     .apply = vfs_apply_listing,
				     .known = vfs_is_listed };
	int r = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	if (cfg->purpose && !(s->purpose = strdup(cfg->purpose)))
		goto fail;
	s->cfg.purpose = s->purpose;
	pthread_mutex_init(&s->lock, NULL);
	r = inode_table_new(&s->table);
	if (r)
		goto fail_lock;
	r = vfs_make_purposes(s);
	if (!r)
		r = vfs_make_control(s);
	if (r)
		goto fail_table;
	lc.purpose = s->purpose;
	lc.arg = s;
	r = listing_new(&lc, &s->listing);
	if (r)
		goto fail_table;
	vfs_load_dirs(s);
	*ret = s;
	return 0;
fail_table:
	inode_table_free(s->table);
fail_lock:
	pthread_mutex_destroy(&s->lock);
	free(s->purpose);
fail:
	free(s);
	return r;
}

struct sides {
	struct vfs *s;
	struct staged_side **v;
	size_t n, cap;
};

static void collect(void *arg, struct inode *i)
{
	struct sides *all = arg;

	if (i->side && all->n < all->cap)
		all->v[all->n++] = side_take(all->s, i);
}

void vfs_stop(struct vfs *s)
{
	if (s)
		listing_stop(s->listing);
}

void vfs_free(struct vfs *s)
{
	struct sides all = { .s = s };

	if (!s)
		return;
	vfs_end_stagings(s);
	/* Handles the kernel did not close: the mount was torn away from under them. */
	while (s->handles)
		handle_free(s->handles);
	while (s->dirs)
		dir_free(s->dirs);
	all.cap = inode_count(s->table);
	all.v = calloc(all.cap, sizeof(struct staged_side *));
	if (all.v)
		inode_table_each(s->table, collect, &all);
	for (size_t k = 0; k < all.n; k++)
		side_release(s, all.v[k]);
	free(all.v);
	inode_table_free(s->table);
	vfs_forget_gone(s);
	listing_free(s->listing);
	pthread_mutex_destroy(&s->lock);
	free(s->purpose);
	free(s);
}

void vfs_close_doors(struct vfs *s)
{
	atomic_store(&s->closing, true);
}

static void count_unclosed(void *arg, struct inode *i)
{
	unsigned *n = arg;

	*n += i->side && !i->side->dropped && i->side->writers && i->side->dirty;
}

unsigned vfs_count_unclosed(struct vfs *s)
{
	unsigned n = 0;

	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	inode_table_each(s->table, count_unclosed, &n);
	pthread_mutex_unlock(&s->lock);
	return n;
}

void vfs_set_dev(struct vfs *s, dev_t dev)
{
	s->dev = dev;
}

bool vfs_is_purpose_writable(struct vfs *s, const struct inode *dir)
{
	(void)s;
	return dir->purpose && !dir->special && !dir->unlisted &&
	       names_purpose_writable(dir->purpose);
}

int vfs_check_new(struct vfs *s, const struct inode *dir, const char *name)
{
	if (dir->kind != INODE_DIR)
		return -ENOTDIR;
	/* Gone with its last File, though somebody still stands in it. */
	if (!dir->parent && dir != inode_root(s->table))
		return -ENOENT;
	if (!vfs_is_purpose_writable(s, dir))
		return -EPERM;
	if (dir == inode_root(s->table) && (!strcmp(name, ".by-id") || !strcmp(name, ".uploadfs")))
		return -EPERM;
	return names_check_new(name);
}

static uint64_t size_of(const struct inode *i)
{
	return i->side ? staged_size(i->side->st) : i->bytes;
}

/* None once it has lost its name; what only .by-id has shown has that one. */
static unsigned links_of(const struct inode *i)
{
	if (i->kind == INODE_DIR)
		return 2;
	return (i->parent || i->unlisted) && !(i->side && i->side->dropped);
}

void vfs_fill(struct vfs *s, struct inode *i, struct vfs_entry *ret)
{
	struct stat *st = &ret->st;
	bool dir = i->kind == INODE_DIR;
	struct timespec t = i->mtime;

	(void)s;
	memset(ret, 0, sizeof(*ret));
	if (!dir && !i->has_mtime && !i->side)
		t = (struct timespec){ .tv_sec = i->created_at };
	ret->ino = i->ino;
	/* The kernel may remember a directory, or a File that nobody here writes. */
	ret->settled = dir ? true : !i->side && !i->special;
	st->st_ino = i->ino;
	st->st_mode = (dir ? S_IFDIR : S_IFREG) | i->mode;
	st->st_nlink = links_of(i);
	st->st_uid = i->uid;
	st->st_gid = i->gid;
	st->st_size = dir ? 0 : (off_t)size_of(i);
	st->st_blocks = (st->st_size + 511) / 512;
	st->st_blksize = 1 << 20;
	st->st_atim = st->st_mtim = st->st_ctim = t;
}

int vfs_getattr(struct vfs *s, uint64_t ino, struct vfs_entry *ret)
{
	struct inode *i;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (i)
		vfs_fill(s, i, ret);
	pthread_mutex_unlock(&s->lock);
	return i ? 0 : -ENOENT;
}

void vfs_forget(struct vfs *s, uint64_t ino, uint64_t n)
{
	struct inode *i;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (i)
		inode_forget(s->table, i, n);
	pthread_mutex_unlock(&s->lock);
}

void vfs_statfs(struct vfs *s, struct statvfs *ret)
{
	struct staging_space space;
	size_t files;

	memset(ret, 0, sizeof(*ret));
	ret->f_bsize = ret->f_frsize = 4096;
	ret->f_namemax = NAMES_MAX;
	/* What can still be written is what the staging disk can take. */
	if (staging_get_space(s->cfg.staging, &space) == 0) {
		ret->f_blocks = space.disk_size / 4096;
		ret->f_bfree = ret->f_bavail = space.disk_free / 4096;
	}
	pthread_mutex_lock(&s->lock);
	files = inode_count(s->table);
	pthread_mutex_unlock(&s->lock);
	ret->f_files = files + 1000000;
	ret->f_ffree = ret->f_favail = 1000000;
}

/* ---- lookup ---- */

struct lookup {
	struct vfs *s;
	uint64_t parent;
	vfs_entry_cb *cb;
	void *arg;
	char name[];
};

/* 0 with a reference for the kernel, -ENOENT, -ENOTDIR. */
static int lookup_now(struct vfs *s, uint64_t parent, const char *name, struct vfs_entry *ret)
{
	struct inode *dir, *i = NULL;
	int r = -ENOENT;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (dir && dir->kind != INODE_DIR)
		r = -ENOTDIR;
	else if (dir)
		i = inode_find(s->table, dir, name);
	if (i) {
		i->moved = false;
		i->nlookup++;
		vfs_fill(s, i, ret);
		r = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void lookup_listed(void *arg, int err, bool known)
{
	struct lookup *l = arg;
	struct vfs_entry e;
	int r = lookup_now(l->s, l->parent, l->name, &e);

	/* A service that can't be reached must not keep anybody from writing
	 * here: what is not known to exist does not. */
	(void)err;
	(void)known;
	l->cb(l->arg, r, r ? NULL : &e);
	free(l);
}

/* Names that no File has, asked for all the time by shells and tools. */
static bool never_listed(struct vfs *s, uint64_t parent, const char *name)
{
	struct inode *dir;
	bool r;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	r = !dir || dir->special || (!dir->purpose && !dir->parent && name[0] == '.');
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* For lookups: so long the whole list is believed, in ms. */
static uint64_t list_age(const struct vfs *s)
{
	uint64_t ms = s->cfg.list_ttl_s * 1000ULL;

	return ms > LOOKUP_AGAIN_MS ? ms : LOOKUP_AGAIN_MS;
}

void vfs_lookup(struct vfs *s, uint64_t parent, const char *name, vfs_entry_cb *cb, void *arg)
{
	size_t len = strlen(name);
	struct vfs_entry e;
	struct lookup *l;
	int r;

	if (len > NAMES_MAX) {
		cb(arg, -ENAMETOOLONG, NULL);
		return;
	}
	if (vfs_lookup_special(s, parent, name, cb, arg))
		return;
	r = lookup_now(s, parent, name, &e);
	/* A File that somebody else removed is gone soon; nobody waits for that here. */
	if (!r && e.settled && S_ISREG(e.st.st_mode))
		listing_refresh(s->listing, list_age(s));
	if (r != -ENOENT || never_listed(s, parent, name)) {
		cb(arg, r, r ? NULL : &e);
		return;
	}
	l = malloc(sizeof(*l) + len + 1);
	if (!l) {
		cb(arg, -ENOMEM, NULL);
		return;
	}
	l->s = s;
	l->parent = parent;
	l->cb = cb;
	l->arg = arg;
	memcpy(l->name, name, len + 1);
	listing_want_new(s->listing, LOOKUP_BELIEVED_MS, list_age(s), lookup_listed, l);
}

void vfs_log_failed(struct vfs *s, const struct inode *i, const char *what, int err,
		    const char *text)
{
	char *label;

	pthread_mutex_lock(&s->lock);
	label = inode_label(i);
	pthread_mutex_unlock(&s->lock);
	log_warn("%s: %s: %s", label ? label : "a file", what, text ? text : strerror(-err));
	free(label);
}
