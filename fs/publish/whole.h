/*
 * whole: services without Uploads: the file goes as a whole, by POST /files. Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_WHOLE_H
#define UPLOADFS_FS_PUBLISH_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

struct api_error;
struct event;
struct publish;

/* True if the refused create is taken for a lack of /uploads. False: an ordinary refusal. */
bool publish_whole_refused(struct publish *p, const struct api_error *err);
/* Ask GET /files whether the key is taken, before bytes go; to PHASE_ASKING. */
void publish_whole_ask(struct publish *p);
/* Handle EV_ASKED: the reply of GET /files. */
void publish_handle_asked(struct publish *p, const struct event *ev);
/* Save the record durably, then send size bytes by POST /files. */
void publish_act_post(struct publish *p, uint64_t size);
/* Handle EV_POSTED. */
void publish_handle_posted(struct publish *p, const struct event *ev);
/* Fail with -EFBIG: larger than POST /files takes. */
void publish_fail_size(struct publish *p);

#endif
