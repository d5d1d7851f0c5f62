/*
 * vfs: the filesystem without FUSE.
 *
 * ops.c converts requests to these calls and replies; tests call them without a mount. A call
 * that may wait for the network takes a callback, which runs exactly once: before the call
 * returns, or later on the publisher's, the network's or the listing's thread. Other calls block
 * on the local disk at most. Any thread. Errors are negative errno.
 *
 * Lock order (take from left to right, never the other way):
 *	vfs.lock -> staged file's lock -> pool's queue
 *	vfs.lock -> lock of a publication's record -> publisher.lock, staged file's lock
 *	vfs.lock -> listing.lock
 *	vfs.lock -> fetcher's lock
 *	vfs.lock -> cache's lock -> pool's queue
 * No lock is held across a callback, a reply, or a call of the API. The last
 * reference of a publication is never dropped under vfs.lock.
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
struct attrs;
struct pool;
struct publisher;
struct record;
struct staged;
struct staging;
struct statedb;
struct vfs;

enum vfs_control { VFS_STATUS, VFS_METRICS, VFS_CONTROLS };
#define VFS_CONTROL_MAX (64U << 20) /* limit of one control text, in bytes */

struct vfs_config {
	struct api *api; /* all borrowed until vfs_free() */
	struct publisher *publisher;
	struct staging *staging;
	struct cache *cache;
	struct fetcher *fetcher;
	struct attrs *attrs; /* NULL: remember nothing */
	struct statedb *db;  /* the store behind all of them; NULL: nothing to sync */
	struct pool *disk;   /* workers for long copies on the local disk */
	const char *purpose; /* one of names_purposes, or NULL for all */
	bool close_async, keep_old;
	bool no_delete;	   /* rm and rename of a File: EPERM */
	bool no_overwrite; /* other bytes for a File: EPERM */
	bool sync_always;  /* closes under temporary names sync, too */
	bool allow_other;  /* let other users read .uploadfs */
	unsigned list_ttl_s, hold_timeout_s;
	bool check_jsonl;	/* lines below batch and fine-tune have to be JSON objects */
	uint64_t expires_after; /* seconds that new Files live; 0: as their purpose says */
	uint64_t cache_size;
	uid_t uid;
	gid_t gid;
	mode_t file_mode, dir_mode, umask; /* permission bits */
	/*
	 * Append the text of .uploadfs/status or metrics to ret. 0 or negative errno. Called on any
	 * thread without locks. NULL: no .uploadfs.
	 */
	int (*control)(void *arg, enum vfs_control which, struct buf *ret);
	void *control_arg;
};

int vfs_new(const struct vfs_config *cfg, struct vfs **ret);
/*
 * Stop listing and answer every caller that waits for a list. Call before api_free(). NULL is a
 * no-op.
 */
void vfs_stop(struct vfs *s);
/*
 * Release every publication. Call after publisher_stop(), vfs_stop() and api_free(). NULL is a
 * no-op.
 */
void vfs_free(struct vfs *s);
/* Refuse new writers with EROFS; open handles go on. */
void vfs_close_doors(struct vfs *s);
/* True if this mount made or changed the File. arg: the vfs. Takes the lock. */
bool vfs_knows_file(void *arg, const char *file_id);
/*
 * Note which Files are listed now; vfs_was_listed() tells whether file_id was among them. arg: the
 * vfs. Take the lock.
 */
uint64_t vfs_mark(void *arg);
bool vfs_was_listed(void *arg, const char *file_id, uint64_t mark);
/*
 * Call fn under the lock for the id of each File of that name and size that has an entry. arg: the
 * vfs. Without memory none is named.
 */
void vfs_each_listed(void *arg, const char *purpose, const char *filename, uint64_t bytes,
		     void (*fn)(void *fn_arg, const char *file_id), void *fn_arg);
/*
 * Call fn for each File with an entry here that the service could not process: purpose and path,
 * and its words, "" for none. Stop at fn's first error. 0, -ENOMEM, or that error. Not under the
 * lock.
 */
int vfs_each_unusable(struct vfs *s,
		      int (*fn)(void *arg, const char *label, const char *file_id,
				const char *details),
		      void *arg);
/* How far the fetch of the account's list is. NULL vfs: none is under way. Not under the lock. */
struct vfs_listing {
	bool under_way, known; /* known: a whole list was fetched before */
	uint64_t pages, files, seconds;
};
void vfs_get_listing(struct vfs *s, struct vfs_listing *ret);
/* Count the files written since their last close. NULL: 0. */
unsigned vfs_count_unclosed(struct vfs *s);
/* Set the st_dev of the mount, which predict leaves out. */
void vfs_set_dev(struct vfs *s, dev_t dev);

struct vfs_caller {
	pid_t tid; /* the calling thread; 0 in another PID namespace */
	uid_t uid;
	gid_t gid;
};

struct vfs_entry {
	uint64_t ino;
	struct stat st;
	/* the kernel may cache the entry for a moment: nobody here writes the file */
	bool settled;
	/* it was just made: the kernel may cache its attributes, which only the kernel changes */
	bool new_file;
};

typedef void vfs_entry_cb(void *arg, int err, const struct vfs_entry *e);
typedef void vfs_done_cb(void *arg, int err);

/* Look a name up. Success adds one to the inode's lookup count. */
void vfs_lookup(struct vfs *s, uint64_t parent, const char *name, vfs_entry_cb *cb, void *arg);
/*
 * Fill *ret with the entry `name` of a listed directory. Return 0 and add one to the inode's lookup
 * count only if the entry still is the inode `child`. Return -ENOENT if the entry is gone, is
 * another inode, or needs a lookup by name first. Never waits for the network.
 */
int vfs_lookup_listed(struct vfs *s, uint64_t parent, const char *name, uint64_t child,
		      struct vfs_entry *ret);
void vfs_forget(struct vfs *s, uint64_t ino, uint64_t n);
int vfs_getattr(struct vfs *s, uint64_t ino, struct vfs_entry *ret);
void vfs_statfs(struct vfs *s, struct statvfs *ret);

enum { VFS_SET_MODE = 1, VFS_SET_UID = 2, VFS_SET_GID = 4, VFS_SET_MTIME = 8, VFS_SET_SIZE = 16 };
/* h: the open handle that sets a size. NULL truncates by path: open, cut and close. */
void vfs_setattr(struct vfs *s, uint64_t ino, const struct stat *st, unsigned what,
		 struct handle *h, const struct vfs_caller *who, vfs_entry_cb *cb, void *arg);

/* Directories. */
int vfs_mkdir(struct vfs *s, uint64_t parent, const char *name, mode_t mode,
	      const struct vfs_caller *who, struct vfs_entry *ret);
int vfs_rmdir(struct vfs *s, uint64_t parent, const char *name);
void vfs_unlink(struct vfs *s, uint64_t parent, const char *name, vfs_done_cb *cb, void *arg);
/*
 * The caller of the vfs_unlink() with that arg is gone: what is written to the name from now on
 * stays. No-op once its cb runs.
 */
void vfs_unlink_interrupted(struct vfs *s, const void *arg);
/*
 * flags: 0 or RENAME_NOREPLACE; -EINVAL for others. -EXDEV: a File without a whole local copy, or a
 * directory with a File in it.
 */
void vfs_rename(struct vfs *s, uint64_t parent, const char *name, uint64_t new_parent,
		const char *new_name, unsigned flags, vfs_done_cb *cb, void *arg);
/*
 * The caller of the vfs_rename() with that arg is gone: end it with -EINTR, nothing changed, unless
 * complete was asked. No-op once its cb runs.
 */
void vfs_rename_interrupted(struct vfs *s, const void *arg);

struct dir; /* a snapshot of a directory's entries: fs/tree/snapshot.h */
typedef void vfs_dir_cb(void *arg, int err, struct dir *d);
void vfs_opendir(struct vfs *s, uint64_t ino, vfs_dir_cb *cb, void *arg);
/*
 * Take the snapshot, for a reader at the first entry: the kernel does not tell of a rewinddir().
 * d is empty before. 0 or negative errno.
 */
int vfs_rewinddir(struct vfs *s, struct dir *d);
void vfs_closedir(struct vfs *s, struct dir *d);
/*
 * Make every answered change of names survive a power cut. Blocks on the local disk without a lock.
 * 0 or negative errno.
 */
int vfs_fsyncdir(struct vfs *s);

/* Files. */
typedef void vfs_open_cb(void *arg, int err, const struct vfs_entry *e, struct handle *h);
void vfs_create(struct vfs *s, uint64_t parent, const char *name, mode_t mode, int flags,
		const struct vfs_caller *who, vfs_open_cb *cb, void *arg);
void vfs_open(struct vfs *s, uint64_t ino, int flags, const struct vfs_caller *who, vfs_open_cb *cb,
	      void *arg);
/* True if reads and writes through h must bypass the kernel's page cache. */
bool vfs_direct_io(const struct handle *h);
/* True if the kernel's cached pages of the file are still right. */
bool vfs_keep_cache(const struct handle *h);
bool vfs_is_control(const struct handle *h); /* a file of .uploadfs */

/*
 * fd holds the bytes [off, off + len) and is borrowed until the callback returns. len is shorter
 * than asked only at the end of the file.
 */
typedef void vfs_read_cb(void *arg, int err, int fd, uint64_t off, size_t len);
void vfs_read(struct vfs *s, struct handle *h, uint64_t off, size_t len, vfs_read_cb *cb,
	      void *arg);
/*
 * Give up the read of h with that arg, after vfs_read() has returned. True: its callback will not
 * run. False: the callback has run, runs, or is about to.
 */
bool vfs_read_cancel(struct handle *h, void *arg);

/*
 * Write: begin, put the bytes into *ret_fd at off, end with the count that landed. begin returns
 * -EBUSY while the file is being published: vfs_wait_writable() calls back once a retry makes
 * sense.
 */
int vfs_write_begin(struct vfs *s, struct handle *h, uint64_t off, uint64_t len,
		    const struct vfs_caller *who, int *ret_fd);
void vfs_write_end(struct vfs *s, struct handle *h, uint64_t off, uint64_t len, uint64_t done,
		   const struct vfs_caller *who, uint64_t lock_owner);
/*
 * Note that the bytes [off, off + len) were refused or did not land. Until all of them are written,
 * or the file is cut below them or made anew, every close publishes nothing and returns err; but
 * where nothing was changed yet, the File stands, and that begins with the first change through h.
 */
void vfs_write_failed(struct vfs *s, struct handle *h, uint64_t off, uint64_t len, int err);
void vfs_wait_writable(struct vfs *s, struct handle *h, vfs_done_cb *cb, void *arg);
/* -EBUSY as for vfs_write_begin(). */
int vfs_fallocate(struct vfs *s, struct handle *h, int mode, uint64_t off, uint64_t len);
int vfs_fsync(struct vfs *s, struct handle *h);
/*
 * Finish a write with O_DSYNC: sync the bytes [off, off + len) and their record. Blocks on
 * the local disk without a lock. An error spoils the file as vfs_write_failed() does.
 */
int vfs_write_sync(struct vfs *s, struct handle *h, uint64_t off, uint64_t len);

/*
 * Close one descriptor. w comes from vfs_wait_new() (NULL: out of memory) and is consumed.
 * vfs_wait_cancel() accepts w until the callback has returned, and also before this call.
 */
struct vfs_wait;
struct vfs_wait *vfs_wait_new(struct vfs *s);
void vfs_flush(struct vfs *s, struct handle *h, const struct vfs_caller *who, uint64_t lock_owner,
	       struct vfs_wait *w, vfs_done_cb *cb, void *arg);
/*
 * Give up waiting. True: w is freed, the callback will not run, the publication goes on. False: the
 * callback runs, with -EINTR if the close would have waited but does not yet.
 */
bool vfs_wait_cancel(struct vfs_wait *w);
/*
 * True if a close of h would publish although nothing can be learned about the end of the closing
 * process (another PID namespace, hidepid). Blocks on procfs at most.
 */
bool vfs_close_is_blind(struct vfs *s, struct handle *h, const struct vfs_caller *who);
/* Close for a process that a signal ends; call instead of vfs_flush(). Publishes nothing. */
void vfs_close_killed(struct vfs *s, struct handle *h, const struct vfs_caller *who,
		      uint64_t lock_owner);
void vfs_release(struct vfs *s, struct handle *h);

/* Extended attributes. value: len bytes, not terminated; valid until the callback returns. */
typedef void vfs_xattr_cb(void *arg, int err, const char *value, size_t len);
void vfs_getxattr(struct vfs *s, uint64_t ino, const char *name, vfs_xattr_cb *cb, void *arg);
/* Pass the names with their NULs, as listxattr(2) returns them. */
void vfs_listxattr(struct vfs *s, uint64_t ino, vfs_xattr_cb *cb, void *arg);
/* A directory's user.upload.expires_after, and .check, can be removed: -EOPNOTSUPP, -ENODATA. */
int vfs_removexattr(struct vfs *s, uint64_t ino, const char *name);
void vfs_setxattr(struct vfs *s, uint64_t ino, const char *name, const char *value, size_t len,
		  vfs_done_cb *cb, void *arg);

/*
 * Recovery: put a staged file with its record back into the tree and resume its publication.
 * Consumes the reference to st.
 */
int vfs_adopt(struct vfs *s, struct staged *st, const struct record *r);

#endif
