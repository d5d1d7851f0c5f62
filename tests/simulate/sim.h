/*
 * sim: one seeded scheduler over whole daemons. Every thread of a daemon is a coroutine here, every
 * system call one of an own kernel in memory, every call of the service one of an own service; all
 * run on one thread, in an order that the seed decides. docs/hacking.md has the tour.
 */
#ifndef UPLOADFS_TESTS_SIMULATE_SIM_H
#define UPLOADFS_TESTS_SIMULATE_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOSTS 2
#define CLIENTS 4 /* of a host */
#define NAMES 3	  /* that a client has */

/* ---- luck.c: numbers from the seed, the trace, the end by a failure ---- */

/* A stream of numbers for each kind of choice: leaving out one choice shifts no other stream. */
enum luck { LUCK_WORLD, LUCK_ORDER, LUCK_NET, LUCK_DISK, LUCK_RANDOM, LUCK_CLIENT };
#define LUCK_STRANGER (LUCK_CLIENT + HOSTS * CLIENTS)
#define LUCKS (LUCK_STRANGER + 1)

void luck_start(uint64_t seed);
uint64_t luck_bits(unsigned stream);
unsigned luck_any(unsigned stream, unsigned n); /* below n */
bool luck_chance(unsigned stream, unsigned per_mille);

/* Choices that can be left out, to shrink a failure. */
enum choice { CHOICE_OP, CHOICE_NET, CHOICE_DISK, CHOICE_KILL, CHOICE_STRANGER, CHOICES };
bool choice_made(enum choice kind); /* counts; false: this one is left out */
void choice_skip(enum choice kind, unsigned from, unsigned to); /* numbers [from, to) */
void choice_skip_clear(void);
unsigned choice_count(enum choice kind);

extern bool trace_loud;
__attribute__((format(printf, 1, 2))) void trace(const char *fmt, ...);
/* The run has failed: back to the caller of sim_run(). */
__attribute__((format(printf, 1, 2), noreturn)) void wrong(const char *fmt, ...);

/* ---- heap.c: memory by owner ---- */

enum arena { ARENA_BASE, ARENA_WORLD, ARENA_HOST };
/* malloc() takes from there from now on; returns the former one. */
unsigned arena_enter(unsigned arena);
void arena_reset(unsigned arena); /* all that is in it is gone */

/* ---- sched.c: coroutines in place of threads ---- */

struct co;
struct co *co_start(unsigned arena, const char *name, void *(*fn)(void *), void *arg);
struct co *co_self(void);     /* NULL: the world */
void co_detach(struct co *c); /* it is nobody's to join */
void co_yield (void);
void co_point(void);	       /* another one's turn, perhaps */
void co_block(const void *on); /* until co_wake(on); spurious wake-ups happen */
void co_block_until(const void *on, uint64_t ms);
void co_wake(const void *on);
bool co_run_one(void); /* a slice of one that can go on; false: none can */
unsigned co_ready(void);
uint64_t co_next_timer(void); /* UINT64_MAX: none */
void co_kill(unsigned arena); /* all of that arena are gone */
void co_reset(void);
void co_set_preempt(unsigned per_mille);

extern uint64_t sim_ms;	   /* the clock */
extern uint64_t sim_steps; /* slices and events */

/* ---- sim.c ---- */

struct sim_conf {
	uint64_t seed;
	unsigned hosts, clients, ops;		       /* ops of each client */
	unsigned kills, cuts, net_faults, disk_faults; /* per mille */
	unsigned preempt;
	unsigned stranger; /* per mille of the steps of the service; 0: there is none */
	uint64_t lag_ms, part_size;
	bool lying_disk; /* syncs do nothing: the oracle has to notice */
	bool signals;	 /* end processes */
	bool list_faults, race, refuse, with_upload, keep_old, close_async, sync_always;
};
extern struct sim_conf conf;

#endif
