/*
 * attrs: what users set and the service can't keep: modes, owners and times by
 * File id, and the directories that were made and may be empty.
 *
 * Tables attr and dir of the store; the attributes of Files are also held in
 * memory, about 120 bytes each, so that attrs_get() costs no SELECT. A change
 * survives kill -9 when the call returns, and a power cut after the next
 * statedb_sync(). Threads: any; its locks lie above the store's and below
 * vfs.lock. Blocks as statedb_commit() does.
 */
#ifndef UPLOADFS_FS_STATE_ATTRS_H
#define UPLOADFS_FS_STATE_ATTRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attrs;
struct statedb;

#define ATTRS_PATH_MAX 16384 /* bytes of a directory's path, NUL included */

struct attr_set {
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
	bool has_mtime;
	int64_t mtime_s;
	uint32_t mtime_ns;
};

/* Reads what is there. s outlives it. 0, -ENOMEM, or an errno of the store. */
int attrs_open(struct statedb *s, struct attrs **ret);
void attrs_close(struct attrs *a); /* NULL is a no-op */

/* Returns whether there is an entry. */
bool attrs_get(struct attrs *a, const char *file_id, struct attr_set *ret);
/*
 * 0 or a negative errno (-ENOSPC, -EIO, -ENOMEM): then all is as before the
 * call. Setting what is set already writes nothing.
 */
int attrs_set(struct attrs *a, const char *file_id, const struct attr_set *set);
/* Forgets it in memory in any case; after an error of the store it is back at the next open. */
void attrs_forget(struct attrs *a, const char *file_id);

/*
 * Sweeping, so that entries of Files that are gone don't pile up: begin, mark
 * the id of every File of a whole listing, then end. End forgets the entries
 * that were neither marked nor set since begin and that keep() refuses. keep()
 * runs without locks. Marks cost a look into a table each, and nothing while
 * there are no entries. One sweep at a time.
 */
void attrs_sweep_begin(struct attrs *a);
void attrs_sweep_mark(struct attrs *a, const char *file_id);
void attrs_sweep_end(struct attrs *a, bool (*keep)(void *arg, const char *file_id), void *arg);

/*
 * Directories: a purpose and a path below it ("a/b"), without empty components.
 * Each is a row with a parent; those in between that nobody set are rows
 * without attributes. Errors as above; -EINVAL: an empty component or path;
 * -ENAMETOOLONG.
 */
int attrs_dir_set(struct attrs *a, const char *purpose, const char *path,
		  const struct attr_set *set);
/* 0 also when there is none. What lies below it stays. */
int attrs_dir_forget(struct attrs *a, const char *purpose, const char *path);
/*
 * Renames a directory with all below it, its row and the paths of staged files
 * (files.h), in one transaction. 0 also when nothing is known of it. -EEXIST:
 * something is known of the target; forget that before.
 */
int attrs_dir_move(struct attrs *a, const char *purpose, const char *path, const char *to_purpose,
		   const char *to_path);
/*
 * For each that was set, by purpose and path, so parents before what is in
 * them. No lock is held in fn; it sees what stood at the beginning.
 */
void attrs_dir_each(struct attrs *a,
		    void (*fn)(void *arg, const char *purpose, const char *path,
			       const struct attr_set *set),
		    void *arg);

#endif
