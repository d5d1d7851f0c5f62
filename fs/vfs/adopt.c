/*
 * Recovery's side of vfs: give a staged file of an earlier daemon its inode back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/files.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/intent.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"

/* Two staged files may have the same name: rename the later one. */
static struct inode *file_named(struct vfs *s, struct inode *dir, const char *name, const char *id)
{
	char aside[NAMES_MAX + 1];

	if (inode_find(s->table, dir, name)) {
		names_duplicate(name, id, aside);
		name = aside;
	}
	return inode_find(s->table, dir, name) ? NULL : inode_new(s->table, dir, name, INODE_FILE);
}

static struct inode *place(struct vfs *s, struct staged *st, const struct record *r)
{
	char *path = strdup(r->path), *name;
	struct inode *at = path ? vfs_walk(s, r->purpose, path, &name) : NULL;

	if (at)
		at = file_named(s, at, name, staged_id(st));
	free(path);
	return at;
}

/* An inode that nobody can find, for a file removed here but not yet at the service. */
static struct inode *nowhere(struct vfs *s, struct staged *st, const struct record *r)
{
	struct inode *i = inode_new(s->table, inode_root(s->table), staged_id(st), INODE_FILE);

	if (!i)
		return NULL;
	i->purpose = vfs_purpose_word(r->purpose);
	if (!i->purpose) {
		inode_unlink(s->table, i);
		return NULL;
	}
	inode_ref(i);
	inode_unlink(s->table, i);
	return i;
}

/* Adopt the file as if it had been removed just now. */
static int adopt_removed(struct vfs *s, struct staged *st, const struct record *r)
{
	struct inode *i;
	int err;

	pthread_mutex_lock(&s->lock);
	inode_table_quiet(s->table, true);
	i = nowhere(s, st, r);
	inode_table_quiet(s->table, false);
	staged_keep(st);
	if (!i)
		staged_unref(st);
	err = i ? side_make(s, i, st, r) : -ENOMEM;
	if (i)
		inode_unref(s->table, i);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static struct rename_intent *make_intent(struct vfs *s, const struct record *r)
{
	struct rename_intent *t = calloc(1, sizeof(*t));
	char *path = strdup(r->path), *name, *last = NULL;
	struct inode *dir = t && path ? vfs_walk(s, r->purpose, path, &name) : NULL;

	if (dir)
		last = strdup(name);
	free(path);
	if (!last) {
		free(t);
		return NULL;
	}
	t->dir = dir->ino;
	t->name = last;
	t->recovered = true;
	return t;
}

/*
 * A rename whose complete was asked. Both names keep their meaning; its publication goes on until
 * its File is seen, which moves the name, or is known not to exist.
 */
static int adopt_intent(struct vfs *s, struct staged *st, const struct record *r)
{
	struct rename_intent *t = NULL;
	struct inode *i;
	int err = -ENOMEM;

	pthread_mutex_lock(&s->lock);
	i = nowhere(s, st, r);
	if (i)
		t = make_intent(s, r);
	staged_keep(st);
	if (t)
		err = side_make(s, i, st, r);
	else
		staged_unref(st);
	for (size_t k = 0; !err && k < r->superseded_count; k++)
		err = intent_note(t, r->superseded[k]);
	if (!err)
		intent_open(s, t, i->side);
	else if (t)
		intent_free(t);
	if (i)
		inode_unref(s->table, i);
	pthread_mutex_unlock(&s->lock);
	return err;
}

int vfs_adopt(struct vfs *s, struct staged *st, const struct record *r)
{
	struct inode *i;
	int err;

	if (r->state == RECORD_REMOVED)
		return adopt_removed(s, st, r);
	/* The file is good but of another purpose: keep it for a mount that shows that one. */
	if (s->purpose && strcmp(s->purpose, r->purpose)) {
		staged_keep(st);
		staged_unref(st);
		return -EXDEV;
	}
	if (r->copy && r->state == RECORD_COMPLETING)
		return adopt_intent(s, st, r);
	pthread_mutex_lock(&s->lock);
	inode_table_quiet(s->table, true);
	i = place(s, st, r);
	inode_table_quiet(s->table, false);
	if (!i) {
		pthread_mutex_unlock(&s->lock);
		staged_keep(st);
		staged_unref(st);
		return -EINVAL;
	}
	i->mode = r->mode;
	i->uid = r->uid;
	i->gid = r->gid;
	i->has_mtime = staged_mtime(st, &i->mtime) == 0;
	staged_keep(st);
	err = side_make(s, i, st, r);
	if (err)
		inode_unlink(s->table, i);
	pthread_mutex_unlock(&s->lock);
	return err;
}
