/*
 * files: the rows of staged files, from which the next mount learns what
 * became of each. Table file, one row a staged file, and its lists: part,
 * superseded, abandoned. Table doomed: ids whose data is to be unlinked.
 *
 * Who writes what: purpose, path, mode, uid, gid, mtime and removed belong to
 * the vfs side; files_set_*() change them. All else belongs to the publisher;
 * files_save() writes it. The first files_save() of an id inserts both.
 *
 * Functions marked "in a transaction" are called between statedb_begin() and
 * statedb_commit(); after an error the commit fails with it. The others take
 * the lock of the store. Threads: any. Blocks as statedb_commit() does.
 */
#ifndef UPLOADFS_FS_STATE_FILES_H
#define UPLOADFS_FS_STATE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct statedb;

/* The numbers stand in the database: append only. */
enum record_state {
	RECORD_WRITING,	   /* not closed, or not yet on stable storage: comes back as aborted */
	RECORD_HELD,	   /* closed under a temporary name, waits for its rename */
	RECORD_SEALED,	   /* closed: to be published */
	RECORD_COMPLETING, /* complete was asked: the File may exist */
	RECORD_COMPLETED,  /* the File exists; file_id is set */
	RECORD_FAILED,	   /* the last publication failed; err and error tell */
	RECORD_ABORTED,	   /* its writer was killed, or the daemon died while it was written */
	RECORD_EMPTY,	   /* closed without a byte: stays local */
	RECORD_REMOVED	   /* by the user; but what the service has of it is not gone yet */
};

struct record_part {
	uint32_t index; /* part index, from 0 */
	char *id;	/* part id */
};

struct record {
	enum record_state state;
	char *purpose;		   /* not NULL */
	char *path;		   /* below the purpose, '/' between components; not NULL */
	char *filename;		   /* what the Upload was or will be created with; NULL: path */
	char *mime_type;	   /* NULL: by the ending */
	uint64_t size;		   /* bytes of the staged file when the row was written */
	uint64_t part_size;	   /* bytes a Part, of the Upload below */
	uint64_t part_block;	   /* bytes a small one (layout.h) */
	uint64_t declared;	   /* by the xattr; 0: none */
	uint64_t expires_after;	   /* seconds; 0: none */
	char *upload_id;	   /* NULL: no Upload */
	uint64_t upload_bytes;	   /* what the Upload was created with */
	int64_t upload_created;	   /* our clock, seconds since the epoch */
	int64_t upload_created_at; /* the server's; 0: not known */
	struct record_part *parts; /* Parts that arrived and are still right */
	size_t part_count;
	char *md5;	   /* NULL: not known yet */
	char *file_id;	   /* NULL: none */
	char **superseded; /* File ids to delete once this one is complete */
	size_t superseded_count;
	char **abandoned; /* Uploads that were given up, whose cancel was not answered yet */
	size_t abandoned_count;
	int err;	   /* negative errno of the last failure, or 0 */
	char *error;	   /* in words, or NULL */
	char *request_id;  /* or NULL */
	uint32_t in_doubt; /* of RECORD_REMOVED, 1: complete may have been done */
	uint32_t mode, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	int64_t created_s; /* when this row was written; for people who read it */
};

void record_init(struct record *r);    /* zeroes it */
void record_release(struct record *r); /* frees what it points to */
/* "writing", "held", ... */
const char *record_state_name(enum record_state state);

/* Makes the tables where they are missing. Once, before all else. */
int files_define(struct statedb *db);

/* In a transaction: the row but for the vfs side's columns, which an existing row keeps. -EINVAL:
 * no purpose or path. Replaces the lists. */
int files_save(struct statedb *db, const char *id, const struct record *r);
/* In a transaction: the columns of the vfs side. No row: nothing happens. */
int files_set_place(struct statedb *db, const char *id, const char *purpose, const char *path);
int files_set_owner(struct statedb *db, const char *id, uint32_t mode, uint32_t uid, uint32_t gid);
int files_set_mtime(struct statedb *db, const char *id, int64_t s, uint32_t ns);
int files_set_removed(struct statedb *db, const char *id); /* its state reads as REMOVED then */
int files_set_aside(struct statedb *db, const char *id);   /* no longer listed */
/* In a transaction: one more File to delete once this one is complete. */
int files_add_superseded(struct statedb *db, const char *id, const char *file_id);
/* In a transaction: removes the row with its lists. */
int files_drop(struct statedb *db, const char *id);
/*
 * In a transaction: the same, and notes that the data is to be unlinked once
 * the commit is durable. files_forgive() ends that note.
 */
int files_doom(struct statedb *db, const char *id);
int files_forgive(struct statedb *db, const char *id);

/* Reads a row; the caller releases ret. -ENOENT, -EBADMSG: values that make no sense; -ENOMEM. */
int files_load(struct statedb *db, const char *id, struct record *ret);
bool files_has(struct statedb *db, const char *id);

/* Calls fn, without the lock, for the ids in order. Stops at fn's error and returns it. */
enum files_which { FILES_STAGED, FILES_SET_ASIDE, FILES_DOOMED };
int files_each(struct statedb *db, enum files_which which, int (*fn)(void *arg, const char *id),
	       void *arg);

#endif
