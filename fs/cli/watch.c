#include "fs/cli/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/mount.h"
#include "fs/cli/view.h"
#include "net/base/buf.h"
#include "net/base/clock.h"
#include "net/base/json.h"

#define REDRAW_MS 500 /* on a terminal */
#define LOOK_MS 1000  /* for lines in a file */

struct watch {
	const char *mount;
	dev_t dev; /* of the mount */
	struct cli_rates *rates;
	bool terminal;
	/* on a terminal: its size at the last drawing, and the lines of that */
	struct cli_screen screen;
	unsigned drawn;
	char *before; /* for lines: the text printed last */
};

/* ---- signals ---- */

static volatile sig_atomic_t stopped, continued;

static void on_signal(int sig)
{
	if (sig == SIGCONT)
		continued = 1;
	else if (sig != SIGWINCH) /* SIGWINCH only ends the pause */
		stopped = 1;
}

static void catch_signals(void)
{
	static const int ours[] = { SIGINT, SIGTERM, SIGWINCH, SIGCONT };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaction(ours[i], &sa, NULL);
}

/* ---- a terminal ---- */

bool cli_screen_get(struct cli_screen *ret)
{
	const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
	struct winsize ws;

	if (!isatty(STDOUT_FILENO) || !term || !*term || !strcmp(term, "dumb"))
		return false;
	*ret = (struct cli_screen){ 80, 24, !plain || !*plain };
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row) {
		ret->columns = ws.ws_col;
		ret->rows = ws.ws_row;
	}
	/* Leave the last column free: some terminals wrap after it. */
	if (ret->columns > 1)
		ret->columns--;
	return true;
}

int cli_put_out(const struct buf *b)
{
	if (b->err || fwrite(buf_str(b), 1, b->len, stdout) != b->len || fflush(stdout)) {
		cli_error("writing: %s", b->err ? "out of memory" : strerror(errno));
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* Move the cursor to the start of the next picture. */
static void find_start(struct watch *w, const struct cli_screen *now, struct buf *out)
{
	bool resized = now->columns != w->screen.columns || now->rows != w->screen.rows;

	if (continued)
		w->drawn = 0; /* the shell wrote below the picture meanwhile */
	continued = 0;
	if (!w->drawn)
		return;
	/* A resize may rewrap the old lines: their number is unknown. */
	if (resized)
		buf_adds(out, "\033[H\033[J");
	else
		buf_addf(out, "\033[%uA\r", w->drawn);
}

/* Overwrite in place: clearing first flickers, and fills some terminals' history. */
static void put_over(const char *picture, struct buf *out)
{
	for (; *picture; picture++) {
		if (*picture == '\n')
			buf_adds(out, "\033[K");
		buf_addc(out, *picture);
	}
	buf_adds(out, "\033[J");
}

/* Draw over the previous picture; the last one stays. */
static int redraw(struct watch *w, const struct json *doc)
{
	struct cli_screen now = w->screen;
	struct buf picture, out;
	int r;

	buf_init(&picture, CLI_VIEW_MAX);
	buf_init(&out, CLI_VIEW_MAX);
	cli_screen_get(&now);
	find_start(w, &now, &out);
	w->screen = now;
	now.rows--; /* the cursor stands below it: else each picture would scroll */
	w->drawn = cli_view_table(doc, w->rates, &now, &picture);
	put_over(buf_str(&picture), &out);
	r = picture.err ? CLI_FAILED : cli_put_out(&out);
	buf_release(&picture);
	buf_release(&out);
	return r;
}

/* Erase the "^C" that the terminal echoed. */
static void leave_screen(void)
{
	fputs("\r\033[K", stdout);
	fflush(stdout);
}

/* ---- lines ---- */

/* Ignore the time of the next try when comparing: it always changes. */
static bool is_news(const struct json *doc, char **before)
{
	struct buf b;
	bool news;

	buf_init(&b, CLI_VIEW_MAX);
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

static int print_news(struct watch *w, const struct json *doc)
{
	struct buf b;
	int r;

	if (!is_news(doc, &w->before))
		return CLI_OK;
	buf_init(&b, CLI_VIEW_MAX);
	cli_view_plain(doc, w->rates, &b);
	r = cli_put_out(&b);
	buf_release(&b);
	return r;
}

/* ---- the loop ---- */

/* One look. *ret_over: the mount has ended as it should. */
static int look(struct watch *w, bool *ret_over)
{
	struct json *doc = NULL;
	int r = cli_read_status(w->mount, CLI_ANSWER_S, &doc, NULL);

	if (r) {
		*ret_over = stopped || cli_gone_soon(w->mount, w->dev);
		return *ret_over ? CLI_OK : cli_no_status(w->mount, r);
	}
	cli_rates_look(w->rates, doc, clock_mono_ms());
	r = w->terminal ? redraw(w, doc) : print_news(w, doc);
	json_free(doc);
	return r;
}

int cli_watch(const char *mount)
{
	struct watch w = { .mount = mount, .dev = cli_mount_dev(mount), .rates = cli_rates_new() };
	int r = w.rates ? CLI_OK : CLI_FAILED;
	bool over = false;

	w.terminal = cli_screen_get(&w.screen);
	catch_signals();
	while (!stopped && !over && r == CLI_OK) {
		r = look(&w, &over);
		if (!stopped && !over && r == CLI_OK)
			cli_sleep_ms(w.terminal ? REDRAW_MS : LOOK_MS);
	}
	if (w.terminal)
		leave_screen();
	free(w.before);
	cli_rates_free(w.rates);
	return r;
}
