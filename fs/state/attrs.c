/*
 * Attributes of Files: a table in memory in front of a table of the store.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/attrs_impl.h"
#include "fs/state/files.h"
#include "net/base/log.h"
#include "net/base/strhash.h"

#define BUCKETS_MIN 64

struct entry {
	struct entry *next;
	uint64_t changed; /* a->changes at the last set or mark */
	uint32_t hash;
	struct attr_set set;
	char file_id[];
};

struct attrs {
	struct statedb *store;
	/* Held over a change of store and memory, so that both change in the same order. */
	pthread_mutex_t set_lock;
	pthread_mutex_t lock; /* below set_lock; protects the fields below */
	struct entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	uint64_t changes; /* count of sets and marks */
	uint64_t swept;	  /* changes at attrs_sweep_begin() */
};

/* ---- the table in memory ---- */

/* Return the link that points to the entry, or the link that is NULL if there is none. */
static struct entry **entry_find(struct attrs *a, const char *file_id)
{
	uint32_t hash = (uint32_t)strhash(file_id);
	struct entry **at = &a->buckets[hash & (a->bucket_count - 1)];

	while (*at && ((*at)->hash != hash || strcmp((*at)->file_id, file_id)))
		at = &(*at)->next;
	return at;
}

static struct entry *entry_new(const char *file_id, const struct attr_set *set)
{
	size_t size = strlen(file_id) + 1;
	struct entry *e = calloc(1, sizeof(*e) + size);

	if (!e)
		return NULL;
	e->hash = (uint32_t)strhash(file_id);
	e->set = *set;
	memcpy(e->file_id, file_id, size);
	return e;
}

/* Without memory for more buckets the chains only get longer. */
static void grow_buckets(struct attrs *a)
{
	size_t i, count = a->bucket_count * 2;
	struct entry **buckets, *e;

	if (a->count < a->bucket_count)
		return;
	buckets = calloc(count, sizeof(struct entry *));
	if (!buckets)
		return;
	for (i = 0; i < a->bucket_count; i++) {
		while ((e = a->buckets[i]) != NULL) {
			a->buckets[i] = e->next;
			e->next = buckets[e->hash & (count - 1)];
			buckets[e->hash & (count - 1)] = e;
		}
	}
	free(a->buckets);
	a->buckets = buckets;
	a->bucket_count = count;
}

static void entry_insert(struct attrs *a, struct entry *e)
{
	struct entry **at;

	grow_buckets(a);
	at = &a->buckets[e->hash & (a->bucket_count - 1)];
	e->next = *at;
	*at = e;
	a->count++;
}

static void entry_remove(struct attrs *a, struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	a->count--;
	free(e);
}

static bool same_set(const struct attr_set *x, const struct attr_set *y)
{
	return x->mode == y->mode && x->uid == y->uid && x->gid == y->gid &&
	       x->has_mtime == y->has_mtime && x->mtime_s == y->mtime_s &&
	       x->mtime_ns == y->mtime_ns;
}

/* ---- one File ---- */

bool attrs_get(struct attrs *a, const char *file_id, struct attr_set *ret)
{
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	/* Called for each File of a list: skip the hash while there are no entries. */
	e = a->count ? *entry_find(a, file_id) : NULL;
	if (e)
		*ret = e->set;
	pthread_mutex_unlock(&a->lock);
	return e != NULL;
}

size_t attrs_count(struct attrs *a)
{
	size_t count;

	pthread_mutex_lock(&a->lock);
	count = a->count;
	pthread_mutex_unlock(&a->lock);
	return count;
}

/* True if the File has equal attributes already; a sweep counts that as set. */
static bool is_set(struct attrs *a, const char *file_id, const struct attr_set *set)
{
	struct entry *e;
	bool same;

	pthread_mutex_lock(&a->lock);
	e = *entry_find(a, file_id);
	same = e && same_set(&e->set, set);
	if (same)
		e->changed = ++a->changes;
	pthread_mutex_unlock(&a->lock);
	return same;
}

static int put_row(struct statedb *s, const char *file_id, const struct attr_set *set)
{
	static const char sql[] = "INSERT OR REPLACE INTO attr (file_id, mode, uid, gid, has_mtime,"
				  " mtime_s, mtime_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

	return statedb_run(s, sql,
			   STATEDB_ARGS(statedb_text(file_id), statedb_int(set->mode),
					statedb_int(set->uid), statedb_int(set->gid),
					statedb_int(set->has_mtime), statedb_int(set->mtime_s),
					statedb_int(set->mtime_ns)),
			   NULL);
}

static int write_now(struct attrs *a, const char *file_id, const struct attr_set *set)
{
	int rc = statedb_begin(a->store);

	if (rc)
		return rc;
	put_row(a->store, file_id, set);
	return statedb_commit(a->store, NULL);
}

struct later {
	struct statedb_later base;
	struct attr_set set;
	char file_id[];
};

static int run_later(struct statedb *s, struct statedb_later *base)
{
	struct later *l = (struct later *)base;

	return put_row(s, l->file_id, &l->set);
}

static void free_later(struct statedb_later *base)
{
	free(base);
}

static int write_later(struct attrs *a, const char *file_id, const struct attr_set *set)
{
	size_t len = strlen(file_id) + 1;
	struct later *l = malloc(sizeof(*l) + len);

	if (!l)
		return -ENOMEM;
	l->base = (struct statedb_later){ run_later, free_later, NULL };
	l->set = *set;
	memcpy(l->file_id, file_id, len);
	statedb_later(a->store, &l->base);
	return 0;
}

/* Change the store first, then memory: an error leaves both as they were. */
static int set_locked(struct attrs *a, const char *file_id, const struct attr_set *set, bool later)
{
	struct entry *fresh, **at;
	int rc;

	if (is_set(a, file_id, set))
		return 0;
	fresh = entry_new(file_id, set);
	if (!fresh)
		return -ENOMEM;
	rc = later ? write_later(a, file_id, set) : write_now(a, file_id, set);
	if (rc) {
		free(fresh);
		return rc;
	}
	pthread_mutex_lock(&a->lock);
	at = entry_find(a, file_id);
	if (*at)
		entry_remove(a, at);
	fresh->changed = ++a->changes;
	entry_insert(a, fresh);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static int set(struct attrs *a, const char *file_id, const struct attr_set *given, bool later)
{
	struct attr_set clean = *given;
	int rc;

	attrs_clean(&clean);
	pthread_mutex_lock(&a->set_lock);
	rc = set_locked(a, file_id, &clean, later);
	pthread_mutex_unlock(&a->set_lock);
	return rc;
}

int attrs_set(struct attrs *a, const char *file_id, const struct attr_set *given)
{
	return set(a, file_id, given, false);
}

int attrs_set_later(struct attrs *a, const char *file_id, const struct attr_set *given)
{
	return set(a, file_id, given, true);
}

static void delete_row(struct attrs *a, const char *file_id)
{
	statedb_run(a->store, "DELETE FROM attr WHERE file_id = ?1",
		    STATEDB_ARGS(statedb_text(file_id)), NULL);
}

void attrs_forget(struct attrs *a, const char *file_id)
{
	struct entry **at;
	bool there;

	pthread_mutex_lock(&a->set_lock);
	pthread_mutex_lock(&a->lock);
	at = entry_find(a, file_id);
	there = *at != NULL;
	if (there)
		entry_remove(a, at);
	pthread_mutex_unlock(&a->lock);
	/* After a failure here a sweep by a later mount forgets the row. */
	if (there && statedb_begin_freeing(a->store) == 0) {
		delete_row(a, file_id);
		statedb_commit(a->store, NULL);
	}
	pthread_mutex_unlock(&a->set_lock);
}

/* ---- sweeping ---- */

void attrs_sweep_begin(struct attrs *a)
{
	pthread_mutex_lock(&a->lock);
	a->swept = a->changes;
	pthread_mutex_unlock(&a->lock);
}

void attrs_sweep_mark(struct attrs *a, const char *file_id)
{
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = a->count ? *entry_find(a, file_id) : NULL;
	if (e)
		e->changed = ++a->changes;
	pthread_mutex_unlock(&a->lock);
}

struct id_list {
	char **v;
	size_t count;
};

/* Copy the ids of unmarked entries. Without memory: some of them. */
static void list_unmarked(struct attrs *a, struct id_list *ret)
{
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	ret->count = 0;
	ret->v = malloc((a->count + 1) * sizeof(*ret->v));
	for (size_t i = 0; ret->v && i < a->bucket_count; i++) {
		for (e = a->buckets[i]; e; e = e->next) {
			if (e->changed > a->swept)
				continue;
			ret->v[ret->count] = strdup(e->file_id);
			if (ret->v[ret->count])
				ret->count++;
		}
	}
	pthread_mutex_unlock(&a->lock);
}

/* Forget an unmarked entry. False: it was set meanwhile, for a File unknown to keep(). */
static bool forget_unmarked(struct attrs *a, const char *file_id)
{
	struct entry **at;
	bool gone;

	pthread_mutex_lock(&a->lock);
	at = entry_find(a, file_id);
	gone = *at && (*at)->changed <= a->swept;
	if (gone)
		entry_remove(a, at);
	pthread_mutex_unlock(&a->lock);
	return gone;
}

void attrs_sweep_end(struct attrs *a, bool (*keep)(void *arg, const char *file_id), void *arg)
{
	struct id_list ids;
	size_t i, left = 0;

	list_unmarked(a, &ids);
	for (i = 0; i < ids.count; i++) {
		if (keep(arg, ids.v[i]))
			free(ids.v[i]);
		else
			ids.v[left++] = ids.v[i];
	}
	pthread_mutex_lock(&a->set_lock);
	if (left && statedb_begin_freeing(a->store) == 0) {
		for (i = 0; i < left; i++)
			if (forget_unmarked(a, ids.v[i]))
				delete_row(a, ids.v[i]);
		statedb_commit(a->store, NULL);
	}
	pthread_mutex_unlock(&a->set_lock);
	for (i = 0; i < left; i++)
		free(ids.v[i]);
	free(ids.v);
}

/* ---- the whole ---- */

static const char tables[] = "CREATE TABLE IF NOT EXISTS attr ("
			     " file_id TEXT PRIMARY KEY, mode INTEGER NOT NULL,"
			     " uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
			     " has_mtime INTEGER NOT NULL, mtime_s INTEGER NOT NULL,"
			     " mtime_ns INTEGER NOT NULL) WITHOUT ROWID;"
			     "CREATE TABLE IF NOT EXISTS dir ("
			     " id INTEGER PRIMARY KEY, parent INTEGER NOT NULL,"
			     " name TEXT NOT NULL, kept INTEGER NOT NULL,"
			     " mode INTEGER, uid INTEGER, gid INTEGER, has_mtime INTEGER,"
			     " mtime_s INTEGER, mtime_ns INTEGER, UNIQUE (parent, name));"
			     "CREATE TABLE IF NOT EXISTS lifetime ("
			     " dir INTEGER PRIMARY KEY, seconds INTEGER NOT NULL);"
			     "CREATE TABLE IF NOT EXISTS line_check ("
			     " dir INTEGER PRIMARY KEY, kind INTEGER NOT NULL)";

static int load_row(void *arg, const struct statedb_row *row)
{
	struct attrs *a = arg;
	const char *file_id = statedb_row_text(row, 0);
	struct attr_set set;
	struct entry *e;

	attrs_from_row(row, 1, &set);
	e = file_id ? entry_new(file_id, &set) : NULL;
	if (!e)
		return -ENOMEM;
	entry_insert(a, e);
	return 0;
}

static int load(struct attrs *a)
{
	int rc = statedb_define(a->store, tables);

	/* attrs_dir_move() moves staged files, too. */
	if (!rc)
		rc = files_define(a->store);
	if (rc)
		return rc;
	statedb_lock(a->store);
	rc = statedb_each(a->store,
			  "SELECT file_id, mode, uid, gid, has_mtime, mtime_s, mtime_ns FROM attr",
			  NULL, load_row, a);
	statedb_unlock(a->store);
	return rc;
}

int attrs_open(struct statedb *s, struct attrs **ret)
{
	struct attrs *a = calloc(1, sizeof(*a));
	int rc = -ENOMEM;

	if (!a)
		return rc;
	a->store = s;
	pthread_mutex_init(&a->set_lock, NULL);
	pthread_mutex_init(&a->lock, NULL);
	a->bucket_count = BUCKETS_MIN;
	a->buckets = calloc(a->bucket_count, sizeof(struct entry *));
	if (a->buckets)
		rc = load(a);
	if (rc)
		attrs_close(a);
	else
		*ret = a;
	return rc;
}

void attrs_close(struct attrs *a)
{
	if (!a)
		return;
	for (size_t i = 0; a->buckets && i < a->bucket_count; i++)
		while (a->buckets[i])
			entry_remove(a, &a->buckets[i]);
	free(a->buckets);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->set_lock);
	free(a);
}

struct statedb *attrs_store(struct attrs *a)
{
	return a->store;
}

void attrs_clean(struct attr_set *set)
{
	if (set->has_mtime)
		return;
	set->mtime_s = 0;
	set->mtime_ns = 0;
}

void attrs_from_row(const struct statedb_row *row, int column, struct attr_set *ret)
{
	*ret = (struct attr_set){ .mode = (uint32_t)statedb_row_int(row, column),
				  .uid = (uint32_t)statedb_row_int(row, column + 1),
				  .gid = (uint32_t)statedb_row_int(row, column + 2),
				  .has_mtime = statedb_row_int(row, column + 3),
				  .mtime_s = statedb_row_int(row, column + 4),
				  .mtime_ns = (uint32_t)statedb_row_int(row, column + 5) };
}
