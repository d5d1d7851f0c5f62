/*
 * files: the index of Files. Any thread; all but file_get() and file_page() block on the disk. A
 * File is counted: its data stays until the last reference is given back, even after a deletion.
 * Errors as in refusal.h.
 */
#ifndef UPLOADFS_NET_SERVER_FILES_H
#define UPLOADFS_NET_SERVER_FILES_H

#include "net/server/refusal.h"
#include "net/server/state.h"

struct file_query {
	const char *purpose, *after; /* NULL: none */
	size_t limit;		     /* 1 … 10000 */
	bool desc;		     /* newest first */
};

/*
 * Make f exist: durable on disk, then in the index. Success returns one reference for the caller;
 * after an error the caller still owns f. 0 or negative errno.
 */
int file_commit(struct state *st, struct file *f);
/* Return a reference to a File that exists and is not expired; else NULL and a refusal (404). */
struct file *file_get(struct state *st, const char *id, struct refusal *r);
void file_unref(struct state *st, struct file *f); /* NULL is a no-op */
int file_delete(struct state *st, const char *id, struct refusal *r);
/* Write a page as the API's list object; *ret_count: the Files in it. */
int file_page(struct state *st, const struct file_query *q, const struct reply_override *over,
	      struct refusal *r, struct buf *out, uint64_t *ret_count);

/* ---- for state.c ---- */

int file_adopt(struct state *st, struct file *f); /* add a File found on disk; owns f */
void file_sort(struct state *st);		  /* call once, after the last file_adopt() */
/* Make count Files of that many bytes each, for a store that forgets. 0 or negative errno. */
int file_invent(struct state *st, size_t count, uint64_t bytes);
void file_expire(struct state *st); /* remove expired Files */

#endif
