/*
 * Write a publication to its record, and load it back.
 */
#include "fs/publish/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/inputs.h"
#include "fs/publish/observe.h"
#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"
#include "fs/publish/refused.h"
#include "fs/publish/strangers.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "fs/stage/file.h"
#include "net/base/clock.h"
#include "net/base/log.h"

static enum record_state state_now(const struct publish *p)
{
	bool ended = p->phase == PHASE_ENDED;

	if (p->now.dropped)
		return RECORD_REMOVED;
	if (p->outcome.emptied || (ended && p->outcome.kind == OUTCOME_EMPTY))
		return RECORD_EMPTY;
	if (p->phase == PHASE_CLEANUP || p->phase == PHASE_DELETING ||
	    (ended && p->outcome.kind == OUTCOME_COMPLETED))
		return RECORD_COMPLETED;
	if (p->phase == PHASE_COMPLETING || p->phase == PHASE_POSTING || p->phase == PHASE_LOOKUP)
		return RECORD_COMPLETING;
	if (p->now.aborted || (ended && p->outcome.kind == OUTCOME_ABORTED))
		return RECORD_ABORTED;
	/*
	 * Closed, but neither synced nor with an MD5 to compare it with: after a power cut nobody
	 * could tell its bytes from others.
	 */
	if (!publish_sealed(p) || (!p->md5_then[0] && !staged_synced(p->staged)))
		return RECORD_WRITING;
	if (p->doubt.unknown)
		return RECORD_COMPLETING;
	if (ended)
		return RECORD_FAILED;
	return p->now.held ? RECORD_HELD : RECORD_SEALED;
}

/* True if the File is to be deleted because its name was removed. */
static bool file_owed(const struct publish *p)
{
	return p->outcome.file_id[0] && !p->outcome.kept &&
	       (p->phase == PHASE_CLEANUP || p->phase == PHASE_DELETING);
}

static bool in_doubt(const struct publish *p)
{
	return p->doubt.unknown || p->phase == PHASE_COMPLETING || p->phase == PHASE_POSTING ||
	       p->phase == PHASE_LOOKUP;
}

bool publish_owes_service(const struct publish *p)
{
	/* upload.id may be set, but that Upload is dead. */
	if (p->phase == PHASE_ENDED && p->outcome.kind == OUTCOME_DROPPED)
		return p->abandoned.count;
	return p->upload.id[0] || p->abandoned.count || file_owed(p) || in_doubt(p);
}

static struct record_part *parts_now(const struct publish *p, size_t *ret_n)
{
	struct record_part *v = calloc(p->parts.count + 1, sizeof(*v));

	*ret_n = 0;
	for (uint32_t i = 0; v && i < p->parts.count; i++) {
		const struct part *part = &p->parts.v[i];

		if (part->state != PART_SENT || part->version != publish_part_version(p, i))
			continue;
		v[*ret_n].index = i;
		v[(*ret_n)++].id = part->id;
	}
	return v;
}

static char *unless_empty(char *s)
{
	return s[0] ? s : NULL;
}

/* The columns that in and the staged file decide. r borrows all its strings. */
static void put_inputs(const struct publish *p, const struct publish_inputs *in, struct record *r)
{
	r->purpose = in->purpose;
	r->path = in->path;
	r->mime_type = in->mime;
	r->size = staged_size(p->staged);
	r->part_size = p->pr->cfg.part_size;
	r->part_block = publish_part_block(p);
	r->expires_after = in->expires_after;
	r->check = in->check;
	r->superseded = in->superseded;
	r->superseded_count = in->superseded_count;
	r->mode = in->mode;
	r->uid = in->uid;
	r->gid = in->gid;
	r->created_s = clock_wall_s();
}

static void put_upload(struct publish *p, struct record *r)
{
	struct upload *u = &p->upload;

	r->filename = u->filename;
	r->upload_purpose = u->purpose;
	r->upload_mime = u->mime;
	r->upload_expiry = u->expiry;
	r->upload_id = unless_empty(u->id);
	r->upload_bytes = u->bytes;
	r->upload_created = u->created_wall;
	r->upload_created_at = u->created_at;
	r->abandoned = p->abandoned.ids;
	r->abandoned_count = p->abandoned.count;
}

static void put_outcome(struct publish *p, struct record *r)
{
	/* Of what was closed, never of what is on the disk: the next mount compares with it. */
	r->md5 = unless_empty(p->md5_then);
	r->file_id = unless_empty(p->outcome.file_id);
	if (p->now.dropped && !file_owed(p))
		r->file_id = NULL;
	/* The column tells what cancel did, too (doubt.h). */
	r->in_doubt = in_doubt(p)	    ? p->doubt.cancel ? p->doubt.cancel : DOUBT_UNASKED
		      : p->outcome.inferred ? DOUBT_INFERRED
					    : 0;
	r->err = p->failure.err;
	r->error = unless_empty(p->failure.error);
	r->request_id = unless_empty(p->failure.request_id);
	refused_save(p, r);
	if (!in_doubt(p))
		return;
	r->doubt_md5 = p->doubt.md5[0] ? (char *)p->doubt.md5 : r->md5;
	r->expires_at = p->upload.posted ? 0 : p->upload.expires_at;
	r->strangers = p->doubt.strangers;
	r->stranger_count = p->doubt.stranger_count;
}

static void warn_unwritten(const struct publish_inputs *in, int err)
{
	log_warn("%s/%s: its record could not be written: %s", in->purpose ? in->purpose : "",
		 in->path ? in->path : "", strerror(-err));
}

/* Under recorded.lock. */
static int save_record(struct publish *p)
{
	struct publish_inputs latest = { 0 };
	struct record r;
	int err = publish_copy_inputs(p, &latest);

	if (err)
		return err;
	err = -ENOMEM;
	record_init(&r);
	r.state = p->now.reopen || publish_reopening(p) ? RECORD_WRITING : state_now(p);
	put_inputs(p, &p->now, &r);
	/* A commit of the vfs side may have changed these since now was taken. */
	r.superseded = latest.superseded;
	r.superseded_count = latest.superseded_count;
	r.mime_type = latest.mime;
	r.expires_after = latest.expires_after;
	r.check = latest.check;
	r.declared = latest.declared;
	r.mode = latest.mode;
	r.uid = latest.uid;
	r.gid = latest.gid;
	put_upload(p, &r);
	put_outcome(p, &r);
	r.parts = parts_now(p, &r.part_count);
	if (r.parts)
		err = staged_save_record(p->staged, &r, false);
	free(r.parts);
	publish_inputs_release(&latest);
	if (err && err != -ESTALE)
		warn_unwritten(&p->now, err);
	return err;
}

int publish_save_record(struct publish *p, bool durable)
{
	int err;

	p->recorded.unsaved = p->recorded.md5_unsaved = false;
	if (p->recorded.removed)
		return 0;
	/*
	 * Under the lock from the decision to the write: never replace a newer record of writing.
	 */
	pthread_mutex_lock(&p->recorded.lock);
	p->recorded.untouched = false;
	err = save_record(p);
	pthread_mutex_unlock(&p->recorded.lock);
	/* Sync outside the lock: the disk is slow. */
	if (!err && durable)
		err = staged_sync_record(p->staged);
	return err;
}

void publish_note_step(struct publish *p)
{
	p->recorded.unsaved = true;
}

void publish_save_step(struct publish *p)
{
	if (!p->recorded.unsaved)
		return;
	publish_save_record(p, false);
	/*
	 * Several Parts take a while: meanwhile the row that names the Upload becomes durable, off
	 * this thread. Of the rest a power cut leaves Parts that are sent again.
	 */
	if (p->upload.id[0] && p->parts.count > 1 && !p->upload.sync_begun && p->pr->cfg.db) {
		p->upload.sync_begun = true;
		statedb_sync_soon(p->pr->cfg.db);
	}
}

void publish_save_md5(struct publish *p)
{
	/* The close that waits for the sync has it saved. */
	if (p->recorded.md5_unsaved && !(p->sync.under_way && publish_wants_durable(p)))
		publish_save_record(p, false);
}

int publish_save_file(struct publish *p)
{
	int err = publish_save_record(p, true);

	/* Its row is gone: so is what it replaces. */
	p->recorded.file_unsaved = err && err != -ESTALE;
	return p->recorded.file_unsaved ? err : 0;
}

void publish_forget_bytes(struct publish *p)
{
	p->md5[0] = p->md5_then[0] = '\0';
	if (p->spoiled)
		staged_compared(p->staged, true);
	p->unproven = p->spoiled = false;
}

/* Use the inputs alone: the rest belongs to the thread, which soon writes a whole record. */
int publish_save_writing(struct publish *p)
{
	struct publish_inputs in = { 0 };
	struct record r;
	int err = publish_copy_inputs(p, &in);

	record_init(&r);
	r.state = RECORD_WRITING;
	put_inputs(p, &in, &r);
	pthread_mutex_lock(&p->recorded.lock);
	p->recorded.untouched = false;
	if (!err)
		err = staged_save_writing(p->staged, &r);
	/*
	 * The disk may be full. Drop the former record: the next mount would show the changed bytes
	 * as the content of its File.
	 */
	if (err && err != -ESTALE)
		staged_drop_record(p->staged);
	pthread_mutex_unlock(&p->recorded.lock);
	if (err && err != -ESTALE)
		warn_unwritten(&in, err);
	publish_inputs_release(&in);
	return err == -ESTALE ? 0 : err;
}

static int copy(char **dst, const char *src)
{
	if (!src)
		return 0;
	*dst = strdup(src);
	return *dst ? 0 : -ENOMEM;
}

static bool copy_id(char *dst, const char *src)
{
	if (!src || !api_id_valid(src))
		return false;
	memcpy(dst, src, strlen(src) + 1);
	return true;
}

static int load_parts(struct publish *p, const struct record *r)
{
	p->parts.count = publish_part_count(p, r->upload_bytes);
	p->parts.v = calloc(p->parts.count + 1, sizeof(*p->parts.v));
	if (!p->parts.v)
		return -ENOMEM;
	p->parts.stray = true; /* as far as this daemon knows */
	for (size_t i = 0; i < r->part_count; i++) {
		uint32_t index = r->parts[i].index;

		if (index >= p->parts.count || p->parts.v[index].id ||
		    !api_id_valid(r->parts[i].id))
			continue;
		if (copy(&p->parts.v[index].id, r->parts[i].id))
			return -ENOMEM;
		p->parts.v[index].state = PART_SENT;
		p->parts.v[index].version = publish_part_version(p, index);
	}
	return 0;
}

/* The time (monotonic ms) after which the Upload's File appears no more. */
static uint64_t doubt_ends(uint64_t now, int64_t age, int64_t ttl)
{
	uint64_t whole = (uint64_t)ttl * 1000 + DOUBT_END_MS;

	/* A clock that was set back lengthens the wait. */
	if (age < 0)
		age = 0;
	return (uint64_t)age * 1000 >= whole ? now : now + whole - (uint64_t)age * 1000;
}

/* Take up the Upload, and its Parts if it still takes more. */
static int load_upload(struct publish *p, const struct record *r)
{
	const char *name = r->filename ? r->filename : r->path;
	uint64_t now = clock_mono_ms();
	int64_t age = clock_wall_s() - r->upload_created, ttl = API_UPLOAD_TTL_S;

	p->upload.bytes = r->upload_bytes;
	p->upload.created_wall = r->upload_created;
	p->upload.created_at = r->upload_created_at ? r->upload_created_at : r->upload_created;
	/* The wishes may have changed since the Upload was made. */
	p->upload.expiry = r->upload_purpose ? r->upload_expiry : r->expires_after;
	if (copy(&p->upload.filename, name) ||
	    copy(&p->upload.purpose, r->upload_purpose ? r->upload_purpose : r->purpose) ||
	    copy(&p->upload.mime, r->upload_mime ? r->upload_mime
				  : r->mime_type ? r->mime_type
						 : api_mime_type(name)))
		return -ENOMEM;
	/* Renamed since it was made, by a row that counts no renames. */
	p->upload.renames = p->in.renames + (strcmp(name, r->path) != 0 ||
					     strcmp(p->upload.purpose, r->purpose) != 0);
	if (r->expires_at > p->upload.created_at && r->expires_at - p->upload.created_at < 86400)
		ttl = r->expires_at - p->upload.created_at;
	p->upload.expires_at = p->upload.created_at + ttl;
	/* A cancel that was sent had an Upload. */
	p->upload.posted = !r->upload_bytes || (!r->upload_id && r->in_doubt <= DOUBT_UNASKED);
	/* A POST ended with its daemon, at the latest now. */
	p->doubt.ends_ms = p->upload.posted ? now + DOUBT_POST_MS : doubt_ends(now, age, ttl);
	if (!copy_id(p->upload.id, r->upload_id))
		return 0;
	p->phase = PHASE_OPEN;
	if (age < 0 || age >= API_UPLOAD_TTL_S || r->part_size != p->pr->cfg.part_size ||
	    r->part_block != publish_part_block(p) || r->upload_bytes > STAGED_SIZE_MAX) {
		p->upload.deadline_ms = 1; /* expired: cancel it, make a new one */
		return 0;
	}
	p->upload.deadline_ms = now + (uint64_t)(API_UPLOAD_TTL_S - age) * 1000;
	return load_parts(p, r);
}

static int load_doubt(struct publish *p, const struct record *r)
{
	uint32_t cancel = r->in_doubt;
	int err = 0;

	p->doubt.unknown = true;
	p->doubt.cancel =
		(cancel >= DOUBT_UNASKED && cancel <= DOUBT_REFUSED) || cancel == DOUBT_DONE
			? (enum doubt_cancel)cancel
			: DOUBT_UNASKED;
	/* No close waits any more: each try is one look. */
	if (cancel == DOUBT_DONE)
		p->retry.retries = 1;
	if (cancel == DOUBT_CANCELLED)
		p->doubt.settled_ms = clock_mono_ms() + DOUBT_SETTLE_MS;
	/* The bytes may have been written again since. */
	if (r->doubt_md5 && strlen(r->doubt_md5) < sizeof(p->doubt.md5)) {
		memcpy(p->doubt.md5, r->doubt_md5, strlen(r->doubt_md5) + 1);
		p->doubt.stale = !p->md5_then[0] || strcmp(p->md5_then, r->doubt_md5) != 0;
	}
	for (size_t i = 0; !err && i < r->stranger_count; i++)
		err = publish_note_stranger(p, r->strangers[i]);
	return err;
}

/* Take the file up as it is: nothing is left to do or to write. */
static void load_ended(struct publish *p, enum publish_outcome outcome)
{
	p->phase = PHASE_ENDED;
	p->outcome.kind = outcome;
	p->observed.info.under_way = false;
	p->recorded.untouched = true;
}

static int load_state(struct publish *p, const struct record *r)
{
	/* Without a File id, look for the File. */
	bool exists = r->state == RECORD_COMPLETED || r->state == RECORD_REMOVED;
	bool found = exists && copy_id(p->outcome.file_id, r->file_id);
	bool lost = r->state == RECORD_COMPLETING || r->state == RECORD_COMPLETED;
	bool stays = false;
	int err = 0;

	if (!found && (lost || r->in_doubt))
		err = load_doubt(p, r);
	else
		p->doubt.ends_ms = 0; /* a later Upload has its own end */
	p->outcome.inferred = found && r->in_doubt == DOUBT_INFERRED;

	switch (r->state) {
	case RECORD_WRITING:
	case RECORD_ABORTED:
		p->in.aborted = true;
		if (!publish_owes_service(p))
			load_ended(p, OUTCOME_ABORTED);
		break;
	case RECORD_REMOVED:
		p->in.dropped = true;
		if (found)
			p->phase = PHASE_CLEANUP;
		break;
	case RECORD_COMPLETING:
	case RECORD_COMPLETED:
		p->recorded.only_if_seen = r->copy && !found;
		if (found)
			p->phase = PHASE_CLEANUP;
		/* Announce only after the superseded Files are deleted. */
		p->outcome.news = found && p->in.superseded_count;
		/* fall through */
	case RECORD_HELD: /* its rename never came: publish under its name */
	case RECORD_SEALED:
	case RECORD_FAILED:
	case RECORD_EMPTY:
		p->in.sealed = true;
		stays = r->state == RECORD_FAILED && !p->doubt.unknown && refused_load(p, r);
		/* A power cut may have lost what was not synced: compare it first. */
		p->unproven = !r->synced && r->state != RECORD_EMPTY;
		/* Ignore `declared` unless the file was closed. */
		p->in.declared = r->declared;
		p->observed.info.under_way = true;
		free(p->in.hold_name);
		p->in.hold_name = NULL;
		if (r->state == RECORD_EMPTY && !publish_owes_service(p) &&
		    (!p->in.superseded_count || p->pr->cfg.keep_old))
			load_ended(p, OUTCOME_EMPTY);
		if (stays)
			load_ended(p, OUTCOME_FAILED);
		break;
	}
	return err;
}

static int load_abandoned(struct publish *p, const struct record *r)
{
	p->abandoned.ids = calloc(r->abandoned_count + 1, sizeof(*p->abandoned.ids));
	if (!p->abandoned.ids)
		return -ENOMEM;
	for (size_t i = 0; i < r->abandoned_count; i++) {
		if (!api_id_valid(r->abandoned[i]))
			continue;
		if (copy(&p->abandoned.ids[p->abandoned.count], r->abandoned[i]))
			return -ENOMEM;
		p->abandoned.count++;
	}
	p->abandoned.before = p->abandoned.count;
	p->abandoned.due = true;
	return 0;
}

int publish_load_record(struct publish *p, const struct record *r)
{
	int err = load_upload(p, r);

	if (err)
		return err;
	p->outcome.created_at = p->upload.created_at;
	p->in.expires_after = r->expires_after;
	p->in.check = r->check;
	err = copy(&p->in.mime, r->mime_type);
	for (size_t i = 0; !err && i < r->superseded_count; i++)
		if (api_id_valid(r->superseded[i]))
			err = publish_inputs_supersede(&p->in, r->superseded[i]);
	/* An unclosed record's MD5 is stale; bytes may still change. */
	if (r->md5 && strlen(r->md5) < sizeof(p->md5) && r->state != RECORD_WRITING &&
	    r->state != RECORD_ABORTED)
		memcpy(p->md5_then, r->md5, strlen(r->md5) + 1);
	if (!err)
		err = load_abandoned(p, r);
	if (err)
		return err;
	p->failure.err = r->err;
	if (r->error)
		snprintf(p->failure.error, sizeof(p->failure.error), "%s", r->error);
	if (r->request_id)
		snprintf(p->failure.request_id, sizeof(p->failure.request_id), "%s", r->request_id);
	p->recorded.begun = true;
	return load_state(p, r);
}
