/*
 * Failures: the error to report, the log line, the time of the next try. Publisher thread.
 */
#include "fs/publish/fail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/publish/observe.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/refused.h"
#include "fs/publish/upload.h"
#include "fs/remote/errmap.h"
#include "fs/stage/file.h"
#include "net/base/compat.h"
#include "net/base/clock.h"
#include "net/base/log.h"

bool publish_is_draining(const struct publish *p)
{
	return p->pr->cfg.ending || atomic_load(&p->pr->draining);
}

void publish_note_error(struct publish *p, int err, const char *text, const char *request_id)
{
	p->failure.err = err;
	snprintf(p->failure.error, sizeof(p->failure.error), "%s", text);
	snprintf(p->failure.request_id, sizeof(p->failure.request_id), "%s", request_id);
	p->failure.http_status = 0;
}

bool publish_is_unwanted(struct publish *p)
{
	pthread_mutex_lock(&p->pr->lock);
	p->now.dropped |= p->in.dropped;
	pthread_mutex_unlock(&p->pr->lock);
	return p->now.dropped;
}

static void log_failed(const struct publish *p, uint64_t delay_s)
{
	bool good = refused_for_good(p);
	bool last = good || publish_is_draining(p);
	const struct log_field fields[] = {
		{ "event", "failed", 0 },
		{ "purpose", p->now.purpose, 0 },
		{ "path", p->now.path, 0 },
		{ "errno", p->failure.err ? compat_errno_name(-p->failure.err) : "", 0 },
		{ "error", p->failure.error, 0 },
		{ "http_status", NULL, (uint64_t)p->failure.http_status },
		{ "request_id", p->failure.request_id, 0 },
		{ "next_try_seconds", NULL, delay_s },
	};

	char next[80] = "tried again by the next mount";

	if (good)
		snprintf(next, sizeof(next), "%s",
			 "not sent again by itself: write it again or set user.upload.publish");
	else if (!last)
		snprintf(next, sizeof(next), "%s in %llu s",
			 p->doubt.cancel == DOUBT_DONE ? "looked for again" : "next try",
			 (unsigned long long)delay_s);
	log_event(LOG_LVL_ERROR, fields, sizeof(fields) / sizeof(fields[0]) - last,
		  "%s/%s: not published: %s; the bytes are kept, %s", p->now.purpose, p->now.path,
		  p->failure.error, next);
}

static void fail(struct publish *p, int err, const char *text, const char *request_id,
		 int http_status)
{
	if (publish_is_unwanted(p)) {
		/* The look that follows ends it as dropped. */
		p->phase = PHASE_ENDED;
		p->outcome.kind = OUTCOME_FAILED;
		return;
	}
	publish_note_error(p, err, text, request_id);
	p->failure.http_status = http_status;
	p->phase = PHASE_FAILING;
}

void publish_end_failed(struct publish *p)
{
	uint64_t delay = p->pr->cfg.retry_first_s;
	int err;

	for (unsigned i = 0; i < p->retry.retries && delay < p->pr->cfg.retry_max_s; i++)
		delay *= 2;
	if (delay > p->pr->cfg.retry_max_s)
		delay = p->pr->cfg.retry_max_s;
	p->retry.due_ms = refused_for_good(p) ? 0 : clock_mono_ms() + delay * 1000;
	p->retry.retries++;
	log_failed(p, delay);
	p->phase = PHASE_ENDED;
	p->outcome.kind = OUTCOME_FAILED;
	/* "The bytes are kept" is told next. */
	err = publish_save_record(p, true);
	if (err && err != -ESTALE)
		log_error("%s/%s: a power cut may lose its bytes: %s", p->now.purpose, p->now.path,
			  strerror(-err));
	publish_finish(p, OUTCOME_FAILED);
}

void publish_fail(struct publish *p, int err, const char *text, const char *request_id)
{
	fail(p, err, text, request_id, 0);
}

/* Before the close a failure only stops streaming. */
bool publish_stream_fails(struct publish *p, const char *text)
{
	if (p->now.sealed && !p->now.held)
		return false;
	if (!publish_is_unwanted(p))
		log_info("%s/%s: sending while it is written failed (%s); it will be sent at "
			 "the close",
			 p->now.purpose, p->now.path, text);
	p->retry.stream_failed = true;
	publish_cancel_upload(p);
	return true;
}

void publish_fail_api(struct publish *p, const struct api_error *err)
{
	const struct publisher_config *cfg = &p->pr->cfg;
	enum errmap_call call = err == &p->failure.first_err ? p->failure.first_call : ERRMAP_WRITE;
	char text[sizeof(p->failure.error)];

	/* The phase leads to the same step again, with the new key. */
	if (err->http_status == 401 && cfg->renew_key && cfg->renew_key(cfg->renew_key_arg))
		return;
	errmap_text(err, call, text, sizeof(text));
	if (publish_stream_fails(p, text))
		return;
	refused_note(p, err);
	/*
	 * Keep the Upload if the server is unreachable, or refuses the key: its Parts save time
	 * later. An Upload in doubt is needed to end the doubt. Cancel any other, so that no Upload
	 * stays pending.
	 */
	if (err->kind != API_ERR_CONNECT && p->refused.kind < REFUSED_KEY && !p->doubt.unknown)
		publish_cancel_upload(p);
	fail(p, errmap(err, call), text, err->request_id, err->http_status);
}

void publish_fail_errno(struct publish *p, int err, const char *what)
{
	char text[sizeof(p->failure.error)];

	snprintf(text, sizeof(text), "%s: %s; check the disk of -o state_dir", what,
		 err == -ENODATA ? "it is shorter than what was written" : strerror(-err));
	publish_fail(p, err == -ENODATA ? -EIO : err, text, "");
}

void publish_fail_local(struct publish *p, int err, const char *what)
{
	if (publish_stream_fails(p, what))
		return;
	publish_cancel_upload(p);
	publish_fail_errno(p, err, what);
}

void publish_fail_memory(struct publish *p)
{
	publish_fail_local(p, -ENOMEM, "starting a request");
}

void publish_fail_damaged(struct publish *p)
{
	publish_cancel_upload(p);
	publish_fail(
		p, -EIO,
		"the staged file on disk is not what was written; check the disk, remove the file "
		"and copy it again",
		"");
}

void publish_fail_line(struct publish *p)
{
	char fault[JSONL_TEXT_SIZE] = "", text[sizeof(p->failure.error)];

	staged_fault(p->staged, fault);
	snprintf(text, sizeof(text),
		 "%s; mend it and write the file again, or set user.upload.check to none", fault);
	publish_cancel_upload(p);
	refused_note_lines(p);
	publish_fail(p, -EINVAL, text, "");
}

/*
 * The server's MD5 differs from ours, or it refused for another reason: check that the bytes on
 * disk are those that were written.
 */
void publish_verify(struct publish *p)
{
	p->phase = PHASE_VERIFYING;
	staged_rehash(p->staged);
}
