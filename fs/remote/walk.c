#include "fs/remote/walk.h"

#include <string.h>

#include "net/base/log.h"

#define LIMIT_MIN 20

void walk_begin(struct walk *w)
{
	w->pages = 0;
	w->mark_at = 1;
	w->mark[0] = '\0';
}

/*
 * Brent's way to find a circle: one place is kept, and replaced by that of page 1, 2, 4, 8, … A
 * circle of n pages is seen at the latest n pages after a mark within it.
 */
bool walk_goes_on(struct walk *w, const char *last_id)
{
	size_t len = strlen(last_id);

	if (!len || len >= sizeof(w->mark) || !strcmp(w->mark, last_id))
		return false;
	if (++w->pages == w->mark_at) {
		memcpy(w->mark, last_id, len + 1);
		w->mark_at *= 2;
	}
	return true;
}

bool walk_shrink(struct walk *w, unsigned *limit, const struct api_error *err)
{
	int status = err->kind == API_ERR_HTTP ? err->http_status : 0;
	unsigned smaller = *limit > 1000 ? 1000 : *limit > 100 ? 100 : LIMIT_MIN;

	if ((status != 400 && status != 413 && status != 422) || *limit <= LIMIT_MIN)
		return false;
	log_info("a page of %u Files is refused (HTTP %d): asking for %u", *limit, status, smaller);
	*limit = w->limit_max = smaller;
	return true;
}
