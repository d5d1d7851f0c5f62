/*
 * super: the filesystem without FUSE.
 *
 * ops.c converts requests to these calls and replies; tests drive them without
 * a mount. Calls that may have to wait for the network take a callback, which
 * runs exactly once: before the call returns, or later on the publisher's, the
 * network or the listing's thread. Other calls block on the local disk at most. Any thread.
 * Errors are negative errno.
 *
 * Lock order (take from left to right, never the other way):
 *	super.lock -> staged file's lock -> hasher's queue
 *	super.lock -> lock of a publication's record -> publisher.lock, staged file's lock
 *	super.lock -> listing.lock
 *	super.lock -> fetcher's lock
 *	super.lock -> cache's lock -> hasher's queue
 * No lock is held across a callback, a reply, or a call of the API. The last
 * reference of a publication is never dropped under super.lock.
 */
#ifndef UPLOADFS_FS_VFS_VFS_H
#define UPLOADFS_FS_VFS_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

struct api;
struct buf;
struct cache;
struct fetcher;
struct handle;
struct meta;
struct hasher;
struct publisher;
struct record;
struct staged;
struct staging;
struct super;

enum super_control { SUPER_STATUS, SUPER_METRICS, SUPER_CONTROLS };
#define SUPER_CONTROL_MAX (64U << 20) /* bytes of one text */

struct super_config {
	struct api *api; /* all borrowed until super_free() */
	struct publisher *publisher;
	struct staging *staging;
	struct cache *cache;
	struct fetcher *fetcher;
	struct meta *meta;   /* or NULL: nothing is remembered */
	struct hasher *disk; /* a worker for long copies on the local disk */
	const char *purpose; /* one of names_purposes, or NULL for all */
	bool close_async, keep_old;
	bool allow_other; /* others may read .uploadfs */
	unsigned list_ttl_s, hold_timeout_s;
	uint64_t cache_size;
	uid_t uid;
	gid_t gid;
	mode_t file_mode, dir_mode, umask; /* permission bits */
	/*
	 * Makes the text of .uploadfs/status or metrics: appends to ret. 0 or negative errno.
	 * Called from any thread without locks. NULL: there is no .uploadfs.
	 */
	int (*control)(void *arg, enum super_control which, struct buf *ret);
	void *control_arg;
};

int super_new(const struct super_config *cfg, struct super **ret);
/* Before api_free(): no list is asked for any more, who waits is answered. NULL is a no-op. */
void super_stop(struct super *s);
/* After publisher_stop(), super_stop(), api_free(). Releases every publication. NULL is a no-op. */
void super_free(struct super *s);
/* No more writers are let in (EROFS); what is open goes on. */
void super_close_doors(struct super *s);
/* How many files were written to and not closed since. */
unsigned super_count_unclosed(struct super *s); /* NULL: 0 */
/* The st_dev under which others see the mount; for predict. */
void super_set_dev(struct super *s, dev_t dev);

struct super_caller {
	pid_t tid; /* the thread, 0 when in another pid namespace */
	uid_t uid;
	gid_t gid;
};

struct super_entry {
	uint64_t ino;
	struct stat st;
	/* may be cached by the kernel for a moment: not being written here */
	bool settled;
};

typedef void super_entry_cb(void *arg, int err, const struct super_entry *e);
typedef void super_done_cb(void *arg, int err);

/* On success the inode's lookup count is one higher. */
void super_lookup(struct super *s, uint64_t parent, const char *name, super_entry_cb *cb,
		  void *arg);
void super_forget(struct super *s, uint64_t ino, uint64_t n);
int super_getattr(struct super *s, uint64_t ino, struct super_entry *ret);
void super_statfs(struct super *s, struct statvfs *ret);

enum {
	SUPER_SET_MODE = 1,
	SUPER_SET_UID = 2,
	SUPER_SET_GID = 4,
	SUPER_SET_MTIME = 8,
	SUPER_SET_SIZE = 16
};
/* h: the open handle for a size, or NULL (truncate by path: counts as opened, cut and closed). */
void super_setattr(struct super *s, uint64_t ino, const struct stat *st, unsigned what,
		   struct handle *h, const struct super_caller *who, super_entry_cb *cb, void *arg);

/* Directories. */
int super_mkdir(struct super *s, uint64_t parent, const char *name, mode_t mode,
		const struct super_caller *who, struct super_entry *ret);
int super_rmdir(struct super *s, uint64_t parent, const char *name);
void super_unlink(struct super *s, uint64_t parent, const char *name, super_done_cb *cb, void *arg);
/* flags: RENAME_NOREPLACE, or 0; others -EINVAL. */
void super_rename(struct super *s, uint64_t parent, const char *name, uint64_t new_parent,
		  const char *new_name, unsigned flags, super_done_cb *cb, void *arg);

struct dir; /* a snapshot of a directory's entries; see dir.h */
typedef void super_dir_cb(void *arg, int err, struct dir *d);
void super_opendir(struct super *s, uint64_t ino, super_dir_cb *cb, void *arg);
/* The entries as they are now, for who reads them from the start once more. 0 or -ENOMEM. */
int super_rewinddir(struct super *s, struct dir *d);
void super_closedir(struct super *s, struct dir *d);

/* Files. */
typedef void super_open_cb(void *arg, int err, const struct super_entry *e, struct handle *h);
void super_create(struct super *s, uint64_t parent, const char *name, mode_t mode, int flags,
		  const struct super_caller *who, super_open_cb *cb, void *arg);
void super_open(struct super *s, uint64_t ino, int flags, const struct super_caller *who,
		super_open_cb *cb, void *arg);
/* True when reads and writes through h shall bypass the kernel's page cache. */
bool super_direct_io(const struct handle *h);
/* True when what the kernel has cached of the file is still right. */
bool super_keep_cache(const struct handle *h);

/*
 * fd: borrowed until the callback returns, holds [off, off + len); len may be
 * less than asked at the end of the file.
 */
typedef void super_read_cb(void *arg, int err, int fd, uint64_t off, size_t len);
void super_read(struct super *s, struct handle *h, uint64_t off, size_t len, super_read_cb *cb,
		void *arg);

/*
 * A write: begin, put the bytes into *ret_fd at off, end with what landed.
 * -EBUSY from begin: the file is being published; super_wait_writable() calls
 * back when to try again.
 */
int super_write_begin(struct super *s, struct handle *h, uint64_t off, uint64_t len, int *ret_fd);
void super_write_end(struct super *s, struct handle *h, uint64_t off, uint64_t len, uint64_t done,
		     const struct super_caller *who, uint64_t lock_owner);
/*
 * A write was refused, or none of it landed: until those bytes are written, or
 * the file is made anew, a close publishes nothing and returns err.
 */
void super_write_failed(struct super *s, struct handle *h, uint64_t off, int err);
void super_wait_writable(struct super *s, struct handle *h, super_done_cb *cb, void *arg);
/* -EBUSY as for super_write_begin(). */
int super_fallocate(struct super *s, struct handle *h, int mode, uint64_t off, uint64_t len);
int super_fsync(struct super *s, struct handle *h);

/*
 * A close of one descriptor. w, from super_wait_new() (NULL: out of memory), is
 * consumed; it may be given to super_wait_cancel() until the callback has
 * returned, from before the call on.
 */
struct super_wait;
struct super_wait *super_wait_new(struct super *s);
void super_flush(struct super *s, struct handle *h, const struct super_caller *who,
		 uint64_t lock_owner, struct super_wait *w, super_done_cb *cb, void *arg);
/* True: the callback will not run, and w is gone; the publication goes on. False: it comes,
 * with -EINTR when it would have waited and does not yet. */
bool super_wait_cancel(struct super_wait *w);
void super_release(struct super *s, struct handle *h);

/* Extended attributes. value: len bytes, not terminated; valid until the callback returns. */
typedef void super_xattr_cb(void *arg, int err, const char *value, size_t len);
void super_getxattr(struct super *s, uint64_t ino, const char *name, super_xattr_cb *cb, void *arg);
/* Names with their NULs, as listxattr(2) wants them. */
void super_listxattr(struct super *s, uint64_t ino, super_xattr_cb *cb, void *arg);
void super_setxattr(struct super *s, uint64_t ino, const char *name, const char *value, size_t len,
		    super_done_cb *cb, void *arg);

/* Recovery: puts a staged file with its record back into the tree and takes up its publication.
 * Consumes the reference to st. */
int super_adopt(struct super *s, struct staged *st, const struct record *r);

#endif
