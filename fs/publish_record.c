/*
 * A publication as a record on disk, and back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish_impl.h"
#include "fs/record.h"
#include "fs/staging.h"
#include "net/clock.h"
#include "net/log.h"

static enum record_state state_now(const struct publish *p)
{
	if (p->phase == PHASE_ENDED) {
		switch (p->outcome) {
		case OUTCOME_COMPLETED:
			return RECORD_COMPLETED;
		case OUTCOME_EMPTY:
			return RECORD_EMPTY;
		case OUTCOME_ABORTED:
			return RECORD_ABORTED;
		default:
			return RECORD_FAILED;
		}
	}
	if (p->phase == PHASE_CLEANUP || p->phase == PHASE_DELETING)
		return RECORD_COMPLETED;
	if (p->phase == PHASE_COMPLETING || p->phase == PHASE_LOOKUP || p->complete_unknown)
		return RECORD_COMPLETING;
	if (p->now.aborted)
		return RECORD_ABORTED;
	if (!publish_sealed(p))
		return RECORD_WRITING;
	return p->now.held ? RECORD_HELD : RECORD_SEALED;
}

static struct record_part *parts_now(const struct publish *p, size_t *ret_n)
{
	struct record_part *v = calloc(p->part_count + 1, sizeof(*v));

	*ret_n = 0;
	for (uint32_t i = 0; v && i < p->part_count; i++) {
		const struct part *part = &p->parts[i];

		if (part->state != PART_SENT ||
		    part->version != staged_part_version(p->staged, i))
			continue;
		v[*ret_n].index = i;
		v[(*ret_n)++].id = part->id;
	}
	return v;
}

int publish_save_record(struct publish *p, bool durable)
{
	struct record r;	/* borrows all its strings */
	int err;

	if (p->now.dropped)
		return 0;
	record_init(&r);
	r.state = state_now(p);
	r.purpose = p->now.purpose;
	r.path = p->now.path;
	r.filename = p->upload_filename;
	r.mime_type = p->now.mime;
	r.size = staged_size(p->staged);
	r.part_size = p->pr->cfg.part_size;
	r.declared = p->now.declared;
	r.expires_after = p->now.expires_after;
	r.upload_id = p->upload_id[0] ? p->upload_id : NULL;
	r.upload_bytes = p->upload_bytes;
	r.upload_created = p->upload_created_wall;
	r.md5 = p->md5[0] ? p->md5 : NULL;
	r.file_id = p->file_id[0] ? p->file_id : NULL;
	r.superseded = p->now.superseded;
	r.superseded_count = p->now.superseded_count;
	r.err = p->err;
	r.error = p->error[0] ? p->error : NULL;
	r.request_id = p->request_id[0] ? p->request_id : NULL;
	r.mode = p->now.mode;
	r.uid = p->now.uid;
	r.gid = p->now.gid;
	r.created_s = clock_wall_s();
	r.parts = parts_now(p, &r.part_count);
	err = r.parts ? staged_save_record(p->staged, &r, durable) : -ENOMEM;
	free(r.parts);
	if (err)
		log_warn("%s/%s: its record could not be written: %s", p->now.purpose, p->now.path,
			 strerror(-err));
	return err;
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

/* Takes up the Upload and its Parts, if they can still be of use. */
static int load_upload(struct publish *p, const struct record *r)
{
	uint64_t now = clock_mono_ms();
	int64_t age = clock_wall_s() - r->upload_created;

	p->upload_bytes = r->upload_bytes;
	p->upload_created_wall = r->upload_created;
	p->upload_created_at = r->upload_created;
	if (copy(&p->upload_filename, r->filename ? r->filename : r->path) ||
	    copy(&p->upload_purpose, r->purpose))
		return -ENOMEM;
	if (!copy_id(p->upload_id, r->upload_id))
		return 0;
	p->part_count = publish_part_count(r->upload_bytes, r->part_size);
	p->parts = calloc(p->part_count + 1, sizeof(*p->parts));
	if (!p->parts)
		return -ENOMEM;
	p->phase = PHASE_OPEN;
	if (age < 0 || age >= API_UPLOAD_TTL_S || r->part_size != p->pr->cfg.part_size)
		p->upload_deadline_ms = 1;	/* long ago: cancel it, make a new one */
	else
		p->upload_deadline_ms = now + (uint64_t)(API_UPLOAD_TTL_S - age) * 1000;
	for (size_t i = 0; i < r->part_count; i++) {
		struct part *part = &p->parts[r->parts[i].index];

		if (r->parts[i].index >= p->part_count || !api_id_valid(r->parts[i].id))
			continue;
		if (copy(&part->id, r->parts[i].id))
			return -ENOMEM;
		part->state = PART_SENT;
		part->version = staged_part_version(p->staged, r->parts[i].index);
	}
	return 0;
}

static void load_state(struct publish *p, const struct record *r)
{
	switch (r->state) {
	case RECORD_WRITING:
	case RECORD_ABORTED:
		p->in.aborted = true;
		break;
	case RECORD_COMPLETING:
		p->complete_unknown = true;
		/* fall through */
	case RECORD_HELD:	/* its rename did not come in that life: published as it is named */
	case RECORD_SEALED:
	case RECORD_FAILED:
		p->in.sealed = true;
		p->info.under_way = true;
		break;
	case RECORD_COMPLETED:
		p->in.sealed = true;
		p->info.under_way = true;
		p->phase = PHASE_CLEANUP;
		break;
	case RECORD_EMPTY:
		p->in.sealed = true;
		p->info.under_way = true;
		break;
	}
}

int publish_load_record(struct publish *p, const struct record *r)
{
	int err = load_upload(p, r);

	if (err)
		return err;
	if (r->state == RECORD_COMPLETED && !copy_id(p->file_id, r->file_id))
		return -EBADMSG;
	p->in.declared = 0;	/* a declaration is for the writer of its time */
	p->in.expires_after = r->expires_after;
	err = copy(&p->in.mime, r->mime_type);
	for (size_t i = 0; !err && i < r->superseded_count; i++)
		if (api_id_valid(r->superseded[i]))
			err = publish_supersede(p, r->superseded[i]);
	if (r->md5 && strlen(r->md5) < sizeof(p->md5))
		memcpy(p->md5, r->md5, strlen(r->md5) + 1);
	if (err)
		return err;
	p->err = r->err;
	if (r->error)
		snprintf(p->error, sizeof(p->error), "%s", r->error);
	load_state(p, r);
	p->recorded = true;
	return 0;
}
