/*
 * What /proc can tell without being stuck: /proc/TID/status always. Anything
 * behind a ptrace access check (/proc/TID/stat, fd/, cwd) blocks on newer
 * kernels while the process is inside execve(), and execve() closes its
 * close-on-exec files, waiting for our reply to their FLUSH. So status is read
 * first, and stat only of a thread that has lost its memory map: it is
 * exiting (or a kernel thread), and never in execve().
 */
#include "fs/proc/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* include/linux/sched.h; in field 9 of stat since ever. */
#define TASK_EXITING 0x00000004UL  /* PF_EXITING */
#define TASK_SIGNALED 0x00000400UL /* PF_SIGNALED: left by way of a fatal signal */
#define TASK_KTHREAD 0x00200000UL  /* PF_KTHREAD */

/* include/uapi/linux/pidfd.h: the ioctl is of Linux 6.13, the exit code in it of 6.15. */
struct writer_pidfd_info {
	uint64_t mask; /* in: what is asked for; out: what is there */
	uint64_t cgroupid;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code; /* as for waitpid() */
};
#define WRITER_PIDFD_INFO_EXIT (1ULL << 3)
#define WRITER_PIDFD_GET_INFO _IOWR(0xFF, 11, struct writer_pidfd_info)

struct writer {
	pid_t tgid;		/* the opener's thread group, 0: not known */
	int pidfd;		/* of the opener, -1: none */
	_Atomic bool has_owner; /* set after owner, which never changes then */
	uint64_t owner;		/* lock owner: names the opener's table of files */
};

struct task_status { /* from /proc/TID/status */
	pid_t tgid;
	uint64_t threads;
	bool has_memory; /* false from early in its exit on, and for kernel threads */
	uint64_t thread_pending, group_pending, blocked, ignored, caught;
};

struct task_stat { /* from /proc/TID/stat */
	unsigned long flags;
	unsigned exit_code; /* as for waitpid(); 0 also where we may not see it */
};

/* Reads what fits of /proc/TID/NAME as a string. 0 or negative errno. */
static int read_proc(pid_t tid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	err = n < 0 ? -errno : n == 0 ? -ESRCH : 0;
	close(fd);
	if (!err)
		buf[n] = '\0';
	return err;
}

/* The number after "\nKEY:" in text, of that base; 0 when it isn't there. */
static uint64_t status_number(const char *text, const char *key, int base)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, base) : 0;
}

static int read_status(pid_t tid, struct task_status *ret)
{
	char text[16384];
	int rc = read_proc(tid, "status", text, sizeof(text));

	if (rc)
		return rc;
	ret->tgid = (pid_t)status_number(text, "\nTgid:", 10);
	ret->threads = status_number(text, "\nThreads:", 10);
	/* With thousands of groups the text is cut before either line: no news is good news. */
	ret->has_memory = strstr(text, "\nVmSize:") || !strstr(text, "\nSigPnd:");
	ret->thread_pending = status_number(text, "\nSigPnd:", 16);
	ret->group_pending = status_number(text, "\nShdPnd:", 16);
	ret->blocked = status_number(text, "\nSigBlk:", 16);
	ret->ignored = status_number(text, "\nSigIgn:", 16);
	ret->caught = status_number(text, "\nSigCgt:", 16);
	return ret->tgid > 0 ? 0 : -ESRCH;
}

/* Only for what can't be in execve(): see the top. */
static int read_stat(pid_t tid, struct task_stat *ret)
{
	char text[1024], *at;
	int rc = read_proc(tid, "stat", text, sizeof(text)), field;

	if (rc)
		return rc;
	at = strrchr(text, ')'); /* the name before it may hold anything */
	for (field = 2; at && field < 9; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -EIO;
	ret->flags = strtoul(at, NULL, 10);
	for (; at && field < 52; field++)
		at = strchr(at + 1, ' ');
	ret->exit_code = at ? (unsigned)strtoul(at, NULL, 10) : 0;
	return 0;
}

/* The exit code in stat is shown as 0 to those who may not trace the process. */
static bool may_see_exit_code(pid_t tid)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/cwd", (int)tid);
	return readlink(path, target, sizeof(target)) >= 0 || errno == ENOENT;
}

static uint64_t bit(int sig)
{
	return 1ULL << (sig - 1);
}

/* Signals pending for the thread that will end its process. */
static bool fatal_pending(const struct task_status *st)
{
	uint64_t harmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH) |
			    bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);
	uint64_t pending = st->thread_pending | st->group_pending;

	if (pending & bit(SIGKILL))
		return true;
	return pending & ~(st->blocked | st->ignored | st->caught | harmless);
}

bool writer_fatal_signal(pid_t tid)
{
	struct task_status st;

	return tid > 0 && read_status(tid, &st) == 0 && fatal_pending(&st);
}

/* A thread that is inside exit(), by its own will or by a signal. */
static enum writer_fate exiting_fate(pid_t tid, const struct task_stat *stat)
{
	if (stat->exit_code & 0x7f)
		return WRITER_KILLED;
	/*
	 * PF_SIGNALED with code 0 is a thread taken down by exit(0) of another
	 * one, or a killed one whose code is hidden from us.
	 */
	if (!stat->exit_code && (stat->flags & TASK_SIGNALED) && !may_see_exit_code(tid))
		return WRITER_KILLED;
	return WRITER_EXITED;
}

/*
 * A thread that still runs, with a fatal signal pending. A SIGKILL that is
 * pending for the thread alone is also how exit() of another thread ends it:
 * then the group's exit code, in the leader's stat, has no signal. Code 0 is
 * not believed: older kernels show it in both cases. With two threads left
 * none is in execve() yet, or it would have waited for this one to end.
 */
static enum writer_fate doomed_fate(const struct task_status *st)
{
	struct task_status rest = *st;
	struct task_stat leader;

	rest.thread_pending &= ~bit(SIGKILL);
	if (fatal_pending(&rest) || st->threads < 2 || read_stat(st->tgid, &leader))
		return WRITER_KILLED;
	return leader.exit_code && !(leader.exit_code & 0x7f) ? WRITER_EXITED : WRITER_KILLED;
}

/* 0, or -ESRCH: the thread is gone, hidden, or the kernel's own. */
static int thread_fate(pid_t tid, pid_t *ret_tgid, enum writer_fate *ret_fate)
{
	struct task_status st;
	struct task_stat stat;

	if (read_status(tid, &st))
		return -ESRCH;
	if (st.has_memory) {
		*ret_fate = fatal_pending(&st) ? doomed_fate(&st) : WRITER_ALIVE;
	} else {
		/* Newer kernels may send the FLUSH of an exiting process from a kernel thread. */
		if (read_stat(tid, &stat) || (stat.flags & TASK_KTHREAD))
			return -ESRCH;
		*ret_fate = exiting_fate(tid, &stat);
	}
	*ret_tgid = st.tgid;
	return 0;
}

static bool pidfd_reaped(int pidfd)
{
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
}

static bool pidfd_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* The opener's end as the kernel remembers it for a pidfd after the process was reaped. */
static enum writer_fate reaped_fate(int pidfd)
{
	struct writer_pidfd_info info;

	memset(&info, 0, sizeof(info));
	info.mask = WRITER_PIDFD_INFO_EXIT;
	if (ioctl(pidfd, WRITER_PIDFD_GET_INFO, &info) < 0 || !(info.mask & WRITER_PIDFD_INFO_EXIT))
		return WRITER_KILLED;
	return info.exit_code & 0x7f ? WRITER_KILLED : WRITER_EXITED;
}

static enum writer_fate opener_fate(const struct writer *w)
{
	enum writer_fate fate;
	pid_t tgid;
	bool there;

	there = thread_fate(w->tgid, &tgid, &fate) == 0;
	if (w->pidfd < 0)
		return there ? fate : WRITER_KILLED;
	/* Asked after /proc: until here the number was the opener's own. */
	if (pidfd_reaped(w->pidfd))
		return reaped_fate(w->pidfd);
	/* A leader that ended by pthread_exit() while its process goes on, or a hidden process. */
	if ((!there || fate == WRITER_EXITED) && !pidfd_ended(w->pidfd))
		return WRITER_ALIVE;
	/* A zombie we can't see: it was reaped just now, or nothing is to be learned. */
	return there ? fate : reaped_fate(w->pidfd);
}

/* See the header. The closing thread knows best about its own process. */
enum writer_fate writer_fate(const struct writer *w, pid_t closing_tid)
{
	enum writer_fate fate = WRITER_ALIVE;
	bool seen = false;
	pid_t tgid = 0;

	if (closing_tid > 0)
		seen = thread_fate(closing_tid, &tgid, &fate) == 0;
	if (seen && (tgid == w->tgid || fate == WRITER_KILLED))
		return fate;
	if (w->tgid > 0)
		return opener_fate(w);
	if (seen || closing_tid <= 0)
		return fate;
	/* Gone before anything could be learned; or there, but hidden (/proc with hidepid). */
	return kill(closing_tid, 0) < 0 && errno == ESRCH ? WRITER_KILLED : WRITER_ALIVE;
}

bool writer_is_blind(pid_t closing_tid)
{
	struct task_status st;

	if (closing_tid <= 0)
		return true;
	return read_status(closing_tid, &st) && !(kill(closing_tid, 0) < 0 && errno == ESRCH);
}

struct writer *writer_new(pid_t tid)
{
	struct writer *w = calloc(1, sizeof(*w));
	struct task_status st;

	if (!w)
		return NULL;
	w->pidfd = -1;
	if (tid <= 0 || read_status(tid, &st))
		return w;
	w->tgid = st.tgid;
	w->pidfd = (int)syscall(SYS_pidfd_open, st.tgid, 0); /* close-on-exec by itself */
	return w;
}

pid_t writer_process(pid_t tid)
{
	struct task_status st;

	return tid > 0 && read_status(tid, &st) == 0 ? st.tgid : 0;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	if (w->pidfd >= 0)
		close(w->pidfd);
	free(w);
}

void writer_note_owner(struct writer *w, uint64_t lock_owner)
{
	if (w->has_owner)
		return;
	w->owner = lock_owner;
	w->has_owner = true;
}

bool writer_is_opener(struct writer *w, pid_t tid, uint64_t lock_owner)
{
	struct task_status st;
	struct task_stat stat;

	if (tid > 0 && w->tgid > 0) {
		if (tid == w->tgid)
			return true;
		if (read_status(tid, &st) == 0) {
			if (st.tgid == w->tgid)
				return true;
			if (st.has_memory || read_stat(tid, &stat) || !(stat.flags & TASK_KTHREAD))
				return false;
			/* A kernel thread that closes for a process that exits. */
		}
	}
	return !w->has_owner || w->owner == lock_owner;
}
