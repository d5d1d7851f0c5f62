/*
 * upload: the Upload of a publication, and the Uploads it gave up. Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_UPLOAD_H
#define UPLOADFS_FS_PUBLISH_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/api/api.h"

struct event;
struct publish;

/* The Upload, and what it was made with: a lookup needs that after the Upload is gone. */
struct upload {
	unsigned epoch; /* counts Uploads: replies of an earlier one are ignored */
	char id[API_ID_MAX + 1];
	char *filename, *purpose, *mime; /* owned */
	uint64_t bytes, expiry;
	unsigned renames;	/* now.renames at that time */
	int64_t created_at;	/* the server's clock, seconds */
	int64_t expires_at;	/* the same */
	int64_t created_wall;	/* our clock, seconds */
	uint64_t created_ms;	/* when the reply to create came, monotonic; 0: unknown */
	uint64_t open_ms;	/* from then until complete was asked for */
	uint64_t deadline_ms;	/* our clock, monotonic; 0: none */
	bool posted;		/* by POST /files: there is no Upload */
	bool sync_begun;	/* of the row that names it */
	uint64_t posted_ms;	/* clock_mono_ms() of that; 0: an earlier daemon's */
	uint64_t not_before_ms; /* no create before this, monotonic; 0: none */
	unsigned twins;		/* Uploads given up since another had their created_at */
	uint64_t mark;		/* cfg.mark() as the Upload was made; 0: none */
	struct api_req *create_req, *post_req;
};

/* Uploads given up whose cancel was not answered yet; the record has them. */
struct abandoned {
	char **ids;
	size_t count;
	size_t before; /* the first so many are to be cancelled: no cancel is under way */
	bool due;      /* cancel these now: the service answers */
};

/* Note size, name, purpose, MIME type and expiry of the Upload about to be made. 0 or -ENOMEM. */
int publish_note_upload(struct publish *p, uint64_t size);
/*
 * True if another Upload that is like this one and may still become a File has the same created_at:
 * their Files could not be told apart. Then this one is cancelled, and created again a second
 * later.
 */
bool publish_created_twin(struct publish *p);
/* True if another publication here may become a File with the name and size of p's. */
bool publish_has_rival(const struct publish *p);
/* Drop the Upload's id, Parts and calls without telling the service; keep what it was made with. */
void publish_forget_upload(struct publish *p);
/* Cancel the Upload, if there is one, and go to PHASE_IDLE. */
void publish_cancel_upload(struct publish *p);
/* Cancel an Upload by id; abandoned has it until the answer. */
void publish_cancel_by_id(struct publish *p, const char *upload_id);
/* Cancel those of abandoned.before once abandoned.due is set. */
void publish_cancel_abandoned(struct publish *p);
/* Handle EV_ABANDONED, the answer to such a cancel. */
void publish_abandoned_answer(struct publish *p, const struct event *ev);

#endif
