#include "tests/unit/stage_area.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_S 60

/* For areas that a failing test leaves open: removed when the program ends. */
static char left[8][64];

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_left(void)
{
	size_t i;

	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		if (left[i][0])
			nftw(left[i], remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *left_slot(const char *dir)
{
	static bool registered;
	size_t i;

	if (!registered)
		atexit(remove_left);
	registered = true;
	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		if (!strcmp(left[i], dir))
			return left[i];
	fail_msg("too many staging areas open");
	return NULL;
}

static void open_all(struct stage_area *a)
{
	assert_int_equal(statedb_open(a->dir, &a->db), 0);
	assert_int_equal(datadir_open(a->dir, a->db, &a->data), 0);
	a->cfg.db = a->db;
	a->cfg.data = a->data;
	assert_int_equal(staging_open(&a->cfg, &a->sg), 0);
}

void stage_area_open(struct stage_area *a, uint64_t part_size)
{
	const char *tmp = getenv("TMPDIR");

	memset(a, 0, sizeof(*a));
	snprintf(a->dir, sizeof(a->dir), "%s/uploadfs-unit.XXXXXX",
		 tmp && strlen(tmp) < 30 ? tmp : "/tmp");
	assert_non_null(mkdtemp(a->dir));
	memcpy(left_slot(""), a->dir, sizeof(a->dir));
	snprintf(a->staging, sizeof(a->staging), "%s/data", a->dir);
	assert_int_equal(pool_new(2, &a->pool), 0);
	a->cfg.part_size = part_size;
	a->cfg.pool = a->pool;
	open_all(a);
}

void stage_area_reopen(struct stage_area *a)
{
	staging_close(a->sg);
	a->sg = NULL;
	datadir_close(a->data);
	a->data = NULL;
	statedb_close(a->db);
	a->db = NULL;
	open_all(a);
}

void stage_area_close(struct stage_area *a)
{
	staging_close(a->sg);
	datadir_close(a->data);
	statedb_close(a->db);
	pool_free(a->pool);
	nftw(a->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	left_slot(a->dir)[0] = '\0';
}

void stage_put(struct staged *st, uint64_t off, const void *data, uint64_t len)
{
	int fd = -1;

	assert_int_equal(staged_write_begin(st, off, len, &fd), 0);
	assert_int_equal(fd, staged_fd(st));
	assert_int_equal(pwrite(fd, data, len, (off_t)off), len);
	staged_write_end(st, off, len, len);
}

void stage_fill(struct staged *st, uint64_t off, uint64_t len, unsigned seed)
{
	uint32_t *buf = malloc(len + 4), x = seed * 2654435761U + (uint32_t)off + 1;
	uint64_t i;

	assert_non_null(buf);
	for (i = 0; i < len / 4 + 1; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		buf[i] = x;
	}
	stage_put(st, off, buf, len);
	free(buf);
}

void stage_md5_of(int fd, uint64_t size, char ret_hex[DIGEST_HEX_SIZE])
{
	struct digest *d = digest_new();
	static char buf[1 << 16];
	uint64_t at = 0;
	ssize_t n;

	assert_non_null(d);
	while (at < size) {
		n = pread(fd, buf, size - at < sizeof(buf) ? size - at : sizeof(buf), (off_t)at);
		assert_true(n > 0);
		assert_int_equal(digest_update(d, buf, (size_t)n), 0);
		at += (uint64_t)n;
	}
	assert_int_equal(digest_hex(d, ret_hex), 0);
	digest_free(d);
}

void stage_wait(bool (*cond)(void *arg), void *arg)
{
	struct timespec pause = { 0, 1000000 };
	time_t until = time(NULL) + DEADLINE_S;

	while (!cond(arg)) {
		if (time(NULL) > until)
			fail_msg("waited in vain");
		nanosleep(&pause, NULL);
	}
}

static bool md5_known(void *arg)
{
	char hex[DIGEST_HEX_SIZE];

	return staged_md5(arg, hex) != -EAGAIN;
}

void stage_check_md5(struct staged *st)
{
	char want[DIGEST_HEX_SIZE], got[DIGEST_HEX_SIZE];
	struct stat sb;

	assert_true(staged_seal(st));
	stage_wait(md5_known, st);
	assert_int_equal(fstat(staged_fd(st), &sb), 0);
	assert_int_equal(sb.st_size, staged_size(st));
	stage_md5_of(staged_fd(st), staged_size(st), want);
	assert_int_equal(staged_md5(st, got), 0);
	assert_string_equal(got, want);
}

static void count(struct stage_hooks *h, unsigned *counter)
{
	pthread_mutex_lock(&h->lock);
	(*counter)++;
	pthread_cond_broadcast(&h->cond);
	pthread_mutex_unlock(&h->lock);
}

static void on_fill(void *arg)
{
	count(arg, &((struct stage_hooks *)arg)->fill);
}

static void on_quiet(void *arg)
{
	count(arg, &((struct stage_hooks *)arg)->quiet);
}

static void on_digest(void *arg)
{
	count(arg, &((struct stage_hooks *)arg)->digest);
}

void stage_hooks_init(struct stage_hooks *h, struct staged *st)
{
	const struct staged_hooks hooks = {
		.on_fill = on_fill, .on_quiet = on_quiet, .on_digest = on_digest, .arg = h
	};

	memset(h, 0, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->cond, NULL);
	staged_set_hooks(st, &hooks);
}

void stage_hooks_wait(struct stage_hooks *h, const unsigned *counter, unsigned want)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_S;
	pthread_mutex_lock(&h->lock);
	while (!rc && *counter < want)
		rc = pthread_cond_timedwait(&h->cond, &h->lock, &until);
	pthread_mutex_unlock(&h->lock);
	assert_int_equal(rc, 0);
}

unsigned stage_hooks_get(struct stage_hooks *h, const unsigned *counter)
{
	unsigned ret;

	pthread_mutex_lock(&h->lock);
	ret = *counter;
	pthread_mutex_unlock(&h->lock);
	return ret;
}

bool stage_exists(const struct stage_area *a, const char *id, const char *ending)
{
	char path[160];
	struct stat sb;

	if (!strcmp(ending, ".rec"))
		return files_has(a->db, id);
	snprintf(path, sizeof(path), "%s/%s%s", a->staging, id, ending);
	return !lstat(path, &sb);
}
