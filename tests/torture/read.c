/* Reads: each is answered once, with the right bytes or an error, and the next one is right. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/config/opts.h"
#include "fs/content/cache.h"
#include "fs/content/fetch.h"
#include "net/base/json.h"
#include "tests/torture/scenes.h"
#include "tests/torture/torture.h"
#include "tests/unit/fake_api.h"
#include "tests/unit/stage_area.h"

#define BYTES 300000
#define PATIENCE_MS 300

struct reading {
	atomic_uint calls;
	int err;
};

/* On the network thread. */
static void on_read(void *arg, int err, const char *text, int fd, uint64_t off, size_t len)
{
	static unsigned char got[BYTES], want[BYTES];
	struct reading *r = arg;

	must(!err || text);
	if (!err) {
		must(off + len <= BYTES);
		fake_api_pattern(off, want, len);
		must(pread(fd, got, len, (off_t)off) == (ssize_t)len && !memcmp(got, want, len));
	}
	r->err = err;
	atomic_fetch_add(&r->calls, 1);
}

/* Faults end after a while, for a reading that waits for memory. */
static int read_at(struct fetch *ft, uint64_t off, size_t len)
{
	struct timespec pause = { 0, 1000000 };
	struct reading r = { 0 };

	fetch_read(ft, off, len, on_read, &r);
	for (unsigned ms = 0; !atomic_load(&r.calls); ms++) {
		nanosleep(&pause, NULL);
		if (ms == PATIENCE_MS)
			inject_disarm();
	}
	must(atomic_load(&r.calls) == 1);
	return r.err;
}

static void read_some(struct fetcher *f, const char *id)
{
	struct fetch *ft;

	if (fetch_open(f, id, BYTES, &ft))
		return;
	read_at(ft, 0, 1000);
	read_at(ft, BYTES - 1000, 1000);
	read_at(ft, 0, BYTES);
	fetch_close(ft);
}

void scene_fetch(void)
{
	struct fetcher *f = NULL;
	struct cache *cache;
	struct stage_area a;
	struct fetch *ft;
	char id[API_ID_MAX + 1];
	struct api *api;

	stage_area_open(&a, 65536);
	must(!cache_open(a.data, a.db, 1 << 30, &cache));
	api = fake_api_new();
	fake_api_add_pattern(api, "a", "batch", BYTES, id);
	must(!fetcher_new(api, cache, 2, &f));
	inject_arm();
	read_some(f, id);
	inject_disarm();
	must(!fetch_open(f, id, BYTES, &ft));
	must(!read_at(ft, 0, BYTES));
	fetch_close(ft);
	must(fake_api_wait_idle(api));
	api_free(api);
	fetcher_free(f);
	cache_close(cache);
	stage_area_close(&a);
}

/* Words and texts: without memory they are refused, not half taken. */
void scene_texts(void)
{
	static const char text[] =
		"{\"a\":[1,2,{\"b\":\"\\u00e4\"}],\"c\":{\"d\":null,\"e\":\"x\"}}";
	static const char words[] = "part_size=64M,close=async,cache_size=1G,umask=022";
	struct json *doc = NULL;
	char *said;
	int err;

	inject_arm();
	free(opts_check(words));
	err = json_parse(text, strlen(text), &doc);
	inject_disarm();
	/* cJSON does not tell a lack of memory from a text that is no JSON. */
	must(!err == !!doc && (!err || err == -ENOMEM || err == -EINVAL));
	json_free(doc);
	said = opts_check(words);
	must(!said);
}
