/* fs/cli/view: a status document of any content keeps to its screen and sends no control byte. */
#include <stdlib.h>
#include <string.h>

#include "fs/cli/columns.h"
#include "fs/cli/view.h"
#include "net/base/json.h"
#include "tests/fuzz/support.h"

#define COLUMNS 60
#define ROWS 12

static void check_lines(char *text, unsigned columns, unsigned rows)
{
	unsigned n = 0;
	char *line;

	while ((line = strsep(&text, "\n")) && (text || *line)) {
		n++;
		/* Bytes that are no UTF-8 are shown as they are. */
		must(fuzz_printable(line, false));
		must(!columns || columns_of(line) <= columns);
	}
	must(!rows || n <= rows);
}

static void show(const struct json *doc)
{
	const struct cli_screen screen = { .columns = COLUMNS, .rows = ROWS };
	struct cli_rates *rates = cli_rates_new();
	struct buf out = { .max = 1 << 24 };

	must(rates);
	for (uint64_t now = 1000; now < 4000; now += 1000) {
		cli_rates_look(rates, doc, now);
		buf_reset(&out);
		must(cli_view_table(doc, rates, &screen, &out) <= ROWS);
		check_lines(out.len ? out.data : NULL, COLUMNS, ROWS);
	}
	buf_reset(&out);
	cli_view_plain(doc, NULL, &out);
	check_lines(out.len ? out.data : NULL, 0, 0);
	buf_reset(&out);
	cli_view_totals(doc, &out);
	check_lines(out.len ? out.data : NULL, 0, 1);
	buf_release(&out);
	cli_rates_free(rates);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *doc;

	if (json_parse((const char *)data, size, &doc))
		return 0;
	show(doc);
	json_free(doc);
	return 0;
}
