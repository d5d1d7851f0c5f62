/*
 * The name that a file is published under, and its commit together with the Files it replaces.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/side_name.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/intent.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/log.h"

/*
 * "dir/.NAME.XXXXXX" -> "dir/NAME": the name to send a temporary name under. NULL: not a temporary
 * name, or no memory.
 */
char *side_hold_name(const struct inode *i, const char *path)
{
	char target[NAMES_MAX + 1], *hold;
	const char *name = strrchr(path, '/');
	size_t dir;

	name = name ? name + 1 : path;
	/* A removed file has an empty path; a rename that waits for its File holds nothing. */
	if (!i->parent || (i->side && i->side->intent) || !names_temporary(name, target))
		return NULL;
	dir = (size_t)(name - path);
	hold = malloc(dir + strlen(target) + 1);
	if (!hold)
		return NULL;
	memcpy(hold, path, dir);
	memcpy(hold + dir, target, strlen(target) + 1);
	return hold;
}

int side_note_superseded(struct staged_side *l, const char *file_id)
{
	char **grown = realloc(l->superseded_files, (l->superseded_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	l->superseded_files = grown;
	grown[l->superseded_count] = strdup(file_id);
	if (!grown[l->superseded_count])
		return -ENOMEM;
	l->superseded_count++;
	return 0;
}

/* Path and purpose of i's File to be. Under lock. 0 or negative errno. */
int side_path(struct vfs *s, const struct inode *i, const char **ret_purpose, char **ret)
{
	const struct rename_intent *t = i->side ? i->side->intent : NULL;
	const struct inode *dir = t ? inode_get(s->table, t->dir) : NULL;
	char *base = NULL;
	int r;

	*ret_purpose = dir ? dir->purpose : i->purpose;
	if (!dir)
		return inode_path(i, ret);
	r = inode_path(dir, &base);
	if (!r && asprintf(ret, "%s%s%s", base, *base ? "/" : "", t->name) < 0)
		r = -ENOMEM;
	free(base);
	return r;
}

/*
 * List the victim's Files: an allocated array ended by NULL, its ids the victim's. NULL: no memory.
 */
static const char **files_of(const struct inode *victim)
{
	size_t n = 0, sides = victim && victim->side ? victim->side->superseded_count : 0;
	const char **ids = calloc(sides + 2, sizeof(*ids));

	if (ids && victim && victim->file_id)
		ids[n++] = victim->file_id;
	for (size_t k = 0; ids && k < sides; k++)
		ids[n++] = victim->side->superseded_files[k];
	return ids;
}

int side_told(struct vfs *s, struct inode *i)
{
	const char *purpose;
	char *path, *hold;
	int r = side_path(s, i, &purpose, &path);

	if (r)
		return r;
	hold = side_hold_name(i, path);
	r = publish_rename(i->side->pub, purpose, path, hold);
	free(hold);
	free(path);
	return r;
}

/* Tell i's publication what it supersedes, then commit its place. Under lock. */
static int commit_place(struct inode *i, struct staged_place *to, const char **ids)
{
	struct staged_side *l = i->side;
	size_t told = 0;
	int r = 0;

	publish_lock_record(l->pub);
	while (!r && ids[told]) {
		r = publish_supersede(l->pub, ids[told]);
		told += r == 0;
	}
	to->superseded = ids;
	if (!r)
		r = staged_rename(l->st, to);
	while (r && told)
		publish_take_back(l->pub, ids[--told]);
	publish_unlock_record(l->pub);
	return r;
}

/* Remember the Files that i stands for: hidden with it, deleted with it. Under lock. */
static void note_all(struct inode *i, const char **ids)
{
	struct staged_side *l = i->side;
	int r = 0;

	for (; !r && *ids; ids++)
		r = l->intent ? intent_note(l->intent, *ids) : side_note_superseded(l, *ids);
	if (r)
		log_error("out of memory: a File that was replaced shows beside %s", i->name);
}

int side_moved(struct vfs *s, struct inode *i, struct inode *victim)
{
	struct staged_place to = { 0 };
	const char **ids;
	char *path;
	int r = side_path(s, i, &to.purpose, &path);

	if (r)
		return r;
	to.path = path;
	if (!i->side->intent && victim && victim->side)
		to.victim = victim->side->st;
	ids = files_of(victim);
	r = ids ? commit_place(i, &to, ids) : -ENOMEM;
	if (!r)
		note_all(i, ids);
	free(ids);
	free(path);
	return r ? r : side_told(s, i);
}

int side_moved_back(struct vfs *s, struct inode *i, struct rename_intent *t)
{
	const char **ids = calloc(t->victim_count + 1, sizeof(*ids));
	struct staged_place to = { .spared = ids };
	struct staged_side *l = i->side;
	char *path = NULL;
	int r;

	for (size_t k = 0; ids && k < t->victim_count; k++)
		ids[k] = t->victims[k];
	intent_close(t);
	r = ids ? side_path(s, i, &to.purpose, &path) : -ENOMEM;
	to.path = path;
	publish_lock_record(l->pub);
	for (size_t k = 0; k < t->victim_count; k++)
		publish_spare(l->pub, t->victims[k]);
	if (!r && i->parent)
		r = staged_rename(l->st, &to);
	publish_unlock_record(l->pub);
	free(path);
	free(ids);
	return r || !i->parent ? r : side_told(s, i);
}

int side_renamed(struct vfs *s, struct inode *i)
{
	return side_moved(s, i, NULL);
}
