/*
 * fs/state: whatever stands in state.db, reading it ends, and rows that are handed out make sense.
 * The input changes bytes of a database: two of place and one of value each.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/state/attrs.h"
#include "fs/state/cached.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/log.h"
#include "tests/fuzz/support.h"

static struct buf whole = { .max = 1 << 24 };

static void make_rows(struct statedb *db)
{
	static char purpose[] = "batch", path[] = "a/b.jsonl", old[] = "file-old", words[] = "no";
	static char *olds[] = { old };
	struct record r = { .state = RECORD_FAILED,
			    .purpose = purpose,
			    .path = path,
			    .size = 10,
			    .error = words,
			    .superseded = olds,
			    .superseded_count = 1 };
	struct cached c = { .bytes = 5 };
	const struct attr_set set = { .mode = 0640 };
	struct attrs *a;

	must(!attrs_open(db, &a) && !files_define(db) && !cached_define(db));
	must(!attrs_set(a, "file-1", &set) && !attrs_dir_set(a, "batch", "dir", &set));
	attrs_close(a);
	cached_fill(&c, "0123456789abcdef", "", "");
	must(!statedb_begin(db) && !files_save(db, "1111111111111111", &r));
	must(!cached_put(db, "file-2", &c) && !statedb_commit(db, NULL));
}

/* Once: the database that the inputs change. */
static void make_whole(void)
{
	struct statedb *db;

	log_to_file("/dev/null");
	must(!statedb_open(fuzz_dir(), &db));
	make_rows(db);
	statedb_close(db);
	fuzz_get("state.db", &whole);
	must(whole.len);
}

static int on_file(void *arg, const char *id)
{
	struct statedb *db = arg;
	struct record r;

	must(id);
	if (files_load(db, id, &r))
		return 0;
	must(r.purpose && r.path && record_state_name(r.state));
	for (size_t i = 0; i < r.superseded_count; i++)
		must(r.superseded[i]);
	record_release(&r);
	return 0;
}

static int on_cached(void *arg, const char *file_id, const struct cached *c)
{
	(void)arg;
	must(file_id && memchr(c->md5, '\0', sizeof(c->md5)));
	must(memchr(c->data, '\0', sizeof(c->data)) && memchr(c->era, '\0', sizeof(c->era)));
	return 0;
}

static void on_dir(void *arg, const char *purpose, const char *path, const struct attr_set *set)
{
	(void)arg;
	must(purpose && path && !(set->mode & ~07777U));
}

static void read_all(struct statedb *db)
{
	struct attr_set set;
	struct attrs *a;

	if (!attrs_open(db, &a)) {
		if (attrs_get(a, "file-1", &set))
			must(!(set.mode & ~07777U));
		attrs_dir_each(a, on_dir, NULL);
		attrs_close(a);
	}
	if (!files_define(db))
		files_each(db, FILES_STAGED, on_file, db);
	if (!cached_define(db)) {
		statedb_lock(db);
		cached_each(db, on_cached, NULL);
		statedb_unlock(db);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf image = { .max = 1 << 24 };
	struct statedb *db;

	if (!whole.len)
		make_whole();
	must(!buf_add(&image, whole.data, whole.len));
	for (size_t at = 0; at + 2 < size; at += 3)
		image.data[(size_t)(data[at] << 8 | data[at + 1]) % image.len] = (char)data[at + 2];
	fuzz_put("state.db", image.data, image.len);
	buf_release(&image);
	if (!statedb_open_as_is(fuzz_dir(), &db)) {
		read_all(db);
		statedb_close(db);
	}
	fuzz_remove("state.db");
	fuzz_remove("state.db-wal");
	fuzz_remove("state.db-journal");
	return 0;
}
