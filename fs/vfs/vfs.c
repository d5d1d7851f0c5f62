/*
 * Life of the vfs: new, stop, free; statfs.
 */
#include "fs/vfs/vfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/proc/scout.h"
#include "fs/remote/listing.h"
#include "net/base/clock.h"
#include "fs/stage/area.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/tree/snapshot.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/control.h"
#include "fs/vfs/copyup.h"
#include "fs/vfs/gone.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/check.h"
#include "fs/vfs/lifetime.h"
#include "fs/vfs/listed.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"

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
	r = side_start_scout(s);
	if (r)
		goto fail_table;
	r = listing_new(&lc, &s->listing);
	if (r)
		goto fail_table;
	vfs_load_dirs(s);
	lifetime_load(s);
	check_load(s);
	*ret = s;
	return 0;
fail_table:
	scout_free(s->scout);
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
	if (!s)
		return;
	scout_free(s->scout);
	s->scout = NULL;
	listing_stop(s->listing);
}

void vfs_free(struct vfs *s)
{
	struct sides all = { .s = s };

	if (!s)
		return;
	scout_free(s->scout);
	vfs_end_stagings(s);
	/* Handles the kernel did not close: the mount was torn away. */
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

void vfs_statfs(struct vfs *s, struct statvfs *ret)
{
	struct staging_space space;
	size_t files;

	memset(ret, 0, sizeof(*ret));
	ret->f_bsize = ret->f_frsize = 4096;
	ret->f_namemax = NAMES_MAX;
	/* The staging disk limits what can be written. */
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

void vfs_get_listing(struct vfs *s, struct vfs_listing *ret)
{
	struct listing_progress p;

	*ret = (struct vfs_listing){ .known = false };
	if (!s)
		return;
	listing_get_progress(s->listing, &p);
	*ret = (struct vfs_listing){
		.under_way = p.under_way,
		.known = p.known,
		.pages = p.pages,
		.files = p.files,
		.seconds = (clock_mono_ms() - p.began_ms) / 1000,
	};
}
