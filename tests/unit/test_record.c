/* record: round trip, hostile values, damage at every byte, atomic replacement. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/stage/record.h"
#include "net/base/digest.h"

static char dir[] = "/tmp/test_record.XXXXXX";
static int dirfd_;

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	close(dirfd_);
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *copy_of(const char *s)
{
	char *copy = s ? strdup(s) : NULL;

	assert_true(!s || copy);
	return copy;
}

static void fill(struct record *r, unsigned parts)
{
	char id[64];
	unsigned i;

	record_init(r);
	r->state = RECORD_COMPLETING;
	r->purpose = copy_of("fine-tune");
	r->path = copy_of("a dir/\nstate sealed\n%41 \xc3\xa4\xff\x01\x7f\t end ");
	r->filename = copy_of(" leading space");
	r->mime_type = copy_of("");
	r->size = 8ULL << 30;
	r->part_size = 64 << 20;
	r->part_block = 16 << 20;
	r->declared = UINT64_MAX;
	r->expires_after = 3600;
	r->upload_id = copy_of("upload_1");
	r->upload_bytes = 17;
	r->upload_created = INT64_MIN;
	r->md5 = copy_of("d41d8cd98f00b204e9800998ecf8427e");
	r->err = -5;
	r->error = copy_of("HTTP 500\r\n\"100%\"");
	r->mode = 0100644;
	r->uid = UINT32_MAX;
	r->gid = 7;
	r->mtime_s = -1;
	r->mtime_ns = 999999999;
	r->created_s = INT64_MAX;
	r->parts = calloc(parts, sizeof(*r->parts));
	r->superseded = calloc(parts, sizeof(*r->superseded));
	assert_true(!parts || (r->parts && r->superseded));
	for (i = 0; i < parts; i++) {
		snprintf(id, sizeof(id), "part %u\n%%", i);
		r->parts[i].index = UINT32_MAX - i;
		r->parts[i].id = copy_of(id);
		r->superseded[i] = copy_of(id + 5);
	}
	r->part_count = r->superseded_count = parts;
}

static void same_string(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_true(a == b);
}

static void same(const struct record *a, const struct record *b)
{
	size_t i;

	assert_int_equal(a->state, b->state);
	same_string(a->purpose, b->purpose);
	same_string(a->path, b->path);
	same_string(a->filename, b->filename);
	same_string(a->mime_type, b->mime_type);
	assert_true(a->size == b->size && a->part_size == b->part_size);
	assert_true(a->part_block == b->part_block);
	assert_true(a->declared == b->declared && a->expires_after == b->expires_after);
	same_string(a->upload_id, b->upload_id);
	assert_true(a->upload_bytes == b->upload_bytes && a->upload_created == b->upload_created);
	same_string(a->md5, b->md5);
	same_string(a->file_id, b->file_id);
	assert_int_equal(a->err, b->err);
	same_string(a->error, b->error);
	same_string(a->request_id, b->request_id);
	assert_true(a->mode == b->mode && a->uid == b->uid && a->gid == b->gid);
	assert_true(a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns);
	assert_true(a->created_s == b->created_s);
	assert_int_equal(a->part_count, b->part_count);
	for (i = 0; i < a->part_count; i++) {
		assert_int_equal(a->parts[i].index, b->parts[i].index);
		same_string(a->parts[i].id, b->parts[i].id);
	}
	assert_int_equal(a->superseded_count, b->superseded_count);
	for (i = 0; i < a->superseded_count; i++)
		same_string(a->superseded[i], b->superseded[i]);
}

static void round_trip(const struct record *r, bool durable)
{
	struct record back;

	assert_int_equal(record_save(dirfd_, "x.rec", r, durable), 0);
	assert_int_equal(record_load(dirfd_, "x.rec", &back), 0);
	same(r, &back);
	record_release(&back);
}

static void test_round_trip(void **state)
{
	unsigned parts[] = { 0, 1, 2, 3, 128, 1000 }, i;
	struct record r;

	(void)state;
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		fill(&r, parts[i]);
		round_trip(&r, i % 2);
		record_release(&r);
	}
	record_release(&r);
}

static void test_every_state_and_byte(void **state)
{
	struct record r;
	char path[256];
	int i;

	(void)state;
	for (i = 1; i < 256; i++)
		path[i - 1] = (char)i;
	path[255] = '\0';
	for (i = RECORD_WRITING; i <= RECORD_REMOVED; i++) {
		record_init(&r);
		r.state = (enum record_state)i;
		r.purpose = copy_of("");
		r.path = copy_of(path);
		r.file_id = copy_of("file-1");
		r.request_id = copy_of("req");
		round_trip(&r, false);
		record_release(&r);
	}
}

static char *slurp(const char *name, size_t *ret_len)
{
	int fd = openat(dirfd_, name, O_RDONLY);
	char *data = malloc(1 << 20);
	ssize_t n;

	assert_true(fd >= 0 && data);
	n = read(fd, data, 1 << 20);
	assert_true(n > 0 && n < 1 << 20);
	close(fd);
	*ret_len = (size_t)n;
	return data;
}

static void spit(const char *name, const char *data, size_t len)
{
	int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void test_damage(void **state)
{
	struct record r, before;
	size_t len, i;
	char *data;

	(void)state;
	fill(&r, 2);
	assert_int_equal(record_save(dirfd_, "x.rec", &r, false), 0);
	record_release(&r);
	data = slurp("x.rec", &len);
	memset(&r, 0x5a, sizeof(r));
	before = r;
	for (i = 0; i < len; i++) {
		spit("torn.rec", data, i);
		assert_int_equal(record_load(dirfd_, "torn.rec", &r), -EBADMSG);
		data[i] ^= 1 << (i % 8);
		spit("torn.rec", data, len);
		assert_int_equal(record_load(dirfd_, "torn.rec", &r), -EBADMSG);
		data[i] ^= 1 << (i % 8);
	}
	data[len] = '\n';
	spit("torn.rec", data, len + 1);
	assert_int_equal(record_load(dirfd_, "torn.rec", &r), -EBADMSG);
	/* What a file system gives for a file whose blocks never arrived. */
	memset(data, 0, len);
	spit("torn.rec", data, len);
	assert_int_equal(record_load(dirfd_, "torn.rec", &r), -EBADMSG);
	assert_memory_equal(&r, &before, sizeof(r));
	free(data);
}

/* Writes body with a right seal, as a later version or a bug of ours could. */
static int load_sealed(const char *body, size_t len, struct record *ret)
{
	char hex[DIGEST_HEX_SIZE], *all = malloc(len + 64);
	struct digest *d = digest_new();
	int n;

	assert_true(all && d);
	assert_int_equal(digest_update(d, body, len), 0);
	assert_int_equal(digest_hex(d, hex), 0);
	digest_free(d);
	memcpy(all, body, len);
	n = snprintf(all + len, 64, "seal %s\n", hex);
	spit("made.rec", all, len + (size_t)n);
	free(all);
	return record_load(dirfd_, "made.rec", ret);
}

#define HEAD "uploadfs-record 1\nstate sealed\npurpose p\npath f\nsize 1\npart_size 2\n"

static void test_other_versions(void **state)
{
	static const char good[] = HEAD "colour blue\nparts 7\npart 3 a\nempty \n";
	static const char *const bad[] = {
		"uploadfs-record 2\nstate sealed\npurpose p\npath f\nsize 1\npart_size 2\n",
		"uploadfs-record 1\npurpose p\npath f\nsize 1\npart_size 2\n",
		"uploadfs-record 1\nstate sealed\npath f\nsize 1\npart_size 2\n",
		"uploadfs-record 1\nstate sealed\npurpose p\nsize 1\npart_size 2\n",
		"uploadfs-record 1\nstate sealed\npurpose p\npath f\npart_size 2\n",
		"uploadfs-record 1\nstate sealed\npurpose p\npath f\nsize 1\n",
		"uploadfs-record 1\nstate dancing\npurpose p\npath f\nsize 1\npart_size 2\n",
		"uploadfs-record 1\n",
		HEAD "size 2\n",
		HEAD "state sealed\n",
		HEAD "path g\n",
		HEAD "noblank\n",
		HEAD "\n",
		HEAD "unfinished line",
		HEAD "declared -1\n",
		HEAD "declared \n",
		HEAD "declared 1x\n",
		HEAD "declared  1\n",
		HEAD "declared 18446744073709551616\n",
		HEAD "mode 4294967296\n",
		HEAD "err 2147483648\n",
		HEAD "err -\n",
		HEAD "err --1\n",
		HEAD "mtime_s 9223372036854775808\n",
		HEAD "mtime_s -9223372036854775809\n",
		HEAD "md5 %\n",
		HEAD "md5 %4\n",
		HEAD "md5 %zz\n",
		HEAD "md5 a%00b\n",
		HEAD "part 3\n",
		HEAD "part x y\n",
		HEAD "part 4294967296 y\n",
		HEAD "part 1 %0\n",
		HEAD "superseded a\nsuperseded %\n",
	};
	struct record r;
	size_t i;

	(void)state;
	assert_int_equal(load_sealed(good, sizeof(good) - 1, &r), 0);
	assert_int_equal(r.state, RECORD_SEALED);
	assert_int_equal(r.part_count, 1);
	assert_int_equal(r.parts[0].index, 3);
	assert_string_equal(r.parts[0].id, "a");
	record_release(&r);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (load_sealed(bad[i], strlen(bad[i]), &r) != -EBADMSG)
			fail_msg("taken for good: %s", bad[i]);
	/* A NUL would hide what follows it. */
	assert_int_equal(load_sealed(HEAD "\0md5 x\n", sizeof(HEAD "\0md5 x\n") - 1, &r), -EBADMSG);
}

static void test_bound(void **state)
{
	size_t len = (16 << 20) + 100;
	char *body = malloc(len);
	struct record r;

	(void)state;
	assert_non_null(body);
	memset(body, 'x', len);
	memcpy(body, HEAD "error ", sizeof(HEAD "error ") - 1);
	body[len - 1] = '\n';
	assert_int_equal(load_sealed(body, len, &r), -EBADMSG);
	/* Just below the bound it is good. */
	len = (16 << 20) - 100;
	body[len - 1] = '\n';
	assert_int_equal(load_sealed(body, len, &r), 0);
	record_release(&r);
	fill(&r, 0);
	free(r.error);
	body[len - 1] = '\0';
	r.error = body;
	assert_int_equal(record_save(dirfd_, "big.rec", &r, false), -EMSGSIZE);
	assert_int_equal(faccessat(dirfd_, "big.rec", F_OK, 0), -1);
	record_release(&r);
}

static void test_not_a_file(void **state)
{
	struct record r;

	(void)state;
	assert_int_equal(record_load(dirfd_, "none.rec", &r), -ENOENT);
	assert_int_equal(mkfifoat(dirfd_, "fifo.rec", 0600), 0);
	assert_int_equal(record_load(dirfd_, "fifo.rec", &r), -EBADMSG);
	assert_int_equal(symlinkat("x.rec", dirfd_, "link.rec"), 0);
	assert_int_equal(record_load(dirfd_, "link.rec", &r), -EBADMSG);
	assert_int_equal(mkdirat(dirfd_, "dir.rec", 0700), 0);
	assert_int_equal(record_load(dirfd_, "dir.rec", &r), -EBADMSG);
}

/* Saving fails: the former record stands, and no temporary file is left. */
static void test_failing_save(void **state)
{
	struct record r, back;
	char *kept;

	(void)state;
	fill(&r, 1);
	assert_int_equal(record_save(dirfd_, "keep.rec", &r, true), 0);
	kept = r.purpose;
	r.purpose = NULL;
	assert_int_equal(record_save(dirfd_, "keep.rec", &r, true), -EINVAL);
	r.purpose = kept;
	assert_int_equal(record_save(dirfd_, "a/b", &r, true), -EINVAL);
	assert_int_equal(record_save(-1, "keep.rec", &r, true), -EBADF);
	/* A directory in the way of the rename. */
	assert_int_equal(mkdirat(dirfd_, "wall.rec", 0700), 0);
	assert_int_equal(record_save(dirfd_, "wall.rec", &r, false), -EISDIR);
	assert_int_equal(faccessat(dirfd_, "wall.rec.tmp", F_OK, 0), -1);
	/* A torn temporary file of a former life. */
	spit("keep.rec.tmp", "uploadfs-rec", 12);
	assert_int_equal(record_load(dirfd_, "keep.rec", &back), 0);
	same(&r, &back);
	record_release(&back);
	r.err = -28;
	assert_int_equal(record_save(dirfd_, "keep.rec", &r, true), 0);
	assert_int_equal(record_load(dirfd_, "keep.rec", &back), 0);
	same(&r, &back);
	record_release(&back);
	record_release(&r);
}

/* ---- two slots ---- */

static ino_t ino_of(const char *name, off_t *ret_size)
{
	struct stat st;

	assert_int_equal(fstatat(dirfd_, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	*ret_size = st.st_size;
	return st.st_ino;
}

static void save_at(const struct record *r, bool durable, struct record_place *place)
{
	struct record back;

	assert_int_equal(record_save_at(dirfd_, "s.rec", r, durable, place), 0);
	assert_int_equal(record_load(dirfd_, "s.rec", &back), 0);
	same(r, &back);
	assert_true(back.serial == place->serial);
	record_release(&back);
}

/* The first durable save makes the file; those that follow write into it. */
static void test_slots(void **state)
{
	struct record_place place = { 0 };
	struct record r;
	ino_t first, ino;
	off_t size;

	(void)state;
	fill(&r, 2);
	save_at(&r, false, &place);
	ino = ino_of("s.rec", &size);
	assert_true(size < 4096);
	save_at(&r, true, &place);
	first = ino_of("s.rec", &size);
	assert_true(first != ino && size == 8192);
	for (int i = 0; i < 5; i++) {
		r.err = i;
		save_at(&r, true, &place);
		assert_true(ino_of("s.rec", &size) == first && size == 8192);
	}
	/* One that is not durable leaves nothing that a slot could rely on. */
	save_at(&r, false, &place);
	ino = ino_of("s.rec", &size);
	assert_true(ino != first && size < 4096);
	r.err = 7;
	save_at(&r, true, &place);
	assert_true(ino_of("s.rec", &size) != ino && size == 8192);
	/* Somebody took it away: it is made anew. */
	assert_int_equal(unlinkat(dirfd_, "s.rec", 0), 0);
	save_at(&r, true, &place);
	assert_int_equal(record_save_at(dirfd_, "a/b", &r, true, &place), -EINVAL);
	record_release(&r);
}

/* Up to the last byte of a slot, and beyond it. */
static void test_slot_length(void **state)
{
	struct record_place place = { 0 };
	struct record r;
	char error[4200];
	size_t len;
	off_t size, text = 0;

	(void)state;
	fill(&r, 0);
	free(r.error);
	r.error = error;
	memset(error, 'x', sizeof(error));
	for (len = 3000; text < 4100; len++) {
		error[len] = '\0';
		save_at(&r, true, &place);
		ino_of("s.rec", &size);
		r.serial = place.serial;
		assert_int_equal(record_save(dirfd_, "text.rec", &r, false), 0);
		ino_of("text.rec", &text);
		assert_true(size == (text < 4096 ? 8192 : text));
		error[len] = 'x';
	}
	r.error = NULL;
	save_at(&r, true, &place);
	record_release(&r);
}

/* Whatever part of a slot was written when the power went: the former record or the new one. */
static void test_torn_slot(void **state)
{
	struct record_place place = { 0 };
	struct record r, back;
	char *before, *after;
	size_t len;

	(void)state;
	fill(&r, 1);
	for (r.err = 0; r.err < 4; r.err++)
		save_at(&r, true, &place);
	before = slurp("s.rec", &len);
	save_at(&r, true, &place);
	after = slurp("s.rec", &len);
	assert_int_equal(len, 8192);
	for (size_t i = 0; i < 4096; i += 7) {
		memcpy(before, after, i);
		spit("torn.rec", before, len);
		assert_int_equal(record_load(dirfd_, "torn.rec", &back), 0);
		assert_true(back.err == 3 || back.err == 4);
		record_release(&back);
	}
	/* Both of them, or a file that was cut, is damage. */
	after[20] ^= 1;
	spit("torn.rec", after, len);
	assert_int_equal(record_load(dirfd_, "torn.rec", &back), 0);
	assert_int_equal(back.err, 3);
	record_release(&back);
	after[4096 + 20] ^= 1;
	spit("torn.rec", after, len);
	assert_int_equal(record_load(dirfd_, "torn.rec", &back), -EBADMSG);
	after[4096 + 20] ^= 1;
	for (size_t i = 0; i < len; i += 61) {
		spit("torn.rec", after, i);
		assert_int_equal(record_load(dirfd_, "torn.rec", &back), -EBADMSG);
	}
	/* Nothing stands behind a text. */
	after[20] ^= 1;
	after[4095] = 'x';
	after[8191] = 'x';
	spit("torn.rec", after, len);
	assert_int_equal(record_load(dirfd_, "torn.rec", &back), -EBADMSG);
	free(before);
	free(after);
	record_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_every_state_and_byte),
		cmocka_unit_test(test_damage),	     cmocka_unit_test(test_other_versions),
		cmocka_unit_test(test_bound),	     cmocka_unit_test(test_not_a_file),
		cmocka_unit_test(test_failing_save), cmocka_unit_test(test_slots),
		cmocka_unit_test(test_slot_length),  cmocka_unit_test(test_torn_slot),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
