#include "fs/content/waiters.h"

#include <stdlib.h>

void fetch_waiters_init(struct fetch_waiters *ws)
{
	ws->head = NULL;
	ws->tail = &ws->head;
}

void fetch_waiters_add(struct fetch_waiters *ws, struct fetch_waiter *w)
{
	w->next = NULL;
	*ws->tail = w;
	ws->tail = &w->next;
}

void fetch_waiters_move(struct fetch_waiters *from, struct fetch_waiters *to)
{
	*to->tail = from->head;
	if (from->head)
		to->tail = from->tail;
	fetch_waiters_init(from);
}

void fetch_waiters_answer(struct fetch_waiters *ws, int err, const char *text, int fd)
{
	struct fetch_waiter *w, *next;

	for (w = ws->head; w; w = next) {
		next = w->next;
		w->cb(w->arg, err, text, err ? -1 : fd, w->off,
		      err ? 0 : (size_t)(w->end - w->off));
		free(w);
	}
	fetch_waiters_init(ws);
}
