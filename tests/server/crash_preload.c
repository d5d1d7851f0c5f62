/*
 * crash_preload: an LD_PRELOAD library that ends uploads-server with SIGKILL at
 * the n-th step that a client or the next start can see.
 *
 * UPLOADS_CRASH_AT     n, counted from 1 once the server listens; unset or 0: count only
 * UPLOADS_CRASH_KIND   before (default) or after the step; fail: the step is not done and fails
 *                      with EIO, and the server goes on
 * UPLOADS_CRASH_NOTES  a file: gets the number and name of the step it ended with, or at the
 *                      end of the process the number of steps
 *
 * Steps are what changes the names of the store or makes them durable, and the
 * moment at which a reply is handed out.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <microhttpd.h>

static atomic_ulong steps;
static atomic_bool listening;

static void note(const char *text)
{
	const char *path = getenv("UPLOADS_CRASH_NOTES");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

/* Count a step. 0, or -1 with errno: it is to fail. kind: "before" or "after" it. */
static int step(const char *kind, const char *what)
{
	const char *at = getenv("UPLOADS_CRASH_AT"), *wanted = getenv("UPLOADS_CRASH_KIND");
	unsigned long target = at ? strtoul(at, NULL, 10) : 0;
	bool fails = wanted && !strcmp(wanted, "fail");
	char line[128];

	if (fails)
		wanted = "before";
	if (!atomic_load(&listening) || strcmp(kind, wanted ? wanted : "before") != 0 ||
	    atomic_fetch_add(&steps, 1) + 1 != target)
		return 0;
	snprintf(line, sizeof(line), "%lu %s %s\n", target, kind, what);
	note(line);
	if (fails) {
		errno = EIO;
		return -1;
	}
	kill(getpid(), SIGKILL);
	for (;;)
		pause(); /* the signal is on its way to this thread */
}

__attribute__((destructor)) static void tell(void)
{
	char line[64];

	snprintf(line, sizeof(line), "steps %lu\n", atomic_load(&steps));
	note(line);
}

static void *next(const char *symbol)
{
	void *p = dlsym(RTLD_NEXT, symbol);

	if (!p)
		abort();
	return p;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int (*real)(int, const char *, int, const char *) = next("renameat");
	int r;

	if (step("before", "renameat"))
		return -1;
	r = real(from_dir, from, to_dir, to);
	(void)step("after", "renameat");
	return r;
}

int unlinkat(int dir, const char *name, int flags)
{
	int (*real)(int, const char *, int) = next("unlinkat");
	int r;

	if (step("before", "unlinkat"))
		return -1;
	r = real(dir, name, flags);
	(void)step("after", "unlinkat");
	return r;
}

int mkdirat(int dir, const char *name, mode_t mode)
{
	int (*real)(int, const char *, mode_t) = next("mkdirat");
	int r;

	if (step("before", "mkdirat"))
		return -1;
	r = real(dir, name, mode);
	(void)step("after", "mkdirat");
	return r;
}

int fsync(int fd)
{
	int (*real)(int) = next("fsync");
	int r;

	if (step("before", "fsync"))
		return -1;
	r = real(fd);
	(void)step("after", "fsync");
	return r;
}

int fdatasync(int fd)
{
	int (*real)(int) = next("fdatasync");
	int r;

	if (step("before", "fdatasync"))
		return -1;
	r = real(fd);
	(void)step("after", "fdatasync");
	return r;
}

int openat(int dir, const char *name, int flags, ...)
{
	int (*real)(int, const char *, int, ...) = next("openat");
	bool makes = flags & O_CREAT;
	mode_t mode = 0;
	va_list ap;
	int fd;

	va_start(ap, flags);
	if (makes)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (makes && step("before", "openat"))
		return -1;
	fd = real(dir, name, flags, mode);
	if (makes)
		(void)step("after", "openat");
	return fd;
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
				   struct MHD_Response *response)
{
	enum MHD_Result (*real)(struct MHD_Connection *, unsigned, struct MHD_Response *);
	enum MHD_Result result;

	real = next("MHD_queue_response");
	(void)step("before", "reply");
	result = real(connection, status, response);
	(void)step("after", "reply");
	return result;
}

/* The start is over when the URL is printed; requests may come before this has returned. */
int fflush(FILE *file)
{
	int (*real)(FILE *) = next("fflush");

	if (file == stdout)
		atomic_store(&listening, true);
	return real(file);
}
