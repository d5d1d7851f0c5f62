/*
 * publisher_impl: the publisher and what it learned of the service, for fs/publish only.
 */
#ifndef UPLOADFS_FS_PUBLISH_PUBLISHER_IMPL_H
#define UPLOADFS_FS_PUBLISH_PUBLISHER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/publish/publisher.h"
#include "net/base/digest.h"
#include "net/base/hist.h"

/* Does the service have Uploads? Kept for the life of the mount, once it is sure. */
enum publish_uploads {
	UPLOADS_UNKNOWN,
	UPLOADS_DOUBTED, /* a create was refused so, and /files has answered since */
	UPLOADS_THERE,
	UPLOADS_ABSENT
};

/* Has each File so far had the created_at of its Upload? The numbers are in the store. */
enum service_created { CREATED_UNKNOWN, CREATED_WITH_UPLOAD, CREATED_LATER };

/* What its replies tell of the service; the publisher thread's own. */
struct service {
	enum publish_uploads uploads;
	int64_t date_s;	       /* its last Date, seconds; 0: none */
	uint64_t date_mono_ms; /* when that came */
	enum service_created created_at;
	uint64_t same_ms; /* see publish_service_note_created() */
};

struct publisher {
	struct publisher_config cfg;
	pthread_t thread;
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t wake;  /* for the thread: CLOCK_MONOTONIC */
	pthread_cond_t idle;  /* for publisher_drain() */
	struct service service;
	struct publish *run_head, **run_tail;
	struct publish *all;
	unsigned dropped; /* of them, in.dropped */
	bool stop, stepping;
	char key_print[DIGEST_HEX_SIZE]; /* under the lock */
	atomic_bool draining;		 /* what fails now is for the next daemon */
	unsigned side_calls;		 /* cancels nobody waits for */
	uint64_t completed;
	uint64_t ended[OUTCOME_DROPPED + 1];
	atomic_ullong parts, bytes; /* any thread */
	struct hist times;
};

#endif
