/*
 * step: look at a publication and act until there is nothing to do now. Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_STEP_H
#define UPLOADFS_FS_PUBLISH_STEP_H

struct publish;

void publish_step(struct publish *p);

#endif
