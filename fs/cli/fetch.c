/*
 * uploadfs fetch: brings the content of Files into the cache, several at a time, with progress.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/tree.h"
#include "net/base/clock.h"

#define PATHS_MAX 4096
#define AT_ONCE 4
#define AT_ONCE_MAX 64
#define BLOCK (1U << 20)
#define LOOK_MS 200

static const char help[] =
	"usage: uploadfs fetch [--parallel N] PATH...\n"
	"Reads Files of a mount, directories with all below them, so that their content\n"
	"is in the cache (cache_size) before a program needs it. Shows its progress on a\n"
	"terminal.\n"
	"  --parallel   Files at a time (4)\n"
	"Exit status: 0 all is read; 1 trouble; 2 wrong usage; 4 not on a mount.\n";

struct want {
	char *path;
	uint64_t bytes;
};

struct fetching {
	struct want *v;
	size_t count, room;
	uint64_t bytes; /* of all */
	atomic_size_t next, done, failed;
	atomic_ullong read;
	pthread_mutex_t lock; /* of messages */
};

static int note(void *arg, const char *path, uint64_t bytes)
{
	struct fetching *f = arg;
	char status[64];
	int r = cli_attribute(path, "status", status, sizeof(status));

	if (r)
		return cli_no_attribute(path, r);
	/* Anything else is on local disk. */
	if (strcmp(status, "completed"))
		return CLI_OK;
	if (f->count == f->room) {
		size_t room = f->room ? 2 * f->room : 64;
		struct want *grown = realloc(f->v, room * sizeof(*grown));

		if (!grown)
			return cli_no_attribute(path, -ENOMEM);
		f->v = grown;
		f->room = room;
	}
	f->v[f->count].path = strdup(path);
	if (!f->v[f->count].path)
		return cli_no_attribute(path, -ENOMEM);
	f->v[f->count++].bytes = bytes;
	f->bytes += bytes;
	return CLI_OK;
}

static int read_all(struct fetching *f, const char *path, char *block)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, block, BLOCK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			break;
		}
		atomic_fetch_add(&f->read, (unsigned long long)n);
	}
	close(fd);
	return r;
}

static void *fetch_main(void *arg)
{
	struct fetching *f = arg;
	char *block = malloc(BLOCK);
	size_t i;

	while ((i = atomic_fetch_add(&f->next, 1)) < f->count) {
		int r = block ? read_all(f, f->v[i].path, block) : -ENOMEM;

		if (r) {
			pthread_mutex_lock(&f->lock);
			cli_no_attribute(f->v[i].path, r);
			pthread_mutex_unlock(&f->lock);
			atomic_fetch_add(&f->failed, 1);
		}
		atomic_fetch_add(&f->done, 1);
	}
	free(block);
	return NULL;
}

static void show(struct fetching *f, uint64_t started_ms)
{
	uint64_t read = atomic_load(&f->read), ms = clock_mono_ms() - started_ms;

	pthread_mutex_lock(&f->lock);
	fprintf(stderr, "\r%zu/%zu files, %s of %s, %s/s\033[K", atomic_load(&f->done), f->count,
		cli_size(read), cli_size(f->bytes), cli_size(ms ? read * 1000 / ms : 0));
	pthread_mutex_unlock(&f->lock);
}

static int run(struct fetching *f, unsigned parallel)
{
	uint64_t started_ms = clock_mono_ms();
	bool terminal = isatty(STDERR_FILENO);
	pthread_t threads[AT_ONCE_MAX];
	unsigned n = 0;

	while (n < parallel && pthread_create(&threads[n], NULL, fetch_main, f) == 0)
		n++;
	if (!n)
		fetch_main(f);
	while (terminal && atomic_load(&f->done) < f->count) {
		show(f, started_ms);
		cli_sleep_ms(LOOK_MS);
	}
	while (n)
		pthread_join(threads[--n], NULL);
	if (terminal) {
		show(f, started_ms);
		fputc('\n', stderr);
	}
	printf("%zu files, %s\n", f->count - atomic_load(&f->failed),
	       cli_size(atomic_load(&f->read)));
	return atomic_load(&f->failed) ? CLI_FAILED : CLI_OK;
}

int cli_fetch(int argc, char **argv)
{
	unsigned parallel = AT_ONCE;
	const struct cli_option options[] = { { "--parallel", NULL, &parallel },
					      { NULL, NULL, NULL } };
	static const char *paths[PATHS_MAX];
	struct fetching f = { .lock = PTHREAD_MUTEX_INITIALIZER };
	int worst = CLI_OK, r;
	size_t n;

	r = cli_args(argc, argv, help, options, paths, PATHS_MAX, &n);
	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (!n || !parallel || parallel > AT_ONCE_MAX) {
		cli_error("%s; see uploadfs fetch --help",
			  n ? "--parallel takes 1 to 64" : "name a PATH");
		return CLI_USAGE;
	}
	for (size_t i = 0; i < n; i++) {
		r = cli_walk(paths[i], true, note, &f);
		worst = r > worst ? r : worst;
	}
	r = run(&f, parallel);
	while (f.count)
		free(f.v[--f.count].path);
	free(f.v);
	return r > worst ? r : worst;
}
