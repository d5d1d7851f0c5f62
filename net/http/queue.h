/*
 * http_queue: which request is sent when, and whether again.
 *
 * Concurrency: Parts have a cap of their own (parallel), so do calls that
 * publish, asking (list, get, delete: somebody waits at a terminal), content and
 * urgent calls (HQ_CALLS each): a list never waits behind a part, a download, or
 * a hundred creates that the server does not answer. Only Parts are long and
 * many, so only they need turns: Parts of different files (fairness) alternate,
 * those of one file go in order.
 *
 * Retries: a failed request gives its place to others while it waits for its
 * delay, then goes before what has not been sent yet of its file. It is tried
 * again while less than retry_timeout_ms has passed since its first failure,
 * and twice in any case. After a 429 nothing but urgent calls is sent until the
 * delay is over: the limit belongs to the account, not to the request.
 *
 * A body that is still being written takes a place only while nothing whole
 * waits for one, and gives it back (-ECANCELED) as soon as it has nothing to
 * send and something whole does wait. It is not tried again before it is whole.
 *
 * All state is the network thread's, so there is no lock but that of http's
 * inbox. Callbacks (struct hq_ops) run on the network thread.
 */
#ifndef UPLOADFS_NET_HTTP_QUEUE_H
#define UPLOADFS_NET_HTTP_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "net/http/thread.h"

#define HQ_CALLS 64
#define HQ_MIN_RETRIES 2

struct hq;
struct hq_job;

enum hq_class { HQ_PART, HQ_CALL, HQ_ASK, HQ_CONTENT, HQ_URGENT, HQ_CLASSES };

/* judge()'s verdict on an attempt. */
struct hq_verdict {
	bool retry;
	bool at_once;		/* retry without delay: a kept connection was dead */
	bool throttled;		/* 429: everything waits */
	bool progressed;	/* further than before: retry time and count start anew */
	unsigned max_retries;	/* 0: no limit but time */
	int64_t retry_after_ms; /* the delay the server asked for, or -1 */
};

struct hq_ops {
	/* Fills in *rq but for done and arg; its pointers live until judge() or done(). */
	int (*prepare)(struct hq_job *job, struct http_request *rq);
	/* Judges the outcome of an attempt; keeps everything done() needs. */
	void (*judge)(struct hq_job *job, const struct http_result *res, struct hq_verdict *ret);
	/*
	 * The end, exactly once. err: 0 after the last judge(), -ECANCELED, or
	 * what prepare() or starting failed with. sent: when cancelled, whether
	 * the peer may have seen the whole request.
	 */
	void (*done)(struct hq_job *job, int err, bool sent);
	void (*release)(struct hq_job *job); /* the last reference is gone: free it */
	/* Returns whether the job's whole body is there. NULL: it always is. Must not block. */
	bool (*whole)(struct hq_job *job);
};

/* Embedded in the caller's request. Fields are the queue's but for reading attempts in ops. */
struct hq_job {
	struct hq *q;
	const struct hq_ops *ops;
	enum hq_class class;
	uint64_t fairness;
	unsigned attempts; /* times it was sent */
	atomic_uint refs;
	atomic_bool cancelled, ended, feeding;
	struct http_task submit_task, cancel_task, feed_task;
	enum { HQ_NEW, HQ_WAITING, HQ_DELAYED, HQ_RUNNING, HQ_ENDED } state;
	TAILQ_ENTRY(hq_job) link; /* in the list of its state */
	struct http_xfer *xfer;	  /* while HQ_RUNNING */
	uint64_t turn;		  /* while HQ_WAITING: see struct hq_turns */
	uint64_t due_ms;	  /* while HQ_DELAYED */
	uint64_t first_failure_ms;
	uint64_t started_ms; /* of the last attempt */
	unsigned retries;
};

struct hq_config {
	const char *user_agent;
	unsigned parallel;
	unsigned connect_timeout_s;
	uint64_t retry_timeout_ms;
	const struct network *network; /* copied; or NULL */
};

/* Starts the network thread. 0 or negative errno. */
int hq_new(const struct hq_config *cfg, struct hq **ret);
/*
 * Ends all jobs with -ECANCELED, also those that their done() submits, and the
 * thread. Drops the caller's reference; jobs hold others, so hq_cancel() and
 * hq_unref() of a job are good after it. NULL is a no-op.
 */
void hq_stop(struct hq *q);

/* Makes a job with one reference, which the caller drops with hq_job_unref(). */
void hq_job_init(struct hq_job *job, struct hq *q, const struct hq_ops *ops, enum hq_class class,
		 uint64_t fairness);
void hq_job_unref(struct hq_job *job);
/* Any thread. False after hq_stop(): done() won't run. */
bool hq_submit(struct hq_job *job);
/* Any thread; a no-op for a job that has ended. */
void hq_cancel(struct hq_job *job);
/* Tells that a body not yet whole has grown. Any thread. */
void hq_feed(struct hq_job *job);

struct hq_counts {
	uint64_t requests, retries, bytes_sent, bytes_received;
};
void hq_get_counts(struct hq *q, struct hq_counts *ret);

struct hq_lengths {
	unsigned waiting, delayed, running;
};
/* Returns the numbers of jobs of a class; each is read by itself, not all at one moment. */
void hq_get_lengths(struct hq *q, enum hq_class class, struct hq_lengths *ret);

/* ---- the policy, as pure functions ---- */

/*
 * Returns whether a retry may succeed: after connection errors, time-outs, 408, 409, 429 and >=
 * 500, unless x-should-retry says otherwise. quota: the 429 reports a used-up quota, which no
 * waiting mends.
 */
bool hq_worth_retry(const struct http_result *res, bool quota);
/* Returns whether a request that failed may be sent again at then_ms. */
bool hq_in_time(unsigned retries, uint64_t first_failure_ms, uint64_t then_ms, uint64_t timeout_ms);

/*
 * The waiting jobs of a class, by turn. A job gets the turn after the last one
 * waiting with the same fairness, but none that has passed already; jobs of one
 * turn go in the order they came. So every file gets one Part in each turn.
 */
TAILQ_HEAD(hq_list, hq_job);
struct hq_turns {
	struct hq_list jobs; /* sorted by turn */
	uint64_t now;	     /* turn of the job that was taken last */
};
void hq_turns_init(struct hq_turns *t);
void hq_turns_add(struct hq_turns *t, struct hq_job *job);
void hq_turns_add_again(
	struct hq_turns *t,
	struct hq_job *job); /* a retry: placed before jobs of its turn that were not sent yet */
/* Returns the first whole job, else the first; leaves it waiting. NULL: none waits. */
struct hq_job *hq_turns_next(const struct hq_turns *t);
/* Removes a job to send it now: later jobs of its file get later turns. */
void hq_turns_take(struct hq_turns *t, struct hq_job *job);
void hq_turns_remove(struct hq_turns *t, struct hq_job *job);

#endif
