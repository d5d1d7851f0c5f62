/*
 * event: an API call, and its reply on the way from a callback to the publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_EVENT_H
#define UPLOADFS_FS_PUBLISH_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/publish/lookup.h"
#include "fs/publish/parts.h"
#include "net/api/api.h"

struct publish;
struct staged;

enum event_kind {
	EV_CREATED,
	EV_PART,
	EV_ASKED,  /* the reply of GET /files */
	EV_POSTED, /* the reply to POST /files */
	EV_COMPLETED,
	EV_PROBED,
	EV_LOOKED_UP,
	EV_CHECKED, /* the content of a candidate */
	EV_DELETED,
	EV_KEPT, /* GET of the File that has these bytes */
	EV_SYNCED,
	EV_ABANDONED /* the answer to the cancel of an Upload given up */
};

/* A reply. */
struct event {
	struct event *next;
	enum event_kind kind;
	unsigned epoch;		 /* of the Upload it belongs to; older ones are ignored */
	uint32_t index, version; /* of a Part */
	bool undecided;		 /* EV_LOOKED_UP: the list was not whole, or a size is unknown */
	bool alone;		 /* EV_CHECKED: it was the only candidate */
	enum lookup_content content;	      /* EV_CHECKED */
	enum api_upload_status upload_status; /* EV_PROBED, with API_OK */
	struct lookup_found *found;	      /* EV_LOOKED_UP, EV_CHECKED: owned */
	size_t found_count;
	/* EV_COMPLETED, EV_POSTED, EV_KEPT: of the File; owned, NULL: not told */
	char *filename, *purpose;
	bool failed;   /* the File exists, but its status is error: */
	char *details; /* why, owned, or NULL */
	int err;       /* EV_SYNCED; version is its round */
	struct api_error api_err;
	char id[API_ID_MAX + 1]; /* Upload, Part or File id */
	uint64_t bytes;
	int64_t created_at, expires_at;
};

/* What a call carries until its callback. */
struct publish_call {
	struct publish *p;     /* referenced */
	struct staged *staged; /* referenced: the call may read from its descriptor */
	enum event_kind kind;
	unsigned epoch;
	uint32_t index, version;
	struct event *ev;		   /* of the reply; owned, NULL once it was taken */
	struct publish_live_reader reader; /* of a live Part */
	char file_id[API_ID_MAX + 1];	   /* or the id of the Upload being cancelled */
};

/*
 * A call of the current Upload, with the event of its reply, which thus can't fail; references p.
 * NULL: out of memory. Publisher thread.
 */
struct publish_call *publish_call_new(struct publish *p, enum event_kind kind);
/* Any thread. */
void publish_call_free(struct publish_call *c);
/* Take the event of the reply, once; err is copied. Any thread. */
struct event *publish_call_reply(struct publish_call *c, const struct api_error *err);
/* Make an event before what it tells is begun. NULL: out of memory. Any thread. */
struct event *publish_event_new(enum event_kind kind);
/* Note what the reply says of the File. Strings are copied; without memory they are not told. */
void publish_event_file(struct event *ev, const struct api_file *file);
/* Post ev as the reply to c; takes both. For callbacks, any thread. */
void publish_post_reply(struct publish_call *c, struct event *ev);

#endif
