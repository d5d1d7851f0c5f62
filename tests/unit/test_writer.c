/* writer: the opener told from its children and threads, and how it ended, with real processes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/proc/writer.h"

#define DEADLINE_S 20

/* A child that tells its thread's id over a pipe, then acts on a byte from us. */
struct child {
	pid_t pid, tid;
	int from, to;
	struct writer *w;
	bool reaped;
};

static struct child child; /* one at a time; teardown ends what is left */

struct child_end {
	int in, out;
};

static void say(const struct child_end *e)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (write(e->out, &tid, sizeof(tid)) != sizeof(tid))
		_exit(99);
}

static void hear(const struct child_end *e)
{
	char c;

	if (read(e->in, &c, 1) != 1)
		_exit(98);
}

static void child_hear_tid(void)
{
	assert_int_equal(read(child.from, &child.tid, sizeof(child.tid)), sizeof(child.tid));
}

static void child_start(void (*act)(const struct child_end *))
{
	struct rlimit no_core = { 0, 0 };
	struct child_end e;
	int up[2], down[2];

	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	child.reaped = false;
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int sig = 1; sig < NSIG; sig++)
			signal(sig, SIG_DFL); /* cmocka's handlers among them */
		setrlimit(RLIMIT_CORE, &no_core);
		close(up[0]);
		close(down[1]);
		e.in = down[0];
		e.out = up[1];
		say(&e);
		act(&e);
		_exit(97);
	}
	close(up[1]);
	close(down[0]);
	child.from = up[0];
	child.to = down[1];
	child_hear_tid();
	child.w = writer_new(child.tid);
	assert_non_null(child.w);
}

static void child_go(void)
{
	assert_int_equal(write(child.to, "", 1), 1);
}

static void child_await_zombie(void)
{
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
}

static int child_reap(void)
{
	int status;

	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	child.reaped = true;
	return status;
}

static void child_finish(void)
{
	if (child.pid <= 0)
		return;
	if (!child.reaped) {
		kill(child.pid, SIGKILL);
		waitpid(child.pid, NULL, 0);
	}
	writer_free(child.w);
	close(child.from);
	close(child.to);
	memset(&child, 0, sizeof(child));
}

static int teardown(void **state)
{
	(void)state;
	child_finish();
	return 0;
}

/*
 * PIDFD_INFO_EXIT is of Linux 6.15: before it, a reaped process tells nothing. Nor does it where
 * programs of another processor are run by qemu, which does not pass the ioctl on.
 */
static bool kernel_remembers(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	bool unknown = ioctl(fd, _IOWR(0xFF, 11, char[64]), NULL) < 0 && errno == ENOTTY;

	assert_true(fd >= 0 && !close(fd));
	if (unknown)
		return false;

	assert_int_equal(uname(&u), 0);
	assert_int_equal(sscanf(u.release, "%u.%u", &major, &minor), 2);
	return major > 6 || (major == 6 && minor >= 15);
}

static void check_fate(enum writer_fate zombie, pid_t tid)
{
	child_await_zombie();
	assert_int_equal(writer_fate(child.w, tid), zombie);
	assert_int_equal(writer_fate(child.w, 0), zombie);
	child_reap();
	if (!kernel_remembers())
		zombie = WRITER_KILLED;
	assert_int_equal(writer_fate(child.w, tid), zombie);
	assert_int_equal(writer_fate(child.w, 0), zombie);
}

static void act_wait(const struct child_end *e)
{
	hear(e);
}

static void act_exit3(const struct child_end *e)
{
	hear(e);
	_exit(3);
}

static void act_exit0(const struct child_end *e)
{
	hear(e);
	_exit(0);
}

static void act_abort(const struct child_end *e)
{
	hear(e);
	abort();
}

static void on_term(int sig)
{
	(void)sig;
	_exit(143);
}

static void act_handler(const struct child_end *e)
{
	signal(SIGTERM, on_term);
	say(e);
	for (;;)
		pause();
}

static void test_alive(void **state)
{
	(void)state;
	child_start(act_wait);
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	assert_int_equal(writer_fate(child.w, 0), WRITER_ALIVE);
	assert_false(writer_fatal_signal(child.tid));
	assert_true(writer_is_opener(child.w, child.tid, 1));
}

static void test_exit(void **state)
{
	(void)state;
	child_start(act_exit3);
	child_go();
	check_fate(WRITER_EXITED, child.tid);
	child_finish();
	child_start(act_exit0);
	child_go();
	check_fate(WRITER_EXITED, child.tid);
}

static void test_signals(void **state)
{
	static const int signals[] = {
		SIGKILL, SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXCPU, SIGSEGV
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		child_start(act_wait);
		assert_int_equal(kill(child.pid, signals[i]), 0);
		check_fate(WRITER_KILLED, child.tid);
		child_finish();
	}
	child_start(act_abort);
	child_go();
	check_fate(WRITER_KILLED, child.tid);
}

/* An exit() out of a signal handler is an ordinary exit, whatever its code looks like. */
static void test_handler_exits(void **state)
{
	(void)state;
	child_start(act_handler);
	child_hear_tid();
	assert_int_equal(kill(child.pid, SIGTERM), 0);
	check_fate(WRITER_EXITED, child.tid);
}

static void test_not_alike(void **state)
{
	struct writer *w = writer_new(0);

	(void)state;
	assert_non_null(w);
	/* Of another pid namespace: alive, and the lock owner decides. */
	assert_int_equal(writer_fate(w, 0), WRITER_ALIVE);
	assert_true(writer_is_opener(w, 0, 7));
	assert_true(writer_is_opener(w, getpid(), 7));
	writer_note_owner(w, 7);
	writer_note_owner(w, 8);
	assert_true(writer_is_opener(w, 0, 7));
	assert_false(writer_is_opener(w, 0, 8));
	assert_true(writer_is_opener(w, getpid(), 7));
	assert_int_equal(writer_fate(w, getpid()), WRITER_ALIVE);
	/* It was there when it opened, and the closer is gone without a trace. */
	child_start(act_exit3);
	child_go();
	child_reap();
	assert_int_equal(writer_fate(w, child.tid), WRITER_KILLED);
	writer_free(w);
	writer_free(NULL);
}

static void act_fork(const struct child_end *e)
{
	pid_t pid = fork();

	if (!pid) {
		say(e);
		hear(e);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	hear(e);
	_exit(0);
}

/* The opener's child closes its copy: not the opener, and the opener is alive. */
static void test_fork(void **state)
{
	pid_t opener;

	(void)state;
	child_start(act_fork);
	opener = child.tid;
	child_hear_tid();
	assert_int_not_equal(child.tid, opener);
	writer_note_owner(child.w, 7);
	assert_false(writer_is_opener(child.w, child.tid, 7));
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	assert_true(writer_is_opener(child.w, opener, 9));
}

/* The opener was killed; what its child does later does not finish the file. */
static void test_fork_opener_killed(void **state)
{
	pid_t opener;
	siginfo_t info;

	(void)state;
	child_start(act_fork);
	opener = child.tid;
	child_hear_tid();
	assert_int_equal(kill(opener, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)opener, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_KILLED);
	child_go();
}

static void act_exec(const struct child_end *e)
{
	char in[32];

	snprintf(in, sizeof(in), "/proc/self/fd/%d", e->in);
	fcntl(e->in, F_SETFD, 0);
	fcntl(e->out, F_SETFD, 0);
	hear(e);
	/* After the exec: tell the pid, wait for a byte, end with code 5. */
	execl("/bin/sh", "sh", "-c", "head -c 1 <$0 >/dev/null; exit 5", in, (char *)NULL);
	_exit(96);
}

static void await_program(pid_t pid, const char *name)
{
	char path[64], text[64];
	time_t deadline = time(NULL) + DEADLINE_S;
	struct timespec tick = { 0, 1000000 };
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	for (;;) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		assert_true(n > 0);
		text[n] = '\0';
		if (!strncmp(text, name, strlen(name)))
			return;
		assert_true(time(NULL) < deadline);
		nanosleep(&tick, NULL);
	}
}

static void test_exec(void **state)
{
	(void)state;
	child_start(act_exec);
	child_go();
	await_program(child.pid, "sh\n");
	assert_true(writer_is_opener(child.w, child.tid, 3));
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	child_go();
	check_fate(WRITER_EXITED, child.tid);
}

static void *thread_wait(void *arg)
{
	say(arg);
	hear(arg);
	_exit(4);
}

static void act_threads(const struct child_end *e)
{
	pthread_t t;

	if (pthread_create(&t, NULL, thread_wait, (void *)e))
		_exit(95);
	for (;;)
		pause();
}

static void act_leader_gone(const struct child_end *e)
{
	static struct child_end copy;
	pthread_t t;

	copy = *e;
	if (pthread_create(&t, NULL, thread_wait, &copy))
		_exit(95);
	/* The bare system call: pthread_exit() would unwind into the test. */
	syscall(SYS_exit, 0);
}

/* Another thread of the opener closes: it is the opener, and alive. */
static void test_threads(void **state)
{
	pid_t leader;

	(void)state;
	child_start(act_threads);
	leader = child.tid;
	child_hear_tid();
	assert_int_not_equal(child.tid, leader);
	assert_true(writer_is_opener(child.w, child.tid, 3));
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	/* Opened by the second thread: the process is the same. */
	writer_free(child.w);
	child.w = writer_new(child.tid);
	assert_true(writer_is_opener(child.w, leader, 3));
	assert_int_equal(writer_fate(child.w, leader), WRITER_ALIVE);
	child_go();
	check_fate(WRITER_EXITED, child.tid);
	child_finish();

	child_start(act_threads);
	child_hear_tid();
	assert_int_equal(syscall(SYS_tgkill, child.pid, child.tid, SIGKILL), 0);
	check_fate(WRITER_KILLED, child.tid);
}

static void await_state(pid_t pid, const char *state)
{
	char path[64], text[512];
	time_t deadline = time(NULL) + DEADLINE_S;
	struct timespec tick = { 0, 1000000 };
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	for (;;) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		assert_true(n > 0);
		text[n] = '\0';
		if (strstr(text, state))
			return;
		assert_true(time(NULL) < deadline);
		nanosleep(&tick, NULL);
	}
}

/* The first thread is a zombie, the process goes on: alive until it really ends. */
static void test_leader_gone(void **state)
{
	(void)state;
	child_start(act_leader_gone);
	child_hear_tid();
	await_state(child.pid, "State:\tZ");
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	assert_int_equal(writer_fate(child.w, 0), WRITER_ALIVE);
	assert_true(writer_is_opener(child.w, child.tid, 3));
	child_go();
	check_fate(WRITER_EXITED, child.tid);
	child_finish();

	child_start(act_leader_gone);
	child_hear_tid();
	await_state(child.pid, "State:\tZ");
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	check_fate(WRITER_KILLED, child.tid);
}

static void act_stopped(const struct child_end *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, on_term);
	kill(getpid(), SIGSTOP); /* raise() of glibc before 2.36 blocks the others meanwhile */
	hear(e);
}

/*
 * A stopped process keeps signals pending for as long as we want to look:
 * blocked, ignored, caught and harmless ones do not make it a dying one, a
 * plain SIGINT does. (SIGKILL ends even a stopped process.)
 */
static void test_pending(void **state)
{
	static const int harmless[] = { SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGWINCH, SIGURG };
	size_t i;

	(void)state;
	child_start(act_stopped);
	await_state(child.pid, "State:\tT");
	for (i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		assert_int_equal(kill(child.pid, harmless[i]), 0);
	assert_false(writer_fatal_signal(child.tid));
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	assert_int_equal(kill(child.pid, SIGINT), 0);
	assert_true(writer_fatal_signal(child.tid));
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_KILLED);
	assert_false(writer_fatal_signal(0));
	assert_false(writer_fatal_signal(-1));
}

static void test_other_process_killed(void **state)
{
	struct writer *w = writer_new(getpid());

	(void)state;
	/* We opened; a child that has the file too dies: its close finishes nothing. */
	child_start(act_stopped);
	await_state(child.pid, "State:\tT");
	assert_int_equal(kill(child.pid, SIGINT), 0);
	assert_false(writer_is_opener(w, child.tid, 1));
	assert_int_equal(writer_fate(w, child.tid), WRITER_KILLED);
	assert_int_equal(writer_fate(w, getpid()), WRITER_ALIVE);
	writer_free(w);
}

/* Without a descriptor to spare for the pidfd, /proc alone tells while a zombie is there. */
static void test_no_pidfd(void **state)
{
	struct rlimit old, tight;
	int lowest, pidfd;

	(void)state;
	child_start(act_exit3);
	writer_free(child.w);
	lowest = dup(0);
	assert_true(lowest >= 0);
	close(lowest);
	/*
	 * The status file and the pidfd take the same number one after the other,
	 * so the pidfd is what writer_new() leaves there; a second writer then
	 * finds no number free.
	 */
	child.w = writer_new(child.tid);
	pidfd = fcntl(lowest, F_GETFD);
	assert_int_equal(pidfd, FD_CLOEXEC);
	writer_free(child.w);
	assert_int_equal(fcntl(lowest, F_GETFD), -1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)lowest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	child.w = writer_new(child.tid);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* Not even /proc could be read: an unknown opener, told by its thread alone. */
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_ALIVE);
	assert_int_equal(writer_fate(child.w, 0), WRITER_ALIVE);
	child_go();
	child_await_zombie();
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_EXITED);
	child_reap();
	assert_int_equal(writer_fate(child.w, child.tid), WRITER_KILLED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_alive, teardown),
		cmocka_unit_test_teardown(test_exit, teardown),
		cmocka_unit_test_teardown(test_signals, teardown),
		cmocka_unit_test_teardown(test_handler_exits, teardown),
		cmocka_unit_test_teardown(test_not_alike, teardown),
		cmocka_unit_test_teardown(test_fork, teardown),
		cmocka_unit_test_teardown(test_fork_opener_killed, teardown),
		cmocka_unit_test_teardown(test_exec, teardown),
		cmocka_unit_test_teardown(test_threads, teardown),
		cmocka_unit_test_teardown(test_leader_gone, teardown),
		cmocka_unit_test_teardown(test_pending, teardown),
		cmocka_unit_test_teardown(test_other_process_killed, teardown),
		cmocka_unit_test_teardown(test_no_pidfd, teardown),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
