/*
 * Changes that go along with the next transaction, whoever makes it.
 */
#include <string.h>

#include "fs/state/store_impl.h"
#include "net/base/log.h"

void statedb_later(struct statedb *s, struct statedb_later *l)
{
	struct statedb_later **end = &s->later;

	l->next = NULL;
	pthread_mutex_lock(&s->wal_lock);
	while (*end)
		end = &(*end)->next;
	*end = l;
	pthread_mutex_unlock(&s->wal_lock);
}

struct statedb_later *statedb_take_later(struct statedb *s)
{
	struct statedb_later *all;

	pthread_mutex_lock(&s->wal_lock);
	all = s->later;
	s->later = NULL;
	pthread_mutex_unlock(&s->wal_lock);
	return all;
}

bool statedb_has_later(struct statedb *s)
{
	bool some;

	pthread_mutex_lock(&s->wal_lock);
	some = s->later;
	pthread_mutex_unlock(&s->wal_lock);
	return some;
}

int statedb_join(struct statedb *s)
{
	int rc = 0;

	s->joined = statedb_take_later(s);
	for (struct statedb_later *l = s->joined; !rc && l; l = l->next)
		rc = l->run(s, l);
	return rc;
}

void statedb_drop_later(struct statedb_later *all, int err)
{
	struct statedb_later *next;

	if (all && err)
		log_warn("the modes and times of some files may be forgotten: %s", strerror(-err));
	for (; all; all = next) {
		next = all->next;
		all->free(all);
	}
}

void statedb_end_joined(struct statedb *s, bool committed)
{
	struct statedb_later *all = s->joined, *last = all;

	s->joined = NULL;
	if (committed || !all) {
		statedb_drop_later(all, 0);
		return;
	}
	/* The next transaction tries again, in the same order. */
	while (last->next)
		last = last->next;
	pthread_mutex_lock(&s->wal_lock);
	last->next = s->later;
	s->later = all;
	pthread_mutex_unlock(&s->wal_lock);
}
