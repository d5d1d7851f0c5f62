/*
 * The namespace: two names and two users, who write, rename, remove and update; the store's rows, of
 * which the synced ones outlast a power cut; a service that refuses, or whose reply is lost with or
 * without effect. It follows fs/vfs (rename.c, intent.c, side_name.c, unlink.c, copyup.c), fs/stage/row.c,
 * fs/publish/record.c and files.c's drop_copy(). A complete in doubt is settled in one step: how is
 * the matter of publication.pml.
 *
 * Bounds. With -D: USERS with one operation each and one more after a crash. By the environment:
 *   crashes    kills, between any two steps
 *   cuts       power cuts, between any two steps
 *   fails      completes that are refused, or whose reply is lost
 * A File has one content for ever: its number. Each operation makes at most one row and one File.
 * A name that is being published parks a rename or removal of it; held names are not here.
 *
 * Checked after each step of recovery and of each operation: a name shows what was acknowledged, or
 * what the operation under way makes of it; after a power cut, what was acknowledged since the last
 * durable change of the name. No File goes but one that its name showed when it was removed, or one
 * that a File replaces which exists. No row goes with the only copy of acknowledged bytes.
 *
 * former=1: B1, a target is dropped before the outcome is known. 2: C1, what is left of a cut rename
 * shows as an aborted file, and its removal takes the Files it was to replace. 3: D2, a rename of a
 * staged file over another is answered before it is committed, one row at a time.
 */
#ifndef USERS
#define USERS 2
#endif
#define NR (2 * USERS + 2)
#define NF (NR + 2)

c_decl {
\#include "tests/model/bounds.h"
}

#define S_NONE 0
#define S_WRITING 1
#define S_SEALED 2
#define S_COMPLETING 3
#define S_COMPLETED 4
#define S_FAILED 5
#define S_ABORTED 6

#define NOBODY 2 /* a name: none */
#define PARTIAL 15 /* bytes of a writing that was cut */

typedef Row { byte st, name, val, superseded; bit copy }
typedef File { byte name, val, row; bit gone }

Row row[NR], durable[NR];
File fl[NF];
byte nrow, nf, crashes, cuts, fails, epoch;
bit busy[2], down;
byte former;

/* The oracle. Sets are masks of contents; content 0 is none. */
byte shown[2];
int may_show[2], after_cut[2];

hidden byte h_x, h_y, h_n, h_f, h_v;

#define SHOWS(w) (row[w].st != S_NONE && row[w].st != S_COMPLETED && \
		  (!row[w].copy || former == 2 && row[w].st == S_ABORTED))

/* A row whose File exists hides the Files it replaces. */
#define replaces(w, f) (w < nrow && row[w].st == S_COMPLETED && (row[w].superseded & (1 << f)))
#if USERS == 1
#define is_replaced(f) (replaces(0, f) || replaces(1, f) || replaces(2, f) || replaces(3, f))
#else
#define is_replaced(f) (replaces(0, f) || replaces(1, f) || replaces(2, f) || replaces(3, f) || \
			replaces(4, f) || replaces(5, f))
#endif

/* h_x: the row of name n that shows, h_f: the File, each from 1; 0: none. h_y: the content. */
inline look(n)
{
	h_x = 0;
	h_f = 0;
	h_y = 0;
	h_n = 0;
	do
	:: h_n < nrow ->
		if
		:: SHOWS(h_n) && row[h_n].name == n -> h_x = h_n + 1
		:: else -> skip
		fi;
		h_n++
	:: else -> break
	od;
	h_n = 0;
	do
	:: h_n < nf ->
		if
		:: !fl[h_n].gone && fl[h_n].name == n && !is_replaced(h_n) -> h_f = h_n + 1
		:: else -> skip
		fi;
		h_n++
	:: else -> break
	od;
	if
	:: h_x -> h_y = row[h_x - 1].val
	:: !h_x && h_f -> h_y = fl[h_f - 1].val
	:: else -> skip
	fi
}

inline check(n)
{
	look(n);
	assert(may_show[n] & (1 << h_y))
}

/* All commits so far are durable: the log is synced as a whole. */
inline sync()
{
	h_n = 0;
	do
	:: h_n < nrow ->
		durable[h_n].st = row[h_n].st;
		durable[h_n].name = row[h_n].name;
		durable[h_n].val = row[h_n].val;
		durable[h_n].superseded = row[h_n].superseded;
		durable[h_n].copy = row[h_n].copy;
		h_n++
	:: else -> break
	od
}

/* The oracle hears of an end: n has content v. firm: over a power cut as well. */
inline acknowledge(n, v, firm)
{
	shown[n] = v;
	may_show[n] = 1 << v;
	after_cut[n] = (firm -> 1 << v : after_cut[n] | (1 << v))
}

/* Files named n that are there, as the superseded ones of a row: into h_y. */
inline files_of(n)
{
	h_y = 0;
	h_n = 0;
	do
	:: h_n < nf ->
		h_y = (!fl[h_n].gone && fl[h_n].name == n && !is_replaced(h_n) -> h_y | (1 << h_n)
			: h_y);
		h_n++
	:: else -> break
	od
}

/* The File of row w, from 1: into h_f. */
inline file_of(w)
{
	h_f = 0;
	h_n = 0;
	do
	:: h_n < nf ->
		h_f = (fl[h_n].row == w + 1 -> h_n + 1 : h_f);
		h_n++
	:: else -> break
	od
}

inline drop_row(w)
{
	row[w].st = S_NONE; row[w].val = 0; row[w].superseded = 0; row[w].copy = 0; row[w].name = 0
}

inline make_file(w)
{
	assert(nf < NF);
	file_of(w);
	assert(!h_f); /* never two Files of one publication */
	fl[nf].name = row[w].name;
	fl[nf].val = row[w].val;
	fl[nf].row = w + 1;
	nf++
}

/* files_take_place(): the commit that says "completed" removes other staged files of the name. */
inline take_place(w)
{
	row[w].st = S_COMPLETED;
	h_n = 0;
	do
	:: h_n < nrow ->
		if
		:: row[w].copy && h_n != w && row[h_n].st != S_NONE &&
		   row[h_n].st != S_COMPLETED && row[h_n].name == row[w].name && !row[h_n].copy ->
			row[h_n].st = S_NONE; row[h_n].val = 0; row[h_n].superseded = 0
		:: else -> skip
		fi;
		h_n++
	:: else -> break
	od
}

/* Delete the Files that the File of row w replaces, a step each. */
inline delete_superseded(w)
{
	do
	:: atomic { row[w].superseded ->
		h_x = 0;
		do
		:: !(row[w].superseded & (1 << h_x)) -> h_x++
		:: else -> break
		od;
		/* Its successor is there, or this was done before the power cut. */
		file_of(w);
		assert(fl[h_x].gone || (h_f && !fl[h_f - 1].gone));
		assert(h_f - 1 != h_x);
		fl[h_x].gone = 1;
		row[w].superseded = row[w].superseded & ~(1 << h_x) }
	:: atomic { !row[w].superseded -> drop_row(w); break }
	od
}

/*
 * Seal row w and publish it; ret: 1 its File exists, 0 it failed. The File's name counts from the
 * commit of "completed" on.
 */
inline publish(w, ret)
{
	atomic { row[w].st = S_SEALED };
	/* Durable before complete is asked. */
	atomic { row[w].st = S_COMPLETING; sync() };
	if
	:: atomic { make_file(w) }; ret = 1
	:: atomic { fails > 0 -> fails--; ret = 0 } /* refused, or lost and never found */
	fi;
	if
	:: ret -> atomic { take_place(w); sync() }
	:: else -> skip
	fi
}

/* Open with O_TRUNC, write, close. */
inline op_write()
{
	atomic { !busy[n] ->
		busy[n] = 1;
		look(n);
		if
		:: h_x -> w = h_x - 1; row[w].copy = 0
		:: else -> w = nrow; nrow++; files_of(n); row[w].superseded = h_y
		fi;
		row[w].st = S_WRITING;
		row[w].name = n;
		row[w].val = PARTIAL;
		may_show[n] = may_show[n] | (1 << PARTIAL) | (1 << (3 + w + 6 * (_pid & 1)));
		after_cut[n] = after_cut[n] | may_show[n] };
	atomic { row[w].val = 3 + w + 6 * (_pid & 1) };
	if
	:: true -> end_writing()
	:: atomic { fails > 0 -> /* the writer is killed */
		fails--;
		row[w].st = S_ABORTED;
		h_v = row[w].val; acknowledge(n, h_v, 0);
		busy[n] = 0 }
	fi
}

inline end_writing()
{
	publish(w, ok);
	if
	:: ok ->
		atomic { look(n); h_v = row[w].val; acknowledge(n, h_v, 1) };
		delete_superseded(w);
		busy[n] = 0
	:: else ->
		/* The bytes are kept, and synced before that is told. */
		atomic { row[w].st = S_FAILED; sync(); h_v = row[w].val; acknowledge(n, h_v, 1); busy[n] = 0 }
	fi
}

/* An update in place: a marked copy, whose mark ends before the first byte changes. */
inline op_update()
{
	atomic { !busy[n] ->
		look(n);
		if
		:: !h_x && h_f ->
			busy[n] = 1;
			w = nrow;
			nrow++;
			row[w].st = S_WRITING;
			row[w].name = n;
			row[w].val = h_y;
			files_of(n);
			row[w].superseded = h_y;
			row[w].copy = 1
		:: else -> goto ended
		fi };
	if
	:: atomic { row[w].copy = 0;
		may_show[n] = may_show[n] | (1 << PARTIAL) | (1 << (3 + w + 6 * (_pid & 1)));
		after_cut[n] = after_cut[n] | may_show[n] };
		atomic { row[w].val = 3 + w + 6 * (_pid & 1) };
		end_writing()
	:: atomic { drop_row(w); busy[n] = 0 } /* closed without a change */
	fi
}

/* Of a staged file: one commit, which takes the target's place. */
inline move_staged()
{
	if
	:: former != 3 ->
		atomic {
			look(m);
			h_n = h_x;
			if
			:: h_n -> drop_row(h_n - 1)
			:: else -> skip
			fi;
			files_of(m);
			row[w].superseded = row[w].superseded | h_y;
			row[w].name = m;
			acknowledge(m, shown[n], 0);
			acknowledge(n, 0, 0);
			busy[n] = 0;
			busy[m] = 0 }
	:: else ->
		/* The reply, then a record after the other. */
		atomic { acknowledge(m, shown[n], 0); acknowledge(n, 0, 0) };
		atomic { look(m); h_n = h_x; if :: h_n -> drop_row(h_n - 1) :: else -> skip fi };
		atomic { row[w].name = m; busy[n] = 0; busy[m] = 0 }
	fi
}

/* Of a File: an intent. */
inline move_file()
{
	atomic {
		files_of(n);
		h_x = h_y;
		files_of(m);
		h_x = h_x | h_y;
		w = nrow;
		nrow++;
		row[w].st = S_WRITING;
		row[w].superseded = h_x;
		row[w].name = m;
		row[w].val = shown[n];
		row[w].copy = 1;
		may_show[m] = may_show[m] | (1 << shown[n]);
		may_show[n] = may_show[n] | 1;
		after_cut[m] = after_cut[m] | may_show[m];
		after_cut[n] = after_cut[n] | may_show[n] };
	if
	:: former == 1 -> atomic { look(m); h_n = h_x; if :: h_n -> drop_row(h_n - 1) :: else -> skip fi }
	:: else -> skip
	fi;
	publish(w, ok);
	if
	:: ok ->
		atomic { acknowledge(m, shown[n], 1); acknowledge(n, 0, 1) };
		delete_superseded(w);
		atomic { busy[n] = 0; busy[m] = 0 }
	:: else ->
		atomic {
			drop_row(w);
			acknowledge(m, shown[m], 0);
			acknowledge(n, shown[n], 0);
			check(m);
			check(n);
			busy[n] = 0;
			busy[m] = 0 }
	fi
}

inline op_rename()
{
	m = 1 - n;
	atomic { !busy[n] && !busy[m] ->
		look(n);
		w = (h_x -> h_x - 1 : NR);
		if
		:: (w < NR && (row[w].superseded || row[w].st == S_ABORTED)) || !h_y -> goto ended
		:: else -> busy[n] = 1; busy[m] = 1
		fi };
	if
	:: w < NR -> move_staged()
	:: else -> move_file()
	fi
}

inline op_unlink()
{
	atomic { !busy[n] ->
		look(n);
		if
		:: !h_y -> goto ended
		:: else -> busy[n] = 1; w = (h_x -> h_x - 1 : NR)
		fi };
	if
	:: w < NR ->
		if
		:: row[w].st == S_ABORTED ->
			/* The bytes alone go; the File they would have replaced shows again. */
			atomic {
				if
				:: former == 2 ->
					h_x = 0;
					do
					:: h_x < nf ->
						if
						:: row[w].superseded & (1 << h_x) ->
							/* a good File, which the user was not shown */
							assert(fl[h_x].gone);
							fl[h_x].gone = 1
						:: else -> skip
						fi;
						h_x++
					:: else -> break
					od
				:: else -> skip
				fi;
				drop_row(w);
				look(n);
				acknowledge(n, h_y, 0);
				busy[n] = 0 }
		:: else ->
			/* A failed one with the File that it hides. */
			atomic { may_show[n] = may_show[n] | 1; after_cut[n] = after_cut[n] | may_show[n] };
			do
			:: atomic { row[w].superseded ->
				h_x = 0;
				do
				:: !(row[w].superseded & (1 << h_x)) -> h_x++
				:: else -> break
				od;
				fl[h_x].gone = 1;
				row[w].superseded = row[w].superseded & ~(1 << h_x) }
			:: atomic { !row[w].superseded ->
				drop_row(w);
				acknowledge(n, 0, 0);
				busy[n] = 0;
				break }
			od
		fi
	:: else ->
		atomic {
			look(n);
			fl[h_f - 1].gone = 1;
			acknowledge(n, 0, 1);
			busy[n] = 0 }
	fi
}

proctype User()
{
	byte n, m, w, e, ok;

again:	atomic { !down -> e = epoch };
	{
		if
		:: n = 0
		:: n = 1
		fi;
		if
		:: op_write()
		:: op_update()
		:: op_rename()
		:: op_unlink()
		fi;
ended:		skip
	} unless { e != epoch };
	/* After a crash another one goes on with the names. */
	if
	:: atomic { e != epoch && !down -> n = 0; m = 0; w = 0; ok = 0; goto again }
	:: e == epoch -> skip
	fi
}

/* What a name shows once the daemon is up again. The former operations are no more. */
inline checked_after(cut)
{
	n = 0;
	do
	:: n < 2 ->
		may_show[n] = (cut -> after_cut[n] : may_show[n]);
		check(n);
		/* What shows now is what counts. */
		acknowledge(n, h_y, 0);
		n++
	:: else -> break
	od
}

/* drop_copy(), load_state(), of row w. */
inline take_up(w)
{
	if
	:: row[w].copy && former != 2 && (row[w].st == S_WRITING || row[w].st == S_SEALED ||
	   row[w].st == S_FAILED) -> drop_row(w)
	:: row[w].copy && former == 2 && row[w].st < S_COMPLETING && row[w].st != S_NONE ->
		row[w].st = S_ABORTED
	:: !row[w].copy && row[w].st == S_WRITING -> row[w].st = S_ABORTED
	:: row[w].st == S_COMPLETING ->
		/* in doubt: its File is found, or there is none */
		file_of(w);
		if
		:: h_f -> take_place(w)
		:: !h_f && row[w].copy -> drop_row(w)
		:: else -> row[w].st = S_FAILED
		fi
	:: !row[w].copy && row[w].st == S_SEALED -> row[w].st = S_FAILED
	:: else -> skip
	fi
}

proctype Crash()
{
	byte n, w, left; /* rows whose File exists, a mask */
	bit cut;

end:	do
	:: atomic { (crashes > 0 || cuts > 0) && nrow ->
		if
		:: crashes > 0 -> crashes--; cut = 0
		:: cuts > 0 -> cuts--; cut = 1
		fi;
		down = 1;
		epoch++;
		busy[0] = 0;
		busy[1] = 0;
		w = 0;
		do
		:: w < nrow ->
			if
			:: cut ->
				row[w].st = durable[w].st;
				row[w].name = durable[w].name;
				row[w].val = durable[w].val;
				row[w].superseded = durable[w].superseded;
				row[w].copy = durable[w].copy
			:: else -> skip
			fi;
			take_up(w);
			if
			:: row[w].st == S_COMPLETED -> left = left | (1 << w); busy[row[w].name] = 1
			:: else -> skip
			fi;
			w++
		:: else -> break
		od;
		checked_after(cut);
		sync();
		w = 0;
		down = 0 };
		/* What the crash left of a replacement goes on; who writes that name waits. */
		do
		:: w < NR ->
			if
			:: left & (1 << w) ->
				n = row[w].name;
				delete_superseded(w);
				busy[n] = 0
			:: else -> skip
			fi;
			w++
		:: else -> break
		od;
		left = 0
	od
}

init {
	atomic {
		c_code {
			now.crashes = bound("crashes");
			now.cuts = bound("cuts");
			now.fails = bound("fails");
			now.former = bound("former");
		};
		/* Each name is a File, staged only and failed, or free. */
		if
		:: fl[0].name = 0; fl[0].val = 1; nf = 1; acknowledge(0, 1, 1)
		:: row[0].st = S_FAILED; row[0].name = 0; row[0].val = 1; nrow = 1;
			acknowledge(0, 1, 1)
		fi;
		if
		:: fl[nf].name = 1; fl[nf].val = 2; nf++; acknowledge(1, 2, 1)
		:: row[nrow].st = S_FAILED; row[nrow].name = 1; row[nrow].val = 2; nrow++;
			acknowledge(1, 2, 1)
		:: acknowledge(1, 0, 1)
		fi;
		sync();
		run User();
#if USERS > 1
		run User();
#endif
		run Crash()
	}
}
