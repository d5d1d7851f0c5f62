/*
 * The doctor's dry run: files that are to be copied into a mount.
 */
#include "fs/cli/doctor_files.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/doctor_state.h"
#include "fs/cli/report.h"
#include "fs/config/opts.h"
#include "fs/host/real.h"
#include "fs/tree/names.h"
#include "net/api/api.h"
#include "net/base/jsonl.h"

#define BATCH_MAX 200000000ULL /* bytes of a batch input (D: 200 MB) */

/* ---- the command line ---- */

/* A word of fstab for the default SOURCE, which it is without a MOUNTPOINT, too. */
static bool is_default(const char *word)
{
	return !strcmp(word, "none") || !strcmp(word, "uploadfs");
}

static bool is_source(const char *word)
{
	return strstr(word, "://") || !strncmp(word, "local:", 6) || !strncmp(word, "azure:", 6) ||
	       is_default(word);
}

static bool is_file(const char *word)
{
	struct stat st;

	return real_stat(word, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* How many of the words are files: the last ones. */
static int count_files(char **words, int count)
{
	bool source = count && is_source(words[0]);
	int rest = count - source;

	for (int i = source; i < count; i++)
		if (is_file(words[i]))
			return rest;
	return rest > 2 || (source && rest > 1) ? rest : 0;
}

int cli_doctor_words(int argc, char **argv, struct doctor_words *ret)
{
	struct doctor_words w = { .argv = calloc((size_t)argc + 2, sizeof(*w.argv)),
				  .files = calloc((size_t)argc + 2, sizeof(*w.files)) };
	bool all = false;
	int count = 0, i;

	if (!w.argv || !w.files) {
		cli_doctor_words_free(&w);
		return -ENOMEM;
	}
	for (i = 0; i < argc; i++) {
		const char *arg = argv[i];

		if (i && !all && !strcmp(arg, "--")) {
			all = true;
		} else if (!i || (!all && arg[0] == '-' && arg[1])) {
			w.argv[w.argc++] = argv[i];
			/* "-o WORDS", "-fo WORDS"; "-oWORDS" is one word */
			if (i && strchr(arg, 'o') == arg + strlen(arg) - 1 && i + 1 < argc)
				w.argv[w.argc++] = argv[++i];
		} else {
			w.files[count++] = argv[i];
		}
	}
	w.file_count = count_files(w.files, count);
	/* A line without files stands as it is. */
	if (!w.file_count) {
		memcpy(w.argv, argv, (size_t)argc * sizeof(*argv));
		w.argc = argc;
	} else if (w.file_count < count) {
		if (!is_default(w.files[0]))
			w.argv[w.argc++] = w.files[0];
		memmove(w.files, w.files + 1, (size_t)count * sizeof(*w.files));
	}
	w.argv[w.argc] = NULL;
	*ret = w;
	return 0;
}

void cli_doctor_words_free(struct doctor_words *w)
{
	free(w->argv);
	free(w->files);
	*w = (struct doctor_words){ 0 };
}

/* ---- one file ---- */

/* The last component of the path that is a purpose, but not the file's name. NULL: none is. */
static const char *purpose_in(const char *path)
{
	const char *found = NULL, *slash;

	for (; (slash = strchr(path, '/')) != NULL; path = slash + 1)
		for (size_t k = 0; names_purposes[k]; k++)
			if (strlen(names_purposes[k]) == (size_t)(slash - path) &&
			    !strncmp(names_purposes[k], path, (size_t)(slash - path)))
				found = names_purposes[k];
	return found;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && !strcasecmp(name + n - m, end);
}

static bool takes_jsonl_only(const char *purpose)
{
	return !strcmp(purpose, "batch") || !strcmp(purpose, "fine-tune");
}

static bool is_known_to_azure(const char *purpose)
{
	return strcmp(purpose, "evals") && strcmp(purpose, "user_data") &&
	       strcmp(purpose, "vision");
}

/* A file as it is looked at. */
struct candidate {
	const char *path, *name;
	uint64_t bytes;
	char lines[JSONL_TEXT_SIZE]; /* why it is no JSON Lines; "": it is, or need not be */
};

/* Why that purpose does not take the file; ret is "" if it does. */
static void refusal(const struct opts *o, const char *purpose, const struct candidate *c,
		    char ret[256])
{
	*ret = '\0';
	if (o->azure && !is_known_to_azure(purpose))
		snprintf(ret, 256, "Azure takes no Uploads of this purpose");
	else if (takes_jsonl_only(purpose) && !ends_in(c->name, ".jsonl"))
		snprintf(ret, 256,
			 "its files are JSON Lines, and this name does not end in .jsonl");
	else if (!strcmp(purpose, "batch") && c->bytes > BATCH_MAX)
		snprintf(ret, 256,
			 "%" PRIu64 " bytes are more than the 200 MB of a batch input; "
			 "split it",
			 c->bytes);
	else if (takes_jsonl_only(purpose) && *c->lines)
		snprintf(ret, 256, "%s", c->lines);
}

/* What no purpose takes. */
static void refusal_anywhere(const struct opts *o, const char *name, const struct stat *st,
			     char ret[256])
{
	uint64_t bytes = (uint64_t)st->st_size, room;

	*ret = '\0';
	if (names_check_new(name) == -ENAMETOOLONG)
		snprintf(ret, 256, "its name has more than %d bytes", NAMES_MAX);
	else if (names_check_new(name))
		snprintf(ret, 256, "its name has control characters, or is not UTF-8; rename it");
	else if (!bytes)
		snprintf(ret, 256,
			 "it is empty: the API is not known to take that, so it would "
			 "stay local");
	else if (bytes > API_UPLOAD_MAX)
		snprintf(ret, 256, "%s are more than the 8 GiB of an Upload; split it",
			 cli_size(bytes));
	else if (o->staging_size && bytes > o->staging_size)
		snprintf(ret, 256, "%s are more than -o staging_size=", cli_size(bytes));
	else if (cli_doctor_room(o, &room) == 0 && bytes > room)
		snprintf(ret, 256,
			 "%s, and the state directory has room for %s; use -o state_dir= "
			 "on another disk",
			 cli_size(bytes), cli_size(room));
}

/* Append to a list in text, of 512 bytes. */
static void append(char *text, const char *between, const char *word)
{
	size_t len = strlen(text);

	snprintf(text + len, 512 - len, "%s%s", len ? between : "", word);
}

/* Say which purposes take the file, as its path names none, and why the others don't. */
static void check_each(const struct opts *o, const struct candidate *c)
{
	char takes[512] = "", others[512] = "", why[256], last[256] = "";

	for (size_t k = 0; names_purposes[k]; k++) {
		refusal(o, names_purposes[k], c, why);
		if (!*why) {
			append(takes, ", ", names_purposes[k]);
			continue;
		}
		if (*last && strcmp(last, why)) {
			append(others, ": ", last);
			append(others, "; ", names_purposes[k]);
		} else {
			append(others, ", ", names_purposes[k]);
		}
		memcpy(last, why, sizeof(last));
	}
	append(others, ": ", last);
	if (!*takes)
		cli_report_ill("%s: no purpose takes it; %s", c->path, others);
	else if (*last)
		cli_report_well("%s: %s, for %s (not %s)", c->path, cli_size(c->bytes), takes,
				others);
	else
		cli_report_well("%s: %s, for %s", c->path, cli_size(c->bytes), takes);
}

/* Open a regular file. Nothing else is: a FIFO would wait. fd or negative errno. */
static int open_regular(const char *path, struct stat *ret)
{
	int fd;

	fd = real_stat(path, ret);
	if (fd)
		return fd;
	if (!S_ISREG(ret->st_mode))
		return -EMEDIUMTYPE;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void report(const struct opts *o, const struct candidate *c, const char *purpose,
		   const char *why)
{
	if (*why)
		cli_report_ill("%s: %s%s%s", c->path, purpose ? purpose : "", purpose ? ": " : "",
			       why);
	else if (purpose)
		cli_report_well("%s: %s, for %s", c->path, cli_size(c->bytes), purpose);
	else
		check_each(o, c);
	if (!*why && c->bytes > API_FILE_MAX)
		cli_report_well("%s: a service without Uploads takes %s at most", c->path,
				cli_size(API_FILE_MAX));
}

static void check_file(const struct opts *o, const char *path, const char *name)
{
	const char *purpose = o->purpose ? o->purpose : purpose_in(path);
	struct candidate c = { .path = path, .name = name };
	struct stat st;
	char why[256];
	int r, fd = open_regular(path, &st);

	if (fd < 0) {
		cli_report_ill("%s: %s", path,
			       fd == -EMEDIUMTYPE ? "it is no regular file" : strerror(-fd));
		return;
	}
	c.bytes = (uint64_t)st.st_size;
	refusal_anywhere(o, name, &st, why);
	if (!*why && ends_in(name, ".jsonl") && (!purpose || takes_jsonl_only(purpose))) {
		r = jsonl_check(fd, c.lines);
		if (r && r != -EINVAL)
			snprintf(why, sizeof(why), "%s", strerror(-r));
	}
	if (!*why && purpose)
		refusal(o, purpose, &c, why);
	report(o, &c, purpose, why);
	close(fd);
}

static void check_entry(const struct opts *o, const FTSENT *e)
{
	switch (e->fts_info) {
	case FTS_D:
		if (e->fts_level > FTS_ROOTLEVEL && names_check_new(e->fts_name))
			cli_report_ill("%s: a directory of such a name can't be made", e->fts_path);
		break;
	case FTS_DP:
		break;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		cli_report_ill("%s: %s", e->fts_path, strerror(e->fts_errno));
		break;
	case FTS_SL:
	case FTS_SLNONE:
		cli_report_ill("%s: links do not exist in a mount; cp -L copies what it names",
			       e->fts_path);
		break;
	default:
		check_file(o, e->fts_path, e->fts_name);
	}
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void check_tree(const struct opts *o, char *path)
{
	char *paths[] = { path, NULL };
	/* As cp -r does, follow a link that is named, but none below a directory. */
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
	const FTSENT *e;

	errno = tree ? 0 : errno;
	while (tree && (e = fts_read(tree)) != NULL)
		check_entry(o, e);
	if (errno)
		cli_report_ill("%s: %s", path, strerror(errno));
	if (tree)
		fts_close(tree);
}

void cli_doctor_files(const struct opts *o, char **files)
{
	for (; *files; files++)
		check_tree(o, *files);
}
