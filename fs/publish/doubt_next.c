/*
 * A complete in doubt: the decision. Pure, and free of everything else: tests/model/rules.pml
 * states the same rules, and a test compares the two.
 */
#include "fs/publish/doubt.h"

/* After "cancelled" a File with another created_at than ours would have is no candidate. */
static enum doubt_found what_counts(const struct doubt_view *v)
{
	if (v->found >= FOUND_OTHERS && v->cancel == DOUBT_CANCELLED && !v->plausible)
		return FOUND_NONE;
	return v->found;
}

static bool has_one(const struct doubt_view *v)
{
	return v->found == FOUND_LIKE || v->found == FOUND_SAME;
}

/* True if two looks after the Upload's end, some time apart, agree. */
static bool looked_to_the_end(const struct doubt_view *v)
{
	return v->missed_ms && v->looked_ms >= v->missed_ms + DOUBT_APART_MS;
}

/* True if the one candidate is ours, as far as can be told with the answer to cancel. */
static bool is_ours(const struct doubt_view *v)
{
	bool same = v->found == FOUND_SAME;
	bool exact = v->dated && !v->later;

	if (!has_one(v))
		return false;
	/* Only a complete that was still running can have made it. */
	if (v->cancel == DOUBT_CANCELLED)
		return same && (v->wanted ? v->dated : exact);
	if (v->wanted && same)
		return v->dated || (!v->rival && !v->always);
	/* Without its content the rival's File looks the same, unless its created_at tells. */
	if (v->wanted)
		return (!v->rival || v->always) &&
		       (exact || (v->dated && v->cancel == DOUBT_REFUSED));
	/* A File that is deleted once it is found has to be more certain than one that stays. */
	return exact && (same || v->cancel == DOUBT_REFUSED);
}

/* True if no File of ours will appear, or it is time to believe so. */
static bool is_over(const struct doubt_view *v)
{
	if (v->found == FOUND_UNSURE)
		return false;
	if (v->forced || (v->answered && v->found == FOUND_NONE))
		return true;
	/* What is not wanted needs no new File. */
	if (v->cancel == DOUBT_CANCELLED && (v->found == FOUND_NONE || !v->wanted))
		return v->looked_ms >= v->settled_ms;
	/* The service did what it was asked: only a removed or rewritten file stops waiting. */
	if (v->cancel == DOUBT_DONE && v->waited_for)
		return v->stale;
	/* One of the candidates may be ours, and a new File a second one. */
	if (v->found != FOUND_NONE && v->wanted)
		return false;
	return looked_to_the_end(v);
}

/* The time of the next look: the wait doubles, and a look that can prove nothing is skipped. */
static uint64_t next_look(const struct doubt_view *v)
{
	uint64_t wait = v->waited_for ? DOUBT_LOOK_MAX_MS : DOUBT_IDLE_MS;
	uint64_t since = v->looked_ms > v->began_ms ? v->looked_ms - v->began_ms : 0;
	uint64_t at;

	/* Wait as long as the try has lasted, at least 250 ms. */
	if (since + 250 < wait)
		wait = since + 250;
	at = v->looked_ms + wait;
	if (v->cancel == DOUBT_CANCELLED && v->settled_ms > v->looked_ms && at > v->settled_ms)
		at = v->settled_ms;
	return at;
}

static enum doubt_step next(const struct doubt_view *v, uint64_t *ret_at_ms)
{
	bool settled = v->cancel == DOUBT_CANCELLED || v->cancel == DOUBT_REFUSED ||
		       v->cancel == DOUBT_DONE;
	bool repeatable = v->wanted && v->upload && !v->expired && !v->refused && !settled;

	*ret_at_ms = v->now_ms;
	if (v->found == FOUND_SAME && v->dated && is_ours(v))
		return DOUBT_ADOPT;
	if (repeatable && v->may_repeat)
		return DOUBT_REPEAT;
	/* An Upload that is wanted is spared for the next try, unless its answer has to decide. */
	if (v->upload && !settled && !v->asked_now && (!repeatable || has_one(v)))
		return DOUBT_CANCEL;
	if (is_ours(v))
		return DOUBT_ADOPT;
	if (v->found == FOUND_NOT_LOOKED) {
		if (v->looked_ms)
			*ret_at_ms = next_look(v);
		return DOUBT_LOOK;
	}
	if (is_over(v))
		return DOUBT_OVER;
	*ret_at_ms = next_look(v);
	/* No close waits for a removed file: look until the doubt ends. */
	if (!v->waited_for)
		return DOUBT_LOOK;
	return *ret_at_ms <= v->began_ms + v->patience_ms ? DOUBT_LOOK : DOUBT_FAIL;
}

enum doubt_step doubt_next(const struct doubt_view *v, uint64_t *ret_at_ms)
{
	struct doubt_view counted = *v;

	counted.found = what_counts(v);
	return next(&counted, ret_at_ms);
}

bool doubt_infers(const struct doubt_view *v)
{
	return v->found != FOUND_SAME || !v->dated || v->undated ||
	       (v->cancel == DOUBT_CANCELLED && !v->always);
}
