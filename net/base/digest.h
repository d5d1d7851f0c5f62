/*
 * digest: streaming MD5, and a keyed fingerprint. The only includer of OpenSSL.
 *
 * A struct digest is used by one thread at a time. Never blocks.
 * digest_copy() takes a snapshot, so that a later rewrite of earlier bytes
 * needs to hash again only from the snapshot on. digest_update_many() takes the
 * bytes of several messages side by side, in little more time than those of one.
 */
#ifndef UPLOADFS_NET_BASE_DIGEST_H
#define UPLOADFS_NET_BASE_DIGEST_H

#include <stddef.h>

#include "net/base/md5.h"

#define DIGEST_LANES_MAX MD5_LANES_MAX
#define DIGEST_SIZE 16	   /* bytes of an MD5 */
#define DIGEST_HEX_SIZE 33 /* 32 lower-case hex digits and NUL */

struct digest;

struct digest *digest_new(void);				   /* NULL: out of memory */
struct digest *digest_copy(const struct digest *d);		   /* NULL: out of memory */
void digest_free(struct digest *d);				   /* NULL is a no-op */
int digest_update(struct digest *d, const void *data, size_t len); /* 0 or -EIO */
/* What one message gets of digest_update_many(). */
struct digest_piece {
	struct digest *d; /* of this piece only */
	const void *data;
	size_t len;
};
/* digest_update() of each piece. 0 or -EIO. */
int digest_update_many(const struct digest_piece *pieces, unsigned count);
/* Messages that go side by side on this processor: 1, or up to DIGEST_LANES_MAX. */
unsigned digest_lanes(void);
/*
 * Measure for a few milliseconds whether OpenSSL or md5_single() is faster for one message, and use
 * that from now on; OpenSSL before. Once, before there are threads.
 */
struct digest_choice {
	const char *many, *one;	   /* names of the ways that are used */
	double openssl_ms, own_ms; /* for 1 MiB of one message */
};
void digest_choose(struct digest_choice *ret);

/* The digest of what was fed so far; d itself can be fed further. 0 or -EIO. */
int digest_hex(const struct digest *d, char ret_hex[DIGEST_HEX_SIZE]);

/* The first 128 bits of the HMAC-SHA256 of text, keyed with salt, as hex. 0 or -EIO. */
int digest_keyed(const char *salt, const char *text, char ret_hex[DIGEST_HEX_SIZE]);

/* Fills buf with random bytes from the system. 0 or negative errno. */
int digest_random(void *buf, size_t len);

#endif
