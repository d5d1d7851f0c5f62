/* prune: state directories that no mount has used for long. One thread. */
#ifndef UPLOADFS_FS_CLI_PRUNE_H
#define UPLOADFS_FS_CLI_PRUNE_H

#define PRUNE_DAYS 30

/* Number of state directories in parent that `uploadfs prune` would remove by default. */
unsigned cli_prunable(const char *parent);

#endif
