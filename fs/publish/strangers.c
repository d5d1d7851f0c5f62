/*
 * Files that look like a publication's own and are not its own.
 */
#include "fs/publish/strangers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publication.h"
#include "fs/publish/publisher_impl.h"

int publish_note_stranger(struct publish *p, const char *file_id)
{
	struct doubt *d = &p->doubt;
	char **v = realloc(d->strangers, (d->stranger_count + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	d->strangers = v;
	v[d->stranger_count] = strdup(file_id);
	return v[d->stranger_count] ? (int)(d->stranger_count++, 0) : -ENOMEM;
}

/* Without memory the File stays a candidate. */
static void note_listed(void *arg, const char *file_id)
{
	publish_note_stranger(arg, file_id);
}

void publish_note_strangers(struct publish *p)
{
	const struct publisher_config *cfg = &p->pr->cfg;
	struct doubt *d = &p->doubt;

	if (d->unknown)
		return;
	while (d->stranger_count)
		free(d->strangers[--d->stranger_count]);
	if (cfg->each_listed)
		cfg->each_listed(cfg->is_known_arg, p->upload.purpose, p->upload.filename,
				 p->upload.bytes, note_listed, p);
}
