/*
 * fetch_shared: a fetch and the shared directory: looked into before the first request, told of the
 * download, given the whole content.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_SHARED_H
#define UPLOADFS_FS_CONTENT_FETCH_SHARED_H

#include <stdbool.h>
#include <stddef.h>

struct fetch;

/*
 * Ask the shared directory, once a fetch. True: its answer is due, and starts what the waiters
 * need. False: go on without it. By a reader; takes the lock; blocks on the local disk.
 */
bool fetch_shared_ask(struct fetch *ft);

/* Under lock: the last reader has gone. */
void fetch_shared_cancel(struct fetch *ft);
/* Under lock: len bytes came from the service. */
void fetch_shared_progress(struct fetch *ft, size_t len);
/* Under lock: if the content is whole now, have it stored. */
void fetch_shared_store(struct fetch *ft);

#endif
