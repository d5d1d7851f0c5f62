/*
 * attrs: keep what users set and the service can't keep: modes, owners and times by File id, and
 * the directories made here, which may be empty. Tables attr and dir of the store. The attributes
 * of Files are also held in memory, about 120 bytes each, so that attrs_get() costs no SELECT. A
 * change survives kill -9 once the call returns, and a power cut after the next statedb_sync().
 * Threads: any; the locks here lie above the store's and below vfs.lock. Blocks as statedb_commit()
 * does.
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

/* Read the stored attributes. s must outlive *ret. 0, -ENOMEM, or an errno of the store. */
int attrs_open(struct statedb *s, struct attrs **ret);
void attrs_close(struct attrs *a); /* NULL is a no-op */

/* Return the number of Files with an entry. */
size_t attrs_count(struct attrs *a);
/* Return true and fill *ret if the File has an entry. */
bool attrs_get(struct attrs *a, const char *file_id, struct attr_set *ret);
/*
 * Set a File's attributes. 0 or a negative errno (-ENOSPC, -EIO, -ENOMEM); an error changes
 * nothing. Setting equal attributes writes nothing.
 */
int attrs_set(struct attrs *a, const char *file_id, const struct attr_set *set);
/* The same, with the row in the next transaction (statedb_later()). 0 or -ENOMEM. */
int attrs_set_later(struct attrs *a, const char *file_id, const struct attr_set *set);
/*
 * Forget a File. Memory forgets it in any case; after an error of the store it is back at the next
 * open.
 */
void attrs_forget(struct attrs *a, const char *file_id);

/*
 * Sweep the entries of Files that are gone: begin, mark the id of every File of a whole listing,
 * end. End forgets each entry that was neither marked nor set since begin, unless keep() returns
 * true. keep() runs without locks. A mark costs one table lookup, and nothing without entries. One
 * sweep at a time.
 */
void attrs_sweep_begin(struct attrs *a);
void attrs_sweep_mark(struct attrs *a, const char *file_id);
void attrs_sweep_end(struct attrs *a, bool (*keep)(void *arg, const char *file_id), void *arg);

/*
 * Set a directory: a purpose and a path below it ("a/b"), without empty components. Each directory
 * is a row with a parent; parents that nobody set are rows without attributes. Errors as
 * attrs_set(); -EINVAL: an empty component or path; -ENAMETOOLONG.
 */
int attrs_dir_set(struct attrs *a, const char *purpose, const char *path,
		  const struct attr_set *set);
/* The same with the next transaction (statedb_later()). 0, -EINVAL, -ENAMETOOLONG, -ENOMEM. */
int attrs_dir_set_later(struct attrs *a, const char *purpose, const char *path,
			const struct attr_set *set);
/* Forget a directory; directories below it stay. 0 also if it is unknown. */
int attrs_dir_forget(struct attrs *a, const char *purpose, const char *path);
/*
 * Rename a directory and all below it in one transaction: its row and the paths of staged files
 * (files.h). 0 also if nothing is known of it. -EEXIST: the target is known; forget it first.
 */
int attrs_dir_move(struct attrs *a, const char *purpose, const char *path, const char *to_purpose,
		   const char *to_path);
/*
 * Call fn for each set directory by purpose and path, hence parents first. fn runs without locks
 * and sees the state at the call.
 */
void attrs_dir_each(struct attrs *a,
		    void (*fn)(void *arg, const char *purpose, const char *path,
			       const struct attr_set *set),
		    void *arg);

/* Numbers that Files made below a directory inherit. */
enum attrs_number {
	ATTRS_LIFETIME, /* seconds */
	ATTRS_CHECK	/* 1: no check; 2: JSON Lines */
};
/*
 * Set a number of a directory; 0 removes it. The path "" is the directory of the purpose itself. It
 * moves and goes with the directory. Errors as attrs_set().
 */
int attrs_dir_set_number(struct attrs *a, enum attrs_number which, const char *purpose,
			 const char *path, uint32_t number);
/* Call fn for each directory with that number. fn runs without locks. */
void attrs_dir_each_number(struct attrs *a, enum attrs_number which,
			   void (*fn)(void *arg, const char *purpose, const char *path,
				      uint32_t number),
			   void *arg);

#endif
