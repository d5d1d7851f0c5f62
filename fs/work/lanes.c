#include "fs/work/lanes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net/base/digest.h"

/* Bytes of all files that are read at once: they stay in the processor's cache. */
#define BUFFER (512U << 10)
#define PIECE_MAX (128U << 10)
/* The pieces begin at different places within a page, so that the lanes don't evict each other. */
#define SKEW 320

struct lane {
	struct lane_job *job;
	struct lane_stretch at; /* pos moves */
	int err;
};

struct lanes {
	struct pool *pool;
	struct lane lane[POOL_WIDTH_MAX];
	unsigned count;
	unsigned char *buf; /* BUFFER + POOL_WIDTH_MAX * SKEW */
};

_Static_assert(POOL_WIDTH_MAX <= DIGEST_LANES_MAX, "a piece of each file goes in one call");

/* Read the next piece, of max bytes at most. Returns its length; 0 with err set. */
static size_t read_piece(struct lane *l, unsigned char *buf, size_t max)
{
	uint64_t left = l->at.end - l->at.pos;
	size_t want = left < max ? (size_t)left : max, got = 0;
	ssize_t n;

	while (got < want) {
		n = pread(l->at.fd, buf + got, want - got, (off_t)(l->at.pos + got));
		if (n > 0) {
			got += (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			l->err = n ? -errno : -ENODATA;
			return 0;
		}
	}
	return got;
}

/* A piece of each lane. */
static void hash_pieces(struct lanes *s)
{
	struct digest_piece pieces[POOL_WIDTH_MAX];
	size_t len, piece = s->count ? BUFFER / s->count : 0;
	unsigned char *at = s->buf;
	unsigned i, n = 0;
	int rc;

	piece = piece < PIECE_MAX ? piece - piece % 4096 : PIECE_MAX;
	for (i = 0; i < s->count; i++, at += piece + SKEW) {
		len = read_piece(&s->lane[i], at, piece);
		if (!len)
			continue;
		pieces[n++] = (struct digest_piece){ s->lane[i].at.d, at, len };
		if (s->lane[i].at.lines)
			jsonl_feed(s->lane[i].at.lines, at, len);
		s->lane[i].at.pos += len;
	}
	rc = digest_update_many(pieces, n);
	for (i = 0; rc && i < s->count; i++)
		s->lane[i].err = rc;
}

static void take_job(struct lanes *s, struct hash_job *hj)
{
	struct lane *l = &s->lane[s->count];

	memset(l, 0, sizeof(*l));
	l->job = (struct lane_job *)hj;
	if (l->job->begin(l->job, &l->at))
		s->count++;
	else
		pool_give(s->pool, hj, l->job->end(l->job, 0, 0));
}

/* Give back the lanes that are done. */
static void give_back(struct lanes *s)
{
	struct lane l;
	unsigned i = 0;

	while (i < s->count) {
		l = s->lane[i];
		if (!l.err && l.at.pos < l.at.end && !pool_unwanted(s->pool, &l.job->job)) {
			i++;
			continue;
		}
		s->lane[i] = s->lane[--s->count];
		pool_give(s->pool, &l.job->job, l.job->end(l.job, l.at.pos, l.err));
	}
}

static void crew(struct pool *pool, struct hash_job *job)
{
	unsigned char buf[BUFFER + POOL_WIDTH_MAX * SKEW] __attribute__((aligned(64)));
	struct lanes s = { .pool = pool, .buf = buf };
	unsigned width = job->width;

	take_job(&s, job);
	do {
		while (s.count < width && (job = pool_take(pool)) != NULL)
			take_job(&s, job);
		hash_pieces(&s);
		give_back(&s);
	} while (s.count);
}

void lane_job_init(struct lane_job *j)
{
	j->job.crew = crew;
	j->job.width = digest_lanes() < POOL_WIDTH_MAX ? digest_lanes() : POOL_WIDTH_MAX;
}
