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
	/* under lock */
	unsigned users; /* the queue or a thread, and scout_post(); the last one frees */
	bool noted;	/* the first step is over, or is never taken */
	bool late;	/* nobody waits any more: what it notes is no longer true */
};

struct scout {
	struct scout_config cfg;
	pthread_mutex_t lock;
	pthread_cond_t more, noted;
	/* under lock */
	struct job *queue[SCOUT_QUEUE];
	unsigned waiting; /* threads in scout_post() */
	unsigned queued;
	unsigned threads, idle;
	uint64_t started_ms; /* when the youngest look that still runs began */
	unsigned users;	     /* the threads, the owner, scout_post(); the last one frees */
	bool ended;
};

/* Gives the lock back, and frees what nobody uses any more. */
static void leave(struct scout *s)
{
	bool last = --s->users == 0;

	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_cond_destroy(&s->noted);
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void put(struct job *job)
{
	if (!--job->users)
		free(job);
}

/* Under the lock: the job is over, and its look goes. */
static void drop(struct scout *s, struct job *job)
{
	s->cfg.free(job->look);
	job->noted = true;
	pthread_cond_broadcast(&s->noted);
	put(job);
}

/* Under the lock, which is given back meanwhile. False: nothing was noted, or too late. */
static bool note(struct scout *s, struct job *job)
{
	int r;

	pthread_mutex_unlock(&s->lock);
	r = s->cfg.note(job->look);
	pthread_mutex_lock(&s->lock);
	job->noted = true;
	pthread_cond_broadcast(&s->noted);
	return !r && !job->late && !s->ended;
}

/* Under the lock, which is given back for each step of the look. */
static void do_one(struct scout *s)
{
	struct job *job = s->queue[0];
	uint64_t result = 0;
	int r;

	memmove(s->queue, s->queue + 1, --s->queued * sizeof(*s->queue));
	s->started_ms = clock_mono_ms();
	if (note(s, job)) {
		pthread_mutex_unlock(&s->lock);
		r = s->cfg.look(job->look, &result);
		pthread_mutex_lock(&s->lock);
		/* Under the lock: scout_free() waits for it, and there is none afterwards. */
		if (!r && !s->ended)
			s->cfg.found(s->cfg.arg, job->id, job->ticket, result);
	}
	drop(s, job);
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
	clock_cond_init(&s->noted);
	*ret = s;
	return 0;
}

/* Under the lock: the job, queued; NULL: there is no room, or no thread for it. */
static struct job *queue(struct scout *s, struct predict_look *l, uint64_t id, uint64_t ticket)
{
	struct job *job;

	if (s->threads < SCOUT_THREADS && (!s->threads || all_hang(s)))
		start_thread(s);
	else if (s->threads && all_hang(s))
		return NULL;
	if (s->ended || !s->threads || s->queued == SCOUT_QUEUE || s->waiting == SCOUT_WAITING)
		return NULL;
	job = malloc(sizeof(*job));
	if (!job)
		return NULL;
	*job = (struct job){ .look = l, .id = id, .ticket = ticket, .users = 2 };
	s->queue[s->queued++] = job;
	pthread_cond_signal(&s->more);
	return job;
}

/* Under the lock: take the job out of the queue. False: a thread has it. */
static bool unqueue(struct scout *s, const struct job *job)
{
	for (unsigned i = 0; i < s->queued; i++) {
		if (s->queue[i] != job)
			continue;
		memmove(s->queue + i, s->queue + i + 1, (--s->queued - i) * sizeof(*s->queue));
		return true;
	}
	return false;
}

/* Under the lock: wait until the first step of the job is over, but not for ever. */
static void await_note(struct scout *s, struct job *job)
{
	uint64_t until = clock_mono_ms() + SCOUT_NOTE_MS;

	s->users++;
	s->waiting++;
	while (!job->noted && clock_mono_ms() < until)
		clock_cond_wait(&s->noted, &s->lock, until);
	s->waiting--;
	job->late = !job->noted;
	if (job->late && unqueue(s, job)) {
		s->cfg.free(job->look);
		job->users--;
	}
	put(job);
	leave(s);
}

void scout_post(struct scout *s, struct predict_look *l, uint64_t id, uint64_t ticket)
{
	struct job *job;

	pthread_mutex_lock(&s->lock);
	job = queue(s, l, id, ticket);
	if (job) {
		await_note(s, job);
		return;
	}
	pthread_mutex_unlock(&s->lock);
	s->cfg.free(l);
}

void scout_free(struct scout *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	while (s->queued)
		drop(s, s->queue[--s->queued]);
	pthread_cond_broadcast(&s->more);
	leave(s);
}
