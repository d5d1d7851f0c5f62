/*
 * files: the rows of staged files, from which the next mount learns what
 * became of each. Table file, one row a staged file, and its lists: part,
 * superseded, abandoned, while complete is in doubt: doubt, stranger, after a
 * refusal: refusal, and checked: rows whose lines are checked. Table copy: rows that only copy a
 * File. Table doomed: ids whose data is to be unlinked.
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
	RECORD_WRITING,	   /* not closed, or not yet durable: becomes aborted at a restart */
	RECORD_HELD,	   /* closed under a temporary name; waits for its rename */
	RECORD_SEALED,	   /* closed: to be published */
	RECORD_COMPLETING, /* complete was asked: the File may exist */
	RECORD_COMPLETED,  /* the File exists; file_id is set */
	RECORD_FAILED,	   /* the last publication failed; see err and error */
	RECORD_ABORTED,	   /* its writer was killed, or the daemon died while it was written */
	RECORD_EMPTY,	   /* closed without a byte: stays local */
	RECORD_REMOVED	   /* removed by the user; the service has not removed everything yet */
};

struct record_part {
	uint32_t index; /* part index, from 0 */
	char *id;	/* part id */
};

struct record {
	enum record_state state;
	char *purpose;		/* not NULL */
	char *path;		/* below the purpose, '/' between components; not NULL */
	char *filename;		/* filename of the Upload, made or to be made; NULL: path */
	char *mime_type;	/* NULL: derived from the ending */
	uint64_t size;		/* bytes of the staged file when the row was written */
	uint64_t part_size;	/* bytes of a Part of the Upload below */
	uint64_t part_block;	/* bytes of a small Part (part_layout.h) */
	uint64_t declared;	/* bytes declared by the xattr; 0: none */
	uint64_t expires_after; /* seconds; 0: none */
	char *upload_id;	/* NULL: no Upload */
	char *upload_purpose;	/* what the Upload was created with; NULL: as above */
	char *upload_mime;
	uint64_t upload_expiry;
	uint64_t upload_bytes;	   /* bytes the Upload was created with */
	int64_t upload_created;	   /* our clock, seconds since the epoch */
	int64_t upload_created_at; /* the server's clock; 0: unknown */
	struct record_part *parts; /* Parts that arrived and still match the bytes */
	size_t part_count;
	char *md5;	   /* NULL: unknown */
	bool synced;	   /* the bytes were on stable storage when the row was written */
	char *era;	   /* datadir_era() when they were written; NULL: unknown */
	char *file_id;	   /* NULL: none */
	char **superseded; /* File ids to delete once this one is complete */
	size_t superseded_count;
	char **abandoned; /* Uploads given up whose cancel is not answered yet */
	size_t abandoned_count;
	/* while complete is in doubt; see fs/publish/doubt.h */
	char *doubt_md5;    /* of the bytes that complete was asked for; NULL: unknown */
	int64_t expires_at; /* of the Upload, the server's clock; 0: unknown */
	char **strangers;   /* Files like its own that are not its own */
	size_t stranger_count;
	int err;	   /* negative errno of the last failure, or 0 */
	char *error;	   /* the failure in words, or NULL */
	char *request_id;  /* or NULL */
	uint32_t in_doubt; /* 0, or enum doubt_cancel (fs/publish/doubt.h) */
	/* enum refused_kind (fs/publish/refused.h); its HTTP status; of what it was refused */
	uint32_t refused;
	int refused_status;
	char *refused_print;
	bool check; /* its lines have to be JSON objects */
	uint32_t mode, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	int64_t created_s; /* time the row was written, for human readers */
	bool copy;	   /* files_set_copy() marked it; files_save() leaves the mark alone */
	char *moved;	   /* with the mark: the File that goes with a rename, or NULL */
};

void record_init(struct record *r);    /* zero *r */
void record_release(struct record *r); /* free all that *r points to */
/* Return the name of a state: "writing", "held", ... */
const char *record_state_name(enum record_state state);

/* Make missing tables. Call once, before all else. */
int files_define(struct statedb *db);

/*
 * In a transaction: save the row and replace its lists. An existing row keeps the vfs side's
 * columns. -EINVAL: no purpose or path.
 */
int files_save(struct statedb *db, const char *id, const struct record *r);
/*
 * What a save has left in the lists. Keep it only if the transaction is committed; zero it with
 * each other change of the lists of the row, and at first.
 */
struct files_lists {
	bool exact;
	unsigned some;
};
enum { FILES_PLACE = 1, FILES_OWNER = 2 }; /* purpose and path; mode, uid and gid */
/*
 * The same, with what of the vfs side's columns too. *lists: as the save before left it, so that
 * lists which are and stay empty cost nothing.
 */
int files_save_over(struct statedb *db, const char *id, const struct record *r, unsigned what,
		    struct files_lists *lists);
/* In a transaction: set columns of the vfs side. Without a row nothing happens. */
int files_set_place(struct statedb *db, const char *id, const char *purpose, const char *path);
/* What the next File is to have. mime_type may be NULL. */
int files_set_wishes(struct statedb *db, const char *id, const char *mime_type,
		     uint64_t expires_after, uint64_t declared);
/* Whether its lines have to be JSON objects. */
int files_set_check(struct statedb *db, const char *id, bool on);
int files_set_owner(struct statedb *db, const char *id, uint32_t mode, uint32_t uid, uint32_t gid);
int files_set_mtime(struct statedb *db, const char *id, int64_t s, uint32_t ns);
int files_set_removed(struct statedb *db, const char *id); /* the state then reads as REMOVED */
int files_set_aside(struct statedb *db, const char *id);   /* stop listing the row as staged */
/* In a transaction: add a File to delete once this one is complete. */
int files_add_superseded(struct statedb *db, const char *id, const char *file_id);
/* In a transaction: take that back. */
int files_spare(struct statedb *db, const char *id, const char *file_id);
/*
 * In a transaction: mark the row as a copy of a File that was not changed, or end that mark. A copy
 * whose complete was not asked reads as REMOVED and supersedes nothing: the File stands. moved: of
 * a rename, the superseded File that it takes the name from; or NULL.
 */
int files_set_copy(struct statedb *db, const char *id, bool copy, const char *moved);
/*
 * In a transaction: the row says WRITING again, with so many bytes. Its File becomes a superseded
 * one; its Upload and doubt stay.
 */
int files_reopen(struct statedb *db, const char *id, uint64_t size);
/* In a transaction: set all other rows with the purpose and path of id to removed. */
int files_take_place(struct statedb *db, const char *id);
/* In a transaction: remove the row and its lists. */
int files_drop(struct statedb *db, const char *id);
/*
 * In a transaction: do files_drop() and note that the data is to be unlinked once the commit is
 * durable. files_forgive() ends that note.
 */
int files_doom(struct statedb *db, const char *id);
int files_forgive(struct statedb *db, const char *id);

/* Read a row; the caller releases *ret. -ENOENT; -EBADMSG: invalid values; -ENOMEM. */
int files_load(struct statedb *db, const char *id, struct record *ret);
/* These are true as well if the store can't be read: data may have a row then. */
bool files_has(struct statedb *db, const char *id);
bool files_is_doomed(struct statedb *db, const char *id);
/* True if a row has the File or supersedes it, or the store can't be read. */
bool files_knows(struct statedb *db, const char *file_id);

/* Call fn for the ids in order, without the lock. Stop at fn's error and return it. */
enum files_which { FILES_STAGED, FILES_SET_ASIDE, FILES_DOOMED };
int files_each(struct statedb *db, enum files_which which, int (*fn)(void *arg, const char *id),
	       void *arg);

#endif
