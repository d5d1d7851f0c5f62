/*
 * reply: answer a request truthfully, or as a fault rule demands.
 */
#include "net/server/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/server/model.h"

/* Reset the connection: connecting a TCP socket to nowhere does that, instead of an orderly end. */
static void conn_reset(const struct conn *conn)
{
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

	(void)connect(conn->sock, &nowhere, sizeof(nowhere));
}

/* Apply reset and stall at any step. */
static int apply_fault(struct request *rq)
{
	rq->faulted = true;
	if (rq->fault->action == FAULT_RESET) {
		conn_reset(rq->conn);
		return -ECONNRESET;
	}
	if (rq->fault->action == FAULT_STALL)
		return pace_wait(&rq->conn->pace, rq->conn->sock, rq->fault->ms);
	return 0;
}

static bool due(const struct request *rq, enum fault_when when)
{
	return rq->fault && !rq->faulted && rq->fault->when == when &&
	       (rq->fault->action == FAULT_RESET || rq->fault->action == FAULT_STALL);
}

static void refuse_by_rule(struct request *rq)
{
	const struct fault *fault = rq->fault;

	rq->faulted = true;
	rq->refused = true;
	refuse(&rq->refusal, fault->status, NULL, fault->code, "%s",
	       fault->message ? fault->message : "A fault rule refused this request.");
	rq->refusal.verbatim = true;
}

int fault_before(struct request *rq)
{
	const struct fault *fault = rq->fault;

	if (!fault)
		return 0;
	if (fault->action == FAULT_STATUS && fault->when != FAULT_AFTER) {
		refuse_by_rule(rq);
		return 0;
	}
	/* A create's small body arrives in one piece: during is before. */
	if (due(rq, FAULT_BEFORE) || (rq->route.op == OP_CREATE && due(rq, FAULT_DURING)))
		return apply_fault(rq);
	return 0;
}

int fault_during(struct request *rq, uint64_t done, uint64_t total)
{
	uint64_t at;

	if (!due(rq, FAULT_DURING))
		return 0;
	at = rq->fault->after_bytes == FAULT_HALF ? total / 2 : rq->fault->after_bytes;
	return done < at ? 0 : apply_fault(rq);
}

int fault_after(struct request *rq)
{
	const struct fault *fault = rq->fault;

	if (!fault || rq->faulted)
		return 0;
	if (due(rq, FAULT_AFTER))
		return apply_fault(rq);
	if (fault->action == FAULT_STATUS)
		refuse_by_rule(rq);
	if (fault->action == FAULT_DROP)
		rq->faulted = true;
	if (fault->action == FAULT_DELAY) {
		rq->faulted = true;
		return pace_wait(&rq->conn->pace, rq->conn->sock, fault->ms);
	}
	return fault->action == FAULT_DROP ? -ECONNABORTED : 0;
}

static const char *other_id(enum op op)
{
	switch (op) {
	case OP_CREATE:
	case OP_COMPLETE:
	case OP_CANCEL:
		return ID_UPLOAD "00000000000000000000000000000000";
	case OP_PART:
		return ID_PART "00000000000000000000000000000000";
	default:
		return ID_FILE "00000000000000000000000000000000";
	}
}

static const char *other_status(enum op op)
{
	if (op == OP_CREATE)
		return "completed";
	return op == OP_COMPLETE || op == OP_CANCEL ? "pending" : "error";
}

struct reply_override request_override(struct request *rq)
{
	struct fault *fault = rq->fault;
	struct reply_override over = { .no_nulls = rq->srv->flavor == FLAVOR_AZURE };

	if (!fault)
		return over;
	switch (fault->action) {
	case FAULT_WRONG_ID:
		over.id = fault->value ? fault->value : other_id(rq->route.op);
		break;
	case FAULT_WRONG_STATUS:
		over.status = fault->value ? fault->value : other_status(rq->route.op);
		break;
	case FAULT_WRONG_BYTES:
		if (!fault->has_bytes)
			fault->bytes = 1;
		over.bytes = &fault->bytes;
		break;
	case FAULT_LEAVE_OUT:
		over.without = (const char *const *)fault->names;
		over.no_nulls |= !fault->names;
		break;
	default:
		return over;
	}
	rq->faulted = true;
	return over;
}

/* Write a failing request's body, or the rule's body in its place. */
static void shape_body(struct request *rq)
{
	const struct fault *fault = rq->fault;

	if (rq->refused) {
		buf_reset(&rq->reply);
		rq->status = rq->refusal.status;
		refusal_json(&rq->reply, &rq->refusal, rq->srv->flavor == FLAVOR_AZURE);
	}
	if (!fault)
		return;
	if (fault->action == FAULT_STATUS && rq->faulted && fault->body) {
		buf_reset(&rq->reply);
		buf_adds(&rq->reply, fault->body);
	}
	if (fault->action == FAULT_INVALID_JSON) {
		rq->faulted = true;
		rq->reply.len /= 2;
		if (fault->body) {
			buf_reset(&rq->reply);
			buf_adds(&rq->reply, fault->body);
		}
	}
}

/* Hand out half of the reply, then give up. */
static ssize_t read_half(void *cls, uint64_t pos, char *out, size_t max)
{
	const struct request *rq = cls;
	size_t half = rq->reply.len / 2;

	if (pos >= half)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (max > half - pos)
		max = half - pos;
	memcpy(out, rq->reply.data + pos, max);
	return (ssize_t)max;
}

static struct MHD_Response *make_response(struct request *rq)
{
	struct MHD_Response *response;
	struct buf *b = &rq->reply;

	if (rq->fault && rq->fault->action == FAULT_TRUNCATE) {
		rq->faulted = true;
		response = MHD_create_response_from_callback(b->len, 4096, read_half, rq, NULL);
	} else {
		response = MHD_create_response_from_buffer(b->len, (void *)b->data,
							   MHD_RESPMEM_PERSISTENT);
	}
	if (response)
		MHD_add_response_header(response, "Content-Type", "application/json");
	return response;
}

static void add_headers(struct request *rq)
{
	const struct fault *fault = rq->fault;
	size_t i;

	MHD_add_response_header(rq->response, "x-request-id", rq->id);
	if (!rq->refused && *rq->location)
		MHD_add_response_header(rq->response, "Location", rq->location);
	if (rq->refused && rq->refusal.status == 405)
		MHD_add_response_header(rq->response, "Allow", rq->route.allow);
	for (i = 0; fault && rq->faulted && i < fault->header_count; i++)
		MHD_add_response_header(rq->response, fault->headers[i].name,
					fault->headers[i].value);
}

void request_journal(struct request *rq)
{
	struct journal_entry *e = &rq->entry;

	if (rq->journaled)
		return;
	rq->journaled = true;
	e->t_end_ms = clock_mono_ms();
	e->op = route_op_name(rq->route.op);
	e->method = rq->method;
	e->path = rq->path;
	e->upload_id = rq->upload_id;
	e->part_id = rq->part_id;
	e->file_id = rq->file_id;
	e->md5 = rq->md5;
	e->fault = rq->faulted && rq->fault ? rq->fault->name : NULL;
	e->conn = rq->conn->number;
	journal_write(rq->srv->journal_fd, e);
	log_debug("%s %s: %d (%s)", rq->method, rq->path, e->status, rq->id);
}

enum MHD_Result reply_send(struct request *rq)
{
	bool streamed = rq->response && !rq->refused;

	if (!streamed) {
		if (rq->response)
			MHD_destroy_response(rq->response);
		shape_body(rq);
		if (pace_bytes(&rq->conn->pace, PACE_OUT, rq->reply.len))
			rq->reply.err = -ECANCELED;
		rq->response = rq->reply.err ? NULL : make_response(rq);
	}
	if (!rq->response)
		return MHD_NO;
	add_headers(rq);
	rq->entry.status = rq->status;
	if (!streamed)
		request_journal(rq);
	return MHD_queue_response(rq->mhd, (unsigned)rq->status, rq->response);
}
