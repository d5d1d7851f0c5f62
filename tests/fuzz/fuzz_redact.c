/* net/base/log: no text, however the secret stands in it, shows the secret or most of it. */
#include <stdlib.h>
#include <string.h>

#include "net/base/log.h"
#include "tests/fuzz/support.h"

#define KEY "sk-Fz3vQ8xJ"

static void check(const char *text)
{
	char small[24], *all = log_redacted(text), *again;

	must(all && !strstr(all, KEY));
	/* Done again it is the same: a line may pass several times. */
	again = log_redacted(all);
	must(again && !strcmp(again, all));
	log_redact(small, sizeof(small), text);
	must(strlen(small) < sizeof(small) && !strstr(small, KEY));
	free(all);
	free(again);
}

/* Every '@' is the key. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct buf b = { .max = 1 << 24 };
	static int once;

	if (!once++)
		log_secret(KEY);
	for (const char *at = text; *at; at++)
		must(!(*at == '@' ? buf_adds(&b, KEY) : buf_addc(&b, *at)));
	check(b.len ? buf_str(&b) : "");
	buf_release(&b);
	free(text);
	return 0;
}
