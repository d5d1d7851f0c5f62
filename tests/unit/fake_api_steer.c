/* What tests say to the fake, and ask of it. */
#include "tests/unit/fake_api_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEADLINE_S 30

void fake_api_fail(struct api *api, enum fake_op op, unsigned nth, unsigned times,
		   const struct api_error *err)
{
	struct fault *f;

	fake_lock_take();
	if (api->fault_count == FAULTS_MAX)
		abort();
	f = &api->faults[api->fault_count++];
	f->op = op;
	f->nth = nth;
	f->times = times;
	f->seen = 0;
	f->err = *err;
	fake_lock_give();
}

void fake_api_fail_clear(struct api *api)
{
	fake_lock_take();
	api->fault_count = 0;
	fake_lock_give();
}

void fake_api_hold(struct api *api, enum fake_op op, enum fake_hold how)
{
	unsigned i;

	fake_lock_take();
	for (i = 0; i < FAKE_OPS; i++) {
		if (op == i || op == FAKE_OPS) {
			api->held[i] = true;
			api->hold[i] = how;
		}
	}
	fake_lock_give();
}

void fake_api_release(struct api *api, enum fake_op op)
{
	unsigned i;

	fake_lock_take();
	for (i = 0; i < FAKE_OPS; i++) {
		if (op == i || op == FAKE_OPS)
			api->held[i] = false;
	}
	fake_lock_give();
}

void fake_api_release_some(struct api *api, enum fake_op op, unsigned count)
{
	struct api_req *r;

	fake_lock_take();
	for (r = api->queue; r && count; r = r->next) {
		if ((r->op == op || op == FAKE_OPS) && !r->pass) {
			r->pass = true;
			count--;
		}
	}
	fake_lock_give();
}

void fake_api_cut_live(struct api *api)
{
	fake_lock_take();
	for (struct api_req *r = api->queue; r; r = r->next)
		r->cancelled |= r->ready && r->got < r->len;
	fake_lock_give();
}

static unsigned sum(const unsigned counts[FAKE_OPS], enum fake_op op)
{
	unsigned i, n = 0;

	for (i = 0; i < FAKE_OPS; i++)
		n += op == i || op == FAKE_OPS ? counts[i] : 0;
	return n;
}

static bool is_met(const struct api *api, const unsigned *counts, enum fake_op op, uint64_t count)
{
	if (counts)
		return sum(counts, op) >= count;
	if (count)
		return api->live >= count;
	return sum(api->started, FAKE_OPS) == sum(api->done, FAKE_OPS);
}

/*
 * Waits until counts of op reach count; when that is NULL, until so many bytes of the live
 * Part were read, or for 0 until nothing is under way.
 */
static bool wait_for(struct api *api, const unsigned *counts, enum fake_op op, uint64_t count)
{
	struct timespec until;
	bool met;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += DEADLINE_S;
	fake_lock_take();
	for (;;) {
		met = is_met(api, counts, op, count);
		if (met || rc)
			break;
		rc = pthread_cond_clockwait(&fake_changed, &fake_lock, CLOCK_MONOTONIC, &until);
	}
	fake_lock_give();
	return met;
}

bool fake_api_wait_calls(struct api *api, enum fake_op op, unsigned count)
{
	return wait_for(api, api->started, op, count);
}

bool fake_api_wait_done(struct api *api, enum fake_op op, unsigned count)
{
	return wait_for(api, api->done, op, count);
}

bool fake_api_wait_live(struct api *api, uint64_t bytes)
{
	return wait_for(api, NULL, FAKE_PART, bytes);
}

bool fake_api_wait_idle(struct api *api)
{
	return wait_for(api, NULL, FAKE_OPS, 0);
}

unsigned fake_api_calls(struct api *api, enum fake_op op)
{
	unsigned n;

	fake_lock_take();
	n = sum(api->started, op);
	fake_lock_give();
	return n;
}

bool fake_api_call(struct api *api, enum fake_op op, unsigned nth, struct fake_call *ret)
{
	bool found = false;
	size_t i;

	fake_lock_take();
	for (i = 0; i < api->call_count && !found; i++) {
		if (api->calls[i].op != op && op != FAKE_OPS)
			continue;
		if (nth--)
			continue;
		*ret = api->calls[i];
		found = true;
	}
	fake_lock_give();
	return found;
}

unsigned fake_api_active_max(struct api *api, enum fake_op op)
{
	unsigned n;

	fake_lock_take();
	n = api->active_max[op];
	fake_lock_give();
	return n;
}

enum api_upload_status fake_api_upload_status(struct api *api, const char *upload_id)
{
	enum api_upload_status status = API_UPLOAD_OTHER;
	struct upload *up;

	fake_lock_take();
	up = fake_upload_find(api, upload_id);
	if (up)
		status = up->status;
	fake_lock_give();
	return status;
}

unsigned fake_api_uploads(struct api *api, enum api_upload_status status)
{
	struct upload *up;
	unsigned n = 0;

	fake_lock_take();
	for (up = api->uploads; up; up = up->next)
		n += up->status == status;
	fake_lock_give();
	return n;
}

void fake_api_upload_expire(struct api *api, const char *upload_id)
{
	struct upload *up;

	fake_lock_take();
	up = fake_upload_find(api, upload_id);
	if (up && up->status == API_UPLOAD_PENDING)
		up->status = API_UPLOAD_EXPIRED;
	fake_lock_give();
}

static void add_file(struct api *api, const char *filename, const char *purpose, struct blob blob,
		     char *ret_id)
{
	fake_lock_take();
	snprintf(ret_id, API_ID_MAX + 1, "%s", fake_file_add(api, filename, purpose, blob)->id);
	fake_lock_give();
}

void fake_api_add_file(struct api *api, const char *filename, const char *purpose, const void *data,
		       size_t len, char ret_id[API_ID_MAX + 1])
{
	struct blob blob = { .data = fake_need(malloc(len + 1)), .len = len };

	if (len)
		memcpy(blob.data, data, len);
	add_file(api, filename, purpose, blob, ret_id);
}

void fake_api_add_pattern(struct api *api, const char *filename, const char *purpose,
			  uint64_t bytes, char ret_id[API_ID_MAX + 1])
{
	struct blob blob = { .len = bytes };

	add_file(api, filename, purpose, blob, ret_id);
}

unsigned fake_api_files(struct api *api)
{
	struct file *f;
	unsigned n = 0;

	fake_lock_take();
	for (f = api->files; f; f = f->next)
		n += !f->deleted;
	fake_lock_give();
	return n;
}

bool fake_api_find(struct api *api, const char *filename, unsigned nth, char ret_id[API_ID_MAX + 1])
{
	struct file *f;

	fake_lock_take();
	for (f = api->files; f; f = f->next) {
		if (!f->deleted && !strcmp(f->filename, filename) && !nth--)
			break;
	}
	if (f)
		snprintf(ret_id, API_ID_MAX + 1, "%s", f->id);
	fake_lock_give();
	return f != NULL;
}

ssize_t fake_api_read(struct api *api, const char *file_id, uint64_t offset, void *buf, size_t len)
{
	ssize_t n = -1;
	struct file *f;

	fake_lock_take();
	f = fake_file_find(api, file_id);
	if (f) {
		if (offset > f->blob.len)
			offset = f->blob.len;
		if (len > f->blob.len - offset)
			len = f->blob.len - offset;
		fake_blob_read(&f->blob, offset, buf, len);
		n = (ssize_t)len;
	}
	fake_lock_give();
	return n;
}

uint64_t fake_api_file_bytes(struct api *api, const char *file_id)
{
	struct file *f;
	uint64_t n;

	fake_lock_take();
	f = fake_file_find(api, file_id);
	n = f ? f->blob.len : UINT64_MAX;
	fake_lock_give();
	return n;
}

void fake_api_page_max(struct api *api, unsigned entries)
{
	fake_lock_take();
	api->page_max = entries;
	fake_lock_give();
}

void fake_api_content(struct api *api, const struct fake_content *how)
{
	fake_lock_take();
	api->content = *how;
	fake_lock_give();
}

void fake_api_gate(struct api *api, uint64_t gate)
{
	fake_lock_take();
	api->content.gated = true;
	api->content.gate = gate;
	fake_lock_give();
}
