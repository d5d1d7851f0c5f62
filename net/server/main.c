/* main: build/uploads-server, the local server as a program. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "net/base/digest.h"
#include "net/base/fdio.h"
#include "net/base/buf.h"
#include "net/base/endpoint.h"
#include "net/base/log.h"
#include "net/server/faults.h"
#include "net/server/list.h"
#include "net/server/server.h"
#include "net/base/version.h"

#define LIST_MAX (1u << 30)
#define SINK_FILES_MAX 10000000

static const char usage_text[] =
	"Usage: uploads-server --dir DIR [option…]\n"
	"       uploads-server --sink [option…]\n"
	"Serves the Uploads and Files API from a directory.\n"
	"\n"
	"  --dir DIR               where everything is kept (created when missing)\n"
	"  --listen ADDR:PORT      default 127.0.0.1:0; port 0 takes any free one\n"
	"  --upload-ttl SECONDS    lifetime of a pending Upload, default 3600 (azure:\n"
	"                          7200)\n"
	"  --latency MS            wait before each reply\n"
	"  --flavor NAME           which service to play: openai (default), azure (the paths\n"
	"                          of Azure OpenAI, api-key), sequential (Parts one after\n"
	"                          the other), files-only (no /uploads)\n"
	"  --rate BYTES_PER_SECOND of each connection, each way; suffixes K M G\n"
	"  --no-range              contents ignore Range: 200 and everything\n"
	"  --faults FILE           fault rules, see docs/fault-rules.md\n"
	"  --journal FILE          append one JSON line per request\n"
	"  --log FILE              append log lines there instead of stderr\n"
	"  --quiet                 log errors only\n"
	"  --sink                  for measuring: keep nothing, count bytes and forget\n"
	"                          them, check no MD5; what is read back is zeros\n"
	"  --sink-files COUNT:SIZE begin with so many Files of that size (suffixes K M G)\n"
	"  --list                  print what DIR holds as JSON, and exit\n"
	"  --help, --version\n"
	"\n"
	"A key in OPENAI_API_KEY is then asked of every request; without one the\n"
	"server listens on loopback addresses only. Once it serves it prints\n"
	"\"listening on URL\" to stdout. SIGTERM and SIGINT end it.\n";

struct config {
	struct server_opts opts;
	const char *log;
	bool quiet, list, sink;
};

static int bad(const char *option, const char *value)
{
	fprintf(stderr, "uploads-server: bad value for --%s: %s; see --help\n", option, value);
	return -EINVAL;
}

static int bad_flavor(const char *value)
{
	fprintf(stderr,
		"uploads-server: bad value for --flavor: %s; use openai, azure, sequential or "
		"files-only\n",
		value);
	return -EINVAL;
}

static int bad_listen(const char *value)
{
	fprintf(stderr,
		"uploads-server: bad value for --listen: %s; use ADDR:PORT, with an IPv6 address "
		"in brackets: [::1]:8080\n",
		value);
	return -EINVAL;
}

/* Parse a number; scale allows a suffix. */
static int parse_number(const char *text, bool scale, uint64_t max, uint64_t *ret)
{
	static const char suffixes[] = "KMG";
	const char *hit;
	uint64_t n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -errno;
	hit = scale && *end ? strchr(suffixes, *end) : NULL;
	if (hit) {
		unsigned shift = 10 * (unsigned)(hit - suffixes + 1);

		if (n > UINT64_MAX >> shift)
			return -ERANGE;
		n <<= shift;
		end++;
	}
	if (*end || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_listen(const char *text, struct config *cfg)
{
	struct endpoint at;

	if (server_parse_listen(text, &at) == -EINVAL)
		return -EINVAL;
	cfg->opts.listen = text;
	return 0;
}

/* COUNT:SIZE */
static int parse_files(const char *text, struct server_opts *opts)
{
	const char *colon = strchr(text, ':');
	char count[24];
	uint64_t n;

	if (!colon || (size_t)(colon - text) >= sizeof(count))
		return -EINVAL;
	snprintf(count, sizeof(count), "%.*s", (int)(colon - text), text);
	if (parse_number(count, false, SINK_FILES_MAX, &n) ||
	    parse_number(colon + 1, true, 1ULL << 50, &opts->sink_file_bytes))
		return -EINVAL;
	opts->sink_files = (size_t)n;
	return 0;
}

enum {
	OPT_DIR = 256,
	OPT_LISTEN,
	OPT_TTL,
	OPT_LATENCY,
	OPT_FLAVOR,
	OPT_RATE,
	OPT_NO_RANGE,
	OPT_FAULTS,
	OPT_JOURNAL,
	OPT_LOG,
	OPT_QUIET,
	OPT_LIST,
	OPT_SINK,
	OPT_SINK_FILES,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "upload-ttl", required_argument, NULL, OPT_TTL },
	{ "latency", required_argument, NULL, OPT_LATENCY },
	{ "flavor", required_argument, NULL, OPT_FLAVOR },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "no-range", no_argument, NULL, OPT_NO_RANGE },
	{ "faults", required_argument, NULL, OPT_FAULTS },
	{ "journal", required_argument, NULL, OPT_JOURNAL },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "sink", no_argument, NULL, OPT_SINK },
	{ "sink-files", required_argument, NULL, OPT_SINK_FILES },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static int take_number(struct config *cfg, int opt, const char *name)
{
	uint64_t max = opt == OPT_RATE ? 1ULL << 50 : opt == OPT_TTL ? 1u << 30 : 3600000, n;

	if (parse_number(optarg, opt == OPT_RATE, max, &n) || (opt != OPT_LATENCY && !n))
		return bad(name, optarg);
	if (opt == OPT_RATE)
		cfg->opts.rate = n;
	else if (opt == OPT_TTL)
		cfg->opts.upload_ttl_s = (unsigned)n;
	else
		cfg->opts.latency_ms = (unsigned)n;
	return 0;
}

static int take_option(struct config *cfg, int opt, const char *name)
{
	switch (opt) {
	case OPT_DIR:
		cfg->opts.dir = optarg;
		return 0;
	case OPT_LISTEN:
		return parse_listen(optarg, cfg) ? bad_listen(optarg) : 0;
	case OPT_FLAVOR:
		return flavor_parse(optarg, &cfg->opts.flavor) ? bad_flavor(optarg) : 0;
	case OPT_NO_RANGE:
		cfg->opts.no_range = true;
		return 0;
	case OPT_FAULTS:
		cfg->opts.faults = optarg;
		cfg->opts.fault_hook = &fault_rules;
		return 0;
	case OPT_JOURNAL:
		cfg->opts.journal = optarg;
		return 0;
	case OPT_LOG:
		cfg->log = optarg;
		return 0;
	case OPT_QUIET:
		cfg->quiet = true;
		return 0;
	case OPT_LIST:
		cfg->list = true;
		return 0;
	case OPT_SINK:
		cfg->sink = true;
		return 0;
	case OPT_SINK_FILES:
		return parse_files(optarg, &cfg->opts) ? bad(name, optarg) : 0;
	default:
		return take_number(cfg, opt, name);
	}
}

/* Parse the arguments. 0, 1 (help or version: done), or negative errno. */
static int parse_args(int argc, char **argv, struct config *cfg)
{
	int opt, index = 0, err = 0;

	while (!err && (opt = getopt_long(argc, argv, "h", long_options, &index)) != -1) {
		if (opt == '?')
			return -EINVAL;
		if (opt == OPT_HELP || opt == 'h') {
			fputs(usage_text, stdout);
			return 1;
		}
		if (opt == OPT_VERSION) {
			puts("uploads-server " UPLOADFS_VERSION);
			return 1;
		}
		err = take_option(cfg, opt, long_options[index].name);
	}
	if (err)
		return err;
	if (!cfg->opts.dir && !cfg->sink) {
		fputs("uploads-server: --dir is missing; use --dir DIR, and see --help\n", stderr);
		return -EINVAL;
	}
	if (!cfg->opts.dir != cfg->sink || (cfg->sink && cfg->list) ||
	    (cfg->opts.sink_files && !cfg->sink) || optind < argc) {
		fputs(usage_text, stderr);
		return -EINVAL;
	}
	return 0;
}

static int print_list(const char *dir)
{
	struct buf out;
	int err;

	buf_init(&out, LIST_MAX);
	err = list_directory(dir, &out);
	if (!err && (puts(buf_str(&out)) < 0 || fflush(stdout)))
		err = -EIO;
	buf_release(&out);
	if (err)
		fprintf(stderr, "uploads-server: cannot list %s: %s\n", dir, strerror(-err));
	return err;
}

/* A connection takes up to two descriptors. */
static void raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return;
	lim.rlim_cur = lim.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &lim);
}

static int serve(const struct config *cfg)
{
	struct server *srv;
	sigset_t ends;
	int err, sig;

	/* Blocked before any thread starts, so that only sigwait() sees them. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* by ulimit -f: an errno like a full disk's */
	raise_limits();
	err = server_start(&cfg->opts, &srv);
	if (err)
		return err;
	printf("listening on %s%s\n", server_url(srv),
	       cfg->sink ? " (a sink: nothing is kept, no MD5 is checked)" : "");
	fflush(stdout);
	sigwait(&ends, &sig);
	server_stop(srv);
	return 0;
}

int main(int argc, char **argv)
{
	struct config cfg = { 0 };
	struct digest_choice choice;
	int err;

	/* Otherwise the listening socket or a file could get the number of stdout or stderr. */
	if (fdio_fill_standard())
		return 1;
	err = parse_args(argc, argv, &cfg);
	if (err)
		return err > 0 ? 0 : 2;
	if (cfg.list)
		return print_list(cfg.opts.dir) ? 1 : 0;
	if (cfg.quiet)
		log_set_level(LOG_LVL_ERROR);
	err = cfg.log ? log_to_file(cfg.log) : 0;
	if (err) {
		fprintf(stderr, "uploads-server: cannot log to %s: %s\n", cfg.log,
			log_file_why(err));
		return 1;
	}
	cfg.opts.key = getenv("OPENAI_API_KEY");
	digest_choose(&choice);
	log_debug("MD5 by %s (1 MiB: %.2f ms; OpenSSL %.2f ms)", choice.one, choice.own_ms,
		  choice.openssl_ms);
	return serve(&cfg) ? 1 : 0;
}
