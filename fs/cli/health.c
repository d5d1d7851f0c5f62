#include "fs/cli/health.h"

#include <stdio.h>
#include <string.h>

#include "fs/cli/cli.h"
#include "fs/cli/mount.h"
#include "net/base/buf.h"
#include "net/base/json.h"

static const struct json *service_of(const struct json *doc)
{
	return json_get(doc, "service");
}

bool cli_is_failing(const struct json *doc)
{
	return !strcmp(cli_text(service_of(doc), "health"), "failing");
}

/* The time from then until the document was made: "40 s", "3 min", "5 h", "2 d". */
static void put_age(const struct json *doc, const char *key, struct buf *out)
{
	uint64_t then = cli_number(service_of(doc), key), now = cli_number(doc, "time");
	uint64_t s = now > then ? now - then : 0;

	if (s < 120)
		buf_addf(out, "%llu s", (unsigned long long)s);
	else if (s < 7200)
		buf_addf(out, "%llu min", (unsigned long long)(s / 60));
	else if (s < 172800)
		buf_addf(out, "%llu h", (unsigned long long)(s / 3600));
	else
		buf_addf(out, "%llu d", (unsigned long long)(s / 86400));
}

void cli_health(const struct json *doc, struct buf *out)
{
	if (!cli_is_failing(doc))
		return;
	buf_adds(out, "the service fails for ");
	put_age(doc, "failing_since", out);
	if (cli_number(service_of(doc), "last_answer")) {
		buf_adds(out, ", its last answer came ");
		put_age(doc, "last_answer", out);
		buf_adds(out, " ago");
	}
	buf_addf(out, ": %s", cli_clean(cli_text(service_of(doc), "last_failure")));
}

int cli_check(const struct json *doc)
{
	bool fails = cli_is_failing(doc);
	struct buf text;

	buf_init(&text, 4096);
	if (fails) {
		cli_health(doc, &text);
	} else if (!cli_number(service_of(doc), "last_answer")) {
		buf_adds(&text, "the service was not asked yet");
	} else {
		buf_adds(&text, "the service answered ");
		put_age(doc, "last_answer", &text);
		buf_adds(&text, " ago");
	}
	printf("%s: %s\n", cli_clean(cli_text(doc, "mountpoint")), buf_str(&text));
	buf_release(&text);
	return fails ? CLI_FAILED : CLI_OK;
}
