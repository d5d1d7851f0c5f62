/*
 * uploadfs ls: the Files of a tree with their IDs, for people and for scripts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/tree.h"
#include "net/base/buf.h"
#include "net/base/json.h"

#define PATHS_MAX 4096

static const char help[] =
	"usage: uploadfs ls [-R] [--json | --tsv] PATH...\n"
	"Lists files of a mount with their File IDs; a directory is its files, with -R\n"
	"those below it too. A file that is no File yet has no ID; see its status.\n"
	"  --tsv    path, file_id, bytes, md5, purpose, status, created_at, expires_at,\n"
	"           a line of names first; \\t, \\n and \\\\ stand for themselves in a path\n"
	"  --json   the same as an array of objects; null for what is not known\n"
	"Exit status: 0 all are listed; 1 trouble; 2 wrong usage; 4 not on a mount.\n";

enum form { PLAIN, TSV, JSON };

struct listing {
	enum form form;
	bool any; /* an object was printed */
};

static const char *const texts[] = { "file_id", "md5", "purpose", "status" };
static const char *const times[] = { "created_at", "expires_at" };

enum { FILE_ID, MD5, PURPOSE, STATUS, TEXTS };

struct row {
	const char *path;
	uint64_t bytes;
	char text[TEXTS][CLI_ATTRIBUTE_MAX]; /* "": none */
	char time[2][32];
};

/* 0, or negative errno if path is no file of a mount. */
static int read_row(const char *path, uint64_t bytes, struct row *row)
{
	char number[32];
	int r;

	row->path = path;
	row->bytes = bytes;
	for (unsigned i = 0; i < TEXTS; i++) {
		row->text[i][0] = '\0';
		r = cli_attribute(path, texts[i], row->text[i], sizeof(row->text[i]));
		if (r && (r != -ENODATA || i == STATUS))
			return r;
	}
	for (unsigned i = 0; i < 2; i++)
		if (cli_attribute(path, times[i], row->time[i], sizeof(row->time[i])))
			row->time[i][0] = '\0';
	if (!cli_attribute(path, "bytes", number, sizeof(number)))
		row->bytes = strtoull(number, NULL, 10);
	return 0;
}

static void print_plain(const struct row *row)
{
	printf("%-36s %10s  %-10s  %s\n",
	       row->text[FILE_ID][0] ? cli_clean(row->text[FILE_ID]) : "-", cli_size(row->bytes),
	       cli_clean(row->text[STATUS]), cli_clean(row->path));
}

static void print_escaped(const char *text)
{
	for (; *text; text++) {
		if (*text == '\t')
			fputs("\\t", stdout);
		else if (*text == '\n')
			fputs("\\n", stdout);
		else if (*text == '\\')
			fputs("\\\\", stdout);
		else
			putchar(*text);
	}
}

static void print_tsv(const struct row *row)
{
	print_escaped(row->path);
	printf("\t%s\t%llu\t%s\t%s\t%s\t%s\t%s\n", row->text[FILE_ID],
	       (unsigned long long)row->bytes, row->text[MD5], row->text[PURPOSE],
	       row->text[STATUS], row->time[0], row->time[1]);
}

static int print_json(struct listing *l, const struct row *row)
{
	struct json_writer w;
	struct buf out;
	int r;

	buf_init(&out, 1 << 20);
	json_w_init(&w, &out);
	json_w_object(&w, NULL);
	json_w_str(&w, "path", row->path);
	for (unsigned i = 0; i < TEXTS; i++)
		json_w_str(&w, texts[i], row->text[i][0] ? row->text[i] : NULL);
	json_w_u64(&w, "bytes", row->bytes);
	for (unsigned i = 0; i < 2; i++) {
		if (row->time[i][0])
			json_w_i64(&w, times[i], strtoll(row->time[i], NULL, 10));
		else
			json_w_null(&w, times[i]);
	}
	json_w_end_object(&w);
	r = out.err;
	if (!r)
		printf("%s%s", l->any ? ",\n" : "\n", buf_str(&out));
	l->any = true;
	buf_release(&out);
	return r;
}

static int list_file(void *arg, const char *path, uint64_t bytes)
{
	struct row *row = malloc(sizeof(*row));
	struct listing *l = arg;
	int r = row ? read_row(path, bytes, row) : -ENOMEM;

	if (r == 0) {
		if (l->form == PLAIN)
			print_plain(row);
		else if (l->form == TSV)
			print_tsv(row);
		else
			r = print_json(l, row);
	}
	free(row);
	return r ? cli_no_attribute(path, r) : CLI_OK;
}

int cli_ls(int argc, char **argv)
{
	bool deep = false, json = false, tsv = false;
	const struct cli_option options[] = { { "-R", &deep, NULL },
					      { "--json", &json, NULL },
					      { "--tsv", &tsv, NULL },
					      { NULL, NULL, NULL } };
	static const char *paths[PATHS_MAX];
	struct listing l = { 0 };
	int worst = CLI_OK, r;
	size_t n;

	r = cli_args(argc, argv, help, options, paths, PATHS_MAX, &n);
	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (!n || (json && tsv)) {
		cli_error("%s; see uploadfs ls --help",
			  n ? "--json and --tsv do not go together" : "name a PATH");
		return CLI_USAGE;
	}
	l.form = json ? JSON : tsv ? TSV : PLAIN;
	fputs(json  ? "["
	      : tsv ? "path\tfile_id\tbytes\tmd5\tpurpose\tstatus\tcreated_at\texpires_at\n"
		    : "",
	      stdout);
	for (size_t i = 0; i < n; i++) {
		r = cli_walk(paths[i], deep, list_file, &l);
		worst = r > worst ? r : worst;
	}
	fputs(json ? l.any ? "\n]\n" : "]\n" : "", stdout);
	if (fflush(stdout) || ferror(stdout)) {
		cli_error("the output can't be written: %s", strerror(errno));
		return CLI_FAILED;
	}
	return worst;
}
