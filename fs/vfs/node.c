/*
 * One inode: its attributes, the check of a new name, forget.
 */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/node.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/base/near.h"

#define TELL_EVERY_MS 60000

/* st_blksize: as large as coreutils reads anyway; some tools take steps of a thousand of it. */
#define BLOCK_SIZE (128 << 10)

bool vfs_is_purpose_writable(struct vfs *s, const struct inode *dir)
{
	(void)s;
	return dir->purpose && !dir->special && !dir->unlisted &&
	       names_purpose_writable(dir->purpose);
}

void vfs_tell_purposes(const char *name)
{
	static _Atomic uint64_t next_ms;
	const char *near = near_word(name, names_purposes);
	uint64_t now = clock_mono_ms(), next = atomic_load(&next_ms);

	if (now < next || !atomic_compare_exchange_strong(&next_ms, &next, now + TELL_EVERY_MS))
		return;
	log_info("the root has no %s%s%s%s: its directories are the purposes assistants, batch, "
		 "evals, fine-tune, user_data and vision; make other directories below one of them",
		 name, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

int vfs_check_new(struct vfs *s, const struct inode *dir, const char *name)
{
	if (dir->kind != INODE_DIR)
		return -ENOTDIR;
	/* The directory went with its last File, but a process still has it as its cwd. */
	if (!dir->parent && dir != inode_root(s->table))
		return -ENOENT;
	if (!vfs_is_purpose_writable(s, dir)) {
		if (!dir->parent && !dir->purpose)
			vfs_tell_purposes(name);
		return -EPERM;
	}
	if (dir == inode_root(s->table) && (!strcmp(name, ".by-id") || !strcmp(name, ".uploadfs")))
		return -EPERM;
	/* Bound every path: a longer one could not be named, a deeper one would be slow. */
	if (inode_path_size(dir) + strlen(name) >= PATH_MAX)
		return -ENAMETOOLONG;
	return names_check_new(name);
}

static bool left_name(const struct inode *i, const char *name)
{
	const char *last = i->moved && i->filename ? strrchr(i->filename, '/') : NULL;

	return i->moved && i->filename && !strcmp(last ? last + 1 : i->filename, name);
}

struct inode *vfs_find_meant(struct vfs *s, const struct inode *dir, const char *name)
{
	struct inode *i = inode_find(s->table, dir, name), *former;

	if (!i || i->kind != INODE_FILE || i->side || !i->unseen)
		return i;
	for (former = dir->contested ? dir->child : NULL; former; former = former->next)
		if (left_name(former, name))
			break;
	return former;
}

void vfs_inherit_group(const struct inode *dir, struct inode *i)
{
	if (!(dir->mode & S_ISGID))
		return;
	/* A file of theirs must not run as a group that they may not belong to. */
	if (i->gid != dir->gid && i->uid && i->kind == INODE_FILE && (i->mode & S_IXGRP))
		i->mode &= ~(uint32_t)S_ISGID;
	i->gid = dir->gid;
	if (i->kind == INODE_DIR)
		i->mode |= S_ISGID;
}

void vfs_drop_privileges(struct vfs *s, struct inode *i, const struct vfs_caller *who)
{
	uint32_t drop = S_ISUID | (i->mode & S_IXGRP ? S_ISGID : 0U);

	if (who->uid == 0 || !(i->mode & drop))
		return;
	i->mode &= ~drop;
	if (i->side && publish_set_owner(i->side->pub, i->mode, i->uid, i->gid))
		log_error("%s/%s: its mode is not recorded", i->purpose, i->name);
	else if (!i->side)
		vfs_remember(s, i);
}

static uint64_t size_of(const struct inode *i)
{
	return i->side ? staged_size(i->side->st) : i->bytes;
}

/* st_nlink is 0 after unlink or rmdir; .by-id-only files count 1; subdirectories don't count. */
static unsigned links_of(const struct inode *i)
{
	if (i->kind == INODE_DIR)
		return i->parent || i->fixed;
	return (i->parent || i->unlisted) && !(i->side && i->side->dropped);
}

void vfs_fill(struct vfs *s, struct inode *i, struct vfs_entry *ret)
{
	struct stat *st = &ret->st;
	bool dir = i->kind == INODE_DIR;
	struct timespec t = i->mtime;

	memset(ret, 0, sizeof(*ret));
	if (!dir && !i->has_mtime && !i->side)
		t = (struct timespec){ .tv_sec = i->created_at };
	ret->ino = i->ino;
	/*
	 * The kernel may cache a directory, or a File that nobody here writes; but for no longer
	 * than a listing is believed.
	 */
	ret->settled = s->cfg.list_ttl_s && (dir || (!i->side && !i->special));
	st->st_ino = i->ino;
	st->st_mode = (dir ? S_IFDIR : S_IFREG) | i->mode;
	st->st_nlink = links_of(i);
	st->st_uid = i->uid;
	st->st_gid = i->gid;
	st->st_size = dir ? 0 : (off_t)size_of(i);
	st->st_blocks = (st->st_size + 511) / 512;
	st->st_blksize = BLOCK_SIZE;
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
