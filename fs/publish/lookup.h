/*
 * lookup: find the File of a complete in doubt. Publisher thread; replies come as events.
 */
#ifndef UPLOADFS_FS_PUBLISH_LOOKUP_H
#define UPLOADFS_FS_PUBLISH_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "net/api/api.h"

struct event;
struct publish;

/* A File that may be ours. */
struct lookup_found {
	char id[API_ID_MAX + 1];
	int64_t created_at, expires_at;
};

enum lookup_content {
	CONTENT_SAME,	 /* the MD5 is ours */
	CONTENT_OTHER,	 /* it is not */
	CONTENT_REFUSED, /* the service hands out no content of this purpose */
	CONTENT_UNSURE	 /* could not be read now */
};

/* List the Files of the Upload's purpose, all pages. EV_LOOKED_UP brings the candidates. */
void publish_start_lookup(struct publish *p);
/*
 * Compare the MD5 of f's content with ours; alone: f is the only candidate. EV_CHECKED brings the
 * verdict. False: out of memory, or our MD5 is not known.
 */
bool publish_check_content(struct publish *p, const struct lookup_found *f, bool alone);
/* Note the File that ev names, save the record durably, and go to PHASE_CLEANUP. */
void publish_file_exists(struct publish *p, const struct event *ev);

#endif
