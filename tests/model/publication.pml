/*
 * Publication: a writer, the daemon with its row in the store, the service with its listing, and
 * another host that makes Files of the same name and size. The decisions are those of rules.pml; the
 * effects follow fs/publish: act.c, replies.c, doubt.c, record.c, fail.c.
 *
 * Bounds. With -D: NPUB publications of that name (2: a file that is removed and written again), NU
 * Uploads and NF Files ever made, LOOKS within the patience of a close. By the environment of the
 * verifier (run.py tells them):
 *   losses     calls whose reply is lost, with or without effect, or with an effect that comes later;
 *              replies that can't be understood; connections refused
 *   refusals   completes refused although the Upload lives
 *   crashes    kills of the daemon and power cuts, between any two steps
 *   strangers  Files of the other host, with our bytes or others
 *   rewrites   changes of the content, before or after the first close
 *   drops      removals, at any time
 *
 * Assumed of the service: DOUBT_SETTLE_MS and DOUBT_END_MS are long enough. A complete that runs on
 * after "cancelled" is over, and its File listed, within the one; after the Upload's end each File of
 * it is listed within the other. Files of the other host are not made in the second of our Upload if
 * the service hands out no content, or if their bytes are ours. A service that dates Files by their
 * completion, without the daemon knowing it, does not go on with a complete after "cancelled"
 * (docs/design.md, Assumptions). The service is chosen at the start: whether Files have their Uploads'
 * created_at, whether the daemon knows that, whether content is handed out. POST /files, a part of a
 * walk, a close that keeps a File of the same bytes, and the syncing of the bytes are not here.
 *
 * former=A1, A3, A5: a rule of the former design, with which spin has to find a violation.
 */
#include "rules.pml"

#ifndef NPUB
#define NPUB 1
#endif
#ifndef NU
#define NU 2
#endif
#ifndef NF
#define NF 3
#endif
#ifndef LOOKS
#define LOOKS 1
#endif

c_decl {
\#include "tests/model/bounds.h"
}

#define OTHER 7 /* File.by: the other host */

#define U_OPEN 1
#define U_DONE 2
#define U_CANCELLED 3
#define U_GONE 4

#define C_NONE 0
#define C_CREATE 1
#define C_SEND 2
#define C_COMPLETE 3
#define C_CANCEL 4
#define C_LOOK 5
#define C_DELETE 6

#define R_NONE 0
#define R_WRITING 1
#define R_SEALED 2
#define R_COMPLETING 3
#define R_COMPLETED 4
#define R_FAILED 5
#define R_ABORTED 6
#define R_REMOVED 7

typedef Upload {
	byte st, pub, c, date;
	byte age;   /* 0, 1: near its end, so that a refusal proves nothing; 2: over */
	bit running /* a complete goes on without its caller */
}

typedef File {
	byte by; /* 0: none; the Upload's number, from 1; OTHER */
	byte c, date;
	bit listed, gone
}

typedef Row {
	byte st, u, lu, cancel, strangers, superseded, file, c, dc, pc;
	bit inferred
}

/* Numbers of Uploads and Files count from 1; 0 is none. Sets of Files are masks. */
typedef Pub {
	byte phase, outcome;
	byte u, lu;		/* upload.id; the Upload whose facts are kept */
	byte c, pc, dc;		/* content staged, in the Part, sent with the complete in doubt */
	byte cancel, strangers, superseded, file, looks, call, arg;
	bit dropped, sealed, retry, aborted, stream_failed, early, refused, unknown, repeated;
	bit asked_now, first, answered, stale, plain, plausible, inferred;
	bit settled, ends, missed;	  /* the clock */
	bit look_settled, look_to_end;	  /* of the last look */
	bit closing, kept, wake
}

bit same_date, learned, content;
byte stamp = 1, nu, nf, known, doubtful;
byte losses, refusals, crashes, strangers, drops, rewrites;
hidden byte former; /* 1, 3, 5 */
Upload up[NU];
File fl[NF];
Pub pub[NPUB];
Row row[NPUB], durable[NPUB];

/*
 * Set and used within one atomic step. No d_step may change one: spin goes back from a d_step by the
 * state alone, which they are no part of.
 */
hidden byte h_x, h_y, h_count, h_dated, h_one, h_dated_one, h_found, h_rival, h_mask, h_pending, h_err, h_make,
	h_exists, h_fail, h_finish, h_save;

#define p pub[i]
#define r row[i]
#define OURS(f) (fl[f].by != 0 && fl[f].by != OTHER)
#define LATER (learned && !same_date)
#define ALWAYS (learned && same_date)

#define MAKER(f) up[fl[f].by - 1]

/* Upload number w becomes a File: never a second one of the same publication with the same bytes. */
inline make_file()
{
	assert(nf < NF);
	h_x = 0;
	do
	:: h_x < nf ->
		assert(!OURS(h_x) || fl[h_x].gone || MAKER(h_x).pub != up[h_make - 1].pub ||
		       fl[h_x].c != up[h_make - 1].c);
		h_x++
	:: else -> break
	od;
	if
	:: same_date -> fl[nf].date = up[h_make - 1].date
	:: else -> stamp++; fl[nf].date = stamp
	fi;
	fl[nf].by = h_make;
	fl[nf].c = up[h_make - 1].c;
	nf++;
	up[h_make - 1].st = U_DONE;
	up[h_make - 1].running = 0
}

/* y: the File of Upload w, from 1; 0: none. */
inline file_of(w)
{
	h_y = 0;
	h_x = 0;
	do
	:: h_x < nf ->
		if
		:: fl[h_x].by == w -> h_y = h_x + 1
		:: else -> skip
		fi;
		h_x++
	:: else -> break
	od
}

/* record.c: state_now(), put_upload(), put_outcome(). */
inline save_row()
{
	if
	:: p.dropped -> r.st = R_REMOVED
	:: else ->
		if
		:: p.phase == M_PHASE_CLEANUP || p.phase == M_PHASE_DELETING ||
		   (p.phase == M_PHASE_ENDED && p.outcome == M_OUTCOME_COMPLETED) ->
			r.st = R_COMPLETED
		:: p.phase == M_PHASE_COMPLETING || p.phase == M_PHASE_LOOKUP ->
			r.st = R_COMPLETING
		:: else ->
			if
			:: p.aborted -> r.st = R_ABORTED
			:: !p.aborted && !p.sealed -> r.st = R_WRITING
			:: !p.aborted && p.sealed && p.unknown -> r.st = R_COMPLETING
			:: else ->
				r.st = (p.phase == M_PHASE_ENDED -> R_FAILED : R_SEALED)
			fi
		fi
	fi;
	r.u = p.u;
	r.lu = p.lu;
	r.file = p.file;
	r.superseded = p.superseded;
	r.c = (p.sealed -> p.c : 0);
	r.pc = (p.u && p.pc == p.c -> p.pc : 0);
	r.inferred = p.inferred;
	if
	:: p.unknown || p.phase == M_PHASE_COMPLETING || p.phase == M_PHASE_LOOKUP ->
		r.cancel = (p.cancel -> p.cancel : M_DOUBT_UNASKED);
		r.strangers = p.strangers;
		r.dc = (p.dc -> p.dc : p.c)
	:: else -> r.cancel = 0; r.strangers = 0; r.dc = 0
	fi;
	if
	:: h_save == 2 ->
		durable[i].st = r.st; durable[i].u = r.u; durable[i].lu = r.lu;
		durable[i].cancel = r.cancel; durable[i].strangers = r.strangers;
		durable[i].superseded = r.superseded; durable[i].file = r.file;
		durable[i].c = r.c; durable[i].dc = r.dc; durable[i].pc = r.pc;
		durable[i].inferred = r.inferred
	:: else -> skip
	fi
}

inline no_row(w)
{
	w.st = 0; w.u = 0; w.lu = 0; w.cancel = 0; w.strangers = 0; w.superseded = 0; w.file = 0;
	w.c = 0; w.dc = 0; w.pc = 0; w.inferred = 0
}

inline doubt_end()
{
	p.unknown = 0; p.stale = 0; p.cancel = 0; p.answered = 0; p.dc = 0; p.strangers = 0;
	p.repeated = 0; p.asked_now = 0; p.first = 0; p.plausible = 0; p.looks = 0;
	p.settled = 0; p.ends = 0; p.missed = 0; p.look_settled = 0; p.look_to_end = 0;
	p.refused = 0; p.plain = 0
}

/* publish_fail_api(): connect: the service could not be reached, the Upload is kept. */
inline fail_api()
{
	if
	:: !p.sealed && h_fail != 3 -> p.stream_failed = 1; p.u = 0; p.pc = 0; p.phase = M_PHASE_IDLE; p.wake = 1
	:: else ->
		if
		:: h_fail == 2 && !p.unknown -> p.u = 0; p.pc = 0
		:: else -> skip
		fi;
		p.wake = 1;
		if
		:: p.dropped -> p.phase = M_PHASE_ENDED; p.outcome = M_OUTCOME_FAILED
		:: else -> p.phase = M_PHASE_FAILING
		fi
	fi
}

/* publish_finish(): the parked close is answered. */
inline finish()
{
	if
	:: p.closing && p.outcome == M_OUTCOME_COMPLETED ->
		/* A close of 0: a File of these bytes is there. */
		h_x = 0;
		h_y = 0;
		do
		:: h_x < nf ->
			if
			:: !fl[h_x].gone && fl[h_x].c == p.c -> h_y = 1
			:: else -> skip
			fi;
			h_x++
		:: else -> break
		od;
		assert(h_y)
	:: else -> skip
	fi;
	p.closing = 0;
	p.retry = 0
}

/* publish_file_exists() */
inline file_exists()
{
	p.file = h_exists;
	known = known | (1 << h_exists);
	doubt_end();
	p.phase = M_PHASE_CLEANUP;
	h_save = 2;
	p.wake = 1
}

/* handle of a complete: pending is the found to decide with, from 1. */
inline begin_doubt()
{
	p.unknown = 1;
	if
	:: !p.cancel -> p.cancel = M_DOUBT_UNASKED
	:: else -> skip
	fi;
	if
	:: !p.dc -> p.dc = (p.pc -> p.pc : p.c)
	:: else -> skip
	fi;
	p.phase = M_PHASE_LOOKUP;
	h_pending = M_FOUND_NOT_LOOKED + 1;
	h_one = 0
}

/* upload.c: another publication of this daemon may become a File like it. */
inline has_rival()
{
	h_rival = 0;
#if NPUB > 1
	h_x = 1 - i;
	h_rival = (pub[h_x].unknown || (pub[h_x].u && !pub[h_x].file &&
				    pub[h_x].outcome != M_OUTCOME_DROPPED));
#endif
}

/* doubt.c: sort_candidates() and what follows, once the contents are compared. */
inline look_at_files()
{
	h_count = 0; h_dated = 0; h_one = 0; h_dated_one = 0;
	has_rival();
	h_mask = known | p.strangers | p.superseded;
#if NPUB > 1
	h_x = 1 - i;
	h_mask = h_mask | pub[h_x].superseded;
#endif
	h_mask = (former == 1 || former == 3 -> 0 : h_mask);
	h_x = 0;
	do
	:: h_x < nf ->
		if
		:: fl[h_x].listed && !fl[h_x].gone && !(h_mask & (1 << (h_x + 1))) &&
		   fl[h_x].date >= up[p.lu - 1].date &&
		   (!ALWAYS || fl[h_x].date == up[p.lu - 1].date) ->
			if
			:: content && fl[h_x].c != p.dc && former != 1 && former != 3 ->
				p.strangers = p.strangers | (1 << (h_x + 1))
			:: else ->
				h_count++;
				h_one = h_x + 1;
				if
				:: (LATER && !h_rival) ||
				   (!LATER && fl[h_x].date == up[p.lu - 1].date) ->
					h_dated++;
					h_dated_one = h_x + 1
				:: else -> skip
				fi
			fi
		:: else -> skip
		fi;
		h_x++
	:: else -> break
	od;
	p.plausible = (h_dated > 0);
	if
	:: h_dated == 1 -> h_one = h_dated_one
	:: else -> skip
	fi;
	if
	:: h_count == 0 -> h_pending = M_FOUND_NONE + 1; h_one = 0
	:: h_count > 0 && (h_count == 1 || h_dated == 1) ->
		h_pending = (content -> M_FOUND_SAME : M_FOUND_LIKE) + 1
	:: else -> h_pending = M_FOUND_OTHERS + 1; h_one = 0
	fi
}

/* doubt.c: note_missed(), and what the look proves by its time. */
inline note_look()
{
	p.look_settled = p.settled;
	p.look_to_end = p.missed;
	if
	:: p.ends -> p.missed = 1
	:: else -> skip
	fi;
	if
	:: p.looks < LOOKS -> p.looks++
	:: else -> skip
	fi;
	if
	:: p.dropped -> p.asked_now = 0
	:: else -> skip
	fi;
	/* complete only failed: once more after a whole list without the File */
	if
	:: h_pending == M_FOUND_NONE + 1 && p.plain && p.u && p.looks < LOOKS -> p.repeated = 0
	:: else -> skip
	fi
}

inline adopt()
{
	/* d_found is as doubt_next() left it: the same where there is a candidate. */
	doubt_infers();
	/* Another host's File is taken only for what it may be: our bytes stay. */
	assert(fl[h_one - 1].by != OTHER || (d_infers && !p.dropped && !p.stale));
	/* What is not wanted goes: nothing but ours. */
	assert(!(p.dropped || p.stale) || (OURS(h_one - 1) && MAKER(h_one - 1).pub == i));
	if
	:: p.stale && !p.dropped ->
		p.superseded = p.superseded | (1 << h_one);
		doubt_end();
		p.u = 0;
		p.pc = 0;
		p.phase = M_PHASE_IDLE;
		p.wake = 1
	:: else ->
		p.inferred = (d_infers && !p.dropped);
		doubtful = (p.inferred -> doubtful | (1 << h_one) : doubtful);
		p.kept = p.inferred;
		p.u = 0;
		h_exists = h_one
	fi
}

inline over()
{
	/* The Upload was alive: the refusal concerns the bytes. */
	h_err = (p.cancel == M_DOUBT_CANCELLED && p.refused && p.sealed && !p.dropped);
	doubt_end();
	p.u = 0;
	p.pc = 0;
	p.phase = M_PHASE_IDLE;
	p.wake = 1;
	if
	:: h_err -> h_fail = 3
	:: else -> skip
	fi
}

/* doubt_step(): one: the candidate, from 1. */
inline take_doubt()
{
	h_found = h_pending - 1;
	h_pending = 0;
	d_found = h_found;
	d_cancel = p.cancel;
	d_wanted = (!p.dropped && !p.stale && p.sealed);
	d_upload = (p.u > 0);
	d_expired = (p.u == 0);
	if
	:: p.u -> d_expired = (up[p.u - 1].age == 2)
	:: else -> skip
	fi;
	d_refused = p.refused;
	d_answered = p.answered;
	d_may_repeat = !p.repeated;
	d_waited_for = !p.dropped;
	d_asked_now = p.asked_now;
	d_stale = p.stale;
	has_rival();
	h_rival = (h_rival && h_one > 0);
	d_rival = h_rival;
	d_plausible = p.plausible;
	d_later = LATER;
	d_dated = 0;
	if
	:: h_one -> d_dated = ((LATER && !h_rival) || (!LATER && fl[h_one - 1].date == up[p.lu - 1].date))
	:: else -> skip
	fi;
	d_undated = (h_one && LATER);
	d_always = (h_one && ALWAYS);
	d_forced = 0;
	d_settled = p.look_settled;
	d_to_end = p.look_to_end;
	d_patient = (p.looks < LOOKS);
	if
	/* A1: a removed file in doubt takes the File of that name and size with it. */
	:: former == 1 && p.dropped && h_one -> d_next = M_DOUBT_ADOPT
	/* A3: is_ours(): name, bytes, purpose and time, whatever became of the Upload. */
	:: former == 3 && !p.dropped && !p.stale && h_one -> d_next = M_DOUBT_ADOPT
	/* A5: a few looks without the File end the doubt. */
	:: former == 5 && h_found == M_FOUND_NONE && p.looks >= LOOKS -> d_next = M_DOUBT_OVER
	:: else -> doubt_next()
	fi;
	if
	:: d_next == M_DOUBT_REPEAT -> p.repeated = 1; p.phase = M_PHASE_OPEN; p.wake = 1
	:: d_next == M_DOUBT_CANCEL ->
		p.asked_now = 1;
		p.first = (p.cancel == M_DOUBT_UNASKED);
		p.cancel = M_DOUBT_ASKED;
		p.phase = M_PHASE_PROBING;
		h_save = 2;
		p.call = C_CANCEL
	:: d_next == M_DOUBT_LOOK -> p.phase = M_PHASE_LOOKUP; p.call = C_LOOK
	:: d_next == M_DOUBT_ADOPT -> adopt()
	:: d_next == M_DOUBT_OVER -> over()
	:: d_next == M_DOUBT_FAIL ->
		p.phase = (p.u -> M_PHASE_OPEN : M_PHASE_IDLE);
		h_fail = 1
	fi
}

inline take_view()
{
	v_phase = p.phase;
	v_outcome = p.outcome;
	v_dropped = p.dropped;
	v_aborted = p.aborted;
	v_withdrawn = 0;
	v_sealed = p.sealed;
	v_held = 0;
	v_retry = p.retry;
	v_size_known = 1;
	v_sized = 1;
	v_early = p.early;
	v_ask_first = 0;
	v_whole = 0;
	v_too_large = 0;
	v_stream_failed = p.stream_failed;
	v_mismatch = (p.phase == M_PHASE_OPEN && p.stale);
	v_expired = 0;
	if
	:: p.phase == M_PHASE_OPEN && p.u -> v_expired = (up[p.u - 1].age == 2)
	:: else -> skip
	fi;
	v_complete_unknown = p.unknown;
	v_sync_wanted = 0;
	v_sync_first = 0;
	v_synced = 1;
	v_syncing = 0;
	v_sync_failed = 0;
	v_unproven = 0;
	v_spoiled = 0;
	v_ready = (p.pc == 0 || (p.sealed && p.pc != p.c));
	v_sending = 0;
	v_missing = (p.pc == 0 || (p.sealed && p.pc != p.c));
	v_live = 0;
	v_slot = 1;
	v_md5_known = p.sealed;
	v_md5_err = 0;
	v_maybe_same = 0;
	v_same = 0;
	v_faulty = 0
}

/* The next File to delete goes to p.arg; 0: none. */
inline next_to_delete()
{
	p.arg = 0;
	if
	:: p.dropped -> p.arg = p.file
	:: else ->
		h_x = 1;
		do
		:: h_x <= nf ->
			if
			:: p.superseded & (1 << h_x) -> p.arg = h_x
			:: else -> skip
			fi;
			h_x++
		:: else -> break
		od
	fi
}

inline cleanup()
{
	next_to_delete();
	if
	:: p.arg ->
		p.phase = M_PHASE_DELETING;
		h_save = 2;
		p.call = C_DELETE
	:: else ->
		doubt_end();
		p.phase = M_PHASE_ENDED;
		if
		:: p.dropped -> p.outcome = M_OUTCOME_DROPPED; p.file = 0
		:: else ->
			p.outcome = M_OUTCOME_COMPLETED;
			/* The staged bytes go to the cache, or stay: never without a File of them. */
			assert(!fl[p.file - 1].gone && (p.kept || fl[p.file - 1].c == p.c))
		fi;
		h_finish = 1;
		p.pc = 0;
		p.wake = 1;
		no_row(r);
		no_row(durable[i])
	fi
}

/* step.c: one action. */
inline step()
{
	h_save = (r.st == R_WRITING && p.sealed);
	take_view();
	publish_next();
	if
	:: v_action == M_ACT_WAIT -> p.wake = 0
	:: v_action == M_ACT_CREATE ->
		p.phase = M_PHASE_CREATING;
		p.call = C_CREATE
	:: v_action == M_ACT_SEND -> p.call = C_SEND
	:: v_action == M_ACT_COMPLETE ->
		p.phase = M_PHASE_COMPLETING;
		if
		:: !p.unknown ->
			/* publish_note_strangers(): those of the tree, if it is up to date. */
			p.strangers = 0;
			if
			:: true ->
				h_x = 0;
				do
				:: h_x < nf ->
					if
					:: fl[h_x].listed && !fl[h_x].gone ->
						p.strangers = p.strangers | (1 << (h_x + 1))
					:: else -> skip
					fi;
					h_x++
				:: else -> break
				od
			:: true -> skip
			fi
		:: else -> skip
		fi;
		h_save = 2;
		p.call = C_COMPLETE
	:: v_action == M_ACT_CANCEL ->
		/* Given up; should the cancel be lost, the Upload expires. */
		p.u = 0;
		p.pc = 0;
		p.phase = M_PHASE_IDLE;
		h_save = 1
	:: v_action == M_ACT_LOOKUP ->
		p.repeated = 0;
		p.asked_now = 0;
		p.looks = 0;
		p.look_settled = 0;
		p.look_to_end = 0;
		begin_doubt()
	:: v_action == M_ACT_END_FAILED ->
		p.phase = M_PHASE_ENDED;
		p.outcome = M_OUTCOME_FAILED;
		h_save = 2;
		h_finish = 1
	:: v_action == M_ACT_REOPEN ->
		p.retry = 0;
		p.outcome = M_OUTCOME_NONE;
		p.stream_failed = 0;
		p.phase = (p.u -> M_PHASE_OPEN : M_PHASE_IDLE)
	:: v_action == M_ACT_CLEANUP -> cleanup()
	:: v_action == M_ACT_END_ABORTED ->
		p.phase = M_PHASE_ENDED;
		p.outcome = M_OUTCOME_ABORTED;
		h_save = 1;
		h_finish = 1
	:: v_action == M_ACT_END_DROPPED ->
		p.phase = M_PHASE_ENDED;
		p.outcome = M_OUTCOME_DROPPED;
		h_finish = 1
	fi
}

inline call_create()
{
	if
	:: nu < NU ->
		nu++;
#if NPUB > 1
		/* In the same second as the one before, or later. */
		if
		:: nu > 1 -> skip
		:: true -> stamp++
		fi;
#else
		stamp++;
#endif
		up[nu - 1].st = U_OPEN;
		up[nu - 1].pub = i;
		up[nu - 1].date = stamp;
		p.u = nu;
		p.lu = nu;
		p.pc = 0;
		p.phase = M_PHASE_OPEN;
#if NPUB > 1
		/* publish_created_twin() */
		has_rival();
		h_x = 1 - i;
		if
		:: h_rival && pub[h_x].lu && up[pub[h_x].lu - 1].date == stamp ->
			p.u = 0;
			p.phase = M_PHASE_IDLE;
			p.early = 1
		:: else -> skip
		fi;
#endif
		h_save = 1;
		p.wake = 1
	:: nu == NU -> p.phase = M_PHASE_IDLE; h_fail = 1
	:: losses > 0 -> losses--; p.phase = M_PHASE_IDLE; h_fail = 1
	fi
}

inline call_send()
{
	if
	:: up[p.u - 1].st == U_OPEN -> p.pc = p.c; up[p.u - 1].c = p.c; h_save = 1
	:: up[p.u - 1].st == U_OPEN && losses > 0 -> losses--
	:: up[p.u - 1].st != U_OPEN ->
		/* refused: is the Upload alive? */
		p.phase = M_PHASE_PROBING;
		p.call = C_CANCEL
	fi;
	p.wake = 1
}

inline lost()
{
	losses--;
	p.refused = 0;
	if
	:: p.plain = 0
	:: p.plain = 1
	fi;
	p.answered = 0;
	begin_doubt()
}

inline refuse()
{
	p.refused = 1;
	p.plain = 0;
	p.answered = !p.unknown;
	begin_doubt()
}

inline call_complete()
{
	p.phase = M_PHASE_OPEN;
	if
	:: up[p.u - 1].st == U_OPEN ->
		if
		:: true -> h_make = p.u; h_exists = nf + 1
		:: losses > 0 -> h_make = p.u; lost()
		:: losses > 0 -> lost()
		:: losses > 0 -> up[p.u - 1].running = 1; lost()
		:: losses > 0 ->
			/* 2xx that can't be understood */
			h_make = p.u;
			losses--;
			p.cancel = M_DOUBT_DONE;
			p.refused = 0;
			p.plain = 0;
			p.answered = 0;
			begin_doubt();
			p.u = 0
		:: losses > 0 && !p.unknown -> losses--; h_fail = 1
		:: refusals > 0 -> refusals--; refuse()
		fi
	:: up[p.u - 1].st == U_DONE ->
		if
		:: true -> file_of(p.u); h_exists = h_y
		:: true -> refuse()
		:: losses > 0 -> lost()
		fi
	:: else ->
		if
		:: true -> refuse()
		:: losses > 0 -> lost()
		fi
	fi
}

/* publish_doubt_cancelled(): how: 0 lost, 1 "cancelled", 2 refused with 400, 3 with 404. */
inline cancel_answered()
{
	if
	:: p.unknown ->
		p.cancel = M_DOUBT_ASKED;
		if
		:: h_y == 1 -> p.cancel = M_DOUBT_CANCELLED; p.settled = 0
		:: h_y == 2 && p.first && up[p.u - 1].age == 0 -> p.cancel = M_DOUBT_REFUSED
		:: else -> skip
		fi;
		if
		:: h_y != 0 -> p.u = 0; p.pc = 0
		:: else -> skip
		fi;
		p.phase = M_PHASE_LOOKUP;
		h_save = 2;
		h_pending = M_FOUND_NOT_LOOKED + 1;
		h_one = 0
	:: else ->
		p.u = 0;
		p.pc = 0;
		p.phase = M_PHASE_IDLE;
		p.wake = 1;
		if
		:: h_y < 2 -> h_fail = 2
		:: else -> p.stream_failed = !p.sealed
		fi
	fi
}

inline call_cancel()
{
	if
	:: up[p.u - 1].st == U_OPEN -> up[p.u - 1].st = U_CANCELLED; h_y = 1
	:: up[p.u - 1].st == U_OPEN && losses > 0 -> up[p.u - 1].st = U_CANCELLED; losses--; h_y = 0
	:: losses > 0 -> losses--; h_y = 0
	:: up[p.u - 1].st == U_DONE -> h_y = 2
	:: up[p.u - 1].st == U_CANCELLED -> h_y = 1
	:: up[p.u - 1].st == U_CANCELLED -> h_y = 2
	:: up[p.u - 1].st == U_GONE -> h_y = 2
	:: up[p.u - 1].st == U_GONE -> h_y = 3
	fi;
	cancel_answered()
}

inline call_look()
{
	if
	:: true -> look_at_files(); note_look()
	:: losses > 0 ->
		losses--;
		if
		:: p.dropped -> h_pending = M_FOUND_UNSURE + 1; h_one = 0; note_look()
		:: else -> p.phase = (p.u -> M_PHASE_OPEN : M_PHASE_IDLE); h_fail = 1
		fi
	fi
}

inline call_delete()
{
	h_x = p.arg;
	/* Never another host's, but one that this host shows as its own by inference. */
	assert(OURS(h_x - 1) || (doubtful & (1 << h_x)));
	if
	:: true -> fl[h_x - 1].gone = 1
	:: losses > 0 -> losses--
	fi;
	p.superseded = p.superseded & ~(1 << h_x);
	if
	:: p.file == h_x -> p.file = 0
	:: else -> skip
	fi;
	p.arg = 0;
	p.phase = M_PHASE_CLEANUP;
	h_save = 1;
	p.wake = 1
}

proctype Publisher(byte i)
{
end:	do
	:: atomic { p.wake || p.call != C_NONE ->
		h_pending = 0; h_make = 0; h_exists = 0; h_fail = 0; h_finish = 0; h_save = 0;
		h_err = p.call;
		p.call = C_NONE;
		if
		:: h_err == C_NONE -> step()
		:: h_err == C_CREATE -> call_create()
		:: h_err == C_SEND -> call_send()
		:: h_err == C_COMPLETE -> call_complete()
		:: h_err == C_CANCEL -> call_cancel()
		:: h_err == C_LOOK -> call_look()
		:: h_err == C_DELETE -> call_delete()
		fi;
		if
		:: h_make -> make_file()
		:: else -> skip
		fi;
		if
		:: h_pending -> take_doubt()
		:: else -> skip
		fi;
		if
		:: h_exists -> file_exists()
		:: h_fail -> fail_api()
		:: h_finish -> finish()
		:: else -> skip
		fi;
		if
		:: h_save && crashes -> save_row()
		:: else -> skip
		fi }
	od
}

inline close_file()
{
	p.sealed = 1;
	p.closing = 1;
	p.wake = 1
}

/* publish_reopen(), start_over() */
inline write_again()
{
	p.stale = p.unknown;
	p.u = (p.unknown -> p.u : 0);
	p.pc = 0;
	p.superseded = (p.file -> p.superseded | (1 << p.file) : p.superseded);
	p.file = 0;
	p.inferred = 0;
	p.kept = 0;
	p.outcome = M_OUTCOME_NONE;
	p.stream_failed = 0;
	p.aborted = 0;
	p.sealed = 0;
	p.c = 2;
	p.phase = (p.u -> M_PHASE_OPEN : M_PHASE_IDLE);
	/* files_reopen() */
	if
	:: crashes && r.st != R_NONE ->
		r.st = R_WRITING; r.c = 0; r.pc = 0; r.file = 0; r.superseded = p.superseded
	:: crashes && r.st == R_NONE -> r.st = R_WRITING; r.superseded = p.superseded
	:: else -> skip
	fi
}

proctype Writer(byte i)
{
#if NPUB > 1
	/* The same name again, once it was removed. */
endw:	i == 0 || pub[0].dropped;
#endif
	atomic { p.c = 1; r.st = R_WRITING; p.wake = 1 };
	if
	:: atomic { rewrites && !p.aborted && p.phase != M_PHASE_ENDED -> p.c = 2; rewrites = 0 }
	:: true -> skip
	fi;
	if
	:: atomic { !p.dropped && !p.aborted -> close_file() }
	:: p.dropped || p.aborted -> goto done
	fi;
	!p.closing;
	if
	:: atomic { rewrites && !p.dropped && p.phase == M_PHASE_ENDED && !p.retry ->
		rewrites = 0;
		write_again() };
		if
		:: atomic { !p.dropped && !p.aborted -> close_file() };
			!p.closing
		:: p.dropped || p.aborted -> skip
		fi
	:: true -> skip
	fi;
done:	skip
}

/* The age of any other Upload counts for nothing. */
#if NPUB > 1
#define in_use(w) ((pub[0].lu == w && (pub[0].u || pub[0].unknown)) || \
		   (pub[1].lu == w && (pub[1].u || pub[1].unknown)))
#else
#define in_use(w) (pub[0].lu == w && (pub[0].u || pub[0].unknown))
#endif

/* The other host, the listing, clocks, the completes that go on, removals. */
proctype World(byte i)
{
	byte f;

end:	do
	:: atomic { strangers > 0 && nf + NU < NF + nu ->
		strangers--;
		fl[nf].by = OTHER;
		if
		:: stamp++; fl[nf].date = stamp
		:: content -> fl[nf].date = stamp
		:: content -> stamp++; fl[nf].date = stamp; fl[nf].c = 1
		fi;
		nf++ }
	:: atomic { nf > 0 && !fl[0].listed -> fl[0].listed = 1 }
	:: atomic { nf > 1 && !fl[1].listed -> fl[1].listed = 1 }
#if NF > 2
	:: atomic { nf > 2 && !fl[2].listed -> fl[2].listed = 1 }
#endif
#if NF > 3
	:: atomic { nf > 3 && !fl[3].listed -> fl[3].listed = 1 }
#endif
	:: atomic { nu > 0 && up[nu - 1].age < 2 && in_use(nu) ->
		up[nu - 1].age++;
		if
		:: up[nu - 1].age == 2 && up[nu - 1].st == U_OPEN -> up[nu - 1].st = U_GONE
		:: else -> skip
		fi }
#if NU > 1
	:: atomic { nu > 1 && up[nu - 2].age < 2 && in_use(nu - 1) ->
		up[nu - 2].age++;
		if
		:: up[nu - 2].age == 2 && up[nu - 2].st == U_OPEN -> up[nu - 2].st = U_GONE
		:: else -> skip
		fi }
#endif
	od
}

/* A complete without its caller: done late, or never. */
proctype Late()
{
end:	do
	:: atomic { (up[0].running || up[NU - 1].running) ->
		h_make = (up[0].running -> 1 : NU);
		if
		:: up[h_make - 1].st == U_OPEN ||
		   (up[h_make - 1].st == U_CANCELLED && (same_date || learned)) -> make_file()
		:: up[h_make - 1].running = 0
		fi }
	od
}

/* True in y if nothing of Upload w is under way: no complete, and its File is listed. */
inline is_still(w)
{
	file_of(w);
	h_y = (!up[w - 1].running && (h_y == 0 || fl[(h_y -> h_y - 1 : 0)].listed))
}

proctype Clock(byte i)
{
end:	do
	:: atomic { p.unknown && p.cancel == M_DOUBT_CANCELLED && !p.settled ->
		is_still(p.lu);
		p.settled = h_y }
	:: atomic { p.unknown && !p.ends && p.lu && up[(p.lu -> p.lu - 1 : 0)].age == 2 ->
		is_still(p.lu);
		p.ends = h_y }
	:: atomic { p.early -> p.early = 0; stamp++; p.wake = 1 }
	:: atomic { p.phase == M_PHASE_ENDED && p.outcome == M_OUTCOME_FAILED && p.sealed &&
		    !p.retry -> p.retry = 1; p.wake = 1 }
	:: atomic { drops > 0 && p.c && !p.dropped && p.outcome != M_OUTCOME_COMPLETED && !p.file ->
		drops--;
		p.dropped = 1;
		p.wake = 1;
		/* files_set_removed() */
		r.st = (r.st != R_NONE -> R_REMOVED : R_NONE) }
	od
}

/* publish_load_record() */
inline load()
{
	p.phase = M_PHASE_IDLE; p.outcome = 0; p.u = r.u; p.lu = r.lu; p.pc = r.pc;
	p.superseded = r.superseded; p.file = 0; p.call = 0; p.arg = 0;
	p.dropped = 0; p.sealed = 0; p.retry = 0; p.aborted = 0; p.stream_failed = 0;
	p.early = 0; p.refused = 0; p.plain = 0; p.inferred = 0; p.closing = 0; p.kept = 0;
	doubt_end();
	p.phase = (r.u -> M_PHASE_OPEN : M_PHASE_IDLE);
	if
	:: (r.st == R_COMPLETED || r.st == R_REMOVED) && r.file -> p.file = r.file
	:: else -> skip
	fi;
	if
	:: !p.file && (r.st == R_COMPLETING || r.st == R_COMPLETED || r.cancel) ->
		p.unknown = 1;
		p.cancel = (r.cancel && r.cancel != M_DOUBT_INFERRED -> r.cancel : M_DOUBT_UNASKED);
		p.strangers = r.strangers;
		p.dc = (r.dc -> r.dc : p.c);
		p.stale = (r.c != p.dc)
	:: else -> skip
	fi;
	p.inferred = (p.file && r.inferred);
	p.kept = p.inferred;
	if
	:: r.st == R_WRITING || r.st == R_ABORTED ->
		p.aborted = 1;
		if
		:: !p.u && !p.unknown -> p.phase = M_PHASE_ENDED; p.outcome = M_OUTCOME_ABORTED
		:: else -> skip
		fi
	:: r.st == R_REMOVED ->
		p.dropped = 1;
		p.phase = (p.file -> M_PHASE_CLEANUP : p.phase)
	:: else ->
		p.sealed = 1;
		p.phase = (p.file -> M_PHASE_CLEANUP : p.phase)
	fi;
	p.wake = 1
}

inline crash_one()
{
	/* What was under way may still arrive. */
	if
	:: p.call == C_COMPLETE && up[(p.u -> p.u - 1 : 0)].st == U_OPEN -> up[p.u - 1].running = 1
	:: p.call == C_CANCEL && up[(p.u -> p.u - 1 : 0)].st == U_OPEN -> up[p.u - 1].st = U_CANCELLED
	:: p.call == C_DELETE -> fl[p.arg - 1].gone = 1
	:: true -> skip
	fi;
	if
	:: r.st == R_NONE -> p.closing = 0
	:: else -> load()
	fi
}

/* A power cut: what was committed since the last sync is lost with it. */
inline cut_one()
{
	if
	:: durable[i].st == R_NONE -> skip
	:: else ->
		r.st = durable[i].st; r.u = durable[i].u; r.lu = durable[i].lu;
		r.cancel = durable[i].cancel; r.strangers = durable[i].strangers;
		r.superseded = durable[i].superseded; r.file = durable[i].file;
		r.c = durable[i].c; r.dc = durable[i].dc; r.pc = durable[i].pc;
		r.inferred = durable[i].inferred
	fi
}

proctype Crash(byte i)
{
end:	do
	:: atomic { crashes > 0 && p.c ->
		crashes--;
		i = 0;
		if
		:: true -> skip
		:: r.st != R_NONE && durable[0].st != R_NONE ->
			cut_one();
#if NPUB > 1
			i = 1;
			cut_one();
			i = 0;
#endif
		fi;
		crash_one();
#if NPUB > 1
		i = 1;
		crash_one();
		i = 0;
#endif
		if
		:: crashes == 0 ->
			no_row(row[0]);
			no_row(durable[0]);
#if NPUB > 1
			no_row(row[1]);
			no_row(durable[1])
#endif
		:: else -> skip
		fi }
	od
}

/* Nothing is left to happen: every parked close was answered. */
proctype Watch()
{
	timeout -> assert(!pub[0].closing);
#if NPUB > 1
	assert(!pub[1].closing)
#endif
}

init {
	atomic {
		c_code {
			now.losses = bound("losses");
			now.refusals = bound("refusals");
			now.crashes = bound("crashes");
			now.strangers = bound("strangers");
			now.drops = bound("drops");
			now.rewrites = bound("rewrites");
			former = bound("former");
		};
		if :: same_date = 0 :: same_date = 1 fi;
		if :: learned = 0 :: learned = 1 fi;
#if NPUB > 1
		/* docs/proof.md, Known */
		learned = (same_date -> learned : 1);
#endif
		if :: content = 0 :: content = 1 fi;
		run World(0);
		run Late();
		run Crash(0);
		run Watch();
		run Publisher(0);
		run Writer(0);
		run Clock(0);
#if NPUB > 1
		run Publisher(1);
		run Writer(1);
		run Clock(1)
#endif
	}
}
