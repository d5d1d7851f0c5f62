/*
 * hooks: call the hooks of a staged file.
 */
#ifndef UPLOADFS_FS_STAGE_HOOKS_H
#define UPLOADFS_FS_STAGE_HOOKS_H

struct staged;

enum staged_hook { HOOK_FILL, HOOK_QUIET, HOOK_DIGEST };

/* staged.lock is held; it is dropped while the hook runs. */
void staged_call_hook(struct staged *st, enum staged_hook which);

#endif
