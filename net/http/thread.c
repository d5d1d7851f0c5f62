#include "net/http/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/base/clock.h"
#include "net/http/end.h"
#include "net/http/thread_impl.h"
#include "net/http/xfer.h"

static void run_tasks(struct http *h)
{
	struct http_tasks batch = STAILQ_HEAD_INITIALIZER(batch);
	struct http_task *task;

	pthread_mutex_lock(&h->lock);
	STAILQ_CONCAT(&batch, &h->tasks);
	pthread_mutex_unlock(&h->lock);
	while ((task = STAILQ_FIRST(&batch))) {
		/* Out of the list first: the task may be posted again, or gone, after fn. */
		STAILQ_REMOVE_HEAD(&batch, link);
		task->fn(task);
	}
}

static void flush(struct http *h)
{
	struct http_xfer *x, *next;

	for (x = TAILQ_FIRST(&h->xfers); x; x = next) {
		next = TAILQ_NEXT(x, link);
		if (x->gathered && http_xfer_flush(x))
			http_finish(x, CURLE_WRITE_ERROR);
	}
}

static void reap(struct http *h)
{
	struct http_xfer *x;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &x);
		http_finish(x, msg->data.result);
	}
}

/* Resumes the transfers whose turn it is. Returns the clock_mono_ms() of the next turn. */
static uint64_t take_turns(struct http *h, uint64_t now)
{
	struct http_xfer *x;
	uint64_t up, down;
	CURLcode code;

	while ((x = http_rate_next_up(&h->up_rate, now))) {
		code = http_xfer_resume_send(x);
		if (code)
			http_finish(x, code);
	}
	while ((x = http_rate_next_down(&h->down_rate, now))) {
		code = http_xfer_resume_receive(x);
		if (code)
			http_finish(x, code);
	}
	up = http_rate_due(&h->up_rate, now);
	down = http_rate_due(&h->down_rate, now);
	return up < down ? up : down;
}

static bool may_end(struct http *h)
{
	bool end;

	pthread_mutex_lock(&h->lock);
	end = h->stopping && STAILQ_EMPTY(&h->tasks) && TAILQ_EMPTY(&h->xfers);
	h->closed = end;
	pthread_mutex_unlock(&h->lock);
	return end;
}

static void *http_thread(void *arg)
{
	struct http *h = arg;
	uint64_t now, next, turn;
	int running;

	for (;;) {
		run_tasks(h);
		h->turn_no++;
		curl_multi_perform(h->multi, &running);
		reap(h);
		flush(h);
		now = clock_mono_ms();
		http_watch(h, now);
		next = h->cfg.tick(h->cfg.tick_arg);
		turn = take_turns(h, now);
		if (turn < next)
			next = turn;
		if (may_end(h))
			return NULL;
		if (!TAILQ_EMPTY(&h->xfers) && next > now + HTTP_WATCH_MS)
			next = now + HTTP_WATCH_MS;
		now = clock_mono_ms();
		next = next <= now ? 0 : next - now > 60000 ? 60000 : next - now;
		/* A post since then makes curl_multi_poll() return at once. */
		if (curl_multi_poll(h->multi, NULL, 0, (int)next, NULL))
			usleep(10000); /* out of memory or fds: do not spin */
	}
}

bool http_post(struct http *h, struct http_task *task)
{
	bool taken;

	pthread_mutex_lock(&h->lock);
	taken = !h->closed;
	if (taken) {
		STAILQ_INSERT_TAIL(&h->tasks, task, link);
		/* Under the lock: http_stop() may free the multi once it is closed. */
		curl_multi_wakeup(h->multi);
	}
	pthread_mutex_unlock(&h->lock);
	return taken;
}

void http_bytes(struct http *h, uint64_t *ret_sent, uint64_t *ret_received)
{
	*ret_sent = atomic_load(&h->sent);
	*ret_received = atomic_load(&h->received);
}

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/*
 * Starts with all signals blocked: signals are for the program's own threads, and EPIPE is enough.
 */
static int start_thread(struct http *h)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&h->thread, NULL, http_thread, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int http_new(const struct http_config *cfg, struct http **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http *h;
	int rc = -ENOMEM;

	pthread_once(&once, global_init);
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	STAILQ_INIT(&h->tasks);
	TAILQ_INIT(&h->xfers);
	h->cfg = *cfg;
	h->cfg.network = NULL; /* the caller's */
	h->stopped = true;
	h->user_agent = cfg->user_agent ? strdup(cfg->user_agent) : NULL;
	h->multi = curl_multi_init();
	if (!h->multi || (cfg->user_agent && !h->user_agent) ||
	    network_copy(cfg->network, &h->network))
		goto fail;
	http_rate_init(&h->up_rate, h->network.up);
	http_rate_init(&h->down_rate, h->network.down);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)cfg->max_connections);
	rc = start_thread(h);
	if (rc)
		goto fail;
	h->stopped = false;
	*ret = h;
	return 0;
fail:
	curl_multi_cleanup(h->multi);
	h->multi = NULL;
	http_free(h);
	return rc;
}

void http_stop(struct http *h)
{
	if (h->stopped)
		return;
	pthread_mutex_lock(&h->lock);
	h->stopping = true;
	curl_multi_wakeup(h->multi);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	h->stopped = true;
	curl_multi_cleanup(h->multi);
	h->multi = NULL;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	network_release(&h->network);
	free(h->user_agent);
	free(h);
}
