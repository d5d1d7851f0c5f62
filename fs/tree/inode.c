#include "fs/tree/inode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/strhash.h"

/*
 * A hash table of inodes, chained through one of their pointers. The inodes store their hashes, so
 * that growing and searching compute no hash and compare few strings. Most searches of a listing
 * find nothing: kinds answers them without touching an inode.
 */
struct index {
	struct inode **buckets;
	uint16_t *kinds;    /* by bucket: the union of kind_of() over its chain */
	size_t size, count; /* size: a power of two */
	size_t link;	    /* offset of the chain pointer in struct inode */
	uint32_t (*hash)(const struct inode *i);
};

struct inode_table {
	struct index ino, name, id;
	struct inode *root;
	uint64_t next_ino;
	size_t count, dirs;
	bool quiet;
	/* numbers of directories with the flag `changed`, and perhaps of some that are gone */
	uint64_t *changed;
	size_t changed_count, changed_cap;
};

/* Numbers are handed out in sequence: no hash spreads better. */
static uint32_t hash_ino(const struct inode *i)
{
	return (uint32_t)i->ino;
}

static uint32_t hash_name(const struct inode *i)
{
	return i->name_hash;
}

static uint32_t hash_id(const struct inode *i)
{
	return i->id_hash;
}

static struct inode **chain(const struct index *x, struct inode *i)
{
	return (struct inode **)((char *)i + x->link);
}

/* Return one of sixteen bits, chosen by hash bits that don't choose the bucket. */
static uint16_t kind_of(uint32_t hash)
{
	return (uint16_t)(1U << (hash >> 28));
}

/* Return the chain to search for that hash; NULL: no chain has it. */
static struct inode *index_first(const struct index *x, uint32_t hash)
{
	size_t k = hash & (x->size - 1);

	return x->kinds[k] & kind_of(hash) ? x->buckets[k] : NULL;
}

static void index_free(struct index *x)
{
	free(x->buckets);
	free(x->kinds);
}

static int index_init(struct index *x, size_t link, uint32_t (*hash)(const struct inode *))
{
	x->size = 64;
	x->count = 0;
	x->link = link;
	x->hash = hash;
	x->buckets = calloc(x->size, sizeof(*x->buckets));
	x->kinds = calloc(x->size, sizeof(*x->kinds));
	return x->buckets && x->kinds ? 0 : -ENOMEM;
}

static void index_put(struct index *x, struct inode *i)
{
	uint32_t hash = x->hash(i);
	size_t k = hash & (x->size - 1);

	*chain(x, i) = x->buckets[k];
	x->buckets[k] = i;
	x->kinds[k] |= kind_of(hash);
}

/* Without memory for a larger table the chains grow instead. */
static void index_grow(struct index *x)
{
	struct index old = *x;
	struct inode *i, *next;

	x->size = old.size * 2;
	x->buckets = calloc(x->size, sizeof(*x->buckets));
	x->kinds = calloc(x->size, sizeof(*x->kinds));
	if (!x->buckets || !x->kinds) {
		index_free(x);
		*x = old;
		return;
	}
	for (size_t k = 0; k < old.size; k++) {
		/* The inodes lie anywhere in memory: prefetch some ahead of their turn. */
		if (k + 8 < old.size)
			__builtin_prefetch(old.buckets[k + 8]);
		for (i = old.buckets[k]; i; i = next) {
			next = *chain(x, i);
			index_put(x, i);
		}
	}
	index_free(&old);
}

static void index_add(struct index *x, struct inode *i)
{
	if (x->count >= x->size)
		index_grow(x);
	index_put(x, i);
	x->count++;
}

static void index_del(struct index *x, struct inode *i)
{
	size_t k = x->hash(i) & (x->size - 1);
	struct inode **at = &x->buckets[k];

	while (*at && *at != i)
		at = chain(x, *at);
	if (!*at)
		return;
	*at = *chain(x, i);
	*chain(x, i) = NULL;
	x->count--;
	/* A chain that is not empty keeps its bits: they may claim too much. */
	if (!x->buckets[k])
		x->kinds[k] = 0;
}

/* Without memory the new time is not handed on. */
static void note_changed(struct inode_table *t, struct inode *dir)
{
	size_t cap = t->changed_cap ? t->changed_cap * 2 : 16;
	uint64_t *grown;

	if (t->changed_count == t->changed_cap) {
		grown = realloc(t->changed, cap * sizeof(*grown));
		if (!grown)
			return;
		t->changed = grown;
		t->changed_cap = cap;
	}
	t->changed[t->changed_count++] = dir->ino;
	dir->changed = true;
}

static void entries_changed(struct inode_table *t, struct inode *dir)
{
	if (t->quiet)
		return;
	dir->mtime = clock_wall_ts();
	if (!dir->changed)
		note_changed(t, dir);
}

/* Link i into its directory and the table of names. */
static void link_child(struct inode_table *t, struct inode *parent, struct inode *i)
{
	i->parent = parent;
	i->next = parent->child;
	if (i->next)
		i->next->pprev = &i->next;
	i->pprev = &parent->child;
	parent->child = i;
	i->name_hash = (uint32_t)strhash_in(parent->ino, i->name);
	index_add(&t->name, i);
	entries_changed(t, parent);
}

static void unlink_child(struct inode_table *t, struct inode *i)
{
	entries_changed(t, i->parent);
	index_del(&t->name, i);
	*i->pprev = i->next;
	if (i->next)
		i->next->pprev = i->pprev;
	i->parent = NULL;
	i->next = NULL;
	i->pprev = NULL;
}

static struct inode *alloc(struct inode_table *t, const char *name, enum inode_kind kind)
{
	struct inode *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->name = strdup(name);
	if (!i->name) {
		free(i);
		return NULL;
	}
	i->ino = t->next_ino++;
	i->kind = kind;
	i->mtime = clock_wall_ts();
	t->count++;
	t->dirs += kind == INODE_DIR;
	index_add(&t->ino, i);
	return i;
}

int inode_table_new(struct inode_table **ret)
{
	struct inode_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->next_ino = INODE_ROOT;
	if (index_init(&t->ino, offsetof(struct inode, by_ino), hash_ino) ||
	    index_init(&t->name, offsetof(struct inode, by_name), hash_name) ||
	    index_init(&t->id, offsetof(struct inode, by_id), hash_id))
		goto fail;
	t->root = alloc(t, "", INODE_DIR);
	if (!t->root)
		goto fail;
	t->root->fixed = true;
	*ret = t;
	return 0;
fail:
	index_free(&t->ino);
	index_free(&t->name);
	index_free(&t->id);
	free(t);
	return -ENOMEM;
}

void inode_published_free(struct published *p)
{
	if (!p)
		return;
	free(p->upload_id);
	free(p->error);
	free(p);
}

uint64_t inode_next_number(const struct inode_table *t)
{
	return t->next_ino;
}

static void state_free(struct file_state *st)
{
	if (st)
		free(st->details);
	free(st);
}

int inode_set_state(struct inode *i, const char *word, const char *details, uint64_t asked_ms)
{
	struct file_state *st = word ? calloc(1, sizeof(*st)) : NULL;

	if (word && (!st || (details && !(st->details = strdup(details))))) {
		state_free(st);
		return -ENOMEM;
	}
	if (st) {
		snprintf(st->word, sizeof(st->word), "%s", word);
		st->asked_ms = asked_ms;
	}
	state_free(i->state);
	i->state = st;
	return 0;
}

static void inode_release(struct inode *i)
{
	state_free(i->state);
	inode_published_free(i->published);
	free(i->filename);
	free(i->file_id);
	free(i->name);
	free(i);
}

static void inode_free(struct inode_table *t, struct inode *i)
{
	index_del(&t->ino, i);
	if (i->file_id)
		index_del(&t->id, i);
	t->count--;
	t->dirs -= i->kind == INODE_DIR;
	inode_release(i);
}

void inode_table_free(struct inode_table *t)
{
	if (!t)
		return;
	for (size_t k = 0; k < t->ino.size; k++) {
		struct inode *i, *next;

		for (i = t->ino.buckets[k]; i; i = next) {
			next = i->by_ino;
			inode_release(i);
		}
	}
	index_free(&t->ino);
	index_free(&t->name);
	index_free(&t->id);
	free(t->changed);
	free(t);
}

void inode_table_each(struct inode_table *t, void (*fn)(void *arg, struct inode *i), void *arg)
{
	for (size_t k = 0; k < t->ino.size; k++)
		for (struct inode *i = t->ino.buckets[k]; i; i = i->by_ino)
			fn(arg, i);
}

struct inode *inode_root(struct inode_table *t)
{
	return t->root;
}

void inode_table_quiet(struct inode_table *t, bool quiet)
{
	t->quiet = quiet;
}

struct inode *inode_take_changed(struct inode_table *t)
{
	struct inode *dir = NULL;

	while (!dir && t->changed_count)
		dir = inode_get(t, t->changed[--t->changed_count]);
	if (dir)
		dir->changed = false;
	return dir;
}

size_t inode_count(const struct inode_table *t)
{
	return t->count;
}

size_t inode_count_dirs(const struct inode_table *t)
{
	return t->dirs;
}

struct inode *inode_new(struct inode_table *t, struct inode *parent, const char *name,
			enum inode_kind kind)
{
	struct inode *i = alloc(t, name, kind);

	if (!i)
		return NULL;
	i->purpose = parent->purpose;
	i->special = parent->special;
	link_child(t, parent, i);
	return i;
}

struct inode *inode_find(struct inode_table *t, const struct inode *parent, const char *name)
{
	uint32_t h = (uint32_t)strhash_in(parent->ino, name);
	struct inode *i = index_first(&t->name, h);

	while (i && (i->name_hash != h || i->parent != parent || strcmp(i->name, name)))
		i = i->by_name;
	return i;
}

struct inode *inode_get(struct inode_table *t, uint64_t ino)
{
	struct inode *i = index_first(&t->ino, (uint32_t)ino);

	while (i && i->ino != ino)
		i = i->by_ino;
	return i;
}

struct inode *inode_by_file_id(struct inode_table *t, const char *file_id)
{
	uint32_t h;
	struct inode *i;

	if (!t->id.count)
		return NULL;
	h = (uint32_t)strhash_in(0, file_id);
	i = index_first(&t->id, h);
	while (i && (i->id_hash != h || strcmp(i->file_id, file_id)))
		i = i->by_id;
	return i;
}

int inode_set_file_id(struct inode_table *t, struct inode *i, const char *file_id)
{
	char *d = file_id ? strdup(file_id) : NULL;

	if (file_id && !d)
		return -ENOMEM;
	if (i->file_id)
		index_del(&t->id, i);
	free(i->file_id);
	i->file_id = d;
	state_free(i->state);
	i->state = NULL;
	if (!d)
		return 0;
	i->id_hash = (uint32_t)strhash_in(0, d);
	index_add(&t->id, i);
	return 0;
}

struct inode *inode_next_below(const struct inode *top, struct inode *i)
{
	if (i->child)
		return i->child;
	while (i != top && !i->next)
		i = i->parent;
	return i == top ? NULL : i->next;
}

static void set_purpose(struct inode *top, const char *purpose)
{
	for (struct inode *i = top; i; i = inode_next_below(top, i))
		i->purpose = purpose;
}

int inode_move(struct inode_table *t, struct inode *i, struct inode *parent, const char *name)
{
	char *d = strdup(name);

	if (!d)
		return -ENOMEM;
	if (i->parent)
		unlink_child(t, i);
	free(i->name);
	i->name = d;
	link_child(t, parent, i);
	if (i->purpose != parent->purpose)
		set_purpose(i, parent->purpose);
	return 0;
}

static void free_if_unused(struct inode_table *t, struct inode *i)
{
	if (i != t->root && !i->parent && !i->nlookup && !i->nref)
		inode_free(t, i);
}

void inode_unlink(struct inode_table *t, struct inode *i)
{
	if (i->parent)
		unlink_child(t, i);
	free_if_unused(t, i);
}

void inode_ref(struct inode *i)
{
	i->nref++;
}

void inode_unref(struct inode_table *t, struct inode *i)
{
	i->nref--;
	free_if_unused(t, i);
}

void inode_forget(struct inode_table *t, struct inode *i, uint64_t n)
{
	i->nlookup -= n < i->nlookup ? n : i->nlookup;
	free_if_unused(t, i);
}

/*
 * True if `at` (i or above it) lies below the purpose directory of i. The parent of that directory
 * has no purpose.
 */
static bool is_in_path(const struct inode *at, const struct inode *i)
{
	return at->parent && at->parent->purpose == i->purpose;
}

size_t inode_path_size(const struct inode *i)
{
	size_t len = 0;

	for (const struct inode *at = i; is_in_path(at, i); at = at->parent)
		len += strlen(at->name) + 1;
	return len;
}

size_t inode_size_below(const struct inode *top)
{
	size_t len = 0, max = 0;
	const struct inode *i = top;

	while (i->child || i != top) {
		if (i->child) {
			i = i->child;
		} else {
			for (; i != top && !i->next; i = i->parent)
				len -= strlen(i->name) + 1;
			if (i == top)
				break;
			len -= strlen(i->name) + 1;
			i = i->next;
		}
		len += strlen(i->name) + 1;
		max = len > max ? len : max;
	}
	return max;
}

int inode_path(const struct inode *i, char **ret)
{
	size_t len = inode_path_size(i);
	char *s;

	if (len > 65536)
		return -ENAMETOOLONG;
	s = malloc(len + 1);
	if (!s)
		return -ENOMEM;
	s[len ? len - 1 : 0] = '\0';
	for (const struct inode *at = i; len > 0; at = at->parent) {
		size_t n = strlen(at->name);

		len -= n + 1;
		memcpy(s + len, at->name, n);
		if (len > 0)
			s[len - 1] = '/';
	}
	*ret = s;
	return 0;
}

/*
 * True if inode_path() would return `path`. Called for each File of a list, so it allocates
 * nothing.
 */
static bool has_path(const struct inode *i, const char *path)
{
	size_t left = strlen(path), n;

	for (const struct inode *at = i; is_in_path(at, i); at = at->parent) {
		if (at != i && (!left || path[--left] != '/'))
			return false;
		n = strlen(at->name);
		if (n > left || memcmp(path + left - n, at->name, n))
			return false;
		left -= n;
	}
	return !left;
}

char *inode_label(const struct inode *i)
{
	char *path, *label = NULL;

	if (!i->parent)
		return strdup(i->file_id ? i->file_id : "a file that was removed");
	if (inode_path(i, &path))
		return NULL;
	if (asprintf(&label, "%s/%s", i->purpose ? i->purpose : "", path) < 0)
		label = NULL;
	free(path);
	return label;
}

int inode_set_filename(struct inode *i, const char *filename)
{
	char *d = NULL;

	if (!has_path(i, filename)) {
		d = strdup(filename);
		if (!d)
			return -ENOMEM;
	}
	free(i->filename);
	i->filename = d;
	return 0;
}
