/*
 * What the publisher learned of the service, and kept for later mounts.
 */
#include "fs/publish/service.h"

#include <errno.h>
#include <string.h>

#include "fs/publish/publisher_impl.h"
#include "fs/state/known.h"
#include "fs/state/learned.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/log.h"

/* The number is enum service_created: never change those. */
#define CREATED_AT "created_at"
/*
 * A service that dates a File by its completion gives the Upload's second by chance, less often the
 * longer the Upload was open: in e^-7 of the cases where those times add up to seven seconds.
 */
#define ENOUGH_MS 7000
#define ALONE_MS 2000 /* never by chance */

int publish_service_load(struct publisher *pr)
{
	int64_t n = CREATED_UNKNOWN;
	int r;

	if (!pr->cfg.db)
		return 0;
	r = learned_define(pr->cfg.db);
	if (!r)
		r = known_define(pr->cfg.db);
	if (!r)
		r = learned_get(pr->cfg.db, pr->cfg.service, CREATED_AT, &n);
	if (!r && (n == CREATED_WITH_UPLOAD || n == CREATED_LATER))
		pr->service.created_at = (enum service_created)n;
	return r == -ENOENT ? 0 : r;
}

void publish_service_note_date(struct publisher *pr, const struct api_error *err)
{
	if (!err->server_time)
		return;
	pr->service.date_s = err->server_time;
	pr->service.date_mono_ms = clock_mono_ms();
}

int64_t publish_service_time(const struct publisher *pr)
{
	if (!pr->service.date_s)
		return 0;
	return pr->service.date_s + (int64_t)((clock_mono_ms() - pr->service.date_mono_ms) / 1000);
}

void publish_service_note_created(struct publisher *pr, bool with_upload, uint64_t open_ms)
{
	enum service_created now = with_upload ? CREATED_WITH_UPLOAD : CREATED_LATER;
	int r = 0;

	/* One File with another time disproves all before it. */
	if (pr->service.created_at == CREATED_LATER || pr->service.created_at == now)
		return;
	if (with_upload) {
		pr->service.same_ms += open_ms >= ALONE_MS ? ENOUGH_MS : open_ms;
		if (pr->service.same_ms < ENOUGH_MS)
			return;
	}
	pr->service.created_at = now;
	if (pr->cfg.db)
		r = learned_set(pr->cfg.db, pr->cfg.service, CREATED_AT, now);
	if (r)
		log_warn("state.db: what was learned of the service is not kept: %s", strerror(-r));
}
