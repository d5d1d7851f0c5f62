/*
 * Purposes as directories, and the walk along a path below one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/purpose.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/vfs_impl.h"

#define PURPOSES_MAX 1000 /* known and unknown ones */

struct inode *vfs_make_dir(struct vfs *s, struct inode *parent, const char *name)
{
	struct inode *d = inode_new(s->table, parent, name, INODE_DIR);

	if (!d)
		return NULL;
	d->mode = s->cfg.dir_mode & ~s->cfg.umask;
	d->uid = s->cfg.uid;
	d->gid = s->cfg.gid;
	return d;
}

/* Purpose strings live as long as the process: there are few. */
const char *vfs_purpose_word(const char *purpose)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct word {
		struct word *next;
		char s[];
	} * words;
	static unsigned count;
	struct word *w;
	size_t len = strlen(purpose);

	pthread_mutex_lock(&lock);
	for (w = words; w && strcmp(w->s, purpose); w = w->next)
		;
	/*
	 * Cap the list: a service with thousands of purposes is broken, and the search is linear.
	 */
	if (!w && count < PURPOSES_MAX && (w = malloc(sizeof(*w) + len + 1)) != NULL) {
		count++;
		memcpy(w->s, purpose, len + 1);
		w->next = words;
		words = w;
	}
	pthread_mutex_unlock(&lock);
	return w ? w->s : NULL;
}

static struct inode *make_purpose(struct vfs *s, const char *purpose, bool fixed)
{
	char name[NAMES_MAX + 1];
	const char *word = vfs_purpose_word(purpose);
	struct inode *d;

	names_purpose_dir(purpose, name);
	d = word ? vfs_make_dir(s, inode_root(s->table), name) : NULL;
	if (!d)
		return NULL;
	d->purpose = word;
	d->fixed = fixed;
	if (!names_purpose_writable(purpose))
		d->mode &= ~0222U;
	return d;
}

int vfs_make_purposes(struct vfs *s)
{
	struct inode *root = inode_root(s->table);

	root->mode = s->cfg.dir_mode & ~s->cfg.umask;
	root->uid = s->cfg.uid;
	root->gid = s->cfg.gid;
	if (s->purpose) {
		root->purpose = vfs_purpose_word(s->purpose);
		return root->purpose ? 0 : -ENOMEM;
	}
	for (size_t k = 0; names_purposes[k]; k++)
		if (!make_purpose(s, names_purposes[k], true))
			return -ENOMEM;
	return 0;
}

struct inode *vfs_purpose_dir(struct vfs *s, const char *purpose)
{
	char name[NAMES_MAX + 1];
	struct inode *d;

	if (s->purpose)
		return strcmp(s->purpose, purpose) ? NULL : inode_root(s->table);
	names_purpose_dir(purpose, name);
	d = inode_find(s->table, inode_root(s->table), name);
	return d ? d : make_purpose(s, purpose, false);
}

static struct inode *dir_named(struct vfs *s, struct inode *at, const char *name)
{
	struct inode *d = inode_find(s->table, at, name);

	if (d)
		return d->kind == INODE_DIR ? d : NULL;
	d = inode_new(s->table, at, name, INODE_DIR);
	if (d) {
		d->kept = true;
		d->mode = s->cfg.dir_mode & ~s->cfg.umask;
		d->uid = s->cfg.uid;
		d->gid = s->cfg.gid;
	}
	return d;
}

/* A record's path comes from disk and must not lead outside its purpose: check each component. */
struct inode *vfs_walk(struct vfs *s, const char *purpose, char *path, char **ret_name)
{
	struct inode *at = inode_root(s->table);
	char *name = path, *slash;

	if (s->purpose && strcmp(s->purpose, purpose))
		return NULL; /* from a mount with another purpose= */
	if (!names_purpose_writable(purpose))
		return NULL;
	if (!s->purpose)
		at = dir_named(s, at, purpose);
	while (at && (slash = strchr(name, '/')) != NULL) {
		*slash = '\0';
		at = names_check_new(name) ? NULL : dir_named(s, at, name);
		name = slash + 1;
	}
	*ret_name = name;
	return at && names_check_new(name) == 0 ? at : NULL;
}

struct inode *vfs_dir_for_path(struct vfs *s, const char *purpose, const char *path)
{
	char *copy = strdup(path), *name;
	struct inode *at = copy ? vfs_walk(s, purpose, copy, &name) : NULL;

	if (at)
		at = dir_named(s, at, name);
	free(copy);
	return at;
}
