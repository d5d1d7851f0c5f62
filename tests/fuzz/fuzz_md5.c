/*
 * net/digest, net/md5: messages in any pieces, side by side, have the MD5 that OpenSSL gives each.
 * The input is the plan, in pairs (message and length; an unknown message ends a round), and the
 * bytes.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/digest.h"
#include "net/base/md5.h"
#include "tests/fuzz/support.h"

#define MESSAGES 20

/* What message i got so far, in a buffer of just that size. */
struct message {
	struct digest *d;
	unsigned char *all;
	size_t len;
};

static void check_message(const struct message *m)
{
	char want[DIGEST_HEX_SIZE], got[DIGEST_HEX_SIZE];
	unsigned char md[EVP_MAX_MD_SIZE];

	must(EVP_Digest(m->all, m->len, md, NULL, EVP_md5(), NULL) == 1);
	for (int i = 0; i < 16; i++)
		snprintf(want + 2 * i, 3, "%02x", md[i]);
	must(digest_hex(m->d, got) == 0);
	must(!strcmp(got, want));
}

static void append(struct message *m, const uint8_t *data, size_t len)
{
	m->all = realloc(m->all, m->len + len + 1);
	must(m->all);
	memcpy(m->all + m->len, data, len);
	m->len += len;
}

/* One call: a piece for some messages, each in a buffer of its own. Returns the bytes used. */
static size_t round_of(struct message *m, const uint8_t *data, size_t size)
{
	struct digest_piece p[MESSAGES];
	bool has[MESSAGES] = { false };
	unsigned n = 0;
	size_t at = 0;

	for (; at + 2 <= size; at += 2) {
		size_t len = (size_t)data[at + 1] * 3, from = at % 7;
		unsigned i = data[at] & 31;
		uint8_t *copy;

		if (i >= MESSAGES || has[i])
			break;

		len = from + len > size ? size - from : len;
		copy = malloc(len + 1);
		must(copy);
		memcpy(copy, data + from, len);
		append(&m[i], copy, len);
		has[i] = true;
		p[n++] = (struct digest_piece){ m[i].d, copy, len };
	}
	must(digest_update_many(p, n) == 0);
	for (unsigned i = 0; i < n; i++)
		free((void *)p[i].data);
	return at ? at : 1;
}

/* Every way that this processor has, from the same bytes. */
static void check_ways(const uint8_t *data, size_t size)
{
	struct md5_lanes l, want;
	size_t n, blocks = size / MD5_BLOCK;
	const struct md5_way *w = md5_ways(&n);

	for (unsigned i = 0; i < MD5_LANES_MAX; i++)
		want.data[i] = data;
	memset(want.state, size & 255, sizeof(want.state));
	l = want;
	w[n - 1].run(&want, blocks);
	for (size_t k = 0; k + 1 < n; k++) {
		struct md5_lanes got = l;

		if (!w[k].usable())
			continue;
		w[k].run(&got, blocks);
		for (unsigned i = 0; i < w[k].lanes; i++)
			for (int j = 0; j < 4; j++)
				must(got.state[j][i] == want.state[j][0]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool chosen;
	struct digest_choice choice;
	struct message m[MESSAGES] = { 0 };

	if (!chosen)
		digest_choose(&choice);
	chosen = true;
	check_ways(data, size);
	for (int i = 0; i < MESSAGES; i++)
		must((m[i].d = digest_new()) != NULL);
	for (size_t at = 0, rounds = 0; at < size && rounds < 50; rounds++)
		at += round_of(m, data + at, size - at);
	for (int i = 0; i < MESSAGES; i++) {
		check_message(&m[i]);
		digest_free(m[i].d);
		free(m[i].all);
	}
	return 0;
}
