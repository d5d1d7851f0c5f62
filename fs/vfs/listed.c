/*
 * Show the account's Files as inodes: '/' makes directories, Files of one name are told apart.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/listed.h"
#include "fs/content/cache.h"
#include "fs/publish/publisher.h"
#include "fs/remote/listing.h"
#include "fs/stage/file.h"
#include "fs/state/attrs.h"
#include "fs/state/known.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/file_state.h"
#include "fs/vfs/gone.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/intent.h"
#include "fs/vfs/purpose.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define ASIDE_TRIES 100 /* NAME~FILE_ID, NAME~FILE_ID.1, … */
/*
 * Directories that names of Files may make, for each File and beside: a directory takes 270 bytes,
 * and a name of 200 bytes can make a hundred of them.
 */
#define DIRS_A_FILE 4
#define DIRS_FREE 20000

/* A File's place in a listing. */
struct spot {
	uint32_t number; /* number of the listing */
	uint32_t order;	 /* 0: the newest */
	bool first;	 /* in the first listing of the mount */
	/* Purpose and directory of the previous File; the next one nearly always has the same. */
	const char *purpose;
	struct inode *top;
};

/* Find a free name: NAME~FILE_ID, or NAME~FILE_ID.N if that one is taken. False: none free. */
static bool free_name(struct vfs *s, const struct inode *dir, const char *name,
		      const struct inode *i, const char *file_id, char ret[NAMES_MAX + 1])
{
	char id[API_ID_MAX + 16];
	const struct inode *other;

	snprintf(id, sizeof(id), "%s", file_id);
	for (unsigned n = 1; n <= ASIDE_TRIES; n++) {
		names_duplicate(name, id, ret);
		other = inode_find(s->table, dir, ret);
		if (!other || other == i)
			return true;
		snprintf(id, sizeof(id), "%s.%u", file_id, n);
	}
	return false;
}

/* True if a handle on i may write; its bytes will be published under i's name. */
static bool is_open_for_writing(const struct vfs *s, const struct inode *i)
{
	const struct handle *h = i->nopen ? s->handles : NULL;

	while (h && (h->inode != i || !h->may_write))
		h = h->next;
	return h != NULL;
}

/* Rename i to free its name for another entry. False: i keeps its name. */
static bool step_aside(struct vfs *s, struct inode *i)
{
	char aside[NAMES_MAX + 1], *path = NULL;
	bool ok;

	if (i->side || !i->file_id || is_open_for_writing(s, i) ||
	    !free_name(s, i->parent, i->name, i, i->file_id, aside))
		return false;
	ok = i->filename || inode_path(i, &path) == 0;
	ok = ok && inode_move(s->table, i, i->parent, aside) == 0;
	if (ok) {
		i->renamed_for_conflict = i->moved = i->unseen = i->parent->contested = true;
		i->parent->crowded = true;
		if (path && inode_set_filename(i, path))
			log_warn("out of memory: %s will not tell its name", i->file_id);
	}
	free(path);
	return ok;
}

/* True if the directories of path, a name below the present ones, are within the bound. */
static bool may_make_dirs(const struct vfs *s, const char *path)
{
	size_t dirs = inode_count_dirs(s->table), files = inode_count(s->table) - dirs;

	while ((path = strchr(path, '/')) != NULL) {
		dirs++;
		path++;
	}
	return dirs <= DIRS_FREE + files * DIRS_A_FILE;
}

/*
 * Return the directory of a path; make missing ones. *ret_name: the last component. A File in the
 * way of a directory is renamed; a local file is not, and there is a bound for directories: NULL.
 */
static struct inode *dir_for(struct vfs *s, struct inode *at, char *path, char **ret_name)
{
	char *name = path, *slash;
	bool bounded = false;

	while ((slash = strchr(name, '/')) != NULL) {
		struct inode *d;

		*slash = '\0';
		d = inode_find(s->table, at, name);
		if (d && d->kind == INODE_FILE) {
			if (!step_aside(s, d))
				return NULL;
			d = NULL;
		}
		if (!d && !bounded) {
			*slash = '/';
			if (!may_make_dirs(s, name))
				return NULL;
			*slash = '\0';
			bounded = true;
		}
		at = d ? d : vfs_make_dir(s, at, name);
		if (!at)
			return NULL;
		name = slash + 1;
	}
	*ret_name = name;
	return at;
}

/*
 * True if f is probably the File that the publication makes, listed before the reply to its
 * complete. If f is another File, the next listing shows it.
 */
static bool is_becoming(const struct staged_side *l, const struct api_file *f)
{
	struct publish_info info;

	if (l->dropped)
		return false;
	publish_get_info(l->pub, &info);
	if (info.file_id[0])
		return !strcmp(info.file_id, f->id);
	return info.under_way && info.upload_bytes == f->bytes;
}

/* The place to show a File: a directory and the name in it. */
struct place {
	struct inode *dir;
	char name[NAMES_MAX + 1];
	bool taken; /* taken by another entry: the File gets a name of its own */
	bool flat;  /* in the directory of the purpose instead of its own */
};

/* Find the place of f. False: none (the mount shows another purpose, or no memory). */
static bool find_place(struct vfs *s, const struct api_file *f, struct inode *top,
		       struct place *ret)
{
	size_t plain = f->filename_unknown ? 0 : names_plain(f->filename);
	struct buf path;
	char *name;

	ret->dir = NULL;
	ret->taken = ret->flat = false;
	if (plain) {
		ret->dir = top;
		memcpy(ret->name, f->filename, plain + 1);
		return top != NULL;
	}
	if (f->filename_unknown) {
		ret->dir = top;
		names_id(f->id, ret->name);
		return top != NULL;
	}
	buf_init(&path, NAMES_PATH_MAX + NAMES_MAX + 16);
	if (top && names_path(f->filename, f->id, &path) == 0) {
		ret->dir = dir_for(s, top, path.data, &name);
		if (ret->dir) {
			snprintf(ret->name, sizeof(ret->name), "%s", name);
		} else {
			/* A local file is in the way of the directory, or the bound. */
			names_purpose_dir(f->filename, ret->name);
			ret->dir = top;
			ret->taken = ret->flat = true;
		}
	}
	buf_release(&path);
	return ret->dir != NULL;
}

/*
 * True if f, to be shown at p, is probably the File that `other`, which stands there, a rename to p
 * or a removed file is becoming.
 */
static bool is_being_completed(struct vfs *s, const struct place *p, const struct inode *other,
			       const struct api_file *f)
{
	const struct rename_intent *t;

	if (other && other->side && is_becoming(other->side, f))
		return true;
	if (publisher_unmakes(s->cfg.publisher, f))
		return true;
	t = intent_at(s, p->dir, p->name);
	if (!t || intent_dooms(t, f->id) || !is_becoming(t->side, f))
		return false;
	/* A mount before this one may have published to the name while the rename hung. */
	return !s->cfg.db || !known_as_of_another(s->cfg.db, f->id, staged_id(t->side->st));
}

/*
 * True if `other` is older than f: the newest File of a name keeps it. Files come newest first, so
 * `other` is newer, unless it was listed before f existed.
 */
static bool is_older(const struct inode *other, const struct api_file *f, const struct spot *at)
{
	if (other->seen == at->number)
		return other->order > at->order;
	return other->created_at < f->created_at;
}

/* Returns false if the File was not made here. */
static bool give_file(struct vfs *s, struct inode *i, const struct api_file *f)
{
	i->mode = s->cfg.file_mode & ~s->cfg.umask;
	i->uid = s->cfg.uid;
	i->gid = s->cfg.gid;
	if (!f->bytes_unknown)
		i->bytes = f->bytes;
	i->created_at = f->created_at;
	i->expires_at = f->expires_at;
	return vfs_recall(s, i);
}

void vfs_show_again(struct vfs *s, struct inode *from, struct inode *dir, const char *name,
		    const char *file_id)
{
	struct inode *i = inode_new(s->table, dir, name, INODE_FILE);

	/* On failure the next listing shows the File. */
	if (i && inode_set_file_id(s->table, i, file_id)) {
		inode_unlink(s->table, i);
		i = NULL;
	}
	if (!i)
		return;
	i->filename = from->filename;
	i->published = from->published;
	from->filename = NULL;
	from->published = NULL;
	i->renamed_for_conflict = from->renamed_for_conflict;
	i->moved = from->moved;
	i->seen = from->seen;
	i->order = from->order;
	i->bytes = from->bytes;
	give_file(s, i,
		  &(struct api_file){ .bytes_unknown = true,
				      .created_at = from->created_at,
				      .expires_at = from->expires_at });
}

/* Put f's entry at p. i: the inode of f, or NULL. */
static void put_entry(struct vfs *s, struct inode *i, const struct api_file *f,
		      const struct place *p, const struct spot *at)
{
	bool fresh = !i || i->unlisted;

	if (!i) {
		i = inode_new(s->table, p->dir, p->name, INODE_FILE);
		if (i && inode_set_file_id(s->table, i, f->id)) {
			inode_unlink(s->table, i);
			i = NULL;
		}
	} else if (inode_move(s->table, i, p->dir, p->name)) {
		i = NULL;
	}
	if (!i || (!f->filename_unknown && inode_set_filename(i, f->filename)))
		log_warn("out of memory: a File is not shown, or not under its name");
	if (!i)
		return;
	vfs_note_state(s, i, f);
	i->unlisted = i->moved = false;
	i->unseen = true;
	i->renamed_for_conflict = p->taken;
	p->dir->crowded |= p->taken;
	i->seen = at->number;
	i->order = at->order;
	if (!fresh || give_file(s, i, f) || !at->first)
		return;
	/* Others may have made it while this mount was not there. */
	if (p->dir->mtime.tv_sec < f->created_at)
		p->dir->mtime = (struct timespec){ .tv_sec = f->created_at };
}

/*
 * vfs_purpose_dir(), called once for a run of Files with one purpose. Nothing removes the directory
 * meanwhile.
 */
static struct inode *top_of(struct vfs *s, const struct api_file *f, struct spot *at)
{
	/* The list of one purpose names no others. */
	const char *purpose = f->purpose_unknown && s->purpose ? s->purpose : f->purpose;

	if (!at->purpose || strcmp(at->purpose, purpose)) {
		at->purpose = purpose;
		at->top = vfs_purpose_dir(s, purpose);
	}
	return at->top;
}

/* Note i's place in the listing. A File listed twice keeps its first place. i may be NULL. */
static void mark_inode(struct inode *i, const struct spot *at)
{
	if (i && i->seen != at->number) {
		i->seen = at->number;
		i->order = at->order;
	}
}

/*
 * The listing names another size than i has: what is known of the content is not this File's. A
 * File published here keeps the size that its complete confirmed. Under lock.
 */
static void take_size(struct vfs *s, struct inode *i, const struct api_file *f)
{
	struct handle *h;
	char *label;

	if (f->bytes_unknown || i->bytes == f->bytes || i->side || i->published)
		return;
	label = inode_label(i);
	log_warn("%s (%s): its size was %" PRIu64 " bytes, now %" PRIu64 " bytes are listed",
		 label ? label : "a File", f->id, i->bytes, f->bytes);
	free(label);
	i->bytes = f->bytes;
	i->stale_pages = true;
	cache_remove(s->cfg.cache, f->id);
	for (h = s->handles; h; h = h->next)
		h->outdated = h->outdated || h->inode == i;
}

static void show(struct vfs *s, const struct api_file *f, struct spot *at)
{
	struct inode *i = inode_by_file_id(s->table, f->id), *other;
	char plain[NAMES_MAX + 1];
	struct rename_intent *t;
	struct place p;

	mark_inode(i, at);
	if (i)
		take_size(s, i, f);
	if (i)
		vfs_note_state(s, i, f);
	/* Hide a File of unknown size: readers would take it for empty. */
	if (!i && f->bytes_unknown)
		return;
	/* A local file and a name already shown stay where they are. */
	if (i && (i->side || (i->parent && !i->renamed_for_conflict)))
		return;
	if (vfs_is_gone(s, f->id) || ((!i || !i->parent) && vfs_is_superseded(s, f->id)) ||
	    !find_place(s, f, top_of(s, f, at), &p))
		return;
	s->flat += p.flat;
	other = p.taken ? NULL : inode_find(s->table, p.dir, p.name);
	if (!i && is_being_completed(s, &p, other, f))
		return;
	t = !i ? intent_at(s, p.dir, p.name) : NULL;
	if (t)
		intent_target_taken(t);
	if (other && (!i || !i->parent) && other->kind == INODE_FILE && is_older(other, f, at) &&
	    step_aside(s, other))
		other = NULL;
	p.taken = p.taken || other;
	if (p.taken) {
		memcpy(plain, p.name, sizeof(plain));
		if (!free_name(s, p.dir, plain, i, f->id, p.name)) {
			log_warn("%s: not shown, every name for it is taken", f->id);
			return;
		}
	}
	if (!i || i->parent != p.dir || strcmp(i->name, p.name))
		put_entry(s, i, f, &p, at);
}

void vfs_take_name_back(struct vfs *s, struct inode *i)
{
	struct api_file f = { .id = i->file_id, .filename = i->filename, .purpose = i->purpose };
	struct inode *other;
	struct place p;

	if (!i->moved || i->side || !i->file_id || !i->filename ||
	    !find_place(s, &f, vfs_purpose_dir(s, f.purpose), &p))
		return;
	other = p.taken ? NULL : inode_find(s->table, p.dir, p.name);
	if (p.taken || (other && (other->kind == INODE_DIR || !step_aside(s, other))) ||
	    inode_move(s->table, i, p.dir, p.name))
		return;
	i->renamed_for_conflict = i->moved = i->unseen = false;
	if (inode_set_filename(i, i->filename))
		log_warn("out of memory: %s will not tell its name", i->file_id);
}

/* True if i was published here a short time ago and no listing has named it yet. */
static bool is_fresh(const struct inode *i, uint64_t now)
{
	return !i->seen && i->published && i->published->fresh_until_ms > now;
}

/* Return the first entry to visit at or below i: children come before their directory. */
static struct inode *deepest(struct inode *i)
{
	while (i->child && !i->special)
		i = i->child;
	return i;
}

/* A File that is open for writing keeps its name: what is written to it is published there. */
static bool is_swept(const struct vfs *s, const struct inode *i, uint32_t number, uint64_t now)
{
	if (i->special)
		return false;
	if (i->kind == INODE_DIR)
		return !i->child && !i->fixed && !i->kept;
	return !i->side && i->seen != number && !is_fresh(i, now) && !is_open_for_writing(s, i);
}

/* Remove the Files that the listing did not name, and directories that are then empty. */
static void sweep(struct vfs *s, uint32_t number, uint64_t now)
{
	struct inode *root = inode_root(s->table), *i = deepest(root), *next;

	for (; i != root; i = next) {
		next = i->next ? deepest(i->next) : i->parent;
		if (is_swept(s, i, number, now))
			inode_unlink(s->table, i);
	}
}

/* Call fn for each File of a listing with its place in it. */
static void each_file(struct vfs *s, const struct listing_files *files,
		      void (*fn)(struct vfs *s, const struct api_file *f, struct spot *at))
{
	struct spot at = { .number = files->number,
			   .order = (uint32_t)files->before,
			   .first = files->first };

	for (size_t p = 0; p < files->page_count; p++)
		for (size_t k = 0; k < files->pages[p].count; k++, at.order++)
			fn(s, &files->pages[p].files[k], &at);
}

static void mark(struct vfs *s, const struct api_file *f, struct spot *at)
{
	mark_inode(inode_by_file_id(s->table, f->id), at);
	vfs_sweep_mark(s, f->id);
}

/* Under lock, after the last page of a whole list. */
static void tell_flat(struct vfs *s)
{
	if (s->flat && s->flat != s->flat_told)
		log_warn("%u Files are shown in the directory of their purpose, as NAME~FILE_ID: "
			 "local files are in the way of their directories, or the names make more "
			 "than %u directories and %u for each File",
			 s->flat, DIRS_FREE, DIRS_A_FILE);
	s->flat_told = s->flat;
	s->flat = 0;
}

void vfs_apply_listing(void *arg, const struct listing_files *files)
{
	struct vfs *s = arg;
	uint64_t now = clock_mono_ms();
	/* A first listing comes in pieces. */
	bool all = files->whole && !files->first;

	pthread_mutex_lock(&s->lock);
	vfs_forget_gone_until(s, now);
	if (all)
		vfs_sweep_begin(s);
	inode_table_quiet(s->table, files->first);
	/* First listing: nothing to sweep before inserting. */
	if (!files->first)
		each_file(s, files, mark);
	if (all)
		sweep(s, files->number, now);
	each_file(s, files, show);
	if (files->first && files->whole)
		sweep(s, files->number, now);
	/* Drop entries noted for this listing only. */
	if (s->superseded_noted)
		vfs_forget_gone_until(s, now);
	s->superseded_noted = false;
	if (files->whole)
		tell_flat(s);
	inode_table_quiet(s->table, false);
	vfs_keep_changed(s);
	pthread_mutex_unlock(&s->lock);
	if (all)
		vfs_sweep_end(s);
}

bool vfs_is_listed(void *arg, const char *file_id)
{
	struct vfs *s = arg;
	const struct inode *i;
	bool r;

	pthread_mutex_lock(&s->lock);
	i = inode_by_file_id(s->table, file_id);
	r = i && i->seen;
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* The directory of path below the purpose, if there is one; *ret_name: the last component. */
static struct inode *find_dir(struct vfs *s, const char *purpose, char *path, char **ret_name)
{
	struct inode *at = vfs_purpose_dir(s, purpose);
	char *slash;

	while (at && (slash = strchr(path, '/')) != NULL) {
		*slash = '\0';
		at = inode_find(s->table, at, path);
		path = slash + 1;
	}
	*ret_name = path;
	return at;
}

void vfs_each_listed(void *arg, const char *purpose, const char *filename, uint64_t bytes,
		     void (*fn)(void *fn_arg, const char *file_id), void *fn_arg)
{
	char *path = strdup(filename), *name;
	const struct inode *dir, *i;
	struct vfs *s = arg;

	pthread_mutex_lock(&s->lock);
	dir = path ? find_dir(s, purpose, path, &name) : NULL;
	i = dir ? inode_find(s->table, dir, name) : NULL;
	if (i && i->file_id && i->bytes == bytes && !i->renamed_for_conflict)
		fn(fn_arg, i->file_id);
	/* Others of that name are entries of their own. */
	for (i = dir && dir->crowded ? dir->child : NULL; i; i = i->next)
		if (i->renamed_for_conflict && i->file_id && i->bytes == bytes && i->filename &&
		    !strcmp(i->filename, filename))
			fn(fn_arg, i->file_id);
	pthread_mutex_unlock(&s->lock);
	free(path);
}

bool vfs_knows_file(void *arg, const char *file_id)
{
	struct vfs *s = arg;
	struct attr_set a;
	struct inode *i;
	bool known;

	pthread_mutex_lock(&s->lock);
	i = inode_by_file_id(s->table, file_id);
	known = (i && (i->published || i->side)) || vfs_is_gone(s, file_id);
	pthread_mutex_unlock(&s->lock);
	return known || (s->cfg.attrs && attrs_get(s->cfg.attrs, file_id, &a));
}

/* Numbers of inodes grow. */
uint64_t vfs_mark(void *arg)
{
	struct vfs *s = arg;
	uint64_t mark;

	pthread_mutex_lock(&s->lock);
	mark = inode_next_number(s->table);
	pthread_mutex_unlock(&s->lock);
	return mark;
}

bool vfs_was_listed(void *arg, const char *file_id, uint64_t mark)
{
	struct vfs *s = arg;
	const struct inode *i;
	bool was;

	pthread_mutex_lock(&s->lock);
	i = inode_by_file_id(s->table, file_id);
	was = i && i->ino < mark;
	pthread_mutex_unlock(&s->lock);
	return was;
}
