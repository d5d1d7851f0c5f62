#include "fs/meta/meta.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/meta/log.h"
#include "net/base/log.h"
#include "net/base/strhash.h"

/*
 * Live bytes of the log are those of the lines that made the entries of now;
 * what else it holds (outdated, damaged, torn) is stale.
 */
#define REWRITE_MIN 65536 /* bytes; a log that is shorter is not worth rewriting */
#define BUCKETS_MIN 64

/* A key is two strings, the second NULL for a File: (id) or (purpose, path). */
struct entry {
	struct entry *next;
	uint64_t changed; /* m->changes when it was set */
	uint32_t hash;
	uint32_t line_size; /* of its line in the log, bytes */
	struct meta_attr attr;
	uint32_t second; /* offset of the path in text; 0: a File */
	char text[];	 /* the strings of the key, each with its NUL */
};

struct meta {
	pthread_mutex_t lock;

	/* The lock protects all that follows. */
	struct meta_log log;
	struct entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	uint64_t changes;  /* counts what was set */
	uint64_t live;	   /* bytes of the log */
	uint64_t retry_at; /* the log's size from which rewriting may be tried again */
	bool behind;	   /* something was forgotten, but not in the log */
};

static uint32_t key_hash(const char *a, const char *b)
{
	return (uint32_t)(b ? strhash_in(strhash(a), b) : strhash(a));
}

static const char *entry_path(const struct entry *e)
{
	return e->second ? e->text + e->second : NULL;
}

static bool entry_is(const struct entry *e, uint32_t hash, const char *a, const char *b)
{
	return e->hash == hash && !e->second == !b && !strcmp(e->text, a) &&
	       (!b || !strcmp(entry_path(e), b));
}

/* The link that points to the entry; one that is NULL: there is none. */
static struct entry **entry_find(struct meta *m, const char *a, const char *b)
{
	uint32_t hash = key_hash(a, b);
	struct entry **at = &m->buckets[hash & (m->bucket_count - 1)];

	while (*at && !entry_is(*at, hash, a, b))
		at = &(*at)->next;
	return at;
}

static struct entry *entry_new(const char *a, const char *b)
{
	size_t a_size = strlen(a) + 1, b_size = b ? strlen(b) + 1 : 0;
	struct entry *e = calloc(1, sizeof(*e) + a_size + b_size);

	if (!e)
		return NULL;
	e->hash = key_hash(a, b);
	e->second = b ? (uint32_t)a_size : 0;
	memcpy(e->text, a, a_size);
	if (b)
		memcpy(e->text + a_size, b, b_size);
	return e;
}

/* Without memory for more buckets the chains get longer, that is all. */
static void grow_buckets(struct meta *m)
{
	size_t i, count = m->bucket_count * 2;
	struct entry **buckets, *e;

	if (m->count < m->bucket_count)
		return;
	buckets = calloc(count, sizeof(struct entry *));
	if (!buckets)
		return;
	for (i = 0; i < m->bucket_count; i++) {
		while ((e = m->buckets[i]) != NULL) {
			m->buckets[i] = e->next;
			e->next = buckets[e->hash & (count - 1)];
			buckets[e->hash & (count - 1)] = e;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->bucket_count = count;
}

static void entry_insert(struct meta *m, struct entry *e)
{
	struct entry **at;

	grow_buckets(m);
	at = &m->buckets[e->hash & (m->bucket_count - 1)];
	e->next = *at;
	*at = e;
	m->count++;
}

static void entry_update(struct meta *m, struct entry *e, const struct meta_attr *attr,
			 size_t line_size)
{
	m->live += line_size;
	m->live -= e->line_size;
	e->line_size = (uint32_t)line_size;
	e->attr = *attr;
	e->changed = ++m->changes;
}

static void entry_remove(struct meta *m, struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	m->live -= e->line_size;
	m->count--;
	free(e);
}

static int put_entries(void *arg, struct meta_log_out *out)
{
	struct meta *m = arg;
	struct entry *e;
	int rc = 0;
	size_t i;

	for (i = 0; i < m->bucket_count; i++) {
		for (e = m->buckets[i]; e && !rc; e = e->next) {
			rc = meta_log_put(out, &(struct meta_change){ .a = e->text,
								      .b = entry_path(e),
								      .set = true,
								      .attr = e->attr });
		}
	}
	return rc;
}

static void rewrite_if_due(struct meta *m)
{
	bool stale = m->log.size > REWRITE_MIN && m->log.size - m->live > m->log.size / 2;

	if ((!stale && !m->behind) || m->log.size < m->retry_at)
		return;
	if (meta_log_rewrite(&m->log, put_entries, m)) {
		/* On a full disk not every change may cost a try. */
		m->retry_at = m->log.size + REWRITE_MIN;
		return;
	}
	m->retry_at = 0;
	m->behind = false;
}

static bool same_attr(const struct meta_attr *x, const struct meta_attr *y)
{
	return x->mode == y->mode && x->uid == y->uid && x->gid == y->gid &&
	       x->has_mtime == y->has_mtime && x->mtime_s == y->mtime_s &&
	       x->mtime_ns == y->mtime_ns;
}

/* The log first, then memory: an error leaves both as they were. */
static int set_locked(struct meta *m, const struct meta_change *c)
{
	struct entry *e = *entry_find(m, c->a, c->b), *fresh = NULL;
	size_t line_size = 0;
	int rc;

	if (e && same_attr(&e->attr, &c->attr)) {
		e->changed = ++m->changes;
		return 0;
	}
	if (!e) {
		e = fresh = entry_new(c->a, c->b);
		if (!e)
			return -ENOMEM;
	}
	rc = meta_log_append(&m->log, c, &line_size);
	if (rc) {
		free(fresh);
		return rc;
	}
	if (fresh)
		entry_insert(m, fresh);
	entry_update(m, e, &c->attr, line_size);
	rewrite_if_due(m);
	return 0;
}

static int set_key(struct meta *m, const char *a, const char *b, const struct meta_attr *attr)
{
	struct meta_change c = { .a = a, .b = b, .set = true, .attr = *attr };
	int rc;

	if (!c.attr.has_mtime) {
		c.attr.mtime_s = 0;
		c.attr.mtime_ns = 0;
	}
	pthread_mutex_lock(&m->lock);
	rc = set_locked(m, &c);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* Forgets the key unless it was set after as_of (a value of m->changes). */
static void forget_key(struct meta *m, const char *a, const char *b, uint64_t as_of)
{
	struct meta_change c = { .a = a, .b = b };
	struct entry **at;
	size_t line_size;

	pthread_mutex_lock(&m->lock);
	at = entry_find(m, a, b);
	if (*at && (*at)->changed <= as_of) {
		if (meta_log_append(&m->log, &c, &line_size))
			m->behind = true;
		entry_remove(m, at);
		rewrite_if_due(m);
	}
	pthread_mutex_unlock(&m->lock);
}

bool meta_get(struct meta *m, const char *file_id, struct meta_attr *ret)
{
	struct entry *e;

	pthread_mutex_lock(&m->lock);
	/* Asked for each File of a list, and where nobody has set anything there is none. */
	e = m->count ? *entry_find(m, file_id, NULL) : NULL;
	if (e)
		*ret = e->attr;
	pthread_mutex_unlock(&m->lock);
	return e != NULL;
}

int meta_set(struct meta *m, const char *file_id, const struct meta_attr *attr)
{
	return set_key(m, file_id, NULL, attr);
}

void meta_forget(struct meta *m, const char *file_id)
{
	forget_key(m, file_id, NULL, UINT64_MAX);
}

int meta_dir_set(struct meta *m, const char *purpose, const char *path,
		 const struct meta_attr *attr)
{
	return set_key(m, purpose, path, attr);
}

void meta_dir_forget(struct meta *m, const char *purpose, const char *path)
{
	forget_key(m, purpose, path, UINT64_MAX);
}

/* Copies of entries, made under the lock, to be walked without it. */
struct copy {
	const char *a, *b; /* as in struct meta_change; in the same block */
	struct meta_attr attr;
};

struct copies {
	struct copy *v; /* the caller frees it */
	size_t count;
	uint64_t as_of; /* m->changes at that time */
};

static size_t text_size(const struct entry *e)
{
	return e->second + strlen(e->text + e->second) + 1;
}

static void copy_entry(const struct entry *e, char *text, struct copy *ret)
{
	memcpy(text, e->text, text_size(e));
	ret->a = text;
	ret->b = e->second ? text + e->second : NULL;
	ret->attr = e->attr;
}

static struct copy *copy_locked(struct meta *m, bool dirs, size_t *ret_count)
{
	size_t i, n = 0, size = 0;
	struct copy *v;
	struct entry *e;
	char *text;

	for (i = 0; i < m->bucket_count; i++) {
		for (e = m->buckets[i]; e; e = e->next) {
			if (!e->second == !dirs) {
				size += text_size(e);
				n++;
			}
		}
	}
	v = malloc(n * sizeof(*v) + size + 1);
	if (!v)
		return NULL;
	text = (char *)(v + n);
	*ret_count = n;
	for (i = n = 0; i < m->bucket_count; i++) {
		for (e = m->buckets[i]; e; e = e->next) {
			if (!e->second == !dirs) {
				copy_entry(e, text, &v[n++]);
				text += text_size(e);
			}
		}
	}
	return v;
}

/* The Files or the directories; 0 or -ENOMEM. */
static int copy_entries(struct meta *m, bool dirs, struct copies *ret)
{
	size_t count = 0;
	struct copy *v;

	pthread_mutex_lock(&m->lock);
	v = copy_locked(m, dirs, &count);
	if (v)
		*ret = (struct copies){ .v = v, .count = count, .as_of = m->changes };
	pthread_mutex_unlock(&m->lock);
	return v ? 0 : -ENOMEM;
}

void meta_sweep(struct meta *m, bool (*keep)(void *arg, const char *file_id), void *arg)
{
	struct copies files;
	size_t i;

	/* Nothing forgotten is no harm: the sweep after the next listing will do it. */
	if (copy_entries(m, false, &files))
		return;
	for (i = 0; i < files.count; i++) {
		/* What is set meanwhile belongs to a File that keep() knows nothing of yet. */
		if (!keep(arg, files.v[i].a))
			forget_key(m, files.v[i].a, NULL, files.as_of);
	}
	free(files.v);
}

/* A path sorts behind all its beginnings, hence behind its parents. */
static int by_path(const void *x, const void *y)
{
	const struct copy *p = x, *q = y;
	int order = strcmp(p->a, q->a);

	return order ? order : strcmp(p->b, q->b);
}

void meta_dir_each(struct meta *m,
		   void (*fn)(void *arg, const char *purpose, const char *path,
			      const struct meta_attr *attr),
		   void *arg)
{
	struct copies dirs;
	size_t i;

	if (copy_entries(m, true, &dirs)) {
		log_warn("no memory to list the empty directories: they are not shown");
		return;
	}
	qsort(dirs.v, dirs.count, sizeof(*dirs.v), by_path);
	for (i = 0; i < dirs.count; i++)
		fn(arg, dirs.v[i].a, dirs.v[i].b, &dirs.v[i].attr);
	free(dirs.v);
}

/* A change that stands in the log. 0 or -ENOMEM. */
static int replay(void *arg, const struct meta_change *c, size_t line_size)
{
	struct meta *m = arg;
	struct entry **at = entry_find(m, c->a, c->b), *e = *at;

	if (!c->set) {
		if (e)
			entry_remove(m, at);
		return 0;
	}
	if (!e) {
		e = entry_new(c->a, c->b);
		if (!e)
			return -ENOMEM;
		entry_insert(m, e);
	}
	entry_update(m, e, &c->attr, line_size);
	return 0;
}

static void free_table(struct meta *m)
{
	struct entry *e, *next;
	size_t i;

	for (i = 0; i < m->bucket_count; i++) {
		for (e = m->buckets[i]; e; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(m->buckets);
}

int meta_open(const char *path, struct meta **ret)
{
	struct meta *m = calloc(1, sizeof(*m));
	int rc = -ENOMEM;

	if (!m)
		return rc;
	m->bucket_count = BUCKETS_MIN;
	m->buckets = calloc(m->bucket_count, sizeof(struct entry *));
	if (!m->buckets)
		goto free_meta;
	rc = meta_log_open(&m->log, path, replay, m);
	if (rc)
		goto free_table;
	pthread_mutex_init(&m->lock, NULL);
	rewrite_if_due(m);
	*ret = m;
	return 0;

free_table:
	free_table(m);
free_meta:
	free(m);
	return rc;
}

void meta_close(struct meta *m)
{
	int rc;

	if (!m)
		return;
	rc = m->behind ? meta_log_rewrite(&m->log, put_entries, m) : 0;
	if (!rc)
		rc = meta_log_sync(&m->log);
	if (rc)
		log_warn("changes of modes, owners and times may be lost: %s", strerror(-rc));
	meta_log_close(&m->log);
	free_table(m);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
