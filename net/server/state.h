/*
 * state: all Uploads, Parts and Files of a server, in memory. One lock protects the indexes and the
 * changing fields of their objects (model.h). It is never held across the network, and across the
 * disk only for a rename or an open. A complete or cancel works longer and marks its Upload busy;
 * other requests for the Upload wait on changed. An Upload stays in memory until it
 * has ended and no request uses it; then its record tells of it. A File is counted (files.h).
 */
#ifndef UPLOADFS_NET_SERVER_STATE_H
#define UPLOADFS_NET_SERVER_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/base/map.h"
#include "net/server/model.h"

struct store;

struct state {
	struct store *store;
	unsigned ttl_s;	      /* lifetime of a pending Upload */
	atomic_bool stopping; /* long work ends early with -ECANCELED */
	bool in_sequence;     /* Parts must come one after the other (flavor.h) */
	bool damaged;	      /* a record could not be parsed at the start */
	pthread_t ahead;      /* the hash-ahead thread (ahead.h) */
	pthread_mutex_t lock;
	/* ---- lock ---- */
	pthread_cond_t changed;	 /* signals changes below and of stopping */
	struct map uploads;	 /* id -> struct upload: the pending, and those in use */
	struct upload **pending; /* the pending Uploads, in no order */
	size_t pending_count, pending_room;
	struct map files;     /* id -> struct file; holds a reference each */
	struct file **sorted; /* the same Files by (created_at, seq), ascending */
	size_t file_count, file_room;
	uint64_t last_seq;
};

/* Load a store, repair the remains of a crash, start the thread. 0 or negative errno. */
int state_open(struct store *store, unsigned ttl_s, struct state **ret);
/* Make long work and waits end early. Any thread. */
void state_stop(struct state *st);
/* Close after state_stop(), once no other thread uses st. NULL is a no-op. */
void state_close(struct state *st);
/* Expire due Uploads and Files. Blocks on the disk; one thread calls it now and then. */
void state_expire(struct state *st);

#endif
