/*
 * torture SCENE KIND once|all [--points MAX | --at N]: runs the scene with call 1, 2, 3, … of that
 * kind failing (all: and those after it) until a run has fewer calls; with --points MAX at so many
 * points, evenly spread; with --at N at that one, with the stack of the call. Without arguments:
 * the scenes and their kinds.
 */
#include "tests/torture/torture.h"

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/base/log.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

#define DEADLINE_S 90 /* for one run */

static char where[128];

_Noreturn void torture_fail(const char *file, int line, const char *what)
{
	inject_disarm();
	fprintf(stderr, "%s:%d: does not hold: %s\n%s\n", file, line, what, where);
	_exit(1);
}

static bool over;

/* A fixture that fails ends the program, too. */
static void on_death(void)
{
	if (!over)
		fprintf(stderr, "%s\n", where);
}

static void on_alarm(int sig)
{
	static const char text[] = "does not end: ";

	(void)sig;
	if (write(2, text, sizeof(text) - 1) > 0 && write(2, where, strlen(where)) > 0 &&
	    write(2, "\n", 1) > 0)
		abort();
	_exit(1);
}

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void torture_dir(char *ret, unsigned size)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(ret, size, "%s/torture.XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(ret));
}

void torture_remove(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void torture_wait(bool (*cond)(void *arg), void *arg)
{
	struct timespec pause = { 0, 500000 };

	/* The alarm is the deadline. */
	while (!cond(arg))
		nanosleep(&pause, NULL);
}

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	must(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool threads_ended(void *arg)
{
	return entries("/proc/self/task") <= *(unsigned *)arg;
}

/* One run; true if it came to call n. */
static bool run(const struct scene *s, enum inject_kind kind, unsigned n, bool all)
{
	unsigned fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");

	snprintf(where, sizeof(where), "at: torture %s %s %s --at %u", s->name, inject_names[kind],
		 all ? "all" : "once", n);
	over = false;
	alarm(DEADLINE_S);
	inject_set(kind, n, all);
	s->run();
	inject_disarm();
	torture_wait(threads_ended, &threads);
	must(entries("/proc/self/fd") == fds);
#ifdef __SANITIZE_ADDRESS__
	if (__lsan_do_recoverable_leak_check())
		torture_fail(__FILE__, __LINE__, "no leak");
#endif
	alarm(0);
	over = true;
	return inject_count() >= n;
}

static int list(void)
{
	for (const struct scene *s = torture_scenes; s->name; s++)
		for (int k = 0; k < INJECT_KINDS; k++)
			if (s->kinds ? s->kinds & 1U << k : k != INJECT_THREAD)
				printf("%s %s\n", s->name, inject_names[k]);
	return 0;
}

static const struct scene *find(const char *name)
{
	const struct scene *s = torture_scenes;

	while (s->name && strcmp(s->name, name) != 0)
		s++;
	return s->name ? s : NULL;
}

static int find_kind(const char *name)
{
	for (int k = 0; k < INJECT_KINDS; k++)
		if (!strcmp(inject_names[k], name))
			return k;
	return -1;
}

static void torture(const struct scene *s, enum inject_kind kind, bool all, unsigned max)
{
	unsigned n = 1, step = 1, points = 0;

	/* Twice: what is made once for the process is no leak and no call. */
	run(s, kind, UINT_MAX, false);
	run(s, kind, UINT_MAX, false);
	if (max)
		step = (inject_count() + max - 1) / max;
	for (step = step ? step : 1; run(s, kind, n, all); n += step)
		points++;
	printf("%s %s %s: %u points\n", s->name, inject_names[kind], all ? "all" : "once", points);
}

int main(int argc, char **argv)
{
	const struct scene *s = argc > 3 ? find(argv[1]) : NULL;
	int kind = argc > 3 ? find_kind(argv[2]) : -1;
	bool all = argc > 3 && !strcmp(argv[3], "all");

	if (argc == 1)
		return list();
	if (!s || kind < 0 || (argc != 4 && argc != 6)) {
		fputs("torture SCENE KIND once|all [--points MAX | --at N]\n", stderr);
		return 2;
	}
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_set_death_callback(on_death);
#endif
	atexit(on_death);
	inject_init();
	log_set_level(LOG_LVL_ERROR);
	if (argc == 4 || !strcmp(argv[4], "--points")) {
		torture(s, (enum inject_kind)kind, all,
			argc == 6 ? (unsigned)strtoul(argv[5], NULL, 10) : 0);
		return 0;
	}
	run(s, (enum inject_kind)kind, UINT_MAX, false);
	inject_trace();
	run(s, (enum inject_kind)kind, (unsigned)strtoul(argv[5], NULL, 10), all);
	return 0;
}
