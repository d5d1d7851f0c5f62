/* A publication: its close is answered once and tells the truth, and the bytes become one File. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/stage/file.h"
#include "tests/torture/scenes.h"
#include "tests/torture/torture.h"
#include "tests/unit/publish_rig.h"

#define PATIENCE_MS 300
#define SIZE (2 * RIG_PART + 1000)

static void on_ended(void *arg, struct publish *p, const struct publish_result *r)
{
	struct pub *f = arg;

	(void)p;
	(void)r;
	atomic_fetch_add(&f->ends, 1);
}

static void on_release(void *arg)
{
	struct pub *f = arg;

	atomic_fetch_add(&f->rig->released, 1);
}

/* As pub_new(), but failure is an answer. False: nothing was made. */
static bool make(struct rig *g, struct pub *f, const char *old)
{
	struct publish_spec spec = { .purpose = "batch",
				     .path = "a.jsonl",
				     .superseded = old,
				     .mode = 0644,
				     .ended = on_ended,
				     .release = on_release,
				     .arg = f };

	memset(f, 0, sizeof(*f));
	f->rig = g;
	if (staged_create(g->area.sg, &f->st))
		return false;
	spec.staged = f->st;
	f->p = publish_new(g->pr, &spec);
	if (f->p)
		atomic_fetch_add(&g->made, 1);
	else
		staged_unref(f->st);
	return f->p != NULL;
}

/* True if all bytes were accepted. */
static bool fill(struct pub *f, unsigned char *bytes)
{
	int fd;

	for (uint64_t off = 0; off < SIZE; off += RIG_PART) {
		uint64_t len = SIZE - off < RIG_PART ? SIZE - off : RIG_PART;

		memset(bytes + off, (int)(1 + off / RIG_PART), len);
		if (staged_write_begin(f->st, off, len, &fd))
			return false;
		must(pwrite(fd, bytes + off, len, (off_t)off) == (ssize_t)len);
		staged_write_end(f->st, off, len, len);
	}
	return true;
}

/* There is one File of that name, besides the one it replaces, and it has these bytes. */
static bool is_file(struct rig *g, const unsigned char *bytes, const char *old)
{
	static unsigned char got[SIZE + 1];
	char id[API_ID_MAX + 1];
	unsigned found = 0;

	for (unsigned n = 0; fake_api_find(g->api, "a.jsonl", n, id); n++) {
		if (!strcmp(id, old))
			continue;
		must(fake_api_read(g->api, id, 0, got, sizeof(got)) == SIZE);
		must(!memcmp(got, bytes, SIZE));
		found++;
	}
	must(found <= 1);
	return found == 1;
}

/* Sent again, now or by the next daemon. */
static void recover(struct rig *g, struct pub *f)
{
	char id[DATA_ID_SIZE];
	struct pub *pubs[] = { f };

	snprintf(id, sizeof(id), "%s", staged_id(f->st));
	staged_keep(f->st);
	rig_crash(g, pubs, 1);
	rig_restart(g);
	pub_recover(g, f, id, "a.jsonl", NULL);
}

/* user.upload.publish */
static void send_again(struct pub *f)
{
	publish_force(f->p);
	staged_seal(f->st);
	publish_seal(f->p);
}

static void check(struct rig *g, struct pub *f, const unsigned char *bytes, const char *old)
{
	bool again = inject_count() % 2 && !statedb_error(g->area.db);
	struct told t;

	if (again)
		send_again(f);
	else
		recover(g, f);
	pub_wait(f, &t, UNTIL_ENDED);
	/* A sync that failed before the MD5 was known is final, and each close says so. */
	if (told_err(&t) == -EIO && staged_sync(f->st) == -EIO) {
		must(!is_file(g, bytes, old));
		return;
	}
	if (strcmp(pub_info(f).status, "completed") != 0) {
		send_again(f);
		pub_wait_status(f, "completed");
	}
	must(is_file(g, bytes, old));
}

/*
 * pub_close(). Without memory, again and again, the publisher waits for some: faults end after a
 * while.
 */
static int close_file(struct pub *f)
{
	struct timespec pause = { 0, 1000000 };
	struct told t;

	staged_seal(f->st);
	publish_seal(f->p);
	pub_wait(f, &t, UNTIL_ENDED);
	for (unsigned ms = 0; ms < PATIENCE_MS && !atomic_load(&t.calls); ms++) {
		nanosleep(&pause, NULL);
		rig_clock_advance(20);
	}
	inject_disarm();
	return told_err(&t);
}

static void publish_scene(bool whole)
{
	static const struct api_error none = { .kind = API_ERR_HTTP, .http_status = 404 };
	static unsigned char bytes[SIZE];
	char old[API_ID_MAX + 1];
	struct pub f, *pubs[] = { &f };
	struct rig g;
	bool made, full = false;
	int err = -1;

	rig_init();
	rig_open(&g);
	g.hurry = true;
	fake_api_dated(g.api, !whole);
	fake_api_add_file(g.api, "a.jsonl", "batch", "old", 3, old);
	if (whole)
		fake_api_fail(g.api, FAKE_CREATE, 1, 1000, &none);
	inject_arm();
	made = make(&g, &f, old);
	if (made) {
		full = fill(&f, bytes);
		if (full)
			err = close_file(&f);
		else
			publish_drop(f.p);
	}
	inject_disarm();
	if (full && !err)
		must(is_file(&g, bytes, old));
	if (full && err && files_has(g.area.db, staged_id(f.st)))
		check(&g, &f, bytes, old);
	rig_close(&g, pubs, made ? 1 : 0);
}

void scene_publish(void)
{
	publish_scene(false);
}

void scene_whole(void)
{
	publish_scene(true);
}
