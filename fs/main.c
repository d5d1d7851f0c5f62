/*
 * uploadfs: start-up and teardown, in this order and the reverse one.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/cache.h"
#include "fs/fetch.h"
#include "fs/hasher.h"
#include "fs/meta.h"
#include "fs/ops.h"
#include "fs/opts.h"
#include "fs/publish.h"
#include "fs/recover.h"
#include "fs/staging.h"
#include "fs/statedir.h"
#include "fs/super.h"
#include "net/api.h"
#include "net/digest.h"
#include "net/log.h"
#include "net/server/server.h"
#include "net/version.h"

#define FUSE_THREADS 8
#define LOCK_WAIT_MS 5000     /* for the daemon of an earlier mount to end */
#define RETRY_DELAY_MAX_S 600 /* between two background tries */

struct daemon {
	struct opts opts;
	/* tells the parent that the mount answers; -1: told, or nobody waits */
	int ready_fd;
	int lock_fd; /* holds the lock of the state directory */
	struct server *server;
	struct api *api;
	struct hasher *md5, *disk;
	struct staging *staging;
	struct cache *cache;
	struct fetcher *fetcher;
	struct meta *meta;
	struct publisher *publisher;
	struct super *super;
	struct ops_context ops;
	struct fuse_session *session;
	bool mounted;
	pthread_t main_thread, signal_thread;
	bool has_signal_thread;
	atomic_bool unmounted;	  /* the loop has ended: the signal thread has nothing to finish */
	bool drained;		  /* by the signal thread, before it ended the loop */
	pthread_mutex_t key_lock; /* opts.key, after the start */
};

static int fail(const char *what, int err)
{
	log_error("%s: %s", what, strerror(-err));
	return err;
}

/* ---- the process ---- */

static void harden(void)
{
	struct rlimit none = { 0, 0 }, files;

	/* The key must not end up in a core file, nor be read by a debugger. */
	setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 0);
#endif
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	/* Few arenas: memory that one thread freed serves the next. */
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
	umask(077);
}

/*
 * The parent stays until the child says that the mount answers. Returns in the
 * child with the fd to say it on; the parent never returns.
 */
static int daemonise(void)
{
	int fds[2];
	pid_t pid;
	char c;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		perror("uploadfs: pipe");
		exit(1);
	}
	pid = fork();
	if (pid < 0) {
		perror("uploadfs: fork");
		exit(1);
	}
	if (pid > 0) {
		ssize_t n;

		close(fds[1]);
		do
			n = read(fds[0], &c, 1);
		while (n < 0 && errno == EINTR);
		_exit(n == 1 ? 0 : 1); /* the child has printed why */
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

static void tell_ready(void *arg)
{
	struct daemon *d = arg;
	int null;

	if (d->ready_fd < 0)
		return;
	if (d->opts.log_file)
		log_to_file(d->opts.log_file);
	else
		log_to_syslog("uploadfs");
	if (chdir("/") < 0)
		log_warn("chdir /: %s", strerror(errno));
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (write(d->ready_fd, "1", 1) != 1)
		log_warn("the starting process is gone");
	close(d->ready_fd);
	d->ready_fd = -1;
}

/* ---- the parts, bottom to top ---- */

static int start_server(struct daemon *d, char **ret_key)
{
	struct server_opts so = { .dir = d->opts.local_dir };
	unsigned char raw[24];
	char *key = malloc(2 * sizeof(raw) + 1);
	int r;

	if (!key)
		return -ENOMEM;
	/* A key nobody else knows: other users of this host are kept out. */
	r = digest_random(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(key + 2 * i, 3, "%02x", raw[i]);
	so.key = key;
	if (!r)
		r = server_start(&so, &d->server);
	if (r)
		free(key);
	else
		*ret_key = key;
	return r;
}

static int start_api(struct daemon *d)
{
	const struct opts *o = &d->opts;
	char *local_key = NULL;
	struct api_config ac = {
		.base_url = o->base_url,
		.key = o->key,
		.organization = o->organization,
		.project = o->project,
		.user_agent = "uploadfs/" UPLOADFS_VERSION,
		.allow_http = o->allow_http,
		.parallel = o->parallel,
		.connect_timeout_s = o->connect_timeout_s,
		.idle_timeout_s = o->idle_timeout_s,
		.retry_timeout_s = o->retry_timeout_s,
	};
	int r = 0;

	if (o->local_dir) {
		r = start_server(d, &local_key);
		if (r)
			return r;
		ac.base_url = server_url(d->server);
		ac.key = local_key;
	}
	log_secret(ac.key);
	r = api_new(&ac, &d->api);
	free(local_key);
	return r;
}

static int take_state_dir(struct daemon *d)
{
	int pid, r = statedir_open(d->opts.state_dir, LOCK_WAIT_MS, &d->lock_fd, &pid);

	if (r == -EWOULDBLOCK)
		log_error("%s is in use by another uploadfs (pid %d); unmount that one, or give "
			  "this one a "
			  "state_dir of its own",
			  d->opts.state_dir, pid);
	else if (r)
		log_error("state directory %s: %s; choose another or an empty one: -o state_dir=",
			  d->opts.state_dir, strerror(-r));
	return r;
}

static char *below_state_dir(const struct daemon *d, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", d->opts.state_dir, name) < 0 ? NULL : path;
}

static int start_storage(struct daemon *d)
{
	const struct opts *o = &d->opts;
	char *staging = below_state_dir(d, "staging"), *cache = below_state_dir(d, "cache");
	struct staging_config sc = { .dir = staging,
				     .part_size = o->part_size,
				     .size_max = o->staging_size,
				     .reserve = o->staging_reserve };
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	char *meta = below_state_dir(d, "meta");
	int r = staging && cache && meta ? 0 : -ENOMEM;

	if (!r)
		r = hasher_new(cores < 1 ? 1 : cores > 8 ? 8 : (unsigned)cores, &d->md5);
	if (!r)
		r = hasher_new(2, &d->disk);
	sc.hasher = d->md5;
	if (!r && (r = staging_open(&sc, &d->staging)) != 0)
		fail(staging, r);
	if (!r && (r = cache_open(cache, o->cache_size, &d->cache)) != 0)
		fail(cache, r);
	if (!r && (r = meta_open(meta, &d->meta)) != 0)
		fail(meta, r);
	free(meta);
	free(staging);
	free(cache);
	return r;
}

/* True: the key file holds another key than the one in use, and that is in use now. Any thread. */
static bool read_key_again(void *arg)
{
	struct daemon *d = arg;
	char *key = NULL;
	bool changed = false;
	int r;

	if (!d->opts.key_file)
		return false;
	r = opts_read_key_file(d->opts.key_file, &key);
	if (r) {
		log_error("%s: %s; the key in use stays", d->opts.key_file, strerror(-r));
		return false;
	}
	log_secret(key);
	pthread_mutex_lock(&d->key_lock);
	if (!d->opts.key || strcmp(key, d->opts.key)) {
		changed = api_set_key(d->api, key) == 0;
		if (changed) {
			char *old = d->opts.key;

			d->opts.key = key;
			key = old;
			log_info("the key was read again");
		}
	}
	pthread_mutex_unlock(&d->key_lock);
	if (key)
		explicit_bzero(key, strlen(key));
	free(key);
	return changed;
}

static int start_super(struct daemon *d)
{
	const struct opts *o = &d->opts;
	struct publisher_config pc = { .api = d->api,
				       .disk = d->disk,
				       .parallel = o->parallel,
				       .part_size = o->part_size,
				       .keep_old = o->keep_old,
				       .retry_first_s = o->retry_delay_s,
				       .retry_max_s = RETRY_DELAY_MAX_S,
				       .renew_key = read_key_again,
				       .renew_key_arg = d };
	struct super_config sc = {
		.api = d->api,
		.staging = d->staging,
		.cache = d->cache,
		.disk = d->disk,
		.purpose = o->purpose,
		.close_async = o->close_async,
		.keep_old = o->keep_old,
		.list_ttl_s = o->list_ttl_s,
		.hold_timeout_s = o->hold_timeout_s,
		.cache_size = o->cache_size,
		.uid = o->has_uid ? o->uid : getuid(),
		.gid = o->has_gid ? o->gid : getgid(),
		.file_mode = o->file_mode,
		.dir_mode = o->dir_mode,
		.umask = o->has_umask ? o->umask : 0,
	};
	int r = fetcher_new(d->api, d->cache, &d->fetcher);

	if (!r)
		r = publisher_new(&pc, &d->publisher);
	sc.fetcher = d->fetcher;
	sc.meta = d->meta;
	sc.publisher = d->publisher;
	if (!r)
		r = super_new(&sc, &d->super);
	if (!r)
		r = recover_all(d->staging, d->super);
	return r;
}

static int start_mount(struct daemon *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int r = -ENOMEM;

	d->ops = (struct ops_context){ d->super, tell_ready, d };
	if (fuse_opt_add_arg(&args, "uploadfs") || fuse_opt_add_arg(&args, "-o") ||
	    fuse_opt_add_arg(&args, d->opts.fuse_opts) ||
	    (d->opts.debug && fuse_opt_add_arg(&args, "-d")))
		goto out;
	d->session = fuse_session_new(&args, &ops_table, sizeof(ops_table), &d->ops);
	r = -EINVAL;
	if (!d->session) {
		log_error("libfuse refuses the options \"%s\"", d->opts.fuse_opts);
		goto out;
	}
	/* libfuse prints why it fails; most often /dev/fuse, fusermount3, or allow_other. */
	if (fuse_session_mount(d->session, d->opts.mountpoint)) {
		log_error("cannot mount on %s", d->opts.mountpoint);
		goto out;
	}
	d->mounted = true;
	r = 0;
out:
	fuse_opt_free_args(&args);
	return r;
}

/* mountinfo writes blanks and backslashes as \ooo. In place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		unsigned c;

		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1 && c < 256) {
			*to++ = (char)c;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* st_dev of the mount, without asking the mount itself. */
static void learn_dev(struct daemon *d)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, path[4096];
	unsigned major, minor;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major, &minor, path) != 3)
			continue;
		unescape(path);
		if (!strcmp(path, d->opts.mountpoint))
			super_set_dev(d->super, makedev(major, minor));
	}
	free(line);
	if (f)
		fclose(f);
}

/* ---- signals ---- */

static void nothing(int sig)
{
	(void)sig;
}

static void finish(struct daemon *d, int sig)
{
	static const struct timespec moment = { .tv_nsec = 20000000 };

	/* Finish what is under way while requests are still answered. */
	log_info("signal %d: finishing", sig);
	super_close_doors(d->super);
	publisher_drain(d->publisher, d->opts.drain_timeout_s);
	d->drained = true;
	fuse_session_exit(d->session);
	/* libfuse's loop waits on a semaphore that only a signal interrupts, and
	 * only one that finds it waiting. */
	while (!atomic_load(&d->unmounted)) {
		pthread_kill(d->main_thread, SIGUSR2);
		nanosleep(&moment, NULL);
	}
}

static void *signals_main(void *arg)
{
	struct daemon *d = arg;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	while (sigwait(&set, &sig) == 0) {
		if (sig == SIGHUP) {
			read_key_again(d);
			continue;
		}
		if (!atomic_load(&d->unmounted))
			finish(d, sig);
		break;
	}
	return NULL;
}

static int start_signals(struct daemon *d)
{
	struct sigaction sa = { .sa_handler = nothing };
	int r;

	sigaction(SIGUSR2, &sa, NULL);
	d->main_thread = pthread_self();
	r = -pthread_create(&d->signal_thread, NULL, signals_main, d);
	d->has_signal_thread = r == 0;
	return r;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- run ---- */

static int serve(struct daemon *d)
{
	struct fuse_loop_config *lc = fuse_loop_cfg_create();
	int r;

	if (!lc)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(lc, FUSE_THREADS);
	fuse_loop_cfg_set_idle_threads(lc, FUSE_THREADS);
	fuse_loop_cfg_set_clone_fd(lc, 0);
	r = fuse_session_loop_mt(d->session, lc);
	fuse_loop_cfg_destroy(lc);
	return r < 0 ? r : 0;
}

/* Returns whether all that was written is published. */
static bool stop(struct daemon *d)
{
	unsigned left = 0, unclosed = 0;

	if (d->has_signal_thread) {
		atomic_store(&d->unmounted, true);
		pthread_kill(d->signal_thread, SIGTERM);
		pthread_join(d->signal_thread, NULL);
	}
	if (d->publisher) {
		left = publisher_drain(d->publisher, d->drained ? 0 : d->opts.drain_timeout_s);
		unclosed = super_count_unclosed(d->super);
		/* Answers who still waits; the others are answered by api_free(). */
		publisher_stop(d->publisher);
	}
	api_free(d->api);
	if (d->mounted)
		fuse_session_unmount(d->session);
	hasher_free(d->disk);
	super_free(d->super);
	fetcher_free(d->fetcher);
	publisher_free(d->publisher);
	meta_close(d->meta);
	cache_close(d->cache);
	staging_close(d->staging);
	hasher_free(d->md5);
	if (d->session)
		fuse_session_destroy(d->session);
	server_stop(d->server);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (left)
		log_error("%u file(s) could not be published; they are kept in %s and tried "
			  "again at the "
			  "next mount",
			  left, d->opts.state_dir);
	if (unclosed)
		log_error("%u file(s) were still being written; what was written is kept, and at "
			  "the next "
			  "mount they are there as aborted",
			  unclosed);
	return !left && !unclosed;
}

int main(int argc, char **argv)
{
	struct daemon d = { .ready_fd = -1, .lock_fd = -1, .key_lock = PTHREAD_MUTEX_INITIALIZER };
	bool all;
	int r;

	switch (opts_parse(argc, argv, &d.opts)) {
	case OPTS_EXIT_OK:
		return 0;
	case OPTS_EXIT_USAGE:
		return 2;
	case OPTS_RUN:
		break;
	}
	harden();
	log_set_level((enum log_level)d.opts.log_level);
	if (!d.opts.foreground)
		d.ready_fd = daemonise();
	else if (d.opts.log_file)
		log_to_file(d.opts.log_file);
	block_signals();
	r = take_state_dir(&d);
	if (!r)
		r = start_api(&d);
	if (!r)
		r = start_storage(&d);
	if (!r)
		r = start_super(&d);
	if (!r)
		r = start_mount(&d);
	if (!r) {
		learn_dev(&d);
		r = start_signals(&d);
	}
	if (!r)
		r = serve(&d);
	all = stop(&d);
	opts_release(&d.opts);
	return r || !all ? 1 : 0;
}
