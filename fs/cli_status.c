/*
 * uploadfs status: what a daemon is doing; once, or again and again.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/cli.h"
#include "fs/cli_view.h"
#include "fs/status.h"
#include "net/clock.h"
#include "net/json.h"

#define ANSWER_S 10   /* a mount that does not answer by then hangs */
#define REDRAW_MS 500 /* on a terminal */
#define LOOK_MS 1000  /* for lines in a file */
#define PLAIN_MAX (64U << 20)

static const char help[] =
	"usage: uploadfs status [--watch | --json] [MOUNTPOINT]\n"
	"Shows what the daemon of MOUNTPOINT is doing: files on their way with\n"
	"progress, rate, time left and Parts; those held, failed and aborted with the\n"
	"reason; totals. Without MOUNTPOINT: that of the only mount.\n"
	"  --watch   shows it again and again, until Ctrl-C or until it is unmounted;\n"
	"            a table on a terminal, else lines, when something has changed\n"
	"  --json    the document itself; docs/status.schema.json says what is in it\n"
	"Exit status: 0 shown; 1 trouble; 2 wrong usage; 4 no such mount, or no answer.\n";

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void terminal_size(unsigned *columns, unsigned *rows)
{
	struct winsize ws;

	*columns = 80;
	*rows = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row) {
		*columns = ws.ws_col;
		*rows = ws.ws_row;
	}
}

static int put_out(const struct buf *b)
{
	if (b->err || fwrite(buf_str(b), 1, b->len, stdout) != b->len || fflush(stdout)) {
		cli_error("writing: %s", b->err ? "out of memory" : strerror(errno));
		return CLI_FAILED;
	}
	return CLI_OK;
}

static int show_once(const char *mount, bool json)
{
	struct json *doc = NULL;
	struct buf text;
	unsigned columns, rows;
	int r;

	buf_init(&text, PLAIN_MAX);
	r = cli_read_status(mount, ANSWER_S, &doc, json ? &text : NULL);
	if (r) {
		buf_release(&text);
		return cli_no_status(mount, r);
	}
	terminal_size(&columns, &rows);
	if (!json && isatty(STDOUT_FILENO))
		cli_view_table(doc, NULL, columns, 10000, &text);
	else if (!json)
		cli_view_plain(doc, NULL, &text);
	r = put_out(&text);
	buf_release(&text);
	json_free(doc);
	return r;
}

/* Draws over what it drew before; the last picture stays. */
static int redraw(const struct json *doc, const struct cli_rates *rates, unsigned *drawn)
{
	unsigned columns, rows;
	struct buf b;
	int r;

	terminal_size(&columns, &rows);
	buf_init(&b, PLAIN_MAX);
	if (*drawn)
		buf_addf(&b, "\033[%uA\r\033[J", *drawn);
	/* The last column is left free: some terminals wrap after it. */
	*drawn = cli_view_table(doc, rates, columns - 1, rows, &b);
	r = put_out(&b);
	buf_release(&b);
	return r;
}

/* The time of the next try goes by: that alone is no news. */
static bool is_news(const struct json *doc, char **before)
{
	struct buf b;
	bool news;

	buf_init(&b, PLAIN_MAX);
	cli_view_totals(doc, &b);
	for (const struct json *f = json_first(json_get(doc, "files")); f; f = json_next(f))
		buf_addf(&b, "\n%s %s %llu %llu %s", cli_text(f, "path"), cli_text(f, "status"),
			 (unsigned long long)cli_number(f, "parts_done"),
			 (unsigned long long)cli_number(f, "parts_total"), cli_text(f, "error"));
	news = !*before || strcmp(*before, buf_str(&b)) != 0;
	if (news) {
		free(*before);
		*before = strdup(buf_str(&b));
	}
	buf_release(&b);
	return news;
}

static int print_news(const struct json *doc, const struct cli_rates *rates, char **before)
{
	struct buf b;
	int r;

	if (!is_news(doc, before))
		return CLI_OK;
	buf_init(&b, PLAIN_MAX);
	cli_view_plain(doc, rates, &b);
	r = put_out(&b);
	buf_release(&b);
	return r;
}

/* True: it was unmounted, as a mount ends; not left behind. */
static bool is_gone(const char *mount)
{
	struct mount_list list;
	bool gone;

	if (mounts_read(&list))
		return false;
	gone = !mounts_find(&list, mount);
	mounts_free(&list);
	return gone;
}

/* A daemon that ends closes its side a moment before it unmounts. */
static bool is_gone_soon(const char *mount)
{
	for (unsigned i = 0; i < 40; i++) {
		if (is_gone(mount))
			return true;
		cli_sleep_ms(50);
	}
	return false;
}

static int watch(const char *mount)
{
	struct cli_rates *rates = cli_rates_new();
	bool terminal = isatty(STDOUT_FILENO);
	char *before = NULL;
	unsigned drawn = 0;
	int r = rates ? CLI_OK : CLI_FAILED;

	catch_signals();
	while (!stopped && r == CLI_OK) {
		struct json *doc = NULL;
		int err = cli_read_status(mount, ANSWER_S, &doc, NULL);

		if (err && (stopped || is_gone_soon(mount)))
			break;
		if (err) {
			r = cli_no_status(mount, err);
			break;
		}
		cli_rates_look(rates, doc, clock_mono_ms());
		r = terminal ? redraw(doc, rates, &drawn) : print_news(doc, rates, &before);
		json_free(doc);
		if (!stopped && r == CLI_OK)
			cli_sleep_ms(terminal ? REDRAW_MS : LOOK_MS);
	}
	free(before);
	cli_rates_free(rates);
	return r;
}

int cli_status(int argc, char **argv)
{
	bool json = false, again = false;
	const struct cli_option options[] = { { "--json", &json, NULL },
					      { "--watch", &again, NULL },
					      { NULL, NULL, NULL } };
	const char *path = NULL;
	char *mount = NULL;
	size_t n;
	uid_t uid;
	int r = cli_args(argc, argv, help, options, &path, 1, &n);

	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (json && again) {
		cli_error("--json and --watch do not go together");
		return CLI_USAGE;
	}
	r = cli_find_mount(path, &mount, &uid);
	if (r == CLI_OK)
		r = again ? watch(mount) : show_once(mount, json);
	free(mount);
	return r;
}
