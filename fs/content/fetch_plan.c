/*
 * The ranges to ask for next: for the reads that wait, then ahead of the readers.
 *
 * Readers are told apart by where they read: reads that follow one another are
 * a run. The further a run has come the more is asked for ahead of it, and the
 * larger the ranges are, so a look at a header or at the last bytes costs one
 * small range, and who reads all has several large ones under way. A read that
 * continues no run is asked for as it is, in whole pages: programs that read at
 * random places would use little of what lies around. Other ranges begin and end
 * at multiples of an alignment. No byte is asked for twice, but for the small
 * ranges that such reads have left within a large one.
 *
 * Whether the service honours Range is not known before the first range: until
 * then there is one request. A service that ignores Range answers it with
 * everything, and that one becomes the stream for which all reads wait.
 */
#include "fs/content/fetch_plan.h"

#include <errno.h>

#include "fs/content/fetch_life.h"

#define FETCH_ALIGN (1ULL << 20)      /* bytes; a range begins and ends at a multiple */
#define FETCH_PAGE (4ULL << 10)	      /* bytes; the same of a range for one read */
#define FETCH_PIECE_MAX (16ULL << 20) /* bytes of one range, but for huge Files */
#define FETCH_ISLAND (128ULL << 10)   /* bytes; what is there may come again within a range */
#define FETCH_SMALL (8ULL << 20)      /* bytes; such a File is asked for in one piece */
#define FETCH_FAR (8ULL << 20)	      /* bytes a read may lie ahead of a request and wait for it */

#define RUN_NEAR \
	(1ULL << 20) /* bytes by which a read may miss its run: the kernel reads
				   ahead by several threads */
#define RUN_WARM \
	(2ULL << 20)		  /* bytes read in a row before anything is read ahead: more than
				   programs and the kernel read for a small read */
#define RUN_NEARLY (256ULL << 10) /* bytes; a request that lacks less is not worth ending */
#define RUN_AHEAD (4ULL << 20)	  /* bytes read ahead at first; four times as many each time */
#define RUN_AHEAD_MAX (64ULL << 20)
#define RUN_GROWTH 4 /* a run that is not warm asks for so many times what it has read */
#define RUN_STALE 64 /* reads of others after which a run counts as left */

/* ---- runs ---- */

static bool run_continues(const struct fetch_run *run, uint64_t off)
{
	uint64_t d = off > run->next ? off - run->next : run->next - off;

	return run->used && (d <= RUN_NEAR || (off < run->low && run->low - off <= RUN_NEAR));
}

/* The run that a read at off belongs to; else the one that was not used for the longest time. */
static struct fetch_run *run_find(struct fetch *ft, uint64_t off)
{
	struct fetch_run *oldest = &ft->runs[0], *run;
	unsigned i;

	for (i = 0; i < FETCH_RUNS; i++) {
		run = &ft->runs[i];
		if (run_continues(run, off))
			return run;
		if (run->used < oldest->used)
			oldest = run;
	}
	/* Who begins with the first byte is likely to read all. */
	*oldest = (struct fetch_run){ .low = off,
				      .next = off,
				      .come = off ? 0 : FETCH_ALIGN / RUN_GROWTH };
	return oldest;
}

/* Returns whether a read of [off, end) goes on before the first byte, as tac does. */
static bool run_goes_back(struct fetch_run *run, uint64_t off, uint64_t end)
{
	bool back = off < run->low && end >= run->low;

	if (back)
		run->low = off;
	return back;
}

/* Returns whether most of what the run went over was read: else it reads here and there. */
static bool run_is_dense(const struct fetch_run *run)
{
	return run->skipped <= run->read;
}

/* Adds a read to the run. The kernel's reads may come out of order, by up to RUN_NEAR. */
static void run_add(struct fetch_run *run, uint64_t off, uint64_t end)
{
	uint64_t fresh;

	if (end > run->next) {
		if (off > run->next)
			run->skipped += off - run->next;
		fresh = end - (off > run->next ? off : run->next);
		run->next = end;
	} else {
		fresh = end - off < run->skipped ? end - off : run->skipped;
		run->skipped -= fresh;
	}
	run->read += fresh;
	run->come += fresh;
}

/* Enough was read to tell whether to read ahead, and how far. */
static void run_judge(struct fetch_run *run)
{
	if (!run_is_dense(run))
		run->ahead = run->come = 0;
	else
		run->ahead = run->ahead ? run->ahead * 4 : RUN_AHEAD;
	if (run->ahead > RUN_AHEAD_MAX)
		run->ahead = RUN_AHEAD_MAX;
	run->read = run->skipped = 0;
}

uint64_t fetch_note_read(struct fetch *ft, uint64_t off, uint64_t end)
{
	struct fetch_run *run = run_find(ft, off);
	uint64_t likely, before = run->come;

	run->used = ++ft->reads;
	if (run_goes_back(run, off, end))
		return end - off > FETCH_ALIGN ? end - off : FETCH_ALIGN;
	run_add(run, off, end);
	if (run->read >= (run->ahead ? run->ahead : RUN_WARM))
		run_judge(run);
	likely = run->ahead;
	if (!likely && run_is_dense(run))
		likely = before < FETCH_ALIGN / RUN_GROWTH ? before * RUN_GROWTH : FETCH_ALIGN;
	return end - off > likely ? end - off : likely;
}

void fetch_calm_down(struct fetch *ft)
{
	unsigned i;

	for (i = 0; i < FETCH_RUNS; i++)
		ft->runs[i].ahead = ft->runs[i].read = ft->runs[i].skipped = 0;
}

/* ---- what is there, and what is on its way ---- */

/* As fetch_missing(); around it nothing is there in [*ret_lo, *ret_hi). */
static uint64_t missing_around(const struct fetch *ft, uint64_t start, uint64_t end,
			       uint64_t *ret_lo, uint64_t *ret_hi)
{
	start = extents_gap(&ft->have, start, ft->bytes, ret_lo, ret_hi);
	return start < end ? start : end;
}

uint64_t fetch_missing(const struct fetch *ft, uint64_t start, uint64_t end)
{
	uint64_t lo, hi;

	return missing_around(ft, start, end, &lo, &hi);
}

/* Returns whether r will bring the byte at off. */
static bool req_covers(const struct fetch_req *r, uint64_t off)
{
	return r->active && !r->cancelled && off >= fetch_req_due(r) && off < r->end;
}

bool fetch_served(const struct fetch *ft, uint64_t off)
{
	const struct fetch_req *r;
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		r = &ft->reqs[i];
		if (req_covers(r, off) && (r->stream || off - fetch_req_due(r) <= FETCH_FAR))
			return true;
	}
	return false;
}

/* The first request that is to bring the byte at off, or NULL. */
static struct fetch_req *req_at(struct fetch *ft, uint64_t off)
{
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		if (req_covers(&ft->reqs[i], off))
			return &ft->reqs[i];
	}
	return NULL;
}

struct gap {
	uint64_t off;	 /* the first byte that is wanted */
	uint64_t lo, hi; /* around it: nothing there, nothing on its way */
};

/* The first byte in [off, end) that is neither there nor on its way; false when there is none. */
static bool next_gap(struct fetch *ft, uint64_t off, uint64_t end, struct gap *ret)
{
	const struct fetch_req *r;
	unsigned i;

	for (;;) {
		off = missing_around(ft, off, end, &ret->lo, &ret->hi);
		if (off >= end)
			return false;
		r = req_at(ft, off);
		if (!r)
			break;
		off = r->end;
	}
	for (i = 0; i < FETCH_REQS; i++) {
		r = &ft->reqs[i];
		if (!r->active || r->cancelled)
			continue;
		if (r->end <= off && r->end > ret->lo)
			ret->lo = r->end;
		if (fetch_req_due(r) > off && fetch_req_due(r) < ret->hi)
			ret->hi = fetch_req_due(r);
	}
	ret->off = off;
	return true;
}

/* ---- pieces ---- */

/*
 * Returns the alignment of ranges that are not for one read. It grows with the File, so that the
 * list of extents stays short enough to keep all of them.
 */
static uint64_t align_of(const struct fetch *ft)
{
	uint64_t align = FETCH_ALIGN;

	while (ft->bytes / align > EXTENTS_MAX)
		align *= 2;
	return align;
}

/* How much to ask for at once when span bytes are likely to be wanted: a power of two. */
static uint64_t piece_size(const struct fetch *ft, uint64_t span)
{
	uint64_t size = align_of(ft);

	if (ft->bytes <= FETCH_SMALL)
		return FETCH_SMALL;
	while (size < FETCH_PIECE_MAX && size * ft->f->parallel < span)
		size *= 2;
	return size;
}

/*
 * Returns whether only the read itself is asked for. Too many ranges could not be noted: then those
 * between them are asked for with them.
 */
static bool is_lone(const struct fetch *ft, uint64_t span)
{
	return span < FETCH_ALIGN && ft->bytes > FETCH_SMALL &&
	       ft->have.n < FETCH_EXTENTS - 2 * EXTENTS_MAX;
}

/* Asks for the bytes of the gap before end, in whole pages. */
static int lone_start(struct fetch_req *r, const struct gap *gap, uint64_t end)
{
	uint64_t start = gap->off - gap->off % FETCH_PAGE;

	if (start < gap->lo)
		start = gap->lo;
	end = (end + FETCH_PAGE - 1) / FETCH_PAGE * FETCH_PAGE;
	return fetch_req_start(r, start, end < gap->hi ? end : gap->hi, false);
}

/* The first byte above off that a request under way will bring; the end of the File if none. */
static uint64_t active_above(const struct fetch *ft, uint64_t off)
{
	const struct fetch_req *r;
	uint64_t first = ft->bytes;

	for (r = ft->reqs; r < ft->reqs + FETCH_REQS; r++) {
		if (r->active && !r->cancelled && fetch_req_due(r) > off &&
		    fetch_req_due(r) < first)
			first = fetch_req_due(r);
	}
	return first;
}

/*
 * Returns where a range from start on ends that may be as long as end: behind the gap, which ends
 * at hi, it goes on over small ranges that are there, as long as they are at most half of it. A
 * request for each gap between them would take longer.
 */
static uint64_t over_islands(const struct fetch *ft, uint64_t start, uint64_t hi, uint64_t end)
{
	uint64_t limit = active_above(ft, start), again = 0, lo, next_hi, next;

	if (limit < end)
		end = limit;
	while (hi < end) {
		next = extents_gap(&ft->have, hi, ft->bytes, &lo, &next_hi);
		if (next_hi > end)
			next_hi = end;
		again += next - hi;
		if (next - hi > FETCH_ISLAND || next >= end || again > (next_hi - start) / 2)
			break;
		hi = next_hi;
	}
	return hi;
}

/* Asks for the piece of the gap that its first wanted byte lies in. */
static int piece_start(struct fetch *ft, struct fetch_req *r, const struct gap *gap, uint64_t span)
{
	uint64_t size = piece_size(ft, span), align = align_of(ft);
	uint64_t start = gap->off - gap->off % align;
	uint64_t end = gap->off - gap->off % size;

	if (start < gap->lo)
		start = gap->lo;
	end += size;
	/* Absorb a remainder too small for its own request. */
	if (gap->hi < end)
		end = over_islands(ft, start, gap->hi, end);
	else if (gap->hi - end < align)
		end = gap->hi;
	return fetch_req_start(r, start, end, false);
}

/* A request that is free, or NULL. */
static struct fetch_req *req_free(struct fetch *ft)
{
	unsigned i;

	for (i = 0; i < ft->f->parallel; i++) {
		if (!ft->reqs[i].active)
			return &ft->reqs[i];
	}
	return NULL;
}

static bool any_active(const struct fetch *ft)
{
	unsigned i;

	for (i = 0; i < FETCH_REQS; i++) {
		if (ft->reqs[i].active && !ft->reqs[i].cancelled)
			return true;
	}
	return false;
}

/* Returns whether a read waits for a byte that r will bring. */
static bool req_wanted(const struct fetch_req *r)
{
	const struct fetch_waiter *w;

	for (w = r->ft->waiters.head; w; w = w->next) {
		if (req_covers(r, fetch_missing(r->ft, w->off, w->end)))
			return true;
	}
	return false;
}

/*
 * All requests are taken: cancels the request without waiters that has brought the least, unless
 * a request is about to end by itself.
 */
static void make_way(struct fetch *ft)
{
	struct fetch_req *r, *least = NULL;
	unsigned i;

	for (i = 0; i < ft->f->parallel; i++) {
		r = &ft->reqs[i];
		if (r->cancelled || r->end - r->got < RUN_NEARLY || r->got > r->end)
			return; /* there will be way in a moment */
		if (!req_wanted(r) && (!least || r->got - r->start < least->got - least->start))
			least = r;
	}
	if (least)
		fetch_req_cancel(least);
}

void fetch_take_unserved(struct fetch *ft, struct fetch_waiters *ret)
{
	struct fetch_waiters keep;
	struct fetch_waiter *w, *next;

	fetch_waiters_init(&keep);
	for (w = ft->waiters.head; w; w = next) {
		next = w->next;
		if (fetch_served(ft, fetch_missing(ft, w->off, w->end)))
			fetch_waiters_add(&keep, w);
		else
			fetch_waiters_add(ret, w);
	}
	fetch_waiters_init(&ft->waiters);
	fetch_waiters_move(&keep, &ft->waiters);
}

/* ---- what to ask for ---- */

/* A read wants the byte at off, which a range is to bring only after much else: from there on
 * another one does. */
static void split_at(struct fetch *ft, uint64_t off)
{
	struct fetch_req *r = req_at(ft, off);
	uint64_t at = off - off % align_of(ft);

	if (!r || r->stream || off - fetch_req_due(r) <= FETCH_FAR || at <= fetch_req_due(r))
		return;
	r->end = at;
	r->split = true;
}

/* Asks for the gap, for w. -EAGAIN: nothing more can be asked for now. */
static int ask(struct fetch *ft, const struct gap *gap, const struct fetch_waiter *w)
{
	struct fetch_req *r = req_free(ft);

	if (!r || (ft->range != FETCH_RANGE_YES && any_active(ft)))
		return -EAGAIN;
	if (ft->range == FETCH_RANGE_NO)
		return fetch_req_start(r, extents_contiguous(&ft->have), ft->bytes, true);
	if (is_lone(ft, w->span))
		return lone_start(r, gap, w->off + w->span);
	return piece_start(ft, r, gap, w->span);
}

/* Asks for the first byte that w lacks. */
static int ask_first(struct fetch *ft, const struct fetch_waiter *w)
{
	uint64_t off = fetch_missing(ft, w->off, w->end);
	struct gap gap;
	int rc;

	if (off >= w->end)
		return 0;
	split_at(ft, off);
	if (!next_gap(ft, off, off + 1, &gap))
		return 0;
	rc = ask(ft, &gap, w);
	if (rc == -EAGAIN && ft->range == FETCH_RANGE_YES)
		make_way(ft);
	return rc == -EAGAIN ? 0 : rc;
}

/* Asks for all bytes that w lacks, once the first byte of every read is on its way. */
static int ask_rest(struct fetch *ft, const struct fetch_waiter *w)
{
	struct gap gap;
	int rc;

	while (next_gap(ft, w->off, w->end, &gap)) {
		rc = ask(ft, &gap, w);
		if (rc)
			return rc == -EAGAIN ? 0 : rc;
	}
	return 0;
}

static int ask_for_waiters(struct fetch *ft)
{
	const struct fetch_waiter *w;
	int rc = 0;

	for (w = ft->waiters.head; w && !rc; w = w->next)
		rc = ask_first(ft, w);
	for (w = ft->waiters.head; w && !rc; w = w->next)
		rc = ask_rest(ft, w);
	return rc;
}

/* How many requests are under way for the run. */
static unsigned run_load(const struct fetch *ft, const struct fetch_run *run)
{
	unsigned i, n = 0;

	for (i = 0; i < FETCH_REQS; i++)
		n += ft->reqs[i].active && ft->reqs[i].run == run;
	return n;
}

/* The run with something to read ahead that has the fewest requests, or NULL. */
static struct fetch_run *next_run(struct fetch *ft, struct gap *ret_gap)
{
	struct fetch_run *run, *found = NULL;
	uint64_t end;
	struct gap gap;
	unsigned i;

	for (i = 0; i < FETCH_RUNS; i++) {
		run = &ft->runs[i];
		if (!run->ahead || ft->reads - run->used > RUN_STALE ||
		    (found && run_load(ft, run) >= run_load(ft, found)))
			continue;
		end = run->ahead < ft->bytes - run->next ? run->next + run->ahead : ft->bytes;
		if (next_gap(ft, run->next, end, &gap)) {
			found = run;
			*ret_gap = gap;
		}
	}
	return found;
}

void fetch_pump_ahead(struct fetch *ft)
{
	struct fetch_run *run;
	struct fetch_req *r;
	struct gap gap;

	while (ft->range == FETCH_RANGE_YES && !ft->wants_room && (r = req_free(ft)) != NULL &&
	       (run = next_run(ft, &gap)) != NULL) {
		if (piece_start(ft, r, &gap, run->ahead)) {
			fetch_calm_down(ft); /* no read waits for it */
			return;
		}
		r->run = run;
	}
}

int fetch_pump(struct fetch *ft)
{
	int rc;

	if (!ft->nref || ft->wants_room || ft->shared == FETCH_SHARED_ASKED)
		return 0;
	rc = ask_for_waiters(ft);
	if (!rc)
		fetch_pump_ahead(ft);
	return rc;
}
