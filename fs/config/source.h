/* source: SOURCE, or the environment in its place. Start-up only, one thread. */
#ifndef UPLOADFS_FS_CONFIG_SOURCE_H
#define UPLOADFS_FS_CONFIG_SOURCE_H

struct opts_draft;

/* Set base_url or local_dir, azure, api_version. 0, or a negative errno (-EINVAL: message). */
int opts_resolve_source(struct opts_draft *d);

#endif
