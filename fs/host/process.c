#include "fs/host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/base/log.h"

#define GIVE_WAY 5 /* a third of the weight: measured in docs/performance.md */

void process_harden(void)
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
	/* By ulimit -f: EFBIG to that writer, not the end of the mount for everybody. */
	signal(SIGXFSZ, SIG_IGN);
	/* Few arenas: threads reuse memory that others freed. */
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
	umask(077);
}

void process_give_way(void)
{
	/* Linux has a nice value for each thread, and 0 for who means the caller's. */
	int now = getpriority(PRIO_PROCESS, 0);

	if (setpriority(PRIO_PROCESS, 0, now + GIVE_WAY))
		log_debug("nice: %s", strerror(errno));
}

int process_daemonise(int failed)
{
	int fds[2];
	pid_t pid;
	char c;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		perror("uploadfs: pipe");
		exit(failed);
	}
	pid = fork();
	if (pid < 0) {
		perror("uploadfs: fork");
		exit(failed);
	}
	if (pid > 0) {
		ssize_t n;

		close(fds[1]);
		do
			n = read(fds[0], &c, 1);
		while (n < 0 && errno == EINTR);
		_exit(n == 1 ? 0 : failed); /* the child has printed why */
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

void process_detach(int ready_fd)
{
	int null;

	if (chdir("/") < 0)
		log_warn("chdir /: %s", strerror(errno));
	null = open("/dev/null", O_RDWR);
	/* Otherwise a reader of our output waits for our end. */
	if (null < 0)
		log_warn("/dev/null: %s; output stays open", strerror(errno));
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (write(ready_fd, "1", 1) != 1)
		log_warn("the starting process is gone");
	close(ready_fd);
}
