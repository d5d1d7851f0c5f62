/* fs/record: what was read and is written reads back as the same record. */
#include <errno.h>
#include <string.h>

#include "fs/stage/record.h"
#include "net/base/digest.h"
#include "tests/fuzz/support.h"

#define MAGIC "uploadfs-record 1\n"

/* The input between the first and the last line, so that it isn't the MD5 that refuses it. */
static void put_sealed(const uint8_t *data, size_t size)
{
	struct digest *d = digest_new();
	struct buf b = { .max = 1 << 24 };
	char hex[DIGEST_HEX_SIZE];

	must(d);
	buf_adds(&b, MAGIC);
	buf_add(&b, data, size);
	must(!digest_update(d, b.data, b.len) && !digest_hex(d, hex));
	must(!buf_addf(&b, "seal %s\n", hex));
	fuzz_put("in", b.data, b.len);
	digest_free(d);
	buf_release(&b);
}

/* Reads one and writes it as the other; false when it is no record. */
static bool copy(const char *from, const char *to)
{
	struct record r;
	int rc = record_load(fuzz_dir_fd(), from, &r);

	must(rc == 0 || rc == -EBADMSG);
	if (rc)
		return false;
	must(r.purpose && r.path && r.state <= RECORD_REMOVED);
	must(!record_save(fuzz_dir_fd(), to, &r, false));
	record_release(&r);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf first = { .max = 1 << 24 }, second = { .max = 1 << 24 };
	bool good;

	/* As it is, and framed. */
	fuzz_put("in", data, size);
	good = copy("in", "first");
	put_sealed(data, size);
	good = copy("in", "first") || good;
	if (good) {
		must(copy("first", "second"));
		fuzz_get("first", &first);
		fuzz_get("second", &second);
		must(first.len == second.len && !memcmp(first.data, second.data, first.len));
	}
	fuzz_remove("in");
	fuzz_remove("first");
	fuzz_remove("second");
	buf_release(&first);
	buf_release(&second);
	return 0;
}
