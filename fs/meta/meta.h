/*
 * meta: what users set on Files and the service can't keep: modes, owners,
 * times, by File id; and the directories that were made and may be empty.
 *
 * STATE_DIR/meta (0600): a log of lines, each with a checksum of its own, read
 * at open and appended to since; rewritten when more than half of it is stale.
 * A torn or damaged line is passed over. Losing the last lines in a power loss
 * costs times and modes, never content, so nothing is synced but at close and
 * when rewritten. Any thread; a lock of its own, a leaf; blocks on the local
 * disk. meta_log.h says how a line looks.
 */
#ifndef UPLOADFS_FS_META_META_H
#define UPLOADFS_FS_META_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meta;

struct meta_attr {
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
	bool has_mtime;
	int64_t mtime_s;
	uint32_t mtime_ns;
};

/*
 * Reads the file, or makes it; its directory exists. 0 or negative errno: of the
 * file (-EACCES, -EROFS, ...), -ELOOP and -EBADMSG when it is a symlink or no
 * regular file, -ENOMEM. Damage inside is no error.
 */
int meta_open(const char *path, struct meta **ret);
void meta_close(struct meta *m); /* syncs; NULL is a no-op */

/* file_id has passed api_id_valid(). Returns whether there is an entry. */
bool meta_get(struct meta *m, const char *file_id, struct meta_attr *ret);
/*
 * 0 or negative errno (-ENOSPC, -EROFS, -ENOMEM; -ENAMETOOLONG: no line can hold
 * the name): then all is as it was before the call, in memory and after a
 * remount. Setting what is set already writes nothing.
 */
int meta_set(struct meta *m, const char *file_id, const struct meta_attr *attr);
/* Can't fail in memory; while the disk is full, what was forgotten may return at a remount. */
void meta_forget(struct meta *m, const char *file_id);
/*
 * Forgets the entries for which keep() says no; for after a whole listing. An
 * entry that is set while this runs stays. No lock is held in keep().
 */
void meta_sweep(struct meta *m, bool (*keep)(void *arg, const char *file_id), void *arg);

/*
 * Directories: purpose and path below it ("a/b"); any bytes but NUL, encoded
 * (three bytes for most that are no letter or digit) below 16 KiB. attr: its
 * mode, owner, mtime. Errors as with Files.
 */
int meta_dir_set(struct meta *m, const char *purpose, const char *path,
		 const struct meta_attr *attr);
void meta_dir_forget(struct meta *m, const char *purpose, const char *path);
/*
 * For each, parents before what is in them. fn may not call meta_*(); no lock is
 * held in it, and it sees what stood at the beginning.
 */
void meta_dir_each(struct meta *m,
		   void (*fn)(void *arg, const char *purpose, const char *path,
			      const struct meta_attr *attr),
		   void *arg);

#endif
