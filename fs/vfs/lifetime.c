/*
 * Lifetimes of new Files.
 */
#include "fs/vfs/lifetime.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publisher.h"
#include "fs/state/attrs.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/check.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"
#include "net/base/log.h"

/* Seconds; 0: i is no File, or one that stays, or lives as long as its purpose says by itself. */
static uint64_t lifetime_of(const struct inode *i)
{
	int64_t s = i->expires_at - i->created_at;

	if (!i->file_id || !i->expires_at || s <= 0)
		return 0;
	/* The service may count from the Upload. */
	if (s < API_EXPIRY_MIN_S)
		s = API_EXPIRY_MIN_S;
	if (s >= API_EXPIRY_MAX_S)
		s = API_EXPIRY_MAX_S;
	return s == API_EXPIRY_MAX_S && !strcmp(i->purpose, "batch") ? 0 : (uint64_t)s;
}

/* Of the nearest directory that has one, else the mount's; 0: none. */
static uint64_t inherited(const struct vfs *s, const struct inode *dir)
{
	for (; dir; dir = dir->parent)
		if (dir->lifetime)
			return dir->lifetime;
	return s->cfg.expires_after;
}

static void set_expiry(struct inode *i, uint64_t seconds)
{
	if (publish_set_expiry(i->side->pub, seconds))
		log_error("%s/%s: its lifetime is not set", i->purpose, i->name);
}

void lifetime_begin(struct vfs *s, struct inode *i)
{
	char target[NAMES_MAX + 1];
	uint64_t seconds = lifetime_of(i);
	const struct inode *other = NULL;

	/* Its rename is going to replace that one; known now, its Upload need not begin anew. */
	if (!seconds && i->parent && names_temporary(i->name, target))
		other = inode_find(s->table, i->parent, target);
	if (other && other->kind == INODE_FILE)
		seconds = lifetime_of(other);
	if (!seconds)
		seconds = inherited(s, i->parent);
	if (seconds)
		set_expiry(i, seconds);
}

void lifetime_moved(struct vfs *s, struct inode *i, const struct inode *dir,
		    const struct inode *other)
{
	uint64_t seconds = other ? lifetime_of(other) : 0;

	if (i->side->expiry_set)
		return;
	if (!seconds)
		seconds = lifetime_of(i);
	set_expiry(i, seconds ? seconds : inherited(s, dir));
}

int lifetime_parse(const char *text, uint64_t *ret)
{
	uint64_t n = 0;

	for (const char *c = text; *c; c++) {
		n = *c >= '0' && *c <= '9' ? n * 10 + (uint64_t)(*c - '0') : API_EXPIRY_MAX_S + 1;
		if (n > API_EXPIRY_MAX_S)
			break;
	}
	if (n < API_EXPIRY_MIN_S || n > API_EXPIRY_MAX_S) {
		log_warn("user.upload.expires_after=%.32s: a lifetime is %d to %d seconds (an hour "
			 "to 30 days)",
			 text, API_EXPIRY_MIN_S, API_EXPIRY_MAX_S);
		return -EINVAL;
	}
	*ret = n;
	return 0;
}

/* 0, or why new Files below dir can't have one. */
static int check_dir(struct vfs *s, const struct inode *dir)
{
	if (dir->special)
		return -EPERM;
	if (!dir->purpose) {
		log_warn("user.upload.expires_after: set it on the directory of a purpose or one "
			 "below; -o expires_after= is for the whole mount");
		return -EPERM;
	}
	if (!names_purpose_writable(dir->purpose))
		return -EPERM;
	return dir->parent || dir == inode_root(s->table) ? 0 : -ENOENT;
}

static int set_dir(struct vfs *s, struct inode *dir, uint32_t seconds)
{
	char *path = NULL;
	int r = check_dir(s, dir);

	if (!r)
		r = inode_path(dir, &path);
	if (r)
		return r;
	/* It may have been there for a File's name alone. */
	if (*path && seconds)
		vfs_keep_dir(s, dir);
	if (s->cfg.attrs)
		r = attrs_dir_set_number(s->cfg.attrs, ATTRS_LIFETIME, dir->purpose, path, seconds);
	if (!r)
		dir->lifetime = seconds;
	free(path);
	return r;
}

int lifetime_set(struct vfs *s, struct inode *dir, const char *text)
{
	uint64_t n;
	int r = lifetime_parse(text, &n);

	return r ? r : set_dir(s, dir, (uint32_t)n);
}

uint32_t lifetime_of_dir(struct vfs *s, uint64_t ino)
{
	const struct inode *i;
	uint32_t seconds;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	seconds = i && i->kind == INODE_DIR ? i->lifetime : 0;
	pthread_mutex_unlock(&s->lock);
	return seconds;
}

void lifetime_answer(struct vfs *s, uint64_t ino, vfs_xattr_cb *cb, void *arg)
{
	uint32_t seconds = lifetime_of_dir(s, ino);
	char text[16];
	int n = snprintf(text, sizeof(text), "%" PRIu32, seconds);

	cb(arg, seconds ? 0 : -ENODATA, text, seconds ? (size_t)n : 0);
}

int vfs_removexattr(struct vfs *s, uint64_t ino, const char *name)
{
	struct inode *i;
	int r = -EOPNOTSUPP;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (i && i->kind == INODE_DIR && !strcmp(name, LIFETIME_XATTR))
		r = i->lifetime ? set_dir(s, i, 0) : -ENODATA;
	else if (i && !strcmp(name, CHECK_XATTR))
		r = check_remove(s, i);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* Runs in one thread before the mount: no lock is needed. */
static void load_one(void *arg, const char *purpose, const char *path, uint32_t seconds)
{
	struct vfs *s = arg;
	struct inode *at = NULL;

	if (!names_purpose_writable(purpose))
		return;
	at = *path ? vfs_dir_for_path(s, purpose, path) : vfs_purpose_dir(s, purpose);
	if (at && at->kind == INODE_DIR)
		at->lifetime = seconds;
}

void lifetime_load(struct vfs *s)
{
	if (!s->cfg.attrs)
		return;
	inode_table_quiet(s->table, true);
	attrs_dir_each_number(s->cfg.attrs, ATTRS_LIFETIME, load_one, s);
	inode_table_quiet(s->table, false);
}
