/*
 * commands: the subcommands by name, `uploadfs status` and the others. Each has a file NAME.c with
 * its help and its main function, and exits with one of enum cli_exit. One thread.
 */
#ifndef UPLOADFS_FS_CLI_COMMANDS_H
#define UPLOADFS_FS_CLI_COMMANDS_H

#include <stdbool.h>

struct helper_call;

/* True if word names a subcommand and no directory of that name is here. */
bool cli_selects(const char *word);
/* The subcommand that a word which is no path was meant to be, or NULL. */
const char *cli_near(const char *word);
/* Run the subcommand argv[0]. Returns the exit status. */
int cli_run(int argc, char **argv);

int cli_status(int argc, char **argv);
int cli_wait(int argc, char **argv);
int cli_umount(int argc, char **argv);
int cli_mounts(int argc, char **argv);
int cli_recover(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_ls(int argc, char **argv);
int cli_fetch(int argc, char **argv);
int cli_prune(int argc, char **argv);
/* umount(8)'s helper: unmount, then wait for closed files. Returns a status of helper.h. */
int cli_umount_helper(const struct helper_call *call);

#endif
