/*
 * Refusals of the file or the key: what they hold for, and when they end.
 */
#include "fs/publish/refused.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/remote/errmap.h"
#include "fs/state/files.h"
#include "net/base/clock.h"

/* Status codes of the key, the rate and the load are no refusals. */
bool publish_is_refusal(const struct api_error *err)
{
	int s = err->http_status;

	if (err->kind != API_ERR_HTTP || s < 400 || s >= 500)
		return false;
	return s != 401 && s != 403 && s != 407 && s != 408 && s != 409 && s != 429;
}

/* About the base URL or the Upload, not about the file. */
static bool is_about_place(int status)
{
	return status == 404 || status == 405 || status == 410 || status == 425;
}

static enum refused_kind kind_of(const struct publish *p, const struct api_error *err)
{
	bool bytes = p->upload.id[0] || p->upload.posted;
	bool again = p->refused.kind >= REFUSED_KEY_BYTES;

	/* The room that a quota leaves changes without the file. */
	if (p->doubt.unknown || errmap(err, ERRMAP_WRITE) == -EDQUOT)
		return REFUSED_NOT;
	if (publish_is_refusal(err))
		return is_about_place(err->http_status) ? REFUSED_NOT : REFUSED_FILE;
	if (err->kind != API_ERR_HTTP || (err->http_status != 401 && err->http_status != 403))
		return REFUSED_NOT;
	if (!bytes && !again)
		return REFUSED_KEY;
	return again || err->http_status == 403 ? REFUSED_KEY_BARRED : REFUSED_KEY_BYTES;
}

static void add(struct digest *d, const char *text)
{
	digest_update(d, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* Of the options that a refusal may come from, and of what is told about the file. */
static void print_file(const struct publish *p, const struct publish_inputs *in,
		       char ret[DIGEST_HEX_SIZE])
{
	const struct publisher_config *cfg = &p->pr->cfg;
	struct digest *d = digest_new();
	char numbers[96];

	*ret = '\0';
	if (!d)
		return;
	snprintf(numbers, sizeof(numbers), "%" PRIu64 " %u %" PRIu64, cfg->part_size, cfg->parallel,
		 in->expires_after);
	add(d, cfg->service);
	add(d, cfg->tenant);
	add(d, numbers);
	add(d, in->purpose);
	add(d, in->path);
	add(d, in->mime);
	if (in->check)
		add(d, "check");
	if (digest_hex(d, ret))
		*ret = '\0';
	digest_free(d);
}

static void print_key(const struct publish *p, char ret[DIGEST_HEX_SIZE])
{
	pthread_mutex_lock(&p->pr->lock);
	memcpy(ret, p->pr->key_print, DIGEST_HEX_SIZE);
	pthread_mutex_unlock(&p->pr->lock);
}

static void print_now(const struct publish *p, const struct publish_inputs *in,
		      char ret[DIGEST_HEX_SIZE])
{
	if (p->refused.kind == REFUSED_FILE)
		print_file(p, in, ret);
	else
		print_key(p, ret);
}

void refused_note(struct publish *p, const struct api_error *err)
{
	struct refused *f = &p->refused;

	f->kind = kind_of(p, err);
	f->http_status = f->kind ? err->http_status : 0;
	f->ask_first = f->asking = false;
	f->print[0] = '\0';
	if (f->kind)
		print_now(p, &p->now, f->print);
}

void refused_note_lines(struct publish *p)
{
	refused_clear(p);
	p->refused.kind = REFUSED_FILE;
	print_now(p, &p->now, p->refused.print);
}

bool refused_for_good(const struct publish *p)
{
	return p->refused.kind == REFUSED_FILE;
}

static bool is_over(struct publish *p, const struct publish_inputs *in)
{
	char now[DIGEST_HEX_SIZE];

	if (!p->refused.kind)
		return false;
	print_now(p, in, now);
	if (!strcmp(now, p->refused.print))
		return false;
	refused_clear(p);
	return true;
}

bool refused_is_over(struct publish *p)
{
	return is_over(p, &p->now);
}

void refused_begin_try(struct publish *p, bool asked)
{
	if (asked || p->refused.kind == REFUSED_FILE)
		refused_clear(p);
	p->refused.ask_first = p->refused.kind >= REFUSED_KEY_BYTES;
}

void refused_clear(struct publish *p)
{
	memset(&p->refused, 0, sizeof(p->refused));
}

/* True if complete is all that is left to ask. */
static bool all_sent(const struct publish *p)
{
	if (!p->upload.id[0] || !p->parts.count || clock_mono_ms() >= p->upload.deadline_ms)
		return false;
	for (uint32_t i = 0; i < p->parts.count; i++)
		if (p->parts.v[i].state != PART_SENT ||
		    p->parts.v[i].version != publish_part_version(p, i))
			return false;
	return true;
}

bool refused_bars(const struct publish *p)
{
	return p->refused.kind == REFUSED_KEY_BARRED && !all_sent(p);
}

void refused_save(const struct publish *p, struct record *r)
{
	r->refused = p->refused.kind;
	r->refused_status = p->refused.http_status;
	r->refused_print = p->refused.kind ? (char *)p->refused.print : NULL;
}

bool refused_load(struct publish *p, const struct record *r)
{
	struct refused *f = &p->refused;

	if (r->refused < REFUSED_FILE || r->refused > REFUSED_KEY_BARRED || !r->refused_print ||
	    strlen(r->refused_print) >= sizeof(f->print) || p->pr->cfg.ending)
		return false;
	f->kind = (enum refused_kind)r->refused;
	f->http_status = p->failure.http_status = r->refused_status;
	memcpy(f->print, r->refused_print, strlen(r->refused_print) + 1);
	if (is_over(p, &p->in))
		return false;
	if (refused_for_good(p))
		return true;
	f->ask_first = f->kind >= REFUSED_KEY_BYTES;
	return false;
}
