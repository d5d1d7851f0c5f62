/*
 * uploadfs doctor: checks everything a mount needs here; one line each, with the remedy if it is
 * wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/doctor_files.h"
#include "fs/cli/doctor_fstab.h"
#include "fs/cli/doctor_state.h"
#include "fs/cli/mount.h"
#include "fs/cli/report.h"
#include "fs/config/opts.h"
#include "fs/host/mountpoint.h"
#include "fs/host/mounts.h"
#include "fs/host/process.h"
#include "fs/remote/errmap.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/json.h"
#include "net/base/log.h"
#include "net/http/url.h"

#define ANSWER_S 3     /* of a mount */
#define TRY_S 1	       /* retry_timeout: two tries */
#define SKEW_MAX_S 120 /* clocks that differ by more make expiry times wrong */
#define FSTAB "/etc/fstab"

static const char help[] =
	"usage: uploadfs doctor [-o OPTION,...] [SOURCE] [MOUNTPOINT]\n"
	"       uploadfs doctor [-o OPTION,...] [SOURCE] FILE...\n"
	"Checks whether a mount with these arguments would work; for a MOUNTPOINT alone,\n"
	"its line in /etc/fstab has the rest. Looks at /dev/fuse, fusermount3, the key,\n"
	"the service and its certificate, the clocks, the state directory and its disk,\n"
	"MOUNTPOINT and its line in /etc/fstab; without MOUNTPOINT, all mounts and all\n"
	"such lines. Changes nothing; asks the service for one list of Files.\n"
	"With FILEs, a dry run of a copy into a mount: which would be refused, and why,\n"
	"by name, size, purpose and format. Sends nothing. The purpose is -o purpose=,\n"
	"else the directory in the FILE's path that is called like one.\n"
	"Exit status: 0 all is well; 1 something is not: its line says what to do;\n"
	"  2 wrong usage, or a mountpoint that can't be used.\n";

/* ---- this host ---- */

static void check_device(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		cli_report_well("/dev/fuse can be opened");
	else if (errno == ENOENT)
		cli_report_ill(
			"/dev/fuse is not there; load the module (modprobe fuse), or start the "
			"container with --device /dev/fuse");
	else
		cli_report_ill(
			"/dev/fuse: %s; it should be mode 666, and allowed for this container",
			strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Path of a program in PATH (or posix_spawnp()'s default); the caller frees it. NULL: none. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	struct stat st;
	char *full;

	for (path = path ? path : "/bin:/usr/bin"; *path; path += strspn(path, ":")) {
		size_t len = strcspn(path, ":");

		if (asprintf(&full, "%.*s/%s", (int)len, path, name) < 0)
			return NULL;
		if (stat(full, &st) == 0 && S_ISREG(st.st_mode) && access(full, X_OK) == 0)
			return full;
		free(full);
		path += len;
	}
	return NULL;
}

static void check_fusermount(void)
{
	char *path = find_program("fusermount3");
	struct stat st;

	if (!path)
		cli_report_ill("fusermount3 is not in PATH; install the package fuse3");
	else if (geteuid() != 0 && stat(path, &st) == 0 &&
		 (!(st.st_mode & S_ISUID) || st.st_uid != 0))
		cli_report_ill(
			"%s is not setuid root, so only root can mount; install the package fuse3 "
			"again",
			path);
	else if (geteuid() != 0 && access("/etc/mtab", F_OK))
		cli_report_ill("there is no /etc/mtab, which %s wants for unmounting; as root: ln "
			       "-s /proc/self/mounts /etc/mtab",
			       path);
	else if (mountpoint_refusal())
		cli_report_ill("user %u: %s", (unsigned)geteuid(), mountpoint_refusal());
	else
		cli_report_well("%s", path);
	if (path && mountpoint_confined())
		cli_report_well("if \"mount failed: Permission denied\": %s",
				mountpoint_confined());
	free(path);
}

static void check_allow_other(const struct opts *o)
{
	if ((o->allow_other || o->allow_root) && !mountpoint_may_allow_other())
		cli_report_ill("allow_other needs the line user_allow_other in /etc/fuse.conf");
	else if (o->allow_other && !o->has_uid && !o->has_umask && !(o->dir_mode & 022))
		cli_report_well("allow_other: other users can read here, but not write; "
				"gid=ID,dir_mode=0775 lets a group write, uid=ID,gid=ID one user");
}

/* ---- the service ---- */

struct asking {
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool done;
	struct api_error err;
};

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct asking *a = arg;

	(void)page;
	pthread_mutex_lock(&a->lock);
	a->err = *err;
	a->done = true;
	pthread_cond_signal(&a->told);
	pthread_mutex_unlock(&a->lock);
}

/* List one File. 0 once asked, or a negative errno if the request could not be made. */
static int ask(const struct opts *o, struct api_error *ret)
{
	struct api_config ac;
	struct asking a = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, { 0 } };
	struct api *api = NULL;
	struct api_req *req;
	int r;

	opts_api_config(o, &ac);
	ac.parallel = 1;
	ac.retry_timeout_s = TRY_S;
	r = api_new(&ac, &api);
	if (r)
		return r;
	req = api_file_list(api, NULL, NULL, 1, true, on_page, &a);
	pthread_mutex_lock(&a.lock);
	while (req && !a.done)
		pthread_cond_wait(&a.told, &a.lock);
	pthread_mutex_unlock(&a.lock);
	api_req_unref(req);
	api_free(api);
	*ret = a.err;
	return req ? 0 : -ENOMEM;
}

static void check_clock(const struct api_error *err)
{
	int64_t skew = err->server_time - clock_wall_s();

	if (!err->server_time)
		return;
	if (skew > SKEW_MAX_S || skew < -SKEW_MAX_S)
		cli_report_ill(
			"this clock is %lld s %s that of the service; set it (timedatectl set-ntp "
			"true)",
			(long long)(skew < 0 ? -skew : skew), skew > 0 ? "behind" : "ahead of");
	else
		cli_report_well("the clocks agree within %d s", SKEW_MAX_S);
}

/* no_key: the missing key is already reported. */
static void check_reply(const struct opts *o, const struct api_error *err, bool no_key)
{
	char text[1024];

	errmap_text(err, ERRMAP_LIST, text, sizeof(text));
	if (err->kind == API_ERR_TLS) {
		cli_report_ill("%s", text);
		return;
	}
	if (url_is_https(o->base_url) && (err->http_status || err->kind == API_OK))
		cli_report_well("TLS: the certificate is good");
	if (err->kind == API_OK)
		cli_report_well("%s answers%s", o->base_url,
				o->key ? " and takes the key" : ", and asks for no key");
	else if (no_key && err->http_status == 401)
		cli_report_well("%s answers", o->base_url);
	else
		cli_report_ill("%s: %s", o->base_url, text);
	check_clock(err);
}

/* Report proxy, certificates and local address that differ from the defaults. */
static void check_way(const struct opts *o)
{
	const struct network_proxy *p = network_proxy_for(&o->network, o->base_url);
	char host[URL_HOST_MAX + 1];

	if (p && url_host(o->base_url, host))
		cli_report_well("%s is reached by the proxy %s (%s)", host, p->url, o->proxy_from);
	if (o->network.bind)
		cli_report_well("connections are made from %s", o->network.bind);
	if (url_is_https(o->base_url) && o->network.ca_file)
		cli_report_well("certificates are checked with %s", o->network.ca_file);
}

static void check_service(const struct opts *o, bool no_key)
{
	struct api_error err;
	int r;

	if (o->local_dir) {
		cli_report_well("local:%s needs neither key nor network", o->local_dir);
		return;
	}
	if (!no_key)
		cli_report_well("%s%s", o->key ? "the key is from " : "there is no key",
				!o->key	      ? ""
				: o->key_file ? o->key_file
				: o->azure    ? "AZURE_OPENAI_API_KEY"
					      : "OPENAI_API_KEY");
	check_way(o);
	r = ask(o, &err);
	if (r)
		cli_report_ill("%s can't be asked: %s", o->base_url, strerror(-r));
	else
		check_reply(o, &err, no_key);
}

/* ---- mounts ---- */

static void check_mount(const struct mount_entry *e)
{
	struct json *doc = NULL;
	int r = cli_read_status(e->path, ANSWER_S, &doc, NULL);

	if (!r)
		cli_report_well("%s is mounted and answers", e->path);
	else if (r == -ENOTCONN)
		cli_report_ill("%s was left behind by a daemon that died; run uploadfs umount %s",
			       e->path, e->path);
	else if (r == -ETIMEDOUT)
		cli_report_ill("%s does not answer; look at its log, and end its daemon", e->path);
	json_free(doc);
}

static void check_mounts(const struct opts *o)
{
	struct mount_list list;

	if (mounts_read(&list))
		return;
	for (size_t i = 0; i < list.count; i++)
		if (!o->mountpoint || !strcmp(o->mountpoint, list.v[i].path))
			check_mount(&list.v[i]);
	if (o->mountpoint && !mounts_find(&list, o->mountpoint))
		cli_report_well("%s is free", o->mountpoint);
	mounts_free(&list);
}

/* Report a command line that opts_parse_doctor() refuses. */
static int bad_words(const struct doctor_line *l, const char *said)
{
	char *why;

	if (!l->argv) {
		fprintf(stderr, "uploadfs: %s\n", said);
		return CLI_USAGE;
	}
	why = opts_check(l->options); /* the check of fstab reports it */
	if (!why)
		cli_report_ill("%s", said);
	free(why);
	cli_doctor_fstab(FSTAB, l->mountpoint);
	return CLI_FAILED;
}

static void check_all(struct opts *o, const char *said)
{
	process_harden(); /* the key is in memory now */
	if (said)
		cli_report_ill("%s", said);
	check_allow_other(o);
	check_service(o, said != NULL);
	cli_doctor_state(o);
	check_mounts(o);
	cli_doctor_fstab(FSTAB, o->mountpoint);
	opts_release(o);
}

/* The dry run: what would be refused of these files. */
static int examine_files(const struct doctor_words *w)
{
	char *said = NULL;
	struct opts o;
	int r = CLI_OK;

	switch (opts_parse_doctor(w->argc, w->argv, &said, &o)) {
	case OPTS_EXIT_OK:
		break;
	case OPTS_EXIT_USAGE:
		fprintf(stderr, "uploadfs: %s\n", said ? said : "out of memory");
		r = CLI_USAGE;
		break;
	case OPTS_RUN:
		process_harden();
		if (said)
			cli_report_ill("%s", said);
		check_service(&o, said != NULL);
		cli_doctor_files(&o, w->files);
		opts_release(&o);
		r = cli_report_found_ill() ? CLI_FAILED : CLI_OK;
		break;
	}
	free(said);
	return r;
}

static int examine(int argc, char **argv)
{
	struct doctor_line l;
	char *said = NULL;
	struct opts o;
	int r = CLI_OK;

	cli_doctor_line(FSTAB, argc, argv, &l);
	if (l.argv)
		cli_report_well(FSTAB ", %s: its source is %s", l.mountpoint, l.source);
	switch (opts_parse_doctor(l.argv ? l.argc : argc, l.argv ? l.argv : argv, &said, &o)) {
	case OPTS_EXIT_OK:
		break;
	case OPTS_EXIT_USAGE:
		r = bad_words(&l, said ? said : "out of memory");
		break;
	case OPTS_RUN:
		check_all(&o, said);
		r = cli_report_found_ill() ? CLI_FAILED : CLI_OK;
		break;
	}
	free(said);
	cli_doctor_line_free(&l);
	return r;
}

int cli_doctor(int argc, char **argv)
{
	struct doctor_words w;
	int r;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return fputs(help, stdout) < 0 ? CLI_FAILED : CLI_OK;
	/* The findings replace log lines on this screen. */
	log_set_level(LOG_LVL_ERROR);
	if (cli_doctor_words(argc, argv, &w)) {
		cli_error("out of memory");
		return CLI_FAILED;
	}
	if (w.file_count) {
		r = examine_files(&w);
	} else {
		check_device();
		check_fusermount();
		fflush(stdout);
		r = examine(argc, argv);
	}
	cli_doctor_words_free(&w);
	return r;
}
