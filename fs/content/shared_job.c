/* A lock tells its holder and the progress, so that others can tell slow hosts from dead ones. */
#include "fs/content/shared_job.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/shared.h"
#include "net/base/clock.h"

#define CLEAN_MS (6 * 3600 * 1000) /* from one look for what dead hosts left to the next */
#define FIRST_BEATS 8		   /* seconds in which the first byte may come */

static int note_step(void *arg, uint64_t copied)
{
	struct shared_job *j = arg;

	(void)copied;
	atomic_store(&j->alive_ms, clock_mono_ms());
	return atomic_load(&j->stop) ? -ECANCELED : 0;
}

struct putting {
	struct shared_job *j;
	int dir;
	uint64_t beat_ms;
};

/* Others wait for what is being stored, too. */
static int note_put(void *arg, uint64_t copied)
{
	struct putting *p = arg;
	uint64_t now = clock_mono_ms();

	if (p->j->locked && now - p->beat_ms >= SHARED_BEAT_MS) {
		p->beat_ms = now;
		if (shared_dir_beat(p->dir, &p->j->name, p->j->token, p->j->bytes + copied))
			p->j->locked = false;
	}
	return note_step(p->j, copied);
}

/* Another mount downloads it: true while it is worth waiting. */
static bool is_patient(struct shared_job *j, int dir)
{
	uint64_t progress = 0, now = clock_mono_ms();
	char holder[SHARED_TOKEN_SIZE] = "";

	/* One that can't be read gets along as little as one that makes no sense. */
	(void)shared_dir_holder(dir, &j->name, holder, &progress);
	if (!j->waiting_ms)
		j->waiting_ms = now;
	else if (!strcmp(holder, j->holder) && progress > j->holder_at)
		j->gained += progress - j->holder_at;
	/* Whatever stands there, the sum stays within the File: once to load, once to store. */
	if (j->gained > 2 * j->bytes)
		j->gained = 2 * j->bytes;
	memcpy(j->holder, holder, sizeof(holder));
	j->holder_at = progress;
	return now - j->waiting_ms <= SHARED_WAIT_MS + j->gained / (SHARED_PACE / 1000);
}

/* As shared_job_look(). */
static int claim(struct shared_job *j, int dir, mode_t mode)
{
	int rc = shared_dir_lock(dir, &j->name, mode, j->token);

	if (rc == -EEXIST && is_patient(j, dir))
		return -EAGAIN;
	/* No progress: left behind by a dead host. Slow ones keep their lock. */
	if (rc == -EEXIST && !j->gained) {
		shared_dir_unlock(dir, &j->name, j->holder);
		if (!j->holder[0])
			unlinkat(dir, j->name.lock, 0);
		rc = shared_dir_lock(dir, &j->name, mode, j->token);
	}
	j->locked = !rc;
	return -ENOENT;
}

int shared_job_look(struct shared_job *j, int fd)
{
	const struct shared_watch watch = { note_step, j };
	mode_t mode;
	int dir, rc = shared_dir_open(j->dir, &dir, &mode);

	if (rc)
		return rc;
	rc = shared_dir_take(dir, &j->name, j->bytes, j->md5, fd, &watch);
	if (rc == -ENOENT) {
		rc = claim(j, dir, mode);
		/* The former holder may have stored it since the first look. */
		if (j->locked)
			rc = shared_dir_take(dir, &j->name, j->bytes, j->md5, fd, &watch);
		if (j->locked && !rc) {
			shared_dir_unlock(dir, &j->name, j->token);
			j->locked = false;
		}
	}
	close(dir);
	return rc;
}

int shared_job_store(struct shared_job *j, int fd)
{
	struct putting putting = { .j = j };
	const struct shared_watch watch = { note_put, &putting };
	mode_t mode;
	int rc = shared_dir_open(j->dir, &putting.dir, &mode);

	if (rc)
		return rc;
	rc = shared_dir_put(putting.dir, &j->name, mode, j->bytes, j->md5, fd, &watch);
	close(putting.dir);
	return rc;
}

void shared_job_clean(struct shared_job *j)
{
	const struct shared_watch watch = { note_step, j };
	uint64_t now = clock_mono_ms();
	unsigned long long due = atomic_load(j->clean_ms);
	mode_t mode;
	int dir;

	if (now < due || !atomic_compare_exchange_strong(j->clean_ms, &due, now + CLEAN_MS) ||
	    shared_dir_open(j->dir, &dir, &mode))
		return;
	shared_dir_clean(dir, &j->name, &watch);
	close(dir);
}

void shared_job_unlock(struct shared_job *j)
{
	mode_t mode;
	int dir;

	if (!j->locked)
		return;
	j->locked = false;
	/* One that stays is left behind like a dead host's. */
	if (shared_dir_open(j->dir, &dir, &mode))
		return;
	shared_dir_unlock(dir, &j->name, j->token);
	close(dir);
}

void shared_job_beat(struct shared_job *j)
{
	uint64_t progress = atomic_load(&j->progress);
	mode_t mode;
	int dir;

	j->idle = progress == j->beaten ? j->idle + 1 : 0;
	j->beaten = progress;
	/* A download that stands still makes way for those who wait. */
	if (j->idle >= (progress ? SHARED_IDLE_BEATS : FIRST_BEATS)) {
		shared_job_unlock(j);
		return;
	}
	if (shared_dir_open(j->dir, &dir, &mode))
		return;
	if (shared_dir_beat(dir, &j->name, j->token, progress))
		j->locked = false;
	close(dir);
}
