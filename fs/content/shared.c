/*
 * A file is in the hands of one worker at a time (running); a worker that hangs keeps it. Its
 * due_ms tells when a worker is to look at it next.
 */
#include "fs/content/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/shared_dir.h"
#include "fs/content/shared_job.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define WORKERS 4
#define STACK_SIZE (256U << 10)
#define POLL_MS 100
#define STOP_MS 4000 /* for what is being stored, at the end */
#define NEVER UINT64_MAX

struct shared_file {
	struct shared *s;
	struct shared_file *next;
	struct shared_job job; /* of the worker that runs it, but for its atomics */
	shared_cb *cb;
	void *arg;
	/* under lock */
	uint64_t due_ms;
	int fd; /* to copy to, or from; -1: none */
	bool wanted, putting, running, hung, calling, ended;
};

struct shared {
	char *dir, *service;
	atomic_ullong clean_ms; /* when to look for what dead hosts left */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	struct shared_file *files;
	unsigned users; /* threads and the owner; the last one frees */
	unsigned hung;	/* workers */
	unsigned busy;	/* workers in the directory, and callbacks */
	bool stopped, checked, told;
	int check_rc;
};

/* Gives the lock back, and frees what nobody uses any more. */
static void leave(struct shared *s)
{
	bool last = --s->users == 0;

	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s->service);
	free(s);
}

/* Under lock: free f if nobody will ask for it and nothing is to be done. */
static bool reap(struct shared_file *f)
{
	struct shared_file **p = &f->s->files;

	if (!f->ended || f->running || f->calling || f->due_ms != NEVER)
		return false;
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return true;
}

/* Under lock, which is given back for the callback. f may be gone afterwards. */
static void answer(struct shared_file *f, int err)
{
	struct shared *s = f->s;

	f->wanted = false;
	f->calling = true;
	s->busy++;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	pthread_mutex_unlock(&s->lock);
	f->cb(f->arg, err);
	pthread_mutex_lock(&s->lock);
	f->calling = false;
	s->busy--;
	pthread_cond_broadcast(&s->changed);
	reap(f);
}

/* ---- workers ---- */

/* Under lock. */
static void tell(struct shared *s, const char *what, int err)
{
	if (s->told)
		return;
	s->told = true;
	log_warn("shared_cache=%s: %s: %s; Files come from the service meanwhile", s->dir, what,
		 strerror(-err));
}

/* Under lock: a look-up's outcome. f may be gone afterwards. */
static void looked(struct shared_file *f, int rc)
{
	if (rc == -EAGAIN && !atomic_load(&f->job.stop)) {
		f->due_ms = clock_mono_ms() + POLL_MS;
		return;
	}
	if (rc && rc != -ENOENT && rc != -EAGAIN && rc != -ECANCELED)
		tell(f->s, "reading", rc);
	f->due_ms = f->job.locked ? clock_mono_ms() + SHARED_BEAT_MS : NEVER;
	answer(f, rc == -EAGAIN ? -ECANCELED : rc);
}

/* Under lock, which is given back meanwhile. f may be gone afterwards. */
static void run(struct shared_file *f)
{
	struct shared *s = f->s;
	bool wanted = f->wanted, putting = f->putting, over = f->ended || s->stopped;
	int rc = 0, fd = f->fd;

	f->due_ms = NEVER;
	f->running = true;
	f->fd = -1; /* a worker that hangs keeps it */
	s->busy++;
	atomic_store(&f->job.alive_ms, clock_mono_ms());
	pthread_mutex_unlock(&s->lock);
	if (wanted)
		rc = atomic_load(&f->job.stop) ? -ECANCELED : shared_job_look(&f->job, fd);
	else if (putting)
		rc = shared_job_store(&f->job, fd);
	else if (f->job.locked && !over)
		shared_job_beat(&f->job);
	if (putting || over)
		shared_job_unlock(&f->job);
	if (putting && !rc)
		shared_job_clean(&f->job);
	pthread_mutex_lock(&s->lock);
	s->busy--;
	f->running = false;
	if (f->hung) {
		f->hung = false;
		s->hung--;
	}
	if (putting)
		f->putting = false;
	if (putting && rc && rc != -ECANCELED)
		tell(s, "storing", rc);
	/* Only a look-up that waits needs it again. */
	if (fd >= 0 && wanted && f->wanted && rc == -EAGAIN)
		f->fd = fd;
	else if (fd >= 0)
		close(fd);
	/* What came up meanwhile has set its own time. */
	if (f->wanted && wanted)
		looked(f, rc);
	else if (f->job.locked && f->due_ms == NEVER)
		f->due_ms = over || f->ended ? 0 : clock_mono_ms() + SHARED_BEAT_MS;
	else
		reap(f);
	pthread_cond_broadcast(&s->changed);
}

/* Under lock: the file that is due first. */
static struct shared_file *next_due(struct shared *s)
{
	struct shared_file *found = NULL, *f;

	for (f = s->files; f; f = f->next) {
		if (!f->running && f->due_ms != NEVER && (!found || f->due_ms < found->due_ms))
			found = f;
	}
	return found;
}

static void check(struct shared *s)
{
	mode_t mode;
	int dir, rc;

	s->checked = true;
	s->busy++;
	s->hung++; /* until it is known not to hang */
	pthread_mutex_unlock(&s->lock);
	rc = shared_dir_open(s->dir, &dir, &mode);
	if (!rc)
		close(dir);
	pthread_mutex_lock(&s->lock);
	s->busy--;
	s->hung--;
	s->check_rc = rc;
	pthread_cond_broadcast(&s->changed);
}

static void *worker_main(void *arg)
{
	struct shared *s = arg;
	struct shared_file *f;

	pthread_mutex_lock(&s->lock);
	if (!s->checked)
		check(s);
	for (;;) {
		f = next_due(s);
		if (f && (f->due_ms <= clock_mono_ms() || s->stopped))
			run(f);
		else if (s->stopped)
			break;
		else
			clock_cond_wait(&s->changed, &s->lock, f ? f->due_ms : NEVER);
	}
	leave(s);
	return NULL;
}

/* Under lock: a file without progress. */
static struct shared_file *find_stuck(struct shared *s, uint64_t now)
{
	struct shared_file *f;

	for (f = s->files; f; f = f->next) {
		if (now < atomic_load(&f->job.alive_ms) + SHARED_HANG_MS)
			continue;
		if ((f->running && !f->hung) || (f->wanted && !f->calling))
			return f;
	}
	return NULL;
}

static void *watch_main(void *arg)
{
	struct shared *s = arg;
	struct shared_file *f;

	pthread_mutex_lock(&s->lock);
	while (!s->stopped) {
		f = find_stuck(s, clock_mono_ms());
		if (!f) {
			clock_cond_wait(&s->changed, &s->lock,
					s->files ? clock_mono_ms() + SHARED_BEAT_MS / 2 : NEVER);
			continue;
		}
		atomic_store(&f->job.stop, true);
		if (f->running && !f->hung) {
			f->hung = true;
			s->hung++;
			tell(s, "it does not answer", -ETIMEDOUT);
		}
		if (f->wanted) {
			if (!f->running)
				f->due_ms = NEVER;
			answer(f, -ETIMEDOUT);
		}
	}
	leave(s);
	return NULL;
}

static int start(struct shared *s, void *(*fn)(void *))
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc = pthread_attr_init(&attr);

	if (rc)
		return -rc;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_mutex_lock(&s->lock);
	rc = -pthread_create(&thread, &attr, fn, s);
	if (!rc)
		s->users++;
	pthread_mutex_unlock(&s->lock);
	pthread_attr_destroy(&attr);
	return rc;
}

/* ---- for the owner ---- */

int shared_open(const char *dir, const char *service, struct shared **ret)
{
	struct shared *s = calloc(1, sizeof(*s));
	uint64_t until = clock_mono_ms() + SHARED_HANG_MS;
	int rc = 0;

	if (!s)
		return -ENOMEM;
	s->users = 1;
	s->check_rc = -EINPROGRESS;
	pthread_mutex_init(&s->lock, NULL);
	clock_cond_init(&s->changed);
	s->dir = strdup(dir);
	s->service = strdup(service);
	if (!s->dir || !s->service)
		rc = -ENOMEM;
	for (unsigned i = 0; !rc && i < WORKERS; i++)
		rc = start(s, worker_main);
	if (!rc)
		rc = start(s, watch_main);
	pthread_mutex_lock(&s->lock);
	while (!rc && s->check_rc == -EINPROGRESS && clock_mono_ms() < until)
		clock_cond_wait(&s->changed, &s->lock, until);
	if (!rc && s->check_rc == -EINPROGRESS)
		tell(s, "it does not answer", -ETIMEDOUT);
	else if (!rc)
		rc = s->check_rc;
	pthread_mutex_unlock(&s->lock);
	if (rc) {
		shared_stop(s);
		shared_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* Under lock: wait until no worker but those that hang is in the directory, nor a callback runs. */
static void settle(struct shared *s, uint64_t until)
{
	while ((s->busy > s->hung || next_due(s)) && clock_mono_ms() < until)
		clock_cond_wait(&s->changed, &s->lock, until);
}

void shared_stop(struct shared *s)
{
	struct shared_file *f;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopped = true;
	for (f = s->files; f; f = f->next) {
		if (!f->putting)
			atomic_store(&f->job.stop, true);
		if (!f->running && (f->job.locked || f->putting))
			f->due_ms = 0;
	}
	pthread_cond_broadcast(&s->changed);
	for (f = s->files; f;) {
		if (f->wanted && !f->calling) {
			if (!f->running)
				f->due_ms = NEVER;
			answer(f, -ECANCELED);
			f = s->files;
		} else {
			f = f->next;
		}
	}
	settle(s, clock_mono_ms() + STOP_MS);
	for (f = s->files; f; f = f->next)
		atomic_store(&f->job.stop, true);
	settle(s, clock_mono_ms() + SHARED_BEAT_MS);
	pthread_mutex_unlock(&s->lock);
}

void shared_close(struct shared *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	leave(s);
}

struct shared_file *shared_begin(struct shared *s, const char *file_id, uint64_t bytes,
				 const char *md5)
{
	struct shared_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->s = s;
	f->job.dir = s->dir;
	f->job.clean_ms = &s->clean_ms;
	f->job.bytes = bytes;
	f->fd = -1;
	f->due_ms = NEVER;
	memcpy(f->job.md5, md5, strnlen(md5, sizeof(f->job.md5) - 1));
	if (!shared_dir_name(s->service, file_id, &f->job.name) || shared_dir_token(f->job.token)) {
		free(f);
		return NULL;
	}
	atomic_store(&f->job.alive_ms, clock_mono_ms());
	pthread_mutex_lock(&s->lock);
	f->next = s->files;
	s->files = f;
	pthread_mutex_unlock(&s->lock);
	return f;
}

/* Under lock. A busy worker sees it when it is done. */
static void post(struct shared_file *f)
{
	f->due_ms = clock_mono_ms();
	atomic_store(&f->job.alive_ms, f->due_ms);
	pthread_cond_broadcast(&f->s->changed);
}

int shared_get(struct shared_file *f, int fd, shared_cb *cb, void *arg)
{
	struct shared *s = f->s;
	int ours = fcntl(fd, F_DUPFD_CLOEXEC, 3), rc = ours < 0 ? -errno : 0;

	pthread_mutex_lock(&s->lock);
	if (!rc && (s->hung || s->stopped))
		rc = -EBUSY;
	if (!rc) {
		f->fd = ours;
		f->cb = cb;
		f->arg = arg;
		f->wanted = true;
		post(f);
	}
	pthread_mutex_unlock(&s->lock);
	if (rc && ours >= 0)
		close(ours);
	return rc;
}

void shared_cancel(struct shared_file *f)
{
	pthread_mutex_lock(&f->s->lock);
	atomic_store(&f->job.stop, true);
	if (f->wanted && !f->running)
		post(f);
	pthread_mutex_unlock(&f->s->lock);
}

void shared_progress(struct shared_file *f, uint64_t bytes)
{
	atomic_fetch_add(&f->job.progress, bytes);
}

void shared_put(struct shared_file *f, int fd)
{
	struct shared *s = f->s;
	int ours = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	pthread_mutex_lock(&s->lock);
	if (ours >= 0 && !s->hung && !s->stopped && !f->putting && f->fd < 0) {
		f->fd = ours;
		f->putting = true;
		atomic_store(&f->job.stop, false);
		post(f);
		ours = -1;
	}
	pthread_mutex_unlock(&s->lock);
	if (ours >= 0)
		close(ours);
}

void shared_end(struct shared_file *f)
{
	struct shared *s;

	if (!f)
		return;
	s = f->s;
	pthread_mutex_lock(&s->lock);
	f->ended = true;
	if (!f->running && !f->putting && f->job.locked && !s->stopped)
		post(f);
	reap(f);
	pthread_mutex_unlock(&s->lock);
}
