/*
 * fetch_room: a full disk: the cache gives room back, on a worker, and fetches go on.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_ROOM_H
#define UPLOADFS_FS_CONTENT_FETCH_ROOM_H

#include <stdbool.h>

struct fetcher;
struct hash_job;

/*
 * Have room made for the fetches with wants_room. Then their requests start again, or, if the cache
 * has nothing left to give, their waiters get -ENOSPC. On the fetcher's worker; without one on the
 * calling thread. Without locks.
 */
void fetch_room_ask(struct fetcher *f);
/* The job of fetch_room_ask(); for fetcher_new(). */
bool fetch_room_make(struct hash_job *job);

#endif
