/* ahead: see ahead.h. */
#include "net/server/ahead.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/server/store.h"

#define CHUNK (256u << 10)

static int digest_fd(struct state *st, int fd, char *chunk, struct digest *d)
{
	ssize_t n;
	int err = 0;

	while (!err) {
		if (atomic_load(&st->stopping))
			return -ECANCELED;
		n = read(fd, chunk, CHUNK);
		if (n == 0)
			break;
		err = n < 0 ? -errno : digest_update(d, chunk, (size_t)n);
	}
	return err;
}

/* Feed one Part to d. */
static int digest_part(struct state *st, const char *owner, const char *id, struct digest *d)
{
	char *chunk;
	int fd, err = store_part_open(st->store, owner, id, &fd);

	if (err)
		return err;
	chunk = malloc(CHUNK);
	err = chunk ? digest_fd(st, fd, chunk, d) : -ENOMEM;
	free(chunk);
	close(fd);
	return err;
}

static struct digest *digest_after(const struct part *part)
{
	return part ? digest_copy(part->after) : digest_new();
}

/* Return an Upload whose next Part is there, or NULL. Under lock. */
static struct upload *pick(struct state *st)
{
	size_t i;

	if (store_forgets(st->store))
		return NULL;
	for (i = 0; i < st->pending_count; i++) {
		struct upload *up = st->pending[i];
		const struct part *next;

		if (up->busy || up->hashed == up->part_count)
			continue;
		next = up->parts[up->hashed];
		if (next->finished && next->ordered)
			return up;
	}
	return NULL;
}

/*
 * Hash the next Part of up. Under lock, which is released while reading. False: this Upload can't
 * be hashed now.
 */
static bool hash_next(struct state *st, struct upload *up)
{
	struct part *part = up->parts[up->hashed];
	struct digest *d = digest_after(up->hashed ? up->parts[up->hashed - 1] : NULL);
	int err = d ? 0 : -ENOMEM;

	up->hashing = true;
	pthread_mutex_unlock(&st->lock);
	if (!err)
		err = digest_part(st, up->id, part->id, d);
	pthread_mutex_lock(&st->lock);
	up->hashing = false;
	if (err) {
		digest_free(d);
	} else {
		part->after = d;
		up->hashed++;
	}
	upload_drop_parts(up);
	pthread_cond_broadcast(&st->changed);
	return !err;
}

static void *ahead_main(void *arg)
{
	struct state *st = arg;
	struct upload *up;
	bool idle = false;

	pthread_mutex_lock(&st->lock);
	/* state_stop() may come while hash_next() has let the lock go: look before each wait. */
	while (!atomic_load(&st->stopping)) {
		if (idle)
			pthread_cond_wait(&st->changed, &st->lock);
		up = pick(st);
		/* After an error (the Parts were just removed, say) wait for news, too. */
		idle = !up || !hash_next(st, up);
	}
	pthread_mutex_unlock(&st->lock);
	return NULL;
}

int ahead_start(struct state *st)
{
	return -pthread_create(&st->ahead, NULL, ahead_main, st);
}

void ahead_join(struct state *st)
{
	pthread_join(st->ahead, NULL);
}

/* Wait for the thread to leave the Upload, then take its digest of f's beginning. */
static struct digest *take_known(struct state *st, struct upload *up, const struct file *f,
				 size_t *ret_parts)
{
	struct digest *d;
	size_t n = 0;

	pthread_mutex_lock(&st->lock);
	while (up->hashing)
		pthread_cond_wait(&st->changed, &st->lock);
	while (n < up->hashed && n < f->part_count && !strcmp(up->parts[n]->id, f->parts[n].id))
		n++;
	d = digest_after(n ? up->parts[n - 1] : NULL);
	pthread_mutex_unlock(&st->lock);
	*ret_parts = n;
	return d;
}

int ahead_digest(struct state *st, struct upload *up, const struct file *f,
		 char ret_hex[DIGEST_HEX_SIZE])
{
	size_t i;
	struct digest *d = take_known(st, up, f, &i);
	int err = d ? 0 : -ENOMEM;

	for (; i < f->part_count && !err; i++)
		err = digest_part(st, up->id, f->parts[i].id, d);
	if (!err)
		err = digest_hex(d, ret_hex);
	digest_free(d);
	return err;
}
