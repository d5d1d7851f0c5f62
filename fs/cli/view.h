/*
 * cli_view: a status document for people. Pure but for the rates, which
 * remember what was sent at the last look. One thread.
 */
#ifndef UPLOADFS_FS_CLI_VIEW_H
#define UPLOADFS_FS_CLI_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "net/base/buf.h"

struct cli_rates;
struct json;

struct cli_rates *cli_rates_new(void); /* NULL: out of memory */
void cli_rates_free(struct cli_rates *r);
/* Takes a look at a document at now_ms (monotonic): rates from now on are of what came since. */
void cli_rates_look(struct cli_rates *r, const struct json *doc, uint64_t now_ms);

/*
 * A line for each file that is not a File, and one of totals, without colours or bars, for a file
 * or a pipe. rates: NULL for those of the document.
 */
void cli_view_plain(const struct json *doc, const struct cli_rates *rates, struct buf *out);

/* What a table is drawn on. */
struct cli_screen {
	unsigned columns, rows;
	bool colour; /* ECMA-48 colours may be used; each line ends with none */
};
/*
 * For a terminal: head, a table with progress bars, totals; no line is wider than the screen (as
 * columns.h counts), nor are there more than its rows, of which it has five. Returns the number
 * of lines.
 */
unsigned cli_view_table(const struct json *doc, const struct cli_rates *rates,
			const struct cli_screen *screen, struct buf *out);
/* "3 publishing, 1 failed; 12 published, 3.4 GiB" without a line end */
void cli_view_totals(const struct json *doc, struct buf *out);

#endif
