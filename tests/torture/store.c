/* The store: what it says is kept is kept, whatever failed; no failure makes it look damaged. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/state/attrs.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "tests/torture/scenes.h"
#include "tests/torture/torture.h"

#define ROWS 4

/* How each change of a run ended: 1 is not tried. */
struct said {
	int attrs[ROWS], files[ROWS];
};

static void name_of(char ret[32], const char *what, unsigned i)
{
	snprintf(ret, 32, "%s-%u", what, i);
}

static struct record row_of(unsigned i)
{
	static char purpose[] = "batch", path[] = "a/b.jsonl", error[] = "words";
	static char one[] = "file-a", two[] = "file-b";
	static char *olds[] = { one, two };

	return (struct record){ .state = RECORD_FAILED,
				.purpose = purpose,
				.path = path,
				.size = 1000 + i,
				.error = error,
				.superseded = olds,
				.superseded_count = 2 };
}

static int save_row(struct statedb *db, unsigned i)
{
	struct record r = row_of(i);
	char id[32];
	int e;

	name_of(id, "row", i);
	e = statedb_begin(db);
	if (e)
		return e;
	/* The commit tells of its failure. */
	files_save(db, id, &r);
	return statedb_commit(db, NULL);
}

static int set_attrs(struct attrs *a, unsigned i)
{
	const struct attr_set set = { .mode = 0600 + i, .uid = i };
	char id[32];

	name_of(id, "file", i);
	return attrs_set(a, id, &set);
}

static void check_row(struct statedb *db, unsigned i, int said)
{
	const struct record want = row_of(i);
	struct record r;
	char id[32];

	name_of(id, "row", i);
	must(files_has(db, id) || said);
	if (!files_has(db, id))
		return;
	must(!files_load(db, id, &r));
	must(r.size == want.size && !strcmp(r.path, want.path) && !strcmp(r.error, want.error));
	must(r.superseded_count == 2 && !strcmp(r.superseded[1], "file-b"));
	record_release(&r);
}

static void check_attrs(struct attrs *a, unsigned i, int said)
{
	struct attr_set set;
	char id[32];

	name_of(id, "file", i);
	if (attrs_get(a, id, &set))
		must(set.mode == 0600 + i && set.uid == i);
	else
		must(said);
}

/* What lies in dir now is what would lie there after a kill -9. */
static void check(const char *dir, const struct said *said)
{
	struct statedb *db;
	struct attrs *a;

	must(!statedb_open(dir, &db));
	must(statedb_is_intact(db));
	must(!attrs_open(db, &a));
	must(!files_define(db));
	for (unsigned i = 0; i < ROWS; i++) {
		check_attrs(a, i, said->attrs[i]);
		check_row(db, i, said->files[i]);
	}
	must(!set_attrs(a, 0) && !save_row(db, 0));
	attrs_close(a);
	statedb_close(db);
}

static void copy_file(const char *from, const char *to, const char *name)
{
	static char buf[1 << 16];
	char path[256];
	FILE *in, *out;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", from, name);
	in = fopen(path, "rb");
	snprintf(path, sizeof(path), "%s/%s", to, name);
	out = fopen(path, "wb");
	must(in && out);
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
		must(fwrite(buf, 1, n, out) == n);
	fclose(in);
	must(!fclose(out));
}

static void make_former(const char *dir)
{
	struct statedb *db;
	struct attrs *a;

	must(!statedb_open(dir, &db) && !attrs_open(db, &a) && !files_define(db));
	must(!set_attrs(a, 0) && !save_row(db, 0));
	attrs_close(a);
	statedb_close(db);
}

static struct attrs *open_all(const char *dir, struct statedb **ret)
{
	struct attrs *a = NULL;

	if (statedb_open(dir, ret))
		return NULL;
	statedb_grow(*ret);
	if (attrs_open(*ret, &a) || files_define(*ret)) {
		attrs_close(a);
		statedb_close(*ret);
		return NULL;
	}
	return a;
}

static void work(struct statedb *db, struct attrs *a, struct said *said)
{
	uint64_t seq;

	for (unsigned i = 1; i < ROWS; i++) {
		said->attrs[i] = set_attrs(a, i);
		said->files[i] = save_row(db, i);
	}
	seq = statedb_seq(db);
	if (statedb_sync(db, seq))
		must(statedb_error(db));
	statedb_idle(db);
}

void scene_store(void)
{
	struct said said = { { 0, 1, 1, 1 }, { 0, 1, 1, 1 } };
	struct statedb *db = NULL;
	char dir[64], copy[64];
	struct attrs *a;

	torture_dir(dir, sizeof(dir));
	torture_dir(copy, sizeof(copy));
	make_former(dir);
	inject_arm();
	a = open_all(dir, &db);
	if (a) {
		work(db, a, &said);
		inject_disarm();
		/* No lock is left, and only a failing disk ends the store. */
		must(save_row(db, 0) == statedb_error(db));
		copy_file(dir, copy, "state.db");
		copy_file(dir, copy, "state.db-wal");
		check(copy, &said);
		inject_arm();
		attrs_close(a);
		statedb_close(db);
	}
	inject_disarm();
	check(dir, &said);
	torture_remove(dir);
	torture_remove(copy);
}
