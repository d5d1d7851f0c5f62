/*
 * The C side of table.pml: a view from its number, for both sides, and the comparison. Included
 * into the verifier that spin writes, where the variables of rules.pml are globals.
 */
#ifndef UPLOADFS_TESTS_MODEL_TABLE_H
#define UPLOADFS_TESTS_MODEL_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "fs/publish/doubt.h"
#include "fs/publish/next.h"
#include "tests/model/rules_names.h"

#define NOW 100000000U

static struct publish_view table_v;
static unsigned long table_compared;

/* A number of 64 bits that depends on n alone. */
static uint64_t mixed(uint64_t n)
{
	n += 0x9e3779b97f4a7c15U;
	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9U;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebU;
	return n ^ (n >> 31);
}

/* Take the lowest of the bits off *n. */
static bool bit(uint64_t *n)
{
	bool b = *n & 1;

	*n >>= 1;
	return b;
}

enum { KIND_DOUBT, KIND_IDLE, KIND_OPEN, KIND_SYNC };

static int table_views(int kind)
{
	static const int views[] = {
		[KIND_DOUBT] = 6 * 6 << 18,
		[KIND_IDLE] = 1 << 21,
		[KIND_OPEN] = 1 << 22,
		[KIND_SYNC] = 14 * 6 << 14,
	};

	return views[kind];
}

/* All that the table compares below by its number. */
static bool name_is(const char *name, int ours, int theirs)
{
	if (ours != theirs)
		printf("%s is %d in rules.pml and %d in the program\n", name, ours, theirs);
	return ours == theirs;
}

static bool table_names(void)
{
	bool same = true;

#define NAME(x) same &= name_is(#x, M_##x, x);
	RULES_NAMES
#undef NAME
	return same;
}

static struct doubt_view doubt_of(int view)
{
	uint64_t n = (uint64_t)view % (1 << 18), rest = (uint64_t)view >> 18;
	struct doubt_view v = { .now_ms = NOW, .looked_ms = NOW - 100, .began_ms = NOW - 1000 };

	v.wanted = bit(&n);
	v.upload = bit(&n);
	v.expired = bit(&n);
	v.refused = bit(&n);
	v.answered = bit(&n);
	v.may_repeat = bit(&n);
	v.waited_for = bit(&n);
	v.asked_now = bit(&n);
	v.stale = bit(&n);
	v.rival = bit(&n);
	v.plausible = bit(&n);
	v.dated = bit(&n);
	v.later = bit(&n);
	v.always = bit(&n);
	v.forced = bit(&n);
	v.settled_ms = bit(&n) ? NOW - 200 : NOW + 5000;
	v.ends_ms = NOW - 4000000;
	v.missed_ms = bit(&n) ? v.looked_ms - DOUBT_APART_MS : v.looked_ms - DOUBT_APART_MS + 1;
	v.patience_ms = bit(&n) ? 4000000 : 0;
	v.undated = mixed((uint64_t)view) & 1;
	v.cancel = (enum doubt_cancel)(1 + rest % 6);
	v.found = (enum doubt_found)(rest / 6);
	return v;
}

/* v_phase and the like are variables of rules.pml, which this header can't see. */
#define DOUBT_FIELDS(SET)                                                                         \
	SET(wanted) SET(upload) SET(expired) SET(refused) SET(answered) SET(may_repeat)           \
	SET(waited_for) SET(asked_now) SET(stale) SET(rival) SET(plausible) SET(dated) SET(later) \
	SET(always) SET(undated) SET(forced) SET(cancel) SET(found)

#define VIEW_FIELDS(SET)                                                                     \
	SET(phase) SET(outcome) SET(dropped) SET(aborted) SET(withdrawn) SET(sealed)         \
	SET(held) SET(retry) SET(size_known) SET(early) SET(ask_first) SET(whole)            \
	SET(too_large) SET(stream_failed) SET(mismatch) SET(expired) SET(complete_unknown)   \
	SET(sync_wanted) SET(sync_first) SET(synced) SET(syncing) SET(sync_failed)           \
	SET(unproven) SET(spoiled) SET(maybe_same) SET(same) SET(faulty)                     \
	SET(live) SET(slot) SET(md5_known)

/* Every input but phase and outcome, from the bits of n. */
static void fill(struct publish_view *v, uint64_t n)
{
	v->dropped = bit(&n);
	v->aborted = bit(&n);
	v->unproven = bit(&n);
	v->complete_unknown = bit(&n);
	v->sealed = bit(&n);
	v->held = bit(&n);
	v->spoiled = bit(&n);
	v->md5_err = bit(&n) ? -5 : 0;
	v->ask_first = bit(&n);
	v->sync_first = bit(&n);
	v->synced = bit(&n);
	v->md5_known = bit(&n);
	v->size_known = bit(&n);
	/* PHASE_IDLE reads these besides */
	v->size = bit(&n) ? 4096 : 0;
	v->whole = bit(&n);
	v->too_large = bit(&n);
	v->stream_failed = bit(&n);
	v->early = bit(&n);
	v->maybe_same = bit(&n);
	v->same = bit(&n);
	v->faulty = bit(&n);
}

/* What the rules of the phase read: all combinations. The rest by chance, without a sync. */
static void fill_for(struct publish_view *v, int kind, int view)
{
	uint64_t n = mixed((uint64_t)view * 4 + (uint64_t)kind);

	fill(v, n >> 24);
	v->withdrawn = bit(&n);
	v->retry = bit(&n);
	v->mismatch = bit(&n);
	v->expired = bit(&n);
	v->ready = bit(&n) ? 3 : 0;
	v->sending = bit(&n) ? 2 : 0;
	v->missing = bit(&n) ? 4 : 0;
	v->live = bit(&n);
	v->slot = bit(&n);
	v->syncing = bit(&n);
	v->sync_failed = bit(&n);
	v->outcome = (enum publish_outcome)((n >> 4) % 6);
}

static void fill_open(struct publish_view *v, uint64_t n)
{
	struct publish_view chance = *v;

	fill(v, n & ((1 << 13) - 1));
	v->size = chance.size;
	v->whole = chance.whole;
	v->too_large = chance.too_large;
	v->stream_failed = chance.stream_failed;
	v->early = chance.early;
	v->maybe_same = chance.maybe_same;
	n >>= 13;
	v->mismatch = bit(&n);
	v->expired = bit(&n);
	v->ready = bit(&n) ? 3 : 0;
	v->slot = bit(&n);
	v->live = bit(&n);
	v->missing = bit(&n) ? 4 : 0;
	v->sending = bit(&n) ? 2 : 0;
	v->same = bit(&n);
	v->faulty = bit(&n);
}

/* Each phase and outcome with all that next_sync() and next_ended() read. */
static void fill_sync(struct publish_view *v, uint64_t n)
{
	v->sync_wanted = bit(&n);
	v->sealed = bit(&n);
	v->synced = bit(&n);
	v->syncing = bit(&n);
	v->dropped = bit(&n);
	v->aborted = bit(&n);
	v->unproven = bit(&n);
	v->sync_failed = bit(&n);
	v->retry = bit(&n);
	v->withdrawn = bit(&n);
	n >>= 4; /* sixteen times, each with other chances */
	v->outcome = (enum publish_outcome)(n % 6);
	v->phase = (enum publish_phase)(n / 6);
}

static struct publish_view view_of(int kind, int view)
{
	struct publish_view v = { .phase = kind == KIND_IDLE ? PHASE_IDLE : PHASE_OPEN };

	fill_for(&v, kind, view);
	if (kind == KIND_IDLE)
		fill(&v, (uint64_t)view);
	else if (kind == KIND_OPEN)
		fill_open(&v, (uint64_t)view);
	else
		fill_sync(&v, (uint64_t)view);
	return v;
}

#define SET_D(x) d_##x = table_d.x;
#define SET_V(x) v_##x = table_v.x;
/* Set the variables of rules.pml to view number `view` of its kind. */
#define TABLE_SET(kind, view)                                                                   \
	do {                                                                                    \
		if ((kind) == KIND_DOUBT) {                                                     \
			struct doubt_view table_d = doubt_of(view);                             \
			DOUBT_FIELDS(SET_D)                                                     \
			d_settled = table_d.looked_ms >= table_d.settled_ms;                    \
			d_to_end = table_d.looked_ms - table_d.missed_ms >= DOUBT_APART_MS;     \
			d_patient = table_d.patience_ms > 0;                                    \
		} else {                                                                        \
			table_v = view_of(kind, view);                                          \
			VIEW_FIELDS(SET_V)                                                      \
			v_sized = table_v.size > 0;                                             \
			v_ready = table_v.ready > 0;                                            \
			v_sending = table_v.sending > 0;                                        \
			v_missing = table_v.missing > 0;                                        \
			v_md5_err = table_v.md5_err != 0;                                       \
		}                                                                               \
	} while (0)

static bool same_as(const char *what, const void *view, size_t size, int model, int program)
{
	table_compared++;
	if (model == program)
		return true;
	printf("%s: the model says %d, the program %d, on the view", what, model, program);
	for (size_t i = 0; i < size; i++)
		printf(" %d", ((const unsigned char *)view)[i]);
	printf("\n");
	return false;
}

static bool table_doubt(int view, int step)
{
	struct doubt_view v = doubt_of(view);
	uint64_t at;

	return same_as("doubt_next", &v, sizeof(v), step, doubt_next(&v, &at));
}

static bool table_infers(int view, int infers)
{
	struct doubt_view v = doubt_of(view);

	return same_as("doubt_infers", &v, sizeof(v), infers, doubt_infers(&v));
}

static bool table_next(int action)
{
	return same_as("publish_next", &table_v, sizeof(table_v), action, publish_next(&table_v));
}

static void table_told(void)
{
	printf("%lu views compared\n", table_compared);
}

#endif
