/*
 * The actions: calls to the API with their callbacks, and the ends. Publisher thread, but the
 * callbacks of net, which only post.
 */
#include "fs/publish/act.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/event.h"
#include "fs/publish/fail.h"
#include "fs/publish/observe.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/record.h"
#include "fs/publish/refused.h"
#include "fs/publish/strangers.h"
#include "fs/publish/upload.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

/* ---- callbacks: net thread ---- */

static void on_upload(void *arg, const struct api_error *err, const struct api_upload *up)
{
	struct publish_call *c = arg;
	struct event *ev = publish_call_reply(c, err);

	if (up && c->kind == EV_COMPLETED) {
		publish_event_file(ev, &up->file);
	} else if (up) {
		snprintf(ev->id, sizeof(ev->id), "%s", up->id);
		ev->bytes = up->bytes;
		ev->created_at = up->created_at;
		ev->expires_at = up->expires_at;
	}
	if (up)
		ev->upload_status = up->status;
	publish_post_reply(c, ev);
}

static void on_deleted(void *arg, const struct api_error *err)
{
	struct publish_call *c = arg;
	struct event *ev = publish_call_reply(c, err);

	memcpy(ev->id, c->file_id, sizeof(ev->id));
	publish_post_reply(c, ev);
}

void publish_act_create(struct publish *p, uint64_t size)
{
	struct publish_call *c = publish_call_new(p, EV_CREATED);
	struct api_upload_spec spec = { .bytes = size };

	publish_asks_no_more(p);
	if (c && publish_note_upload(p, size) == 0) {
		spec.filename = p->upload.filename;
		spec.purpose = p->upload.purpose;
		spec.mime_type = p->upload.mime;
		spec.expires_after_s = p->upload.expiry;
		publish_save_step(p);
		p->upload.create_req = api_upload_create(p->pr->cfg.api, &spec, on_upload, c);
	}
	if (p->upload.create_req) {
		p->phase = PHASE_CREATING;
		return;
	}
	if (c)
		publish_call_free(c);
	publish_fail_memory(p);
}

void publish_act_complete(struct publish *p)
{
	struct api_req *req = NULL;
	struct publish_call *c;
	const char **ids;
	int r;

	/* Bytes that did not reach the disk are tried once more, or fail: see ACT_SYNC. */
	if (staged_check(p->staged) || !publish_may_ask(p))
		return;
	ids = malloc(p->parts.count * sizeof(*ids));
	c = publish_call_new(p, EV_COMPLETED);
	if (!ids || !c)
		goto out;
	for (uint32_t i = 0; i < p->parts.count; i++)
		ids[i] = p->parts.v[i].id;
	p->phase = PHASE_COMPLETING;
	publish_note_strangers(p);
	p->upload.open_ms = p->upload.created_ms ? clock_mono_ms() - p->upload.created_ms : 0;
	/* Durable before complete: from here on the File may exist. */
	r = publish_save_record(p, true);
	if (r) {
		p->phase = PHASE_OPEN;
		free(ids);
		publish_call_free(c);
		publish_fail_local(p, r, "writing the record before complete");
		return;
	}
	req = api_upload_complete(p->pr->cfg.api, p->upload.id, ids, p->parts.count, p->md5,
				  p->upload.bytes, on_upload, c);
out:
	free(ids);
	if (!req) {
		if (c)
			publish_call_free(c);
		p->phase = PHASE_OPEN;
		publish_fail_memory(p);
	}
	api_req_unref(req);
}

void publish_act_probe(struct publish *p)
{
	struct publish_call *c = publish_call_new(p, EV_PROBED);
	struct api_req *req = NULL;

	/* The service would only refuse Parts that are still under way. */
	for (uint32_t i = 0; i < p->parts.count; i++)
		api_req_cancel(p->parts.v[i].req);
	p->phase = PHASE_PROBING;
	publish_save_step(p);
	if (c)
		req = api_upload_cancel(p->pr->cfg.api, p->upload.id, on_upload, c);
	if (!req) {
		if (c)
			publish_call_free(c);
		p->phase = PHASE_OPEN;
		publish_fail_memory(p);
	}
	api_req_unref(req);
}

/* Note and log the reason of an abort that a close or a write was told of. */
static void note_abort(struct publish *p)
{
	const char *next = "check the disk of -o state_dir";
	char text[sizeof(p->failure.error)];
	int err = p->now.abort_err;

	publish_note_error(p, 0, "", "");
	if (p->now.withdrawn) {
		p->failure.err = -ECANCELED;
		return;
	}
	/* An earlier close must not read this as success. */
	if (!err && p->now.sealed)
		err = -EIO;
	if (!err || publish_is_unwanted(p))
		return;
	if (err == -ENOSPC || err == -EDQUOT)
		next = "make room: see -o staging_size and the disk of -o state_dir";
	else if (err == -EFBIG)
		next = "split it: a File has at most 8 GiB";
	if (p->spoiled)
		snprintf(text, sizeof(text),
			 "not published: the daemon ended before these bytes were on stable "
			 "storage, and they are not those that were closed; write it again, remove "
			 "it, or set user.upload.publish to 1");
	else if (p->now.abort_write)
		snprintf(text, sizeof(text),
			 "not published: a write failed: %s; %s, and write it again",
			 strerror(-err), next);
	else
		snprintf(text, sizeof(text),
			 "not published: another writer was killed before its close; write it "
			 "again, remove it, or set user.upload.publish to 1");
	publish_note_error(p, err, text, "");
	log_error("%s/%s: %s", p->now.purpose, p->now.path, text);
}

void publish_act_end(struct publish *p, enum publish_outcome outcome)
{
	if (outcome == OUTCOME_ABORTED)
		note_abort(p);
	else
		publish_note_error(p, 0, "", "");
	p->phase = PHASE_ENDED;
	p->outcome.kind = outcome;
	p->outcome.emptied = false;
	/* Nobody was told of an abort without an error: the next mount aborts it anyway. */
	if (outcome != OUTCOME_DROPPED)
		publish_save_record(p, outcome != OUTCOME_ABORTED || p->failure.err);
	publish_finish(p, outcome);
}

/* The log line of a publication. */
static void log_published(const struct publish *p, uint64_t ms)
{
	const struct log_field fields[] = {
		{ "event", "published", 0 },	    { "purpose", p->upload.purpose, 0 },
		{ "path", p->upload.filename, 0 },  { "file_id", p->outcome.file_id, 0 },
		{ "upload_id", p->upload.id, 0 },   { "md5", p->md5, 0 },
		{ "bytes", NULL, p->upload.bytes }, { "parts", NULL, p->parts.count },
		{ "milliseconds", NULL, ms },	    { "retries", NULL, p->retry.again },
	};
	char parts[32] = "";

	if (p->parts.count) /* none: sent whole */
		snprintf(parts, sizeof(parts), " in %u part%s", p->parts.count,
			 p->parts.count == 1 ? "" : "s");
	log_event(LOG_LVL_INFO, fields, sizeof(fields) / sizeof(fields[0]),
		  "%s/%s: published as %s, %llu bytes%s, md5 %s, %llu ms after the close, %u "
		  "retries",
		  p->upload.purpose, p->upload.filename, p->outcome.file_id,
		  (unsigned long long)p->upload.bytes, parts, p->md5, (unsigned long long)ms,
		  p->retry.again);
}

static void end_completed(struct publish *p)
{
	uint64_t ms = clock_mono_ms() - p->sealed_ms;

	if (!p->outcome.unusable) {
		p->failure.err = 0;
		p->failure.error[0] = '\0';
	}
	publish_doubt_end(p);
	refused_clear(p);
	p->retry.retries = 0;
	if (p->now.dropped) {
		publish_act_end(p, OUTCOME_DROPPED);
		return;
	}
	if (p->outcome.unusable) {
		log_error("%s/%s: %s", p->upload.purpose, p->upload.filename, p->failure.error);
	} else if (p->outcome.news && !p->outcome.kept) {
		log_published(p, ms);
		hist_add(&p->pr->times, ms);
		atomic_fetch_add(&p->pr->bytes, p->upload.bytes);
	}
	publish_finish(p, OUTCOME_COMPLETED);
}

/*
 * True if a rename, or another wish for the File, came after the Upload was made, too late to give
 * it up.
 */
static bool changed_meanwhile(const struct publish *p)
{
	if (p->now.dropped)
		return false;
	if (p->now.renames != p->upload.renames &&
	    (strcmp(p->upload.filename, publish_filename(p)) != 0 ||
	     strcmp(p->upload.purpose, p->now.purpose) != 0))
		return true;
	return p->upload.expiry != p->now.expires_after ||
	       (p->now.mime && strcmp(p->upload.mime, p->now.mime) != 0);
}

static void send_anew(struct publish *p)
{
	/* Save while the record still names the File. */
	publish_save_step(p);
	if (publish_supersede(p, p->outcome.file_id))
		log_error("out of memory: %s stays as %s", p->outcome.file_id, p->upload.filename);
	p->outcome.file_id[0] = '\0';
	p->outcome.inferred = false;
	publish_forget_upload(p);
	p->phase = PHASE_IDLE;
}

/* The next File to delete: its own when dropped, else a superseded one. NULL: none. */
static const char *next_to_delete(const struct publish *p)
{
	/*
	 * The remover deletes the superseded Files, the one that was kept too, or leaves those of
	 * aborted bytes.
	 */
	if (p->now.dropped)
		return p->outcome.file_id[0] && !p->outcome.kept ? p->outcome.file_id : NULL;
	for (size_t k = 0; k < p->now.superseded_count; k++)
		if (!p->pr->cfg.keep_old ||
		    (!p->pr->cfg.no_delete && staged_moves(p->staged, p->now.superseded[k])))
			return p->now.superseded[k];
	return NULL;
}

static void end_cleanup(struct publish *p)
{
	if (p->outcome.emptied)
		publish_act_end(p, p->now.dropped ? OUTCOME_DROPPED : OUTCOME_EMPTY);
	else
		end_completed(p);
}

void publish_act_empty(struct publish *p)
{
	int r;

	if (!next_to_delete(p)) {
		publish_act_end(p, OUTCOME_EMPTY);
		return;
	}
	p->outcome.emptied = true;
	/* Save the empty file before the File it replaces is deleted. */
	r = publish_save_record(p, true);
	if (r) {
		p->outcome.emptied = false;
		publish_fail_errno(p, r, "writing the record of an empty file");
		return;
	}
	p->phase = PHASE_CLEANUP;
}

/* Durable before the File goes. Without a row nothing tells of it. 0 or negative errno. */
static int note_deletion(struct publish *p)
{
	int err;

	publish_save_step(p);
	err = staged_sync_record(p->staged);
	return err == -ENOENT || err == -ENODATA ? 0 : err;
}

/* Delete one File at a time; its reply leads back here. */
void publish_act_cleanup(struct publish *p)
{
	const char *id;
	struct publish_call *c;
	struct api_req *req;
	int err;

	if (!p->outcome.emptied && changed_meanwhile(p)) {
		send_anew(p);
		return;
	}
	id = next_to_delete(p);
	/* A crash would forget which File replaces it. */
	if (id && p->recorded.file_unsaved && publish_save_file(p)) {
		log_warn("%s/%s: the File it replaces, %s, is not deleted before the record of the "
			 "new one can be written",
			 p->now.purpose, p->now.path, id);
		id = NULL;
	}
	c = id ? publish_call_new(p, EV_DELETED) : NULL;
	if (!c) {
		end_cleanup(p);
		return;
	}
	snprintf(c->file_id, sizeof(c->file_id), "%s", id);
	p->phase = PHASE_DELETING;
	err = note_deletion(p);
	if (err) {
		log_warn("%s is not deleted before its record can be written: %s", id,
			 strerror(-err));
		publish_call_free(c);
		end_cleanup(p);
		return;
	}
	req = api_file_delete(p->pr->cfg.api, id, on_deleted, c);
	if (!req) {
		publish_call_free(c);
		end_cleanup(p);
	}
	api_req_unref(req);
}

/* A read error lasts as long as the seal: seal anew. No writer: the retry holds the publication. */
static void forget_read_error(struct publish *p)
{
	char hex[DIGEST_HEX_SIZE];
	int r = staged_md5(p->staged, hex);

	if (r && r != -EAGAIN && publish_sealed(p)) {
		staged_unseal(p->staged);
		staged_seal(p->staged);
	}
}

void publish_act_reopen(struct publish *p)
{
	bool retry = p->now.retry && !p->now.dropped && !p->now.aborted;

	p->now.retry = false;
	/* A writer reopened the file: the next look handles that. */
	if (retry && !publish_begin_retry(p))
		return;
	if (retry)
		forget_read_error(p);
	refused_begin_try(p, !p->retry.by_itself);
	p->retry.by_itself = false;
	p->sync.err = 0;
	p->sync.round++;
	/* An aborted file is published as it stands, and may have been written since. */
	if (p->outcome.kind == OUTCOME_ABORTED)
		publish_forget_bytes(p);
	p->outcome.kind = OUTCOME_NONE;
	p->retry.restarts = p->retry.bad_replies = 0;
	publish_budget_start(&p->retry.budget, clock_mono_ms());
	p->same.refused = false;
	p->retry.stream_failed = false;
	p->retry.due_ms = 0;
	p->phase = p->upload.id[0] ? PHASE_OPEN : PHASE_IDLE;
}
