/* The service: Uploads, Files, and the calls that wait to be done. */
#include "tests/simulate/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/digest.h"
#include "tests/simulate/call.h"
#include "tests/simulate/sim.h"
#include "tests/simulate/stranger.h"

#define TTL_S 3600
#define RACE_MS 8000

struct part {
	struct part *next;
	char id[24];
	unsigned char *data;
	size_t len;
};

struct upload {
	struct upload *next;
	char id[24];
	char *filename, *purpose;
	uint64_t bytes;
	int64_t created_at;
	enum api_upload_status status;
	uint64_t cancelled_ms;
	unsigned maker;
	struct part *parts;
	struct sim_file *file;
};

/* A complete that goes on without its caller. */
struct later {
	struct later *next;
	struct call *call;
	uint64_t due_ms;
};

static struct upload *uploads;
static struct sim_file *files, **files_last = &files;
static struct later *laters;
static unsigned made;
static bool calm;

struct call *calls;

void service_reset(void)
{
	uploads = NULL;
	files = NULL;
	files_last = &files;
	laters = NULL;
	calls = NULL;
	made = 0;
	calm = false;
}

struct sim_file *service_files(void)
{
	return files;
}

bool service_shows(const struct sim_file *f)
{
	return !f->deleted && sim_ms >= f->made_ms + conf.lag_ms;
}

unsigned service_uploads_pending(void)
{
	unsigned n = 0;

	for (struct upload *up = uploads; up; up = up->next)
		n += up->status == API_UPLOAD_PENDING && clock_wall_s() < up->created_at + TTL_S;
	return n;
}

static void refuse(struct call *c, int status, const char *message)
{
	memset(&c->err, 0, sizeof(c->err));
	c->err.kind = API_ERR_HTTP;
	c->err.http_status = status;
	c->err.attempts = 1;
	c->err.server_time = clock_wall_s();
	snprintf(c->err.type, sizeof(c->err.type), "invalid_request_error");
	snprintf(c->err.message, sizeof(c->err.message), "%s", message);
}

static struct upload *upload_find(const char *id)
{
	struct upload *up = uploads;

	while (up && strcmp(up->id, id))
		up = up->next;
	return up;
}

static struct sim_file *file_find(const char *id)
{
	struct sim_file *f = files;

	while (f && (f->deleted || strcmp(f->id, id)))
		f = f->next;
	return f;
}

struct sim_file *service_add_file(const char *filename, unsigned char *data, size_t len,
				  unsigned maker)
{
	struct sim_file *f = calloc(1, sizeof(*f));

	/* Ids tell nothing of their order. */
	snprintf(f->id, sizeof(f->id), "file-%04x%u", luck_any(LUCK_NET, 65536), ++made);
	f->filename = strdup(filename);
	f->data = data;
	f->len = len;
	f->maker = maker;
	f->created_at = clock_wall_s();
	f->made_ms = sim_ms;
	*files_last = f;
	files_last = &f->next;
	return f;
}

const char *service_upload_at(unsigned nth, size_t *ret_len)
{
	unsigned n = 0;

	for (struct upload *up = uploads; up; up = up->next)
		n += up->status == API_UPLOAD_PENDING;
	if (!n)
		return NULL;
	nth %= n;
	for (struct upload *up = uploads; up; up = up->next) {
		if (up->status != API_UPLOAD_PENDING || nth--)
			continue;
		*ret_len = (size_t)up->bytes;
		return up->filename;
	}
	return NULL;
}

bool service_has_twin(const struct sim_file *f, unsigned host)
{
	for (struct upload *up = uploads; up; up = up->next)
		if (up->maker == host && up->bytes == f->len &&
		    !strcmp(up->filename, f->filename) &&
		    (up->created_at == f->created_at || !conf.with_upload))
			return true;
	return false;
}

static void view_upload(struct call *c, const struct upload *up)
{
	c->upload = (struct api_upload){ .id = up->id,
					 .status = up->status,
					 .bytes = up->bytes,
					 .created_at = up->created_at,
					 .expires_at = up->created_at + TTL_S };
}

void service_view(const struct sim_file *f, struct api_file *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->id = f->id;
	ret->filename = f->filename;
	ret->purpose = "user_data";
	ret->status = "processed";
	ret->bytes = f->len;
	ret->created_at = f->created_at;
}

static void do_create(struct call *c)
{
	struct upload *up = calloc(1, sizeof(*up));

	snprintf(up->id, sizeof(up->id), "upload_%u", ++made);
	up->filename = strdup(c->filename);
	up->purpose = strdup(c->purpose);
	up->bytes = c->len;
	up->created_at = clock_wall_s();
	up->status = API_UPLOAD_PENDING;
	up->maker = c->host;
	up->next = uploads;
	uploads = up;
	view_upload(c, up);
	stranger_races(up->filename, (size_t)up->bytes);
}

static struct upload *pending(struct call *c)
{
	struct upload *up = upload_find(c->id);

	if (up && up->status == API_UPLOAD_PENDING && clock_wall_s() >= up->created_at + TTL_S)
		up->status = API_UPLOAD_EXPIRED;
	if (!up)
		refuse(c, 404, "No such Upload object");
	else if (up->status != API_UPLOAD_PENDING)
		refuse(c, 400, "The Upload is not pending");
	return up && up->status == API_UPLOAD_PENDING ? up : NULL;
}

static void do_part(struct call *c)
{
	struct upload *up = pending(c);
	struct part *p;

	if (!up)
		return;
	p = calloc(1, sizeof(*p));
	snprintf(p->id, sizeof(p->id), "part_%u", ++made);
	p->data = c->body;
	p->len = c->len;
	c->body = NULL;
	p->next = up->parts;
	up->parts = p;
	c->part = (struct api_part){ p->id, up->id };
}

static const struct part *part_find(const struct upload *up, const char *id)
{
	const struct part *p = up->parts;

	while (p && strcmp(p->id, id))
		p = p->next;
	return p;
}

static bool md5_is(const unsigned char *data, size_t len, const char *hex)
{
	char mine[DIGEST_HEX_SIZE] = "";
	struct digest *d = digest_new();

	if (digest_update(d, data, len) || digest_hex(d, mine))
		abort();
	digest_free(d);
	return !strcmp(mine, hex);
}

static unsigned char *join(struct call *c, const struct upload *up, size_t *ret_len)
{
	unsigned char *data = malloc(up->bytes + 1);
	size_t len = 0;

	for (size_t i = 0; i < c->part_count; i++) {
		const struct part *p = part_find(up, c->part_ids[i]);

		if (!p || len + p->len > up->bytes) {
			free(data);
			return NULL;
		}
		memcpy(data + len, p->data, p->len);
		len += p->len;
	}
	*ret_len = len;
	return data;
}

/* A complete that is repeated: by half of the seeds the service tells the File again. */
static bool repeated(struct call *c)
{
	const struct upload *up = upload_find(c->id);

	if (!up || up->status != API_UPLOAD_COMPLETED || conf.seed % 2)
		return false;
	view_upload(c, up);
	if (up->file->deleted)
		return false;
	c->upload.has_file = true;
	service_view(up->file, &c->upload.file);
	return true;
}

static void do_complete(struct call *c)
{
	struct upload *up;
	unsigned char *data;
	size_t len = 0;

	if (repeated(c))
		return;
	up = pending(c);
	if (!up)
		return;
	data = join(c, up, &len);
	if (!data || len != up->bytes || (c->md5 && !md5_is(data, len, c->md5))) {
		refuse(c, 400, "The Parts are not what was announced");
		free(data);
		return;
	}
	up->file = service_add_file(up->filename, data, len, up->maker);
	snprintf(up->file->upload, sizeof(up->file->upload), "%s", up->id);
	if (conf.with_upload)
		up->file->created_at = up->created_at;
	up->status = API_UPLOAD_COMPLETED;
	view_upload(c, up);
	c->upload.has_file = true;
	service_view(up->file, &c->upload.file);
	trace("service: %s becomes %s \"%s\", %zu bytes", up->id, up->file->id, up->filename, len);
	check_made(up->file);
}

static void do_cancel(struct call *c)
{
	struct upload *up = pending(c);

	if (!up)
		return;
	up->status = API_UPLOAD_CANCELLED;
	up->cancelled_ms = sim_ms;
	view_upload(c, up);
}

static void do_upload(struct call *c)
{
	struct sim_file *f;

	if (!md5_is(c->body, c->len, c->md5)) {
		refuse(c, 400, "not the bytes that were hashed");
		return;
	}
	f = service_add_file(c->filename, c->body, c->len, c->host);
	c->body = NULL;
	service_view(f, &c->file);
	check_made(f);
}

static void do_get(struct call *c)
{
	struct sim_file *f = file_find(c->id);

	if (!f)
		refuse(c, 404, "No such File object");
	else
		service_view(f, &c->file);
}

static void do_delete(struct call *c)
{
	struct sim_file *f = file_find(c->id);

	if (!f) {
		refuse(c, 404, "No such File object");
		return;
	}
	trace("service: host %u deletes %s \"%s\"", c->host, f->id, f->filename);
	f->deleted = true;
	f->deleter = c->host;
	check_deleted(f);
}

static void do_list(struct call *c)
{
	size_t total = 0, n = 0, at = 0;
	struct sim_file **all;
	bool after = !c->id[0];

	for (struct sim_file *f = files; f; f = f->next)
		total += service_shows(f);
	all = calloc(total + 1, sizeof(struct sim_file *));
	for (struct sim_file *f = files; f; f = f->next)
		if (service_shows(f))
			all[n++] = f;
	c->page = calloc(total + 1, sizeof(*c->page));
	for (size_t i = 0; i < total; i++) {
		struct sim_file *f = all[c->desc ? total - 1 - i : i];

		if (after && at == c->limit)
			c->more = true;
		else if (after)
			c->page[at++] = f, f->listed |= 1U << c->host;
		after |= !strcmp(f->id, c->id);
	}
	c->page_count = at;
	free(all);
	/* The place to go on from is gone. */
	if (!after)
		refuse(c, 404, "No such File object");
}

static void do_content(struct call *c)
{
	struct sim_file *f = file_find(c->id);

	if (!f) {
		refuse(c, 404, "No such File object");
	} else if (conf.refuse) {
		refuse(c, 400, "Not allowed to download files of purpose: user_data");
	} else if (c->offset > f->len) {
		refuse(c, 416, "Range not satisfiable");
	} else {
		c->body = malloc(f->len + 1);
		memcpy(c->body, f->data, f->len);
		c->body_len = f->len;
	}
}

static void work(struct call *c)
{
	static void (*const does[])(struct call *) = {
		[OP_CREATE] = do_create, [OP_PART] = do_part,	  [OP_COMPLETE] = do_complete,
		[OP_CANCEL] = do_cancel, [OP_UPLOAD] = do_upload, [OP_LIST] = do_list,
		[OP_GET] = do_get,	 [OP_DELETE] = do_delete, [OP_CONTENT] = do_content,
	};

	memset(&c->err, 0, sizeof(c->err));
	c->err.attempts = 1;
	c->err.server_time = clock_wall_s();
	does[c->op](c);
}

/* ---- what may go wrong ---- */

/* The File that c made, or was to delete: its daemon does not know how that ended. */
static void go_astray(const struct call *c)
{
	const struct upload *up = c->op == OP_COMPLETE ? upload_find(c->id) : NULL;
	struct sim_file *f = up ? up->file : NULL;

	if (c->op == OP_DELETE)
		f = file_find(c->id);
	else if (c->op == OP_UPLOAD && c->file.id)
		f = file_find(c->file.id);
	if (f)
		f->astray = true;
}

static void lose(struct call *c)
{
	static const int statuses[] = { 500, 503, 502, 504 };
	unsigned how = luck_any(LUCK_NET, 4);

	memset(&c->err, 0, sizeof(c->err));
	c->err.attempts = 1 + luck_any(LUCK_NET, 3);
	c->err.maybe_applied = true;
	c->err.kind = how == 0 ? API_ERR_CONNECT : how == 1 ? API_ERR_TIMEOUT : API_ERR_HTTP;
	if (how == 2) {
		c->err.kind = API_ERR_BAD_REPLY;
		c->err.http_status = 200;
	} else if (how == 3) {
		c->err.http_status = statuses[luck_any(LUCK_NET, 4)];
	}
}

static void go_on_later(struct call *c)
{
	struct later *l = calloc(1, sizeof(*l));

	l->call = call_copy(c);
	l->due_ms = sim_ms + luck_any(LUCK_NET, 6000);
	l->next = laters;
	laters = l;
}

/* One of the ways in which c can fail. */
static void misfire(struct call *c)
{
	static const int statuses[] = { 500, 503, 404, 400, 401, 429 };
	unsigned how = luck_any(LUCK_NET, 100);

	if (c->op == OP_DELETE)
		go_astray(c);
	if (c->op == OP_COMPLETE && upload_find(c->id))
		stranger_races(upload_find(c->id)->filename, (size_t)upload_find(c->id)->bytes);
	if (how < 40) {
		work(c);
		lose(c);
		go_astray(c);
		trace("net: the reply to %s is lost", call_name(c));
	} else if (how < 75) {
		lose(c);
		/* A 2xx is an answer of the service: it did what was asked. */
		if (c->err.kind == API_ERR_BAD_REPLY)
			c->err.kind = API_ERR_CONNECT, c->err.http_status = 0;
		trace("net: %s does not arrive", call_name(c));
	} else if (how < 90 && c->op == OP_COMPLETE) {
		go_on_later(c);
		lose(c);
		if (c->err.kind == API_ERR_BAD_REPLY)
			c->err.kind = API_ERR_CONNECT, c->err.http_status = 0;
		trace("net: %s goes on alone", call_name(c));
	} else {
		refuse(c, statuses[luck_any(LUCK_NET, c->op == OP_CREATE ? 2 : 6)], "no");
		c->err.maybe_applied =
			c->err.http_status >= 500 &&
			(c->op == OP_COMPLETE || c->op == OP_CREATE || c->op == OP_UPLOAD);
		trace("net: %s is refused with %d", call_name(c), c->err.http_status);
	}
}

static void run_laters(bool all)
{
	struct later **at = &laters, *l;

	while ((l = *at) != NULL) {
		struct upload *up = upload_find(l->call->id);

		if (!all && l->due_ms > sim_ms) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		/* It was running when the cancel came. */
		if (conf.race && up && up->status == API_UPLOAD_CANCELLED &&
		    sim_ms < up->cancelled_ms + RACE_MS)
			up->status = API_UPLOAD_PENDING;
		trace("service: %s that went on alone", call_name(l->call));
		work(l->call);
		go_astray(l->call);
	}
}

void service_calm(void)
{
	calm = true;
	run_laters(true);
}

static unsigned sent_count(void)
{
	unsigned n = 0;

	for (struct call *c = calls; c; c = c->next)
		n += c->state == CALL_SENT;
	return n;
}

bool service_waits(void)
{
	return sent_count() != 0;
}

bool service_busy(void)
{
	return calls != NULL;
}

bool service_step(void)
{
	unsigned n = sent_count(), k;
	struct call *c = calls;

	run_laters(false);
	if (!n)
		return false;
	if (!calm && conf.stranger && luck_chance(LUCK_STRANGER, conf.stranger))
		stranger_step();
	k = luck_any(LUCK_NET, n);
	while (c->state != CALL_SENT || k--)
		c = c->next;
	if (!calm && (c->op != OP_LIST || conf.list_faults) &&
	    luck_chance(LUCK_NET, conf.net_faults) && choice_made(CHOICE_NET))
		misfire(c);
	else
		work(c);
	trace("net: %s of host %u is answered%s%s", call_name(c), c->host, c->err.kind ? ": " : "",
	      c->err.message);
	call_answered(c);
	return true;
}

void service_forget(unsigned host)
{
	struct call **at = &calls, *c;

	while ((c = *at) != NULL) {
		if (c->host != host) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		/* What was sent may be done, or go on alone. */
		if (c->state != CALL_SENT || luck_chance(LUCK_NET, 400))
			continue;
		if (c->op == OP_COMPLETE && luck_chance(LUCK_NET, 300))
			go_on_later(c);
		else
			work(c), go_astray(c);
	}
}
