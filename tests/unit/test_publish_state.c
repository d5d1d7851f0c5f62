/* publish_next(): each rule by itself, and all combinations against the invariants. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fs/publish/next.h"

/* An open Upload of which all is there: only complete is left to ask for. */
static const struct publish_view whole = {
	.phase = PHASE_OPEN,
	.sealed = true,
	.size_known = true,
	.size = 100,
	.synced = true,
	.slot = true,
	.md5_known = true,
};

/* The same before there is an Upload. */
static struct publish_view idle(void)
{
	struct publish_view v = whole;

	v.phase = PHASE_IDLE;
	return v;
}

static struct publish_view ended(enum publish_outcome outcome)
{
	struct publish_view v = whole;

	v.phase = PHASE_ENDED;
	v.outcome = outcome;
	return v;
}

static void test_create(void **state)
{
	struct publish_view v = { .phase = PHASE_IDLE };

	(void)state;
	assert_int_equal(publish_next(&v), ACT_WAIT); /* size not known */
	v.size_known = true;
	v.size = 5;
	assert_int_equal(publish_next(&v), ACT_CREATE); /* a prediction is enough */
	v.size = 0;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = idle();
	assert_int_equal(publish_next(&v), ACT_CREATE);
	v.held = true;
	assert_int_equal(publish_next(&v), ACT_CREATE); /* Parts may go out while it is held */
}

static void test_create_after_stream_failed(void **state)
{
	struct publish_view v = idle();

	(void)state;
	v.stream_failed = true;
	assert_int_equal(publish_next(&v), ACT_CREATE);
	v.held = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.held = v.sealed = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
}

/* Nobody waits for the disk unless somebody was promised that. */
static void test_no_sync(void **state)
{
	struct publish_view v = idle();

	(void)state;
	v.synced = false;
	assert_int_equal(publish_next(&v), ACT_CREATE);
	v = whole;
	v.synced = false;
	assert_int_equal(publish_next(&v), ACT_COMPLETE);
	/* A close that waits for the disk alone does not keep the File waiting. */
	v.sync_wanted = true;
	assert_int_equal(publish_next(&v), ACT_SYNC);
	v.syncing = true;
	assert_int_equal(publish_next(&v), ACT_COMPLETE);
	v.syncing = false;
	v.phase = PHASE_COMPLETING;
	assert_int_equal(publish_next(&v), ACT_SYNC);
}

static void test_sync_fails(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.synced = false;
	v.sync_failed = v.sync_wanted = true;
	assert_int_equal(publish_next(&v), ACT_FAIL_SYNC);
	v.phase = PHASE_IDLE;
	assert_int_equal(publish_next(&v), ACT_FAIL_SYNC);
	/* Whether there is a File the reply decides. */
	v.phase = PHASE_COMPLETING;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.phase = PHASE_FAILING;
	assert_int_equal(publish_next(&v), ACT_END_FAILED);
}

/* The bytes of a close that fails are synced before it is told. */
static void test_failing(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.phase = PHASE_FAILING;
	assert_int_equal(publish_next(&v), ACT_END_FAILED);
	v.sync_wanted = true;
	v.synced = false;
	assert_int_equal(publish_next(&v), ACT_SYNC);
	v.syncing = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.syncing = false;
	v.dropped = true;
	assert_int_equal(publish_next(&v), ACT_END_FAILED);
}

/* After a power cut: what was not synced is compared first. */
static void test_unproven(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.synced = false;
	v.unproven = true;
	v.ready = v.missing = 1;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.complete_unknown = v.mismatch = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.phase = PHASE_IDLE;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.phase = PHASE_CLEANUP;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.dropped = true;
	v.phase = PHASE_OPEN;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v.complete_unknown = false;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
}

static void test_spoiled(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.spoiled = true;
	v.ready = v.missing = 1;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v.phase = PHASE_IDLE;
	assert_int_equal(publish_next(&v), ACT_END_SPOILED);
	/* Its File may exist all the same: it was sent before. */
	v.complete_unknown = true;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v.phase = PHASE_OPEN;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v.phase = PHASE_CLEANUP;
	assert_int_equal(publish_next(&v), ACT_CLEANUP);
}

/* sync=always */
static void test_sync_first(void **state)
{
	struct publish_view v = idle();

	(void)state;
	v.synced = false;
	v.sync_wanted = v.sync_first = true;
	assert_int_equal(publish_next(&v), ACT_SYNC);
	v.syncing = true;
	assert_int_equal(publish_next(&v), ACT_CREATE); /* meanwhile */
	v = whole;
	v.synced = false;
	v.sync_wanted = v.sync_first = true;
	assert_int_equal(publish_next(&v), ACT_SYNC);
	v.syncing = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.ready = v.missing = 1;
	assert_int_equal(publish_next(&v), ACT_SEND);
	v.sealed = false;
	v.syncing = false;
	assert_int_equal(publish_next(&v), ACT_SEND);
}

static void test_empty(void **state)
{
	struct publish_view v = idle();

	(void)state;
	v.size = 0;
	assert_int_equal(publish_next(&v), ACT_END_EMPTY);
	v.held = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.held = false;
	v.synced = false;
	assert_int_equal(publish_next(&v), ACT_END_EMPTY);
	v.sync_wanted = v.sync_first = v.syncing = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	/* An Upload of a declared size is given up first. */
	v = whole;
	v.size = 0;
	v.mismatch = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
}

static void test_send_and_complete(void **state)
{
	struct publish_view v = whole;

	(void)state;
	assert_int_equal(publish_next(&v), ACT_COMPLETE);
	v.ready = v.missing = 2;
	assert_int_equal(publish_next(&v), ACT_SEND);
	v.slot = false;
	v.sending = 2;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = whole;
	v.sending = 1;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = whole;
	v.missing = 1;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = whole;
	v.held = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = whole;
	v.sealed = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = whole;
	v.md5_known = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.md5_err = -EIO;
	assert_int_equal(publish_next(&v), ACT_FAIL_READ);
}

static void test_live(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.sealed = false;
	v.live = true;
	v.missing = 2;
	assert_int_equal(publish_next(&v), ACT_SEND_LIVE);
	/* After what is there. It needs no slot, which is for that. */
	v.ready = 1;
	assert_int_equal(publish_next(&v), ACT_SEND);
	v.slot = false;
	assert_int_equal(publish_next(&v), ACT_SEND_LIVE);
	/* A failure while it is written ends that. */
	v.phase = PHASE_IDLE;
	v.stream_failed = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
}

static void test_cancel(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.mismatch = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v = whole;
	v.expired = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v = whole;
	v.sealed = v.size_known = false;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v = whole;
	v.aborted = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v.phase = PHASE_IDLE;
	assert_int_equal(publish_next(&v), ACT_END_ABORTED);
	v = whole;
	v.dropped = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v.phase = PHASE_IDLE;
	assert_int_equal(publish_next(&v), ACT_END_DROPPED);
}

static void test_complete_in_doubt(void **state)
{
	struct publish_view v = whole;

	(void)state;
	v.complete_unknown = true;
	assert_int_equal(publish_next(&v), ACT_COMPLETE); /* the same Upload: no harm */
	v.expired = true;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v.expired = false;
	v.mismatch = true;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v = idle();
	v.complete_unknown = true;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v.held = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.held = v.sealed = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	/* Emptied or removed since: the File in doubt has to be found all the same. */
	v = idle();
	v.complete_unknown = true;
	v.size = 0;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
	v.dropped = true;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
}

static void test_ended(void **state)
{
	struct publish_view v = ended(OUTCOME_FAILED);

	(void)state;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.retry = true;
	assert_int_equal(publish_next(&v), ACT_REOPEN);
	v = ended(OUTCOME_ABORTED);
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.retry = true;
	assert_int_equal(publish_next(&v), ACT_REOPEN);
	v = ended(OUTCOME_COMPLETED);
	v.retry = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = ended(OUTCOME_FAILED);
	v.aborted = true;
	assert_int_equal(publish_next(&v), ACT_REOPEN);
	v = ended(OUTCOME_ABORTED);
	v.aborted = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.retry = true;
	assert_int_equal(publish_next(&v), ACT_REOPEN);
	v.retry = false;
	v.dropped = true;
	assert_int_equal(publish_next(&v), ACT_REOPEN);
	v = ended(OUTCOME_DROPPED);
	v.dropped = v.retry = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
}

static void test_waits_for_replies(void **state)
{
	static const enum publish_phase phases[] = { PHASE_CREATING, PHASE_COMPLETING, PHASE_LOOKUP,
						     PHASE_PROBING, PHASE_DELETING };
	struct publish_view v = whole;

	(void)state;
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		v.phase = phases[i];
		v.dropped = i & 1;
		assert_int_equal(publish_next(&v), ACT_WAIT);
	}
	v.phase = PHASE_CLEANUP;
	assert_int_equal(publish_next(&v), ACT_CLEANUP);
}

static void test_whole(void **state)
{
	struct publish_view v = idle();

	(void)state;
	v.whole = true;
	assert_int_equal(publish_next(&v), ACT_POST);
	v.md5_known = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.too_large = true;
	assert_int_equal(publish_next(&v), ACT_FAIL_SIZE);
	v.md5_err = -EIO;
	assert_int_equal(publish_next(&v), ACT_FAIL_READ);
	v = idle();
	v.whole = true;
	v.held = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.held = v.synced = false;
	v.sync_wanted = v.sync_first = true;
	assert_int_equal(publish_next(&v), ACT_SYNC);
	v.syncing = true;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	/* Before the close nothing leaves, whatever is foreseen. */
	v = idle();
	v.whole = true;
	v.sealed = v.md5_known = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v = idle();
	v.whole = v.complete_unknown = true;
	assert_int_equal(publish_next(&v), ACT_LOOKUP);
}

static void test_same(void **state)
{
	struct publish_view v = idle();

	(void)state;
	v.same = v.maybe_same = true;
	assert_int_equal(publish_next(&v), ACT_KEEP);
	v.held = true; /* its rename may come */
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.held = v.same = v.md5_known = false;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.sealed = false; /* foreseen to be as large */
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.maybe_same = false;
	assert_int_equal(publish_next(&v), ACT_CREATE);
	v = idle();
	v.same = v.maybe_same = v.whole = v.ask_first = true;
	assert_int_equal(publish_next(&v), ACT_KEEP);
	/* The Upload was made for other bytes. */
	v = whole;
	v.same = v.maybe_same = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
	v.complete_unknown = true;
	assert_int_equal(publish_next(&v), ACT_COMPLETE);
	v.phase = PHASE_CHECKING;
	assert_int_equal(publish_next(&v), ACT_WAIT);
	v.aborted = true;
	assert_int_equal(publish_next(&v), ACT_CANCEL);
}

/* ---- all combinations ---- */

#define FLAGS 15
#define SYNC_KINDS 7
#define MUST(cond)                                                                                \
	do {                                                                                      \
		if (!(cond))                                                                      \
			fail_msg("%s: phase %d flags %#x action %d", #cond, (int)v->phase, flags, \
				 (int)a);                                                         \
	} while (0)

static bool fits_phase(const struct publish_view *v, enum publish_action a)
{
	switch (a) {
	case ACT_WAIT:
		return true;
	case ACT_CREATE:
	case ACT_POST:
	case ACT_KEEP:
	case ACT_FAIL_SIZE:
	case ACT_END_EMPTY:
	case ACT_END_ABORTED:
	case ACT_END_DROPPED:
	case ACT_END_SPOILED:
		return v->phase == PHASE_IDLE;
	case ACT_SEND:
	case ACT_SEND_LIVE:
	case ACT_COMPLETE:
		return v->phase == PHASE_OPEN;
	case ACT_CANCEL:
		return v->phase == PHASE_OPEN || v->phase == PHASE_CHECKING;
	case ACT_ASK:
	case ACT_FAIL_LINE:
	case ACT_FAIL_READ:
		return v->phase == PHASE_OPEN || v->phase == PHASE_IDLE;
	case ACT_SYNC:
		/* Beside a reply that is awaited, too: a closer may wait for the disk alone. */
		return v->phase != PHASE_ENDED;
	case ACT_FAIL_SYNC:
		return v->phase == PHASE_IDLE || v->phase == PHASE_OPEN ||
		       v->phase == PHASE_CREATING;
	case ACT_END_FAILED:
		return v->phase == PHASE_FAILING;
	case ACT_LOOKUP:
		return v->phase == PHASE_IDLE || v->phase == PHASE_OPEN;
	case ACT_REOPEN:
		return v->phase == PHASE_ENDED;
	case ACT_CLEANUP:
		return v->phase == PHASE_CLEANUP;
	}
	return false;
}

static void check_complete(const struct publish_view *v, enum publish_action a, unsigned flags)
{
	MUST(v->sealed && (v->synced || !v->sync_first) && !v->held);
	MUST(!v->unproven && !v->spoiled);
	MUST(!v->missing && !v->sending && !v->ready);
	MUST(v->md5_known && !v->md5_err);
	MUST(!v->mismatch && !v->expired && v->size_known);
}

/* As a whole: one request, after the close, of bytes of which the MD5 is known. */
static void check_whole(const struct publish_view *v, enum publish_action a, unsigned flags)
{
	MUST(v->whole && v->sealed && (v->synced || !v->sync_first) && !v->held);
	MUST(!v->complete_unknown && v->size && !v->unproven && !v->spoiled);
	MUST(a == ACT_POST ? v->md5_known && !v->md5_err && !v->too_large : v->too_large);
}

static void check(const struct publish_view *v, unsigned flags)
{
	enum publish_action a = publish_next(v);
	bool unwanted = v->dropped || v->aborted;

	MUST(fits_phase(v, a));
	if (a == ACT_COMPLETE)
		check_complete(v, a, flags);
	if (a == ACT_POST || a == ACT_FAIL_SIZE)
		check_whole(v, a, flags);
	if (a == ACT_FAIL_LINE)
		MUST(v->faulty && v->sealed && !v->complete_unknown);
	if (v->faulty)
		MUST(a != ACT_CREATE && a != ACT_POST && a != ACT_KEEP &&
		     (a != ACT_COMPLETE || v->complete_unknown));
	if (a == ACT_KEEP) {
		MUST(v->same && v->sealed && !v->held && (v->synced || !v->sync_first));
		MUST(!unwanted && !v->complete_unknown && v->size && !v->unproven);
	}
	if (a == ACT_CREATE || a == ACT_POST)
		MUST(!v->maybe_same);
	if (v->same)
		MUST(v->complete_unknown ||
		     (a != ACT_SEND && a != ACT_SEND_LIVE && a != ACT_COMPLETE));
	if (a == ACT_CREATE) {
		MUST(!v->whole);
		MUST(!v->complete_unknown && v->size_known && v->size > 0);
		MUST(!v->stream_failed || (v->sealed && !v->held));
	}
	if (a == ACT_SEND)
		MUST(v->ready && v->slot && !v->mismatch && !v->expired && v->size_known);
	if (a == ACT_SEND_LIVE)
		MUST(v->live && !v->sealed && !v->mismatch && !v->expired && v->size_known);
	if (unwanted)
		MUST(a != ACT_CREATE && a != ACT_SEND && a != ACT_SEND_LIVE && a != ACT_COMPLETE &&
		     a != ACT_SYNC && a != ACT_POST && a != ACT_FAIL_SIZE);
	if (a == ACT_SYNC)
		MUST(v->sealed && !v->synced && !v->syncing && v->sync_wanted && !v->sync_failed);
	if (a == ACT_FAIL_SYNC)
		MUST(v->sync_failed && v->sync_wanted && !v->synced && !unwanted);
	if (a == ACT_END_SPOILED)
		MUST(v->spoiled && !v->complete_unknown && !v->dropped);
	if (a == ACT_LOOKUP)
		MUST(v->complete_unknown);
	if (a == ACT_END_DROPPED)
		MUST(v->dropped && !v->complete_unknown);
	if (a == ACT_END_EMPTY)
		MUST(v->sealed && (v->synced || !v->sync_first) && v->size == 0 && !v->held &&
		     !v->complete_unknown);
	if (a == ACT_END_ABORTED)
		MUST(v->aborted && !v->dropped);
	if (a == ACT_FAIL_READ)
		MUST(v->md5_err && v->sealed);
	/* With nothing in the way it goes on: no state that waits for nobody. */
	if (v->phase == PHASE_OPEN && !unwanted && v->sealed && !v->held &&
	    (v->synced || !v->sync_first) && !v->unproven && !v->missing && !v->sending &&
	    v->md5_known)
		MUST(a != ACT_WAIT);
	/* A whole file waits for its MD5. */
	if (v->phase == PHASE_IDLE && v->sealed && (v->synced || !v->sync_first) && !v->held &&
	    !v->unproven && (!v->maybe_same || v->same || v->md5_err) &&
	    (!v->whole || v->md5_known || v->md5_err))
		MUST(a != ACT_WAIT);
	if ((v->phase == PHASE_IDLE || v->phase == PHASE_OPEN) && unwanted)
		MUST(a != ACT_WAIT);
}

/* The step that follows must not ask for the same again: publish_step() would not end. */
static void check_ends(const struct publish_view *from, unsigned flags)
{
	const struct publish_view *v = from;
	struct publish_view after = *from;
	enum publish_action a = publish_next(from);

	if (a == ACT_SYNC)
		after.syncing = true;
	else if (a == ACT_FAIL_SYNC)
		after.phase = PHASE_FAILING;
	else if (a == ACT_END_FAILED)
		after.phase = PHASE_ENDED;
	else if (a == ACT_CANCEL)
		after.phase = PHASE_IDLE;
	else if (a == ACT_LOOKUP)
		after.phase = PHASE_LOOKUP;
	else if (a == ACT_SEND_LIVE)
		after.live = false;
	else if (a == ACT_REOPEN) {
		after.phase = PHASE_IDLE;
		after.retry = false;
	} else {
		return;
	}
	MUST(publish_next(&after) != a);
}

/* What concerns the disk, in some combinations. */
static void set_disk(struct publish_view *v, unsigned kind)
{
	v->sync_wanted = kind == 1 || kind == 2 || kind == 3;
	v->sync_first = kind == 2;
	v->sync_failed = kind == 3;
	v->unproven = kind == 4;
	v->spoiled = kind == 3;
	v->same = kind == 5 && v->sealed && v->md5_known;
	v->faulty = kind == 6 && v->sealed && v->md5_known;
	v->maybe_same = kind == 5 && (v->same || !v->md5_known);
}

static void test_all_combinations(void **state)
{
	struct publish_view view, *v = &view;

	(void)state;
	for (unsigned phase = PHASE_IDLE; phase <= PHASE_ENDED; phase++) {
		for (unsigned flags = 0; flags < 1U << FLAGS; flags++) {
			/* Above 12: without Uploads, which only matters when idle. */
			for (unsigned k = 0; k < (phase == PHASE_IDLE ? 36 : 12); k++) {
				*v = (struct publish_view){
					.phase = (enum publish_phase)phase,
					.dropped = flags & 1,
					.aborted = flags & 2,
					.sealed = flags & 4,
					.held = flags & 8,
					.retry = flags & 16,
					.size_known = (flags & 32) || (flags & 4),
					.size = (flags & 64) ? 10 : 0,
					.stream_failed = flags & 128,
					.mismatch = flags & 256,
					.expired = flags & 512,
					.complete_unknown = flags & 1024,
					.synced = (flags & 2048) && !(flags & 4096),
					.syncing = flags & 4096,
					.slot = flags & 8192,
					.md5_known = flags & 16384,
					.md5_err = k % 12 >= 6 && !(flags & 16384) ? -EIO : 0,
					.whole = k >= 12,
					.too_large = k >= 24,
					.ready = k % 6 == 1 || k % 6 == 3,
					.sending = k % 6 == 2 || k % 6 == 3,
					.live = k % 6 >= 4,
				};
				v->missing = v->ready + v->sending + (k % 6 == 4);
				if (phase == PHASE_ENDED)
					v->outcome = OUTCOME_COMPLETED + k % 5;
				for (unsigned kind = 0; kind < SYNC_KINDS; kind++) {
					set_disk(v, kind);
					check(v, flags);
					check_ends(v, flags);
				}
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_create_after_stream_failed),
		cmocka_unit_test(test_no_sync),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_failing),
		cmocka_unit_test(test_unproven),
		cmocka_unit_test(test_spoiled),
		cmocka_unit_test(test_sync_first),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_send_and_complete),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_complete_in_doubt),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_waits_for_replies),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_all_combinations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
