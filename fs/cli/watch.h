/*
 * cli_watch: `uploadfs status --watch`, and what it shares with one look. One
 * thread; takes over the process's handlers of SIGINT, SIGTERM, SIGWINCH and
 * SIGCONT.
 */
#ifndef UPLOADFS_FS_CLI_WATCH_H
#define UPLOADFS_FS_CLI_WATCH_H

#include <stdbool.h>

#include "net/base/buf.h"

struct cli_screen;

#define CLI_ANSWER_S 10		 /* a mount that does not answer by then hangs */
#define CLI_VIEW_MAX (64U << 20) /* bytes of one view */

/*
 * Whether stdout is a terminal that moves its cursor (TERM is neither unset nor "dumb"); then
 * *ret is its size as it is now, and whether it may have colours (NO_COLOR is not set).
 */
bool cli_screen_get(struct cli_screen *ret);
/* b to stdout, flushed. CLI_OK, or CLI_FAILED after a message. */
int cli_put_out(const struct buf *b);
/*
 * Shows the status of mount until it is unmounted or a signal comes: on such a terminal a table
 * that is drawn again, else lines when something has changed. Returns the exit status.
 */
int cli_watch(const char *mount);

#endif
