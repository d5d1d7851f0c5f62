/* file: options from configuration files, one a line. Start-up only, one thread. */
#ifndef UPLOADFS_FS_CONFIG_FILE_H
#define UPLOADFS_FS_CONFIG_FILE_H

struct opts_draft;

#define OPTS_HOST_FILE "/etc/uploadfs.conf" /* options for the mounts of all users */

/*
 * Read the options of path; "/dev/null" reads none. NULL reads OPTS_HOST_FILE and the user's own
 * file, if they exist. 0, or a negative errno (-EINVAL after a message).
 */
int opts_config(struct opts_draft *d, const char *path);

#endif
