/*
 * uploadfs: start-up and teardown, in this order and the reverse one.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/cli/commands.h"
#include "fs/daemon/core.h"
#include "fs/host/control.h"
#include "fs/host/deadline.h"
#include "fs/host/helper.h"
#include "fs/host/mountpoint.h"
#include "fs/host/mounts.h"
#include "fs/host/notify.h"
#include "fs/fuse/ops.h"
#include "fs/config/opts.h"
#include "fs/host/process.h"
#include "fs/host/statedir.h"
#include "fs/publish/publisher.h"
#include "fs/status/json.h"
#include "fs/vfs/vfs.h"
#include "net/base/fdio.h"
#include "net/base/log.h"

#define FUSE_THREADS 8
#define STOP_S 30	   /* time for the teardown once nothing is left to send */
#define GIVE_UP_S 5	   /* time for the last unmount when that is over */
#define WAKE_SIGNAL SIGURG /* ours, for the main thread; nobody else sends it */

struct daemon {
	struct opts opts;
	struct core core;
	/* to the parent, which waits until the mount answers; -1: no parent waits */
	int ready_fd;
	struct ops_context ops;
	struct fuse_session *session;
	bool mounted;
	pthread_t main_thread, signal_thread;
	bool has_signal_thread;
	atomic_bool unmounted; /* the loop has ended: the signal thread has nothing to finish */
	bool told_stopping;    /* the service manager */
	bool drained;	       /* by the signal thread, before it ended the loop */
};

static void manager_told(int r)
{
	if (r)
		log_warn("the service manager can't be told: %s; look at NOTIFY_SOCKET",
			 strerror(-r));
}

static void tell_manager_ready(const struct daemon *d)
{
	char text[8192];

	snprintf(text, sizeof(text), "%s on %s", d->core.service, d->opts.mountpoint);
	manager_told(notify_ready(text));
}

static void tell_manager_stopping(struct daemon *d)
{
	if (!d->opts.foreground || d->told_stopping)
		return;
	d->told_stopping = true;
	manager_told(
		notify_stopping(d->opts.drain_timeout_s + STOP_S, "finishing what is under way"));
}

/* Something hangs that nothing here can end, such as a name server's answer inside libcurl. */
static void give_up(void *arg)
{
	struct daemon *d = arg;

	log_error("the end takes longer than %u s: what hangs is abandoned; nothing is lost, the "
		  "next mount goes on",
		  d->opts.drain_timeout_s + STOP_S);
	/* Unmounting may hang as well. */
	alarm(GIVE_UP_S);
	if (d->mounted)
		fuse_session_unmount(d->session);
	_exit(EXIT_FAILURE);
}

/* The end has begun. Without a thread for the deadline it takes as long as it takes. */
static void set_deadline(struct daemon *d)
{
	deadline_start(1000ULL * (d->opts.drain_timeout_s + STOP_S), give_up, d);
}

/* Without a system log, as in many containers, lines would go nowhere. */
static void log_to_state_dir(const struct opts *o)
{
	char *path;
	int r;

	if (asprintf(&path, "%s/daemon.log", o->state_dir) < 0)
		return;
	log_info("there is no /dev/log here: the log goes to %s; -o log_file= names another", path);
	r = log_to_file(path);
	if (r)
		log_error("%s: %s; the log is lost: use -o log_file=", path, log_file_why(r));
	free(path);
}

static void direct_log(const struct opts *o)
{
	if (o->log_file)
		log_to_file(o->log_file);
	else if (access("/dev/log", F_OK) && o->state_dir)
		log_to_state_dir(o);
	else
		log_to_syslog("uploadfs");
}

static void tell_ready(void *arg)
{
	struct daemon *d = arg;

	/* In the background, the parent's exit status is the answer. */
	if (d->opts.foreground)
		tell_manager_ready(d);
	if (d->ready_fd >= 0)
		direct_log(&d->opts);
	core_tell_place(&d->core);
	if (d->ready_fd < 0)
		return;
	process_detach(d->ready_fd);
	d->ready_fd = -1;
}

/* Also as process 1, whom kill(2) can't signal from inside. */
static void ask_end(void *arg)
{
	struct daemon *d = arg;

	log_info("asked through the mount to end");
	pthread_kill(d->signal_thread, SIGTERM);
}

/* ---- the mount ---- */

static int start_mount(struct daemon *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	const char *why;
	int r = -ENOMEM;

	d->ops = (struct ops_context){ .vfs = d->core.vfs,
				       .ready = tell_ready,
				       .arg = d,
				       .end_cmd = CONTROL_END,
				       .end = ask_end };
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
		why = mountpoint_refusal();
		if (!why)
			why = mountpoint_confined();
		log_error("cannot mount on %s%s%s", d->opts.mountpoint, why ? ": " : "",
			  why ? why : "");
		goto out;
	}
	d->mounted = true;
	r = 0;
out:
	fuse_opt_free_args(&args);
	return r;
}

/* st_dev of the mount, without asking the mount itself. */
static void learn_dev(struct daemon *d)
{
	struct mount_list list;
	const struct mount_entry *e;

	if (mounts_read(&list))
		return;
	e = mounts_find(&list, d->opts.mountpoint);
	if (e)
		vfs_set_dev(d->core.vfs, e->dev);
	mounts_free(&list);
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
	set_deadline(d);
	vfs_close_doors(d->core.vfs);
	tell_manager_stopping(d);
	publisher_drain(d->core.publisher, d->opts.drain_timeout_s);
	d->drained = true;
	fuse_session_exit(d->session);
	/* libfuse's loop waits on a semaphore that only a signal interrupts, and
	 * only one that finds it waiting. */
	while (!atomic_load(&d->unmounted)) {
		pthread_kill(d->main_thread, WAKE_SIGNAL);
		nanosleep(&moment, NULL);
	}
}

/* The next level: error, warn, info, debug, then error again. */
static void cycle_level(void)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	unsigned next = ((unsigned)log_get_level() + 1) % 4;

	log_set_level((enum log_level)next);
	log_always("the log level is %s now", names[next]);
}

static void refresh(struct daemon *d)
{
	int r = log_reopen();

	if (r)
		log_error("%s: %s; the log goes on where it was", d->opts.log_file,
			  log_file_why(r));
	core_read_key(&d->core);
}

static void write_status(struct daemon *d)
{
	struct status_source src;

	core_status(&d->core, &src);
	status_log(&src);
}

static void all_signals(sigset_t *set)
{
	static const int ours[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(set, ours[i]);
}

static void *signals_main(void *arg)
{
	struct daemon *d = arg;
	sigset_t set;
	int sig;

	all_signals(&set);
	while (sigwait(&set, &sig) == 0) {
		if (sig == SIGHUP) {
			refresh(d);
		} else if (sig == SIGUSR1) {
			write_status(d);
		} else if (sig == SIGUSR2) {
			cycle_level();
		} else {
			if (!atomic_load(&d->unmounted))
				finish(d, sig);
			break;
		}
	}
	return NULL;
}

static int start_signals(struct daemon *d)
{
	struct sigaction sa = { .sa_handler = nothing };
	int r;

	sigaction(WAKE_SIGNAL, &sa, NULL);
	d->main_thread = pthread_self();
	r = -pthread_create(&d->signal_thread, NULL, signals_main, d);
	d->has_signal_thread = r == 0;
	return r;
}

static void block_signals(void)
{
	sigset_t set;

	all_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- run ---- */

static int serve(struct daemon *d)
{
	int r;

	/* Process 1 of a container inherits its orphans; libfuse waits for fusermount3 later. */
	if (getpid() == 1)
		signal(SIGCHLD, SIG_IGN);
	r = ops_loop(d->session, FUSE_THREADS);
	if (getpid() == 1)
		signal(SIGCHLD, SIG_DFL);
	return r;
}

/* Returns true if every written file is published. */
static bool stop(struct daemon *d)
{
	bool all;

	if (d->has_signal_thread) {
		atomic_store(&d->unmounted, true);
		pthread_kill(d->signal_thread, SIGTERM);
		pthread_join(d->signal_thread, NULL);
	}
	if (d->mounted)
		tell_manager_stopping(d);
	set_deadline(d);
	ops_end_holds();
	all = core_finish(&d->core, d->drained ? 0 : d->opts.drain_timeout_s);
	if (d->mounted)
		fuse_session_unmount(d->session);
	core_free(&d->core);
	deadline_end();
	if (d->session)
		fuse_session_destroy(d->session);
	return all;
}

/*
 * Open the log. Until ready, errors go to the caller's terminal; check log_file now.
 */
static int start_log(const struct opts *o)
{
	size_t len = o->state_dir ? strlen(o->state_dir) : 0;
	int r = o->log_file ? log_to_file(o->log_file) : 0;

	/* Below a state directory that is still to be made: this once it is there. */
	if (r == -ENOENT && len && !strncmp(o->log_file, o->state_dir, len) &&
	    o->log_file[len] == '/') {
		r = statedir_make(o->state_dir);
		if (!r)
			r = log_to_file(o->log_file);
	}
	if (r)
		log_error("log_file %s: %s; name a file that can be written: -o log_file=",
			  o->log_file, log_file_why(r));
	else if (o->log_file && !o->foreground)
		log_to_stderr();
	return r;
}

/* Mount as d->opts say, and release them. Returns the exit status: 0, or failed. */
static int run(struct daemon *d, int failed)
{
	bool all;
	int r;

	process_harden();
	/* The end of process 1 is that of its container: it can't go to the background. */
	if (getpid() == 1)
		d->opts.foreground = true;
	log_set_level((enum log_level)d->opts.log_level);
	log_set_json(d->opts.log_json);
	if (mountpoint_prepare(d->opts.mountpoint, d->opts.allow_other || d->opts.allow_root) ||
	    start_log(&d->opts)) {
		opts_release(&d->opts);
		return failed;
	}
	if (!d->opts.foreground)
		d->ready_fd = process_daemonise(failed);
	block_signals();
	r = fdio_told(core_start(&d->opts, false, &d->core));
	if (!r)
		r = start_mount(d);
	if (!r) {
		learn_dev(d);
		r = start_signals(d);
	}
	if (!r)
		r = serve(d);
	all = stop(d);
	opts_release(&d->opts);
	return r || !all ? failed : 0;
}

static int run_as_mount(struct daemon *d, int argc, char **argv)
{
	struct helper_call call;
	int r = helper_take(HELPER_MOUNT, argc, argv, &call);

	if (r)
		return r;
	switch (opts_parse_mount(call.argc, call.argv, call.sloppy, &d->opts)) {
	case OPTS_EXIT_OK:
		return 0;
	case OPTS_EXIT_USAGE:
		return HELPER_USAGE;
	case OPTS_RUN:
		break;
	}
	if (!call.fake)
		return run(d, HELPER_FAILED);
	opts_release(&d->opts);
	return 0;
}

static int run_as_umount(int argc, char **argv)
{
	struct helper_call call;
	int r = helper_take(HELPER_UMOUNT, argc, argv, &call);

	return r ? r : cli_umount_helper(&call);
}

int main(int argc, char **argv)
{
	struct daemon d = { .ready_fd = -1 };
	const char *near;

	/* Else the lock, or /dev/fuse, has the number of a descriptor that is printed to. */
	if (fdio_fill_standard())
		return 1;
	/* The TLS library would write there what decrypts our traffic, the key in it. */
	unsetenv("SSLKEYLOGFILE");
	switch (helper_kind(argv[0])) {
	case HELPER_MOUNT:
		return run_as_mount(&d, argc, argv);
	case HELPER_UMOUNT:
		return run_as_umount(argc, argv);
	case HELPER_NONE:
		break;
	}
	if (argc > 1 && cli_selects(argv[1]))
		return cli_run(argc - 1, argv + 1);
	near = argc > 1 ? cli_near(argv[1]) : NULL;
	if (near) {
		fprintf(stderr,
			"uploadfs: %s is no directory and no subcommand; did you mean uploadfs %s? "
			"(a mountpoint is created with mkdir -p %s)\n",
			argv[1], near, argv[1]);
		return 2;
	}
	switch (opts_parse(argc, argv, &d.opts)) {
	case OPTS_EXIT_OK:
		return 0;
	case OPTS_EXIT_USAGE:
		return 2;
	case OPTS_RUN:
		break;
	}
	return run(&d, 1);
}
