/*
 * Lookup: find a name in a directory, listed or not listed yet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/remote/listing.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/byid.h"
#include "fs/vfs/node.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/near.h"

#define LOOKUP_AGAIN_MS 1000 /* an unlisted name is asked for again after this time */
/* During the last half second a lookup starts a new request but does not wait: see listing.h. */
#define LOOKUP_BELIEVED_MS (LOOKUP_AGAIN_MS + 500)

struct lookup {
	struct vfs *s;
	uint64_t parent;
	vfs_entry_cb *cb;
	void *arg;
	char name[];
};

/* Look the name up in the tree. 0 with a lookup counted for the kernel, -ENOENT or -ENOTDIR. */
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
		i->moved = i->unseen = false;
		i->nlookup++;
		vfs_fill(s, i, ret);
		r = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int vfs_lookup_listed(struct vfs *s, uint64_t parent, const char *name, uint64_t child,
		      struct vfs_entry *ret)
{
	struct inode *dir, *i = NULL;

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (dir && dir->kind == INODE_DIR)
		i = inode_find(s->table, dir, name);
	/*
	 * Refuse in a contested directory: vfs_take_name_back() must know by which of its two names
	 * a renamed inode is opened, and it gives a name to another inode, which the kernel must
	 * not cache.
	 */
	if (i && (i->ino != child || dir->contested))
		i = NULL;
	if (i) {
		i->unseen = false;
		i->nlookup++;
		vfs_fill(s, i, ret);
	}
	pthread_mutex_unlock(&s->lock);
	return i ? 0 : -ENOENT;
}

static bool is_purposes_root(struct vfs *s, uint64_t ino)
{
	const struct inode *root = inode_root(s->table);

	return root->ino == ino && !root->purpose;
}

static void lookup_listed(void *arg, int err, bool known)
{
	struct lookup *l = arg;
	struct vfs_entry e;
	int r = lookup_now(l->s, l->parent, l->name, &e);

	/*
	 * A service that can't be reached must not prevent writing here: unknown names do not
	 * exist.
	 */
	(void)err;
	(void)known;
	if (r == -ENOENT && is_purposes_root(l->s, l->parent) && near_word(l->name, names_purposes))
		vfs_tell_purposes(l->name);
	l->cb(l->arg, r, r ? NULL : &e);
	free(l);
}

/* True for names that no File has but shells and tools ask for all the time. */
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

/* Max age (ms) of the full listing that lookup accepts. */
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
	/* Refresh without waiting: a File removed by another host vanishes soon. */
	if (!r && (e.settled || !s->cfg.list_ttl_s) && S_ISREG(e.st.st_mode))
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
