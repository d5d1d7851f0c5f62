/*
 * inode: the tree of directories and files, with lookup counts. An inode is one entry: a purpose
 * directory, a directory, or a file. It lives while it is linked in its directory, while the kernel
 * remembers it (nlookup), or while a handle or publication holds it (nref). vfs manages the File or
 * staged file behind it. Mind the size of struct inode (200 bytes with 64 bit pointers, which
 * malloc() holds in 208): a hundred thousand inodes are common. Not thread-safe: call everything
 * here under vfs's lock. Never blocks.
 */
#ifndef UPLOADFS_FS_TREE_INODE_H
#define UPLOADFS_FS_TREE_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define INODE_ROOT 1 /* the number of the root directory */

struct staged_side; /* defined by fs/vfs: the staged file behind an inode */

enum inode_kind { INODE_DIR, INODE_FILE };

/* Facts known only to the publisher of a File. */
struct published {
	char md5[33];
	unsigned parts;
	char *upload_id;
	char *error;		 /* the File exists, but can't be used: why; NULL: it can */
	uint64_t fresh_until_ms; /* CLOCK_MONOTONIC: until then a listing may miss the File */
};

/* What the service last told of a File's processing. */
struct file_state {
	char word[32];	   /* uploaded, processed, error, or another */
	char *details;	   /* of error, or NULL */
	uint64_t asked_ms; /* CLOCK_MONOTONIC: of the last answer about this File alone; 0: none */
};

struct inode {
	/* A search reads these fields of every inode it passes: keep them together. */
	uint64_t ino;
	struct inode *by_ino, *by_name, *by_id; /* hash chains */
	uint32_t name_hash;			/* hash of parent and name; valid while linked */
	uint32_t id_hash;			/* of file_id */
	struct inode *parent;			/* NULL: the root, or no longer linked */
	char *name;
	char *file_id;		     /* the File, or NULL */
	struct inode *next, **pprev; /* siblings */
	enum inode_kind kind : 8;
	bool fixed : 1;	      /* root or purpose directory: can't be removed or renamed */
	bool kept : 1;	      /* a directory made here: stays when it becomes empty */
	bool special : 1;     /* not listed, not writable: .by-id, .uploadfs and their entries */
	bool has_mtime : 1;   /* set by a user; else created_at counts */
	bool stale_pages : 1; /* the kernel's cached pages may be older than the File */
	bool unlisted : 1;    /* only .by-id has shown the File so far: not writable */
	bool renamed_for_conflict : 1; /* shown as NAME~FILE_ID: another entry has NAME */
	bool moved : 1;	 /* was shown as NAME before, and not looked up as NAME~FILE_ID since */
	bool unseen : 1; /* a listing gave the File this name, and no lookup found it there since */
	bool contested : 1; /* an entry of the directory was moved: the kernel looks up each name */
	bool crowded : 1;   /* an entry of the directory is or was shown as NAME~FILE_ID */
	bool changed : 1;   /* a directory that inode_take_changed() is to return */
	unsigned check : 2; /* a directory: enum line_check of fs/vfs/check.h */
	uint32_t seen;	    /* number of the last listing that named it; 0: none did */
	uint32_t order;	    /* its place in that listing; 0: the newest */
	uint32_t nref;
	uint64_t nlookup;
	uint32_t mode; /* permission bits */
	uint32_t uid, gid;
	uint32_t nopen; /* handles open on it */
	struct timespec mtime;
	struct inode *child; /* first child of a directory */
	const char *purpose; /* shared by all inodes of one purpose; NULL at the root */
	/* a file */
	struct staged_side *side;    /* staged file, or NULL */
	char *filename;		     /* the File's name if it differs from the path, or NULL */
	struct published *published; /* set if we published it, else NULL */
	struct file_state *state;    /* of file_id; NULL: processed, or not known */
	uint64_t bytes;
	int64_t created_at;
	union {
		int64_t expires_at; /* a file */
		uint32_t lifetime;  /* a directory: seconds for Files made below it; 0: not set */
	};
};

struct inode_table;

int inode_table_new(struct inode_table **ret);
void inode_table_free(struct inode_table *t); /* frees all inodes, too; NULL is a no-op */
struct inode *inode_root(struct inode_table *t);
size_t inode_count(const struct inode_table *t);
uint64_t inode_next_number(const struct inode_table *t); /* of the inode to be made next */
size_t inode_count_dirs(const struct inode_table *t);	 /* those of them that are directories */

/*
 * Every entry made in a directory, moved in or out, or removed sets the directory's mtime to now.
 * Not while the table is quiet: what a start or a first listing shows was there before.
 */
void inode_table_quiet(struct inode_table *t, bool quiet);
/* Return each directory once whose mtime an entry has set; NULL: no further one. */
struct inode *inode_take_changed(struct inode_table *t);

/* Make an entry in parent, which must not have one of that name. NULL: out of memory. */
struct inode *inode_new(struct inode_table *t, struct inode *parent, const char *name,
			enum inode_kind kind);
struct inode *inode_find(struct inode_table *t, const struct inode *parent, const char *name);
struct inode *inode_get(struct inode_table *t, uint64_t ino); /* NULL: no such inode */
struct inode *inode_by_file_id(struct inode_table *t, const char *file_id);
/*
 * Set what the service tells of the File; details may be NULL. NULL word: it is not known. 0 or
 * -ENOMEM: unchanged.
 */
int inode_set_state(struct inode *i, const char *word, const char *details, uint64_t asked_ms);
/* Set, change or clear (NULL) the File behind i and forget its state; the id is copied. 0 or
 * -ENOMEM. */
int inode_set_file_id(struct inode_table *t, struct inode *i, const char *file_id);
/*
 * Set the name of the File behind i: copied, and kept only if it differs from the path. 0 or
 * -ENOMEM.
 */
int inode_set_filename(struct inode *i, const char *filename);
/* Move i to another directory or name. 0, or -ENOMEM without a change. */
int inode_move(struct inode_table *t, struct inode *i, struct inode *parent, const char *name);
/* Frees p and its strings. NULL is a no-op. */
void inode_published_free(struct published *p);
/* Take i out of its directory. Frees i once nothing refers to it, perhaps now. */
void inode_unlink(struct inode_table *t, struct inode *i);

void inode_ref(struct inode *i);			  /* adds 1 to nref */
void inode_unref(struct inode_table *t, struct inode *i); /* may free i */
void inode_forget(struct inode_table *t, struct inode *i, uint64_t n);

/*
 * Return the path of i below its purpose directory, "a/b/c", or below the root for purpose NULL; ""
 * for these directories themselves. 0, -ENOMEM, -ENAMETOOLONG. The caller frees *ret.
 */
int inode_path(const struct inode *i, char **ret);
/*
 * Return the bytes of that path, counting a '/' or NUL behind each component; 0 for "". Allocates
 * nothing.
 */
size_t inode_path_size(const struct inode *i);
/* Return the bytes of the longest path below the directory top, relative to top. */
size_t inode_size_below(const struct inode *top);
/*
 * Return the inode after i among those below top, parents first; start with i = top. NULL: i was
 * the last. Don't remove or move top or i between calls.
 */
struct inode *inode_next_below(const struct inode *top, struct inode *i);
/*
 * Return a label for messages: purpose and path, or the File ID if i has no name any more. The
 * caller frees it. NULL: out of memory.
 */
char *inode_label(const struct inode *i);

/* Call fn for each inode; fn must not add or free any. */
void inode_table_each(struct inode_table *t, void (*fn)(void *arg, struct inode *i), void *arg);

#endif
