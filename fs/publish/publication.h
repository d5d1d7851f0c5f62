/*
 * publication: one staged file on its way to a File: references, queue, name, ranges of Parts.
 *
 * The publisher thread owns it; fields under publisher.lock are marked. For fs/publish only.
 * Functions run on the publisher thread unless said otherwise.
 */
#ifndef UPLOADFS_FS_PUBLISH_PUBLICATION_H
#define UPLOADFS_FS_PUBLISH_PUBLICATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/publish/doubt.h"
#include "fs/publish/fail.h"
#include "fs/publish/inputs.h"
#include "fs/publish/next.h"
#include "fs/publish/observe.h"
#include "fs/publish/parts.h"
#include "fs/publish/publisher.h"
#include "fs/publish/record.h"
#include "fs/publish/refused.h"
#include "fs/publish/retry.h"
#include "fs/publish/same.h"
#include "fs/publish/sync.h"
#include "fs/publish/upload.h"
#include "net/api/api.h"
#include "net/base/digest.h"

struct event;

/* The callbacks of struct publish_spec. */
struct owner {
	void (*ended)(void *arg, struct publish *p, const struct publish_result *r);
	void (*appeared)(void *arg, struct publish *p, const char *file_id);
	void (*deleted)(void *arg, const char *file_id);
	void (*release)(void *arg);
	void *arg;
};

struct publish {
	struct publisher *pr;
	atomic_uint refs;
	struct staged *staged;
	struct owner owner;

	/* under publisher.lock */
	struct publish_inputs in;
	struct event *events, **events_tail;
	struct publish *run_next; /* run queue */
	bool run_queued;
	unsigned unrefs_due; /* references that other threads gave back */
	struct publish *all_prev, *all_next;
	struct observed observed;

	/* the publisher thread's own from here on; recorded.lock is any thread's */
	enum publish_phase phase;
	struct publish_inputs now; /* copy of in; strings of its own */
	struct upload upload;
	struct abandoned abandoned;
	struct parts parts;
	struct outcome outcome;
	struct failure failure;
	struct retry retry;
	struct refused refused;
	struct recorded recorded;
	struct sync sync;
	struct doubt doubt;
	struct same_content same;
	char md5[DIGEST_HEX_SIZE];
	char md5_then[DIGEST_HEX_SIZE]; /* of the bytes when they were written; "": not known */
	bool unproven;			/* recovered: to be compared with md5_then first */
	bool spoiled;			/* recovered: the bytes are not those of md5_then */
	uint64_t sealed_ms;		/* monotonic; 0: not closed */
	uint64_t wake_ms;		/* monotonic; 0: none */
};

/* Queue ev, which it takes, and wake the thread. NULL: only wake. Any thread. */
void publish_post(struct publish *p, struct event *ev);
/* Queue ev, which it takes, and give back a reference to p, which one look does. Any thread. */
void publish_post_last(struct publish *p, struct event *ev);
/* Under publisher.lock. False: the last reference goes right now. */
bool publish_take_ref(struct publish *p);
/* Under publisher.lock: put p on the run queue and wake the thread. */
void publish_queue_locked(struct publish *p);
/* Count cancels that nobody but publisher_drain() waits for. Any thread. */
void publish_side_call(struct publisher *pr, int delta);
/* Free ev and what it owns. Any thread. */
void publish_event_free(struct event *ev);
/* Free p; its last reference is gone, or it was never linked. */
void publish_destroy(struct publish *p);

/* True if closed, and no write is under way. */
bool publish_sealed(const struct publish *p);
/* The name and MIME type wanted now; valid until now changes. */
const char *publish_filename(const struct publish *p);
const char *publish_mime_type(const struct publish *p);

/* True for parallel=1: Parts go one after the other, in ascending order. */
bool publish_in_sequence(const struct publish *p);
/* Bytes of a small Part (part_layout.h), and the number of Parts of a file of so many bytes. */
uint64_t publish_part_block(const struct publish *p);
uint32_t publish_part_count(const struct publish *p, uint64_t bytes);
/* Part i of the Upload is [*ret_start, *ret_end). */
void publish_part_range(const struct publish *p, uint32_t i, uint64_t *ret_start,
			uint64_t *ret_end);
/* The version of Part i's bytes; changes with them (stage). */
uint32_t publish_part_version(const struct publish *p, uint32_t i);
/* Cancel the calls of all Parts and forget the Parts. */
void publish_drop_parts(struct publish *p);
/* Forget the doubt; its reference stays. Also before p is freed. */
void publish_doubt_end(struct publish *p);

/* Copy in to *dst, under publisher.lock. 0 or -ENOMEM. Any thread. */
int publish_copy_inputs(struct publish *p, struct publish_inputs *dst);
/* True if publish_reopen() came and the thread has not looked at it yet. */
bool publish_reopening(struct publish *p);
/* Begin another try. False: writing goes on, or the file was removed. */
bool publish_begin_retry(struct publish *p);
/* End the hold. False: the file was renamed, held or written anew meanwhile. */
bool publish_end_hold(struct publish *p);
/* Forget file_id as superseded. */
void publish_superseded_gone(struct publish *p, const char *file_id);

/*
 * publish_unref() by the publisher thread, for callbacks of the API: the last reference takes
 * vfs.lock, waits for hashing, and gives back disk space. NULL is a no-op.
 */
void publish_unref_later(struct publish *p);
/* Give those references back; the caller holds another one. Publisher thread. */
void publish_unref_due(struct publish *p);

#endif
