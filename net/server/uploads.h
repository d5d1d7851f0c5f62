/*
 * uploads: the operations on Uploads and their Parts. Any thread; all block on the disk, and on a
 * complete of the same Upload under way. Errors as in refusal.h.
 */
#ifndef UPLOADFS_NET_SERVER_UPLOADS_H
#define UPLOADFS_NET_SERVER_UPLOADS_H

#include "net/server/refusal.h"
#include "net/server/sink.h"
#include "net/server/state.h"

struct upload_spec {
	const char *filename, *purpose, *mime_type;
	uint64_t bytes, expires_after_s;
};

/* Create an Upload. The caller has checked spec, and gets a reference: upload_unref(). */
int upload_create(struct state *st, const struct upload_spec *spec, struct upload **ret);
/* Find an Upload, also an ended one; NULL: none. The caller gets a reference. */
struct upload *upload_find(struct state *st, const char *id);
void upload_unref(struct state *st, struct upload *up); /* NULL is a no-op */

/* A Part whose bytes are arriving. Finish or abort every begun one. */
struct receipt {
	struct state *st;
	struct upload *up;
	struct part *part;
	struct sink sink;
};
int upload_part_begin(struct state *st, const char *upload_id, struct refusal *r,
		      struct receipt *ret);
/* Tell the filename of the field ("" for none), before its bytes: it decides the Part's place. */
void upload_part_name(struct receipt *rc, const char *filename);
/* Make the Part visible. An error aborts it. */
int upload_part_finish(struct receipt *rc, struct refusal *r);
void upload_part_abort(struct receipt *rc); /* no-op unless begun and not finished */

struct complete_spec {
	const char *const *part_ids;
	size_t part_count;
	const char *md5; /* hex, or NULL */
};
/* Complete an Upload. The caller gets references to both: upload_unref(), file_unref(). */
int upload_complete(struct state *st, const char *id, const struct complete_spec *spec,
		    struct refusal *r, struct upload **ret_up, struct file **ret_file);
/* Cancel an Upload. The caller gets a reference. */
int upload_cancel(struct state *st, const char *id, struct refusal *r, struct upload **ret);

/* ---- for complete.c; takes state.lock ---- */

/*
 * Find an Upload, reference it, wait for it and mark it busy: nothing else changes it until
 * upload_release(), or upload_end(), which leaves the reference to the caller.
 */
int upload_acquire(struct state *st, const char *id, struct refusal *r, struct upload **ret);
void upload_release(struct state *st, struct upload *up);
/* Write the record of an ended Upload. After an error it stays in memory. */
int upload_save_end(struct state *st, struct upload *up);

/* ---- for state.c; state.lock is held ---- */

int upload_index(struct state *st,
		 struct upload *up); /* owns up on success; 0, -ENOMEM or -EEXIST */
/* Add a finished Part found on disk. */
int upload_adopt_part(struct upload *up, const char *id, uint64_t bytes);
/* End a pending Upload in memory. */
void upload_end(struct state *st, struct upload *up, enum upload_status status);
/* Free the ended Uploads that nobody uses. */
void upload_sweep(struct state *st);
/* Remove the Parts on disk that do not belong to f. Also without the lock. */
void upload_remove_unlisted(struct store *store, const struct file *f);

#endif
