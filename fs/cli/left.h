/* left: unpublished files in a state directory, named on stderr. One thread. */
#ifndef UPLOADFS_FS_CLI_LEFT_H
#define UPLOADFS_FS_CLI_LEFT_H

#include <stdbool.h>

/*
 * Print the unpublished files of the state directory dir with reason and next step: ten of each
 * kind, and how many there are. closed: include files closed by their writer. 0: none; 1: some, or
 * they belong to another user's daemon; a negative errno. Blocks on the local disk.
 */
int cli_tell_left(const char *dir, bool closed);
/* Reason and next step of an aborted file. */
#define CLI_NOT_CLOSED \
	"not closed by its writer; write it again, remove it, or set user.upload.publish to 1"

#endif
