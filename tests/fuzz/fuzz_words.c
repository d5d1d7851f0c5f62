/* fs/config: any words of -o are taken, or refused by a line that names them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/config/opts.h"
#include "tests/fuzz/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *said, *again;

	said = opts_check(text);
	again = opts_check(text);
	must(!said == !again && (!said || !strcmp(said, again)));
	/* It goes to a terminal or a log, however the words look. */
	for (char *line = said; line && *line; line++)
		must(*line == '\n' || (unsigned char)*line >= 0x20);
	free(said);
	free(again);
	free(text);
	return 0;
}
