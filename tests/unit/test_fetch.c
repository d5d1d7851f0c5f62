/* uses: fake_api */
/* fetch: what is asked of the service, when reads are answered, and what failures do. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/content/cache.h"
#include "fs/content/fetch.h"
#include "fs/state/cached.h"
#include "fs/state/data.h"
#include "fs/state/store.h"
#include "fs/work/pool.h"
#include "tests/unit/fake_api.h"

#define MIB (1ULL << 20)
#define DEADLINE_S 60

static char dir[64];
/* A test that failed has left its frame, and with it the readings that still wait. */
static atomic_bool over;
static struct api *api;
static struct statedb *db;
static struct datadir *data;
static struct cache *cache;
static struct fetcher *fetcher;
static char id[API_ID_MAX + 1];

static void start(uint64_t cache_size)
{
	assert_int_equal(statedb_open(dir, &db), 0);
	assert_int_equal(datadir_open(dir, db, &data), 0);
	assert_int_equal(cache_open(data, db, cache_size, &cache), 0);
	api = fake_api_new();
	assert_int_equal(fetcher_new(api, cache, 4, &fetcher), 0);
}

static void close_all(void)
{
	api_free(api);
	api = NULL;
	fetcher_free(fetcher);
	fetcher = NULL;
	cache_close(cache);
	cache = NULL;
	datadir_close(data);
	data = NULL;
	statedb_close(db);
	db = NULL;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_fetch.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	over = false;
	start(1ULL << 40);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	over = true;
	close_all();
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A read and what became of it. */
struct reading {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned answers; /* under lock, like the rest */
	int err;
	char text[256];
	uint64_t off;
	size_t len;
	bool right; /* the bytes are those of the pattern */
};

static bool pattern_at(int fd, uint64_t off, size_t len)
{
	unsigned char *got = malloc(65536), *want = malloc(65536);
	bool right = got && want;
	size_t n;

	while (right && len) {
		n = len < 65536 ? len : 65536;
		fake_api_pattern(off, want, n);
		right = pread(fd, got, n, (off_t)off) == (ssize_t)n && !memcmp(got, want, n);
		off += n;
		len -= n;
	}
	free(got);
	free(want);
	return right;
}

static void reading_done(void *arg, int err, const char *text, int fd, uint64_t off, size_t len)
{
	struct reading *r = arg;
	bool right = !err && (!len || pattern_at(fd, off, len));

	if (over)
		return;
	pthread_mutex_lock(&r->lock);
	r->answers++;
	r->err = err;
	r->off = off;
	r->len = len;
	r->right = right;
	snprintf(r->text, sizeof(r->text), "%s", text);
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

static void read_start(struct reading *r, struct fetch *ft, uint64_t off, size_t len)
{
	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	fetch_read(ft, off, len, reading_done, r);
}

static unsigned answers(struct reading *r)
{
	unsigned n;

	pthread_mutex_lock(&r->lock);
	n = r->answers;
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* Waits for the answer; there is exactly one. */
static int read_end(struct reading *r)
{
	struct timespec until;
	int rc = 0, err;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += DEADLINE_S;
	pthread_mutex_lock(&r->lock);
	while (!r->answers && !rc)
		rc = pthread_cond_clockwait(&r->cond, &r->lock, CLOCK_MONOTONIC, &until);
	err = r->err;
	pthread_mutex_unlock(&r->lock);
	assert_int_equal(answers(r), 1);
	return err;
}

static void read_ok(struct fetch *ft, uint64_t off, size_t len)
{
	struct reading r;

	read_start(&r, ft, off, len);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.off, off);
	assert_int_equal(r.len, len);
	assert_true(r.right);
}

static int read_fails(struct fetch *ft, uint64_t off, size_t len, char text[256])
{
	struct reading r;
	int err;

	read_start(&r, ft, off, len);
	err = read_end(&r);
	assert_true(err < 0);
	assert_int_equal(r.len, 0);
	assert_true(r.text[0] != '\0');
	if (text)
		memcpy(text, r.text, sizeof(r.text));
	return err;
}

static struct fetch *open_pattern(uint64_t bytes)
{
	struct fetch *ft = NULL;

	fake_api_add_pattern(api, "f", "batch", bytes, id);
	assert_int_equal(fetch_open(fetcher, id, bytes, &ft), 0);
	return ft;
}

static struct fake_call content_call(unsigned nth)
{
	struct fake_call c;

	assert_true(fake_api_call(api, FAKE_CONTENT, nth, &c));
	return c;
}

static unsigned contents(void)
{
	return fake_api_calls(api, FAKE_CONTENT);
}

/* Data files that are not cached content. */
static unsigned temporaries(void)
{
	struct dirent *de;
	char path[96], name[DATA_ID_SIZE];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/" DATA_DIR, dir);
	d = opendir(path);
	assert_non_null(d);
	while ((de = readdir(d)) != NULL) {
		snprintf(name, sizeof(name), "%.16s", de->d_name);
		n += data_id_valid(name) && !cached_has_data(db, name);
	}
	closedir(d);
	return n;
}

static int by_offset(const void *a, const void *b)
{
	const struct fake_call *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* What was asked for, in order, without those that were cancelled. Returns how many. */
static unsigned ranges(struct fake_call *v, unsigned max)
{
	unsigned i, n = 0;

	assert_true(contents() <= max);
	for (i = 0; i < contents(); i++) {
		v[n] = content_call(i);
		n += !v[n].cancelled;
	}
	qsort(v, n, sizeof(*v), by_offset);
	return n;
}

/* The requests make up the File from start to end without an overlap; returns the longest. */
static uint64_t assert_once(uint64_t start, uint64_t end, uint64_t bytes)
{
	struct fake_call v[256];
	unsigned i, n = ranges(v, 256);
	uint64_t longest = 0;

	assert_true(n > 0);
	for (i = 0; i < n; i++) {
		assert_int_equal(v[i].offset, start);
		/* Without a bound where it ends with the File: more than that would show. */
		assert_true((v[i].len == UINT64_MAX) == (i == n - 1 && end == bytes));
		start = v[i].len == UINT64_MAX ? end : v[i].offset + v[i].len;
		if (start - v[i].offset > longest)
			longest = start - v[i].offset;
	}
	assert_int_equal(start, end);
	return longest;
}

static void read_on(struct fetch *ft, uint64_t off, uint64_t end, size_t step)
{
	size_t n;

	for (; off < end; off += n) {
		n = end - off < step ? (size_t)(end - off) : step;
		read_ok(ft, off, n);
	}
}

/* From front to back: small ranges at first, then large ones, several at once, each byte once. */
static void test_sequential(void **state)
{
	const uint64_t bytes = 200 * MIB + 12345;
	struct fetch *ft = open_pattern(bytes);

	(void)state;
	assert_int_equal(contents(), 0); /* nothing that no reader asked for */
	read_ok(ft, 0, 131072);
	assert_int_equal(contents(), 1);
	assert_int_equal(content_call(0).offset, 0);
	assert_int_equal(content_call(0).len, MIB);
	read_on(ft, 131072, bytes, 131072);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(assert_once(0, bytes, bytes), 16 * MIB);
	assert_int_equal(fake_api_active_max(api, FAKE_CONTENT), 4);
	assert_true(contents() < 30);
	fetch_close(ft);
	assert_int_equal(temporaries(), 0);
	assert_int_equal(cache_used(cache), bytes);
	/* From now on it is local. */
	assert_int_equal(fetch_open(fetcher, id, bytes, &ft), 0);
	read_ok(ft, 20 * MIB, 100000);
	fetch_close(ft);
	assert_true(contents() < 30);
}

/* A File that is not large is one request; another fetcher's width is kept. */
static void test_small(void **state)
{
	const uint64_t bytes = 8 * MIB;
	struct fetch *ft;

	(void)state;
	fetcher_free(fetcher);
	assert_int_equal(fetcher_new(api, cache, 1, &fetcher), 0);
	ft = open_pattern(bytes);
	read_on(ft, 0, bytes, 131072);
	assert_int_equal(contents(), 1);
	assert_int_equal(content_call(0).offset, 0);
	assert_true(content_call(0).len == UINT64_MAX);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
	ft = open_pattern(64 * MIB);
	read_on(ft, 0, 64 * MIB, 131072);
	assert_int_equal(fake_api_active_max(api, FAKE_CONTENT), 1);
	fetch_close(ft);
}

/* What is asked for ahead of a reader is bounded, and stops when the reader does. */
static void test_stops(void **state)
{
	const uint64_t bytes = 1000 * MIB;
	struct fetch *ft = open_pattern(bytes);
	uint64_t off, end = 0;
	struct fake_call v[256];
	unsigned n;

	(void)state;
	for (off = 500 * MIB; off < 600 * MIB; off += MIB) {
		read_ok(ft, off, MIB);
		assert_true(fake_api_wait_idle(api));
		n = ranges(v, 256);
		end = v[n - 1].offset + v[n - 1].len;
		assert_true(end <= off + MIB + (64 + 16) * MIB);
	}
	assert_int_equal(assert_once(500 * MIB, end, bytes), 16 * MIB);
	assert_true(end >= 650 * MIB);
	/* Elsewhere a single read asks for little. */
	n = contents();
	read_ok(ft, 100 * MIB + 10, 10);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(contents(), n + 1);
	assert_int_equal(content_call(n).offset, 100 * MIB);
	assert_int_equal(content_call(n).len, 4096);
	fetch_close(ft);
	assert_int_equal(temporaries(), 0);
	assert_int_equal(cache_used(cache), 0);
}

static void test_handed_on_as_it_comes(void **state)
{
	struct fetch *ft;
	struct reading ahead, last;

	(void)state;
	fake_api_gate(api, MIB);
	ft = open_pattern(4 * MIB);
	read_ok(ft, 0, 65536);
	read_ok(ft, MIB - 1, 1);
	read_start(&ahead, ft, MIB - 1, 2);
	read_start(&last, ft, 4 * MIB - 10, 10);
	read_ok(ft, 1000, 65536);
	assert_int_equal(answers(&ahead), 0);
	fake_api_gate(api, 2 * MIB);
	assert_int_equal(read_end(&ahead), 0);
	assert_true(ahead.right);
	assert_int_equal(answers(&last), 0);
	fake_api_gate(api, 4 * MIB);
	assert_int_equal(read_end(&last), 0);
	assert_true(last.right);
	assert_int_equal(contents(), 1);
	fetch_close(ft);
}

static void test_shared(void **state)
{
	struct fetch *a, *b, *other;
	struct reading r[20];
	unsigned i;

	(void)state;
	fake_api_hold(api, FAKE_CONTENT, FAKE_HOLD_WORK);
	a = open_pattern(2 * MIB);
	assert_int_equal(fetch_open(fetcher, id, 2 * MIB, &b), 0);
	assert_ptr_equal(a, b);
	for (i = 0; i < 20; i++)
		read_start(&r[i], i % 2 ? a : b, i * 100000, 100000);
	assert_int_equal(contents(), 1);
	fake_api_release(api, FAKE_CONTENT);
	for (i = 0; i < 20; i++) {
		assert_int_equal(read_end(&r[i]), 0);
		assert_true(r[i].right);
	}
	fetch_close(a);
	read_ok(b, 0, 2 * MIB);
	other = open_pattern(MIB);
	assert_ptr_not_equal(other, b);
	fetch_close(b);
	fetch_close(other);
	fetch_close(NULL);
	assert_int_equal(contents(), 1);
}

static void test_bounds(void **state)
{
	struct fetch *ft = open_pattern(1000), *empty = open_pattern(0);
	struct reading r;

	(void)state;
	read_start(&r, ft, 1000, 10);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.len, 0);
	read_start(&r, ft, UINT64_MAX, SIZE_MAX);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.len, 0);
	read_start(&r, ft, 5, 0);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.len, 0);
	assert_int_equal(contents(), 0);
	read_start(&r, ft, 990, SIZE_MAX);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.len, 10);
	assert_true(r.right);
	read_start(&r, empty, 0, 10);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.len, 0);
	memset(&r, 0, sizeof(r));
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.cond, NULL);
	fetch_all(ft, reading_done, &r);
	assert_int_equal(read_end(&r), 0);
	assert_int_equal(r.len, 1000);
	assert_true(r.right);
	fetch_close(empty);
	fetch_close(ft);
}

/* The index of a zip file: the last bytes, without all that lies before. */
static void test_far(void **state)
{
	const uint64_t bytes = 100 * MIB + 77;
	struct fake_call c;
	struct fetch *ft;

	(void)state;
	ft = open_pattern(bytes);
	read_ok(ft, bytes - 100, 100);
	c = content_call(0);
	assert_int_equal(c.offset, 100 * MIB - 4096);
	assert_true(c.len == UINT64_MAX);
	read_ok(ft, 60 * MIB + 5000, 100000);
	c = content_call(1);
	assert_int_equal(c.offset, 60 * MIB + 4096);
	assert_int_equal(c.len, 102400);
	read_ok(ft, 0, 4096);
	assert_int_equal(content_call(2).len, MIB);
	/* Over a border. */
	read_ok(ft, 20 * MIB - 5, 10);
	assert_int_equal(contents(), 4);
	read_ok(ft, 0, (size_t)bytes);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(fake_api_active_max(api, FAKE_CONTENT), 4);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
	assert_int_equal(temporaries(), 0);
}

/* What is there already is left out, and all of it makes a whole. */
static void test_gaps(void **state)
{
	const uint64_t bytes = 64 * MIB;
	struct fake_call v[256];
	struct fetch *ft = open_pattern(bytes);
	uint64_t asked = 0;
	unsigned i, n;

	(void)state;
	read_ok(ft, 16 * MIB, MIB);
	read_ok(ft, 40 * MIB, MIB);
	read_ok(ft, 15 * MIB, 3 * MIB);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(content_call(2).offset, 15 * MIB);
	assert_int_equal(content_call(2).len, MIB);
	assert_int_equal(content_call(3).offset, 17 * MIB);
	read_ok(ft, 0, bytes);
	assert_true(fake_api_wait_idle(api));
	n = ranges(v, 256);
	for (i = 0; i < n; i++)
		asked += v[i].len == UINT64_MAX ? bytes - v[i].offset : v[i].len;
	assert_int_equal(asked, bytes);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

/* Bytes that were asked for by the requests from the nth on. */
static uint64_t asked_since(unsigned nth, uint64_t bytes)
{
	uint64_t asked = 0;
	struct fake_call c;

	for (; nth < contents(); nth++) {
		c = content_call(nth);
		asked += c.len == UINT64_MAX ? bytes - c.offset : c.len;
	}
	return asked;
}

/* A sequence of numbers below n, the same in each run. */
static uint64_t next_random(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*seed >> 20) % n;
}

/* Reads at random places cost what is read, also where many of them lie near another. */
static void test_random(void **state)
{
	static const uint64_t sizes[] = { 32 * MIB, 1024 * MIB, 100 * 1024 * MIB };
	static const size_t lens[] = { 4096, 65536, 200000 };
	uint64_t seed = 1, bytes, read, off;
	struct fetch *ft;
	unsigned i, first;

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		bytes = sizes[k];
		ft = open_pattern(bytes);
		first = contents();
		for (i = 0, read = 0; i < 80; i++, read += lens[k]) {
			off = next_random(&seed, bytes - lens[k]) / 4096 * 4096;
			read_ok(ft, off, lens[k]);
		}
		assert_true(fake_api_wait_idle(api));
		assert_true(asked_since(first, bytes) <= 2 * read);
		fetch_close(ft);
	}
}

/* Reads that go on from a random place soon ask for more at once; those with holes don't. */
static void test_runs(void **state)
{
	const uint64_t bytes = 1000 * MIB;
	struct fetch *ft = open_pattern(bytes);
	unsigned i;

	(void)state;
	read_on(ft, 300 * MIB, 302 * MIB - 16384, 16384);
	assert_true(contents() <= 8);
	assert_int_equal(content_call(1).offset, 300 * MIB + 16384);
	assert_int_equal(content_call(1).len, 65536);
	assert_true(fake_api_wait_idle(api));
	i = contents();
	for (uint64_t off = 600 * MIB; off < 640 * MIB; off += 300000)
		read_ok(ft, off, 65536);
	assert_true(fake_api_wait_idle(api));
	assert_true(asked_since(i, bytes) <= 2 * 140 * 65536);
	fetch_close(ft);
}

/* From back to front, as tac reads. */
static void test_backwards(void **state)
{
	const uint64_t bytes = 64 * MIB;
	struct fetch *ft = open_pattern(bytes);

	(void)state;
	for (uint64_t off = bytes; off > 32 * MIB; off -= 65536)
		read_ok(ft, off - 65536, 65536);
	assert_true(contents() <= 34);
	assert_int_equal(asked_since(0, bytes), 32 * MIB);
	fetch_close(ft);
}

/* More ranges than can be noted: the rest comes in larger ones, and every read is answered. */
static void test_many_places(void **state)
{
	const uint64_t bytes = 210 * MIB, step = 8192;
	struct fetch *ft = open_pattern(bytes);
	struct reading r;
	unsigned n;

	(void)state;
	for (uint64_t off = step; off < bytes; off += step) {
		memset(&r, 0, sizeof(r));
		read_start(&r, ft, off, 4096);
		assert_int_equal(read_end(&r), 0);
	}
	n = contents();
	assert_true(n < bytes / step);
	/* All of it does not cost a request for each gap between them. */
	read_ok(ft, 0, (size_t)bytes);
	assert_true(contents() - n < 100);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

static void test_at_most_four(void **state)
{
	struct fetch *ft = open_pattern(1000 * MIB);
	struct reading r[12];
	unsigned i;

	(void)state;
	fake_api_hold(api, FAKE_CONTENT, FAKE_HOLD_WORK);
	for (i = 0; i < 12; i++)
		read_start(&r[i], ft, i * 50 * MIB, 4096);
	/* Does the service honour Range? One request finds out. */
	assert_int_equal(contents(), 1);
	fake_api_release_some(api, FAKE_CONTENT, 1);
	assert_int_equal(read_end(&r[0]), 0);
	assert_true(fake_api_wait_calls(api, FAKE_CONTENT, 5));
	assert_int_equal(contents(), 5);
	fake_api_release(api, FAKE_CONTENT);
	for (i = 1; i < 12; i++) {
		assert_int_equal(read_end(&r[i]), 0);
		assert_true(r[i].right);
	}
	assert_int_equal(fake_api_active_max(api, FAKE_CONTENT), 4);
	assert_int_equal(contents(), 12);
	fetch_close(ft);
	assert_true(fake_api_wait_idle(api));
}

/* Four requests ahead of a reader do not keep another reader waiting. */
static void test_make_way(void **state)
{
	struct fetch *ft = open_pattern(1000 * MIB);
	struct reading wanted, other;
	struct fake_call c;
	unsigned i, cancelled = 0;

	(void)state;
	read_on(ft, 0, MIB + 65536, 65536);
	assert_true(fake_api_wait_idle(api));
	fake_api_hold(api, FAKE_CONTENT, FAKE_HOLD_WORK);
	read_on(ft, MIB + 65536, 2 * MIB, 65536); /* long enough to be read ahead for */
	assert_int_equal(contents(), 6);
	read_start(&wanted, ft, 3 * MIB, 4096); /* the second has a reader */
	assert_int_equal(contents(), 6);
	read_start(&other, ft, 500 * MIB, 4096);
	assert_true(fake_api_wait_calls(api, FAKE_CONTENT, 7));
	assert_true(fake_api_wait_done(api, FAKE_CONTENT, 3));
	assert_int_equal(content_call(6).offset, 500 * MIB);
	for (i = 0; i < 6; i++) {
		c = content_call(i);
		cancelled += c.cancelled;
		assert_false(c.cancelled && (i < 2 || c.offset == 3 * MIB));
	}
	assert_int_equal(cancelled, 1);
	fake_api_release(api, FAKE_CONTENT);
	assert_int_equal(read_end(&wanted), 0);
	assert_int_equal(read_end(&other), 0);
	assert_true(wanted.right && other.right);
	assert_int_equal(fake_api_active_max(api, FAKE_CONTENT), 4);
	fetch_close(ft);
}

/* A read far within a range that is on its way: from there on another request brings it. */
static void test_split(void **state)
{
	struct fake_content how = { .quota = MIB };
	const uint64_t bytes = 200 * MIB;
	struct fetch *ft = open_pattern(bytes);
	struct reading all, far;
	struct fake_call c;

	(void)state;
	read_ok(ft, 0, 10);
	assert_true(fake_api_wait_idle(api));
	fake_api_content(api, &how);
	read_start(&all, ft, 0, bytes);
	read_ok(ft, 17 * MIB - 10, 10); /* the end of what the second brings for now */
	assert_int_equal(content_call(2).offset, 16 * MIB);
	assert_int_equal(content_call(2).len, 16 * MIB);
	read_start(&far, ft, 30 * MIB + 5, 4096);
	assert_int_equal(read_end(&far), 0);
	assert_true(far.right);
	assert_int_equal(answers(&all), 0);
	c = content_call(5);
	assert_int_equal(c.offset, 30 * MIB);
	assert_int_equal(c.len, 8192);
	how.quota = 0;
	fake_api_content(api, &how);
	assert_int_equal(read_end(&all), 0);
	assert_true(all.right);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(fake_api_active_max(api, FAKE_CONTENT), 4);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

/* What nobody waits for is not asked for again and again when it fails. */
static void test_ahead_fails(void **state)
{
	struct api_error err = fake_api_error(API_ERR_CONNECT, 0, "", "the connection broke");
	const uint64_t bytes = 100 * MIB;
	struct fetch *ft = open_pattern(bytes);
	unsigned n;

	(void)state;
	read_on(ft, 0, MIB + 65536, 65536);
	assert_true(fake_api_wait_idle(api));
	fake_api_fail(api, FAKE_CONTENT, 1, 1000, &err);
	read_on(ft, MIB + 65536, 2 * MIB, 65536);
	assert_true(fake_api_wait_idle(api));
	n = contents();
	assert_true(n >= 3 && n <= 6);
	assert_int_equal(read_fails(ft, 2 * MIB, 10, NULL), -EHOSTUNREACH);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(contents(), n + 1);
	fake_api_fail_clear(api);
	read_on(ft, 2 * MIB, bytes, 131072);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

/* A service without Range: one request, whatever is read first, and every byte of it is used. */
static void test_range_ignored(void **state)
{
	struct fake_content how = { .ignore_range = true, .chunk = 256 << 10 };
	const uint64_t bytes = 48 * MIB, first[] = { 0, 20 * MIB, bytes - 10 };
	struct fetch *ft;
	unsigned i;

	(void)state;
	fake_api_content(api, &how);
	for (i = 0; i < 3; i++) {
		ft = open_pattern(bytes);
		read_ok(ft, first[i], 10);
		read_ok(ft, 40 * MIB, 10);
		read_ok(ft, 0, bytes);
		assert_true(fake_api_wait_idle(api));
		assert_int_equal(contents(), i + 1);
		fetch_close(ft);
		assert_int_equal(cache_used(cache), bytes * (i + 1));
	}
}

/* Without Range, too, what has come is readable while the rest comes. */
static void test_stream_handed_on(void **state)
{
	struct fake_content how = { .ignore_range = true, .gated = true, .gate = 10 * MIB };
	const uint64_t bytes = 48 * MIB;
	struct reading r;
	struct fetch *ft;

	(void)state;
	fake_api_content(api, &how);
	ft = open_pattern(bytes);
	read_start(&r, ft, 20 * MIB, 10);
	read_on(ft, 0, 10 * MIB, 131072);
	assert_int_equal(answers(&r), 0);
	fake_api_gate(api, bytes);
	assert_int_equal(read_end(&r), 0);
	assert_true(r.right);
	read_ok(ft, 0, bytes);
	assert_int_equal(contents(), 1);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

/* It honoured Range until now: several requests are under way when the first gets everything. */
static void test_range_lost(void **state)
{
	struct fake_content how = { .ignore_range = true };
	const uint64_t bytes = 100 * MIB;
	struct fetch *ft = open_pattern(bytes);
	struct reading r[4];
	unsigned i, live = 0;

	(void)state;
	read_ok(ft, 50 * MIB, 10);
	assert_true(fake_api_wait_idle(api));
	fetch_close(ft);
	ft = open_pattern(bytes);
	fake_api_content(api, &how);
	fake_api_hold(api, FAKE_CONTENT, FAKE_HOLD_WORK);
	for (i = 0; i < 4; i++)
		read_start(&r[i], ft, (80 - i * 20) * MIB, 10);
	assert_int_equal(contents(), 5);
	fake_api_release(api, FAKE_CONTENT);
	for (i = 0; i < 4; i++) {
		assert_int_equal(read_end(&r[i]), 0);
		assert_true(r[i].right);
	}
	read_ok(ft, 0, bytes);
	assert_true(fake_api_wait_idle(api));
	for (i = 1; i < contents(); i++)
		live += !content_call(i).cancelled;
	assert_int_equal(live, 1);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

static void test_range_refused(void **state)
{
	struct fake_content how = { .refuse_range = true };
	struct fetch *ft;

	(void)state;
	fake_api_content(api, &how);
	ft = open_pattern(32 * MIB);
	read_ok(ft, 30 * MIB, 10);
	assert_int_equal(contents(), 2);
	assert_int_equal(content_call(1).offset, 0);
	read_ok(ft, 0, 32 * MIB);
	assert_int_equal(contents(), 2);
	fetch_close(ft);
}

static void test_refused(void **state)
{
	struct fake_content how = { .refuse = true };
	struct fetch *ft;
	char text[256];

	(void)state;
	fake_api_content(api, &how);
	ft = open_pattern(32 * MIB);
	assert_int_equal(read_fails(ft, 0, 10, text), -EACCES);
	assert_non_null(strstr(text, "Not allowed to download files of purpose: batch"));
	assert_int_equal(read_fails(ft, 30 * MIB, 10, text), -EACCES);
	/* Tried anew each time, and it may have become right. */
	how.refuse = false;
	fake_api_content(api, &how);
	read_ok(ft, 0, 32 * MIB);
	fetch_close(ft);
	assert_int_equal(fetch_open(fetcher, "file-none", 5, &ft), 0);
	assert_int_equal(read_fails(ft, 0, 5, text), -ENOENT);
	fetch_close(ft);
	assert_int_equal(temporaries(), 0);
}

/* A download that broke goes on from where it broke. */
static void test_cut(void **state)
{
	struct fake_content how = { .cut = 3 * MIB + 5 };
	const uint64_t bytes = 6 * MIB;
	struct fetch *ft;
	struct reading r[3];
	unsigned i;

	(void)state;
	fake_api_content(api, &how);
	fake_api_hold(api, FAKE_CONTENT, FAKE_HOLD_WORK);
	ft = open_pattern(bytes);
	read_start(&r[0], ft, 0, 3 * MIB + 5);
	read_start(&r[1], ft, 3 * MIB, 6);
	read_start(&r[2], ft, 5 * MIB, 6);
	fake_api_release(api, FAKE_CONTENT);
	assert_int_equal(read_end(&r[0]), 0);
	assert_true(r[0].right);
	for (i = 1; i < 3; i++) {
		assert_int_equal(read_end(&r[i]), -EHOSTUNREACH);
		assert_non_null(strstr(r[i].text, "the connection broke"));
	}
	assert_int_equal(contents(), 1);
	read_ok(ft, 0, 3 * MIB + 5); /* local */
	assert_int_equal(contents(), 1);
	read_ok(ft, 0, bytes);
	assert_int_equal(contents(), 2);
	assert_int_equal(content_call(1).offset, 3 * MIB + 5);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), bytes);
}

/* A failed range fails its reader, not that of another. */
static void test_range_fails(void **state)
{
	struct api_error err = fake_api_error(API_ERR_HTTP, 503, "", "overloaded");
	struct fetch *ft = open_pattern(64 * MIB);
	struct reading r;

	(void)state;
	read_ok(ft, 0, 10);
	assert_true(fake_api_wait_idle(api));
	fake_api_gate(api, 2 * MIB + 5);
	read_start(&r, ft, 2 * MIB, 10);
	fake_api_fail(api, FAKE_CONTENT, 1, 1, &err);
	assert_int_equal(read_fails(ft, 50 * MIB, 10, NULL), -EIO);
	assert_int_equal(answers(&r), 0);
	read_ok(ft, 50 * MIB, 10);
	fake_api_gate(api, 64 * MIB);
	assert_int_equal(read_end(&r), 0);
	read_ok(ft, 0, 64 * MIB);
	fetch_close(ft);
}

/* The end of the File is shown only once its length is known to be right. */
static void test_wrong_length(void **state)
{
	struct fake_content how = { .length = 3 * MIB };
	struct fetch *ft;
	struct reading last;
	char text[256];

	(void)state;
	fake_api_content(api, &how);
	ft = open_pattern(4 * MIB);
	read_ok(ft, 0, 3 * MIB);
	assert_int_equal(read_fails(ft, 3 * MIB, 1, text), -EIO);
	assert_int_equal(read_fails(ft, 0, 4 * MIB, text), -EIO);
	fetch_close(ft);
	how.length = 4 * MIB + 1;
	fake_api_content(api, &how);
	ft = open_pattern(4 * MIB);
	read_ok(ft, 0, 4 * MIB - 1);
	assert_int_equal(read_fails(ft, 4 * MIB - 1, 1, text), -EIO);
	assert_non_null(strstr(text, "longer"));
	fetch_close(ft);
	/* Right, but its end is still to come. */
	memset(&how, 0, sizeof(how));
	how.length = 4 * MIB + 1;
	how.gated = true;
	how.gate = 4 * MIB;
	fake_api_content(api, &how);
	ft = open_pattern(4 * MIB);
	read_ok(ft, 0, 4 * MIB - 1);
	read_start(&last, ft, 4 * MIB - 1, 1);
	assert_int_equal(answers(&last), 0);
	how.gate = 4 * MIB + 1;
	fake_api_content(api, &how);
	assert_int_equal(read_end(&last), -EIO);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), 0);
	assert_int_equal(temporaries(), 0);
}

static void test_last_close_cancels(void **state)
{
	struct fetch *ft, *again;
	struct reading r;

	(void)state;
	fake_api_gate(api, MIB);
	ft = open_pattern(4 * MIB);
	read_ok(ft, 0, 10);
	assert_int_equal(fetch_open(fetcher, id, 4 * MIB, &again), 0);
	fetch_close(again); /* not the last */
	read_ok(ft, MIB - 10, 10);
	assert_int_equal(fake_api_calls(api, FAKE_CONTENT), 1);
	assert_int_equal(temporaries(), 1);
	read_start(&r, ft, 2 * MIB, 10);
	fetch_close(ft);
	assert_int_equal(read_end(&r), -EINTR);
	assert_true(fake_api_wait_done(api, FAKE_CONTENT, 1));
	assert_true(content_call(0).cancelled);
	assert_int_equal(temporaries(), 0);
	assert_int_equal(cache_used(cache), 0);
	/* The next open begins anew. */
	fake_api_gate(api, 4 * MIB);
	assert_int_equal(fetch_open(fetcher, id, 4 * MIB, &ft), 0);
	read_ok(ft, 0, 4 * MIB);
	fetch_close(ft);
	assert_int_equal(contents(), 2);
	assert_int_equal(content_call(1).offset, 0);
}

static void test_api_ends(void **state)
{
	struct fetch *ft;
	struct reading r, far;

	(void)state;
	ft = open_pattern(64 * MIB);
	fake_api_hold(api, FAKE_CONTENT, FAKE_HOLD_WORK);
	read_start(&r, ft, 2 * MIB, 10);
	read_start(&far, ft, 50 * MIB, 10);
	api_free(api);
	assert_int_equal(answers(&r), 1);
	assert_int_equal(answers(&far), 1);
	assert_true(read_end(&r) < 0);
	assert_true(read_end(&far) < 0);
	/* Still open: goes with the fetcher. */
	fetcher_free(fetcher);
	fetcher_free(NULL);
	assert_int_equal(temporaries(), 0);
	api = fake_api_new();
	assert_int_equal(fetcher_new(api, cache, 4, &fetcher), 0);
}

static void test_not_kept(void **state)
{
	struct fetch *ft;

	(void)state;
	close_all();
	start(0);
	ft = open_pattern(4 * MIB);
	read_ok(ft, 0, 4 * MIB);
	read_ok(ft, 0, 4 * MIB);
	assert_int_equal(contents(), 1);
	fetch_close(ft);
	assert_int_equal(temporaries(), 0);
	assert_int_equal(fetch_open(fetcher, id, 4 * MIB, &ft), 0);
	read_ok(ft, 0, 10);
	assert_int_equal(contents(), 2);
	fetch_close(ft);
}

static void test_no_room(void **state)
{
	struct fetch *ft = open_pattern(1000);
	char path[96];

	(void)state;
	snprintf(path, sizeof(path), "%s/" DATA_DIR "/uuid", dir);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/" DATA_DIR, dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(read_fails(ft, 0, 10, NULL), -ENOENT);
	assert_int_equal(contents(), 0);
	fetch_close(ft);
}

/* ---- a full disk, played by the functions that write and unlink ---- */

static atomic_bool full;
static pthread_t writer, unlinker;
static atomic_uint unlinked;

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off);

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	char link[64], name[256];
	ssize_t n;

	if (full) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, name, sizeof(name) - 1);
		name[n < 0 ? 0 : n] = '\0';
		if (n > 5 && !strcmp(name + n - 5, DATA_END)) {
			writer = pthread_self();
			errno = ENOSPC;
			return -1;
		}
	}
	return syscall(SYS_pwrite64, fd, buf, len, off);
}

int unlinkat(int at, const char *name, int flags)
{
	if (full) {
		full = false;
		unlinker = pthread_self();
		unlinked++;
	}
	return (int)syscall(SYS_unlinkat, at, name, flags);
}

/* Other content gives way, on the worker; the read goes on where it was. */
static void test_full_disk(void **state)
{
	struct fetch *ft = open_pattern(MIB);
	struct pool *worker;

	(void)state;
	assert_int_equal(pool_new(1, &worker), 0);
	fetcher_set_worker(fetcher, worker);
	read_ok(ft, 0, MIB);
	fetch_close(ft);
	assert_int_equal(cache_used(cache), MIB);
	ft = open_pattern(4 * MIB);
	unlinked = 0;
	full = true;
	read_ok(ft, 0, 4 * MIB);
	assert_int_equal(unlinked, 1);
	assert_false(pthread_equal(writer, unlinker));
	assert_int_equal(cache_used(cache), 0);
	/* Nothing is left to give way: the reader is told, and may try again. */
	fetch_close(ft);
	assert_int_equal(cache_shrink(cache, UINT64_MAX), 4 * MIB);
	ft = open_pattern(2 * MIB);
	full = true;
	assert_int_equal(read_fails(ft, 0, 10, NULL), -ENOSPC);
	full = false;
	read_ok(ft, 0, 2 * MIB);
	fetch_close(ft);
	fetcher_set_worker(fetcher, NULL);
	pool_free(worker);
}

/* A reader's callback may read on and close, on whatever thread it runs. */
struct chain {
	struct reading end;
	struct fetch *ft;
	unsigned left;
};

static void chain_next(void *arg, int err, const char *text, int fd, uint64_t off, size_t len)
{
	struct chain *ch = arg;

	if (over)
		return;
	if (err || !pattern_at(fd, off, len) || !--ch->left) {
		fetch_close(ch->ft);
		reading_done(&ch->end, err, text, -1, off, 0);
		return;
	}
	fetch_read(ch->ft, off + len, 100000, chain_next, ch);
}

static void test_from_callbacks(void **state)
{
	struct chain ch;

	(void)state;
	memset(&ch, 0, sizeof(ch));
	pthread_mutex_init(&ch.end.lock, NULL);
	pthread_cond_init(&ch.end.cond, NULL);
	ch.left = 20;
	ch.ft = open_pattern(4 * MIB);
	fetch_read(ch.ft, 0, 100000, chain_next, &ch);
	assert_int_equal(read_end(&ch.end), 0);
	assert_int_equal(ch.left, 0);
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(temporaries(), 0);
}

#define HAMMER_THREADS 4
#define HAMMER_FILES 3
#define HAMMER_STEPS 40
#define HAMMER_BYTES (20 * MIB + 999)

static char hammer_ids[HAMMER_FILES][API_ID_MAX + 1];

/* Four reads at once, now and then closed without waiting. Returns how much was wrong. */
static unsigned hammer_step(unsigned *seed)
{
	bool early = rand_r(seed) % 4 == 0;
	unsigned i, wrong = 0;
	struct reading r[4];
	struct fetch *ft;

	if (fetch_open(fetcher, hammer_ids[rand_r(seed) % HAMMER_FILES], HAMMER_BYTES, &ft))
		return 1;
	for (i = 0; i < 4; i++)
		read_start(&r[i], ft, (uint64_t)rand_r(seed) % HAMMER_BYTES,
			   (size_t)rand_r(seed) % 100000 + 1);
	if (early)
		fetch_close(ft);
	for (i = 0; i < 4; i++) {
		pthread_mutex_lock(&r[i].lock);
		while (!r[i].answers)
			pthread_cond_wait(&r[i].cond, &r[i].lock);
		if (r[i].err)
			wrong += !(early && r[i].err == -EINTR) && r[i].err != -EHOSTUNREACH;
		else
			wrong += !r[i].right;
		pthread_mutex_unlock(&r[i].lock);
	}
	if (!early)
		fetch_close(ft);
	return wrong;
}

static void *hammer(void *arg)
{
	unsigned *seed = arg, wrong = 0, i;

	for (i = 0; i < HAMMER_STEPS; i++)
		wrong += hammer_step(seed);
	*seed = wrong;
	return NULL;
}

static void test_threads(void **state)
{
	struct api_error err = fake_api_error(API_ERR_CONNECT, 0, "", "the connection broke");
	pthread_t t[HAMMER_THREADS];
	unsigned seeds[HAMMER_THREADS], i;

	(void)state;
	for (i = 0; i < HAMMER_FILES; i++)
		fake_api_add_pattern(api, "f", "batch", HAMMER_BYTES, hammer_ids[i]);
	for (i = 1; i < 20; i++)
		fake_api_fail(api, FAKE_CONTENT, i * 10, 1, &err);
	for (i = 0; i < HAMMER_THREADS; i++) {
		seeds[i] = i + 1;
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &seeds[i]), 0);
	}
	for (i = 0; i < HAMMER_THREADS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(seeds[i], 0);
	}
	assert_true(fake_api_wait_idle(api));
	assert_int_equal(temporaries(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sequential, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handed_on_as_it_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_far, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gaps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backwards, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_most_four, setup, teardown),
		cmocka_unit_test_setup_teardown(test_make_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_split, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ahead_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_range_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_handed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_range_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_range_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_range_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_close_cancels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_api_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_from_callbacks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
