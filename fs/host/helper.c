#include "fs/host/helper.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "";
}

enum helper_kind helper_kind(const char *argv0)
{
	const char *name = base_name(argv0);

	if (!strncmp(name, "mount.", 6))
		return HELPER_MOUNT;
	return strncmp(name, "umount.", 7) ? HELPER_NONE : HELPER_UMOUNT;
}

static int complain(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int complain(int status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	fprintf(stderr, "uploadfs: %s\n", text);
	return status;
}

/* ns: a process, or a file that stands for the namespace. */
static int enter_namespace(const char *ns)
{
	char path[PATH_MAX];
	int fd, r;

	if (ns[strspn(ns, "0123456789")])
		snprintf(path, sizeof(path), "%s", ns);
	else
		snprintf(path, sizeof(path), "/proc/%s/ns/mnt", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 || setns(fd, CLONE_NEWNS) ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (r)
		return complain(HELPER_SYSTEM,
				"mount namespace %s: %s; name a process or a file "
				"of /proc/PID/ns, as root",
				ns, strerror(r));
	return 0;
}

static int usage(enum helper_kind kind)
{
	return complain(HELPER_USAGE,
			kind == HELPER_MOUNT
				? "this is mount's helper: SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] "
				  "[-o OPTIONS] [-t TYPE]; use mount -t uploadfs"
				: "this is umount's helper: DIRECTORY [-nlfv] [-N NAMESPACE] "
				  "[-t TYPE]; use umount");
}

/* The words that getopt() leaves: SOURCE and DIRECTORY, or DIRECTORY. */
static int take_words(enum helper_kind kind, char **words, int count, const char *options,
		      struct helper_call *call)
{
	static char program[] = "uploadfs", o[] = "-o", end[] = "--";
	int n = 0;

	if (count != (kind == HELPER_MOUNT ? 2 : 1))
		return usage(kind);
	call->dir = words[count - 1];
	call->argv[n++] = program;
	if (options) {
		call->argv[n++] = o;
		call->argv[n++] = (char *)options;
	}
	call->argv[n++] = end;
	for (int i = 0; i < count; i++)
		call->argv[n++] = words[i];
	call->argc = n;
	return 0;
}

/* Adds the words of one more -o. 0 or -ENOMEM. */
static int join(char **options, const char *more)
{
	char *old = *options;

	if (asprintf(options, "%s%s%s", old ? old : "", old ? "," : "", more) < 0) {
		*options = old;
		return -ENOMEM;
	}
	free(old);
	return 0;
}

int helper_take(enum helper_kind kind, int argc, char **argv, struct helper_call *ret)
{
	struct helper_call call = { .argc = 0 };
	static char *joined; /* call->argv points to it */
	const char *ns = NULL;
	int c, r;

	free(joined);
	joined = NULL;

	optind = 0; /* GNU: forgets an earlier command line */
	opterr = 0;
	while ((c = getopt(argc, argv, kind == HELPER_MOUNT ? "sfnvN:o:t:" : "nlfvrN:t:")) != -1) {
		if (c == 'o' && join(&joined, optarg))
			return complain(HELPER_SYSTEM, "out of memory");
		if (c == 'N')
			ns = optarg;
		else if (c == 's')
			call.sloppy = true;
		else if (c == 'f')
			call.fake = call.force = true;
		else if (c == 'l')
			call.lazy = true;
		else if (c == '?')
			return usage(kind);
		/* -n, -v, -t: there is no mtab, mount(8) tells what it does, one type is ours. */
	}
	r = take_words(kind, argv + optind, argc - optind, joined, &call);
	if (!r && ns)
		r = enter_namespace(ns);
	if (!r)
		*ret = call;
	return r;
}
