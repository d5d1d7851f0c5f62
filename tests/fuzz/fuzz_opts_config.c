/* fs/opts_config: a file says what the same words say behind -o. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/config/draft.h"
#include "fs/config/file.h"
#include "fs/config/value.h"
#include "fs/config/words.h"
#include "tests/fuzz/support.h"

static void draft_init(struct opts_draft *d, struct opts *o)
{
	memset(o, 0, sizeof(*o));
	memset(d, 0, sizeof(*d));
	d->o = o;
	buf_init(&d->mount, 1 << 20);
}

static void draft_release(struct opts_draft *d)
{
	opts_release(d->o);
	opts_forget_origins(d->origins);
	buf_release(&d->mount);
}

static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	return text;
}

/* The lines of text as one argument of -o. */
static void join(char *text, struct buf *ret)
{
	char *line, *value;

	while ((line = strsep(&text, "\n"))) {
		line = trim(line);
		if (!*line || *line == '#')
			continue;
		must(!buf_addc(ret, ','));
		value = strchr(line, '=');
		if (value)
			*value++ = '\0';
		opts_escape(ret, trim(line));
		if (value) {
			must(!buf_addc(ret, '='));
			opts_escape(ret, trim(value));
		}
	}
}

/* Each refusal says why on stderr, twenty thousand times. */
static int read_quietly(struct opts_draft *d, const char *path)
{
	static FILE *null;
	FILE *kept = stderr;
	int rc;

	if (!null)
		null = fopen("/dev/null", "we");
	must(null);
	stderr = null;
	rc = opts_config(d, path);
	stderr = kept;
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[300], *text = fuzz_text(data, size);
	struct opts_draft file, line;
	struct opts file_opts, line_opts;
	struct buf arg = { .max = 1 << 22 };

	draft_init(&file, &file_opts);
	draft_init(&line, &line_opts);
	fuzz_put("conf", text, strlen(text));
	snprintf(path, sizeof(path), "%s/conf", fuzz_dir());
	if (!read_quietly(&file, path)) {
		join(text, &arg);
		must(!opts_words(&line, buf_str(&arg)));
		must(!strcmp(buf_str(&file.mount), buf_str(&line.mount)));
	}
	draft_release(&file);
	draft_release(&line);
	fuzz_remove("conf");
	free(text);
	buf_release(&arg);
	return 0;
}
