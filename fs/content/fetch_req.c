#include "fs/content/fetch_req.h"

#include <errno.h>

#include "fs/content/fetch_life.h"
#include "net/api/api.h"

uint64_t fetch_req_due(const struct fetch_req *r)
{
	return r->end == r->ft->bytes && r->got == r->end ? r->end - 1 : r->got;
}

void fetch_req_cancel(struct fetch_req *r)
{
	r->cancelled = true;
	api_req_cancel(r->req);
}

void fetch_req_cancel_all(struct fetch *ft, const struct fetch_req *keep)
{
	struct fetch_req *r;

	for (r = ft->reqs; r < ft->reqs + FETCH_REQS; r++) {
		if (r != keep && r->active && !r->cancelled)
			fetch_req_cancel(r);
	}
}

int fetch_req_start(struct fetch_req *r, uint64_t start, uint64_t end, bool stream)
{
	struct fetch *ft = r->ft;
	/* To the end without a bound, so that content that is too long shows. */
	uint64_t len = end == ft->bytes ? UINT64_MAX : end - start;

	r->cancelled = r->split = false;
	r->stream = stream;
	r->run = NULL;
	r->start = r->got = start;
	r->end = end;
	r->bad = NULL;
	r->req = api_file_content(ft->f->api, ft->id, start, len, ft->bytes, ft->f->on_data,
				  ft->f->on_done, r);
	if (!r->req)
		return -ENOMEM;
	r->active = true;
	ft->nbusy++;
	return 0;
}
