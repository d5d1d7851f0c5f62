/*
 * .by-id/FILE_ID: any File of the account, listed or not. The directory lists no entries; a lookup
 * in it finds the same inodes as the purposes' directories do; %XX in the name stands for a byte of
 * the ID that no name can have. Only the mounter and root may pass,
 * because an ID bypasses the permissions of the directories above a File. The kernel checks that
 * (default_permissions).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/byid.h"
#include "fs/remote/errmap.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/node.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"
#include "net/base/log.h"

struct by_id {
	struct vfs *s;
	vfs_entry_cb *cb;
	void *arg;
};

static struct inode *make_dir_by_id(struct vfs *s)
{
	struct inode *d = inode_find(s->table, inode_root(s->table), ".by-id");

	if (d)
		return d;
	d = inode_new(s->table, inode_root(s->table), ".by-id", INODE_DIR);
	if (d) {
		d->special = d->fixed = true;
		d->purpose = NULL;
		/*
		 * The directories of the File are unknown here, and so are their modes: let nobody
		 * else pass.
		 */
		d->mode = 0500;
		d->uid = s->cfg.uid;
		d->gid = s->cfg.gid;
	}
	return d;
}

/*
 * Make an inode for a File that no directory shows. The inode is linked nowhere until a listing
 * shows the File, and lives while the kernel knows it.
 */
static struct inode *make_file(struct vfs *s, const struct api_file *f)
{
	struct inode *d = make_dir_by_id(s), *i;

	i = d ? inode_new(s->table, d, f->id, INODE_FILE) : NULL;
	if (!i)
		return NULL;
	i->special = false;
	i->unlisted = true;
	i->nref++; /* keeps i through the unlinking */
	inode_unlink(s->table, i);
	i->purpose = vfs_purpose_word(f->purpose);
	if (inode_set_file_id(s->table, i, f->id) || inode_set_filename(i, f->filename)) {
		inode_unref(s->table, i);
		return NULL;
	}
	i->mode = 0444;
	i->uid = s->cfg.uid;
	i->gid = s->cfg.gid;
	i->bytes = f->bytes;
	i->created_at = f->created_at;
	i->expires_at = f->expires_at;
	vfs_recall(s, i);
	i->nref--;
	return i;
}

static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	struct by_id *b = arg;
	struct vfs *s = b->s;
	struct vfs_entry e;
	struct inode *i = NULL;
	int r = errmap(err, ERRMAP_READ);

	if (r == -EINVAL)
		r = -ENOENT; /* an invalid id is a name that does not exist */
	pthread_mutex_lock(&s->lock);
	if (file) {
		i = inode_by_file_id(s->table, file->id);
		if (!i && !file->bytes_unknown)
			i = make_file(s, file);
		/* The service does not know the size yet: treat the File as not there yet. */
		r = i ? 0 : file->bytes_unknown ? -ENOENT : -ENOMEM;
	}
	if (i) {
		i->nlookup++;
		vfs_fill(s, i, &e);
	}
	pthread_mutex_unlock(&s->lock);
	b->cb(b->arg, r, i ? &e : NULL);
	free(b);
}

static void ask(struct vfs *s, const char *id, vfs_entry_cb *cb, void *arg)
{
	struct by_id *b = malloc(sizeof(*b));
	struct api_req *req = NULL;

	if (b) {
		*b = (struct by_id){ s, cb, arg };
		req = api_file_get(s->cfg.api, id, on_file, b);
	}
	if (!req) {
		free(b);
		cb(arg, -ENOMEM, NULL);
	}
	api_req_unref(req);
}

bool vfs_lookup_special(struct vfs *s, uint64_t parent, const char *name, vfs_entry_cb *cb,
			void *arg)
{
	struct vfs_entry e;
	char id[NAMES_MAX + 1];
	struct inode *dir, *i = NULL;
	bool inside = false;

	if (strlen(name) > NAMES_MAX)
		return false;
	names_id_decode(name, id);

	pthread_mutex_lock(&s->lock);
	dir = inode_get(s->table, parent);
	if (dir && dir == inode_root(s->table) && !strcmp(name, ".by-id")) {
		i = make_dir_by_id(s);
	} else if (dir && dir->special && dir->kind == INODE_DIR && !strcmp(dir->name, ".by-id")) {
		inside = true;
		i = inode_by_file_id(s->table, id);
	}
	if (i) {
		i->moved = false;
		i->nlookup++;
		vfs_fill(s, i, &e);
	}
	pthread_mutex_unlock(&s->lock);
	if (i)
		cb(arg, 0, &e);
	else if (inside && !api_id_valid(id))
		cb(arg, -ENOENT, NULL);
	else if (inside)
		ask(s, id, cb, arg);
	return i || inside;
}
