/*
 * uploads: what can be done with Uploads and their Parts.
 *
 * Any thread; all block on the disk, and on a complete of the same Upload that
 * is under way. Errors as in refusal.h.
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

/* The spec was checked by the caller. */
int upload_create(struct state *st, const struct upload_spec *spec, struct upload **ret);
/* NULL: there is none. The pointer stays valid until state_close(). */
struct upload *upload_find(struct state *st, const char *id);

/* A Part while its bytes arrive; begun ones must be finished or aborted. */
struct receipt {
	struct state *st;
	struct upload *up;
	struct part *part;
	struct sink sink;
};
int upload_part_begin(struct state *st, const char *upload_id, struct refusal *r,
		      struct receipt *ret);
/* The filename of the field ("" for none), before its bytes: it tells where the Part belongs. */
void upload_part_name(struct receipt *rc, const char *filename);
/* Makes the Part visible. On error it is aborted. */
int upload_part_finish(struct receipt *rc, struct refusal *r);
void upload_part_abort(struct receipt *rc); /* no-op when it is not begun or was finished */

struct complete_spec {
	const char *const *part_ids;
	size_t part_count;
	const char *md5; /* hex, or NULL */
};
/* The File comes referenced: file_unref(). */
int upload_complete(struct state *st, const char *id, const struct complete_spec *spec,
		    struct refusal *r, struct upload **ret_up, struct file **ret_file);
int upload_cancel(struct state *st, const char *id, struct refusal *r, struct upload **ret);

/* ---- for state.c; state.lock is held ---- */

int upload_index(struct state *st, struct upload *up); /* takes up; -ENOMEM, -EEXIST */
/* A finished Part, as found on disk. */
int upload_adopt_part(struct upload *up, const char *id, uint64_t bytes);
/* The end of a pending Upload in memory. */
void upload_end(struct state *st, struct upload *up, enum upload_status status);
/* Removes the Parts on disk that are not part of f. Also without the lock. */
void upload_remove_unlisted(struct store *store, const struct file *f);

#endif
