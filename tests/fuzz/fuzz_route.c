/* net/server/route, form: what a client asks for, from its request line and its form. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/server/form.h"
#include "net/server/route.h"
#include "tests/fuzz/support.h"

static void check_route(const char *method, const char *path)
{
	struct route r = { .op = OP_NONE };
	int err = route_parse(method, path, &r);

	must(!err || err == -ENOENT || err == -EPERM);
	must(err || (r.op < OP_NONE && route_op_name(r.op)));
	must(err == -ENOENT || r.allow);
	must(err || strstr(r.allow, method));
	/* An id is one component of the path, whole. */
	if (!err && r.id[0]) {
		must(!strchr(r.id, '/') && strlen(r.id) < ROUTE_ID_SIZE);
		must(strstr(path, r.id));
	}
}

struct pairs {
	struct buf again; /* the pairs, written anew */
	size_t count;
};

static void escape(struct buf *b, const char *text)
{
	for (; *text; text++)
		must(!buf_addf(b, "%%%02X", (unsigned char)*text));
}

static int on_pair(void *arg, const char *name, char *value)
{
	struct pairs *p = arg;

	must(!p->count++ || !buf_addc(&p->again, '&'));
	escape(&p->again, name);
	must(!buf_addc(&p->again, '='));
	escape(&p->again, value);
	return 0;
}

/* What was read, written and read again, is the same. */
static void check_form(const char *text, size_t len)
{
	struct pairs one = { .again = { .max = 1 << 24 } }, two = { .again = { .max = 1 << 24 } };
	int err = form_each(text, len, on_pair, &one);

	must(!err || err == -EINVAL);
	if (!err && one.count) {
		must(!form_each(buf_str(&one.again), one.again.len, on_pair, &two));
		must(one.count == two.count && !strcmp(buf_str(&one.again), buf_str(&two.again)));
	}
	buf_release(&one.again);
	buf_release(&two.again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *eol = size ? memchr(data, '\n', size) : NULL;
	size_t head = eol ? (size_t)(eol - data) : size;
	char *line = fuzz_text(data, head), *path = strchr(line, ' ');

	/* "METHOD PATH\nFORM" */
	if (path) {
		*path++ = '\0';
		check_route(line, path);
	}
	if (eol)
		check_form((const char *)eol + 1, size - head - 1);
	free(line);
	return 0;
}
