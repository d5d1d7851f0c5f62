/*
 * record: the note on disk beside each staged file, from which the next mount
 * learns what became of it.
 *
 * A text file ID.rec: the line "uploadfs-record 1", lines "key value" with the
 * values percent-encoded (every byte but printable ASCII), "part INDEX ID" and
 * "superseded ID" and "abandoned ID" as often as needed, closed by "seal MD5" over all before it,
 * so that a torn or damaged record is recognised. Keys of a later version are
 * ignored. At most 16 MiB. It is replaced atomically: temporary file, fsync, rename, fsync
 * of the directory. So that this need not be done for each step, the file may
 * have two slots of 4 KiB, each with such a text and NULs behind it, or with
 * NULs alone: the one with the higher "serial" counts, the other one is what is
 * overwritten next. Functions block on the local disk. Any thread, but one at a
 * time for one record.
 */
#ifndef UPLOADFS_FS_STAGE_RECORD_H
#define UPLOADFS_FS_STAGE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
	uint64_t size;		   /* bytes of the staged file when the record was written */
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
	int64_t created_s; /* when this record was written; for people who read it */
	uint64_t serial;   /* of two slots the higher one counts; see record_save_at() */
};

void record_init(struct record *r);    /* zeroes it */
void record_release(struct record *r); /* frees what it points to */

/*
 * Writes r as NAME (a file name without '/') in dirfd. durable: with both
 * fsyncs; without, only the atomic rename. 0, -EINVAL (no purpose or path),
 * -EMSGSIZE or another negative errno; on error the former record stands
 * (unless the fsync of the directory is what failed: then either may).
 */
int record_save(int dirfd, const char *name, const struct record *r, bool durable);
/* How the file of a record stands: zeroed before the first save by this process, then its. */
struct record_place {
	bool slots;    /* it has two, on stable storage */
	unsigned slot; /* the one that counts: 0 or 1 */
	uint64_t serial;
};
/*
 * The same, and sets the serial. Where the last save was durable, too, and the text fits into
 * a slot, no file is made and no directory changed. On error either of the two may count.
 */
int record_save_at(int dirfd, const char *name, const struct record *r, bool durable,
		   struct record_place *place);
/*
 * Reads it back; ret is to be released. 0, -ENOENT, -EBADMSG (damaged or of
 * another version), -ENOMEM, other errno.
 */
int record_load(int dirfd, const char *name, struct record *ret);

#endif
