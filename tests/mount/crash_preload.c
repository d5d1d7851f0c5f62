/*
 * crash_preload: an LD_PRELOAD library that ends the daemon with SIGKILL at the
 * n-th step that the outside or the next mount can see.
 *
 * UPLOADFS_CRASH_AT     n, counted from 1; unset or 0: count only
 * UPLOADFS_CRASH_KIND   before (default), after, or each: every point once, see below
 * UPLOADFS_CRASH_ARM    a file; steps count only once it exists
 * UPLOADFS_CRASH_NOTES  a file; see below
 * UPLOADFS_CRASH_SYNC   a file; while it exists, syncing the WAL of the store fails with EIO
 * UPLOADFS_CRASH_DATA   a file; if it exists, the next sync of a data file fails with EIO, and
 *                       removes it
 *
 * Apart from crashes, for a state directory that lies elsewhere:
 * UPLOADFS_PLACE        HEX PATH: statfs() of PATH, and below it, tells a type of that number
 * UPLOADFS_PLACE_FLOCK  flock() fails with that errno
 *
 * before: just before a commit of the store counts, before a file of the staging
 * area gets another name by renameat() or loses it by unlinkat(), and just before
 * a request is handed to curl.
 * after: just after the commit, renameat() or unlinkat(), and when a request's
 * reply is there but the daemon has not looked at it.
 * each: what "after" counts, and before a request. A point before a commit or unlinkat() leaves
 * the same on disk as the point that came last.
 *
 * Into the notes goes a line for each Upload that a row of the store names
 * ("upload ID"), so that a test knows which ones could be known to the next
 * mount, one for each commit ("commit store"), one when a sync of the WAL begins ("syncing wal"),
 * one after each sync, and one for the step it ended with ("step 17: before add_handle").
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <curl/curl.h>

#undef curl_multi_add_handle
#undef curl_multi_info_read

#define HEADER 24
#define PAGE 4096
#define ID_DIGITS 32 /* of an Upload of uploads-server */

static atomic_ulong steps;

static void note(const char *text)
{
	const char *path = getenv("UPLOADFS_CRASH_NOTES");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static bool counts(const char *kind, const char *what)
{
	const char *wanted = getenv("UPLOADFS_CRASH_KIND"), *arm = getenv("UPLOADFS_CRASH_ARM");

	if (arm && access(arm, F_OK) != 0)
		return false;
	if (wanted && !strcmp(wanted, "each"))
		return !strcmp(kind, "after") || !strcmp(what, "add_handle");
	return !strcmp(kind, wanted ? wanted : "before");
}

static void step(const char *kind, const char *what, const char *name)
{
	const char *at = getenv("UPLOADFS_CRASH_AT");
	unsigned long target = at ? strtoul(at, NULL, 10) : 0;
	char line[256];

	if (!counts(kind, what) || atomic_fetch_add(&steps, 1) + 1 != target)
		return;
	snprintf(line, sizeof(line), "step %lu: %s %s %.180s\n", target, kind, what, name);
	note(line);
	kill(getpid(), SIGKILL);
	for (;;)
		pause(); /* the signal is on its way to this thread */
}

static void *next(const char *symbol)
{
	void *p = dlsym(RTLD_NEXT, symbol);

	if (!p)
		abort();
	return p;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static bool is_staged(const char *name)
{
	return ends_with(name, ".data");
}

/* Lines for a commit that does not count yet. Writes come one at a time, under the store's lock. */
static char pending[65536];
static size_t pending_len;

/* Each Upload id in a page of the store: "upload_" and ID_DIGITS hexadecimal digits. */
static void find_uploads_in(const char *page, size_t len)
{
	static const char key[] = "upload_", digits[] = "0123456789abcdef";
	const char *at = page, *end = page + len;
	char line[64];

	while ((at = memmem(at, (size_t)(end - at), key, sizeof(key) - 1)) != NULL) {
		size_t n = 0;

		at += sizeof(key) - 1;
		while (n < ID_DIGITS && at + n < end && memchr(digits, at[n], 16))
			n++;
		if (n < ID_DIGITS)
			continue;
		snprintf(line, sizeof(line), "upload upload_%.*s\n", ID_DIGITS, at);
		if (pending_len + strlen(line) >= sizeof(pending))
			abort();
		memcpy(pending + pending_len, line, strlen(line) + 1);
		pending_len += strlen(line);
	}
}

static bool is_wal(int fd)
{
	char link[64], name[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	return ends_with(name, "/state.db-wal");
}

/*
 * SQLite writes a commit to its WAL as pages, each behind a header of 24 bytes. The last header
 * has the size of the database in its second word; with the page behind it the commit counts.
 */
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) =
		(ssize_t(*)(int, const void *, size_t, off64_t))next("pwrite64");
	static bool last;
	bool page = len == PAGE && is_wal(fd);
	ssize_t n;

	if (len == HEADER && is_wal(fd))
		last = memcmp((const char *)data + 4, "\0\0\0\0", 4) != 0;
	if (page)
		find_uploads_in(data, len);
	if (page && last)
		step("before", "commit", "");
	n = real(fd, data, len, offset);
	if (!page || !last)
		return n;
	if (pending_len && n == PAGE)
		note(pending);
	note("commit store\n");
	pending_len = 0;
	last = false;
	step("after", "commit", "");
	return n;
}

/* A line "sync data" or "sync wal" when it is done. */
int fdatasync(int fd)
{
	int (*real)(int) = (int (*)(int))next("fdatasync");
	char link[64], name[4096];
	const char *broken = getenv("UPLOADFS_CRASH_SYNC");
	const char *once = getenv("UPLOADFS_CRASH_DATA");
	ssize_t n;
	int r;

	if (broken && is_wal(fd) && access(broken, F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	if (once && !is_wal(fd) && unlink(once) == 0) {
		errno = EIO;
		return -1;
	}
	if (is_wal(fd))
		note("syncing wal\n");
	r = real(fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	if (!r && is_staged(name))
		note("sync data\n");
	else if (!r && ends_with(name, "/state.db-wal"))
		note("sync wal\n");
	return r;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	int (*real)(int, const char *, int, const char *) =
		(int (*)(int, const char *, int, const char *))next("renameat");
	bool ours = is_staged(to) || is_staged(from);
	int r;

	if (ours)
		step("before", "renameat", to);
	r = real(from_fd, from, to_fd, to);
	if (ours)
		step("after", "renameat", to);
	return r;
}

int unlinkat(int dirfd, const char *name, int flags)
{
	int (*real)(int, const char *, int) = (int (*)(int, const char *, int))next("unlinkat");
	int r;

	if (is_staged(name))
		step("before", "unlinkat", name);
	r = real(dirfd, name, flags);
	if (is_staged(name))
		step("after", "unlinkat", name);
	return r;
}

int statfs(const char *path, struct statfs *ret)
{
	int (*real)(const char *, struct statfs *) =
		(int (*)(const char *, struct statfs *))next("statfs64");
	const char *place = getenv("UPLOADFS_PLACE");
	char *below;
	long type = place ? strtol(place, &below, 16) : 0;
	int r = real(path, ret);

	if (place && *below++ == ' ' && !strncmp(path, below, strlen(below)))
		ret->f_type = (__fsword_t)type;
	return r;
}

int flock(int fd, int how)
{
	int (*real)(int, int) = (int (*)(int, int))next("flock");
	const char *broken = getenv("UPLOADFS_PLACE_FLOCK");

	if (!broken)
		return real(fd, how);
	errno = (int)strtol(broken, NULL, 10);
	return -1;
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy)
{
	CURLMcode (*real)(CURLM *, CURL *) =
		(CURLMcode(*)(CURLM *, CURL *))next("curl_multi_add_handle");

	step("before", "add_handle", "");
	return real(multi, easy);
}

CURLMsg *curl_multi_info_read(CURLM *multi, int *left)
{
	CURLMsg *(*real)(CURLM *, int *) =
		(CURLMsg * (*)(CURLM *, int *)) next("curl_multi_info_read");
	CURLMsg *msg = real(multi, left);

	if (msg && msg->msg == CURLMSG_DONE)
		step("after", "reply", "");
	return msg;
}
