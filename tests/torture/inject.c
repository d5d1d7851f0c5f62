#include "tests/torture/inject.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <sqlite3.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

const char *const inject_names[INJECT_KINDS] = { "alloc", "eio",    "enospc",
						 "short", "emfile", "thread" };

static enum inject_kind kind;
static unsigned target;
static bool all_after, trace;
static atomic_bool armed;
static atomic_uint count;

void inject_set(enum inject_kind k, unsigned n, bool all)
{
	kind = k;
	target = n;
	all_after = all;
	atomic_store(&count, 0);
}

void inject_arm(void)
{
	atomic_store(&armed, true);
}

void inject_disarm(void)
{
	atomic_store(&armed, false);
}

unsigned inject_count(void)
{
	return atomic_load(&count);
}

void inject_trace(void)
{
	trace = true;
}

static bool hit(enum inject_kind k)
{
	unsigned n;

	if (k != kind || !atomic_load(&armed))
		return false;
	n = atomic_fetch_add(&count, 1) + 1;
	if (n != target && !(all_after && n > target))
		return false;
#ifdef __SANITIZE_ADDRESS__
	if (trace && n == target)
		__sanitizer_print_stack_trace();
#endif
	return true;
}

/* What a call does that fails by one of the bits of kinds: -1 and errno. */
#define KIND(k) (1U << (k))
#define READS KIND(INJECT_EIO)
#define WRITES (KIND(INJECT_EIO) | KIND(INJECT_ENOSPC))
#define OPENS (WRITES | KIND(INJECT_EMFILE))

static bool fails(unsigned kinds)
{
	if (!(kinds & KIND(kind)) || !hit(kind))
		return false;
	errno = kind == INJECT_EIO ? EIO : kind == INJECT_ENOSPC ? ENOSPC : EMFILE;
	return true;
}

static bool no_memory(void)
{
	if (!hit(INJECT_ALLOC))
		return false;
	errno = ENOMEM;
	return true;
}

static size_t cut(size_t len)
{
	return len > 1 && hit(INJECT_SHORT) ? len / 2 : len;
}

#define DEFINE(type, name, kinds, params, call) \
	type torture_##name params;             \
	type torture_##name params              \
	{                                       \
		if (fails(kinds))               \
			return (type)-1;        \
		return call;                    \
	}

#define DEFINE_ALLOC(type, name, params, call) \
	type torture_##name params;            \
	type torture_##name params             \
	{                                      \
		if (no_memory())               \
			return NULL;           \
		return call;                   \
	}

DEFINE_ALLOC(void *, malloc, (size_t n), malloc(n))
DEFINE_ALLOC(void *, calloc, (size_t n, size_t size), calloc(n, size))
DEFINE_ALLOC(void *, realloc, (void *p, size_t n), realloc(p, n))
DEFINE_ALLOC(char *, strdup, (const char *s), strdup(s))
DEFINE_ALLOC(char *, strndup, (const char *s, size_t n), strndup(s, n))

int torture_vasprintf(char **ret, const char *format, va_list ap);
int torture_vasprintf(char **ret, const char *format, va_list ap)
{
	if (no_memory()) {
		/* What stands there is not defined then. */
		*ret = (char *)(uintptr_t)1;
		return -1;
	}
	return vasprintf(ret, format, ap);
}

int torture_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
int torture_asprintf(char **ret, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = torture_vasprintf(ret, format, ap);
	va_end(ap);
	return r;
}

int torture_open64(const char *path, int flags, ...);
int torture_open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(flags & O_CREAT ? OPENS : READS | KIND(INJECT_EMFILE))
		       ? -1
		       : open(path, flags, mode);
}

int torture_openat64(int dir, const char *path, int flags, ...);
int torture_openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(flags & O_CREAT ? OPENS : READS | KIND(INJECT_EMFILE))
		       ? -1
		       : openat(dir, path, flags, mode);
}

FILE *torture_fopen64(const char *path, const char *mode);
FILE *torture_fopen64(const char *path, const char *mode)
{
	return fails(OPENS) ? NULL : fopen(path, mode);
}

FILE *torture_fdopen(int fd, const char *mode);
FILE *torture_fdopen(int fd, const char *mode)
{
	return no_memory() ? NULL : fdopen(fd, mode);
}

DIR *torture_opendir(const char *path);
DIR *torture_opendir(const char *path)
{
	return fails(READS | KIND(INJECT_EMFILE)) ? NULL : opendir(path);
}

DIR *torture_fdopendir(int fd);
DIR *torture_fdopendir(int fd)
{
	return no_memory() ? NULL : fdopendir(fd);
}

struct dirent *torture_readdir64(DIR *d);
struct dirent *torture_readdir64(DIR *d)
{
	return fails(READS) ? NULL : readdir(d);
}

#define FD_MADE KIND(INJECT_EMFILE)
DEFINE(int, socket, FD_MADE, (int d, int t, int p), socket(d, t, p))
DEFINE(int, pipe2, FD_MADE, (int fds[2], int flags), pipe2(fds, flags))
DEFINE(int, dup3, FD_MADE, (int from, int to, int flags), dup3(from, to, flags))

DEFINE(ssize_t, read, READS, (int fd, void *p, size_t n), read(fd, p, cut(n)))
DEFINE(ssize_t, pread64, READS, (int fd, void *p, size_t n, off_t at), pread(fd, p, cut(n), at))
DEFINE(ssize_t, write, WRITES, (int fd, const void *p, size_t n), write(fd, p, cut(n)))
DEFINE(ssize_t, pwrite64, WRITES, (int fd, const void *p, size_t n, off_t at),
       pwrite(fd, p, cut(n), at))
DEFINE(ssize_t, copy_file_range, WRITES,
       (int in, off_t *at_in, int out, off_t *at_out, size_t n, unsigned flags),
       copy_file_range(in, at_in, out, at_out, cut(n), flags))
DEFINE(int, ftruncate64, WRITES, (int fd, off_t size), ftruncate(fd, size))
DEFINE(int, truncate64, WRITES, (const char *path, off_t size), truncate(path, size))
DEFINE(int, fallocate64, WRITES, (int fd, int mode, off_t at, off_t n), fallocate(fd, mode, at, n))
DEFINE(int, sync_file_range, READS, (int fd, off_t at, off_t n, unsigned flags),
       sync_file_range(fd, at, n, flags))
DEFINE(int, rename, WRITES, (const char *a, const char *b), rename(a, b))
DEFINE(int, renameat, WRITES, (int d, const char *a, int e, const char *b), renameat(d, a, e, b))
DEFINE(int, renameat2, WRITES, (int d, const char *a, int e, const char *b, unsigned f),
       renameat2(d, a, e, b, f))
DEFINE(int, unlink, READS, (const char *path), unlink(path))
DEFINE(int, unlinkat, READS, (int d, const char *path, int flags), unlinkat(d, path, flags))
DEFINE(int, mkdir, WRITES, (const char *path, mode_t mode), mkdir(path, mode))
DEFINE(int, mkdirat, WRITES, (int d, const char *path, mode_t mode), mkdirat(d, path, mode))
DEFINE(int, rmdir, READS, (const char *path), rmdir(path))
DEFINE(int, symlink, WRITES, (const char *a, const char *b), symlink(a, b))
DEFINE(int, symlinkat, WRITES, (const char *a, int d, const char *b), symlinkat(a, d, b))
DEFINE(ssize_t, readlink, READS, (const char *path, char *p, size_t n), readlink(path, p, n))
DEFINE(ssize_t, readlinkat, READS, (int d, const char *path, char *p, size_t n),
       readlinkat(d, path, p, n))
DEFINE(int, stat64, READS, (const char *path, struct stat *st), stat(path, st))
DEFINE(int, lstat64, READS, (const char *path, struct stat *st), lstat(path, st))
DEFINE(int, fstat64, READS, (int fd, struct stat *st), fstat(fd, st))
DEFINE(int, fstatat64, READS, (int d, const char *path, struct stat *st, int flags),
       fstatat(d, path, st, flags))
DEFINE(int, statvfs64, READS, (const char *path, struct statvfs *st), statvfs(path, st))
DEFINE(int, fstatvfs64, READS, (int fd, struct statvfs *st), fstatvfs(fd, st))
DEFINE(int, flock, READS, (int fd, int how), flock(fd, how))
DEFINE(int, fchmod, READS, (int fd, mode_t mode), fchmod(fd, mode))
DEFINE(int, futimens, READS, (int fd, const struct timespec t[2]), futimens(fd, t))
DEFINE(int, utimensat, READS, (int d, const char *path, const struct timespec t[2], int flags),
       utimensat(d, path, t, flags))
DEFINE(int, access, READS, (const char *path, int mode), access(path, mode))

/* SQLite has no hook for these; the others who call them are under test as well. */
int fsync(int fd)
{
	return fails(WRITES) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fails(WRITES) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int torture_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *),
			   void *arg);
int torture_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return hit(INJECT_THREAD) ? EAGAIN : pthread_create(t, attr, fn, arg);
}

/* ---- SQLite and cJSON ---- */

static sqlite3_mem_methods plain;

static void *sql_malloc(int n)
{
	return no_memory() ? NULL : plain.xMalloc(n);
}

static void *sql_realloc(void *p, int n)
{
	return no_memory() ? NULL : plain.xRealloc(p, n);
}

static void *json_malloc(size_t n)
{
	return no_memory() ? NULL : malloc(n);
}

static void *mmap_call(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
	return fails(WRITES) ? MAP_FAILED : mmap(p, n, prot, flags, fd, at);
}

static int open_call(const char *path, int flags, int mode)
{
	return torture_open64(path, flags, (mode_t)mode);
}

static void set_call(const char *name, void (*fn)(void))
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	if (vfs->xSetSystemCall(vfs, name, fn) != SQLITE_OK)
		abort();
}

#define CALL(fn) ((void (*)(void))(fn))

void inject_init(void)
{
	cJSON_Hooks hooks = { json_malloc, free };
	sqlite3_mem_methods methods;

	cJSON_InitHooks(&hooks);
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain))
		abort();
	methods = plain;
	methods.xMalloc = sql_malloc;
	methods.xRealloc = sql_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) || sqlite3_initialize())
		abort();
	set_call("open", CALL(open_call));
	set_call("access", CALL(torture_access));
	set_call("fstat", CALL(torture_fstat64));
	set_call("ftruncate", CALL(torture_ftruncate64));
	set_call("read", CALL(torture_read));
	set_call("pread", CALL(torture_pread64));
	set_call("pread64", CALL(torture_pread64));
	set_call("write", CALL(torture_write));
	set_call("pwrite", CALL(torture_pwrite64));
	set_call("pwrite64", CALL(torture_pwrite64));
	set_call("unlink", CALL(torture_unlink));
	set_call("mmap", CALL(mmap_call));
	set_call("lstat", CALL(torture_lstat64));
}
