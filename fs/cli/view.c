#include "fs/cli/view.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/cli.h"
#include "fs/cli/columns.h"
#include "fs/cli/health.h"
#include "fs/cli/left.h"
#include "fs/cli/mount.h"
#include "net/base/buf.h"
#include "net/base/json.h"

#define RATED_MAX 256	/* files whose rate is followed; more than a screen has lines */
#define COLUMNS_MAX 200 /* a name needs no more */
#define FIGURES 37	/* columns of the figures behind the bar, with a space before */
#define FIGURES_FEW 14	/* per cent and the time left */
#define FIGURES_ONE 5	/* per cent */
#define NAME_MIN 12
#define REASON_LINES 8
#define SETTLING_MS 1000 /* a rate over less time jumps */

/* ---- rates ---- */

struct rated {
	char *path;
	uint64_t sent, at_ms;
	double rate; /* bytes a second, smoothed; < 0: not known yet */
	bool seen;
};

struct cli_rates {
	struct rated v[RATED_MAX];
	size_t count;
};

struct cli_rates *cli_rates_new(void)
{
	return calloc(1, sizeof(struct cli_rates));
}

void cli_rates_free(struct cli_rates *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		free(r->v[i].path);
	free(r);
}

static struct rated *find(struct cli_rates *r, const char *path)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->v[i].path, path))
			return &r->v[i];
	return NULL;
}

static void note(struct cli_rates *r, const char *path, uint64_t sent, uint64_t now_ms)
{
	struct rated *x = find(r, path);
	double now;

	if (!x && r->count < RATED_MAX) {
		x = &r->v[r->count];
		*x = (struct rated){ strdup(path), sent, now_ms, -1, true };
		r->count += x->path != NULL;
		return;
	}
	if (!x)
		return;
	x->seen = true;
	if (sent < x->sent) { /* sent anew */
		x->sent = sent;
		x->at_ms = now_ms;
		x->rate = -1;
		return;
	}
	if (now_ms < x->at_ms + SETTLING_MS)
		return;
	now = (double)(sent - x->sent) * 1000 / (double)(now_ms - x->at_ms);
	x->rate = x->rate < 0 ? now : 0.6 * x->rate + 0.4 * now;
	x->sent = sent;
	x->at_ms = now_ms;
}

void cli_rates_look(struct cli_rates *r, const struct json *doc, uint64_t now_ms)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++)
		r->v[i].seen = false;
	for (const struct json *f = json_first(json_get(doc, "files")); f; f = json_next(f))
		if (json_get_str(f, "upload_id"))
			note(r, cli_text(f, "path"), cli_number(f, "sent"), now_ms);
	for (size_t i = 0; i < r->count; i++) {
		if (r->v[i].seen)
			r->v[kept++] = r->v[i];
		else
			free(r->v[i].path);
	}
	r->count = kept;
}

static uint64_t rate_of(const struct cli_rates *r, const struct json *file)
{
	const char *path = cli_text(file, "path");

	for (size_t i = 0; r && i < r->count; i++)
		if (!strcmp(r->v[i].path, path) && r->v[i].rate >= 0)
			return (uint64_t)r->v[i].rate;
	return cli_number(file, "rate");
}

/* ---- figures ---- */

static unsigned percent(const struct json *file)
{
	uint64_t sent = cli_number(file, "sent"), all = cli_number(file, "upload_size");

	unsigned n;

	if (!all)
		return 0;
	n = sent >= all ? 100 : (unsigned)((double)sent * 100 / (double)all);
	/* Sent bytes may still be in flight: 100 only once every Part was answered. */
	if (n == 100 && cli_number(file, "parts_done") < cli_number(file, "parts_total"))
		n = 99;
	return n;
}

static void put_left(const struct json *file, uint64_t rate, struct buf *out)
{
	uint64_t sent = cli_number(file, "sent"), all = cli_number(file, "upload_size"), s;

	if (!rate || sent >= all) {
		buf_adds(out, sent && sent >= all ? "0:00" : "-:--");
		return;
	}
	s = (all - sent + rate - 1) / rate;
	if (s >= 360000)
		buf_adds(out, "99:59:59");
	else if (s >= 3600)
		buf_addf(out, "%u:%02u:%02u", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
			 (unsigned)(s % 60));
	else
		buf_addf(out, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
}

/* Reason and remedy of a file that makes no progress. */
static void put_reason(const struct json *doc, const struct json *file, struct buf *out)
{
	const char *status = cli_text(file, "status"), *error = cli_text(file, "error");
	uint64_t next = cli_number(file, "next_try"), now = cli_number(doc, "time");

	if (!strcmp(status, "held"))
		buf_adds(out, "waits for its rename");
	else if (!strcmp(status, "aborted") && !*error)
		buf_adds(out, CLI_NOT_CLOSED);
	else if (!strcmp(status, "empty"))
		buf_adds(out, "stays here; the service has no empty Files");
	else
		buf_adds(out, cli_clean(error));
	if (!next && cli_number(file, "http_status") && !strstr(error, "user.upload.publish"))
		buf_adds(out, "; write it again or set user.upload.publish");
	if (next)
		buf_addf(out, "; next try in %llu s",
			 (unsigned long long)(next > now ? next - now : 0));
}

static bool moves(const struct json *file)
{
	const char *status = cli_text(file, "status");

	return !strcmp(status, "publishing") || !strcmp(status, "streaming") ||
	       !strcmp(status, "writing");
}

/* ---- plain ---- */

static void plain_line(const struct json *doc, const struct json *f, const struct cli_rates *rates,
		       struct buf *out)
{
	uint64_t rate = rate_of(rates, f);

	buf_addf(out, "%-10s  ", cli_clean(cli_text(f, "status")));
	if (moves(f) && json_get_str(f, "upload_id")) {
		buf_addf(out, "%3u%%  %s of %s  parts %llu/%llu  %s/s  ", percent(f),
			 cli_size(cli_number(f, "sent")), cli_size(cli_number(f, "upload_size")),
			 (unsigned long long)cli_number(f, "parts_done"),
			 (unsigned long long)cli_number(f, "parts_total"), cli_size(rate));
		put_left(f, rate, out);
		buf_addf(out, " left  %s\n", cli_clean(cli_text(f, "path")));
		return;
	}
	buf_addf(out, "%10s  %s", cli_size(cli_number(f, "size")), cli_clean(cli_text(f, "path")));
	if (!moves(f)) {
		buf_adds(out, ": ");
		put_reason(doc, f, out);
	}
	buf_addc(out, '\n');
}

void cli_view_totals(const struct json *doc, struct buf *out)
{
	static const char *const words[] = { "held", "failed", "aborted", "empty" };

	buf_addf(out, "%llu publishing, %llu being written",
		 (unsigned long long)cli_total(doc, "publishing"),
		 (unsigned long long)(cli_total(doc, "writing") + cli_total(doc, "streaming")));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (cli_total(doc, words[i]))
			buf_addf(out, ", %llu %s", (unsigned long long)cli_total(doc, words[i]),
				 words[i]);
	buf_addf(out, "; %llu published (%s)", (unsigned long long)cli_total(doc, "completed"),
		 cli_size(cli_total(doc, "completed_bytes")));
	if (json_len(json_get(doc, "unusable")))
		buf_addf(out, ", %llu unusable",
			 (unsigned long long)json_len(json_get(doc, "unusable")));
	if (json_bool(json_get(json_get(doc, "listing"), "first"), false))
		buf_addf(out, "; listing the account: %llu Files so far, %llu s",
			 (unsigned long long)cli_number(json_get(doc, "listing"), "files"),
			 (unsigned long long)cli_number(json_get(doc, "listing"), "seconds"));
}

/* Files that exist and can't be used. */
static void put_unusable(const struct json *doc, struct buf *out)
{
	const struct json *u = json_first(json_get(doc, "unusable"));

	for (; u; u = json_next(u)) {
		const char *words = cli_text(u, "status_details");

		buf_addf(out, "%-10s  ", "unusable");
		buf_addf(out, "%s", cli_clean(cli_text(u, "path")));
		buf_addf(out, ": the service could not process %s",
			 cli_clean(cli_text(u, "file_id")));
		buf_addf(out, "%s%s\n", *words ? ": " : "", cli_clean(words));
	}
}

void cli_view_plain(const struct json *doc, const struct cli_rates *rates, struct buf *out)
{
	for (const struct json *f = json_first(json_get(doc, "files")); f; f = json_next(f))
		plain_line(doc, f, rates, out);
	if (cli_number(doc, "files_omitted"))
		buf_addf(out, "and %llu more\n",
			 (unsigned long long)cli_number(doc, "files_omitted"));
	put_unusable(doc, out);
	if (cli_is_failing(doc)) {
		cli_health(doc, out);
		buf_addc(out, '\n');
	}
	cli_view_totals(doc, out);
	buf_addc(out, '\n');
}

/* ---- table ---- */

/* text in exactly width columns; keeps the end, which differs between files. */
static void put_name(const char *text, unsigned width, struct buf *out)
{
	unsigned w = columns_of(text), dots = width < 2 ? width : 2;

	if (w > width) {
		text = columns_tail(text, width - dots);
		w = dots + columns_of(text);
		buf_add(out, "..", dots);
	}
	buf_addf(out, "%s%*s", text, (int)(width - w), "");
}

static void put_cut(const char *text, unsigned width, struct buf *out)
{
	buf_add(out, text, (size_t)(columns_cut(text, width) - text));
}

/* sgr: "32" for green and so on; nothing without colours. */
static void put_colour(const struct cli_screen *screen, const char *sgr, struct buf *out)
{
	if (screen->colour)
		buf_addf(out, "\033[%sm", sgr);
}

static void put_bar(const struct cli_screen *screen, unsigned per_cent, unsigned width,
		    struct buf *out)
{
	unsigned full = width * per_cent / 100;

	buf_addc(out, '[');
	put_colour(screen, "32", out);
	for (unsigned i = 0; i < full; i++)
		buf_addc(out, '#');
	put_colour(screen, "0", out);
	for (unsigned i = full; i < width; i++)
		buf_addc(out, '-');
	buf_addc(out, ']');
}

/* Columns of the figures, with the space before them; fewer if the name needs room. */
static unsigned figures_for(unsigned columns)
{
	if (columns >= FIGURES + NAME_MIN)
		return FIGURES;
	return columns >= FIGURES_FEW + NAME_MIN ? FIGURES_FEW : FIGURES_ONE;
}

/* " 45%   38.1 MiB/s     0:37    19/42" */
static void put_figures(const struct json *f, uint64_t rate, unsigned figures, struct buf *out)
{
	struct buf left;
	char parts[32];

	buf_init(&left, 32);
	put_left(f, rate, &left);
	snprintf(parts, sizeof(parts), "%llu/%llu", (unsigned long long)cli_number(f, "parts_done"),
		 (unsigned long long)cli_number(f, "parts_total"));
	buf_addf(out, "%3u%%", percent(f));
	if (figures == FIGURES)
		buf_addf(out, " %11s/s %8s %8s", cli_size(rate), buf_str(&left),
			 strlen(parts) > 8 ? "" : parts);
	else if (figures == FIGURES_FEW)
		buf_addf(out, " %8s", buf_str(&left));
	buf_release(&left);
}

/* "NAME writing, 2.0 MiB" */
static void waiting_row(const struct json *f, const struct cli_screen *screen, unsigned name,
			struct buf *out)
{
	unsigned least = screen->columns / 3, needed;
	struct buf text;

	buf_init(&text, 256);
	buf_addf(&text, " %s, %s", cli_clean(cli_text(f, "status")),
		 cli_size(cli_number(f, "size")));
	needed = columns_of(buf_str(&text));
	if (name + needed > screen->columns)
		name = least + needed > screen->columns ? least : screen->columns - needed;
	put_name(cli_clean(cli_text(f, "path")), name, out);
	put_cut(buf_str(&text), screen->columns - name, out);
	buf_addc(out, '\n');
	buf_release(&text);
}

/* "NAME [####----]  45%  38.1 MiB/s    0:37  19/42" */
static void moving_row(const struct json *f, const struct cli_rates *rates,
		       const struct cli_screen *screen, struct buf *out)
{
	unsigned columns = screen->columns, figures = figures_for(columns), bar = columns / 5;
	unsigned name = columns > figures ? columns - figures : 0;
	struct buf text;

	if (name < bar + 3 + NAME_MIN)
		bar = 0;
	else
		name -= bar + 3;
	if (!json_get_str(f, "upload_id")) {
		waiting_row(f, screen, name, out);
		return;
	}
	put_name(cli_clean(cli_text(f, "path")), name, out);
	if (bar) {
		buf_addc(out, ' ');
		put_bar(screen, percent(f), bar, out);
		name += bar + 3;
	}
	buf_init(&text, 256);
	buf_addc(&text, ' ');
	put_figures(f, rate_of(rates, f), figures, &text);
	put_cut(buf_str(&text), columns - name, out);
	buf_addc(out, '\n');
	buf_release(&text);
}

static const char *colour_of(const char *status)
{
	if (!strcmp(status, "failed"))
		return "31";
	return strcmp(status, "aborted") ? "36" : "33";
}

/* End of the line of width columns that begins at text: at a space if possible. */
static const char *break_at(const char *text, unsigned width)
{
	const char *end = columns_cut(text, width), *at;

	for (at = end; *end && at > text && *at != ' ';)
		at--;
	return at > text ? at : end;
}

/*
 * text in at most lines lines, of which the first has `first` columns left and the others begin
 * behind indent spaces. Returns their number.
 */
static unsigned put_wrapped(const struct cli_screen *screen, const char *text, unsigned first,
			    unsigned indent, unsigned lines, struct buf *out)
{
	unsigned width = first, n = 1;

	for (; n < lines && *columns_cut(text, width); n++) {
		const char *end = break_at(text, width);

		buf_add(out, text, (size_t)(end - text));
		buf_addf(out, "\n%*s", (int)indent, "");
		text = end + (*end == ' ');
		width = screen->columns - indent;
	}
	put_cut(text, width, out);
	buf_addc(out, '\n');
	return n;
}

/* Print the reason in up to that many lines. Returns the number used. */
static unsigned resting_row(const struct json *doc, const struct json *f,
			    const struct cli_screen *screen, unsigned lines, struct buf *out)
{
	const char *status = cli_text(f, "status");
	unsigned name = screen->columns / 3, left = screen->columns - name - 1;
	unsigned used = columns_of(status);
	struct buf text;

	put_name(cli_clean(cli_text(f, "path")), name, out);
	buf_addc(out, ' ');
	put_colour(screen, colour_of(status), out);
	put_cut(cli_clean(status), left, out);
	put_colour(screen, "0", out);
	buf_init(&text, 4096);
	buf_adds(&text, ": ");
	put_reason(doc, f, &text);
	lines = put_wrapped(screen, buf_str(&text), used < left ? left - used : 0, name + 1, lines,
			    out);
	buf_release(&text);
	return lines;
}

/* Returns the number of lines. */
static unsigned put_head(const struct json *doc, const struct cli_screen *screen, struct buf *out)
{
	unsigned columns = screen->columns, lines = 2;
	struct buf text;

	buf_init(&text, 16384);
	buf_addf(&text, "%s  %s", cli_clean(cli_text(doc, "mountpoint")),
		 cli_clean(cli_text(doc, "service_url")));
	put_cut(buf_str(&text), columns, out);
	buf_reset(&text);
	buf_addc(out, '\n');
	cli_view_totals(doc, &text);
	put_cut(buf_str(&text), columns, out);
	buf_addc(out, '\n');
	if (cli_is_failing(doc)) {
		buf_reset(&text);
		cli_health(doc, &text);
		put_colour(screen, "31", out);
		put_cut(buf_str(&text), columns, out);
		put_colour(screen, "0", out);
		buf_addc(out, '\n');
		lines++;
	}
	buf_release(&text);
	return lines;
}

static void put_more(uint64_t count, unsigned columns, struct buf *out)
{
	char text[48];

	snprintf(text, sizeof(text), "and %llu more", (unsigned long long)count);
	put_cut(text, columns, out);
	buf_addc(out, '\n');
}

/* Lines for each idle file's reason: the room left once every file has its line. */
static unsigned lines_for_reasons(const struct json *files, unsigned room)
{
	unsigned rows = 0, resting = 0, n;

	for (const struct json *f = json_first(files); f; f = json_next(f), rows++)
		resting += !moves(f);
	if (!resting || rows >= room)
		return 1;
	n = 1 + (room - rows) / resting;
	return n < REASON_LINES ? n : REASON_LINES;
}

unsigned cli_view_table(const struct json *doc, const struct cli_rates *rates,
			const struct cli_screen *screen, struct buf *out)
{
	const struct json *files = json_get(doc, "files"), *f;
	uint64_t all = json_len(files) + cli_number(doc, "files_omitted");
	unsigned lines, shown = 0, room, reason;
	struct cli_screen s = *screen;

	if (!s.columns)
		s.columns = 1;
	if (s.columns > COLUMNS_MAX)
		s.columns = COLUMNS_MAX;
	lines = put_head(doc, &s, out);
	room = s.rows > lines + 3 ? s.rows - lines - 1 : 2; /* and a line for the rest */
	reason = lines_for_reasons(files, room);
	for (f = json_first(files); f && shown < room; f = json_next(f), shown++) {
		if (moves(f))
			moving_row(f, rates, &s, out);
		lines += moves(f) ? 1 : resting_row(doc, f, &s, reason, out);
	}
	if (all > shown) {
		put_more(all - shown, s.columns, out);
		lines++;
	}
	return lines;
}
