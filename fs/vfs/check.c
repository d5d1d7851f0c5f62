/*
 * The check of lines before a file becomes a File.
 */
#include "fs/vfs/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publisher.h"
#include "fs/state/attrs.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

static bool has_lines(const char *purpose)
{
	return purpose && (!strcmp(purpose, "batch") || !strcmp(purpose, "fine-tune"));
}

/* What is written in dir inherits. */
static enum line_check inherited(const struct vfs *s, const struct inode *dir)
{
	const char *purpose = dir ? dir->purpose : NULL;

	for (; dir; dir = dir->parent)
		if (dir->check)
			return (enum line_check)dir->check;
	return s->cfg.check_jsonl && has_lines(purpose) ? CHECK_JSONL : CHECK_UNSET;
}

static int apply(struct staged_side *l, enum line_check check)
{
	int r = publish_set_check(l->pub, check == CHECK_JSONL);

	if (!r)
		l->check = check;
	return r;
}

/* The same where no error can be told. */
static void inherit(struct inode *i, enum line_check check)
{
	if (apply(i->side, check))
		log_error("%s/%s: the check of its lines is not set", i->purpose, i->name);
}

void check_begin(struct vfs *s, struct inode *i)
{
	enum line_check check = inherited(s, i->parent);

	if (check)
		inherit(i, check);
}

void check_moved(struct vfs *s, struct inode *i, const struct inode *dir)
{
	if (!i->side->check_set && inherited(s, dir) != i->side->check)
		inherit(i, inherited(s, dir));
}

static int set_file(struct staged_side *l, enum line_check check)
{
	int r = !l || l->dropped ? -EPERM : apply(l, check); /* a File can't be changed */

	if (!r)
		l->check_set = true;
	return r;
}

static int set_dir(struct vfs *s, struct inode *dir, enum line_check check)
{
	char *path = NULL;
	int r;

	if (!dir->purpose && !dir->special)
		log_warn(CHECK_XATTR ": set it on the directory of a purpose or one below; -o "
				     "check=jsonl is for the whole mount");
	if (dir->special || !dir->purpose || !names_purpose_writable(dir->purpose))
		return -EPERM;
	if (!dir->parent && dir != inode_root(s->table))
		return -ENOENT;
	r = inode_path(dir, &path);
	if (r)
		return r;
	/* It may have been there for a File's name alone. */
	if (*path && check)
		vfs_keep_dir(s, dir);
	if (s->cfg.attrs)
		r = attrs_dir_set_number(s->cfg.attrs, ATTRS_CHECK, dir->purpose, path, check);
	if (!r)
		dir->check = check & 3;
	free(path);
	return r;
}

int check_set(struct vfs *s, struct inode *i, const char *text)
{
	enum line_check check = !strcmp(text, "jsonl")	? CHECK_JSONL
				: !strcmp(text, "none") ? CHECK_NONE
							: CHECK_UNSET;

	if (!check) {
		log_warn(CHECK_XATTR "=%.32s is not known; use jsonl or none", text);
		return -EINVAL;
	}
	return i->kind == INODE_DIR ? set_dir(s, i, check) : set_file(i->side, check);
}

int check_remove(struct vfs *s, struct inode *i)
{
	if (i->kind == INODE_DIR)
		return i->check ? set_dir(s, i, CHECK_UNSET) : -ENODATA;
	if (!i->side || !i->side->check_set)
		return -ENODATA;
	i->side->check_set = false;
	check_moved(s, i, i->parent);
	return 0;
}

enum line_check check_of(struct vfs *s, const struct inode *i)
{
	if (i->special)
		return CHECK_UNSET;
	if (i->kind == INODE_DIR)
		return (enum line_check)i->check;
	return i->side ? (enum line_check)i->side->check : inherited(s, i->parent);
}

const char *check_word(enum line_check check)
{
	return check == CHECK_JSONL ? "jsonl" : check == CHECK_NONE ? "none" : "";
}

void check_answer(struct vfs *s, uint64_t ino, vfs_xattr_cb *cb, void *arg)
{
	const struct inode *i;
	const char *word;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	word = i ? check_word(check_of(s, i)) : "";
	pthread_mutex_unlock(&s->lock);
	cb(arg, *word ? 0 : -ENODATA, word, strlen(word));
}

/* Runs in one thread before the mount: no lock is needed. */
static void load_one(void *arg, const char *purpose, const char *path, uint32_t number)
{
	struct vfs *s = arg;
	struct inode *at = NULL;

	if (!names_purpose_writable(purpose) || number > CHECK_JSONL)
		return;
	at = *path ? vfs_dir_for_path(s, purpose, path) : vfs_purpose_dir(s, purpose);
	if (at && at->kind == INODE_DIR)
		at->check = number & 3;
}

void check_load(struct vfs *s)
{
	if (!s->cfg.attrs)
		return;
	inode_table_quiet(s->table, true);
	attrs_dir_each_number(s->cfg.attrs, ATTRS_CHECK, load_one, s);
	inode_table_quiet(s->table, false);
}
