#include "fs/config/opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/config/draft.h"
#include "fs/config/file.h"
#include "fs/config/key.h"
#include "fs/config/resolve.h"
#include "fs/config/say.h"
#include "fs/config/value.h"
#include "fs/config/words.h"
#include "net/api/api.h"
#include "net/base/log.h"
#include "net/base/version.h"

/* At most 24 lines of 80 columns. */
static const char help_text[] =
	"usage: uploadfs [SOURCE] MOUNTPOINT [-f] [-d] [-o OPTION,...]\n"
	"Mounts your OpenAI Files as a directory: cp FILE MOUNTPOINT/fine-tune/\n"
	"returns when the File exists; getfattr -d shows its ID.\n"
	"  SOURCE      https://HOST/v1, or local:DIR: run a local server with its data\n"
	"              in DIR, or azure:https://NAME.openai.azure.com. Default:\n"
	"              OPENAI_BASE_URL, AZURE_OPENAI_ENDPOINT, https://api.openai.com/v1\n"
	"  MOUNTPOINT  an empty directory, or /dev/fd/N   -f  in the foreground  -d debug\n"
	"or: uploadfs status|wait|umount|mounts|ls|fetch|prune|recover|doctor  (--help)\n"
	"  -h, --help  this text                   -V, --version\n"
	"The key is in OPENAI_API_KEY, or in a file:\n"
	"  -o api_key_file=FILE     a file of mode 600; key_mode=any: others may read it\n"
	"  -o organization=ID, project=ID, api_version=V, allow_http, config=FILE, adopt\n"
	"  -o proxy=URL|none, proxy_auth_file=FILE, ca_file=FILE, client_cert=F, bind=A\n"
	"  -o log_file=FILE, log_level=LEVEL, log_format=json, metrics_listen=ADDR:PORT\n"
	"  -o purpose=P             show the directory of one purpose as the root\n"
	"  -o close=sync|async      close() waits for the File (default), or not\n"
	"  -o parallel=N (4), part_size=SIZE (64M), rate_limit=UP[:DOWN] bytes a second\n"
	"  -o state_dir=DIR (staged files, cache), shared_cache=DIR (shared by hosts)\n"
	"  -o cache_size=SIZE (8G), staging_size=SIZE (none), staging_reserve=SIZE (256M)\n"
	"  -o list_ttl=S (30), hold_timeout=S (60), drain_timeout=S (60), retry_delay=S\n"
	"     retry_timeout=S (120), connect_timeout=S (10), idle_timeout=S (60)\n"
	"  -o no_delete, keep_old, resend, check=jsonl, sync=always, expires_after=S\n"
	"  -o ro, allow_other, uid=, gid=, umask=, file_mode= (0644), dir_mode= (0755)\n"
	"SIZE takes K, M, G, T. See uploadfs(1) for the rest, errors and examples.\n";

static void set_defaults(struct opts *o)
{
	memset(o, 0, sizeof(*o));
	o->part_size = API_PART_MAX;
	o->parallel = 4;
	o->cache_size = 8ULL << 30;
	o->list_ttl_s = 30;
	o->hold_timeout_s = 60;
	o->retry_timeout_s = 120;
	o->connect_timeout_s = 10;
	o->idle_timeout_s = 60;
	o->drain_timeout_s = 60;
	o->retry_delay_s = 30;
	o->staging_reserve = 256ULL << 20;
	o->log_level = LOG_LVL_INFO;
	o->file_mode = 0644;
	o->dir_mode = 0755;
}

void opts_release(struct opts *o)
{
	free(o->source);
	free(o->local_dir);
	free(o->azure);
	free(o->api_version);
	free(o->mountpoint);
	free(o->base_url);
	opts_wipe(o->key);
	free(o->key_file);
	free(o->organization);
	free(o->project);
	free(o->purpose);
	free(o->config);
	free(o->proxy);
	free(o->proxy_auth_file);
	network_release(&o->network);
	free(o->state_dir);
	free(o->shared_cache);
	free(o->state_dir_not);
	free(o->log_file);
	free(o->metrics_text);
	free(o->fsname);
	free(o->fuse_opts);
	memset(o, 0, sizeof(*o));
}

/* The command line while it is parsed. */
struct args {
	struct opts_draft draft;
	char **argv;
	int argc, next;
	const char *names[2]; /* words that are not options */
	int count;
	bool no_more_options;  /* after "--" */
	bool loose;	       /* MOUNTPOINT may be left out */
	const char *state_dir; /* instead of the options'; or NULL */
	const char *print;     /* --help, --version */
};

/* "-fd", "-oro", "-o ro": letters up to one that takes a value. */
static int take_letters(struct args *a, const char *letters)
{
	struct opts *o = a->draft.o;

	for (; *letters; letters++) {
		switch (*letters) {
		case 'f':
			o->foreground = true;
			break;
		case 'd':
			o->foreground = true;
			o->debug = true;
			break;
		case 'h':
			a->print = help_text;
			break;
		case 'V':
			a->print = "uploadfs " UPLOADFS_VERSION "\n";
			break;
		case 'o':
			if (letters[1])
				return opts_words(&a->draft, letters + 1);
			if (a->next >= a->argc)
				return opts_fail("-o needs options; use -o NAME=VALUE,...");
			return opts_words(&a->draft, a->argv[a->next++]);
		default:
			return opts_fail("option -%c is not known; see uploadfs --help", *letters);
		}
	}
	return 0;
}

static int take_arg(struct args *a, const char *arg)
{
	if (a->no_more_options || arg[0] != '-' || !arg[1]) {
		if (a->count >= 2)
			return opts_fail("there is an argument too many; use uploadfs [SOURCE] "
					 "MOUNTPOINT, and -o for options");
		a->names[a->count++] = arg;
		return 0;
	}
	if (arg[1] != '-')
		return take_letters(a, arg + 1);
	if (!arg[2])
		a->no_more_options = true;
	else if (!strcmp(arg, "--help"))
		return take_letters(a, "h");
	else if (!strcmp(arg, "--version"))
		return take_letters(a, "V");
	else
		return opts_fail("option --%.*s is not known; see uploadfs --help",
				 (int)strcspn(arg + 2, "="), arg + 2);
	return 0;
}

/* Take SOURCE and MOUNTPOINT from one or two names. */
static int take_names(struct args *a)
{
	struct opts *o = a->draft.o;
	const char *last = a->count ? a->names[a->count - 1] : "";
	bool no_mountpoint =
		a->count < 2 && (!*last || strstr(last, "://") || !strncmp(last, "local:", 6));

	if (a->loose && no_mountpoint) {
		o->source = *last ? strdup(last) : NULL;
		return o->source || !*last ? 0 : -ENOMEM;
	}
	if (no_mountpoint)
		return opts_fail(
			"there is no MOUNTPOINT; use uploadfs [SOURCE] MOUNTPOINT, and see "
			"uploadfs --help");
	o->mountpoint = strdup(last);
	if (a->count == 2)
		o->source = strdup(a->names[0]);
	return o->mountpoint && (a->count < 2 || o->source) ? 0 : -ENOMEM;
}

static int take_args(struct args *a)
{
	int rc = 0;

	a->next = 1;
	a->count = 0;
	a->no_more_options = false;
	while (!rc && !a->print && a->next < a->argc)
		rc = take_arg(a, a->argv[a->next++]);
	return rc;
}

/*
 * Parse the command line twice: first for config=, then again after the files, which it overrides.
 */
static int take_config_and_args(struct args *a)
{
	struct opts *o = a->draft.o;
	char *config;
	int rc = take_args(a);

	if (rc || a->print)
		return rc;
	config = o->config;
	o->config = NULL;
	opts_release(o);
	set_defaults(o);
	buf_reset(&a->draft.mount);
	rc = opts_config(&a->draft, config);
	free(config);
	return rc ? rc : take_args(a);
}

static int parse(struct args *a)
{
	struct opts *o = a->draft.o;
	int rc;

	a->draft.openai_key.rc = opts_take_env_key("OPENAI_API_KEY", &a->draft.openai_key.key);
	a->draft.azure_key.rc = opts_take_env_key("AZURE_OPENAI_API_KEY", &a->draft.azure_key.key);
	rc = take_config_and_args(a);
	if (rc || a->print)
		return rc;
	if (o->debug)
		o->log_level = LOG_LVL_DEBUG;
	rc = take_names(a);
	if (!rc && a->state_dir) {
		free(o->state_dir);
		o->state_dir = strdup(a->state_dir);
		rc = o->state_dir ? 0 : -ENOMEM;
	}
	return rc ? rc : opts_resolve(&a->draft);
}

/* a: the arguments and how to parse them */
static enum opts_result parse_all(struct args a, struct opts *ret)
{
	struct opts o;
	int rc;

	set_defaults(&o);
	a.draft.o = &o;
	buf_init(&a.draft.mount, 1 << 15);
	rc = parse(&a);
	if (rc == -ENOMEM || rc == -EMSGSIZE)
		opts_fail("%s; use fewer or shorter options",
			  rc == -ENOMEM ? "out of memory" : "the options are too long");
	buf_release(&a.draft.mount);
	opts_forget_origins(a.draft.origins);
	opts_wipe(a.draft.openai_key.key);
	opts_wipe(a.draft.azure_key.key);
	if (rc || a.print) {
		opts_release(&o);
		if (rc)
			return OPTS_EXIT_USAGE;
		fputs(a.print, stdout);
		return OPTS_EXIT_OK;
	}
	*ret = o;
	return OPTS_RUN;
}

enum opts_result opts_parse(int argc, char **argv, struct opts *ret)
{
	return parse_all((struct args){ .argv = argv, .argc = argc }, ret);
}

enum opts_result opts_parse_mount(int argc, char **argv, bool sloppy, struct opts *ret)
{
	struct args a = { .argv = argv, .argc = argc, .draft.sloppy = sloppy };

	return parse_all(a, ret);
}

enum opts_result opts_parse_loose(int argc, char **argv, const char *state_dir, struct opts *ret)
{
	struct args a = { .argv = argv, .argc = argc, .loose = true, .state_dir = state_dir };

	return parse_all(a, ret);
}

enum opts_result opts_parse_doctor(int argc, char **argv, char **ret_said, struct opts *ret)
{
	struct args a = { .argv = argv, .argc = argc, .loose = true, .draft.keyless = true };
	struct buf text;
	enum opts_result r;

	buf_init(&text, 1 << 16);
	opts_say_to(&text);
	r = parse_all(a, ret);
	opts_say_to(NULL);
	*ret_said = text.data;
	return r;
}

char *opts_check(const char *words)
{
	struct opts o;
	struct opts_draft d = { .o = &o };
	struct buf text;

	set_defaults(&o);
	buf_init(&d.mount, 1 << 15);
	buf_init(&text, 1 << 16);
	opts_say_to(&text);
	opts_words(&d, words);
	opts_say_to(NULL);
	buf_release(&d.mount);
	opts_release(&o);
	return text.data;
}

void opts_api_config(const struct opts *o, struct api_config *ret)
{
	*ret = (struct api_config){
		.base_url = o->base_url,
		.key = o->key,
		.azure = o->azure,
		.api_version = o->api_version,
		.organization = o->organization,
		.project = o->project,
		.user_agent = "uploadfs/" UPLOADFS_VERSION,
		.allow_http = o->allow_http,
		.network = &o->network,
		.parallel = o->parallel,
		.connect_timeout_s = o->connect_timeout_s,
		.idle_timeout_s = o->idle_timeout_s,
		.retry_timeout_s = o->retry_timeout_s,
	};
}
