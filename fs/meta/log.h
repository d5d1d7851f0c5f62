/*
 * meta_log: the file behind meta.h, a log of changes, and nothing of what they mean.
 *
 * One line for each change; of those on one key the last one counts:
 *
 *	file ID MODE UID GID [MTIME_S MTIME_NS] SUM
 *	nofile ID SUM
 *	dir PURPOSE PATH MODE UID GID [MTIME_S MTIME_NS] SUM
 *	nodir PURPOSE PATH SUM
 *
 * Names are percent-encoded, MODE is octal, SUM is the FNV-1a (64 bits) of all
 * before it. A line goes out in one write. Not thread-safe; blocks on the local
 * disk.
 */
#ifndef UPLOADFS_FS_META_LOG_H
#define UPLOADFS_FS_META_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/meta/meta.h"
#include "net/base/buf.h"

/* A key is two strings, the second NULL for a File: (id) or (purpose, path). */
struct meta_change {
	const char *a, *b;
	bool set;	       /* false: forgotten, and attr is of no meaning */
	struct meta_attr attr; /* without has_mtime: mtime is 0 */
};

struct meta_log {
	uint64_t size; /* bytes in the file; may be read, the rest is private */
	int fd;
	int dir_fd;	 /* of the directory it lies in */
	char *name;	 /* there */
	char *tmp_name;	 /* where it is written anew */
	bool torn;	 /* it doesn't end with a newline */
	bool unsynced;	 /* written to since it was opened or synced */
	struct buf line; /* scratch: the line last formatted */
};

/*
 * Opens or makes the file (0600) and calls fn for each change in it, in their
 * order; the strings live until fn returns, line_size is in bytes. What is
 * damaged is passed over. An error of fn ends it and is returned. -EBADMSG: no
 * regular file; -ELOOP: a symlink. On error the struct is closed.
 */
int meta_log_open(struct meta_log *l, const char *path,
		  int (*fn)(void *arg, const struct meta_change *c, size_t line_size), void *arg);
void meta_log_close(struct meta_log *l); /* doesn't sync; again or on a failed open: a no-op */
int meta_log_sync(struct meta_log *l);	 /* 0 or negative errno; no cost when nothing was written */

/* 0; -ENAMETOOLONG: no line can hold it; -ENOMEM; of write(). On error the change doesn't count. */
int meta_log_append(struct meta_log *l, const struct meta_change *c, size_t *ret_line_size);

/*
 * Replaces the file, in one step and durably, by one that holds what fill()
 * puts by meta_log_put() and nothing else. On error the one of before stays.
 */
struct meta_log_out;
int meta_log_rewrite(struct meta_log *l, int (*fill)(void *arg, struct meta_log_out *out),
		     void *arg);
int meta_log_put(struct meta_log_out *out, const struct meta_change *c); /* errors as above */

#endif
