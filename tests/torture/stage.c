/* Staged files: the bytes that a write put there stand, and the row tells of them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/torture/scenes.h"
#include "tests/torture/torture.h"
#include "tests/unit/stage_area.h"

#define PART 65536
#define SIZE (3 * PART + 1000)

/* What the file must hold. */
struct model {
	unsigned char bytes[SIZE];
	uint64_t size;
};

static void write_at(struct staged *st, struct model *m, uint64_t off, uint64_t len, int c)
{
	int fd, r = staged_write_begin(st, off, len, &fd);

	if (r == -EINPROGRESS && !staged_await_change(st))
		r = staged_write_begin(st, off, len, &fd);
	if (r)
		return;
	memset(m->bytes + off, c, len);
	must(pwrite(fd, m->bytes + off, len, (off_t)off) == (ssize_t)len);
	staged_write_end(st, off, len, len);
	if (m->size < off + len)
		m->size = off + len;
}

static bool holds(struct staged *st, const struct model *m)
{
	static unsigned char got[SIZE];
	int fd = staged_fd(st);

	return fd >= 0 && staged_size(st) == m->size &&
	       pread(fd, got, SIZE, 0) == (ssize_t)m->size && !memcmp(got, m->bytes, m->size);
}

static void cut(struct staged *st, struct model *m, uint64_t size)
{
	if (staged_truncate(st, size))
		return;
	if (size < m->size)
		memset(m->bytes + size, 0, SIZE - size);
	m->size = size;
}

static void zero(struct staged *st, struct model *m, int mode, uint64_t off, uint64_t len)
{
	if (!staged_fallocate(st, mode, off, len))
		memset(m->bytes + off, 0, len);
}

static struct record row_of(struct staged *st, enum record_state state)
{
	static char purpose[] = "batch", path[] = "x";

	return (struct record){
		.state = state, .purpose = purpose, .path = path, .size = staged_size(st)
	};
}

static int save(struct staged *st, enum record_state state, bool durable)
{
	struct record r = row_of(st, state);
	char md5[DIGEST_HEX_SIZE];

	if (state == RECORD_SEALED && !staged_md5(st, md5))
		r.md5 = md5;
	return staged_save_record(st, &r, durable);
}

static bool md5_ended(void *arg)
{
	char hex[DIGEST_HEX_SIZE];

	return staged_md5(arg, hex) != -EAGAIN;
}

/* The row told of the file: the next daemon finds it, whole. */
static void check_kept(struct stage_area *a, const char *id, const struct model *m)
{
	struct staged *st;
	struct record r;

	stage_area_reopen(a);
	must(!staged_open(a->sg, id, &r, &st));
	/* Bytes that nobody vouches for are those of a writer that was cut off. */
	must(r.state == RECORD_SEALED || (r.state == RECORD_ABORTED && !r.md5 && !r.synced));
	must(r.size == m->size);
	record_release(&r);
	must(holds(st, m));
	stage_check_md5(st);
	staged_remove(st);
	staged_unref(st);
}

static struct staged *work(struct stage_area *a, struct model *m)
{
	struct staged *st;

	if (staged_create(a->sg, &st))
		return NULL;
	save(st, RECORD_WRITING, false);
	write_at(st, m, 0, 2 * PART, 'a');
	write_at(st, m, 2 * PART + 500, PART + 500, 'b');
	cut(st, m, 3 * PART + 700);
	zero(st, m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, PART);
	zero(st, m, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 2 * PART + 600, 5000);
	staged_fallocate(st, FALLOC_FL_KEEP_SIZE, 0, m->size + 50);
	staged_seal(st);
	torture_wait(md5_ended, st);
	staged_check(st);
	staged_sync(st);
	return st;
}

void scene_stage(void)
{
	static struct model m;
	struct stage_area a;
	char id[DATA_ID_SIZE];
	struct staged *st;
	bool kept = false;

	memset(&m, 0, sizeof(m));
	stage_area_open(&a, PART);
	inject_arm();
	st = work(&a, &m);
	if (st) {
		kept = !save(st, RECORD_SEALED, true);
		inject_disarm();
		must(holds(st, &m));
		/* It goes on: the MD5 that failed is taken again, a write lands. */
		staged_unseal(st);
		write_at(st, &m, 10, 10, 'c');
		must(holds(st, &m));
		staged_rehash(st);
		stage_check_md5(st);
		must(!save(st, RECORD_SEALED, true) || statedb_error(a.db));
		snprintf(id, sizeof(id), "%s", staged_id(st));
		staged_keep(st);
		inject_arm();
		staged_unref(st);
	}
	inject_disarm();
	if (kept && !statedb_error(a.db))
		check_kept(&a, id, &m);
	stage_area_close(&a);
}

/* ---- a daemon's start on what another has left ---- */

#define LEFT 3

static int count_one(void *arg, const char *id)
{
	unsigned *n = arg;

	(void)id;
	(*n)++;
	return 0;
}

static int open_one(void *arg, const char *id)
{
	struct stage_area *a = arg;
	struct staged *st;
	struct record r;

	if (staged_open(a->sg, id, &r, &st))
		return 0;
	record_release(&r);
	staged_fd(st);
	staged_rest(st, 1);
	staged_unref(st);
	return 0;
}

static int check_one(void *arg, const char *id)
{
	struct stage_area *a = arg;
	struct model *m = malloc(sizeof(*m));
	struct staged *st;
	struct record r;

	must(m);
	must(!staged_open(a->sg, id, &r, &st));
	must(r.state == RECORD_SEALED);
	m->size = r.size;
	memset(m->bytes, 'x', r.size);
	must(holds(st, m));
	stage_check_md5(st);
	record_release(&r);
	staged_unref(st);
	free(m);
	return 0;
}

static void leave(struct stage_area *a, struct model *m, unsigned i)
{
	struct staged *st;

	must(!staged_create(a->sg, &st));
	m->size = 0;
	write_at(st, m, 0, PART * i + 10, 'x');
	staged_seal(st);
	torture_wait(md5_ended, st);
	must(!save(st, RECORD_SEALED, true));
	staged_keep(st);
	staged_unref(st);
}

void scene_recover(void)
{
	static struct model m;
	struct stage_area a;
	struct statedb *db;
	struct datadir *data;
	struct staging *sg;
	unsigned n = 0;

	stage_area_open(&a, PART);
	for (unsigned i = 0; i < LEFT; i++)
		leave(&a, &m, i);
	staging_close(a.sg);
	datadir_close(a.data);
	statedb_close(a.db);
	inject_arm();
	if (!statedb_open(a.dir, &db)) {
		if (!datadir_open(a.dir, db, &data)) {
			a.cfg.db = db;
			a.cfg.data = data;
			if (!staging_open(&a.cfg, &sg)) {
				a.sg = sg;
				staging_scan(sg, open_one, &a);
				staging_close(sg);
			}
			datadir_close(data);
		}
		statedb_close(db);
	}
	inject_disarm();
	a.sg = NULL;
	a.data = NULL;
	a.db = NULL;
	stage_area_reopen(&a);
	must(!staging_scan(a.sg, count_one, &n) && n == LEFT);
	must(!staging_scan(a.sg, check_one, &a));
	stage_area_close(&a);
}
