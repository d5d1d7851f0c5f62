/* content: GET /files/{id}/content, streamed from the Parts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/base/log.h"
#include "net/server/files.h"
#include "net/server/range.h"
#include "net/server/request.h"
#include "net/server/store.h"

#define BLOCK (128u << 10)

/* A download belongs to its response and outlives the request by a little. */
struct download {
	struct state *st;
	struct request *rq;  /* valid while the reply is sent */
	struct file *f;	     /* a reference: the data stays when the File is deleted */
	uint64_t start, len; /* of the File */
	size_t part;	     /* the Part that fd reads, if fd is not -1 */
	uint64_t part_start; /* offset of that Part in the File */
	int fd;
};

static void download_free(void *arg)
{
	struct download *d = arg;

	if (d->fd >= 0)
		close(d->fd);
	file_unref(d->st, d->f);
	free(d);
}

/* Open the Part that holds offset `at`. Reading only goes forward. */
static int seek_part(struct download *d, uint64_t at)
{
	const struct file_part *parts = d->f->parts;

	if (d->fd >= 0 && at - d->part_start < parts[d->part].bytes)
		return 0;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	while (d->part < d->f->part_count && at - d->part_start >= parts[d->part].bytes)
		d->part_start += parts[d->part++].bytes;
	if (d->part == d->f->part_count)
		return -ERANGE;
	return store_part_open(d->st->store, d->f->data, parts[d->part].id, &d->fd);
}

static ssize_t read_some(struct download *d, uint64_t at, char *out, size_t max)
{
	ssize_t n;
	int err = seek_part(d, at);

	if (err)
		return err;
	if (max > d->part_start + d->f->parts[d->part].bytes - at)
		max = (size_t)(d->part_start + d->f->parts[d->part].bytes - at);
	n = pread(d->fd, out, max, (off_t)(at - d->part_start));
	return n < 0 ? -errno : n == 0 ? -EIO : n;
}

static bool cut_here(const struct download *d, uint64_t pos)
{
	const struct fault *fault = d->rq->fault;

	if (!fault || fault->action != FAULT_TRUNCATE ||
	    pos < (fault->after_bytes == FAULT_HALF ? d->len / 2 : fault->after_bytes))
		return false;
	d->rq->faulted = true;
	return true;
}

static ssize_t download_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct download *d = cls;
	ssize_t n;

	if (cut_here(d, pos) || fault_during(d->rq, pos, d->len))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (max > d->len - pos)
		max = (size_t)(d->len - pos);
	/* The middle of a small File must not be skipped. */
	if (d->rq->fault && !d->rq->faulted && max > d->len / 4 + 1)
		max = (size_t)(d->len / 4 + 1);
	n = read_some(d, d->start + pos, out, max);
	if (n < 0) {
		log_error("content of %s: %s", d->f->id, strerror((int)-n));
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	if (pace_bytes(&d->rq->conn->pace, PACE_OUT, (size_t)n))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	d->rq->entry.bytes += (uint64_t)n;
	if (pos + (uint64_t)n == d->len)
		request_journal(d->rq);
	return n;
}

static bool ignores_range(const struct request *rq)
{
	return rq->srv->no_range || (rq->fault && rq->fault->action == FAULT_NO_RANGE);
}

/* Choose 200 or 206 and the bytes to send. */
static int choose_range(struct request *rq, struct download *d)
{
	int err;

	d->len = d->f->bytes;
	if (ignores_range(rq)) {
		rq->faulted |= rq->fault && rq->fault->action == FAULT_NO_RANGE;
		return 0;
	}
	err = range_parse(request_header(rq, "Range"), d->f->bytes, &d->start, &d->len);
	if (err == -ERANGE)
		return refuse(&rq->refusal, 416, NULL, NULL,
			      "The range does not lie in the File of %" PRIu64 " bytes.",
			      d->f->bytes);
	if (!err)
		rq->status = MHD_HTTP_PARTIAL_CONTENT;
	return 0;
}

static void add_headers(struct request *rq, const struct download *d)
{
	char range[100];

	MHD_add_response_header(rq->response, "Content-Type", "application/octet-stream");
	MHD_add_response_header(rq->response, "Content-Disposition", "attachment");
	if (!ignores_range(rq))
		MHD_add_response_header(rq->response, "Accept-Ranges", "bytes");
	if (rq->status != MHD_HTTP_PARTIAL_CONTENT)
		return;
	snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, d->start,
		 d->start + d->len - 1, d->f->bytes);
	MHD_add_response_header(rq->response, "Content-Range", range);
}

static int content_finish(struct request *rq)
{
	struct download *d = calloc(1, sizeof(*d));
	int err = -EPROTO;

	if (!d)
		return -ENOMEM;
	d->st = rq->srv->state;
	d->rq = rq;
	d->fd = -1;
	d->f = file_get(d->st, rq->route.id, &rq->refusal);
	if (!d->f)
		goto fail;
	if (!purpose_readable(d->f->purpose)) {
		refuse(&rq->refusal, 400, NULL, NULL,
		       "Not allowed to download files of purpose: %.100s", d->f->purpose);
		goto fail;
	}
	if (choose_range(rq, d))
		goto fail;
	err = -ENOMEM;
	rq->response =
		MHD_create_response_from_callback(d->len, BLOCK, download_read, d, download_free);
	if (!rq->response)
		goto fail;
	add_headers(rq, d);
	return 0;
fail:
	download_free(d);
	return err;
}

const struct operation ep_content = { .finish = content_finish };
