/*
 * cli: exit statuses, messages and arguments of the subcommands. Each runs in a process of its
 * own and talks to a daemon through its mount (.uploadfs/status) and signals. One thread.
 */
#ifndef UPLOADFS_FS_CLI_CLI_H
#define UPLOADFS_FS_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	  /* something is not published, or not in order */
	CLI_USAGE = 2,	  /* wrong command line */
	CLI_TIMEOUT = 3,  /* --timeout is over */
	CLI_NO_MOUNT = 4, /* no such mount, or no answer from it */
};

/* The name of the running subcommand, for messages. */
extern const char *cli_name;
/* Print "uploadfs NAME: text" to stderr; control characters become "?". */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* text without control characters, which a terminal would obey; valid until the fourth call. */
const char *cli_clean(const char *text);
/* "12.3 MiB"; valid until the fourth call. */
const char *cli_size(uint64_t bytes);

struct cli_option {
	const char *name; /* "--timeout" */
	bool *flag;	  /* set to true; NULL: the option takes a number */
	unsigned *number; /* seconds, or a count */
};
/*
 * Parse argv: options (a list that ends with a NULL name) anywhere, and at most max other words,
 * into words. --help prints help. 0: go on, *ret_count words; 1: --help was printed; -1: a message
 * was printed.
 */
int cli_args(int argc, char **argv, const char *help, const struct cli_option *options,
	     const char **words, size_t max, size_t *ret_count);

void cli_sleep_ms(unsigned ms); /* returns early at a signal */

#endif
