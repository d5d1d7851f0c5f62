#include "net/base/digest.h"

/* The state of MD5 has to be seen for lanes; EVP hides it. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct digest {
	MD5_CTX ctx;
};

static const struct md5_way *single; /* NULL: OpenSSL */

struct digest *digest_new(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (d)
		MD5_Init(&d->ctx);
	return d;
}

struct digest *digest_copy(const struct digest *d)
{
	struct digest *copy = malloc(sizeof(*copy));

	if (copy)
		*copy = *d;
	return copy;
}

void digest_free(struct digest *d)
{
	free(d);
}

unsigned digest_lanes(void)
{
	return md5_best()->lanes;
}

static void lane_load(struct md5_lanes *l, unsigned lane, const MD5_CTX *ctx, const void *data)
{
	l->state[0][lane] = ctx->A;
	l->state[1][lane] = ctx->B;
	l->state[2][lane] = ctx->C;
	l->state[3][lane] = ctx->D;
	l->data[lane] = data;
}

/* MD5 counts bits. */
static void lane_store(const struct md5_lanes *l, unsigned lane, MD5_CTX *ctx, size_t blocks)
{
	uint64_t bits = ((uint64_t)ctx->Nh << 32 | ctx->Nl) + blocks * MD5_BLOCK * 8ULL;

	ctx->A = l->state[0][lane];
	ctx->B = l->state[1][lane];
	ctx->C = l->state[2][lane];
	ctx->D = l->state[3][lane];
	ctx->Nl = (MD5_LONG)bits;
	ctx->Nh = (MD5_LONG)(bits >> 32);
}

static int update(MD5_CTX *ctx, const void *data, size_t len)
{
	return MD5_Update(ctx, data, len) == 1 ? 0 : -EIO;
}

/* Feed what is missing in a block that was begun. */
static int fill_block(struct digest_piece *p)
{
	size_t n = p->d->ctx.num ? MD5_BLOCK - p->d->ctx.num : 0;
	int rc;

	if (n > p->len)
		n = p->len;
	rc = n ? update(&p->d->ctx, p->data, n) : 0;
	p->data = (const char *)p->data + n;
	p->len -= n;
	return rc;
}

/* Feed `blocks` blocks of each piece. No more pieces than lanes. */
static void run_blocks(const struct md5_way *way, struct digest_piece *pieces, unsigned count,
		       size_t blocks)
{
	struct md5_lanes l;
	unsigned i;

	for (i = 0; i < way->lanes; i++)
		lane_load(&l, i, &pieces[i < count ? i : 0].d->ctx, pieces[i < count ? i : 0].data);
	way->run(&l, blocks);
	for (i = 0; i < count; i++) {
		lane_store(&l, i, &pieces[i].d->ctx, blocks);
		pieces[i].data = (const char *)pieces[i].data + blocks * MD5_BLOCK;
		pieces[i].len -= blocks * MD5_BLOCK;
	}
}

int digest_update(struct digest *d, const void *data, size_t len)
{
	struct digest_piece p = { d, data, len };
	int rc = 0;

	if (single && len >= 2 * MD5_BLOCK) {
		rc = fill_block(&p);
		run_blocks(single, &p, 1, p.len / MD5_BLOCK);
	}
	return rc || !p.len ? rc : update(&d->ctx, p.data, p.len);
}

/* Move the pieces with a whole block to the front; returns their number, and the fewest blocks. */
static unsigned sort_out(struct digest_piece *p, unsigned count, size_t *ret_blocks)
{
	struct digest_piece short_one;
	unsigned i, n = 0;

	*ret_blocks = SIZE_MAX;
	for (i = 0; i < count; i++) {
		if (p[i].len < MD5_BLOCK)
			continue;
		if (p[i].len / MD5_BLOCK < *ret_blocks)
			*ret_blocks = p[i].len / MD5_BLOCK;
		short_one = p[n];
		p[n++] = p[i];
		p[i] = short_one;
	}
	return n;
}

/* Of at most as many pieces as md5_best() has lanes. */
static int update_lanes(const struct digest_piece *pieces, unsigned count)
{
	struct digest_piece p[DIGEST_LANES_MAX];
	size_t blocks;
	unsigned i, n;
	int rc = 0;

	memcpy(p, pieces, count * sizeof(*p));
	for (i = 0; i < count && !rc; i++)
		rc = fill_block(&p[i]);
	while (!rc && (n = sort_out(p, count, &blocks)) > 1)
		run_blocks(md5_for(n), p, n, blocks);
	/* One is left, and what is less than a block. */
	for (i = 0; i < count && !rc; i++)
		rc = digest_update(p[i].d, p[i].data, p[i].len);
	return rc;
}

int digest_update_many(const struct digest_piece *pieces, unsigned count)
{
	unsigned n, lanes = digest_lanes();
	int rc = 0;

	for (; count && !rc; pieces += n, count -= n) {
		n = count < lanes ? count : lanes;
		rc = update_lanes(pieces, n);
	}
	return rc;
}

static double thread_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

#define TRIAL (64U << 10) /* bytes */

static double try_one(const struct md5_way *way, const unsigned char *data, double least)
{
	struct digest d;
	double took = thread_ms();

	single = way;
	MD5_Init(&d.ctx);
	digest_update(&d, data, TRIAL);
	took = (thread_ms() - took) * (1 << 20) / TRIAL;
	return took < least ? took : least;
}

void digest_choose(struct digest_choice *ret)
{
	static const unsigned char data[TRIAL];
	const struct md5_way *own = md5_single();

	*ret = (struct digest_choice){ md5_best()->name, "OpenSSL", 1e9, 1e9 };
	for (int i = 0; i < 12; i++) {
		ret->openssl_ms = try_one(NULL, data, ret->openssl_ms);
		ret->own_ms = try_one(own, data, ret->own_ms);
	}
	single = ret->own_ms < ret->openssl_ms * 0.97 ? own : NULL;
	if (single)
		ret->one = single->name;
}

int digest_hex(const struct digest *d, char ret_hex[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char md[MD5_DIGEST_LENGTH];
	struct digest copy =
		*d; /* finishing destroys the state, and the caller may want to go on */
	unsigned int i;

	if (MD5_Final(md, &copy.ctx) != 1)
		return -EIO;
	for (i = 0; i < sizeof(md); i++) {
		ret_hex[2 * i] = digits[md[i] >> 4];
		ret_hex[2 * i + 1] = digits[md[i] & 15];
	}
	ret_hex[2 * sizeof(md)] = '\0';
	return 0;
}

int digest_random(void *buf, size_t len)
{
	uint8_t *p = buf;
	ssize_t n;

	while (len) {
		n = getrandom(p, len, 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int digest_keyed(const char *salt, const char *text, char ret_hex[DIGEST_HEX_SIZE])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!HMAC(EVP_sha256(), salt, (int)strlen(salt), (const unsigned char *)text, strlen(text),
		  raw, &len) ||
	    len < (DIGEST_HEX_SIZE - 1) / 2)
		return -EIO;
	for (unsigned i = 0; i < (DIGEST_HEX_SIZE - 1) / 2; i++)
		snprintf(ret_hex + 2 * i, 3, "%02x", raw[i]);
	return 0;
}
