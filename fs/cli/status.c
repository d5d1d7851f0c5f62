/*
 * uploadfs status: the state of a daemon, once; watch.c repeats it.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/health.h"
#include "fs/cli/mount.h"
#include "fs/cli/view.h"
#include "fs/cli/watch.h"
#include "net/base/buf.h"
#include "net/base/json.h"

static const char help[] =
	"usage: uploadfs status [--watch | --json | --check] [MOUNTPOINT]\n"
	"Shows files on their way with progress, rate, time left and Parts; held, failed\n"
	"and aborted files with the reason; totals. MOUNTPOINT may be left out if there\n"
	"is only one mount.\n"
	"  --watch   repeats it until Ctrl-C or until the mount ends: a table on a\n"
	"            terminal, else lines after each change\n"
	"  --json    prints the document itself; docs/status.schema.json describes it\n"
	"  --check   one line: whether the service answers; for probes\n"
	"Exit status: 0 shown; 1 trouble, with --check: the service fails; 2 wrong\n"
	"  usage; 4 no such mount, or no answer.\n";

static int show_once(const char *mount, bool json)
{
	struct cli_screen screen;
	struct json *doc = NULL;
	struct buf text;
	int r;

	buf_init(&text, CLI_VIEW_MAX);
	r = cli_read_status(mount, CLI_ANSWER_S, &doc, json ? &text : NULL);
	if (r) {
		buf_release(&text);
		return cli_no_status(mount, r);
	}
	if (!json && cli_screen_get(&screen)) {
		screen.rows = UINT_MAX; /* scrolling is fine */
		cli_view_table(doc, NULL, &screen, &text);
	} else if (!json) {
		cli_view_plain(doc, NULL, &text);
	}
	r = cli_put_out(&text);
	buf_release(&text);
	json_free(doc);
	return r;
}

static int check(const char *mount)
{
	struct json *doc = NULL;
	int r = cli_read_status(mount, CLI_ANSWER_S, &doc, NULL);

	if (r)
		return cli_no_status(mount, r);
	r = cli_check(doc);
	json_free(doc);
	return r;
}

int cli_status(int argc, char **argv)
{
	bool json = false, again = false, probe = false;
	const struct cli_option options[] = { { "--json", &json, NULL },
					      { "--watch", &again, NULL },
					      { "--check", &probe, NULL },
					      { NULL, NULL, NULL } };
	const char *path = NULL;
	char *mount = NULL;
	size_t n;
	uid_t uid;
	int r = cli_args(argc, argv, help, options, &path, 1, &n);

	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (json + again + probe > 1) {
		cli_error("--json, --watch and --check do not go together");
		return CLI_USAGE;
	}
	r = cli_find_mount(path, &mount, &uid);
	if (r == CLI_OK)
		r = again ? cli_watch(mount) : probe ? check(mount) : show_once(mount, json);
	free(mount);
	return r;
}
