/*
 * The decisions of fs/publish/next.c and fs/publish/doubt_next.c as Promela: what the publication's
 * model runs, and what table.pml holds against the C functions, view by view. Numbers and names are
 * those of the enums of next.h and doubt.h, which table.pml compares, too.
 */

/* enum publish_phase */
#define M_PHASE_IDLE 0
#define M_PHASE_CREATING 1
#define M_PHASE_OPEN 2
#define M_PHASE_ASKING 3
#define M_PHASE_CHECKING 4
#define M_PHASE_POSTING 5
#define M_PHASE_COMPLETING 6
#define M_PHASE_LOOKUP 7
#define M_PHASE_PROBING 8
#define M_PHASE_VERIFYING 9
#define M_PHASE_CLEANUP 10
#define M_PHASE_DELETING 11
#define M_PHASE_FAILING 12
#define M_PHASE_ENDED 13

/* enum publish_outcome */
#define M_OUTCOME_NONE 0
#define M_OUTCOME_COMPLETED 1
#define M_OUTCOME_FAILED 2
#define M_OUTCOME_ABORTED 3
#define M_OUTCOME_EMPTY 4
#define M_OUTCOME_DROPPED 5

/* enum publish_action */
#define M_ACT_WAIT 0
#define M_ACT_CREATE 1
#define M_ACT_ASK 2
#define M_ACT_POST 3
#define M_ACT_KEEP 4
#define M_ACT_FAIL_SIZE 5
#define M_ACT_SEND 6
#define M_ACT_SEND_LIVE 7
#define M_ACT_SYNC 8
#define M_ACT_COMPLETE 9
#define M_ACT_CANCEL 10
#define M_ACT_LOOKUP 11
#define M_ACT_FAIL_LINE 12
#define M_ACT_FAIL_READ 13
#define M_ACT_FAIL_SYNC 14
#define M_ACT_END_FAILED 15
#define M_ACT_END_SPOILED 16
#define M_ACT_REOPEN 17
#define M_ACT_CLEANUP 18
#define M_ACT_END_EMPTY 19
#define M_ACT_END_ABORTED 20
#define M_ACT_END_DROPPED 21

/* enum doubt_cancel, doubt_found, doubt_step */
#define M_DOUBT_UNASKED 1
#define M_DOUBT_ASKED 2
#define M_DOUBT_CANCELLED 3
#define M_DOUBT_REFUSED 4
#define M_DOUBT_INFERRED 5
#define M_DOUBT_DONE 6

#define M_FOUND_NOT_LOOKED 0
#define M_FOUND_UNSURE 1
#define M_FOUND_NONE 2
#define M_FOUND_OTHERS 3
#define M_FOUND_LIKE 4
#define M_FOUND_SAME 5

#define M_DOUBT_REPEAT 0
#define M_DOUBT_CANCEL 1
#define M_DOUBT_LOOK 2
#define M_DOUBT_ADOPT 3
#define M_DOUBT_OVER 4
#define M_DOUBT_FAIL 5

/* A view (struct publish_view) and its answer; set and used in one step, no part of a state. */
hidden byte v_phase, v_outcome, v_action;
hidden byte v_dropped, v_aborted, v_withdrawn, v_sealed, v_held, v_retry, v_size_known, v_sized;
hidden byte v_early, v_ask_first, v_whole, v_too_large, v_stream_failed, v_mismatch, v_expired;
hidden byte v_complete_unknown, v_sync_wanted, v_sync_first, v_synced, v_syncing, v_sync_failed;
hidden byte v_unproven, v_spoiled, v_ready, v_sending, v_missing, v_live, v_slot, v_md5_known;
hidden byte v_md5_err, v_maybe_same, v_same, v_faulty;

/* The same for struct doubt_view. Times count only in three comparisons. */
hidden byte d_cancel, d_found, d_next;
hidden byte d_wanted, d_upload, d_expired, d_refused, d_answered, d_may_repeat, d_waited_for;
hidden byte d_asked_now, d_stale, d_rival, d_plausible, d_dated, d_later, d_always, d_forced;
hidden byte d_undated;
hidden byte d_settled;	/* the look began after the time that a cancelled Upload needs */
hidden byte d_to_end;	/* two looks after the end, some time apart, found nothing ours */
hidden byte d_patient;	/* the next look comes within the patience of the close */
hidden byte d_answer, d_repeatable, d_same, d_exact, d_ours, d_over, d_infers;

inline next_sync()
{
	v_action = M_ACT_WAIT;
	if
	:: !v_sync_wanted || !v_sealed || v_synced || v_syncing || v_dropped || v_aborted ||
	   v_unproven || v_phase == M_PHASE_ENDED -> skip
	:: else ->
		if
		:: !v_sync_failed -> v_action = M_ACT_SYNC
		:: else ->
			if
			:: v_phase == M_PHASE_IDLE || v_phase == M_PHASE_OPEN ||
			   v_phase == M_PHASE_CREATING -> v_action = M_ACT_FAIL_SYNC
			:: else -> skip
			fi
		fi
	fi
}

inline next_whole()
{
	if
	:: !v_sealed || v_held || (v_sync_first && !v_synced) -> skip
	:: else ->
		if
		:: v_too_large -> v_action = M_ACT_FAIL_SIZE
		:: !v_too_large && v_md5_known -> v_action = M_ACT_POST
		:: else -> skip
		fi
	fi
}

inline next_idle_create()
{
	if
	:: v_ask_first ->
		if
		:: v_sealed && !v_held -> v_action = M_ACT_ASK
		:: else -> skip
		fi
	:: !v_ask_first && v_whole -> next_whole()
	:: else ->
		if
		:: v_stream_failed && (!v_sealed || v_held) -> skip
		:: else ->
			if
			:: v_size_known && v_sized && !v_early -> v_action = M_ACT_CREATE
			:: else -> skip
			fi
		fi
	fi
}

inline next_idle_send()
{
	if
	:: v_maybe_same ->
		if
		:: v_same && !v_held && (v_synced || !v_sync_first) -> v_action = M_ACT_KEEP
		:: else -> skip
		fi
	:: else -> next_idle_create()
	fi
}

inline next_idle()
{
	if
	:: v_dropped ->
		if
		:: v_complete_unknown -> v_action = M_ACT_LOOKUP
		:: else -> v_action = M_ACT_END_DROPPED
		fi
	:: !v_dropped && v_aborted -> v_action = M_ACT_END_ABORTED
	:: !v_dropped && !v_aborted && v_unproven -> skip
	:: !v_dropped && !v_aborted && !v_unproven && v_complete_unknown ->
		if
		:: v_sealed && !v_held -> v_action = M_ACT_LOOKUP
		:: else -> skip
		fi
	:: else ->
		if
		:: v_spoiled -> v_action = M_ACT_END_SPOILED
		:: !v_spoiled && v_sealed && !v_sized ->
			if
			:: v_held || (v_sync_first && !v_synced) -> skip
			:: else -> v_action = M_ACT_END_EMPTY
			fi
		:: !v_spoiled && v_sealed && v_sized && v_md5_err -> v_action = M_ACT_FAIL_READ
		:: !v_spoiled && v_sealed && v_sized && !v_md5_err && v_faulty ->
			v_action = M_ACT_FAIL_LINE
		:: else -> next_idle_send()
		fi
	fi
}

inline next_open_parts()
{
	if
	:: v_ready && v_slot -> v_action = M_ACT_SEND
	:: !(v_ready && v_slot) && v_live && !v_sealed -> v_action = M_ACT_SEND_LIVE
	:: else ->
		if
		:: v_sealed && !v_held && !(v_sync_first && !v_synced) && !v_missing &&
		   !v_sending && v_md5_known -> v_action = M_ACT_COMPLETE
		:: else -> skip
		fi
	fi
}

inline next_open_sound()
{
	if
	:: v_complete_unknown && (v_expired || v_mismatch || v_spoiled) ->
		if
		:: v_sealed && !v_held -> v_action = M_ACT_LOOKUP
		:: else -> skip
		fi
	:: else ->
		if
		:: v_spoiled -> v_action = M_ACT_CANCEL
		:: !v_spoiled && v_sealed && v_md5_err -> v_action = M_ACT_FAIL_READ
		:: !v_spoiled && v_sealed && !v_md5_err && v_faulty && !v_complete_unknown ->
			v_action = M_ACT_FAIL_LINE
		:: else ->
			if
			:: (v_same && !v_complete_unknown) || v_expired || v_mismatch || !v_size_known -> v_action = M_ACT_CANCEL
			:: else ->
				if
				:: v_ask_first ->
					if
					:: v_sealed && !v_held -> v_action = M_ACT_ASK
					:: else -> skip
					fi
				:: else -> next_open_parts()
				fi
			fi
		fi
	fi
}

inline next_open()
{
	if
	:: v_dropped && v_complete_unknown -> v_action = M_ACT_LOOKUP
	:: !(v_dropped && v_complete_unknown) && (v_dropped || v_aborted) ->
		v_action = M_ACT_CANCEL
	:: !v_dropped && !v_aborted && v_unproven -> skip
	:: else -> next_open_sound()
	fi
}

inline next_ended()
{
	if
	:: v_outcome == M_OUTCOME_DROPPED -> skip
	:: else ->
		if
		:: v_dropped || (v_retry && v_outcome != M_OUTCOME_COMPLETED) ||
		   (v_aborted && v_outcome == M_OUTCOME_FAILED) -> v_action = M_ACT_REOPEN
		:: else -> skip
		fi
	fi
}

/* publish_next(): v_action from the view. */
inline publish_next()
{
	next_sync();
	if
	:: v_action != M_ACT_WAIT -> skip
	:: else ->
		if
		:: v_phase == M_PHASE_IDLE -> next_idle()
		:: v_phase == M_PHASE_OPEN -> next_open()
		:: v_phase == M_PHASE_CLEANUP && !v_unproven -> v_action = M_ACT_CLEANUP
		:: v_phase == M_PHASE_FAILING && !v_syncing -> v_action = M_ACT_END_FAILED
		:: v_phase == M_PHASE_ENDED -> next_ended()
		:: v_phase == M_PHASE_CHECKING && (v_dropped || v_aborted) -> v_action = M_ACT_CANCEL
		:: v_phase == M_PHASE_CREATING && v_withdrawn -> v_action = M_ACT_CANCEL
		:: else -> skip
		fi
	fi
}

/* True if the one candidate is ours, as far as can be told with the answer to cancel. */
inline doubt_is_ours()
{
	d_same = (d_found == M_FOUND_SAME);
	d_exact = (d_dated && !d_later);
	d_ours = false;
	if
	:: d_found != M_FOUND_LIKE && d_found != M_FOUND_SAME -> skip
	:: else ->
		if
		:: d_cancel == M_DOUBT_CANCELLED ->
			d_ours = (d_same && ((d_wanted && d_dated) || (!d_wanted && d_exact)))
		:: d_cancel != M_DOUBT_CANCELLED && d_wanted && d_same ->
			d_ours = (d_dated || (!d_rival && !d_always))
		:: d_cancel != M_DOUBT_CANCELLED && d_wanted && !d_same ->
			d_ours = ((!d_rival || d_always) &&
				  (d_exact || (d_dated && d_cancel == M_DOUBT_REFUSED)))
		:: else ->
			d_ours = (d_exact && (d_same || d_cancel == M_DOUBT_REFUSED))
		fi
	fi
}

/* True if no File of ours will appear, or it is time to believe so. */
inline doubt_is_over()
{
	d_over = false;
	if
	:: d_found == M_FOUND_UNSURE -> skip
	:: else ->
		if
		:: d_forced || (d_answered && d_found == M_FOUND_NONE) -> d_over = true
		:: else ->
			if
			:: d_cancel == M_DOUBT_CANCELLED &&
			   (d_found == M_FOUND_NONE || !d_wanted) -> d_over = d_settled
			:: d_cancel == M_DOUBT_DONE && d_waited_for -> d_over = d_stale
			:: else ->
				d_over = (d_to_end && (d_found == M_FOUND_NONE || !d_wanted))
			fi
		fi
	fi
}

/* doubt_next(): d_next from the view. */
inline doubt_next()
{
	if
	:: d_found >= M_FOUND_OTHERS && d_cancel == M_DOUBT_CANCELLED && !d_plausible ->
		d_found = M_FOUND_NONE
	:: else -> skip
	fi;
#ifdef RULES_MUTANT /* run.py: is a change of this side noticed? */
	d_answer = (d_cancel == M_DOUBT_CANCELLED || d_cancel == M_DOUBT_DONE);
#else
	d_answer = (d_cancel == M_DOUBT_CANCELLED || d_cancel == M_DOUBT_REFUSED ||
		    d_cancel == M_DOUBT_DONE);
#endif
	d_repeatable = (d_wanted && d_upload && !d_expired && !d_refused && !d_answer);
	doubt_is_ours();
	doubt_is_over();
	if
	:: d_same && d_dated && d_ours -> d_next = M_DOUBT_ADOPT
	:: else ->
		if
		:: d_repeatable && d_may_repeat -> d_next = M_DOUBT_REPEAT
		:: else ->
			if
			:: d_upload && !d_answer && !d_asked_now &&
			   (!d_repeatable || d_found >= M_FOUND_LIKE) -> d_next = M_DOUBT_CANCEL
			:: else ->
				if
				:: d_ours -> d_next = M_DOUBT_ADOPT
				:: !d_ours && d_found == M_FOUND_NOT_LOOKED -> d_next = M_DOUBT_LOOK
				:: !d_ours && d_found != M_FOUND_NOT_LOOKED && d_over ->
					d_next = M_DOUBT_OVER
				:: else ->
					if
					:: !d_waited_for || d_patient -> d_next = M_DOUBT_LOOK
					:: else -> d_next = M_DOUBT_FAIL
					fi
				fi
			fi
		fi
	fi
}

/* doubt_infers(), of the found that was looked for. */
inline doubt_infers()
{
	d_infers = (d_found != M_FOUND_SAME || !d_dated || d_undated ||
		    (d_cancel == M_DOUBT_CANCELLED && !d_always))
}
