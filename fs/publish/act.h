/*
 * act: one function for each publish_action that asks for something. Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_ACT_H
#define UPLOADFS_FS_PUBLISH_ACT_H

#include <stdint.h>

#include "fs/publish/next.h"

struct publish;

/* Ask for an Upload of size bytes. */
void publish_act_create(struct publish *p, uint64_t size);
/* Save the record durably, then ask for complete. */
void publish_act_complete(struct publish *p);
/* Cancel the Upload to learn whether it was alive (PHASE_PROBING). */
void publish_act_probe(struct publish *p);
/* Delete the next superseded File, or end when there is none. */
void publish_act_cleanup(struct publish *p);
/* End an empty file; delete first what it replaces. */
void publish_act_empty(struct publish *p);
/* End with outcome, saving the record unless it is dropped. */
void publish_act_end(struct publish *p, enum publish_outcome outcome);
/* Leave PHASE_ENDED for another try. */
void publish_act_reopen(struct publish *p);

#endif
