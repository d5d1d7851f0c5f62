#include "fs/host/deadline.h"

#include <pthread.h>
#include <stdbool.h>

#include "net/base/clock.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, ended;
	uint64_t at_ms;
	void (*over)(void *arg);
	void *arg;
} deadline = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *wait_for_it(void *unused)
{
	bool ended;

	(void)unused;
	pthread_mutex_lock(&deadline.lock);
	while (!deadline.ended && clock_mono_ms() < deadline.at_ms)
		clock_cond_wait(&deadline.wake, &deadline.lock, deadline.at_ms);
	ended = deadline.ended;
	pthread_mutex_unlock(&deadline.lock);
	if (!ended)
		deadline.over(deadline.arg);
	return NULL;
}

int deadline_start(uint64_t ms, void (*over)(void *arg), void *arg)
{
	int r = 0;

	pthread_mutex_lock(&deadline.lock);
	if (!deadline.running) {
		clock_cond_init(&deadline.wake);
		deadline.ended = false;
		deadline.at_ms = clock_mono_ms() + ms;
		deadline.over = over;
		deadline.arg = arg;
		r = -pthread_create(&deadline.thread, NULL, wait_for_it, NULL);
		deadline.running = !r;
	}
	pthread_mutex_unlock(&deadline.lock);
	return r;
}

void deadline_end(void)
{
	bool running;

	pthread_mutex_lock(&deadline.lock);
	running = deadline.running;
	deadline.ended = true;
	if (running)
		pthread_cond_signal(&deadline.wake);
	pthread_mutex_unlock(&deadline.lock);
	if (!running)
		return;
	pthread_join(deadline.thread, NULL);
	pthread_cond_destroy(&deadline.wake);
	pthread_mutex_lock(&deadline.lock);
	deadline.running = false;
	pthread_mutex_unlock(&deadline.lock);
}
