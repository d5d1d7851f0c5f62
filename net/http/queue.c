#include "net/http/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "net/http/backoff.h"
#include "net/base/clock.h"
#include "net/base/digest.h"

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct hq {
	struct http *http;
	struct hq_config cfg;
	atomic_uint refs;
	atomic_ullong requests, retries;
	atomic_uint lengths[HQ_CLASSES][HQ_ENDED + 1]; /* jobs by class and state */

	/* Network thread only: */
	struct hq_turns waiting[HQ_CLASSES];
	struct hq_list running[HQ_CLASSES];
	unsigned running_count[HQ_CLASSES];
	struct hq_list delayed; /* by due_ms */
	uint64_t hold_until;	/* only HQ_URGENT jobs are sent before this time */
	uint32_t seed;
	bool stopping;
	struct http_task stop_task;
};

/* ---- policy ---- */

bool hq_worth_retry(const struct http_result *res, bool quota)
{
	const struct http_head *head = &res->head;

	switch (res->fail) {
	case HTTP_REPLIED:
		break;
	case HTTP_FAIL_CONNECT:
	case HTTP_FAIL_BROKEN:
	case HTTP_FAIL_GARBLED:
	case HTTP_FAIL_TLS:
	case HTTP_FAIL_TIMEOUT:
		return true;
	default:
		return false;
	}
	if (quota)
		return false;
	if (head->should_retry >= 0 && (head->status < 200 || head->status > 299))
		return head->should_retry;
	return head->status == 408 || head->status == 409 || head->status == 429 ||
	       head->status >= 500;
}

bool hq_in_time(unsigned retries, uint64_t first_failure_ms, uint64_t then_ms, uint64_t timeout_ms)
{
	return retries < HQ_MIN_RETRIES || then_ms <= first_failure_ms + timeout_ms;
}

void hq_turns_init(struct hq_turns *t)
{
	TAILQ_INIT(&t->jobs);
	t->now = 0;
}

static void turns_insert(struct hq_turns *t, struct hq_job *job)
{
	struct hq_job *before;

	TAILQ_FOREACH_REVERSE(before, &t->jobs, hq_list, link)
	{
		if (before->turn <= job->turn) {
			TAILQ_INSERT_AFTER(&t->jobs, before, job, link);
			return;
		}
	}
	TAILQ_INSERT_HEAD(&t->jobs, job, link);
}

void hq_turns_add(struct hq_turns *t, struct hq_job *job)
{
	const struct hq_job *like;

	job->turn = t->now;
	TAILQ_FOREACH_REVERSE(like, &t->jobs, hq_list, link)
	{
		if (like->fairness == job->fairness) {
			job->turn = like->turn + 1;
			break;
		}
	}
	turns_insert(t, job);
}

void hq_turns_add_again(struct hq_turns *t, struct hq_job *job)
{
	job->turn = t->now;
	TAILQ_INSERT_HEAD(&t->jobs, job, link);
}

static bool is_whole(struct hq_job *job)
{
	return !job->ops || !job->ops->whole || job->ops->whole(job);
}

struct hq_job *hq_turns_next(const struct hq_turns *t)
{
	struct hq_job *job;

	TAILQ_FOREACH(job, &t->jobs, link)
	{
		if (is_whole(job))
			return job;
	}
	return TAILQ_FIRST(&t->jobs);
}

void hq_turns_take(struct hq_turns *t, struct hq_job *job)
{
	TAILQ_REMOVE(&t->jobs, job, link);
	/* A job that was passed over as not whole does not turn the clock of turns back. */
	if (job->turn > t->now)
		t->now = job->turn;
}

void hq_turns_remove(struct hq_turns *t, struct hq_job *job)
{
	TAILQ_REMOVE(&t->jobs, job, link);
}

/* ---- references ---- */

static void hq_unref(struct hq *q)
{
	if (atomic_fetch_sub(&q->refs, 1) != 1)
		return;
	http_free(q->http);
	free(q);
}

void hq_job_unref(struct hq_job *job)
{
	struct hq *q = job->q;

	if (atomic_fetch_sub(&job->refs, 1) != 1)
		return;
	job->ops->release(job);
	hq_unref(q);
}

/* ---- the life of a job ---- */

static void to_state(struct hq_job *job, unsigned state)
{
	atomic_uint *lengths = job->q->lengths[job->class];

	if (job->state != HQ_NEW)
		atomic_fetch_sub(&lengths[job->state], 1);
	job->state = state;
	if (state != HQ_ENDED)
		atomic_fetch_add(&lengths[state], 1);
}

static void end_job(struct hq_job *job, int err, bool sent)
{
	to_state(job, HQ_ENDED);
	atomic_store(&job->ended, true);
	job->ops->done(job, err, sent);
	hq_job_unref(job);
}

static void leave_running(struct hq_job *job)
{
	struct hq *q = job->q;

	TAILQ_REMOVE(&q->running[job->class], job, link);
	q->running_count[job->class]--;
	job->xfer = NULL;
}

static void delay_job(struct hq_job *job, uint64_t due_ms)
{
	struct hq_job *after;

	to_state(job, HQ_DELAYED);
	job->due_ms = due_ms;
	TAILQ_FOREACH(after, &job->q->delayed, link)
	{
		if (after->due_ms > due_ms) {
			TAILQ_INSERT_BEFORE(after, job, link);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&job->q->delayed, job, link);
}

/* Queues the job for another try; returns false if it used up its tries. */
static bool try_again(struct hq_job *job, const struct hq_verdict *v)
{
	struct hq *q = job->q;
	uint64_t now = clock_mono_ms(), due;

	if (v->progressed)
		job->retries = 0;
	if (!job->retries)
		job->first_failure_ms = now;
	/* A stale connection is no failure of the service. */
	due = now + (v->at_once ? 0 : backoff_delay_ms(job->retries, v->retry_after_ms, q->seed++));
	/* Wait also if this request gives up: the account still has too many requests. */
	if (v->throttled && due > q->hold_until)
		q->hold_until = due;
	/* A whole body costs no more than it takes now. */
	if (!is_whole(job) && !v->at_once)
		return false;
	if (!v->retry || (v->max_retries && job->retries >= v->max_retries) ||
	    !hq_in_time(job->retries, job->first_failure_ms, due, q->cfg.retry_timeout_ms))
		return false;
	job->retries++;
	atomic_fetch_add(&q->retries, 1);
	delay_job(job, due);
	return true;
}

static void on_done(void *arg, const struct http_result *res)
{
	struct hq_job *job = arg;
	struct hq_verdict v = { .retry_after_ms = -1 };

	leave_running(job);
	job->ops->judge(job, res, &v);
	if (!try_again(job, &v))
		end_job(job, 0, false);
}

static void start_job(struct hq_job *job)
{
	struct http_request rq = { .method = HTTP_GET };
	struct hq *q = job->q;
	int rc;

	rc = job->ops->prepare(job, &rq);
	rq.done = on_done;
	rq.arg = job;
	if (!rc)
		rc = http_start(q->http, &rq, &job->xfer);
	if (rc) {
		end_job(job, rc, false);
		return;
	}
	job->attempts++;
	job->started_ms = clock_mono_ms();
	atomic_fetch_add(&q->requests, 1);
	to_state(job, HQ_RUNNING);
	TAILQ_INSERT_TAIL(&q->running[job->class], job, link);
	q->running_count[job->class]++;
}

static void cancel_job(struct hq_job *job)
{
	bool sent = false;

	switch (job->state) {
	case HQ_WAITING:
		hq_turns_remove(&job->q->waiting[job->class], job);
		break;
	case HQ_DELAYED:
		TAILQ_REMOVE(&job->q->delayed, job, link);
		break;
	case HQ_RUNNING:
		sent = http_abort(job->xfer);
		leave_running(job);
		break;
	default:
		return;
	}
	end_job(job, -ECANCELED, sent);
}

/* ---- what runs on the network thread from outside ---- */

static void on_submit(struct http_task *task)
{
	struct hq_job *job = container_of(task, struct hq_job, submit_task);
	struct hq *q = job->q;

	if (q->stopping || atomic_load(&job->cancelled)) {
		end_job(job, -ECANCELED, false);
		return;
	}
	to_state(job, HQ_WAITING);
	hq_turns_add(&q->waiting[job->class], job);
}

static void on_cancel(struct http_task *task)
{
	struct hq_job *job = container_of(task, struct hq_job, cancel_task);

	cancel_job(job);
	hq_job_unref(job);
}

static void on_feed(struct http_task *task)
{
	struct hq_job *job = container_of(task, struct hq_job, feed_task);

	atomic_store(&job->feeding, false);
	if (job->state == HQ_RUNNING)
		http_feed(job->xfer);
	hq_job_unref(job);
}

static void on_stop(struct http_task *task)
{
	struct hq *q = container_of(task, struct hq, stop_task);
	struct hq_job *job;
	int c;

	q->stopping = true;
	for (c = 0; c < HQ_CLASSES; c++) {
		while ((job = TAILQ_FIRST(&q->waiting[c].jobs)))
			cancel_job(job);
		while ((job = TAILQ_FIRST(&q->running[c])))
			cancel_job(job);
	}
	while ((job = TAILQ_FIRST(&q->delayed)))
		cancel_job(job);
}

static unsigned class_cap(const struct hq *q, int class)
{
	return class == HQ_PART ? q->cfg.parallel : HQ_CALLS;
}

/* Ends one job that only waits for bytes. False: there is none. */
static bool make_way(struct hq *q, int class)
{
	struct hq_job *job;

	TAILQ_FOREACH(job, &q->running[class], link)
	{
		if (http_waits(job->xfer) && !is_whole(job)) {
			cancel_job(job);
			return true;
		}
	}
	return false;
}

/* Returns the next job of the class that may be sent now, or NULL. */
static struct hq_job *next_job(struct hq *q, int class)
{
	struct hq_job *job = hq_turns_next(&q->waiting[class]);

	if (!job || (q->running_count[class] >= class_cap(q, class) &&
		     (!is_whole(job) || !make_way(q, class))))
		return NULL;
	hq_turns_take(&q->waiting[class], job);
	return job;
}

/* Sends the jobs that may be sent now; returns the time of the next look. */
static uint64_t on_tick(void *arg)
{
	struct hq *q = arg;
	uint64_t now = clock_mono_ms(), next = UINT64_MAX;
	struct hq_job *job;
	int c;

	while ((job = TAILQ_FIRST(&q->delayed)) && job->due_ms <= now) {
		TAILQ_REMOVE(&q->delayed, job, link);
		to_state(job, HQ_WAITING);
		hq_turns_add_again(&q->waiting[job->class], job);
	}
	if (job)
		next = job->due_ms;
	for (c = 0; c < HQ_CLASSES; c++) {
		if (c != HQ_URGENT && now < q->hold_until) {
			if (!TAILQ_EMPTY(&q->waiting[c].jobs) && next > q->hold_until)
				next = q->hold_until;
			continue;
		}
		while ((job = next_job(q, c)))
			start_job(job);
	}
	return next;
}

/* ---- what is called from any thread ---- */

void hq_job_init(struct hq_job *job, struct hq *q, const struct hq_ops *ops, enum hq_class class,
		 uint64_t fairness)
{
	job->q = q;
	job->ops = ops;
	job->class = class;
	job->fairness = fairness;
	atomic_init(&job->refs, 1);
	atomic_init(&job->cancelled, false);
	atomic_init(&job->ended, false);
	atomic_init(&job->feeding, false);
	job->submit_task.fn = on_submit;
	job->cancel_task.fn = on_cancel;
	job->feed_task.fn = on_feed;
	job->state = HQ_NEW;
	job->attempts = job->retries = 0;
	job->xfer = NULL;
	atomic_fetch_add(&q->refs, 1);
}

bool hq_submit(struct hq_job *job)
{
	atomic_fetch_add(&job->refs, 1); /* the queue's, until the end */
	if (http_post(job->q->http, &job->submit_task))
		return true;
	hq_job_unref(job);
	return false;
}

void hq_cancel(struct hq_job *job)
{
	if (atomic_load(&job->ended) || atomic_exchange(&job->cancelled, true))
		return;
	atomic_fetch_add(&job->refs, 1); /* the task's */
	if (!http_post(job->q->http, &job->cancel_task))
		hq_job_unref(job);
}

void hq_feed(struct hq_job *job)
{
	if (atomic_load(&job->ended) || atomic_exchange(&job->feeding, true))
		return;
	atomic_fetch_add(&job->refs, 1); /* the task's */
	if (!http_post(job->q->http, &job->feed_task))
		hq_job_unref(job);
}

void hq_get_counts(struct hq *q, struct hq_counts *ret)
{
	ret->requests = atomic_load(&q->requests);
	ret->retries = atomic_load(&q->retries);
	http_bytes(q->http, &ret->bytes_sent, &ret->bytes_received);
}

void hq_get_lengths(struct hq *q, enum hq_class class, struct hq_lengths *ret)
{
	atomic_uint *lengths = q->lengths[class];

	ret->waiting = atomic_load(&lengths[HQ_WAITING]);
	ret->delayed = atomic_load(&lengths[HQ_DELAYED]);
	ret->running = atomic_load(&lengths[HQ_RUNNING]);
}

int hq_new(const struct hq_config *cfg, struct hq **ret)
{
	struct hq *q = calloc(1, sizeof(*q));
	struct http_config hc;
	int rc, c;

	if (!q)
		return -ENOMEM;
	q->cfg = *cfg;
	q->cfg.user_agent = NULL; /* the caller's; http has copies */
	q->cfg.network = NULL;
	atomic_init(&q->refs, 1);
	TAILQ_INIT(&q->delayed);
	for (c = 0; c < HQ_CLASSES; c++) {
		hq_turns_init(&q->waiting[c]);
		TAILQ_INIT(&q->running[c]);
	}
	q->stop_task.fn = on_stop;
	rc = digest_random(&q->seed, sizeof(q->seed));
	if (rc)
		goto fail;
	hc = (struct http_config){
		.user_agent = cfg->user_agent,
		.max_connections = cfg->parallel + HQ_CALLS,
		.connect_timeout_s = cfg->connect_timeout_s,
		.network = cfg->network,
		.tick = on_tick,
		.tick_arg = q,
	};
	rc = http_new(&hc, &q->http);
	if (rc)
		goto fail;
	*ret = q;
	return 0;
fail:
	free(q);
	return rc;
}

void hq_stop(struct hq *q)
{
	if (!q)
		return;
	http_post(q->http, &q->stop_task);
	http_stop(q->http);
	hq_unref(q);
}
