/*
 * fetch_waiters: lists of reads that wait. The caller holds the fetcher's lock over a list that
 * others see.
 */
#ifndef UPLOADFS_FS_CONTENT_WAITERS_H
#define UPLOADFS_FS_CONTENT_WAITERS_H

#include <stddef.h>
#include <stdint.h>

#include "fs/content/fetch.h"

/* A read that waits. */
struct fetch_waiter {
	struct fetch_waiter *next;
	uint64_t off, end; /* off < end <= bytes of the File */
	uint64_t span;	   /* bytes from off on that are likely to be wanted */
	fetch_read_cb *cb;
	void *arg;
};

struct fetch_waiters {
	struct fetch_waiter *head, **tail;
};

void fetch_waiters_init(struct fetch_waiters *ws);
/* Appends w, which the list owns from then on. */
void fetch_waiters_add(struct fetch_waiters *ws, struct fetch_waiter *w);
/* Appends all of from to to, and leaves from empty. */
void fetch_waiters_move(struct fetch_waiters *from, struct fetch_waiters *to);
/*
 * Calls back and frees all waiters. err: 0, with the fd in which their bytes stand, or a negative
 * errno with a text. Without the lock.
 */
void fetch_waiters_answer(struct fetch_waiters *ws, int err, const char *text, int fd);

#endif
