/* net/server/multipart: a body is the same however it is cut into pieces. */
#include <stdlib.h>
#include <string.h>

#include "net/server/multipart.h"
#include "tests/fuzz/support.h"

static int on_begin(void *arg, const char *name, const char *filename)
{
	return buf_addf(arg, "[%zu:%s|%s|", strlen(name), name, filename ? filename : "none");
}

static int on_data(void *arg, const void *data, size_t len)
{
	must(len);
	return buf_add(arg, data, len);
}

static int on_end(void *arg)
{
	return buf_adds(arg, "|end]");
}

static const struct multipart_ops ops = { on_begin, on_data, on_end };

/* Feeds it by pieces of at most step bytes; *ret has what was understood, and the outcome. */
static bool feed(const char *type, const char *body, size_t len, size_t step, struct buf *ret)
{
	struct multipart *mp;
	size_t at, n;
	int rc = 0;

	if (multipart_new(type, &ops, ret, &mp))
		return false;
	for (at = 0; !rc && at < len; at += n) {
		n = len - at < step ? len - at : step;
		rc = multipart_feed(mp, body + at, n);
	}
	must(!buf_addf(ret, "\n%d %d", rc, rc ? 0 : multipart_finish(mp)));
	multipart_free(mp);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { .max = 1 << 22 }, cut = { .max = 1 << 22 };
	const uint8_t *eol = size ? memchr(data, '\n', size) : NULL;
	size_t head = eol ? (size_t)(eol - data) : size, step;
	const char *body = (const char *)data + head;
	char value[8], *type = fuzz_text(data, head);

	for (step = 1; step <= sizeof(value); step++)
		must(multipart_param(type, "boundary", value, step) || strlen(value) < step);
	if (feed(type, body, size - head, size + 1, &whole)) {
		for (step = 1; step < 40; step = step * 3 + 1) {
			buf_reset(&cut);
			must(feed(type, body, size - head, step, &cut));
			must(cut.len == whole.len && !memcmp(cut.data, whole.data, cut.len));
		}
	}
	free(type);
	buf_release(&whole);
	buf_release(&cut);
	return 0;
}
