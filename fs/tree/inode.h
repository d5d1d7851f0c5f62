/*
 * inode: the tree of directories and files, with lookup counts.
 *
 * An inode is one entry: a purpose directory, a directory, or a file. It lives
 * while it is linked in its directory, while the kernel remembers it (nlookup),
 * or while something of ours holds it (nref: handles, publications). Which File
 * or staged file stands behind it is vfs's business.
 *
 * A hundred thousand are nothing unusual: mind the size of struct inode (200
 * bytes with 64 bit pointers, which malloc() can hold in 208).
 *
 * Not thread-safe: everything here is protected by vfs's lock. Never blocks.
 */
#ifndef UPLOADFS_FS_TREE_INODE_H
#define UPLOADFS_FS_TREE_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define INODE_ROOT 1 /* the number of the root directory */

struct staged_side; /* vfs's: the staged file behind an inode */

enum inode_kind { INODE_DIR, INODE_FILE };

/* What only the publisher of a File knows of it. */
struct published {
	char md5[33];
	unsigned parts;
	char *upload_id;
	uint64_t fresh_until_ms; /* monotonic: until one names it listings prove nothing */
};

struct inode {
	/* What is read of those that are passed when one is looked for: next to each other. */
	uint64_t ino;
	struct inode *by_ino, *by_name, *by_id; /* hash chains */
	uint32_t name_hash;			/* in its directory; while it is linked */
	uint32_t id_hash;			/* of file_id */
	struct inode *parent;			/* NULL: the root, or no longer linked */
	char *name;
	char *file_id;		     /* the File, or NULL */
	struct inode *next, **pprev; /* siblings */
	enum inode_kind kind : 8;
	bool fixed : 1;	      /* root and purpose directories: can't be removed or renamed */
	bool kept : 1;	      /* a directory made here: stays when it becomes empty */
	bool special : 1;     /* not listed, not writable: .by-id and what is in it */
	bool has_mtime : 1;   /* set by a user; else created_at counts */
	bool stale_pages : 1; /* what the kernel has cached of it may be from before the File */
	bool unlisted : 1;    /* a File that only .by-id has shown so far: not writable */
	bool renamed_for_conflict : 1; /* shown as NAME~FILE_ID: another one has the name */
	bool moved : 1;	    /* and was shown as NAME; not looked up as NAME~FILE_ID since */
	bool contested : 1; /* a directory in which one was moved: the kernel asks for each name */
	uint32_t seen;	    /* number of the listing that named it last; 0: none did */
	uint32_t order;	    /* its place in that listing; 0: the newest */
	uint32_t nref;
	uint64_t nlookup;
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
	uint32_t nopen; /* handles open on it */
	struct timespec mtime;
	struct inode *child; /* of a directory */
	const char *purpose; /* shared by all below one purpose directory; NULL at the root */
	/* a file */
	struct staged_side *side;    /* staged file, or NULL */
	char *filename;		     /* the File's name where that is not its path, or NULL */
	struct published *published; /* when we published it, else NULL */
	uint64_t bytes;
	int64_t created_at, expires_at;
};

struct inode_table;

int inode_table_new(struct inode_table **ret);
void inode_table_free(struct inode_table *t); /* with all inodes; NULL is a no-op */
struct inode *inode_root(struct inode_table *t);
size_t inode_count(const struct inode_table *t);

/* A new entry in parent, which must not have one of that name. NULL: out of memory. */
struct inode *inode_new(struct inode_table *t, struct inode *parent, const char *name,
			enum inode_kind kind);
struct inode *inode_find(struct inode_table *t, const struct inode *parent, const char *name);
struct inode *inode_get(struct inode_table *t, uint64_t ino); /* NULL: none */
struct inode *inode_by_file_id(struct inode_table *t, const char *file_id);
/* Sets, changes or clears (NULL) the File behind it; id is copied. 0 or -ENOMEM. */
int inode_set_file_id(struct inode_table *t, struct inode *i, const char *file_id);
/* The name of the File behind it: copied, and kept only if it is not the path. 0 or -ENOMEM. */
int inode_set_filename(struct inode *i, const char *filename);
/* To another place or name. 0 or -ENOMEM (then nothing changed). */
int inode_move(struct inode_table *t, struct inode *i, struct inode *parent, const char *name);
/* Takes it out of its directory; it is freed once nobody needs it, perhaps now. */
void inode_unlink(struct inode_table *t, struct inode *i);

void inode_ref(struct inode *i);			  /* nref + 1 */
void inode_unref(struct inode_table *t, struct inode *i); /* may free it */
void inode_forget(struct inode_table *t, struct inode *i, uint64_t n);

/*
 * The path below its purpose directory, "a/b/c", or below the root for purpose
 * NULL; "" for those themselves.
 * 0, -ENOMEM, -ENAMETOOLONG. The caller frees. */
int inode_path(const struct inode *i, char **ret);
/* Bytes of that path, a '/' or NUL behind each component counted; 0 for "". Allocates nothing. */
size_t inode_path_size(const struct inode *i);
/* The same for the longest path below the directory top, as seen from there. */
size_t inode_size_below(const struct inode *top);
/*
 * The inode after i among those below top, parents first; start with top. NULL: that was the last.
 * Neither may have been removed or moved since.
 */
struct inode *inode_next_below(const struct inode *top, struct inode *i);
/*
 * For messages: purpose and path, or its File ID where it has no name any more. To be freed;
 * NULL: out of memory.
 */
char *inode_label(const struct inode *i);

/* Calls fn for each inode; fn must not add or free any. */
void inode_table_each(struct inode_table *t, void (*fn)(void *arg, struct inode *i), void *arg);

#endif
