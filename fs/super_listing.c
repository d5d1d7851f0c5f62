/*
 * The account's Files as inodes: purposes as directories, '/' as directories,
 * several Files of one name told apart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/super_impl.h"
#include "net/clock.h"
#include "net/log.h"

#define PURPOSES_MAX 1000 /* known and unknown ones */

static struct inode *make_dir(struct super *s, struct inode *parent, const char *name)
{
	struct inode *d = inode_new(s->table, parent, name, INODE_DIR);

	if (!d)
		return NULL;
	d->mode = s->cfg.dir_mode & ~s->cfg.umask;
	d->uid = s->cfg.uid;
	d->gid = s->cfg.gid;
	return d;
}

/* The purpose strings of directories live as long as the table: there are few. */
static const char *intern(const char *purpose)
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
	 * A service with thousands of purposes would be a confused one, and this list a slow one.
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

static struct inode *make_purpose(struct super *s, const char *purpose, bool fixed)
{
	char name[NAMES_MAX + 1];
	const char *word = intern(purpose);
	struct inode *d;

	names_purpose_dir(purpose, name);
	d = word ? make_dir(s, inode_root(s->table), name) : NULL;
	if (!d)
		return NULL;
	d->purpose = word;
	d->fixed = fixed;
	if (!names_purpose_writable(purpose))
		d->mode &= ~0222U;
	return d;
}

int super_make_purposes(struct super *s)
{
	struct inode *root = inode_root(s->table);

	root->mode = s->cfg.dir_mode & ~s->cfg.umask;
	root->uid = s->cfg.uid;
	root->gid = s->cfg.gid;
	if (s->purpose) {
		root->purpose = intern(s->purpose);
		return root->purpose ? 0 : -ENOMEM;
	}
	for (size_t k = 0; names_purposes[k]; k++)
		if (!make_purpose(s, names_purposes[k], true))
			return -ENOMEM;
	return 0;
}

static struct inode *purpose_dir(struct super *s, const char *purpose)
{
	char name[NAMES_MAX + 1];
	struct inode *d;

	if (s->purpose)
		return strcmp(s->purpose, purpose) ? NULL : inode_root(s->table);
	names_purpose_dir(purpose, name);
	d = inode_find(s->table, inode_root(s->table), name);
	return d ? d : make_purpose(s, purpose, false);
}

/*
 * The directory for a path, made as needed; *ret_name is its last component. A
 * File in the way of a directory steps aside as NAME~FILE_ID; a local file does
 * not, then the File can't be shown and NULL is returned.
 */
static struct inode *dir_for(struct super *s, struct inode *at, char *path, char **ret_name)
{
	char *name = path, *slash;

	while ((slash = strchr(name, '/')) != NULL) {
		struct inode *d;

		*slash = '\0';
		d = inode_find(s->table, at, name);
		if (d && d->kind == INODE_FILE) {
			char aside[NAMES_MAX + 1];

			if (d->local || !d->file_id)
				return NULL;
			names_duplicate(d->name, d->file_id, aside);
			if (inode_find(s->table, at, aside) || inode_move(s->table, d, at, aside))
				return NULL;
			d = NULL;
		}
		at = d ? d : make_dir(s, at, name);
		if (!at)
			return NULL;
		name = slash + 1;
	}
	*ret_name = name;
	return at;
}

/* ---- Files that are gone, though a listing may still name them ---- */

struct gone {
	struct gone *next;
	uint64_t until_ms;
	char file_id[];
};

static struct gone **gone_bucket(struct super *s, const char *file_id)
{
	uint32_t h = 2166136261U;

	for (; *file_id; file_id++)
		h = (h ^ (unsigned char)*file_id) * 16777619U;
	return &s->gone[h % GONE_BUCKETS];
}

void super_note_gone(struct super *s, const char *file_id)
{
	struct gone **at = gone_bucket(s, file_id), *g;
	size_t size = strlen(file_id) + 1;

	super_forget_file(s, file_id);
	g = malloc(sizeof(*g) + size);
	if (!g)
		return;
	memcpy(g->file_id, file_id, size);
	g->until_ms = clock_mono_ms() + PUBLISH_GRACE_MS;
	g->next = *at;
	*at = g;
}

static void forget_gone(struct super *s, uint64_t now)
{
	for (size_t k = 0; k < GONE_BUCKETS; k++) {
		struct gone **at = &s->gone[k], *g;

		while ((g = *at) != NULL) {
			if (g->until_ms > now) {
				at = &g->next;
				continue;
			}
			*at = g->next;
			free(g);
		}
	}
}

void super_forget_gone(struct super *s)
{
	forget_gone(s, UINT64_MAX);
}

void super_forget_listed(struct super *s, const char *file_id)
{
	struct inode *i = inode_by_file_id(s->table, file_id);

	if (!i || i->local)
		return;
	inode_ref(i);
	inode_set_file_id(s->table, i, NULL);
	inode_unlink(s->table, i);
	inode_unref(s->table, i);
}

static bool is_gone(struct super *s, const char *file_id)
{
	const struct gone *g = *gone_bucket(s, file_id);

	while (g && strcmp(g->file_id, file_id))
		g = g->next;
	return g != NULL;
}

/* Listed before the reply to its complete came: it has its entry already. If
 * it is somebody else's after all, the next listing shows it. */
static bool is_being_completed(const struct inode *other, const struct api_file *f)
{
	struct publish_info info;

	if (!other->local || other->local->dropped)
		return false;
	publish_get_info(other->local->pub, &info);
	if (info.file_id[0])
		return !strcmp(info.file_id, f->id);
	return info.under_way && info.upload_bytes == f->bytes;
}

static void show(struct super *s, const struct api_file *f, uint32_t number)
{
	struct inode *i = inode_by_file_id(s->table, f->id), *dir, *other;
	char plain[NAMES_MAX + 1], *name = NULL;
	struct buf path;

	if (i && (i->local || i->special))
		return; /* its place is decided here, not there */
	if (is_gone(s, f->id))
		return;
	buf_init(&path, NAMES_PATH_MAX + NAMES_MAX + 16);
	dir = purpose_dir(s, f->purpose);
	if (!dir || names_path(f->filename, f->id, &path))
		goto out;
	dir = dir_for(s, dir, path.data, &name);
	if (!dir)
		goto out;
	other = inode_find(s->table, dir, name);
	if (other == i && i)
		goto out; /* has the plain name already */
	if (!i && other && is_being_completed(other, f))
		goto out;
	if (other) {
		names_duplicate(name, f->id, plain);
		/* Files come newest first, so whoever has the plain name is newer;
		 * but for one that was listed before this one existed. */
		if (other->kind == INODE_FILE && !other->local && other->file_id && !i &&
		    other->created_at < f->created_at) {
			char aside[NAMES_MAX + 1];

			names_duplicate(other->name, other->file_id, aside);
			if (!inode_find(s->table, dir, aside) &&
			    inode_move(s->table, other, dir, aside) == 0)
				other = NULL;
		}
		if (other)
			name = plain;
		if (i && i->parent == dir && !strcmp(i->name, name))
			goto out;
		if (inode_find(s->table, dir, name))
			goto out;
	}
	if (i) {
		if (inode_move(s->table, i, dir, name))
			log_warn("out of memory: a File keeps the name it was shown under");
		goto out;
	}
	i = inode_new(s->table, dir, name, INODE_FILE);
	if (!i)
		goto out;
	if (inode_set_file_id(s->table, i, f->id)) {
		inode_unlink(s->table, i);
		goto out;
	}
	i->mode = s->cfg.file_mode & ~s->cfg.umask;
	i->uid = s->cfg.uid;
	i->gid = s->cfg.gid;
	i->bytes = f->bytes;
	i->created_at = f->created_at;
	i->expires_at = f->expires_at;
	i->seen = number;
	super_recall(s, i);
out:
	buf_release(&path);
}

/* Removes the Files that the listing did not name. */
static void sweep(struct super *s, struct inode *dir, uint32_t number, uint64_t now)
{
	struct inode *i, *next;

	for (i = dir->child; i; i = next) {
		next = i->next;
		if (i->special)
			continue;
		if (i->kind == INODE_DIR) {
			sweep(s, i, number, now);
			if (!i->child && !i->fixed && !i->kept)
				inode_unlink(s->table, i);
		} else if (!i->local && i->seen != number && i->fresh_until_ms <= now) {
			inode_unlink(s->table, i);
		}
	}
}

void super_apply_listing(void *arg, uint32_t number, const struct api_file *files, size_t n)
{
	struct super *s = arg;

	pthread_mutex_lock(&s->lock);
	forget_gone(s, clock_mono_ms());
	for (size_t k = 0; k < n; k++) {
		struct inode *i = inode_by_file_id(s->table, files[k].id);

		if (i)
			i->seen = number;
	}
	sweep(s, inode_root(s->table), number, clock_mono_ms());
	for (size_t k = 0; k < n; k++)
		show(s, &files[k], number);
	pthread_mutex_unlock(&s->lock);
}
