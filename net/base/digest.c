#include "net/base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct digest {
	EVP_MD_CTX *ctx;
};

static struct digest *digest_alloc(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx) {
		free(d);
		return NULL;
	}
	return d;
}

struct digest *digest_new(void)
{
	struct digest *d = digest_alloc();

	if (!d)
		return NULL;
	if (EVP_DigestInit_ex(d->ctx, EVP_md5(), NULL) != 1) {
		digest_free(d);
		return NULL;
	}
	return d;
}

struct digest *digest_copy(const struct digest *d)
{
	struct digest *copy = digest_alloc();

	if (!copy)
		return NULL;
	if (EVP_MD_CTX_copy_ex(copy->ctx, d->ctx) != 1) {
		digest_free(copy);
		return NULL;
	}
	return copy;
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

int digest_update(struct digest *d, const void *data, size_t len)
{
	return EVP_DigestUpdate(d->ctx, data, len) == 1 ? 0 : -EIO;
}

int digest_hex(const struct digest *d, char ret_hex[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char md[EVP_MAX_MD_SIZE];
	struct digest *copy;
	unsigned int len = 0, i;
	int ok;

	/* Finishing destroys the state, and the caller may want to go on. */
	copy = digest_copy(d);
	if (!copy)
		return -ENOMEM;
	ok = EVP_DigestFinal_ex(copy->ctx, md, &len);
	digest_free(copy);
	if (ok != 1 || len != (DIGEST_HEX_SIZE - 1) / 2)
		return -EIO;
	for (i = 0; i < len; i++) {
		ret_hex[2 * i] = digits[md[i] >> 4];
		ret_hex[2 * i + 1] = digits[md[i] & 15];
	}
	ret_hex[2 * len] = '\0';
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
