#include "fs/config/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/buf.h"
#include "net/base/log.h"

static struct buf *said; /* collects the messages, "; " between them; NULL: stderr */

int opts_fail(const char *fmt, ...)
{
	char raw[2048], text[4096];
	va_list ap;
	size_t i;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	/* A key may be given in the place of anything. */
	log_redact(text, sizeof(text), raw);
	/* Neutralise control bytes of arguments. */
	for (i = 0; text[i]; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
	if (said)
		buf_addf(said, "%s%s", said->len ? "; " : "", text);
	else
		fprintf(stderr, "uploadfs: %s\n", text);
	return -EINVAL;
}

void opts_say_to(struct buf *text)
{
	said = text;
}

int opts_note_origin(struct opts_origin *origins, const char *name, const char *where)
{
	struct opts_origin *o = origins;

	while (o->name && strcmp(o->name, name))
		o++;
	o->name = name;
	free(o->where);
	o->where = where ? strdup(where) : NULL;
	return where && !o->where ? -ENOMEM : 0;
}

const char *opts_origin(const struct opts_origin *origins, const char *name)
{
	for (; origins->name; origins++) {
		if (!strcmp(origins->name, name))
			return origins->where;
	}
	return NULL;
}

int opts_say_origin(const struct opts_origin *origins, const char *name, int rc)
{
	const char *where = rc == -EINVAL ? opts_origin(origins, name) : NULL;

	if (where)
		opts_fail("%s; see uploadfs.conf(5)", where);
	return rc;
}

void opts_forget_origins(struct opts_origin *origins)
{
	for (; origins->name; origins++) {
		free(origins->where);
		*origins = (struct opts_origin){ 0 };
	}
}
