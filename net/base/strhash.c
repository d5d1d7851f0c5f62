#include "net/base/strhash.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/digest.h"

static uint64_t process_key[2];

static uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static void rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

/* Up to eight bytes as a number, the first one lowest. */
static uint64_t word(const unsigned char *p, size_t n)
{
	uint64_t w = 0;

	while (n--)
		w = w << 8 | p[n];
	return w;
}

static void take(uint64_t v[4], uint64_t w)
{
	v[3] ^= w;
	rounds(v, 2);
	v[0] ^= w;
}

uint64_t strhash_keyed(const uint64_t key[2], const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
			  key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL };
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		take(v, le64toh(w));
	}
	take(v, word(p, left) | (uint64_t)len << 56);
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void make_key(void)
{
	/* Without random bytes the tables still work. */
	if (digest_random(process_key, sizeof(process_key))) {
		process_key[0] = clock_mono_ms();
		process_key[1] = (uintptr_t)&process_key ^ (uint64_t)clock_wall_s();
	}
}

uint64_t strhash_in(uint64_t context, const char *s)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t key[2];

	pthread_once(&once, make_key);
	key[0] = process_key[0] ^ context;
	key[1] = process_key[1];
	return strhash_keyed(key, s, strlen(s));
}

uint64_t strhash(const char *s)
{
	return strhash_in(0, s);
}
