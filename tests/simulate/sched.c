/*
 * Coroutines in place of threads. The linker hands us the product's calls of pthread_*() and of the
 * clock (--wrap): a lock that is taken, a signal that is waited for and each system call are points
 * at which another one may go on. A mutex is the number of its owner; it lies in the caller's
 * pthread_mutex_t.
 */
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "tests/simulate/sched.h"
#include "tests/simulate/sim.h"

/* The linker leads the product to __wrap_X() for each X of SIM_WRAPS in the Makefile. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define COS 128
#define STACK (3UL << 20)
#define HELD 8
#define WALL_0 1600000000

enum co_state { CO_FREE, CO_READY, CO_BLOCKED, CO_DONE };

struct co {
	ucontext_t ctx;
	void *stack;
	enum co_state state;
	unsigned arena, nr;
	const char *name;
	void *(*fn)(void *);
	void *arg, *result;
	const void *on;	   /* what it waits for */
	uint64_t until_ms; /* UINT64_MAX: no time */
	bool timed_out, detached;
	int saved_errno;
	unsigned *held[HELD]; /* mutexes, by the time of their locking */
	unsigned held_count;
};

static struct co threads[COS];
static ucontext_t world;
static struct co *self;
static unsigned world_arena, preempt;

uint64_t sim_ms, sim_steps;

struct co *co_self(void)
{
	return self;
}

void co_set_preempt(unsigned per_mille)
{
	preempt = per_mille;
}

static void leave(void)
{
	struct co *c = self;

	c->saved_errno = errno;
	swapcontext(&c->ctx, &world);
	errno = c->saved_errno;
}

static void entry(void)
{
	self->result = self->fn(self->arg);
	self->state = CO_DONE;
	co_wake(self);
	if (self->detached)
		self->state = CO_FREE;
	leave();
	abort();
}

static void *stack_new(void)
{
	void *p = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || mprotect(p, 4096, PROT_NONE))
		abort();
	return p;
}

struct co *co_start(unsigned arena, const char *name, void *(*fn)(void *), void *arg)
{
	struct co *c = threads;
	void *stack;

	while (c < threads + COS && c->state != CO_FREE)
		c++;
	if (c == threads + COS)
		wrong("too many threads");
	stack = c->stack ? c->stack : stack_new();
	memset(c, 0, sizeof(*c));
	c->stack = stack;
	c->nr = (unsigned)(c - threads) + 1;
	c->arena = arena;
	c->name = name;
	c->fn = fn;
	c->arg = arg;
	c->until_ms = UINT64_MAX;
	c->state = CO_READY;
	getcontext(&c->ctx);
	c->ctx.uc_stack.ss_sp = stack;
	c->ctx.uc_stack.ss_size = STACK;
	makecontext(&c->ctx, entry, 0);
	return c;
}

void co_detach(struct co *c)
{
	c->detached = true;
}

void co_yield (void)
{
	if (self)
		leave();
}

void co_point(void)
{
	if (self && preempt && luck_chance(LUCK_ORDER, preempt))
		leave();
}

void co_block_until(const void *on, uint64_t ms)
{
	struct co *c = self;

	if (!c)
		wrong("the world waits");
	c->on = on;
	c->until_ms = ms;
	c->timed_out = false;
	c->state = CO_BLOCKED;
	leave();
	c->on = NULL;
	c->until_ms = UINT64_MAX;
}

void co_block(const void *on)
{
	co_block_until(on, UINT64_MAX);
}

void co_wake(const void *on)
{
	for (struct co *c = threads; c < threads + COS; c++)
		if (c->state == CO_BLOCKED && c->on == on)
			c->state = CO_READY;
}

/* One of those that wait. */
static void wake_one(const void *on)
{
	struct co *waiting[COS];
	unsigned n = 0;

	for (struct co *c = threads; c < threads + COS; c++)
		if (c->state == CO_BLOCKED && c->on == on)
			waiting[n++] = c;
	if (n)
		waiting[n > 1 ? luck_any(LUCK_ORDER, n) : 0]->state = CO_READY;
}

static void expire(void)
{
	for (struct co *c = threads; c < threads + COS; c++)
		if (c->state == CO_BLOCKED && c->until_ms <= sim_ms) {
			c->timed_out = true;
			c->state = CO_READY;
		}
}

uint64_t co_next_timer(void)
{
	uint64_t next = UINT64_MAX;

	for (struct co *c = threads; c < threads + COS; c++)
		if (c->state == CO_BLOCKED && c->until_ms < next)
			next = c->until_ms;
	return next;
}

unsigned co_ready(void)
{
	unsigned n = 0;

	expire();
	for (struct co *c = threads; c < threads + COS; c++)
		n += c->state == CO_READY;
	return n;
}

bool co_run_one(void)
{
	unsigned n = co_ready(), k;
	struct co *c = threads;

	if (!n)
		return false;
	k = n > 1 ? luck_any(LUCK_ORDER, n) : 0;
	for (;; c++)
		if (c->state == CO_READY && !k--)
			break;
	sim_steps++;
	self = c;
	world_arena = arena_enter(c->arena);
	swapcontext(&world, &c->ctx);
	c->arena = arena_enter(world_arena);
	self = NULL;
	return true;
}

void co_kill(unsigned arena)
{
	for (struct co *c = threads; c < threads + COS; c++) {
		if (c->state == CO_FREE || c->arena != arena)
			continue;
		/* Those of the program's own variables outlive their daemon. */
		while (c->held_count)
			*c->held[--c->held_count] = 0;
		c->state = CO_FREE;
	}
}

void co_reset(void)
{
	self = NULL;
	for (unsigned a = ARENA_WORLD; a < ARENA_HOST + HOSTS; a++)
		co_kill(a);
}

void sched_dump(void)
{
	for (struct co *c = threads; c < threads + COS; c++)
		if (c->state != CO_FREE)
			trace("  thread %u %s: state %d, waits for %p", c->nr, c->name, c->state,
			      c->on);
}

/* ---- pthread ---- */

static unsigned *owner_of(pthread_mutex_t *m)
{
	return (unsigned *)m;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr)
{
	(void)attr;
	memset(m, 0, sizeof(*m));
	return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *m)
{
	if (*owner_of(m) && self)
		wrong("a locked mutex is destroyed");
	return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
	if (!self)
		return 0; /* before and after a run: nobody else is there */
	co_point();
	if (*owner_of(m) == self->nr)
		wrong("%s locks a mutex twice", self->name);
	while (*owner_of(m))
		co_block(m);
	*owner_of(m) = self->nr;
	if (self->held_count == HELD)
		wrong("%s holds %u locks", self->name, HELD);
	self->held[self->held_count++] = owner_of(m);
	return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
	if (!self)
		return 0;
	if (*owner_of(m))
		return EBUSY;
	return __wrap_pthread_mutex_lock(m);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
	unsigned i;

	if (!self)
		return 0;
	if (*owner_of(m) != self->nr)
		wrong("%s unlocks the mutex of another", self->name);
	*owner_of(m) = 0;
	for (i = self->held_count; i-- && self->held[i] != owner_of(m);)
		;
	memmove(&self->held[i], &self->held[i + 1],
		(--self->held_count - i) * sizeof(self->held[0]));
	wake_one(m);
	co_point();
	return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
	(void)attr;
	memset(cond, 0, sizeof(*cond));
	return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
	(void)cond;
	return 0;
}

static int wait_until(pthread_cond_t *cond, pthread_mutex_t *m, uint64_t ms)
{
	bool late;

	/* No point between the unlock and the wait: a signal would be lost. */
	if (*owner_of(m) != self->nr)
		wrong("%s waits without its lock", self->name);
	*owner_of(m) = 0;
	for (unsigned i = 0; i < self->held_count; i++)
		if (self->held[i] == owner_of(m))
			memmove(&self->held[i], &self->held[i + 1],
				(--self->held_count - i) * sizeof(self->held[0]));
	wake_one(m);
	co_block_until(cond, ms);
	late = self->timed_out;
	__wrap_pthread_mutex_lock(m);
	return late ? ETIMEDOUT : 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *m)
{
	return wait_until(cond, m, UINT64_MAX);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *m,
				  const struct timespec *ts)
{
	uint64_t ms = (uint64_t)ts->tv_sec * 1000 + ((uint64_t)ts->tv_nsec + 999999) / 1000000;

	/* By the wall clock, if it is no time of ours. */
	if (ts->tv_sec >= WALL_0)
		ms -= WALL_0 * 1000ULL;
	return wait_until(cond, m, ms);
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
	if (!self)
		return 0;
	wake_one(cond);
	co_point();
	return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
	if (!self)
		return 0;
	co_wake(cond);
	co_point();
	return 0;
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	struct co *c = co_start(self->arena, "thread", fn, arg);
	int detached = PTHREAD_CREATE_JOINABLE;

	if (attr)
		pthread_attr_getdetachstate(attr, &detached);
	c->detached = detached == PTHREAD_CREATE_DETACHED;
	*ret = c->nr;
	co_point();
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
	struct co *c = &threads[thread - 1];

	while (c->state != CO_DONE)
		co_block(c);
	if (ret)
		*ret = c->result;
	c->state = CO_FREE;
	return 0;
}

pthread_t __wrap_pthread_self(void)
{
	return self ? self->nr : 0;
}

void __wrap_pthread_exit(void *result)
{
	self->result = result;
	self->state = CO_DONE;
	co_wake(self);
	if (self->detached)
		self->state = CO_FREE;
	leave();
	abort();
}

/* ---- time ---- */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	ts->tv_sec = (time_t)(sim_ms / 1000);
	ts->tv_nsec = (long)(sim_ms % 1000) * 1000000;
	if (id == CLOCK_REALTIME)
		ts->tv_sec += WALL_0;
	return 0;
}

int __wrap_nanosleep(const struct timespec *ts, struct timespec *left)
{
	(void)left;
	co_block_until(NULL,
		       sim_ms + (uint64_t)ts->tv_sec * 1000 + (uint64_t)ts->tv_nsec / 1000000);
	return 0;
}
