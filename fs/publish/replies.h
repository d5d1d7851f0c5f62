/*
 * replies: what follows of a reply. Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_REPLIES_H
#define UPLOADFS_FS_PUBLISH_REPLIES_H

struct event;
struct publish;

/* Handle one event; ev stays the caller's. */
void publish_handle(struct publish *p, const struct event *ev);
/* In PHASE_VERIFYING: once the MD5 is taken again, report damage or failure.first_err. */
void publish_verified(struct publish *p);

#endif
