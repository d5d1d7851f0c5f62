/*
 * refused: what the service refused is not sent again by itself.
 *
 * A refusal of the file holds until the file, its name or an option that matters changes. After a
 * refusal of the key the next tries are small requests. A close, a rename, user.upload.publish and
 * `uploadfs recover publish` try in any case. The row keeps it over mounts.
 *
 * Publisher thread, unless said otherwise.
 */
#ifndef UPLOADFS_FS_PUBLISH_REFUSED_H
#define UPLOADFS_FS_PUBLISH_REFUSED_H

#include <stdbool.h>

#include "net/api/api.h"
#include "net/base/digest.h"

struct publish;
struct publisher;
struct record;

/* The numbers stand in the database: append only. */
enum refused_kind {
	REFUSED_NOT,
	REFUSED_FILE,	   /* 400, 413, ...: try no more by itself */
	REFUSED_KEY,	   /* 401, 403 to a request without bytes: that request is tried again */
	REFUSED_KEY_BYTES, /* 401 to bytes or complete: GET /files has to answer before they go */
	REFUSED_KEY_BARRED /* 403, or 401 twice: no bytes go before the key changes */
};

struct refused {
	enum refused_kind kind;
	int http_status;
	bool ask_first; /* ask GET /files before the next step */
	bool asking;
	/* of the file and the options, or of the key, as they were refused; "": unknown */
	char print[DIGEST_HEX_SIZE];
};

/* True if err refuses our request or the Upload's state, not the key, the rate or the load. */
bool publish_is_refusal(const struct api_error *err);
/* Note whether err refuses the file or the key. Call it before the Upload is forgotten. */
void refused_note(struct publish *p, const struct api_error *err);
/* Its lines are not what they have to be: the same without a service. */
void refused_note_lines(struct publish *p);
/* True if no next try comes by itself. */
bool refused_for_good(const struct publish *p);
/* True if what was refused has changed since: try now. */
bool refused_is_over(struct publish *p);
/* A try begins; asked: somebody wants it, whatever was refused. */
void refused_begin_try(struct publish *p, bool asked);
/* Forget it: the file is written anew, or exists. */
void refused_clear(struct publish *p);
/* True if a key that GET /files answers to may send nothing yet but complete. */
bool refused_bars(const struct publish *p);
/* Put it into a row, which borrows print, or take it up. True from load: refused_for_good(). */
void refused_save(const struct publish *p, struct record *r);
bool refused_load(struct publish *p, const struct record *r);

#endif
