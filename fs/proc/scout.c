#include "fs/proc/scout.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"

#define STACK_SIZE (256 << 10)

struct job {
	struct predict_look *look;
	uint64_t id, ticket;
};

struct scout {
	struct scout_config cfg;
	pthread_mutex_t lock;
	pthread_cond_t more;
	/* under lock */
	struct job queue[SCOUT_QUEUE];
	unsigned queued;
	unsigned threads, idle;
	uint64_t started_ms; /* when the youngest look that still runs began */
	unsigned users;	     /* the threads, and the owner; the last one frees */
	bool ended;
};

/* Gives the lock back, and frees what nobody uses any more. */
static void leave(struct scout *s)
{
	bool last = --s->users == 0;

	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Under the lock, which is given back for the look itself. */
static void do_one(struct scout *s)
{
	struct job job = s->queue[0];
	uint64_t result = 0;
	int r;

	memmove(s->queue, s->queue + 1, --s->queued * sizeof(job));
	s->started_ms = clock_mono_ms();
	pthread_mutex_unlock(&s->lock);
	r = s->cfg.look(job.look, &result);
	s->cfg.free(job.look);
	pthread_mutex_lock(&s->lock);
	/* Under the lock: scout_free() waits for it, and there is none afterwards. */
	if (!r && !s->ended)
		s->cfg.found(s->cfg.arg, job.id, job.ticket, result);
}

static void *scout_main(void *arg)
{
	struct scout *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->ended) {
		if (s->queued) {
			do_one(s);
			continue;
		}
		s->idle++;
		pthread_cond_wait(&s->more, &s->lock);
		s->idle--;
	}
	s->threads--;
	leave(s);
	return NULL;
}

/* Under the lock: another thread. Without one the looks wait for those there are. */
static void start_thread(struct scout *s)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (pthread_attr_init(&attr))
		return;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!pthread_create(&thread, &attr, scout_main, s)) {
		s->threads++;
		s->users++;
	}
	pthread_attr_destroy(&attr);
}

/* Under the lock: does each thread look at something, and for too long? */
static bool all_hang(const struct scout *s)
{
	return !s->idle && clock_mono_ms() - s->started_ms >= SCOUT_PATIENCE_MS;
}

int scout_new(const struct scout_config *cfg, struct scout **ret)
{
	struct scout *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->users = 1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	*ret = s;
	return 0;
}

void scout_post(struct scout *s, struct predict_look *l, uint64_t id, uint64_t ticket)
{
	bool taken = false;

	pthread_mutex_lock(&s->lock);
	if (s->threads < SCOUT_THREADS && (!s->threads || all_hang(s)))
		start_thread(s);
	else if (s->threads && all_hang(s))
		goto out;
	if (s->threads && s->queued < SCOUT_QUEUE) {
		s->queue[s->queued++] = (struct job){ l, id, ticket };
		pthread_cond_signal(&s->more);
		taken = true;
	}
out:
	pthread_mutex_unlock(&s->lock);
	if (!taken)
		s->cfg.free(l);
}

void scout_free(struct scout *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	while (s->queued)
		s->cfg.free(s->queue[--s->queued].look);
	pthread_cond_broadcast(&s->more);
	leave(s);
}
