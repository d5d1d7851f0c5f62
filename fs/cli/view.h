/*
 * view: a status document as lines or as a table. The rates remember the last look; the document's
 * own rate is the average since the first Part, which a stall or a resumed Upload makes useless for
 * the time left. One thread.
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
/* Update the rates from a document read at now_ms (monotonic). */
void cli_rates_look(struct cli_rates *r, const struct json *doc, uint64_t now_ms);

/*
 * For a file or a pipe: a line for each file that is not a File, and one of totals, without colours
 * or bars. rates: NULL uses those of the document.
 */
void cli_view_plain(const struct json *doc, const struct cli_rates *rates, struct buf *out);

/* The terminal under a table. */
struct cli_screen {
	unsigned columns, rows;
	bool colour; /* ECMA-48 colours may be used; each line ends with none */
};
/*
 * For a terminal of at least six rows: head, totals, a table with progress bars, no wider (as
 * columns.h counts) and no longer than the screen. Returns the number of lines.
 */
unsigned cli_view_table(const struct json *doc, const struct cli_rates *rates,
			const struct cli_screen *screen, struct buf *out);
/* "3 publishing, 1 failed; 12 published, 3.4 GiB" without a line end */
void cli_view_totals(const struct json *doc, struct buf *out);

#endif
