/*
 * uploadfs recover: list, publish or discard the unpublished files of a state directory, without a
 * mount.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/left.h"
#include "fs/config/opts.h"
#include "fs/daemon/core.h"
#include "fs/host/process.h"
#include "fs/host/statedir.h"
#include "fs/stage/offline.h"
#include "net/base/log.h"

#define WORDS_MAX 256
#define DRAIN_S (7U * 86400)

static const char help[] =
	"usage: uploadfs recover list STATE_DIR\n"
	"       uploadfs recover publish [-o OPTION,...] [SOURCE] STATE_DIR [ID...]\n"
	"       uploadfs recover discard STATE_DIR ID... | --all\n"
	"Works on the unpublished files of a state directory that is not mounted. The\n"
	"next mount publishes closed files by itself.\n"
	"  list     shows ID, state, size and name of each, and why it failed\n"
	"  publish  sends closed files and reports the results; sends unclosed files as\n"
	"           they stand if named by ID, and names the others. SOURCE, options and\n"
	"           key are those for mounting\n"
	"  discard  removes the named files, or all, for ever. Their Uploads expire by\n"
	"           themselves\n"
	"Exit status: 0 done, all is published; 1 trouble, or something is not published,\n"
	"  aborted files too; 2 wrong usage.\n";

/* Take the lock of an existing state directory; -1 after a message. Creates nothing. */
static int take_lock(const char *dir)
{
	char path[4400];
	struct stat st;
	int fd = -1, pid = 0, r;

	/* A link to data/, or, of a version before, the directory itself. */
	snprintf(path, sizeof(path), "%s/staging", dir);
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		cli_error("%s is no state directory of uploadfs; see FILES in uploadfs(1)", dir);
		return -1;
	}
	r = statedir_open(dir, 0, &fd, &pid);
	if (!r)
		return fd;
	if (r == -EWOULDBLOCK)
		cli_error("%s is in use by the uploadfs with pid %d; unmount that one first, or "
			  "see uploadfs status",
			  dir, pid);
	else
		cli_error("%s: %s", dir, strerror(-r));
	return -1;
}

/* ---- list ---- */

static const char *state_word(const struct kept *k)
{
	if (k->set_aside || k->err)
		return "damaged";
	if (!k->has_data)
		return "no-data";
	switch (k->r.state) {
	case RECORD_FAILED:
		return "failed";
	case RECORD_COMPLETED:
		return "published";
	case RECORD_EMPTY:
		return "empty";
	case RECORD_WRITING:
	case RECORD_ABORTED:
		return "aborted";
	default:
		return "closed";
	}
}

static int list_one(void *arg, const struct kept *k)
{
	(void)arg;
	printf("%s  %-9s  %10s", cli_clean(k->id), state_word(k), cli_size(k->size));
	if (!k->err)
		printf("  %s/%s", cli_clean(k->r.purpose), cli_clean(k->r.path));
	if (!k->err && k->r.error)
		printf("  %s", cli_clean(k->r.error));
	putchar('\n');
	return 0;
}

static void scan_failed(const char *dir, int err)
{
	if (err == -EBADMSG)
		cli_error("%s: its database is damaged; the next mount sets it aside, and the "
			  "files lose their names: keep a copy of the directory first",
			  dir);
	else
		cli_error("%s: %s", dir, strerror(-err));
}

static int list(const char *dir)
{
	int fd = take_lock(dir), r;

	if (fd < 0)
		return CLI_FAILED;
	r = kept_scan(dir, list_one, NULL);
	if (r)
		scan_failed(dir, r);
	close(fd);
	return r ? CLI_FAILED : CLI_OK;
}

/* ---- files named by ID ---- */

struct chosen {
	const char *dir;
	const char *const *ids; /* NULL: all */
	bool found[WORDS_MAX];
	size_t count;
	int (*act)(const char *dir, const struct kept *k);
};

static int choose(void *arg, const struct kept *k)
{
	struct chosen *c = arg;
	bool wanted = !c->ids;
	int r;

	for (size_t i = 0; c->ids && i < c->count; i++) {
		if (!strcmp(c->ids[i], k->id))
			wanted = c->found[i] = true;
	}
	r = wanted ? c->act(c->dir, k) : 0;
	if (r)
		cli_error("%s: %s", k->id, strerror(-r));
	return r;
}

/* Call act for each id (NULL: all) while holding the lock of the directory. */
static int for_chosen(const char *dir, const char *const *ids, size_t count,
		      int (*act)(const char *dir, const struct kept *k))
{
	struct chosen c = { .dir = dir, .ids = ids, .count = count, .act = act };
	int fd = take_lock(dir), r;

	if (fd < 0)
		return CLI_FAILED;
	r = kept_scan(dir, choose, &c);
	/* choose() has told of other errors. */
	if (r == -EBADMSG)
		scan_failed(dir, r);
	r = r ? CLI_FAILED : CLI_OK;
	for (size_t i = 0; r == CLI_OK && ids && i < count; i++) {
		if (c.found[i])
			continue;
		cli_error("%s holds nothing called %s; see uploadfs recover list", dir, ids[i]);
		r = CLI_FAILED;
	}
	close(fd);
	return r;
}

/* ---- publish ---- */

static int close_one(const char *dir, const struct kept *k)
{
	if (kept_is_closed(k))
		return 0; /* published without being named */
	return kept_is_open(k) && k->has_data && k->size ? kept_close(dir, k) : -EINVAL;
}

/* A daemon without a mount: core_start() takes up the staged files. */
static int publish_all(struct opts *o)
{
	struct core core;
	bool all;
	int r;

	process_harden();
	log_set_level((enum log_level)o->log_level);
	log_set_json(o->log_json);
	r = core_start(o, true, &core);
	all = core_finish(&core, r ? 0 : DRAIN_S);
	core_free(&core);
	return !r && all ? CLI_OK : CLI_FAILED;
}

static int publish(int argc, char **argv, const char *dir, const char *const *ids, size_t count)
{
	struct opts o;
	int r;

	switch (opts_parse_loose(argc, argv, dir, &o)) {
	case OPTS_EXIT_OK:
		return CLI_OK;
	case OPTS_EXIT_USAGE:
		return CLI_USAGE;
	case OPTS_RUN:
		break;
	}
	r = for_chosen(dir, ids, count, close_one);
	if (r == CLI_OK) {
		r = publish_all(&o);
		/* The log has named the closed files. */
		if (cli_tell_left(dir, false))
			r = CLI_FAILED;
	}
	opts_release(&o);
	return r;
}

/* ---- the command line ---- */

static bool is_source(const char *word)
{
	return strstr(word, "://") || !strncmp(word, "local:", 6) || !strcmp(word, "none");
}

/* Split argv: options and SOURCE for opts, the other words for us. */
static int cli_publish(int argc, char **argv)
{
	char **given = calloc((size_t)argc + 2, sizeof(*given));
	const char *words[WORDS_MAX];
	size_t n = 0;
	int count = 0, r = CLI_USAGE;

	if (!given)
		return CLI_FAILED;
	given[count++] = argv[0];
	for (int i = 1; i < argc && n < WORDS_MAX; i++) {
		if (argv[i][0] == '-') {
			given[count++] = argv[i];
			if (!strcmp(argv[i], "-o") && i + 1 < argc)
				given[count++] = argv[++i];
		} else if (!n && is_source(argv[i])) {
			given[count++] = argv[i];
		} else {
			words[n++] = argv[i];
		}
	}
	if (n)
		r = publish(count, given, words[0], words + 1, n - 1);
	else
		cli_error("name a STATE_DIR; see uploadfs recover --help");
	free(given);
	return r;
}

int cli_recover(int argc, char **argv)
{
	bool all = false;
	const struct cli_option options[] = { { "--all", &all, NULL }, { NULL, NULL, NULL } };
	const char *words[WORDS_MAX], *what = argc > 1 ? argv[1] : "";
	size_t n = 0;
	int r;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return fputs(help, stdout) < 0 ? CLI_FAILED : CLI_OK;
	if (!strcmp(what, "publish"))
		return cli_publish(argc - 1, argv + 1);
	r = cli_args(argc, argv, help, options, words, WORDS_MAX, &n);
	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (n == 2 && !all && !strcmp(what, "list"))
		return list(words[1]);
	if (!strcmp(what, "discard") && (n > 2 || all) && !(n > 2 && all) && n >= 2)
		return for_chosen(words[1], all ? NULL : words + 2, n - 2, kept_discard);
	cli_error("use list STATE_DIR, publish [SOURCE] STATE_DIR [ID...], or discard STATE_DIR "
		  "ID... | --all; see uploadfs recover --help");
	return CLI_USAGE;
}
