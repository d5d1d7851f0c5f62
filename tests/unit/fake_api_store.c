/* What the service of the fake holds, does and answers. */
#include "tests/unit/fake_api_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "net/base/clock.h"
#include "net/base/digest.h"

#define CREATED_AT 1700000000

/* Eight bytes that differ from those anywhere else. */
static uint64_t pattern_word(uint64_t i)
{
	i = (i + 1) * 0x9e3779b97f4a7c15ULL;
	return i ^ (i >> 29);
}

void fake_api_pattern(uint64_t offset, void *buf, size_t len)
{
	unsigned char *p = buf;
	uint64_t word;
	size_t skip, n;

	while (len) {
		word = pattern_word(offset / 8);
		skip = offset % 8;
		n = len < 8 - skip ? len : 8 - skip;
		memcpy(p, (unsigned char *)&word + skip, n);
		p += n;
		offset += n;
		len -= n;
	}
}

void fake_blob_read(const struct blob *b, uint64_t offset, unsigned char *buf, size_t len)
{
	uint64_t there = offset < b->len ? b->len - offset : 0;

	if (!b->data) {
		fake_api_pattern(offset, buf, len);
		return;
	}
	/* Beyond the end only where a test made the File seem longer. */
	if (there > len)
		there = len;
	if (there)
		memcpy(buf, b->data + offset, there);
	memset(buf + there, 0, len - there);
}

struct api_error fake_api_error(enum api_err_kind kind, int http_status, const char *code,
				const char *message)
{
	struct api_error err = { .kind = kind, .http_status = http_status, .attempts = 1 };

	snprintf(err.code, sizeof(err.code), "%s", code ? code : "");
	snprintf(err.message, sizeof(err.message), "%s", message ? message : "");
	if (kind == API_ERR_HTTP) {
		snprintf(err.type, sizeof(err.type), "invalid_request_error");
		snprintf(err.request_id, sizeof(err.request_id), "req_fake");
	}
	return err;
}

static void refuse(struct api_req *r, int status, const char *message)
{
	r->err = fake_api_error(API_ERR_HTTP, status, "", message);
}

/* The store. All under lock. */

static void name_new(struct api *api, const char *prefix, char ret[32])
{
	snprintf(ret, 32, "%s%06u", prefix, ++api->next_id);
}

struct upload *fake_upload_find(struct api *api, const char *id)
{
	struct upload *up = api->uploads;

	while (up && strcmp(up->id, id))
		up = up->next;
	return up;
}

struct file *fake_file_find(struct api *api, const char *id)
{
	struct file *f = api->files;

	while (f && (f->deleted || strcmp(f->id, id)))
		f = f->next;
	return f;
}

struct file *fake_file_add(struct api *api, const char *filename, const char *purpose,
			   struct blob blob)
{
	struct file **tail = &api->files, *f = fake_need(calloc(1, sizeof(*f)));

	name_new(api, "file-", f->id);
	f->filename = fake_copy(filename);
	f->purpose = fake_copy(purpose);
	f->blob = blob;
	f->created_at = api->dated ? clock_wall_s() : CREATED_AT + api->next_id;
	f->made_ms = clock_mono_ms();
	while (*tail)
		tail = &(*tail)->next;
	*tail = f;
	return f;
}

static void work_create(struct api *api, struct api_req *r)
{
	static const char *const purposes[] = { "assistants", "batch",	   "evals",
						"fine-tune",  "user_data", "vision" };
	struct upload *up;
	size_t i;

	for (i = 0; i < 6 && strcmp(purposes[i], r->purpose); i++)
		;
	if (i == 6) {
		refuse(r, 400, "purpose is not one of those allowed - 'purpose'");
		return;
	}
	if (r->len > API_UPLOAD_MAX) {
		refuse(r, 400, "File is too large.");
		return;
	}
	up = fake_need(calloc(1, sizeof(*up)));
	name_new(api, "upload_", up->id);
	up->filename = fake_copy(r->filename);
	up->purpose = fake_copy(r->purpose);
	up->bytes = r->len;
	up->created_at = api->dated ? clock_wall_s() : CREATED_AT + api->next_id;
	up->expiry = r->expiry;
	up->peer = r->peer;
	up->status = API_UPLOAD_PENDING;
	up->next = api->uploads;
	api->uploads = up;
	r->up = up;
}

/* The pending Upload that r is about; refuses it otherwise. */
static struct upload *upload_pending(struct api *api, struct api_req *r)
{
	struct upload *up = fake_upload_find(api, r->id);

	if (up && api->dated && up->status == API_UPLOAD_PENDING &&
	    clock_wall_s() >= up->created_at + API_UPLOAD_TTL_S)
		up->status = API_UPLOAD_EXPIRED;
	if (!up)
		refuse(r, 404, "No such Upload object");
	else if (up->status != API_UPLOAD_PENDING)
		refuse(r, 400, "The Upload is not pending");
	else
		return up;
	return NULL;
}

/* Reads [done, end) of the body; 0, or a negative errno. */
static int body_read(const struct api_req *r, unsigned char *data, uint64_t done, uint64_t end)
{
	ssize_t n;

	while (done < end) {
		n = pread(r->fd, data + done, end - done, (off_t)(r->offset + done));
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

bool fake_part_read(struct api_req *r)
{
	uint64_t ready;

	r->fed = false;
	if (!r->torso)
		r->torso = fake_need(malloc(r->len));
	while (r->got < r->len && (ready = r->ready(r->ready_arg, r->got)) > r->got) {
		/* What was cut off meanwhile can't be read. */
		if (body_read(r, r->torso, r->got, ready))
			memset(r->torso + r->got, 0, ready - r->got);
		r->got = ready;
	}
	return r->got == r->len;
}

static void work_part(struct api *api, struct api_req *r)
{
	struct upload *up = upload_pending(api, r);
	struct part *p;
	int rc = 0;

	if (!up)
		return;
	if (r->len > API_PART_MAX) {
		refuse(r, 413, "The Part is too large");
		return;
	}
	p = fake_need(calloc(1, sizeof(*p)));
	p->blob.data = fake_need(malloc(r->len + 1));
	p->blob.len = r->len;
	if (r->torso)
		memcpy(p->blob.data, r->torso, r->len);
	else
		rc = body_read(r, p->blob.data, 0, r->len);
	if (rc) {
		r->err = fake_api_error(API_ERR_LOCAL, 0, "", "reading the part failed");
		r->err.local_errno = rc;
		free(p->blob.data);
		free(p);
		return;
	}
	name_new(api, "part_", p->id);
	p->next = up->parts;
	up->parts = p;
	r->part = p;
	r->up = up;
}

/* Puts the listed Parts together; false and a refusal when one is not known or stands twice. */
static bool parts_join(struct api_req *r, const struct upload *up, struct blob *ret)
{
	unsigned char *data = NULL;
	const struct part *p;
	uint64_t len = 0;
	size_t i, k;

	for (i = 0; i < r->part_count; i++) {
		for (p = up->parts; p && strcmp(p->id, r->part_ids[i]); p = p->next)
			;
		for (k = 0; p && k < i; k++) {
			if (!strcmp(r->part_ids[k], r->part_ids[i]))
				p = NULL;
		}
		if (!p) {
			free(data);
			refuse(r, 400, "A Part is not known or listed twice");
			return false;
		}
		data = fake_need(realloc(data, len + p->blob.len + 1));
		if (p->blob.len)
			memcpy(data + len, p->blob.data, p->blob.len);
		len += p->blob.len;
	}
	ret->data = data ? data : fake_need(calloc(1, 1));
	ret->len = len;
	return true;
}

/* By OpenSSL alone: the service does not fail where the program's allocations do. */
static bool md5_matches(const struct blob *blob, const char *md5)
{
	unsigned char sum[DIGEST_SIZE];
	char hex[DIGEST_HEX_SIZE];

	if (EVP_Digest(blob->data, blob->len, sum, NULL, EVP_md5(), NULL) != 1)
		abort();
	for (unsigned i = 0; i < DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	return !strcmp(hex, md5);
}

static void work_complete(struct api *api, struct api_req *r)
{
	struct upload *up = upload_pending(api, r);
	struct blob blob;

	if (!up || !parts_join(r, up, &blob))
		return;
	if (blob.len != up->bytes)
		refuse(r, 400, "The bytes of the Parts do not match those of the Upload");
	else if (r->md5 && !md5_matches(&blob, r->md5))
		refuse(r, 400, "The MD5 does not match");
	if (r->err.kind) {
		free(blob.data);
		return;
	}
	up->file = fake_file_add(api, up->filename, up->purpose, blob);
	snprintf(up->file->upload, sizeof(up->file->upload), "%s", up->id);
	if (!api->dated || api->with_upload)
		up->file->created_at = up->created_at;
	up->file->expires_at = up->expiry ? up->file->created_at + (int64_t)up->expiry : 0;
	up->status = API_UPLOAD_COMPLETED;
	r->up = up;
}

static void work_upload(struct api *api, struct api_req *r)
{
	struct blob blob = { fake_need(malloc(r->len + 1)), r->len };

	if (pread(r->fd, blob.data, r->len, 0) == (ssize_t)r->len && md5_matches(&blob, r->md5)) {
		r->file = fake_file_add(api, r->filename, r->purpose, blob);
		return;
	}
	free(blob.data);
	r->err = fake_api_error(API_ERR_LOCAL, 0, "", "not the bytes that were hashed");
	r->err.local_errno = -EBADMSG;
}

static void work_cancel(struct api *api, struct api_req *r)
{
	struct upload *up = upload_pending(api, r);

	if (!up)
		return;
	up->status = API_UPLOAD_CANCELLED;
	up->cancelled_ms = clock_mono_ms();
	r->up = up;
}

static void work_file(struct api *api, struct api_req *r)
{
	r->file = fake_file_find(api, r->id);
	if (!r->file && r->id)
		refuse(r, 404, "No such File object");
	else if (r->op == FAKE_DELETE)
		r->file->deleted = true;
	if (r->file && r->op == FAKE_DELETE)
		r->file->deleter = r->peer;
}

void fake_req_work(struct api *api, struct api_req *r)
{
	r->worked = true;
	if (r->idle || (r->fault.kind && !r->fault.maybe_applied)) {
		r->err = r->fault;
		return;
	}
	if (r->op == FAKE_CREATE)
		work_create(api, r);
	else if (r->op == FAKE_PART)
		work_part(api, r);
	else if (r->op == FAKE_COMPLETE)
		work_complete(api, r);
	else if (r->op == FAKE_UPLOAD)
		work_upload(api, r);
	else if (r->op == FAKE_CANCEL)
		work_cancel(api, r);
	else if (r->op == FAKE_GET || r->op == FAKE_DELETE || (r->op == FAKE_LIST && r->id))
		work_file(api, r);
	if (r->fault.kind) {
		r->err = r->fault;
		return;
	}
	r->err.retrying_ms = r->fault.retrying_ms;
	r->err.server_time = r->fault.server_time;
}

/* Replies. Without the lock; what they point to lives until api_free(). */

static void file_view(const struct file *f, struct api_file *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->id = f->id;
	ret->filename = f->filename;
	ret->purpose = f->purpose;
	ret->bytes = f->blob.len;
	ret->created_at = f->created_at;
	ret->expires_at = f->expires_at;
	ret->bytes_unknown = false;
}

static void reply_upload(struct api_req *r)
{
	struct api_upload view = { 0 };
	struct file *f = NULL;

	if (r->err.kind) {
		r->cb.upload(r->arg, &r->err, NULL);
		return;
	}
	fake_lock_take();
	view.id = r->up->id;
	view.status = r->up->status;
	view.bytes = r->up->bytes;
	view.created_at = r->up->created_at;
	view.expires_at = r->up->created_at + API_UPLOAD_TTL_S;
	f = r->op == FAKE_COMPLETE ? r->up->file : NULL;
	fake_lock_give();
	/* Its state is that of the work, whatever came of it since. */
	if (r->op == FAKE_CREATE)
		view.status = API_UPLOAD_PENDING;
	view.has_file = f != NULL;
	if (f)
		file_view(f, &view.file);
	r->cb.upload(r->arg, &r->err, &view);
}

/* How many Files from the front of the list (in its order) are in the page; counts the rest. */
static size_t page_fill(struct api *api, const struct api_req *r, struct api_file *v, size_t max,
			bool *ret_more)
{
	struct file *f, **all = fake_need(calloc(api->next_id + 1, sizeof(*all)));
	bool after = !r->id;
	size_t total = 0, n = 0, i;

	for (f = api->files; f; f = f->next) {
		if (fake_file_listed(api, f) && (!r->purpose || !strcmp(f->purpose, r->purpose)))
			all[total++] = f;
	}
	*ret_more = false;
	for (i = 0; i < total; i++) {
		f = all[r->desc ? total - 1 - i : i];
		if (after && n == max)
			*ret_more = true;
		else if (after)
			file_view(f, &v[n++]);
		if (!after && !strcmp(f->id, r->id))
			after = true;
	}
	free(all);
	return n;
}

/* The strings of a page in one block, as those that the client library hands out. */
static char *page_text(struct api_file *v, size_t count)
{
	const char **strings[3];
	size_t size = 1, i, k;
	char *text, *at;

	for (i = 0; i < count; i++)
		size += strlen(v[i].id) + strlen(v[i].filename) + strlen(v[i].purpose) + 3;
	text = at = fake_need(malloc(size));
	for (i = 0; i < count; i++) {
		strings[0] = &v[i].id;
		strings[1] = &v[i].filename;
		strings[2] = &v[i].purpose;
		for (k = 0; k < 3; k++) {
			size = strlen(*strings[k]) + 1;
			*strings[k] = memcpy(at, *strings[k], size);
			at += size;
		}
	}
	return text;
}

static void reply_page(struct api_req *r)
{
	struct api_file_page page = { 0 };
	struct api_file *v;
	size_t max;

	if (r->err.kind) {
		r->cb.page(r->arg, &r->err, NULL);
		return;
	}
	fake_lock_take();
	max = r->api->page_max && r->api->page_max < r->limit ? r->api->page_max : r->limit;
	v = fake_need(calloc(max + 1, sizeof(*v)));
	page.count = page_fill(r->api, r, v, max, &page.has_more);
	page.text = page_text(v, page.count);
	fake_lock_give();
	page.files = v;
	page.last_id = page.count ? v[page.count - 1].id : "";
	r->cb.page(r->arg, &r->err, &page);
	free(page.files);
	free(page.text);
}

void fake_req_reply(struct api_req *r)
{
	struct api_part part;
	struct api_file file;
	bool ok = !r->err.kind;

	switch (r->op) {
	case FAKE_PART:
		if (ok) {
			part.id = r->part->id;
			part.upload_id = r->up->id;
		}
		r->cb.part(r->arg, &r->err, ok ? &part : NULL);
		break;
	case FAKE_LIST:
		reply_page(r);
		break;
	case FAKE_GET:
	case FAKE_UPLOAD:
		if (ok)
			file_view(r->file, &file);
		r->cb.file(r->arg, &r->err, ok ? &file : NULL);
		break;
	case FAKE_DELETE:
		r->cb.done(r->arg, &r->err);
		break;
	case FAKE_CONTENT:
		r->cb.content(r->arg, &r->err, r->ranged);
		break;
	default:
		reply_upload(r);
		break;
	}
}

bool fake_file_listed(const struct api *api, const struct file *f)
{
	return !f->deleted && clock_mono_ms() >= f->made_ms + api->lag_ms;
}

/* Contents. */

static uint64_t content_length(const struct api *api, const struct file *f)
{
	return api->content.length ? api->content.length : f->blob.len;
}

static void content_refuse(struct api_req *r)
{
	char text[128];

	snprintf(text, sizeof(text), "Not allowed to download files of purpose: %s",
		 r->file->purpose);
	refuse(r, 400, text);
}

/* Under lock: the request line and the head of the reply, so to say. */
static void content_begin(struct api *api, struct api_req *r)
{
	uint64_t total;

	r->begun = true;
	if (r->fault.kind) {
		r->err = r->fault;
		return;
	}
	r->file = fake_file_find(api, r->id);
	if (!r->file) {
		refuse(r, 404, "No such File object");
		return;
	}
	total = content_length(api, r->file);
	if (api->content.refuse)
		content_refuse(r);
	else if (r->offset > total || (r->offset && api->content.refuse_range))
		refuse(r, 416, "Range not satisfiable");
	r->ranged = !api->content.ignore_range && (r->offset || r->len != UINT64_MAX);
	r->end = r->len < total - r->offset ? r->offset + r->len : total;
	r->pos = r->offset;
	if (!api->content.ignore_range)
		return;
	/* Everything is sent, whatever was asked for, and all of it handed on. */
	r->pos = 0;
	r->end = total;
}

/* How far the request may go now. Under lock. */
static uint64_t content_limit(const struct api *api, const struct api_req *r)
{
	const struct fake_content *how = &api->content;
	uint64_t start = how->ignore_range ? 0 : r->offset;
	uint64_t limit = r->pos + (how->chunk ? how->chunk : 65536);

	if (limit > r->end)
		limit = r->end;
	if (how->gated && start < how->gate && limit > how->gate)
		limit = how->gate;
	if (how->cut && start < how->cut && limit > how->cut)
		limit = how->cut;
	if (how->quota && limit > start + how->quota)
		limit = start + how->quota;
	return limit;
}

bool fake_content_waits(const struct api *api, const struct api_req *r)
{
	return r->begun && !r->err.kind && r->pos < r->end && content_limit(api, r) <= r->pos &&
	       r->pos != api->content.cut;
}

/* Hands on the bytes from pos to limit; without the lock. */
static void content_send(struct api_req *r, uint64_t limit)
{
	uint64_t from = r->pos;
	unsigned char *buf;
	int rc;

	r->pos = limit;
	buf = fake_need(malloc(limit - from));
	fake_blob_read(&r->file->blob, from, buf, limit - from);
	rc = r->data_cb(r->arg, from, buf, limit - from);
	free(buf);
	if (rc) {
		r->err = fake_api_error(API_ERR_LOCAL, 0, "", "the content was not taken");
		r->err.local_errno = rc;
	}
}

/* A step of a content; true when it has come to its end. Under lock, given up in between. */
bool fake_content_step(struct api *api, struct api_req *r)
{
	uint64_t limit;

	if (!r->begun)
		content_begin(api, r);
	if (r->err.kind)
		return true;
	limit = content_limit(api, r);
	if (limit > r->pos) {
		fake_lock_give();
		content_send(r, limit);
		fake_lock_take();
		return r->err.kind != API_OK;
	}
	if (r->pos < r->end) {
		r->err = fake_api_error(API_ERR_CONNECT, 0, "", "the connection broke");
	} else if (r->ranged && r->len != UINT64_MAX && r->end < r->offset + r->len) {
		r->err = fake_api_error(API_ERR_BAD_REPLY, 0, "", "less than was asked for");
	}
	return true;
}
