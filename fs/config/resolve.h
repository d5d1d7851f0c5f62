/* resolve: the rest of a configuration: environment, paths, defaults. Start-up only, one thread. */
#ifndef UPLOADFS_FS_CONFIG_RESOLVE_H
#define UPLOADFS_FS_CONFIG_RESOLVE_H

struct opts_draft;

/*
 * Complete a draft whose mountpoint and source are as given: base URL, key, absolute paths, state
 * directory, fuse_opts. 0, or a negative errno (-EINVAL after a message).
 */
int opts_resolve(struct opts_draft *d);

#endif
