/*
 * same: the bytes that a File replaced by the publication has already. Then no new File is made:
 * the File stays, once the service has shown that it is still there.
 *
 * What is believed of a File's bytes is the row that publish_note_known() wrote when the service
 * confirmed it to this host (fs/state/known.h). Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_SAME_H
#define UPLOADFS_FS_PUBLISH_SAME_H

#include <stdbool.h>

#include "fs/state/known.h"
#include "net/api/api.h"

struct event;
struct publish;
struct publish_view;

/* The File that the bytes may equal. */
struct same_content {
	char file_id[API_ID_MAX + 1]; /* "": none */
	struct known_file known;      /* if there is one */
	bool looked;		      /* for it, with the following inputs: */
	unsigned choices, renames;
	bool refused; /* the service has it no more, or not so: send these bytes */
};

/* Set v->same and v->maybe_same; all else of v is set. */
void publish_same_view(struct publish *p, struct publish_view *v);
/* ACT_KEEP, and its reply. */
void publish_act_keep(struct publish *p);
void publish_handle_kept(struct publish *p, const struct event *ev);
/* Other bytes will come. */
void publish_same_reset(struct publish *p);

/* The service confirmed in ev that the File was made of the staged bytes, whose MD5 is known. */
void publish_note_known(struct publish *p, const struct event *ev);
/* A File was deleted. */
void publish_forget_known(struct publish *p, const char *file_id);

#endif
