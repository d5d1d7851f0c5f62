/* attrs: what comes back after a reopen, sweeps, names of all kinds, refused changes, threads. */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/state/attrs.h"
#include "fs/state/store.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(SANITIZED)
/* Declared here: the header is not installed with gcc. */
size_t __sanitizer_get_current_allocated_bytes(void);
#define allocated() __sanitizer_get_current_allocated_bytes()
#else
#if __GLIBC_PREREQ(2, 33)
#define MALLINFO mallinfo2
#else
#define MALLINFO mallinfo
#endif
static size_t allocated(void)
{
	struct MALLINFO i = MALLINFO();

	return (size_t)i.uordblks + (size_t)i.hblkhd;
}
#endif

static char dir[] = "/tmp/test_state_attrs.XXXXXX";
static struct statedb *db;

static int remove_one(const char *name, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	return ftw->level ? remove(name) : 0;
}

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	return 0;
}

/* After each test, failed ones too. */
static int clear_dir(void **state)
{
	(void)state;
	statedb_close(db);
	db = NULL;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static struct attrs *reopen(struct attrs *m)
{
	struct attrs *ret = NULL;

	attrs_close(m);
	statedb_close(db);
	db = NULL;
	assert_int_equal(statedb_open(dir, &db), 0);
	assert_int_equal(attrs_open(db, &ret), 0);
	return ret;
}

/* Attributes that follow from n, different for each n. */
static struct attr_set attr_of(uint32_t n)
{
	struct attr_set a = {
		.mode = n & 07777,
		.uid = n,
		.gid = ~n,
		.has_mtime = n % 3 != 0,
	};

	if (a.has_mtime) {
		a.mtime_s = n % 2 ? (int64_t)n << 20 : -(int64_t)n;
		a.mtime_ns = n % 1000000000;
	}
	return a;
}

static bool attr_is(const struct attr_set *a, uint32_t n)
{
	struct attr_set b = attr_of(n);

	return a->mode == b.mode && a->uid == b.uid && a->gid == b.gid &&
	       a->has_mtime == b.has_mtime && a->mtime_s == b.mtime_s && a->mtime_ns == b.mtime_ns;
}

static int set(struct attrs *m, const char *id, uint32_t n)
{
	struct attr_set a = attr_of(n);

	return attrs_set(m, id, &a);
}

static int set_dir(struct attrs *m, const char *purpose, const char *name, uint32_t n)
{
	struct attr_set a = attr_of(n);

	return attrs_dir_set(m, purpose, name, &a);
}

static bool has(struct attrs *m, const char *id)
{
	struct attr_set a;

	return attrs_get(m, id, &a);
}

static bool is(struct attrs *m, const char *id, uint32_t n)
{
	struct attr_set a;

	memset(&a, 0xee, sizeof(a));
	return attrs_get(m, id, &a) && attr_is(&a, n);
}

static const char *id_of(unsigned n, char ret[64])
{
	snprintf(ret, 64, "file-%08x", n);
	return ret;
}

/* What attrs_dir_each() tells: "PURPOSE:PATH=UID;" of each, in its order. */
struct seen {
	char *text;
	size_t len;
	FILE *out;
};

static void see_dir(void *arg, const char *purpose, const char *name, const struct attr_set *attr)
{
	struct seen *s = arg;

	assert_true(attr_is(attr, attr->uid));
	fprintf(s->out, "%s:%s=%u;", purpose, name, attr->uid);
}

static void assert_dirs(struct attrs *m, const char *want)
{
	struct seen s = { .text = NULL };

	s.out = open_memstream(&s.text, &s.len);
	assert_non_null(s.out);
	attrs_dir_each(m, see_dir, &s);
	fclose(s.out);
	assert_string_equal(s.text, want);
	free(s.text);
}

static void test_round_trip(void **state)
{
	struct attr_set stray = { .mode = 1, .mtime_s = 5, .mtime_ns = 6 }, a;
	struct attr_set most = { UINT32_MAX, UINT32_MAX, UINT32_MAX, true, INT64_MAX, UINT32_MAX };
	struct attr_set least = { 0, 0, 0, true, INT64_MIN, 0 };
	struct attrs *m = reopen(NULL);
	unsigned i;

	(void)state;
	assert_false(has(m, "file-1"));
	assert_int_equal(set(m, "file-1", 1), 0);
	assert_int_equal(set(m, "file-2", 2), 0);
	assert_int_equal(set(m, "file-2", 3), 0);
	assert_int_equal(set(m, "gone", 4), 0);
	attrs_forget(m, "gone");
	attrs_forget(m, "never there");
	assert_int_equal(attrs_set(m, "stray", &stray), 0);
	assert_int_equal(attrs_set(m, "most", &most), 0);
	assert_int_equal(attrs_set(m, "least", &least), 0);
	assert_int_equal(set_dir(m, "batch", "empty", 7), 0);
	for (i = 0; i < 3; i++) {
		assert_true(is(m, "file-1", 1));
		assert_true(is(m, "file-2", 3));
		assert_false(has(m, "gone"));
		assert_true(attrs_get(m, "stray", &a));
		assert_true(a.mode == 1 && !a.has_mtime && !a.mtime_s && !a.mtime_ns);
		assert_true(attrs_get(m, "most", &a));
		assert_true(a.mode == UINT32_MAX && a.uid == UINT32_MAX && a.gid == UINT32_MAX);
		assert_true(a.mtime_s == INT64_MAX && a.mtime_ns == UINT32_MAX);
		assert_true(attrs_get(m, "least", &a));
		assert_true(a.has_mtime && a.mtime_s == INT64_MIN);
		assert_dirs(m, "batch:empty=7;");
		m = reopen(m);
	}
	attrs_close(m);
	attrs_close(NULL);
}

static void test_same_again_writes_nothing(void **state)
{
	struct attrs *m = reopen(NULL);
	uint64_t seq;

	(void)state;
	assert_int_equal(set(m, "x", 1), 0);
	seq = statedb_seq(db);
	assert_int_equal(set(m, "x", 1), 0);
	attrs_forget(m, "y");
	assert_int_equal(attrs_dir_forget(m, "p", "x"), 0);
	assert_true(statedb_seq(db) == seq);
	assert_int_equal(set(m, "x", 2), 0);
	assert_true(statedb_seq(db) > seq);
	attrs_close(m);
}

/* A change of one field alone is a change. */
static void test_each_field(void **state)
{
	const struct attr_set base = { 1, 2, 3, true, 4, 5 };
	struct attr_set v[6] = { base, base, base, base, base, base }, a;
	struct attrs *m = reopen(NULL);
	unsigned i;

	(void)state;
	v[0].mode = v[1].uid = v[2].gid = v[4].mtime_ns = 9;
	v[3].mtime_s = 9;
	v[5].has_mtime = false;
	for (i = 0; i < 6; i++) {
		assert_int_equal(attrs_set(m, "x", &base), 0);
		assert_int_equal(attrs_set(m, "x", &v[i]), 0);
		m = reopen(m);
		assert_true(attrs_get(m, "x", &a));
		assert_int_equal(a.mode, v[i].mode);
		assert_int_equal(a.uid, v[i].uid);
		assert_int_equal(a.gid, v[i].gid);
		assert_int_equal(a.has_mtime, v[i].has_mtime);
		assert_true(!a.has_mtime || a.mtime_s == v[i].mtime_s);
		assert_true(!a.has_mtime || a.mtime_ns == v[i].mtime_ns);
	}
	attrs_close(m);
}

/* A daemon that is killed has lost nothing: each change went out at once. */
static void test_kill(void **state)
{
	struct attrs *m = NULL;
	struct statedb *own = NULL;
	int status = 0;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (!statedb_open(dir, &own) && !attrs_open(own, &m) && !set(m, "a", 1) &&
		    !set(m, "b", 2)) {
			attrs_forget(m, "a");
			raise(SIGKILL);
		}
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	m = reopen(NULL);
	assert_false(has(m, "a"));
	assert_true(is(m, "b", 2));
	attrs_close(m);
}

static void assert_numbered(struct attrs *m, unsigned first, unsigned count, uint32_t plus)
{
	char id[64];
	unsigned i;

	for (i = first; i < first + count; i++)
		assert_true(is(m, id_of(i, id), i + plus));
}

static bool keep_none(void *arg, const char *file_id)
{
	(void)arg;
	(void)file_id;
	return false;
}

static void test_many(void **state)
{
	const unsigned count = 20000;
	struct attrs *m = reopen(NULL);
	size_t before, used;
	char id[64];
	unsigned i;

	(void)state;
	for (i = 0; i < count; i++)
		assert_int_equal(set(m, id_of(i, id), i), 0);
	m = reopen(m);
	attrs_close(m);
	before = allocated();
	assert_int_equal(attrs_open(db, &m), 0);
	used = allocated() - before;
	assert_true(used > count * sizeof(struct attr_set));
	assert_true(used / count <= 150 + strlen(id));
	assert_numbered(m, 0, count, 0);
	attrs_sweep_begin(m);
	attrs_sweep_end(m, keep_none, NULL);
	m = reopen(m);
	assert_false(has(m, id_of(count - 1, id)));
	assert_false(has(m, id_of(0, id)));
	attrs_close(m);
}

static const char *const names[] = {
	"",
	" ",
	"%",
	"%41",
	"A",
	"%2541",
	"\n",
	"a\nb",
	"\r\n",
	"../../etc",
	"a/../b",
	"file x 1 2 3",
	"x\t",
	".",
	"\xff\xfe",
	"\x01",
	"a b",
	"a  b",
	"\xc3\xa4\xc3",
	"a/b/",
	"//",
	"!",
	"nofile",
	"%00",
	"-",
	"\xe2\x80\xae\x7f",
	"a%20b",
	" a",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

struct hostile {
	unsigned count;
	bool seen[NAMES][NAMES];
};

static void see_hostile(void *arg, const char *purpose, const char *name,
			const struct attr_set *attr)
{
	struct hostile *h = arg;
	uint32_t n = attr->uid;

	assert_true(n < NAMES * NAMES && attr_is(attr, n));
	assert_string_equal(purpose, names[n / NAMES]);
	assert_string_equal(name, names[n % NAMES]);
	assert_false(h->seen[n / NAMES][n % NAMES]);
	h->seen[n / NAMES][n % NAMES] = true;
	h->count++;
}

static bool has_empty(const char *name)
{
	return !*name || !strcmp(name, "a/b/") || !strcmp(name, "//");
}

/* Each name is its own, as an id, a purpose and a path. */
static void test_hostile_names(void **state)
{
	struct attrs *m = reopen(NULL);
	struct hostile h;
	uint32_t i, k;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		assert_int_equal(set(m, names[i], i), 0);
		for (k = 0; k < NAMES; k++)
			assert_int_equal(set_dir(m, names[i], names[k], (uint32_t)(i * NAMES + k)),
					 has_empty(names[k]) ? -EINVAL : 0);
	}
	for (k = 0; k < 2; k++) {
		for (i = 0; i < NAMES; i++)
			assert_true(is(m, names[i], i));
		memset(&h, 0, sizeof(h));
		attrs_dir_each(m, see_hostile, &h);
		assert_int_equal(h.count, NAMES * (NAMES - 3));
		m = reopen(m);
	}
	for (i = 0; i < NAMES; i++)
		attrs_forget(m, names[i]);
	attrs_dir_forget(m, "a b", "a");
	m = reopen(m);
	for (i = 0; i < NAMES; i++)
		assert_false(has(m, names[i]));
	memset(&h, 0, sizeof(h));
	attrs_dir_each(m, see_hostile, &h);
	assert_int_equal(h.count, NAMES * (NAMES - 3));
	attrs_close(m);
}

static int take_count(void *arg, const struct statedb_row *row)
{
	*(int64_t *)arg = statedb_row_int(row, 0);
	return 0;
}

static int64_t count_rows(const char *sql)
{
	int64_t n = -1;

	statedb_lock(db);
	assert_int_equal(statedb_each(db, sql, NULL, take_count, &n), 0);
	statedb_unlock(db);
	return n;
}

static void count_dir(void *arg, const char *purpose, const char *name, const struct attr_set *attr)
{
	assert_true(attr_is(attr, (uint32_t)strlen(name)));
	assert_string_equal(purpose, "fine-tune");
	++*(unsigned *)arg;
}

static void test_long_names(void **state)
{
	struct attrs *m = reopen(NULL);
	char *name = malloc(20001);
	unsigned count = 0;
	uint64_t seq;

	(void)state;
	assert_non_null(name);
	memset(name, 0xff, 20000);
	name[20000] = '\0';
	assert_int_equal(set_dir(m, "fine-tune", name + 20000 - PATH_MAX, PATH_MAX), 0);
	seq = statedb_seq(db);
	assert_int_equal(set_dir(m, "fine-tune", name, 3), -ENAMETOOLONG);
	assert_int_equal(attrs_dir_forget(m, "fine-tune", name), -ENAMETOOLONG);
	assert_true(statedb_seq(db) == seq);
	/* As deep as a path of the kernel can be. */
	for (unsigned i = 0; i < PATH_MAX; i++)
		name[i] = i % 2 ? '/' : 'n';
	name[PATH_MAX - 1] = '\0';
	assert_int_equal(set_dir(m, "fine-tune", name, PATH_MAX - 1), 0);
	m = reopen(m);
	attrs_dir_each(m, count_dir, &count);
	assert_int_equal(count, 2);
	assert_int_equal(attrs_dir_forget(m, "fine-tune", name), 0);
	assert_int_equal(count_rows("SELECT count(*) FROM dir"), 2);
	attrs_close(m);
	free(name);
}

static void test_dirs_in_order(void **state)
{
	struct attrs *m = reopen(NULL);

	(void)state;
	assert_dirs(m, "");
	assert_int_equal(set_dir(m, "vision", "z", 1), 0);
	assert_int_equal(set_dir(m, "batch", "a/b/c", 2), 0);
	assert_int_equal(set_dir(m, "batch", "a-b", 3), 0);
	assert_int_equal(set_dir(m, "batch", "a", 4), 0);
	assert_int_equal(set_dir(m, "batch", "a/b", 5), 0);
	assert_int_equal(set_dir(m, "batch", "\xff", 7), 0);
	assert_int_equal(set_dir(m, "batch", "\xff/x", 8), 0);
	assert_int_equal(set(m, "batch", 9), 0);
	assert_dirs(m, "batch:a=4;batch:a-b=3;batch:a/b=5;batch:a/b/c=2;"
		       "batch:\xff=7;batch:\xff/x=8;vision:z=1;");
	assert_int_equal(set_dir(m, "batch", "a", 10), 0);
	attrs_dir_forget(m, "batch", "a-b");
	attrs_dir_forget(m, "batch", "z");
	attrs_dir_forget(m, "batch", "\xff/x");
	attrs_forget(m, "batch");
	m = reopen(m);
	assert_dirs(m, "batch:a=10;batch:a/b=5;batch:a/b/c=2;batch:\xff=7;vision:z=1;");
	attrs_close(m);
}

static void test_dirs_moved(void **state)
{
	struct attrs *m = reopen(NULL);

	(void)state;
	assert_int_equal(set_dir(m, "batch", "a", 1), 0);
	assert_int_equal(set_dir(m, "batch", "a/b", 2), 0);
	assert_int_equal(set_dir(m, "batch", "x/y/z", 3), 0);
	assert_int_equal(attrs_dir_move(m, "batch", "a", "vision", "q/r"), 0);
	assert_dirs(m, "batch:x/y/z=3;vision:q/r=1;vision:q/r/b=2;");
	/* What stands between may be moved, too; what is not known needs no row. */
	assert_int_equal(attrs_dir_move(m, "batch", "x/y", "batch", "y"), 0);
	assert_int_equal(attrs_dir_move(m, "batch", "none", "batch", "a"), 0);
	assert_int_equal(attrs_dir_move(m, "batch", "y", "vision", "q/r"), -EEXIST);
	assert_int_equal(attrs_dir_move(m, "batch", "y", "batch", ""), -EINVAL);
	m = reopen(m);
	assert_dirs(m, "batch:y/z=3;vision:q/r=1;vision:q/r/b=2;");
	/* A parent that is forgotten stays as what leads to its children. */
	assert_int_equal(attrs_dir_forget(m, "vision", "q/r"), 0);
	assert_dirs(m, "batch:y/z=3;vision:q/r/b=2;");
	assert_int_equal(attrs_dir_forget(m, "vision", "q/r/b"), 0);
	assert_int_equal(attrs_dir_forget(m, "batch", "y/z"), 0);
	assert_int_equal(count_rows("SELECT count(*) FROM dir"), 0);
	attrs_close(m);
}

static void see_lifetime(void *arg, const char *purpose, const char *path, uint32_t seconds)
{
	struct seen *s = arg;

	fprintf(s->out, "%s:%s=%u;", purpose, path, seconds);
}

static void assert_lifetimes(struct attrs *m, const char *want)
{
	struct seen s = { .text = NULL };

	s.out = open_memstream(&s.text, &s.len);
	assert_non_null(s.out);
	attrs_dir_each_number(m, ATTRS_LIFETIME, see_lifetime, &s);
	fclose(s.out);
	assert_string_equal(s.text, want);
	free(s.text);
}

/* It moves and goes with its directory, and keeps the row of one that nobody made. */
static void test_lifetimes(void **state)
{
	struct attrs *m = reopen(NULL);

	(void)state;
	assert_int_equal(set_dir(m, "batch", "a", 1), 0);
	assert_int_equal(set_dir(m, "batch", "a/b", 2), 0);
	assert_int_equal(attrs_dir_set_number(m, ATTRS_LIFETIME, "vision", "", 3600), 0);
	assert_int_equal(attrs_dir_set_number(m, ATTRS_LIFETIME, "batch", "a", 7200), 0);
	assert_int_equal(attrs_dir_set_number(m, ATTRS_LIFETIME, "batch", "a", 7201), 0);
	assert_int_equal(attrs_dir_set_number(m, ATTRS_LIFETIME, "batch", "//", 1), -EINVAL);
	assert_int_equal(attrs_dir_move(m, "batch", "a", "vision", "q"), 0);
	m = reopen(m);
	assert_lifetimes(m, "vision:=3600;vision:q=7201;");
	assert_dirs(m, "vision:q=1;vision:q/b=2;");
	assert_int_equal(attrs_dir_forget(m, "vision", "q/b"), 0);
	assert_int_equal(attrs_dir_forget(m, "vision", "q"), 0);
	assert_lifetimes(m, "vision:=3600;");
	assert_int_equal(attrs_dir_forget(m, "vision", ""), -EINVAL);
	assert_int_equal(attrs_dir_set_number(m, ATTRS_LIFETIME, "vision", "", 0), 0);
	assert_int_equal(attrs_dir_set_number(m, ATTRS_LIFETIME, "vision", "none/here", 0), 0);
	assert_int_equal(count_rows("SELECT count(*) FROM dir"), 0);
	assert_int_equal(count_rows("SELECT count(*) FROM lifetime"), 0);
	attrs_close(m);
}

struct sweep {
	struct attrs *m;
	unsigned asked;
};

/* Even numbers stay. Of the odd ones, 7 is set anew just before it is condemned. */
static bool keep_even(void *arg, const char *file_id)
{
	struct sweep *s = arg;
	unsigned long n = strtoul(file_id + 5, NULL, 16);

	s->asked++;
	if (n == 7)
		assert_int_equal(set(s->m, file_id, 7), 0);
	if (s->asked == 1)
		assert_int_equal(set(s->m, "file-ffff", 1), 0);
	return n % 2 == 0;
}

/* Those below 1000 are listed, but for 7. */
static void test_sweep(void **state)
{
	struct sweep s = { .m = reopen(NULL) };
	unsigned i, round;
	char id[64];

	(void)state;
	attrs_sweep_begin(s.m);
	attrs_sweep_mark(s.m, "file-1");
	attrs_sweep_end(s.m, keep_even, &s);
	assert_int_equal(s.asked, 0);
	assert_int_equal(set_dir(s.m, "batch", "odd", 1), 0);
	for (i = 0; i < 3000; i++)
		assert_int_equal(set(s.m, id_of(i, id), i), 0);
	attrs_sweep_begin(s.m);
	for (i = 0; i < 1000; i++)
		if (i != 7)
			attrs_sweep_mark(s.m, id_of(i, id));
	assert_int_equal(set(s.m, id_of(2001, id), 5), 0);
	attrs_sweep_end(s.m, keep_even, &s);
	assert_int_equal(s.asked, 2000);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 3000; i++)
			assert_int_equal(has(s.m, id_of(i, id)),
					 i < 1000 || i % 2 == 0 || i == 2001);
		assert_true(is(s.m, "file-ffff", 1));
		assert_dirs(s.m, "batch:odd=1;");
		s.m = reopen(s.m);
	}
	attrs_close(s.m);
}

/* A change that the store refuses leaves all as it was. */
static void test_refused(void **state)
{
	struct attrs *m = reopen(NULL);

	(void)state;
	assert_int_equal(set(m, "x", 1), 0);
	assert_int_equal(set(m, "y", 2), 0);
	assert_int_equal(set_dir(m, "p", "d", 3), 0);
	assert_int_equal(statedb_define(db, "CREATE TEMP TRIGGER no BEFORE INSERT ON attr BEGIN"
					    " SELECT raise(ABORT, 'no'); END"),
			 0);
	assert_int_equal(set(m, "x", 11), -EEXIST);
	assert_int_equal(set(m, "new", 12), -EEXIST);
	assert_int_equal(set(m, "x", 1), 0);
	assert_true(is(m, "x", 1));
	assert_false(has(m, "new"));
	attrs_forget(m, "y");
	m = reopen(m);
	assert_true(is(m, "x", 1));
	assert_false(has(m, "y"));
	assert_false(has(m, "new"));
	assert_dirs(m, "p:d=3;");
	assert_int_equal(set(m, "new", 15), 0);
	attrs_close(m);
}

#define WORKERS 4
#define OWN 40
#define ROUNDS 30

struct worker {
	struct attrs *m;
	unsigned number;
	atomic_bool *stop;
	atomic_uint *bad;
};

/* Own entries are as this thread left them; the shared ones are whole, whoever set them. */
static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned i, round, bad = 0;
	struct attr_set a;
	char id[64];

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < OWN; i++) {
			id_of(w->number * OWN + i, id);
			bad += set(w->m, id, i + round) != 0;
			bad += !is(w->m, id, i + round);
			bad += set(w->m, "shared", w->number * 1000 + round) != 0;
			bad += !attrs_get(w->m, "shared", &a) || !attr_is(&a, a.uid);
			bad += set_dir(w->m, "p", id, i + round) != 0;
			if (i % 4 == 0) {
				attrs_forget(w->m, id);
				attrs_dir_forget(w->m, "p", id);
				bad += has(w->m, id);
			}
		}
	}
	atomic_fetch_add(w->bad, bad);
	return NULL;
}

static bool keep_all(void *arg, const char *file_id)
{
	(void)arg;
	return strncmp(file_id, "doomed", 6) != 0;
}

static void check_dir(void *arg, const char *purpose, const char *name, const struct attr_set *attr)
{
	struct worker *w = arg;

	(void)name;
	if (strcmp(purpose, "p") || !attr_is(attr, attr->uid))
		atomic_fetch_add(w->bad, 1);
}

static void *watch(void *arg)
{
	struct worker *w = arg;

	do {
		if (set(w->m, "doomed", 1))
			atomic_fetch_add(w->bad, 1);
		attrs_sweep_begin(w->m);
		attrs_sweep_end(w->m, keep_all, NULL);
		if (has(w->m, "doomed"))
			atomic_fetch_add(w->bad, 1);
		attrs_dir_each(w->m, check_dir, w);
	} while (!atomic_load(w->stop));
	return NULL;
}

static void count_any(void *arg, const char *purpose, const char *name, const struct attr_set *attr)
{
	(void)purpose;
	(void)name;
	(void)attr;
	++*(unsigned *)arg;
}

static void assert_worked(struct attrs *m)
{
	unsigned i, dirs = 0;
	struct attr_set a;
	char id[64];

	for (i = 0; i < WORKERS * OWN; i++) {
		id_of(i, id);
		assert_int_equal(has(m, id), i % OWN % 4 != 0);
		assert_true(i % OWN % 4 == 0 || is(m, id, i % OWN + ROUNDS - 1));
	}
	assert_true(attrs_get(m, "shared", &a) && attr_is(&a, a.uid));
	assert_int_equal(a.uid % 1000, ROUNDS - 1);
	attrs_dir_each(m, count_any, &dirs);
	assert_int_equal(dirs, WORKERS * OWN * 3 / 4);
}

static void test_threads(void **state)
{
	struct worker w[WORKERS + 1];
	pthread_t t[WORKERS + 1];
	atomic_bool stop = false;
	atomic_uint bad = 0;
	struct attrs *m = reopen(NULL);
	unsigned i;

	(void)state;
	for (i = 0; i <= WORKERS; i++) {
		w[i] = (struct worker){ .m = m, .number = i, .stop = &stop, .bad = &bad };
		assert_int_equal(pthread_create(&t[i], NULL, i < WORKERS ? work : watch, &w[i]), 0);
	}
	for (i = 0; i <= WORKERS; i++) {
		if (i == WORKERS)
			atomic_store(&stop, true);
		pthread_join(t[i], NULL);
	}
	assert_int_equal(atomic_load(&bad), 0);
	assert_worked(m);
	m = reopen(m);
	assert_worked(m);
	attrs_close(m);
}

#define TEST(f) cmocka_unit_test_teardown(f, clear_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip), TEST(test_same_again_writes_nothing),
		TEST(test_each_field), TEST(test_kill),
		TEST(test_many),       TEST(test_hostile_names),
		TEST(test_long_names), TEST(test_dirs_in_order),
		TEST(test_dirs_moved), TEST(test_sweep),
		TEST(test_refused),    TEST(test_threads),
		TEST(test_lifetimes),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
