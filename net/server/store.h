/*
 * store: the directory in which the server keeps everything.
 *
 *	DIR/lock		held (flock) by the one server that writes here
 *	DIR/uploads/ID.json	one record per Upload
 *	DIR/files/ID.json	one record per File; it lists its Parts
 *	DIR/data/OWNER/PART	the bytes of a Part. OWNER is the Upload, or the File
 *				itself when it came by POST /files
 *	…/NAME.tmp		being written; swept at the next start
 *
 * A record is replaced atomically. The record of a File is the moment at which
 * it exists: nothing else needs to be undone or redone after a crash. Names are
 * made from ids of id_new() only, never from a request. Directories are 0700,
 * files 0600. All functions block on the disk and may be called from any
 * thread; calls for one id must not overlap unless stated.
 *
 * A forgetful store has no directory: written bytes are dropped, syncs and removals
 * succeed, lookups find nothing, and an opened Part reads as zeros without an end.
 */
#ifndef UPLOADFS_NET_SERVER_STORE_H
#define UPLOADFS_NET_SERVER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "net/base/buf.h"

enum store_kind { STORE_UPLOADS, STORE_FILES };

struct store;

/*
 * Open a store. write: create missing directories, take the lock (-EBUSY: another server has it).
 * -EPERM: dir, or a directory in it, belongs to neither the caller nor root, or others may write to
 * it and it is not sticky. Links below dir are not followed. Without write: change nothing, accept
 * any owner. 0 or negative errno.
 */
int store_open(const char *dir, bool write, struct store **ret);
/* Open a forgetful store. 0 or -ENOMEM. */
int store_open_forgetful(struct store **ret);
bool store_forgets(const struct store *st);
void store_close(struct store *st); /* NULL is a no-op */

/* Replace a record. durable: return once it is on stable storage. */
int store_record_write(struct store *st, enum store_kind kind, const char *id,
		       const struct buf *text, bool durable);
/* Read a record into text. 0, -ENOENT, or another negative errno. */
int store_record_read(struct store *st, enum store_kind kind, const char *id, struct buf *text);
/* Remove a record, if it is there; its removal is on stable storage then. */
int store_record_remove(struct store *st, enum store_kind kind, const char *id);
/*
 * Call cb for each record, in no order, with the id its name carries. Stop at the first non-zero
 * return of cb and return it; an unreadable record also stops, after a log line.
 */
typedef int store_record_cb(void *arg, const char *id, const char *text, size_t len);
int store_record_each(struct store *st, enum store_kind kind, store_record_cb *cb, void *arg);

int store_data_make(struct store *st, const char *owner);
void store_data_remove(struct store *st, const char *owner); /* and all in it; may be missing */
/* Remove files being written when the server died. */
void store_data_sweep(struct store *st, const char *owner);
typedef int store_data_cb(void *arg, const char *owner);
int store_data_each(struct store *st, store_data_cb *cb, void *arg);

/* Make a Part, invisible to store_part_each() until committed. The caller closes the fd. */
int store_part_create(struct store *st, const char *owner, const char *id, int *ret_fd);
int store_part_commit(struct store *st, const char *owner, const char *id);
void store_part_remove(struct store *st, const char *owner, const char *id, bool committed);
int store_part_open(struct store *st, const char *owner, const char *id, int *ret_fd);
/* Wait until a Part and its name are on stable storage. */
int store_part_sync(struct store *st, const char *owner, const char *id);
int store_owner_sync(struct store *st, const char *owner);
typedef int store_part_cb(void *arg, const char *id, uint64_t bytes, struct timespec mtime);
int store_part_each(struct store *st, const char *owner, store_part_cb *cb, void *arg);

#endif
