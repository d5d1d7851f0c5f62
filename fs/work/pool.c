#include "fs/work/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define POOL_THREADS_MAX 8
#define POOL_STACK (2UL << 20) /* bytes; jobs keep their read buffer on the stack */

struct list {
	struct hash_job *head, *tail;
	unsigned length;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work; /* something became ready, or stop */
	pthread_cond_t idle; /* a job that is being removed has stopped running */
	struct list ready;   /* lock, as all that follows */
	struct list later;   /* pool_queue_later() */
	unsigned room;	     /* jobs that crews at work can still take */
	bool stop;
	unsigned threads; /* started; written before and after they run only */
	pthread_t thread[POOL_THREADS_MAX];
};

/* Under the lock, as all functions of lists. */
static void append(struct list *l, struct hash_job *job)
{
	job->next = NULL;
	if (l->tail)
		l->tail->next = job;
	else
		l->head = job;
	l->tail = job;
	l->length++;
}

static struct hash_job *first(struct list *l)
{
	struct hash_job *job = l->head;

	if (!job)
		return NULL;
	l->head = job->next;
	if (!l->head)
		l->tail = NULL;
	l->length--;
	job->next = NULL;
	job->queued = POOL_NO;
	return job;
}

static void unlink_job(struct list *l, struct hash_job *job)
{
	struct hash_job **at, *prev = NULL;

	for (at = &l->head; *at; prev = *at, at = &(*at)->next) {
		if (*at != job)
			continue;
		*at = job->next;
		if (l->tail == job)
			l->tail = prev;
		job->next = NULL;
		job->queued = POOL_NO;
		l->length--;
		return;
	}
}

static struct list *list_of(struct pool *h, const struct hash_job *job)
{
	return job->queued == POOL_LATER ? &h->later : &h->ready;
}

static void push(struct pool *h, struct hash_job *job, int when)
{
	struct hash_job *other;

	job->queued = when;
	append(list_of(h, job), job);
	if (when == POOL_LATER && h->later.length < (job->width + 1) / 2)
		return;
	while ((other = first(&h->later)) != NULL) {
		other->queued = POOL_NOW;
		append(&h->ready, other);
	}
	/* A crew looks into the queue every moment: a second one takes more time in all. */
	if (h->ready.length > h->room || !job->crew)
		pthread_cond_signal(&h->work);
}

/* The next job, which runs from now on, or NULL. */
static struct hash_job *pop(struct pool *h)
{
	struct hash_job *job = first(&h->ready);

	if (job) {
		job->running = true;
		job->again = POOL_NO;
	}
	return job;
}

/* Under the lock, which is released for ended(). */
static void end_run(struct pool *h, struct hash_job *job, bool more)
{
	job->running = false;
	/* The remover frees the job as soon as it sees it idle. */
	if (job->removing) {
		pthread_cond_broadcast(&h->idle);
	} else if (more || job->again) {
		push(h, job, more ? POOL_NOW : job->again);
	} else if (job->ended) {
		pthread_mutex_unlock(&h->lock);
		job->ended(job);
		pthread_mutex_lock(&h->lock);
	}
}

struct hash_job *pool_take(struct pool *h)
{
	struct hash_job *job = NULL;

	pthread_mutex_lock(&h->lock);
	if (h->ready.head && h->ready.head->crew && !h->stop) {
		job = pop(h);
		h->room--;
	}
	pthread_mutex_unlock(&h->lock);
	return job;
}

void pool_give(struct pool *h, struct hash_job *job, bool more)
{
	pthread_mutex_lock(&h->lock);
	h->room++;
	end_run(h, job, more);
	pthread_mutex_unlock(&h->lock);
}

bool pool_unwanted(struct pool *h, const struct hash_job *job)
{
	bool ret;

	pthread_mutex_lock(&h->lock);
	ret = job->removing || h->stop;
	pthread_mutex_unlock(&h->lock);
	return ret;
}

/* Under the lock, which is released meanwhile. */
static void run_crew(struct pool *h, struct hash_job *job)
{
	unsigned width = job->width;

	h->room += width - 1;
	pthread_mutex_unlock(&h->lock);
	job->crew(h, job);
	pthread_mutex_lock(&h->lock);
	h->room -= width;
}

static void *worker(void *arg)
{
	struct pool *h = arg;
	struct hash_job *job;
	bool more;

	pthread_mutex_lock(&h->lock);
	for (;;) {
		while (!h->ready.head && !h->stop)
			pthread_cond_wait(&h->work, &h->lock);
		if (h->stop)
			break;
		job = pop(h);
		if (job->crew) {
			run_crew(h, job);
			continue;
		}
		pthread_mutex_unlock(&h->lock);
		more = job->run(job);
		pthread_mutex_lock(&h->lock);
		end_run(h, job, more);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

static int start_threads(struct pool *h, unsigned threads)
{
	pthread_attr_t attr;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	rc = pthread_attr_setstacksize(&attr, POOL_STACK);
	while (!rc && h->threads < threads) {
		rc = pthread_create(&h->thread[h->threads], &attr, worker, h);
		if (!rc)
			h->threads++;
	}
	pthread_attr_destroy(&attr);
	return -rc;
}

int pool_new(unsigned threads, struct pool **ret)
{
	struct pool *h;
	int rc;

	if (threads < 1 || threads > POOL_THREADS_MAX)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->work, NULL);
	pthread_cond_init(&h->idle, NULL);
	rc = start_threads(h, threads);
	if (rc) {
		pool_free(h);
		return rc;
	}
	*ret = h;
	return 0;
}

void pool_free(struct pool *h)
{
	unsigned i;

	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_broadcast(&h->work);
	pthread_mutex_unlock(&h->lock);
	for (i = 0; i < h->threads; i++)
		pthread_join(h->thread[i], NULL);
	pthread_cond_destroy(&h->idle);
	pthread_cond_destroy(&h->work);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static void queue(struct pool *h, struct hash_job *job, int when)
{
	pthread_mutex_lock(&h->lock);
	if (job->removing) {
		;
	} else if (job->running) {
		job->again = when > (int)job->again ? when : (int)job->again;
	} else if ((int)job->queued < when) {
		if (job->queued)
			unlink_job(list_of(h, job), job);
		push(h, job, when);
	}
	pthread_mutex_unlock(&h->lock);
}

void pool_queue(struct pool *h, struct hash_job *job)
{
	queue(h, job, POOL_NOW);
}

void pool_queue_later(struct pool *h, struct hash_job *job)
{
	queue(h, job, POOL_LATER);
}

void pool_remove(struct pool *h, struct hash_job *job)
{
	pthread_mutex_lock(&h->lock);
	job->removing = true;
	if (job->queued)
		unlink_job(list_of(h, job), job);
	while (job->running)
		pthread_cond_wait(&h->idle, &h->lock);
	job->removing = false;
	pthread_mutex_unlock(&h->lock);
}

unsigned pool_length(struct pool *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = h->ready.length + h->later.length;
	pthread_mutex_unlock(&h->lock);
	return n;
}
