#include "fs/publish/next.h"

/* POST /files is one request: send nothing before the close. */
static enum publish_action next_whole(const struct publish_view *v)
{
	if (!v->sealed || v->held || (v->sync_first && !v->synced))
		return ACT_WAIT;
	if (v->too_large)
		return ACT_FAIL_SIZE;
	return v->md5_known ? ACT_POST : ACT_WAIT;
}

static enum publish_action next_idle(const struct publish_view *v)
{
	/* Removed, but its File may exist: find it and delete it. */
	if (v->dropped)
		return v->complete_unknown ? ACT_LOOKUP : ACT_END_DROPPED;
	if (v->aborted)
		return ACT_END_ABORTED;
	if (v->unproven)
		return ACT_WAIT;
	/* A new Upload would overwrite the facts of the one in doubt. */
	if (v->complete_unknown)
		return v->sealed && !v->held ? ACT_LOOKUP : ACT_WAIT;
	if (v->spoiled)
		return ACT_END_SPOILED;
	if (v->sealed && v->size == 0)
		return v->held || (v->sync_first && !v->synced) ? ACT_WAIT : ACT_END_EMPTY;
	if (v->sealed && v->md5_err)
		return ACT_FAIL_READ;
	if (v->sealed && v->faulty)
		return ACT_FAIL_LINE;
	/* Held or not closed: a later difference lets it go on. */
	if (v->maybe_same)
		return v->same && !v->held && (v->synced || !v->sync_first) ? ACT_KEEP : ACT_WAIT;
	if (v->ask_first)
		return v->sealed && !v->held ? ACT_ASK : ACT_WAIT;
	if (v->whole)
		return next_whole(v);
	/*
	 * Do not resume a failed stream before the close: the writer would not learn of a failure,
	 * and the bytes are safe on disk.
	 */
	if (v->stream_failed && (!v->sealed || v->held))
		return ACT_WAIT;
	if (v->size_known && v->size > 0 && !v->early)
		return ACT_CREATE;
	return ACT_WAIT;
}

static enum publish_action next_open(const struct publish_view *v)
{
	if (v->dropped && v->complete_unknown)
		return ACT_LOOKUP;
	if (v->dropped || v->aborted)
		return ACT_CANCEL;
	if (v->unproven)
		return ACT_WAIT;
	/* Resolve a complete in doubt first: a new Upload could make a second File. */
	if (v->complete_unknown && (v->expired || v->mismatch || v->spoiled))
		return v->sealed && !v->held ? ACT_LOOKUP : ACT_WAIT;
	if (v->spoiled)
		return ACT_CANCEL;
	if (v->sealed && v->md5_err)
		return ACT_FAIL_READ;
	if (v->sealed && v->faulty && !v->complete_unknown)
		return ACT_FAIL_LINE;
	/* Written back to what the File has, after other bytes had left. */
	if (v->same && !v->complete_unknown)
		return ACT_CANCEL;
	if (v->expired || v->mismatch || !v->size_known)
		return ACT_CANCEL;
	if (v->ask_first)
		return v->sealed && !v->held ? ACT_ASK : ACT_WAIT;
	if (v->ready > 0 && v->slot)
		return ACT_SEND;
	if (v->live && !v->sealed)
		return ACT_SEND_LIVE;
	if (!v->sealed || v->held || (v->sync_first && !v->synced) || v->missing > 0 ||
	    v->sending > 0)
		return ACT_WAIT;
	return v->md5_known ? ACT_COMPLETE : ACT_WAIT;
}

static enum publish_action next_ended(const struct publish_view *v)
{
	if (v->outcome == OUTCOME_DROPPED)
		return ACT_WAIT;
	if (v->dropped)
		return ACT_REOPEN;
	/* With an abort behind the retry too: who waits for the retry hears of its end. */
	if (v->retry && v->outcome != OUTCOME_COMPLETED)
		return ACT_REOPEN;
	if (v->aborted && v->outcome == OUTCOME_FAILED)
		return ACT_REOPEN;
	return ACT_WAIT;
}

/* Somebody waits for the sync, whatever is under way. */
static enum publish_action next_sync(const struct publish_view *v)
{
	if (!v->sync_wanted || !v->sealed || v->synced || v->syncing || v->dropped || v->aborted ||
	    v->unproven || v->phase == PHASE_ENDED)
		return ACT_WAIT;
	if (!v->sync_failed)
		return ACT_SYNC;
	/* What was asked of the service decides by itself. */
	if (v->phase == PHASE_IDLE || v->phase == PHASE_OPEN || v->phase == PHASE_CREATING)
		return ACT_FAIL_SYNC;
	return ACT_WAIT;
}

enum publish_action publish_next(const struct publish_view *v)
{
	enum publish_action sync = next_sync(v);

	if (sync != ACT_WAIT)
		return sync;
	switch (v->phase) {
	case PHASE_IDLE:
		return next_idle(v);
	case PHASE_OPEN:
		return next_open(v);
	case PHASE_CLEANUP:
		return v->unproven ? ACT_WAIT : ACT_CLEANUP;
	case PHASE_FAILING:
		return v->syncing ? ACT_WAIT : ACT_END_FAILED;
	case PHASE_ENDED:
		return next_ended(v);
	case PHASE_CHECKING:
		if (v->dropped || v->aborted)
			return ACT_CANCEL;
		return ACT_WAIT;
	case PHASE_CREATING:
		/* The reply to the create names the Upload to cancel, whenever it comes. */
		if (v->withdrawn)
			return ACT_CANCEL;
		/* fall through */
	case PHASE_ASKING:
	case PHASE_PROBING:
	case PHASE_POSTING:
	case PHASE_COMPLETING:
	case PHASE_LOOKUP:
	case PHASE_DELETING:
	case PHASE_VERIFYING:
		/* A reply is under way; it decides the next phase. */
		return ACT_WAIT;
	}
	return ACT_WAIT;
}
