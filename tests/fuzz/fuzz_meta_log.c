/* fs/meta_log: whatever stands in the log, a change that is added to it is the last one read. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/meta/log.h"
#include "tests/fuzz/support.h"

/* The sum over what of the line stands before it, as meta_log.h has it. */
static uint64_t sum_of(const struct buf *b, size_t from)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; from < b->len; from++)
		h = (h ^ (unsigned char)b->data[from]) * 0x100000001b3ULL;
	return h;
}

/* The input, with the right sum for each "$", so that it isn't the sum that refuses a line. */
static void put_summed(const uint8_t *data, size_t size)
{
	struct buf b = { .max = 1 << 24 };
	size_t line = 0;

	for (; size; size--, data++) {
		if (*data == '$')
			must(!buf_addf(&b, "%016" PRIx64, sum_of(&b, line)));
		else
			must(!buf_addc(&b, (char)*data));
		if (*data == '\n')
			line = b.len;
	}
	fuzz_put("meta", buf_str(&b), b.len);
	buf_release(&b);
}

static int note(void *arg, const struct meta_change *c, size_t line_size)
{
	must(line_size && c->a && (c->b || !c->attr.mtime_ns || c->attr.has_mtime));
	return buf_addf(arg, "%s %s %d %o %u %u %d %lld %u\n", c->a, c->b ? c->b : "-", c->set,
			c->attr.mode, c->attr.uid, c->attr.gid, c->attr.has_mtime,
			(long long)c->attr.mtime_s, c->attr.mtime_ns);
}

static void load(struct meta_log *l, struct buf *ret)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/meta", fuzz_dir());
	must(!meta_log_open(l, path, note, ret));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct meta_change c = {
		.a = "batch", .b = "a/\n%", .set = true, .attr = { .mode = 0750, .uid = 1 }
	};
	struct buf before = { .max = 1 << 24 }, after = { .max = 1 << 24 };
	struct meta_log l;
	size_t line_size;

	put_summed(data, size);
	load(&l, &before);
	must(!meta_log_append(&l, &c, &line_size));
	meta_log_close(&l);
	load(&l, &after);
	must(!l.torn);
	meta_log_close(&l);
	must(!note(&before, &c, line_size));
	must(before.len == after.len && !memcmp(before.data, after.data, after.len));
	fuzz_remove("meta");
	buf_release(&before);
	buf_release(&after);
	return 0;
}
