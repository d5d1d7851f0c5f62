/* tree: the files of a mount that a subcommand names, and their attributes. One thread. */
#ifndef UPLOADFS_FS_CLI_TREE_H
#define UPLOADFS_FS_CLI_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_ATTRIBUTE_MAX 4096 /* bytes of a value, the end included */

/* user.upload.NAME as text. 0, or negative errno: -ENODATA for no value. */
int cli_attribute(const char *path, const char *name, char *buf, size_t size);
/* Print why an attribute of path can't be read. Returns an exit status. */
int cli_no_attribute(const char *path, int err);

/*
 * Wait until path can be looked at, as long as the daemon of its mount answers. CLI_OK, also if
 * nothing is there; CLI_NO_MOUNT after a message.
 */
int cli_reach(const char *path);

/* Returns CLI_OK, or an exit status after a message; the walk goes on. */
typedef int cli_file_fn(void *arg, const char *path, uint64_t bytes);
/*
 * Call fn for path if it is a file, for the files in it if it is a directory, sorted by name, and
 * with deep for those below. Follows path if it is a link; links and other file systems below are
 * not entered. Returns the greatest status of the calls; after a message CLI_FAILED, or
 * CLI_NO_MOUNT if path is no file, or holds none, and lies on no mount.
 */
int cli_walk(const char *path, bool deep, cli_file_fn *fn, void *arg);

#endif
