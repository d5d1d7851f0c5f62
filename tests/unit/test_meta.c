/* meta: what comes back after a reopen, damage of every kind, rewriting, full disks, threads. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/meta/meta.h"

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
static size_t allocated(void)
{
	struct mallinfo2 i = mallinfo2();

	return i.uordblks + i.hblkhd;
}
#endif

#define REWRITE_MIN 65536

static char dir[] = "/tmp/test_meta.XXXXXX";
static char path[64], tmp_path[64];

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
	snprintf(path, sizeof(path), "%s/meta", dir);
	snprintf(tmp_path, sizeof(tmp_path), "%s/meta.tmp", dir);
	return 0;
}

/* After each test, failed ones too. */
static int clear_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static struct meta *reopen(struct meta *m)
{
	struct meta *ret = NULL;

	meta_close(m);
	assert_int_equal(meta_open(path, &ret), 0);
	return ret;
}

/* Attributes that follow from n, different for each n. */
static struct meta_attr attr_of(uint32_t n)
{
	struct meta_attr a = {
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

static bool attr_is(const struct meta_attr *a, uint32_t n)
{
	struct meta_attr b = attr_of(n);

	return a->mode == b.mode && a->uid == b.uid && a->gid == b.gid &&
	       a->has_mtime == b.has_mtime && a->mtime_s == b.mtime_s && a->mtime_ns == b.mtime_ns;
}

static int set(struct meta *m, const char *id, uint32_t n)
{
	struct meta_attr a = attr_of(n);

	return meta_set(m, id, &a);
}

static int set_dir(struct meta *m, const char *purpose, const char *name, uint32_t n)
{
	struct meta_attr a = attr_of(n);

	return meta_dir_set(m, purpose, name, &a);
}

static bool has(struct meta *m, const char *id)
{
	struct meta_attr a;

	return meta_get(m, id, &a);
}

static bool is(struct meta *m, const char *id, uint32_t n)
{
	struct meta_attr a;

	memset(&a, 0xee, sizeof(a));
	return meta_get(m, id, &a) && attr_is(&a, n);
}

static const char *id_of(unsigned n, char ret[64])
{
	snprintf(ret, 64, "file-%08x", n);
	return ret;
}

static off_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) ? -1 : st.st_size;
}

static char *read_file(size_t *ret_len)
{
	off_t size = size_of(path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data = malloc((size_t)size + 1);

	assert_true(fd >= 0 && data);
	assert_int_equal(read(fd, data, (size_t)size), size);
	close(fd);
	*ret_len = (size_t)size;
	return data;
}

static void write_file(const char *data, size_t len, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* What meta_dir_each() tells: "PURPOSE:PATH=UID;" of each, in its order. */
struct seen {
	char *text;
	size_t len;
	FILE *out;
};

static void see_dir(void *arg, const char *purpose, const char *name, const struct meta_attr *attr)
{
	struct seen *s = arg;

	assert_true(attr_is(attr, attr->uid));
	fprintf(s->out, "%s:%s=%u;", purpose, name, attr->uid);
}

static void assert_dirs(struct meta *m, const char *want)
{
	struct seen s = { .text = NULL };

	s.out = open_memstream(&s.text, &s.len);
	assert_non_null(s.out);
	meta_dir_each(m, see_dir, &s);
	fclose(s.out);
	assert_string_equal(s.text, want);
	free(s.text);
}

static void test_round_trip(void **state)
{
	struct meta_attr stray = { .mode = 1, .mtime_s = 5, .mtime_ns = 6 }, a;
	struct meta_attr most = { UINT32_MAX, UINT32_MAX, UINT32_MAX, true, INT64_MAX, UINT32_MAX };
	struct meta_attr least = { 0, 0, 0, true, INT64_MIN, 0 };
	struct meta *m = reopen(NULL);
	struct stat st;
	unsigned i;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_false(has(m, "file-1"));
	assert_int_equal(set(m, "file-1", 1), 0);
	assert_int_equal(set(m, "file-2", 2), 0);
	assert_int_equal(set(m, "file-2", 3), 0);
	assert_int_equal(set(m, "gone", 4), 0);
	meta_forget(m, "gone");
	meta_forget(m, "never there");
	assert_int_equal(meta_set(m, "stray", &stray), 0);
	assert_int_equal(meta_set(m, "most", &most), 0);
	assert_int_equal(meta_set(m, "least", &least), 0);
	assert_int_equal(set_dir(m, "batch", "empty", 7), 0);
	for (i = 0; i < 3; i++) {
		assert_true(is(m, "file-1", 1));
		assert_true(is(m, "file-2", 3));
		assert_false(has(m, "gone"));
		assert_true(meta_get(m, "stray", &a));
		assert_true(a.mode == 1 && !a.has_mtime && !a.mtime_s && !a.mtime_ns);
		assert_true(meta_get(m, "most", &a));
		assert_true(a.mode == UINT32_MAX && a.uid == UINT32_MAX && a.gid == UINT32_MAX);
		assert_true(a.mtime_s == INT64_MAX && a.mtime_ns == UINT32_MAX);
		assert_true(meta_get(m, "least", &a));
		assert_true(a.has_mtime && a.mtime_s == INT64_MIN);
		assert_dirs(m, "batch:empty=7;");
		m = reopen(m);
	}
	meta_close(m);
	meta_close(NULL);
}

static void test_same_again_writes_nothing(void **state)
{
	struct meta *m = reopen(NULL);
	off_t size;

	(void)state;
	assert_int_equal(set(m, "x", 1), 0);
	assert_int_equal(set_dir(m, "p", "d", 3), 0);
	size = size_of(path);
	assert_int_equal(set(m, "x", 1), 0);
	assert_int_equal(set_dir(m, "p", "d", 3), 0);
	meta_forget(m, "y");
	meta_dir_forget(m, "p", "x");
	assert_int_equal(size_of(path), size);
	assert_int_equal(set(m, "x", 2), 0);
	assert_true(size_of(path) > size);
	meta_close(m);
}

/* A change of one field alone is a change. */
static void test_each_field(void **state)
{
	const struct meta_attr base = { 1, 2, 3, true, 4, 5 };
	struct meta_attr v[6] = { base, base, base, base, base, base }, a;
	struct meta *m = reopen(NULL);
	unsigned i;

	(void)state;
	v[0].mode = v[1].uid = v[2].gid = v[4].mtime_ns = 9;
	v[3].mtime_s = 9;
	v[5].has_mtime = false;
	for (i = 0; i < 6; i++) {
		assert_int_equal(meta_set(m, "x", &base), 0);
		assert_int_equal(meta_set(m, "x", &v[i]), 0);
		m = reopen(m);
		assert_true(meta_get(m, "x", &a));
		assert_int_equal(a.mode, v[i].mode);
		assert_int_equal(a.uid, v[i].uid);
		assert_int_equal(a.gid, v[i].gid);
		assert_int_equal(a.has_mtime, v[i].has_mtime);
		assert_true(!a.has_mtime || a.mtime_s == v[i].mtime_s);
		assert_true(!a.has_mtime || a.mtime_ns == v[i].mtime_ns);
	}
	meta_close(m);
}

/* A daemon that is killed has lost nothing: each change went out at once. */
static void test_kill(void **state)
{
	struct meta *m = NULL;
	int status = 0;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (!meta_open(path, &m) && !set(m, "a", 1) && !set(m, "b", 2)) {
			meta_forget(m, "a");
			raise(SIGKILL);
		}
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	m = reopen(NULL);
	assert_false(has(m, "a"));
	assert_true(is(m, "b", 2));
	meta_close(m);
}

#define LINES 6

/* A log of LINES lines, and where each ends. */
static char *make_lines(size_t ends[LINES], size_t *ret_len)
{
	struct meta *m = reopen(NULL);
	char id[64];
	unsigned i;

	for (i = 0; i < LINES; i++) {
		assert_int_equal(set(m, id_of(i, id), i), 0);
		ends[i] = (size_t)size_of(path);
	}
	meta_close(m);
	return read_file(ret_len);
}

static void test_damage_at_every_byte(void **state)
{
	static const unsigned char with[] = { 0x01, 0x20, 0x80, 0xff };
	size_t ends[LINES], len, at, k, begin;
	struct meta *m;
	char id[64], *data;
	unsigned i;
	bool hit;

	(void)state;
	data = make_lines(ends, &len);
	for (at = 0; at < len; at++) {
		for (k = 0; k < sizeof(with); k++) {
			data[at] = (char)(data[at] ^ with[k]);
			write_file(data, len, O_TRUNC);
			data[at] = (char)(data[at] ^ with[k]);
			m = reopen(NULL);
			for (i = 0; i < LINES; i++) {
				/* A damaged newline costs the line behind it as well. */
				begin = i ? ends[i - 1] - 1 : 0;
				hit = at >= begin && at < ends[i];
				assert_int_equal(has(m, id_of(i, id)), !hit);
				assert_true(hit || is(m, id, i));
			}
			meta_close(m);
		}
	}
	free(data);
}

static void test_torn_at_every_byte(void **state)
{
	size_t ends[LINES], len, cut;
	struct meta *m;
	char id[64], *data;
	unsigned i, round;

	(void)state;
	data = make_lines(ends, &len);
	for (cut = 0; cut <= len; cut++) {
		write_file(data, cut, O_TRUNC);
		m = reopen(NULL);
		assert_int_equal(set(m, "behind", 9), 0);
		for (round = 0; round < 2; round++) {
			for (i = 0; i < LINES; i++) {
				assert_int_equal(has(m, id_of(i, id)), cut >= ends[i]);
				assert_true(cut < ends[i] || is(m, id, i));
			}
			assert_true(is(m, "behind", 9));
			m = reopen(m);
		}
		meta_close(m);
	}
	free(data);
}

/* Appends the words as a line with a right checksum. */
static void add_line(const char *words)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	char line[40000];
	const char *c;
	int n;

	for (c = words; *c; c++)
		h = (h ^ (unsigned char)*c) * 0x100000001b3ULL;
	n = snprintf(line, sizeof(line), "%s%016" PRIx64 "\n", words, h);
	assert_true(n > 0 && (size_t)n < sizeof(line));
	write_file(line, (size_t)n, O_APPEND);
}

static void test_lines_that_do_not_count(void **state)
{
	static const char *const lines[] = {
		"",
		" ",
		"file ",
		"no ",
		"nofile ",
		"dir ",
		"dir p ",
		"dir p q ",
		"dir p q 1 2 ",
		"file x 1 2 ",
		"file x 1 2 3 4 ",
		"file x 1 2 3 4 5 6 ",
		"file x 1 2 3 4 5 6 7 8 9 ",
		"file x 01 2 3 ",
		"file x +1 2 3 ",
		"file x 9 2 3 ",
		"file x 1  2 3 ",
		"file x 1 -2 3 ",
		"file x 1 4294967296 3 ",
		"file x 1 2 3 9223372036854775808 0 ",
		"file x 1 2 3 - 0 ",
		"file x 1 2 3 1 4294967296 ",
		"file %78 1 2 3 ",
		"file %00 1 2 3 ",
		"file x%0 1 2 3 ",
		"file x% 1 2 3 ",
		"file %2f 1 2 3 ",
		"file \xff 1 2 3 ",
		"FILE x 1 2 3 ",
		" file x 1 2 3 ",
		"later x 1 2 3 ",
		"nofile y x ",
		"nodir y ",
		"NOFILE y ",
	};
	struct meta *m = reopen(NULL);
	char id[64], huge[30000];
	size_t i;

	(void)state;
	assert_int_equal(set(m, "y", 8), 0);
	meta_close(m);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		add_line(lines[i]);
	snprintf(huge, sizeof(huge), "file %.*d 1 2 3 ", 29000, 0);
	add_line(huge);
	/* The sum of add_line() is that of the module, else all this shows nothing. */
	add_line("file good 1 2 3 ");
	add_line("file x%2Fz 1 2 3 4 5 ");
	m = reopen(NULL);
	assert_true(is(m, "y", 8));
	assert_true(has(m, "good"));
	assert_true(has(m, "x/z"));
	assert_false(has(m, "x"));
	assert_false(has(m, ""));
	assert_false(has(m, "x%"));
	assert_false(has(m, "x%0"));
	assert_false(has(m, "/"));
	assert_false(has(m, "\xff"));
	assert_false(has(m, id_of(0, id)));
	assert_dirs(m, "");
	meta_close(m);
}

static void test_binary_lines(void **state)
{
	static const size_t sizes[] = { 1, 16383, 16384, 16385, 65535, 65536, 65537, 300000 };
	static const char fill[] = { '\0', 'x', ' ', '%', '\xff' };
	char *junk = malloc(300001), *data;
	struct meta *m = reopen(NULL);
	size_t i, k, len;
	uint32_t r = 1;

	(void)state;
	assert_non_null(junk);
	assert_int_equal(set(m, "first", 1), 0);
	meta_close(m);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (k = 0; k <= sizeof(fill); k++) {
			m = reopen(NULL);
			assert_int_equal(set(m, "before", (uint32_t)i), 0);
			meta_close(m);
			memset(junk, fill[k % sizeof(fill)], sizes[i]);
			for (len = 0; k == sizeof(fill) && len < sizes[i]; len++)
				junk[len] = (char)((r = r * 1103515245 + 12345) >> 16);
			junk[sizes[i]] = '\n';
			data = read_file(&len);
			/* A line of before counts again behind the junk. */
			write_file(junk, sizes[i] + 1, O_APPEND);
			write_file(data, len, O_APPEND);
			write_file(junk, sizes[i], O_APPEND);
			free(data);
			m = reopen(NULL);
			assert_true(is(m, "first", 1));
			assert_true(is(m, "before", (uint32_t)i));
			assert_int_equal(set(m, "after", (uint32_t)k), 0);
			m = reopen(m);
			assert_true(is(m, "after", (uint32_t)k));
			/* What was mostly junk has been written anew without it. */
			assert_true(size_of(path) <= REWRITE_MIN || sizes[i] < 20000);
			meta_close(m);
		}
	}
	free(junk);
}

/* What stands in a line that no buffer holds is no line, nor is what follows on it. */
static void test_endless_lines(void **state)
{
	const size_t buffer = 65536;
	struct meta *m = reopen(NULL);
	char id[64], *junk = malloc(buffer);
	unsigned i;

	(void)state;
	assert_non_null(junk);
	memset(junk, 'x', buffer);
	/* Enough that it isn't written anew without the junk. */
	for (i = 0; i < 4000; i++)
		assert_int_equal(set(m, id_of(i, id), i), 0);
	meta_close(m);
	write_file(junk, buffer, O_APPEND);
	add_line("file evil 1 2 3 ");
	add_line("file good 1 2 3 ");
	write_file(junk, buffer, O_APPEND);
	free(junk);
	m = reopen(NULL);
	assert_int_equal(set(m, "after", 5), 0);
	assert_true(size_of(path) > (off_t)(2 * buffer + 4000 * strlen(id)));
	for (i = 0; i < 2; i++) {
		assert_false(has(m, "evil"));
		assert_true(has(m, "good"));
		assert_true(is(m, "after", 5));
		m = reopen(m);
	}
	meta_close(m);
}

static void assert_numbered(struct meta *m, unsigned first, unsigned count, uint32_t plus)
{
	char id[64];
	unsigned i;

	for (i = first; i < first + count; i++)
		assert_true(is(m, id_of(i, id), i + plus));
}

static void test_rewrite(void **state)
{
	struct meta *m = reopen(NULL);
	unsigned i, round, smaller = 0;
	off_t size, before = 0;
	struct stat st;
	char id[64];

	(void)state;
	for (round = 0; round < 60; round++) {
		for (i = 0; i < 200; i++) {
			assert_int_equal(set(m, id_of(i, id), i + round), 0);
			size = size_of(path);
			assert_true(size < REWRITE_MIN + 200);
			smaller += size < before;
			before = size;
		}
	}
	assert_true(smaller > 2);
	assert_int_equal(access(tmp_path, F_OK), -1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_numbered(m, 0, 200, 59);
	m = reopen(m);
	assert_numbered(m, 0, 200, 59);
	for (i = 0; i < 200; i++)
		meta_forget(m, id_of(i, id));
	m = reopen(m);
	for (i = 0; i < 200; i++)
		assert_false(has(m, id_of(i, id)));
	meta_close(m);
}

/* Live lines are no reason to rewrite, however long the log. */
static void test_live_is_not_rewritten(void **state)
{
	struct meta *m = reopen(NULL);
	struct stat first, last;
	char id[64];
	unsigned i;

	(void)state;
	assert_int_equal(stat(path, &first), 0);
	for (i = 0; i < 5000; i++)
		assert_int_equal(set(m, id_of(i, id), i), 0);
	assert_int_equal(stat(path, &last), 0);
	assert_true(last.st_size > 2 * REWRITE_MIN);
	assert_true(first.st_ino == last.st_ino);
	meta_close(m);
}

static void test_rewrite_fails(void **state)
{
	struct meta *m = reopen(NULL);
	char id[64];
	unsigned i, round;

	(void)state;
	assert_int_equal(mkdir(tmp_path, 0700), 0);
	for (round = 0; round < 20; round++)
		for (i = 0; i < 200; i++)
			assert_int_equal(set(m, id_of(i, id), i + round), 0);
	assert_true(size_of(path) > 2 * REWRITE_MIN);
	m = reopen(m);
	assert_numbered(m, 0, 200, 19);
	/* When it can be done again it is done, if not at the very next change. */
	assert_int_equal(rmdir(tmp_path), 0);
	for (round = 20; round < 40; round++)
		for (i = 0; i < 200; i++)
			assert_int_equal(set(m, id_of(i, id), i + round), 0);
	assert_true(size_of(path) < REWRITE_MIN + 200);
	m = reopen(m);
	assert_numbered(m, 0, 200, 39);
	meta_close(m);
}

static void test_left_over(void **state)
{
	struct meta *m = reopen(NULL);

	(void)state;
	assert_int_equal(set(m, "x", 1), 0);
	meta_close(m);
	assert_int_equal(symlink(path, tmp_path), 0);
	m = reopen(NULL);
	assert_int_equal(access(tmp_path, F_OK), -1);
	assert_true(is(m, "x", 1));
	meta_close(m);
}

static void test_many(void **state)
{
	const unsigned count = 100000;
	struct meta *m = reopen(NULL);
	size_t before, used;
	char id[64];
	unsigned i;

	(void)state;
	before = allocated();
	for (i = 0; i < count; i++)
		assert_int_equal(set(m, id_of(i, id), i), 0);
	used = allocated() - before;
	assert_true(used > count * sizeof(struct meta_attr));
	assert_true(used / count <= 150 + strlen(id));
	meta_close(m);

	before = allocated();
	m = reopen(NULL);
	used = allocated() - before;
	assert_true(used > count * sizeof(struct meta_attr));
	assert_true(used / count <= 150 + strlen(id));
	assert_numbered(m, 0, count, 0);
	for (i = 0; i < count; i++)
		meta_forget(m, id_of(i, id));
	assert_true(size_of(path) < REWRITE_MIN + 200);
	m = reopen(m);
	assert_false(has(m, id_of(count - 1, id)));
	meta_close(m);
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
			const struct meta_attr *attr)
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

/* Each name is its own, as an id, a purpose and a path. */
static void test_hostile_names(void **state)
{
	struct meta *m = reopen(NULL);
	struct hostile h;
	uint32_t i, k;

	(void)state;
	for (i = 0; i < NAMES; i++) {
		assert_int_equal(set(m, names[i], i), 0);
		for (k = 0; k < NAMES; k++)
			assert_int_equal(set_dir(m, names[i], names[k], (uint32_t)(i * NAMES + k)),
					 0);
	}
	for (k = 0; k < 2; k++) {
		for (i = 0; i < NAMES; i++)
			assert_true(is(m, names[i], i));
		memset(&h, 0, sizeof(h));
		meta_dir_each(m, see_hostile, &h);
		assert_int_equal(h.count, NAMES * NAMES);
		m = reopen(m);
	}
	for (i = 0; i < NAMES; i++)
		meta_forget(m, names[i]);
	meta_dir_forget(m, "a b", "a");
	m = reopen(m);
	for (i = 0; i < NAMES; i++)
		assert_false(has(m, names[i]));
	memset(&h, 0, sizeof(h));
	meta_dir_each(m, see_hostile, &h);
	assert_int_equal(h.count, NAMES * NAMES);
	meta_close(m);
}

static void count_dir(void *arg, const char *purpose, const char *name,
		      const struct meta_attr *attr)
{
	assert_true(attr_is(attr, (uint32_t)strlen(name)));
	assert_string_equal(purpose, "fine-tune");
	++*(unsigned *)arg;
}

static void test_long_names(void **state)
{
	struct meta *m = reopen(NULL);
	char id[128], *name = malloc(20001);
	unsigned count = 0;
	off_t size;

	(void)state;
	assert_non_null(name);
	memset(id, 'i', 127);
	id[127] = '\0';
	assert_int_equal(set(m, id, 1), 0);
	memset(name, 0xff, 20000);
	name[20000] = '\0';
	assert_int_equal(set_dir(m, "fine-tune", name + 20000 - PATH_MAX, PATH_MAX), 0);
	size = size_of(path);
	assert_int_equal(set_dir(m, "fine-tune", name, 3), -ENAMETOOLONG);
	assert_int_equal(set(m, name, 3), -ENAMETOOLONG);
	assert_int_equal(size_of(path), size);
	memset(name, 'n', 20000);
	name[16300] = '\0';
	assert_int_equal(set_dir(m, "fine-tune", name, 16300), 0);
	assert_true(is(m, id, 1));
	m = reopen(m);
	assert_true(is(m, id, 1));
	meta_dir_each(m, count_dir, &count);
	assert_int_equal(count, 2);
	meta_close(m);
	free(name);
}

static void test_dirs_in_order(void **state)
{
	struct meta *m = reopen(NULL);

	(void)state;
	assert_dirs(m, "");
	assert_int_equal(set_dir(m, "vision", "z", 1), 0);
	assert_int_equal(set_dir(m, "batch", "a/b/c", 2), 0);
	assert_int_equal(set_dir(m, "batch", "a-b", 3), 0);
	assert_int_equal(set_dir(m, "batch", "a", 4), 0);
	assert_int_equal(set_dir(m, "batch", "a/b", 5), 0);
	assert_int_equal(set_dir(m, "batch", "", 6), 0);
	assert_int_equal(set_dir(m, "batch", "\xff", 7), 0);
	assert_int_equal(set_dir(m, "batch", "\xff/x", 8), 0);
	assert_int_equal(set(m, "batch", 9), 0);
	assert_dirs(m, "batch:=6;batch:a=4;batch:a-b=3;batch:a/b=5;batch:a/b/c=2;"
		       "batch:\xff=7;batch:\xff/x=8;vision:z=1;");
	assert_int_equal(set_dir(m, "batch", "a", 10), 0);
	meta_dir_forget(m, "batch", "a-b");
	meta_dir_forget(m, "batch", "z");
	meta_dir_forget(m, "batch", "");
	meta_dir_forget(m, "batch", "\xff/x");
	meta_forget(m, "batch");
	m = reopen(m);
	assert_dirs(m, "batch:a=10;batch:a/b=5;batch:a/b/c=2;batch:\xff=7;vision:z=1;");
	meta_close(m);
}

struct sweep {
	struct meta *m;
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

static void test_sweep(void **state)
{
	struct sweep s = { .m = reopen(NULL) };
	unsigned i, round;
	char id[64];

	(void)state;
	meta_sweep(s.m, keep_even, &s);
	assert_int_equal(s.asked, 0);
	assert_int_equal(set_dir(s.m, "batch", "odd", 1), 0);
	for (i = 0; i < 3000; i++)
		assert_int_equal(set(s.m, id_of(i, id), i), 0);
	meta_sweep(s.m, keep_even, &s);
	assert_int_equal(s.asked, 3000);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 3000; i++)
			assert_int_equal(has(s.m, id_of(i, id)), i % 2 == 0 || i == 7);
		assert_true(is(s.m, "file-ffff", 1));
		assert_dirs(s.m, "batch:odd=1;");
		s.m = reopen(s.m);
	}
	meta_close(s.m);
}

/* The module's descriptor of the log. */
static int find_fd(void)
{
	char link[64], target[PATH_MAX];
	ssize_t n;
	int fd;

	for (fd = 3; fd < 1024; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (!strcmp(target, path))
			return fd;
	}
	fail_msg("nothing has the log open");
	return -1;
}

/* What a write to file says instead of going to the log. Returns the log's descriptor. */
static int divert(int fd, const char *file, int flags)
{
	int saved = fcntl(fd, F_DUPFD_CLOEXEC, 3), other = open(file, flags | O_CLOEXEC);

	assert_true(saved >= 0 && other >= 0);
	assert_int_equal(dup2(other, fd), fd);
	close(other);
	return saved;
}

static void undivert(int fd, int saved)
{
	assert_int_equal(dup2(saved, fd), fd);
	close(saved);
}

static void check_refused(const char *file, int flags, int err)
{
	struct meta *m = reopen(NULL);
	int fd = find_fd(), saved;

	assert_int_equal(set(m, "x", 1), 0);
	assert_int_equal(set(m, "y", 2), 0);
	assert_int_equal(set_dir(m, "p", "d", 3), 0);
	assert_int_equal(mkdir(tmp_path, 0700), 0);
	saved = divert(fd, file, flags);
	assert_int_equal(set(m, "x", 11), err);
	assert_int_equal(set(m, "new", 12), err);
	assert_int_equal(set_dir(m, "p", "d", 13), err);
	assert_int_equal(set_dir(m, "p", "e", 14), err);
	assert_int_equal(set(m, "x", 1), 0);
	assert_true(is(m, "x", 1));
	assert_false(has(m, "new"));
	assert_dirs(m, "p:d=3;");
	/* Forgetting works in memory, and is made up for on the disk. */
	meta_forget(m, "y");
	meta_dir_forget(m, "p", "d");
	assert_false(has(m, "y"));
	assert_dirs(m, "");
	undivert(fd, saved);
	assert_int_equal(rmdir(tmp_path), 0);
	m = reopen(m);
	assert_true(is(m, "x", 1));
	assert_false(has(m, "y"));
	assert_false(has(m, "new"));
	assert_dirs(m, "");
	assert_int_equal(set(m, "new", 15), 0);
	m = reopen(m);
	assert_true(is(m, "new", 15));
	meta_close(m);
	assert_int_equal(unlink(path), 0);
}

static void test_refused_writes(void **state)
{
	(void)state;
	check_refused("/dev/full", O_WRONLY, -ENOSPC);
	check_refused("/dev/null", O_RDONLY, -EBADF);
}

/* Without a failing rewrite in between: that a forgotten entry needs no close to be gone. */
static void test_forget_made_up(void **state)
{
	struct meta *m = reopen(NULL), *other = NULL;
	int fd = find_fd(), saved;

	(void)state;
	assert_int_equal(set(m, "x", 1), 0);
	assert_int_equal(set(m, "y", 2), 0);
	saved = divert(fd, "/dev/full", O_WRONLY);
	meta_forget(m, "x");
	close(saved);
	assert_int_equal(meta_open(path, &other), 0);
	assert_false(has(other, "x"));
	assert_true(is(other, "y", 2));
	meta_close(other);
	meta_close(m);
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes < l.rlim_max ? bytes : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* The disk is full after some bytes of the line. */
static void test_short_writes(void **state)
{
	struct meta *m = reopen(NULL);
	off_t empty, line, room;
	void (*old)(int);
	int rc;

	(void)state;
	old = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(set(m, "x", 1), 0);
	empty = size_of(path);
	assert_int_equal(set(m, "x", 1000), 0);
	line = size_of(path) - empty;
	for (room = 0; room < line; room++) {
		assert_int_equal(set(m, "x", 2), 0);
		limit_file_size((rlim_t)(size_of(path) + room));
		rc = set(m, "x", 1000);
		limit_file_size(RLIM_INFINITY);
		assert_int_equal(rc, -EFBIG);
		assert_true(is(m, "x", 2));
		assert_int_equal(set(m, "y", (uint32_t)room), 0);
		m = reopen(m);
		assert_true(is(m, "x", 2));
		assert_true(is(m, "y", (uint32_t)room));
	}
	meta_close(m);
	signal(SIGXFSZ, old);
}

static void test_open_refused(void **state)
{
	struct meta *m = (struct meta *)(uintptr_t)1;
	uid_t uid = geteuid();
	struct stat st;
	char none[80];
	int rc;

	(void)state;
	snprintf(none, sizeof(none), "%s/none/meta", dir);
	assert_int_equal(meta_open(none, &m), -ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(meta_open(path, &m), -EBADMSG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(meta_open(path, &m), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(meta_open(path, &m), -ELOOP);
	assert_int_equal(unlink(path), 0);
	write_file("", 0, 0);
	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(chmod(dir, 0755), 0);
	if (!uid)
		assert_int_equal(seteuid(65534), 0);
	rc = meta_open(path, &m);
	assert_int_equal(seteuid(uid), 0);
	assert_int_equal(rc, -EACCES);
	assert_true(m == (struct meta *)(uintptr_t)1);
	/* As owner, one that others could read is closed to them. */
	assert_int_equal(chmod(path, 0644), 0);
	m = reopen(NULL);
	meta_close(m);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_relative_path(void **state)
{
	struct meta *m = NULL;
	char *old = getcwd(NULL, 0);
	unsigned i;
	int rc;

	(void)state;
	assert_non_null(old);
	assert_int_equal(chdir(dir), 0);
	rc = meta_open("meta", &m);
	assert_int_equal(chdir(old), 0);
	free(old);
	assert_int_equal(rc, 0);
	for (i = 0; i < 5000; i++)
		assert_int_equal(set(m, "x", i), 0);
	assert_true(size_of(path) < REWRITE_MIN + 200);
	m = reopen(m);
	assert_true(is(m, "x", 4999));
	meta_close(m);
}

#define WORKERS 4
#define OWN 40
#define ROUNDS 30

struct worker {
	struct meta *m;
	unsigned number;
	atomic_bool *stop;
	atomic_uint *bad;
};

/* Own entries are as this thread left them; the shared ones are whole, whoever set them. */
static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned i, round, bad = 0;
	struct meta_attr a;
	char id[64];

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < OWN; i++) {
			id_of(w->number * OWN + i, id);
			bad += set(w->m, id, i + round) != 0;
			bad += !is(w->m, id, i + round);
			bad += set(w->m, "shared", w->number * 1000 + round) != 0;
			bad += !meta_get(w->m, "shared", &a) || !attr_is(&a, a.uid);
			bad += set_dir(w->m, "p", id, i + round) != 0;
			if (i % 4 == 0) {
				meta_forget(w->m, id);
				meta_dir_forget(w->m, "p", id);
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

static void check_dir(void *arg, const char *purpose, const char *name,
		      const struct meta_attr *attr)
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
		meta_sweep(w->m, keep_all, NULL);
		if (has(w->m, "doomed"))
			atomic_fetch_add(w->bad, 1);
		meta_dir_each(w->m, check_dir, w);
	} while (!atomic_load(w->stop));
	return NULL;
}

static void count_any(void *arg, const char *purpose, const char *name,
		      const struct meta_attr *attr)
{
	(void)purpose;
	(void)name;
	(void)attr;
	++*(unsigned *)arg;
}

static void assert_worked(struct meta *m)
{
	unsigned i, dirs = 0;
	struct meta_attr a;
	char id[64];

	for (i = 0; i < WORKERS * OWN; i++) {
		id_of(i, id);
		assert_int_equal(has(m, id), i % OWN % 4 != 0);
		assert_true(i % OWN % 4 == 0 || is(m, id, i % OWN + ROUNDS - 1));
	}
	assert_true(meta_get(m, "shared", &a) && attr_is(&a, a.uid));
	assert_int_equal(a.uid % 1000, ROUNDS - 1);
	meta_dir_each(m, count_any, &dirs);
	assert_int_equal(dirs, WORKERS * OWN * 3 / 4);
}

static void test_threads(void **state)
{
	struct worker w[WORKERS + 1];
	pthread_t t[WORKERS + 1];
	atomic_bool stop = false;
	atomic_uint bad = 0;
	struct meta *m = reopen(NULL);
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
	meta_close(m);
}

#define TEST(f) cmocka_unit_test_teardown(f, clear_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_same_again_writes_nothing),
		TEST(test_each_field),
		TEST(test_kill),
		TEST(test_damage_at_every_byte),
		TEST(test_torn_at_every_byte),
		TEST(test_lines_that_do_not_count),
		TEST(test_binary_lines),
		TEST(test_endless_lines),
		TEST(test_rewrite),
		TEST(test_live_is_not_rewritten),
		TEST(test_rewrite_fails),
		TEST(test_left_over),
		TEST(test_many),
		TEST(test_hostile_names),
		TEST(test_long_names),
		TEST(test_dirs_in_order),
		TEST(test_sweep),
		TEST(test_refused_writes),
		TEST(test_forget_made_up),
		TEST(test_short_writes),
		TEST(test_open_refused),
		TEST(test_relative_path),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
