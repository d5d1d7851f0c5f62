#include "net/base/md5.h"

#include <endian.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif
#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/*
 * One body for all: P is a prefix. P_V is the vector type, P_LOAD() fills m[] with the 16 words of
 * a block, P_F to P_I are the functions of the four rounds, P_ROL rotates each lane. Macros, since
 * a function with vectors of one target is not inlined in a function of another.
 */
#define QUAD(P, f, s0, s1, s2, s3, w0, k0, w1, k1, w2, k2, w3, k3) \
	STEP(P, f, a, b, c, d, w0, k0, s0)                         \
	STEP(P, f, d, a, b, c, w1, k1, s1)                         \
	STEP(P, f, c, d, a, b, w2, k2, s2)                         \
	STEP(P, f, b, c, d, a, w3, k3, s3)

/* KEEP: what does not depend on b is added first, whatever the compiler thinks of the order. */
#define STEP(P, f, a, b, c, d, w, k, s) \
	a += m[w] + k##U;               \
	__asm__("" : "+" P##_KEEP(a));  \
	P##_##f(a, b, c, d);            \
	a = P##_ROL(a, s) + b;

#define ROUNDS(P)                                                                                 \
	QUAD(P, F, 7, 12, 17, 22, 0, 0xd76aa478, 1, 0xe8c7b756, 2, 0x242070db, 3, 0xc1bdceee)     \
	QUAD(P, F, 7, 12, 17, 22, 4, 0xf57c0faf, 5, 0x4787c62a, 6, 0xa8304613, 7, 0xfd469501)     \
	QUAD(P, F, 7, 12, 17, 22, 8, 0x698098d8, 9, 0x8b44f7af, 10, 0xffff5bb1, 11, 0x895cd7be)   \
	QUAD(P, F, 7, 12, 17, 22, 12, 0x6b901122, 13, 0xfd987193, 14, 0xa679438e, 15, 0x49b40821) \
	QUAD(P, G, 5, 9, 14, 20, 1, 0xf61e2562, 6, 0xc040b340, 11, 0x265e5a51, 0, 0xe9b6c7aa)     \
	QUAD(P, G, 5, 9, 14, 20, 5, 0xd62f105d, 10, 0x02441453, 15, 0xd8a1e681, 4, 0xe7d3fbc8)    \
	QUAD(P, G, 5, 9, 14, 20, 9, 0x21e1cde6, 14, 0xc33707d6, 3, 0xf4d50d87, 8, 0x455a14ed)     \
	QUAD(P, G, 5, 9, 14, 20, 13, 0xa9e3e905, 2, 0xfcefa3f8, 7, 0x676f02d9, 12, 0x8d2a4c8a)    \
	QUAD(P, H, 4, 11, 16, 23, 5, 0xfffa3942, 8, 0x8771f681, 11, 0x6d9d6122, 14, 0xfde5380c)   \
	QUAD(P, H, 4, 11, 16, 23, 1, 0xa4beea44, 4, 0x4bdecfa9, 7, 0xf6bb4b60, 10, 0xbebfbc70)    \
	QUAD(P, H, 4, 11, 16, 23, 13, 0x289b7ec6, 0, 0xeaa127fa, 3, 0xd4ef3085, 6, 0x04881d05)    \
	QUAD(P, H, 4, 11, 16, 23, 9, 0xd9d4d039, 12, 0xe6db99e5, 15, 0x1fa27cf8, 2, 0xc4ac5665)   \
	QUAD(P, I, 6, 10, 15, 21, 0, 0xf4292244, 7, 0x432aff97, 14, 0xab9423a7, 5, 0xfc93a039)    \
	QUAD(P, I, 6, 10, 15, 21, 12, 0x655b59c3, 3, 0x8f0ccc92, 10, 0xffeff47d, 1, 0x85845dd1)   \
	QUAD(P, I, 6, 10, 15, 21, 8, 0x6fa87e4f, 15, 0xfe2ce6e0, 6, 0xa3014314, 13, 0x4e0811a1)   \
	QUAD(P, I, 6, 10, 15, 21, 4, 0xf7537e82, 11, 0xbd3af235, 2, 0x2ad7d2bb, 9, 0xeb86d391)

#define KERNEL(name, P, target)                                             \
	target static void name(struct md5_lanes *l, size_t blocks)         \
	{                                                                   \
		const unsigned char *const *p = l->data;                    \
		P##_V a = *(P##_V *)l->state[0], b = *(P##_V *)l->state[1]; \
		P##_V c = *(P##_V *)l->state[2], d = *(P##_V *)l->state[3]; \
		P##_V m[16], a0, b0, c0, d0;                                \
		for (size_t at = 0; blocks--; at += MD5_BLOCK) {            \
			P##_LOAD(P, 0);                                     \
			P##_LOAD(P, 4);                                     \
			P##_LOAD(P, 8);                                     \
			P##_LOAD(P, 12);                                    \
			a0 = a;                                             \
			b0 = b;                                             \
			c0 = c;                                             \
			d0 = d;                                             \
			ROUNDS(P)                                           \
			a += a0;                                            \
			b += b0;                                            \
			c += c0;                                            \
			d += d0;                                            \
		}                                                           \
		*(P##_V *)l->state[0] = a;                                  \
		*(P##_V *)l->state[1] = b;                                  \
		*(P##_V *)l->state[2] = c;                                  \
		*(P##_V *)l->state[3] = d;                                  \
	}

/* The functions of MD5 without special instructions. G's halves are added, so that one is early. */
#define PLAIN_F(a, b, c, d) a += ((c ^ d) & b) ^ d
#define PLAIN_G(a, b, c, d) \
	a += c & ~d;        \
	a += b & d
#define PLAIN_H(a, b, c, d) a += (c ^ d) ^ b
#define PLAIN_I(a, b, c, d) a += (b | ~d) ^ c
#define PLAIN_ROL(a, s) ((a << s) | (a >> (32 - s)))

/*
 * Words w to w+3 of all lanes. Row i has 16 bytes of lane i, then of lane i+4, and so on; within
 * each 16 bytes the four rows are transposed.
 */
#define ROWS_LOAD(P, w)                                                  \
	do {                                                             \
		size_t from = at + 4 * (w);                              \
		P##_V r0 = P##_ROW(0), r1 = P##_ROW(1), r2 = P##_ROW(2); \
		P##_V r3 = P##_ROW(3), t0 = P##_LO32(r0, r1);            \
		P##_V t1 = P##_LO32(r2, r3), t2 = P##_HI32(r0, r1);      \
		P##_V t3 = P##_HI32(r2, r3);                             \
		m[w] = P##_LO64(t0, t1);                                 \
		m[w + 1] = P##_HI64(t0, t1);                             \
		m[w + 2] = P##_LO64(t2, t3);                             \
		m[w + 3] = P##_HI64(t2, t3);                             \
	} while (0)

static bool always(void)
{
	return true;
}

/* The next four words of the only lane. */
#define WORDS_LOAD(P, w)                                \
	do {                                            \
		m[w] = P##_WORD(at + 4 * (w));          \
		m[w + 1] = P##_WORD(at + 4 * (w) + 4);  \
		m[w + 2] = P##_WORD(at + 4 * (w) + 8);  \
		m[w + 3] = P##_WORD(at + 4 * (w) + 12); \
	} while (0)

static inline uint32_t word_at(const unsigned char *p)
{
	uint32_t word;

	memcpy(&word, p, sizeof(word));
	return le32toh(word);
}

/* One lane, any processor. */
#define SCALAR_V uint32_t
#define SCALAR_KEEP(a) "r"(a)
#define SCALAR_LOAD WORDS_LOAD
#define SCALAR_WORD(from) word_at(p[0] + (from))
#define SCALAR_F PLAIN_F
#define SCALAR_G PLAIN_G
#define SCALAR_H PLAIN_H
#define SCALAR_I PLAIN_I
#define SCALAR_ROL PLAIN_ROL
/* cppcheck-suppress legacyUninitvar */
KERNEL(run_scalar, SCALAR, )

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__))
typedef uint32_t v4 __attribute__((vector_size(16), may_alias));
#define FOUR_V v4
#define FOUR_LOAD ROWS_LOAD
#define FOUR_F PLAIN_F
#define FOUR_G PLAIN_G
#define FOUR_H PLAIN_H
#define FOUR_I PLAIN_I
#define FOUR_ROL PLAIN_ROL
#endif

#ifdef __x86_64__
#define PIECE(i) _mm_loadu_si128((const __m128i *)(p[i] + from))

#define FOUR_ROW(i) ((v4)PIECE(i))
#define FOUR_LO32(x, y) ((v4)_mm_unpacklo_epi32((__m128i)x, (__m128i)y))
#define FOUR_HI32(x, y) ((v4)_mm_unpackhi_epi32((__m128i)x, (__m128i)y))
#define FOUR_LO64(x, y) ((v4)_mm_unpacklo_epi64((__m128i)x, (__m128i)y))
#define FOUR_HI64(x, y) ((v4)_mm_unpackhi_epi64((__m128i)x, (__m128i)y))
#define FOUR_KEEP(a) "x"(a)
KERNEL(run_sse2, FOUR, )

typedef uint32_t v8 __attribute__((vector_size(32), may_alias));
#define AVX2_V v8
#define AVX2_KEEP(a) "x"(a)
#define AVX2_LOAD ROWS_LOAD
#define AVX2_ROW(i) ((v8)_mm256_inserti128_si256(_mm256_castsi128_si256(PIECE(i)), PIECE(i + 4), 1))
#define AVX2_LO32(x, y) ((v8)_mm256_unpacklo_epi32((__m256i)x, (__m256i)y))
#define AVX2_HI32(x, y) ((v8)_mm256_unpackhi_epi32((__m256i)x, (__m256i)y))
#define AVX2_LO64(x, y) ((v8)_mm256_unpacklo_epi64((__m256i)x, (__m256i)y))
#define AVX2_HI64(x, y) ((v8)_mm256_unpackhi_epi64((__m256i)x, (__m256i)y))
#define AVX2_F PLAIN_F
#define AVX2_G PLAIN_G
#define AVX2_H PLAIN_H
#define AVX2_I PLAIN_I
#define AVX2_ROL PLAIN_ROL
KERNEL(run_avx2, AVX2, __attribute__((target("avx2"))))

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

/* One instruction for each function of a round, chosen by the table of its results. */
typedef uint32_t v16 __attribute__((vector_size(64), may_alias));
#define AVX512_V v16
#define AVX512_KEEP(a) "v"(a)
#define AVX512_LOAD ROWS_LOAD
#define AVX512_PUT(x, i, n) _mm512_inserti32x4(x, PIECE(i), n)
#define AVX512_ROW(i)                                                                              \
	((v16)AVX512_PUT(AVX512_PUT(AVX512_PUT(_mm512_castsi128_si512(PIECE(i)), i + 4, 1), i + 8, \
				    2),                                                            \
			 i + 12, 3))
#define AVX512_LO32(x, y) ((v16)_mm512_unpacklo_epi32((__m512i)x, (__m512i)y))
#define AVX512_HI32(x, y) ((v16)_mm512_unpackhi_epi32((__m512i)x, (__m512i)y))
#define AVX512_LO64(x, y) ((v16)_mm512_unpacklo_epi64((__m512i)x, (__m512i)y))
#define AVX512_HI64(x, y) ((v16)_mm512_unpackhi_epi64((__m512i)x, (__m512i)y))
#define AVX512_TABLE(b, c, d, t) \
	((v16)_mm512_ternarylogic_epi32((__m512i)b, (__m512i)c, (__m512i)d, t))
#define AVX512_F(a, b, c, d) a += AVX512_TABLE(b, c, d, 0xca)
#define AVX512_G(a, b, c, d) a += AVX512_TABLE(b, c, d, 0xe4)
#define AVX512_H(a, b, c, d) a += AVX512_TABLE(b, c, d, 0x96)
#define AVX512_I(a, b, c, d) a += AVX512_TABLE(b, c, d, 0x39)
#define AVX512_ROL(a, s) ((v16)_mm512_rol_epi32((__m512i)a, s))
KERNEL(run_avx512, AVX512, __attribute__((target("avx512f"))))

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f");
}

/* The same for one message, in the lowest lane of a short register. */
#define SINGLE_V v4
#define SINGLE_KEEP(a) "v"(a)
#define SINGLE_LOAD WORDS_LOAD
#define SINGLE_WORD(from) ((v4)_mm_set1_epi32((int)word_at(p[0] + (from))))
#define SINGLE_TABLE(b, c, d, t) ((v4)_mm_ternarylogic_epi32((__m128i)b, (__m128i)c, (__m128i)d, t))
#define SINGLE_F(a, b, c, d) a += SINGLE_TABLE(b, c, d, 0xca)
#define SINGLE_G(a, b, c, d) a += SINGLE_TABLE(b, c, d, 0xe4)
#define SINGLE_H(a, b, c, d) a += SINGLE_TABLE(b, c, d, 0x96)
#define SINGLE_I(a, b, c, d) a += SINGLE_TABLE(b, c, d, 0x39)
#define SINGLE_ROL(a, s) ((v4)_mm_rol_epi32((__m128i)a, s))
KERNEL(run_single, SINGLE, __attribute__((target("avx512f,avx512vl"))))

static bool has_avx512vl(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
}

/* The same for eight: a register of 16 lanes takes half as much time again, half empty. */
#define EIGHT_V v8
#define EIGHT_KEEP(a) "v"(a)
#define EIGHT_LOAD ROWS_LOAD
#define EIGHT_ROW AVX2_ROW
#define EIGHT_LO32 AVX2_LO32
#define EIGHT_HI32 AVX2_HI32
#define EIGHT_LO64 AVX2_LO64
#define EIGHT_HI64 AVX2_HI64
#define EIGHT_TABLE(b, c, d, t) \
	((v8)_mm256_ternarylogic_epi32((__m256i)b, (__m256i)c, (__m256i)d, t))
#define EIGHT_F(a, b, c, d) a += EIGHT_TABLE(b, c, d, 0xca)
#define EIGHT_G(a, b, c, d) a += EIGHT_TABLE(b, c, d, 0xe4)
#define EIGHT_H(a, b, c, d) a += EIGHT_TABLE(b, c, d, 0x96)
#define EIGHT_I(a, b, c, d) a += EIGHT_TABLE(b, c, d, 0x39)
#define EIGHT_ROL(a, s) ((v8)_mm256_rol_epi32((__m256i)a, s))
KERNEL(run_eight, EIGHT, __attribute__((target("avx2,avx512f,avx512vl"))))

static bool has_eight(void)
{
	return has_avx2() && has_avx512vl();
}
#elif defined(FOUR_V)
#define FOUR_ROW(i) ((v4)vreinterpretq_u32_u8(vld1q_u8(p[i] + from)))
#define FOUR_LO32(x, y) ((v4)vzip1q_u32((uint32x4_t)x, (uint32x4_t)y))
#define FOUR_HI32(x, y) ((v4)vzip2q_u32((uint32x4_t)x, (uint32x4_t)y))
#define FOUR_LO64(x, y) ((v4)vzip1q_u64((uint64x2_t)x, (uint64x2_t)y))
#define FOUR_HI64(x, y) ((v4)vzip2q_u64((uint64x2_t)x, (uint64x2_t)y))
#define FOUR_KEEP(a) "w"(a)
KERNEL(run_neon, FOUR, )
#endif

static const struct md5_way ways[] = {
#ifdef __x86_64__
	{ "AVX-512", 16, has_avx512, run_avx512 },
	{ "AVX2", 8, has_avx2, run_avx2 },
	{ "SSE2", 4, always, run_sse2 },
	{ "AVX-512VL of 8", 8, has_eight, run_eight },
	{ "AVX-512VL", 1, has_avx512vl, run_single },
#elif defined(FOUR_V)
	{ "NEON", 4, always, run_neon },
#endif
	{ "scalar", 1, always, run_scalar },
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

const struct md5_way *md5_ways(size_t *ret_count)
{
	*ret_count = WAYS;
	return ways;
}

static const struct md5_way *first(unsigned most_lanes)
{
	const struct md5_way *w = ways;

	while (w->lanes > most_lanes || !w->usable())
		w++;
	return w;
}

const struct md5_way *md5_best(void)
{
	return first(MD5_LANES_MAX);
}

const struct md5_way *md5_single(void)
{
	return first(1);
}

/* The table has shorter registers later, and among those as long the faster ones. */
const struct md5_way *md5_for(unsigned count)
{
	const struct md5_way *ret = md5_best();

	if (count < 2)
		return md5_single();
	for (size_t i = 0; i < WAYS; i++)
		if (ways[i].lanes >= count && ways[i].usable())
			ret = &ways[i];
	return ret;
}
