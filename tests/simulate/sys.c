/*
 * The system calls that the product makes, on the disk of disk.c. The linker hands them to us
 * (--wrap); what is not below /sim goes on to the kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/host/place.h"
#include "fs/host/statedir.h"
#include "net/base/boot.h"
#include "tests/simulate/disk.h"
#include "tests/simulate/sim.h"
#include "tests/simulate/sys.h"

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define FDS 1024
#define FD_0 100000

static struct open_file {
	struct disk_file *file;
	char path[96];
	uint64_t pos;
	unsigned told; /* failures of write-back */
	unsigned host;
} table[FDS];
static unsigned eras[HOSTS];

int __real_close(int fd);
int __real_openat64(int at, const char *path, int flags, ...);
ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __real_pread64(int fd, void *buf, size_t len, off_t off);

static struct open_file *get(int fd)
{
	if (fd < FD_0 || fd >= FD_0 + FDS || !table[fd - FD_0].file)
		return NULL;
	return &table[fd - FD_0];
}

static int fail(int err)
{
	errno = err;
	return -1;
}

void sys_close_all(unsigned host)
{
	for (unsigned i = 0; i < FDS; i++)
		if (table[i].file && table[i].host == host) {
			disk_put(table[i].file);
			table[i].file = NULL;
		}
}

void sys_reset(void)
{
	memset(table, 0, sizeof(table));
	memset(eras, 0, sizeof(eras));
}

unsigned sys_open_count(unsigned host)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FDS; i++)
		n += table[i].file && table[i].host == host;
	return n;
}

void sys_new_boot(unsigned host)
{
	eras[host]++;
}

const char *boot_id(void)
{
	static char id[HOSTS][32];
	unsigned arena = arena_enter(ARENA_BASE), host;

	arena_enter(arena);
	host = arena >= ARENA_HOST ? arena - ARENA_HOST : 0;
	snprintf(id[host], sizeof(id[host]), "boot-%u-%u", host, eras[host]);
	return id[host];
}

/* The absolute path of name at the directory; false: not ours. */
static bool full(int at, const char *name, char ret[96])
{
	struct open_file *o = get(at);

	if (name[0] == '/')
		snprintf(ret, 96, "%s", name);
	else if (o && !strcmp(name, "."))
		snprintf(ret, 96, "%s", o->path);
	else if (o)
		snprintf(ret, 96, "%s/%s", o->path, name);
	else
		return false;
	return !strncmp(ret, "/sim/", 5);
}

static int open_here(const char *path, int flags)
{
	unsigned host, i;
	struct disk_file *f = disk_find(path, &host);

	co_point();
	if (f && (flags & O_CREAT) && (flags & O_EXCL))
		return fail(EEXIST);
	if (!f && !(flags & O_CREAT))
		return fail(ENOENT);
	if (f && (flags & O_DIRECTORY) && !f->is_dir)
		return fail(ENOTDIR);
	for (i = 0; i < FDS && table[i].file; i++)
		;
	if (i == FDS)
		wrong("%u descriptors are open", FDS);
	if (!f)
		f = disk_make(host, path, false);
	f->refs++;
	table[i] = (struct open_file){ .file = f, .host = host, .told = f->failures };
	snprintf(table[i].path, sizeof(table[i].path), "%s", path);
	if (flags & O_TRUNC)
		disk_truncate(f, 0);
	return FD_0 + (int)i;
}

int __wrap_openat64(int at, const char *name, int flags, ...)
{
	char path[96];
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (full(at, name, path))
		return open_here(path, flags);
	return __real_openat64(at, name, flags, mode);
}

int __wrap_open64(const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return __wrap_openat64(AT_FDCWD, name, flags, mode);
}

int __wrap_close(int fd)
{
	struct open_file *o = get(fd);

	if (!o && fd >= FD_0)
		wrong("close of a descriptor that is not open");
	if (!o)
		return __real_close(fd);
	disk_put(o->file);
	o->file = NULL;
	return 0;
}

static ssize_t done(ssize_t n)
{
	return n < 0 ? fail((int)-n) : n;
}

ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t off)
{
	struct open_file *o = get(fd);

	if (!o && fd >= FD_0)
		wrong("read of a descriptor that is not open");
	return o ? done(disk_read(o->file, buf, len, (uint64_t)off))
		 : __real_pread64(fd, buf, len, off);
}

ssize_t __wrap___pread64_chk(int fd, void *buf, size_t len, off_t off, size_t room)
{
	(void)room;
	return __wrap_pread64(fd, buf, len, off);
}

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	struct open_file *o = get(fd);
	ssize_t n;

	if (!o)
		return __real_read(fd, buf, len);
	n = disk_read(o->file, buf, len, o->pos);
	if (n > 0)
		o->pos += (uint64_t)n;
	return done(n);
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	struct open_file *o = get(fd);

	if (!o)
		wrong("write to a descriptor that is not open");
	return done(disk_write(o->file, buf, len, (uint64_t)off));
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	struct open_file *o = get(fd);
	ssize_t n;

	if (!o)
		wrong("write to a descriptor that is not open");
	n = disk_write(o->file, buf, len, o->pos);
	if (n > 0)
		o->pos += (uint64_t)n;
	return done(n);
}

int __wrap_ftruncate64(int fd, off_t len)
{
	struct open_file *o = get(fd);

	return o ? disk_truncate(o->file, (uint64_t)len) : fail(EBADF);
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
	struct open_file *o = get(fd);

	if (!o || mode)
		return fail(EOPNOTSUPP);
	if ((uint64_t)(off + len) > o->file->len)
		disk_truncate(o->file, (uint64_t)(off + len));
	return 0;
}

static int sync_fd(int fd)
{
	struct open_file *o = get(fd);
	int r;

	if (!o)
		return fail(EBADF);
	if (o->file->is_dir) {
		co_point();
		disk_sync_entries(o->host);
		return 0;
	}
	r = disk_sync(o->file);
	if (!r && o->told != o->file->failures)
		r = -EIO;
	o->told = o->file->failures;
	return r ? fail(-r) : 0;
}

int __wrap_fdatasync(int fd)
{
	return sync_fd(fd);
}

int __wrap_fsync(int fd)
{
	return sync_fd(fd);
}

int __wrap_sync_file_range(int fd, off_t off, off_t len, unsigned flags)
{
	struct open_file *o = get(fd);

	(void)off;
	(void)len;
	if (o && (flags & SYNC_FILE_RANGE_WAIT_BEFORE) && o->told != o->file->failures) {
		o->told = o->file->failures;
		return fail(EIO);
	}
	return o ? 0 : fail(EBADF);
}

/* ---- entries ---- */

static void fill(const struct disk_file *f, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = f->nr;
	st->st_dev = 1;
	st->st_mode = f->is_dir ? S_IFDIR | 0700 : S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_uid = geteuid();
	st->st_gid = getegid();
	st->st_size = (off_t)f->len;
	st->st_blocks = ((off_t)f->len + 511) / 512;
	st->st_blksize = 4096;
	st->st_mtim.tv_sec = (time_t)(1600000000 + f->mtime_ms / 1000);
	st->st_mtim.tv_nsec = (long)(f->mtime_ms % 1000) * 1000000;
	st->st_ctim = st->st_atim = st->st_mtim;
}

int __wrap_fstat64(int fd, struct stat *st)
{
	struct open_file *o = get(fd);

	if (!o)
		return fail(EBADF);
	fill(o->file, st);
	return 0;
}

int __wrap_fstatat64(int at, const char *name, struct stat *st, int flags)
{
	const struct disk_file *f;
	char path[96];
	unsigned host;

	(void)flags;
	f = full(at, name, path) ? disk_find(path, &host) : NULL;
	if (!f)
		return fail(ENOENT);
	fill(f, st);
	return 0;
}

int __wrap_stat64(const char *name, struct stat *st)
{
	return __wrap_fstatat64(AT_FDCWD, name, st, 0);
}

int __wrap_lstat64(const char *name, struct stat *st)
{
	return __wrap_fstatat64(AT_FDCWD, name, st, 0);
}

int __wrap_statx(int fd, const char *name, int flags, unsigned mask, void *ret)
{
	(void)fd, (void)name, (void)flags, (void)mask, (void)ret;
	return fail(ENOSYS);
}

int __wrap_unlinkat(int at, const char *name, int flags)
{
	char path[96];
	unsigned host;

	(void)flags;
	co_point();
	if (!full(at, name, path) || !disk_find(path, &host))
		return fail(ENOENT);
	disk_unlink(host, path);
	return 0;
}

int __wrap_unlink(const char *name)
{
	return __wrap_unlinkat(AT_FDCWD, name, 0);
}

int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
	char a[96], b[96];
	unsigned host;

	co_point();
	if (!full(from_at, from, a) || !full(to_at, to, b) || !disk_find(a, &host))
		return fail(ENOENT);
	if (flags && disk_find(b, &host))
		return fail(EEXIST);
	disk_find(a, &host);
	disk_rename(host, a, b);
	return 0;
}

int __wrap_renameat(int from_at, const char *from, int to_at, const char *to)
{
	return __wrap_renameat2(from_at, from, to_at, to, 0);
}

int __wrap_rename(const char *from, const char *to)
{
	return __wrap_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int __wrap_mkdirat(int at, const char *name, mode_t mode)
{
	char path[96];
	unsigned host;

	(void)mode;
	co_point();
	if (!full(at, name, path))
		return fail(ENOENT);
	if (disk_find(path, &host))
		return fail(EEXIST);
	disk_make(host, path, true);
	return 0;
}

int __wrap_symlinkat(const char *target, int at, const char *name)
{
	(void)target, (void)at, (void)name;
	return fail(EPERM);
}

int __wrap_fchmod(int fd, mode_t mode)
{
	(void)fd, (void)mode;
	return 0;
}

int __wrap_fchmodat(int at, const char *name, mode_t mode, int flags)
{
	(void)at, (void)name, (void)mode, (void)flags;
	return 0;
}

int __wrap_flock(int fd, int how)
{
	(void)fd, (void)how;
	return 0;
}

int __wrap_fcntl64(int fd, int cmd, ...)
{
	struct open_file *o = get(fd);
	struct flock *lock;
	va_list ap;

	if (o && (cmd == F_DUPFD_CLOEXEC || cmd == F_DUPFD))
		return open_here(o->path, 0);
	if (cmd == F_GETLK) {
		/* Nobody else uses the directory. */
		va_start(ap, cmd);
		lock = va_arg(ap, struct flock *);
		va_end(ap);
		lock->l_type = F_UNLCK;
	}
	return 0;
}

static int touch(struct disk_file *f, const struct timespec *times)
{
	if (!f)
		return fail(ENOENT);
	if (times && times[1].tv_nsec != UTIME_OMIT && times[1].tv_nsec != UTIME_NOW &&
	    times[1].tv_sec >= 1600000000)
		f->mtime_ms = (uint64_t)(times[1].tv_sec - 1600000000) * 1000 +
			      (uint64_t)times[1].tv_nsec / 1000000;
	return 0;
}

int __wrap_futimens(int fd, const struct timespec *times)
{
	struct open_file *o = get(fd);

	return touch(o ? o->file : NULL, times);
}

int __wrap_utimensat(int at, const char *name, const struct timespec *times, int flags)
{
	char path[96];
	unsigned host;

	(void)flags;
	return touch(full(at, name, path) ? disk_find(path, &host) : NULL, times);
}

int __wrap_fstatvfs64(int fd, struct statvfs *ret)
{
	struct open_file *o = get(fd);

	memset(ret, 0, sizeof(*ret));
	if (!o)
		return fail(EBADF);
	ret->f_bsize = ret->f_frsize = 4096;
	ret->f_blocks = 1 << 16;
	ret->f_bfree = ret->f_bavail = disk_free_bytes(o->host) / 4096;
	return 0;
}

ssize_t __wrap_copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t len,
			       unsigned flags)
{
	struct open_file *from = get(in), *to = get(out);
	char buf[4096];
	ssize_t n;

	(void)flags;
	if (!from || !to)
		return fail(EBADF);
	n = disk_read(from->file, buf, len < sizeof(buf) ? len : sizeof(buf), (uint64_t)*in_off);
	if (n > 0)
		n = disk_write(to->file, buf, (size_t)n, (uint64_t)*out_off);
	if (n > 0) {
		*in_off += n;
		*out_off += n;
	}
	return done(n);
}

/* ---- directories ---- */

struct sim_dir {
	int fd;
	unsigned at;
	struct dirent de;
};

DIR *__wrap_fdopendir(int fd)
{
	struct sim_dir *d;

	if (!get(fd)) {
		errno = EBADF;
		return NULL;
	}
	d = calloc(1, sizeof(*d));
	d->fd = fd;
	return (DIR *)d;
}

struct dirent *__wrap_readdir64(DIR *dir)
{
	struct sim_dir *d = (struct sim_dir *)dir;
	struct open_file *o = get(d->fd);
	const char *name = disk_entry(o->host, o->path, d->at++);

	if (!name)
		return NULL;
	snprintf(d->de.d_name, sizeof(d->de.d_name), "%s", name);
	return &d->de;
}

int __wrap_closedir(DIR *dir)
{
	struct sim_dir *d = (struct sim_dir *)dir;

	__wrap_close(d->fd);
	free(d);
	return 0;
}

/* ---- what would ask the host ---- */

void __wrap_place_look(const char *path, struct place *ret)
{
	(void)path;
	*ret = (struct place){ .kind = PLACE_LOCAL, .name = "sim" };
}

int __wrap_statedir_open(const char *path, unsigned wait_ms, int *ret_fd, int *ret_pid)
{
	char name[96];
	unsigned host;

	(void)wait_ms;
	*ret_pid = 0;
	if (!disk_find(path, &host))
		disk_make(host, path, true);
	disk_sync_entries(host);
	snprintf(name, sizeof(name), "%s/lock", path);
	*ret_fd = open_here(name, O_CREAT);
	return *ret_fd < 0 ? -errno : 0;
}

void __wrap_process_give_way(void)
{
}

/* The same for every processor: the order of events must not depend on it. */
unsigned __wrap_digest_lanes(void)
{
	return 8;
}

int __wrap_digest_random(void *buf, size_t len)
{
	unsigned char *p = buf;

	while (len--)
		*p++ = (unsigned char)luck_bits(LUCK_RANDOM);
	return 0;
}
