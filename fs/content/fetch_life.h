/*
 * fetch_life: the fetcher, and a fetch: allocated, kept while readers or requests use it, freed.
 *
 * One mutex per fetcher protects everything marked so; it is taken in calls of readers and in
 * callbacks of the api, is held over the start and the cancel of api calls (which never call back
 * synchronously), and never over a callback or over the transfer of data.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_LIFE_H
#define UPLOADFS_FS_CONTENT_FETCH_LIFE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/content/cache.h"
#include "fs/content/fetch_plan.h"
#include "fs/content/fetch_req.h"
#include "fs/content/shared.h"
#include "fs/content/waiters.h"
#include "fs/work/extents.h"
#include "fs/work/pool.h"
#include "net/api/api.h"

#define FETCH_REQS 16 /* requests under way per File, whatever was asked for */
#define FETCH_RUNS 8  /* readers that are told apart, per File */
#define FETCH_BUCKETS 256
#define FETCH_EXTENTS 32768	  /* ranges that are noted as there, per File */
#define FETCH_ROOM (256ULL << 20) /* bytes the cache gives back when the disk is full */

enum fetch_range { FETCH_RANGE_UNKNOWN, FETCH_RANGE_YES, FETCH_RANGE_NO };

/* Was the shared directory asked? No request starts before its answer. */
enum fetch_shared { FETCH_SHARED_NEW, FETCH_SHARED_ASKED, FETCH_SHARED_DONE };

struct fetch {
	struct fetcher *f;
	char *id;
	uint64_t bytes;
	/* The copy in the cache that fd is; "": none. Set before it is in the table. */
	char data[DATA_ID_SIZE], md5[DIGEST_HEX_SIZE];
	struct fetch *next; /* in its bucket; lock of the fetcher from here on */
	bool in_table;
	bool wrong;	/* the copy is damaged: reads fail */
	unsigned nref;	/* readers */
	unsigned nbusy; /* active requests, and threads that use it without a reference */
	int fd;		/* -1: not begun. Set once, closed with the struct */
	bool temp;	/* fd is a temporary of the cache, named by token */
	uint64_t token;
	bool whole;		/* all bytes stand in fd, and the length was checked */
	bool answering;		/* the network thread is in callbacks of readers, with the fd */
	enum fetch_range range; /* does the server honour Range? */
	struct extents have;
	struct fetch_req reqs[FETCH_REQS];
	struct fetch_run runs[FETCH_RUNS];
	uint64_t reads;		 /* so far */
	bool wants_room;	 /* the disk is full: no request is started until there is room */
	struct fetch *room_next; /* fetch_room's */
	struct fetch_waiters waiters;
	enum fetch_shared shared;
	struct shared_file *shared_file; /* asked, or to be stored; NULL: neither */
	char expected[DIGEST_HEX_SIZE];	 /* MD5 that is known of the File; "": none */
	int shared_fd;			 /* the copy while it is asked for, named by */
	uint64_t shared_token;		 /* shared_token in the cache */
};

struct fetcher {
	struct api *api;
	struct cache *cache;
	unsigned parallel; /* requests under way per File, <= FETCH_REQS */
	pthread_mutex_t lock;
	api_data_cb *on_data; /* of requests, with their struct fetch_req */
	api_content_cb *on_done;
	struct hash_job room;
	struct shared *shared; /* NULL: no directory. Set before the first fetch */
	bool ranges;	       /* Range was honoured lately; under lock from here on */
	struct pool *worker;   /* makes room; NULL: the network thread does */
	struct fetch *buckets[FETCH_BUCKETS];
};

/* A fetch with one reader, in no table. NULL: out of memory. */
struct fetch *fetch_alloc(struct fetcher *f, const char *file_id, uint64_t bytes);
/* Frees a fetch that no reader, request or table knows. NULL is a no-op. */
void fetch_destroy(struct fetch *ft);
/*
 * Makes sure that there is a temporary to put content in; may evict cached content for it. Takes
 * the lock. 0 or negative errno.
 */
int fetch_begin(struct fetch *ft);
/* Gives nbusy back, and frees the fetch if that was its last user. Takes the lock. */
void fetch_put(struct fetch *ft);

#endif
