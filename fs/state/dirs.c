/* Directories as rows: (id, parent, name), purposes below 0. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/attrs_impl.h"
#include "net/base/log.h"

/* ---- paths ---- */

/* Copy path, to be cut up. -EINVAL: an empty component. */
static int copy_path(const char *path, char **ret)
{
	size_t len = strlen(path);

	if (len >= ATTRS_PATH_MAX)
		return -ENAMETOOLONG;
	if (!len || path[0] == '/' || path[len - 1] == '/' || strstr(path, "//"))
		return -EINVAL;
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}

static int take_id(void *arg, const struct statedb_row *row)
{
	*(int64_t *)arg = statedb_row_int(row, 0);
	return 0;
}

/* Find the row of name in parent; `make` inserts a missing one. *ret_id 0: none. */
static int step(struct statedb *s, int64_t parent, const char *name, bool make, int64_t *ret_id)
{
	static const char find[] = "SELECT id FROM dir WHERE parent = ?1 AND name = ?2";
	static const char add[] = "INSERT INTO dir (parent, name, kept) VALUES (?1, ?2, 0)";
	const struct statedb_value args[] = { statedb_int(parent),
					      statedb_text(name),
					      { .kind = STATEDB_END } };
	int rc;

	*ret_id = 0;
	rc = statedb_each(s, find, args, take_id, ret_id);
	if (rc || *ret_id || !make)
		return rc;
	rc = statedb_run(s, add, args, NULL);
	return rc ? rc : statedb_each(s, find, args, take_id, ret_id);
}

/* Find the row of purpose/path; *ret_id is 0 if there is none. Cuts path up. */
static int walk(struct statedb *s, const char *purpose, char *path, bool make, int64_t *ret_id)
{
	int rc = step(s, 0, purpose, make, ret_id);
	char *slash;

	while (!rc && *ret_id && path) {
		slash = strchr(path, '/');
		if (slash)
			*slash++ = '\0';
		rc = step(s, *ret_id, path, make, ret_id);
		path = slash;
	}
	return rc;
}

/* Do walk() in a new transaction, which an error ends. The path "" is the purpose itself. */
static int begin_at(struct statedb *s, const char *purpose, const char *path, bool make,
		    int64_t *ret_id)
{
	char *copy = NULL;
	int rc = *path ? copy_path(path, &copy) : 0;

	if (!rc)
		rc = statedb_begin(s);
	if (!rc) {
		rc = walk(s, purpose, copy, make, ret_id);
		if (rc)
			statedb_rollback(s);
	}
	free(copy);
	return rc;
}

/* ---- changes ---- */

static int set_row(struct statedb *s, int64_t id, const struct attr_set *clean)
{
	static const char sql[] =
		"UPDATE dir SET kept = 1, mode = ?2, uid = ?3, gid = ?4, has_mtime = ?5,"
		" mtime_s = ?6, mtime_ns = ?7 WHERE id = ?1";

	return statedb_run(s, sql,
			   STATEDB_ARGS(statedb_int(id), statedb_int(clean->mode),
					statedb_int(clean->uid), statedb_int(clean->gid),
					statedb_int(clean->has_mtime), statedb_int(clean->mtime_s),
					statedb_int(clean->mtime_ns)),
			   NULL);
}

int attrs_dir_set(struct attrs *a, const char *purpose, const char *path,
		  const struct attr_set *set)
{
	struct statedb *s = attrs_store(a);
	struct attr_set clean = *set;
	int64_t id = 0;
	int rc = *path ? begin_at(s, purpose, path, true, &id) : -EINVAL;

	if (rc)
		return rc;
	attrs_clean(&clean);
	set_row(s, id, &clean);
	return statedb_commit(s, NULL);
}

struct later {
	struct statedb_later base;
	struct attr_set set;
	char *purpose, *path;
};

static int run_later(struct statedb *s, struct statedb_later *base)
{
	struct later *l = (struct later *)base;
	char *copy = NULL;
	int64_t id = 0;
	int rc = copy_path(l->path, &copy);

	if (!rc)
		rc = walk(s, l->purpose, copy, true, &id);
	free(copy);
	return rc ? rc : set_row(s, id, &l->set);
}

static void free_later(struct statedb_later *base)
{
	struct later *l = (struct later *)base;

	free(l->purpose);
	free(l->path);
	free(l);
}

int attrs_dir_set_later(struct attrs *a, const char *purpose, const char *path,
			const struct attr_set *set)
{
	struct later *l;
	char *checked;
	int rc = copy_path(path, &checked);

	if (rc)
		return rc;
	l = calloc(1, sizeof(*l));
	if (!l) {
		free(checked);
		return -ENOMEM;
	}
	l->base = (struct statedb_later){ run_later, free_later, NULL };
	l->set = *set;
	attrs_clean(&l->set);
	l->path = checked;
	l->purpose = strdup(purpose);
	if (!l->purpose) {
		free_later(&l->base);
		return -ENOMEM;
	}
	statedb_later(attrs_store(a), &l->base);
	return 0;
}

/* Remove the row and its ancestors as long as they are not kept and hold nothing, no numbers. */
static int prune(struct statedb *s, int64_t id)
{
	static const char up[] = "SELECT parent FROM dir WHERE id = ?1";
	static const char drop[] = "DELETE FROM dir WHERE id = ?1 AND NOT kept AND NOT EXISTS"
				   " (SELECT 1 FROM dir AS d WHERE d.parent = ?1) AND NOT EXISTS"
				   " (SELECT 1 FROM lifetime WHERE dir = ?1) AND NOT EXISTS"
				   " (SELECT 1 FROM line_check WHERE dir = ?1)";
	int changed = 1, rc = 0;

	while (!rc && id && changed) {
		int64_t parent = 0;

		rc = statedb_each(s, up, STATEDB_ARGS(statedb_int(id)), take_id, &parent);
		if (!rc)
			rc = statedb_run(s, drop, STATEDB_ARGS(statedb_int(id)), &changed);
		id = parent;
	}
	return rc;
}

int attrs_dir_forget(struct attrs *a, const char *purpose, const char *path)
{
	struct statedb *s = attrs_store(a);
	int64_t id = 0;
	int rc = *path ? begin_at(s, purpose, path, false, &id) : -EINVAL;

	if (rc)
		return rc;
	if (!id) {
		statedb_rollback(s);
		return 0;
	}
	statedb_run(s, "DELETE FROM lifetime WHERE dir = ?1", STATEDB_ARGS(statedb_int(id)), NULL);
	statedb_run(s, "DELETE FROM line_check WHERE dir = ?1", STATEDB_ARGS(statedb_int(id)),
		    NULL);
	statedb_run(s, "UPDATE dir SET kept = 0 WHERE id = ?1", STATEDB_ARGS(statedb_int(id)),
		    NULL);
	rc = prune(s, id);
	if (rc) {
		statedb_rollback(s);
		return rc;
	}
	return statedb_commit(s, NULL);
}

/* Give the row another parent and name. In the transaction. */
static int move_row(struct statedb *s, int64_t id, const char *purpose, char *to)
{
	static const char up[] = "SELECT parent FROM dir WHERE id = ?1";
	char *name = strrchr(to, '/');
	int64_t former = 0, parent = 0;
	int rc = statedb_each(s, up, STATEDB_ARGS(statedb_int(id)), take_id, &former);

	if (name)
		*name++ = '\0';
	if (!rc)
		rc = walk(s, purpose, name ? to : NULL, true, &parent);
	if (!rc)
		rc = statedb_run(s, "UPDATE dir SET parent = ?2, name = ?3 WHERE id = ?1",
				 STATEDB_ARGS(statedb_int(id), statedb_int(parent),
					      statedb_text(name ? name : to)),
				 NULL);
	return rc ? rc : prune(s, former);
}

/* Move staged files from below purpose/from to below to_purpose/to. In the transaction. */
static int move_files(struct statedb *s, const char *purpose, const char *from,
		      const char *to_purpose, const char *to)
{
	static const char sql[] =
		"UPDATE file SET purpose = ?3,"
		" path = CAST(?4 AS BLOB) || substr(CAST(path AS BLOB), ?5)"
		" WHERE purpose = ?1 AND NOT removed AND NOT set_aside"
		" AND substr(CAST(path AS BLOB), 1, ?5) = CAST(?2 || '/' AS BLOB)";

	return statedb_run(s, sql,
			   STATEDB_ARGS(statedb_text(purpose), statedb_text(from),
					statedb_text(to_purpose), statedb_text(to),
					statedb_int((int64_t)strlen(from) + 1)),
			   NULL);
}

int attrs_dir_move(struct attrs *a, const char *purpose, const char *path, const char *to_purpose,
		   const char *to_path)
{
	struct statedb *s = attrs_store(a);
	int64_t id = 0;
	char *to = NULL;
	int rc = copy_path(to_path, &to);

	if (!rc)
		rc = *path ? begin_at(s, purpose, path, false, &id) : -EINVAL;
	if (rc) {
		free(to);
		return rc;
	}
	rc = move_files(s, purpose, path, to_purpose, to_path);
	if (!rc && id)
		rc = move_row(s, id, to_purpose, to);
	free(to);
	if (rc) {
		statedb_rollback(s);
		return rc;
	}
	return statedb_commit(s, NULL);
}

/* ---- numbers of directories ---- */

static const struct {
	const char *put, *drop, *each, *what;
} numbers[] = {
#define NUMBER_SQL(table, column, what)                                                           \
	{                                                                                         \
		"INSERT OR REPLACE INTO " table " (dir, " column ") VALUES (?1, ?2)",             \
			"DELETE FROM " table " WHERE dir = ?1",                                   \
			"WITH RECURSIVE tree (id, purpose, path) AS ("                            \
			" SELECT id, name, '' FROM dir WHERE parent = 0"                          \
			" UNION ALL SELECT d.id, tree.purpose,"                                   \
			" CASE tree.path WHEN '' THEN d.name ELSE tree.path || '/' || d.name END" \
			" FROM tree JOIN dir AS d ON d.parent = tree.id)"                         \
			" SELECT purpose, path, " column " FROM tree JOIN " table                 \
			" AS n ON n.dir = tree.id"                                                \
			" ORDER BY purpose, path",                                                \
			what                                                                      \
	}
	[ATTRS_LIFETIME] = NUMBER_SQL("lifetime", "seconds", "lifetimes"),
	[ATTRS_CHECK] = NUMBER_SQL("line_check", "kind", "checks"),
};

int attrs_dir_set_number(struct attrs *a, enum attrs_number which, const char *purpose,
			 const char *path, uint32_t number)
{
	struct statedb *s = attrs_store(a);
	int64_t id = 0;
	int rc = begin_at(s, purpose, path, true, &id);

	if (rc)
		return rc;
	if (number)
		rc = statedb_run(s, numbers[which].put,
				 STATEDB_ARGS(statedb_int(id), statedb_int(number)), NULL);
	else
		rc = statedb_run(s, numbers[which].drop, STATEDB_ARGS(statedb_int(id)), NULL);
	if (!rc && !number)
		rc = prune(s, id);
	if (rc) {
		statedb_rollback(s);
		return rc;
	}
	return statedb_commit(s, NULL);
}

/* ---- listing them ---- */

struct found {
	char *purpose, *path;
	struct attr_set set;
	uint32_t number;
};

struct found_list {
	struct found *v;
	size_t count, capacity;
};

/* The first columns are purpose and path. */
static int add_row(struct found_list *l, const struct statedb_row *row, struct found **ret)
{
	struct found *f = l->v;

	if (l->count == l->capacity) {
		l->capacity = l->capacity ? l->capacity * 2 : 64;
		f = realloc(l->v, l->capacity * sizeof(*f));
		if (!f)
			return -ENOMEM;
		l->v = f;
	}
	f += l->count++;
	memset(f, 0, sizeof(*f));
	f->purpose = statedb_row_dup(row, 0);
	f->path = statedb_row_dup(row, 1);
	*ret = f;
	return f->purpose && f->path ? 0 : -ENOMEM;
}

static int add_found(void *arg, const struct statedb_row *row)
{
	struct found *f = NULL;
	int rc = add_row(arg, row, &f);

	if (!rc)
		attrs_from_row(row, 2, &f->set);
	return rc;
}

static int add_number(void *arg, const struct statedb_row *row)
{
	struct found *f = NULL;
	int rc = add_row(arg, row, &f);

	if (!rc)
		f->number = (uint32_t)statedb_row_int(row, 2);
	return rc;
}

static void free_found(struct found_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->v[i].purpose);
		free(l->v[i].path);
	}
	free(l->v);
}

void attrs_dir_each(struct attrs *a,
		    void (*fn)(void *arg, const char *purpose, const char *path,
			       const struct attr_set *set),
		    void *arg)
{
	static const char sql[] =
		"WITH RECURSIVE tree (id, purpose, path) AS ("
		" SELECT d.id, p.name, d.name FROM dir AS p JOIN dir AS d ON d.parent = p.id"
		" WHERE p.parent = 0"
		" UNION ALL SELECT d.id, tree.purpose, tree.path || '/' || d.name"
		" FROM tree JOIN dir AS d ON d.parent = tree.id)"
		" SELECT purpose, path, mode, uid, gid, has_mtime, mtime_s, mtime_ns"
		" FROM tree JOIN dir USING (id) WHERE kept ORDER BY purpose, path";
	struct statedb *s = attrs_store(a);
	struct found_list l = { 0 };
	int rc;

	statedb_lock(s);
	rc = statedb_each(s, sql, NULL, add_found, &l);
	statedb_unlock(s);
	if (rc)
		log_warn("the empty directories can't be read: %s; they are not shown",
			 strerror(-rc));
	for (size_t i = 0; !rc && i < l.count; i++)
		fn(arg, l.v[i].purpose, l.v[i].path, &l.v[i].set);
	free_found(&l);
}

void attrs_dir_each_number(struct attrs *a, enum attrs_number which,
			   void (*fn)(void *arg, const char *purpose, const char *path,
				      uint32_t number),
			   void *arg)
{
	struct statedb *s = attrs_store(a);
	struct found_list l = { 0 };
	int rc;

	statedb_lock(s);
	rc = statedb_each(s, numbers[which].each, NULL, add_number, &l);
	statedb_unlock(s);
	if (rc)
		log_warn("the %s set on directories can't be read: %s; new Files do not get them",
			 numbers[which].what, strerror(-rc));
	for (size_t i = 0; !rc && i < l.count; i++)
		fn(arg, l.v[i].purpose, l.v[i].path, l.v[i].number);
	free_found(&l);
}
