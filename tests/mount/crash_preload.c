/*
 * crash_preload: an LD_PRELOAD library that ends the daemon with SIGKILL at the
 * n-th step that the outside or the next mount can see.
 *
 * UPLOADFS_CRASH_AT     n, counted from 1; unset or 0: count only
 * UPLOADFS_CRASH_KIND   before (default) or after
 * UPLOADFS_CRASH_NOTES  a file; see below
 *
 * before: just before a file of the staging area gets its name by renameat() or
 * loses it by unlinkat(), before a record is overwritten in place (which is what
 * pwritev2() is for), and just before a request is handed to curl.
 * after: just after the renameat(), unlinkat() or pwritev2(), and when a
 * request's reply is there but the daemon has not looked at it.
 *
 * Into the notes goes a line for each Upload that a record on disk names
 * ("upload ID"), so that a test knows which ones could be known to the next
 * mount, and one for the step it ended with ("step 17: before add_handle").
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <curl/curl.h>

#undef curl_multi_add_handle
#undef curl_multi_info_read

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

static void step(const char *kind, const char *what, const char *name)
{
	const char *at = getenv("UPLOADFS_CRASH_AT"), *wanted = getenv("UPLOADFS_CRASH_KIND");
	unsigned long target = at ? strtoul(at, NULL, 10) : 0;
	char line[256];

	if (strcmp(kind, wanted ? wanted : "before") != 0 ||
	    atomic_fetch_add(&steps, 1) + 1 != target)
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
	return ends_with(name, ".rec") || ends_with(name, ".data");
}

static void note_upload_in(char *text)
{
	static const char key[] = "\nupload_id ";
	char line[256];
	char *id = strstr(text, key);

	if (!id)
		return;
	id += sizeof(key) - 1;
	id[strcspn(id, "\n")] = '\0';
	snprintf(line, sizeof(line), "upload %.200s\n", id);
	note(line);
}

static void note_upload(int dirfd, const char *record)
{
	char text[65536];
	int fd = openat(dirfd, record, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return;
	text[n] = '\0';
	note_upload_in(text);
}

/* A slot of a record, written through fd. */
ssize_t pwritev2(int fd, const struct iovec *v, int count, off_t offset, int flags)
{
	ssize_t (*real)(int, const struct iovec *, int, off_t, int) =
		(ssize_t(*)(int, const struct iovec *, int, off_t, int))next("pwritev2");
	char link[64], name[4096], text[65536];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	if (!is_staged(name) || count != 1 || v->iov_len >= sizeof(text))
		return real(fd, v, count, offset, flags);
	step("before", "pwritev2", "");
	n = real(fd, v, count, offset, flags);
	memcpy(text, v->iov_base, v->iov_len);
	text[v->iov_len] = '\0';
	if (n == (ssize_t)v->iov_len)
		note_upload_in(text);
	step("after", "pwritev2", "");
	return n;
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
	if (!r && ends_with(to, ".rec"))
		note_upload(to_fd, to);
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
