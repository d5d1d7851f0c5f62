/*
 * fsx: one file under random operations, compared with a copy in memory after each read. Run by
 * tests/fsx/fsx.py.
 *
 * Usage: fsx FILE SEED OPERATIONS [MAX_SIZE]
 *
 * Operations: write, read, both through O_DIRECT and mappings, truncate, punch, zero, allocate,
 * copy within the file, fsync, close and open. The same seed makes the same operations. It prints
 * the operations done at the end; a difference prints the last ones and exits with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN 40 /* operations printed after a failure */
#define ALIGN 4096
#define STEP_MAX 65536 /* bytes of one operation */

static const char *path;
static int fd = -1;
static unsigned char *good, *room; /* the file as it has to be; a buffer */
static size_t size, size_max = 1 << 20;
static uint64_t rng;
static unsigned long done;
static char shown[SHOWN][160];

static uint64_t any(uint64_t below)
{
	/* xorshift64*: the same numbers everywhere */
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return below ? (rng * 2685821657736338717ULL >> 11) % below : 0;
}

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shown[done % SHOWN], sizeof(shown[0]), fmt, ap);
	va_end(ap);
	done++;
}

static void fail(const char *fmt, ...)
{
	unsigned long from = done > SHOWN ? done - SHOWN : 0;
	va_list ap;

	for (unsigned long i = from; i < done; i++)
		fprintf(stderr, "%6lu  %s\n", i, shown[i % SHOWN]);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void must(bool ok, const char *what)
{
	if (!ok)
		fail("%s: %s", what, strerror(errno));
}

static void compare(const unsigned char *got, size_t at, size_t len, const char *how)
{
	for (size_t i = 0; i < len; i++) {
		if (got[i] != good[at + i])
			fail("%s: byte %zu is %02x, and has to be %02x", how, at + i, got[i],
			     good[at + i]);
	}
}

static void grow(size_t to)
{
	if (to > size)
		size = to;
}

static void check_size(void)
{
	struct stat st;

	must(fstat(fd, &st) == 0, "fstat");
	if ((size_t)st.st_size != size)
		fail("the size is %lld, and has to be %zu", (long long)st.st_size, size);
}

/* A range to change: off and len, at least 1, within size_max. */
static void range(size_t *off, size_t *len)
{
	*off = any(size_max);
	*len = 1 + any(STEP_MAX);
	if (*len > size_max - *off)
		*len = size_max - *off;
}

static void fill(unsigned char *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)any(256);
}

static void op_write(size_t off, size_t len)
{
	note("write %zu + %zu", off, len);
	fill(room, len);
	must(pwrite(fd, room, len, (off_t)off) == (ssize_t)len, "write");
	memcpy(good + off, room, len);
	grow(off + len);
}

static void op_read(size_t off, size_t len)
{
	size_t want = off >= size ? 0 : off + len > size ? size - off : len;
	ssize_t n;

	note("read %zu + %zu", off, len);
	n = pread(fd, room, len, (off_t)off);
	must(n >= 0, "read");
	if ((size_t)n != want)
		fail("read gave %zd bytes, and has to give %zu", n, want);
	compare(room, off, want, "read");
}

static void op_direct(size_t off, size_t len)
{
	int direct = open(path, O_RDONLY | O_DIRECT);
	size_t want;
	ssize_t n;

	off -= off % ALIGN;
	len = (len + ALIGN - 1) / ALIGN * ALIGN;
	note("direct read %zu + %zu", off, len);
	must(direct >= 0, "open O_DIRECT");
	want = off >= size ? 0 : off + len > size ? size - off : len;
	n = pread(direct, room, len, (off_t)off);
	must(n >= 0, "direct read");
	if ((size_t)n != want)
		fail("direct read gave %zd bytes, and has to give %zu", n, want);
	compare(room, off, want, "direct read");
	must(close(direct) == 0, "close of O_DIRECT");
}

static void op_mapped(size_t off, size_t len, bool write)
{
	size_t from = off - off % ALIGN;
	unsigned char *map;

	if (!size)
		return;
	off %= size;
	len = off + len > size ? size - off : len;
	from = off - off % ALIGN;
	note("mapped %s %zu + %zu", write ? "write" : "read", off, len);
	map = mmap(NULL, off - from + len, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
		   fd, (off_t)from);
	must(map != MAP_FAILED, "mmap");
	if (write) {
		fill(map + (off - from), len);
		memcpy(good + off, map + (off - from), len);
		must(msync(map, off - from + len, MS_SYNC) == 0, "msync");
	} else {
		compare(map + (off - from), off, len, "mapped read");
	}
	must(munmap(map, off - from + len) == 0, "munmap");
}

static void op_truncate(size_t to)
{
	note("truncate %zu (was %zu)", to, size);
	must(ftruncate(fd, (off_t)to) == 0, "ftruncate");
	if (to < size)
		memset(good + to, 0, size - to);
	size = to;
}

static void op_fallocate(int mode, size_t off, size_t len, const char *what)
{
	note("%s %zu + %zu", what, off, len);
	must(fallocate(fd, mode, (off_t)off, (off_t)len) == 0, what);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(good + off, 0, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(off + len);
}

static void op_copy(size_t off, size_t len)
{
	off_t from = (off_t)any(size_max), to = (off_t)off;

	if (!size)
		return;
	from %= (off_t)size;
	if (len > size - (size_t)from)
		len = size - (size_t)from;
	/* Ranges that meet are EINVAL. */
	if (!len || ((size_t)from < off + len && off < (size_t)from + len))
		return;
	note("copy %zu + %zu to %zu", (size_t)from, len, off);
	for (size_t left = len; left;) {
		ssize_t n = copy_file_range(fd, &from, fd, &to, left, 0);

		must(n > 0, "copy_file_range");
		left -= (size_t)n;
	}
	memcpy(good + off, good + ((size_t)from - len), len);
	grow(off + len);
}

static void op_reopen(void)
{
	note("close, open");
	must(close(fd) == 0, "close");
	fd = open(path, O_RDWR);
	must(fd >= 0, "open");
	check_size();
}

static void step(void)
{
	size_t off, len;

	range(&off, &len);
	switch (any(24)) {
	case 0 ... 5:
		op_write(off, len);
		break;
	case 6 ... 9:
		op_read(off, len);
		break;
	case 10 ... 11:
		op_mapped(off, len, false);
		break;
	case 12 ... 14:
		op_mapped(off, len, true);
		break;
	case 15:
		op_truncate(off);
		break;
	case 16:
		op_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len, "punch");
		break;
	case 17:
		op_fallocate(FALLOC_FL_ZERO_RANGE, off, len, "zero");
		break;
	case 18:
		op_fallocate(0, off, len, "allocate");
		break;
	case 19:
		op_copy(off, len);
		break;
	case 20:
		op_direct(off, len);
		break;
	case 21:
		note("fsync");
		must(fsync(fd) == 0, "fsync");
		break;
	default:
		/* A close sends a File: one in some hundred operations. */
		if (!any(16))
			op_reopen();
	}
	check_size();
}

int main(int argc, char **argv)
{
	unsigned long count;

	if (argc < 4) {
		fputs("usage: fsx FILE SEED OPERATIONS [MAX_SIZE]\n", stderr);
		return 2;
	}
	path = argv[1];
	rng = strtoull(argv[2], NULL, 10) * 2862933555777941757ULL + 3037000493ULL;
	count = strtoul(argv[3], NULL, 10);
	if (argc > 4)
		size_max = strtoul(argv[4], NULL, 10);
	good = calloc(1, size_max);
	room = aligned_alloc(ALIGN, (STEP_MAX + 2 * ALIGN) / ALIGN * ALIGN);
	must(good && room && size_max, "memory");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	must(fd >= 0, "open");
	for (unsigned long i = 0; i < count; i++)
		step();
	for (size_t at = 0; at < size; at += STEP_MAX)
		op_read(at, STEP_MAX);
	must(close(fd) == 0, "close");
	/* What has to be there: for a comparison with the File. */
	must(fwrite(good, 1, size, stdout) == size && fflush(stdout) == 0, "output");
	fprintf(stderr, "%lu operations\n", done);
	return 0;
}
