/*
 * scout: the threads that look at the files of writers, in place of those that
 * serve requests. A look may hang for ever in a foreign file system: it is left
 * behind then, and nobody waits for it, not even the end of the daemon.
 *
 * At most SCOUT_THREADS threads, started as needed; another one starts only when
 * each of the others has looked for SCOUT_PATIENCE_MS. At most SCOUT_QUEUE looks
 * wait. With all threads hung, or the queue full, scout_post() drops the look.
 *
 * The first step is true only while the writer waits, so that scout_post() waits
 * for it: SCOUT_NOTE_MS at most, and SCOUT_WAITING callers at once.
 */
#ifndef UPLOADFS_FS_PROC_SCOUT_H
#define UPLOADFS_FS_PROC_SCOUT_H

#include <stdint.h>

#define SCOUT_THREADS 4
#define SCOUT_QUEUE 16
#define SCOUT_PATIENCE_MS 100
#define SCOUT_NOTE_MS 200
#define SCOUT_WAITING 4

struct scout;
struct predict_look; /* fs/proc/source.h */

struct scout_config {
	/* predict_note(): 0, or negative errno, which ends the look. On a scout's thread. */
	int (*note)(struct predict_look *l);
	/* predict_finish(): 0 and a size in bytes, or negative errno. On a scout's thread. */
	int (*look)(const struct predict_look *l, uint64_t *ret_size);
	void (*free)(struct predict_look *l); /* predict_free() */
	/* The size a look has found; on a scout's thread, never after scout_free(). */
	void (*found)(void *arg, uint64_t id, uint64_t ticket, uint64_t size);
	void *arg;
};

/* 0 or -ENOMEM. No thread is started yet. */
int scout_new(const struct scout_config *cfg, struct scout **ret);

/*
 * Takes l over, and frees it also when it is dropped. id, ticket: for found().
 * Any thread; waits for note(), but no longer than SCOUT_NOTE_MS, and for a found()
 * that runs. A look whose note() takes longer is dropped.
 */
void scout_post(struct scout *s, struct predict_look *l, uint64_t id, uint64_t ticket);

/*
 * Drops the looks that wait, and leaves behind those that hang: their memory is
 * freed when they return. Waits only for a found() that runs. Don't call it with
 * a lock that found() takes. NULL is a no-op.
 */
void scout_free(struct scout *s);

#endif
