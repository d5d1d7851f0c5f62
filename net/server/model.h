/*
 * model: Uploads, Parts and Files in memory, and as JSON. JSON has two forms: the reply of the API
 * (upload_json(), file_json()), and the record kept on disk (…_record(), …_parse()). The fields of
 * an Upload above the line, and all but refs and gone of a File, never change after creation and
 * may be read without a lock; state.lock (state.h) protects the rest.
 */
#ifndef UPLOADFS_NET_SERVER_MODEL_H
#define UPLOADFS_NET_SERVER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/base/buf.h"
#include "net/base/json.h"

#define ID_SIZE 40 /* "upload_", 32 hex digits and NUL */
#define ID_UPLOAD "upload_"
#define ID_PART "part_"
#define ID_FILE "file-"

#define SERVER_PART_MAX (64ULL << 20)
#define SERVER_UPLOAD_MAX (8ULL << 30)
#define SERVER_FILE_MAX (512ULL << 20) /* POST /files */
#define SERVER_PARTS_MAX 16384	       /* Parts of one Upload: ours, to bound memory */
#define SERVER_FILENAME_MAX 16384      /* bytes: ours */

struct digest;

enum upload_status { UPLOAD_PENDING, UPLOAD_COMPLETED, UPLOAD_CANCELLED, UPLOAD_EXPIRED };

struct part {
	char id[ID_SIZE];
	uint64_t bytes;
	unsigned number;      /* from 1, in the order in which they began */
	bool finished;	      /* the whole Part is on disk under its final name */
	bool named;	      /* name is known and may be "" */
	bool ordered;	      /* its place among the Parts is certain (ahead.h) */
	char name[64];	      /* the field's filename, perhaps cut; orders the guess */
	struct digest *after; /* MD5 of the Upload up to and with this Part, or NULL (ahead.h) */
};

struct upload {
	char id[ID_SIZE];
	char *filename, *purpose, *mime_type;
	uint64_t bytes;
	int64_t created_at, expires_at; /* seconds since the epoch */
	uint64_t expires_after_s;	/* lifetime of the File; 0: none */
	/* ---- state.lock ---- */
	unsigned refs; /* requests that use it */
	bool unsaved;  /* its record does not tell its end */
	enum upload_status status;
	char file_id[ID_SIZE]; /* "" until completed */
	struct part **parts;   /* in the guessed order: ahead.h */
	size_t part_count, part_room;
	unsigned numbers; /* Parts that ever began */
	size_t hashed;	  /* parts[0 … hashed) have .after */
	bool busy;	  /* a complete or cancel is under way; others wait */
	bool hashing;	  /* the hash-ahead thread reads its Parts */
};

struct file_part {
	char id[ID_SIZE];
	uint64_t bytes;
};

struct file {
	char id[ID_SIZE];
	char data[ID_SIZE];	 /* id of the directory that holds its Parts */
	char upload_id[ID_SIZE]; /* "" for POST /files */
	char *filename, *purpose;
	uint64_t bytes;
	int64_t created_at, expires_at; /* expires_at 0: never */
	uint64_t seq;			/* breaks ties of created_at; unique in a store */
	struct file_part *parts;
	size_t part_count;
	/* ---- state.lock ---- */
	unsigned refs;
	bool gone; /* deleted: the data goes with the last reference */
};

/*
 * Values that a fault rule puts into a reply in place of the true ones; NULL members change
 * nothing.
 */
struct reply_override {
	const char *id, *status;
	const uint64_t *bytes;
	/* Members that are left out, "file.…" of the File in an Upload; ends with NULL. */
	const char *const *without;
	const char *at; /* of the object that is written: "file.", or NULL */
	bool no_nulls; /* a File's expires_at and status_details are left out where they are null */
	bool young;    /* the service still examines the File: pending, of null bytes */
};

/* Make a random id: prefix and 32 hex digits. 0 or negative errno. */
int id_new(const char *prefix, char ret_id[ID_SIZE]);
/* True if id has the form that id_new() makes with prefix. */
bool id_valid(const char *id, const char *prefix);

bool purpose_readable(const char *purpose); /* its content may be downloaded */
const char *upload_status_name(enum upload_status status);

void upload_free(struct upload *up); /* frees the Parts, too; NULL is a no-op */
/*
 * Free the finished Parts of an ended Upload, unless the hash-ahead thread reads them. Under
 * state.lock.
 */
void upload_drop_parts(struct upload *up);
void file_free(struct file *f);	   /* NULL is a no-op */
void part_free(struct part *part); /* NULL is a no-op */
/* Allocate the File of an Upload. parts: room for count Parts, zeroed. NULL: out of memory. */
struct file *file_new(const char *filename, const char *purpose, size_t count);

/* True if the reply does without a member of an object. over: NULL for the true values. */
bool reply_without(const struct reply_override *over, const char *member);
/*
 * Write API objects. key: NULL at the top level; file: set if completed; over: NULL for the true
 * values.
 */
void upload_json(struct json_writer *w, const struct upload *up, enum upload_status status,
		 const struct file *file, const struct reply_override *over);
void file_json(struct json_writer *w, const char *key, const struct file *f,
	       const struct reply_override *over);

/* Records. Parsing: 0, -EINVAL (not a sound record of that id), -ENOMEM. */
void upload_record(struct buf *out, const struct upload *up);
void file_record(struct buf *out, const struct file *f);
int upload_parse(const char *id, const char *text, size_t len, struct upload **ret);
int file_parse(const char *id, const char *text, size_t len, struct file **ret);

#endif
