/*
 * watch: `uploadfs status --watch`, and output for `uploadfs status` as well. One thread; takes
 * over SIGINT, SIGTERM, SIGWINCH and SIGCONT.
 */
#ifndef UPLOADFS_FS_CLI_WATCH_H
#define UPLOADFS_FS_CLI_WATCH_H

#include <stdbool.h>

#include "net/base/buf.h"

struct cli_screen;

#define CLI_ANSWER_S 10		 /* a mount without an answer by then hangs */
#define CLI_VIEW_MAX (64U << 20) /* bytes of one view */

/*
 * True if stdout is a terminal with cursor movement (TERM is set and not "dumb"). *ret is then its
 * present size, with colour unless NO_COLOR is set.
 */
bool cli_screen_get(struct cli_screen *ret);
/* Write b to stdout and flush it. CLI_OK, or CLI_FAILED after a message. */
int cli_put_out(const struct buf *b);
/*
 * Show the status of mount until it is unmounted or a signal comes: a redrawn table on such a
 * terminal, else lines after each change. Returns the exit status.
 */
int cli_watch(const char *mount);

#endif
