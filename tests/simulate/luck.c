/* Numbers from the seed, choices that can be left out, the trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulate/luck.h"

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define SKIPS 256

static uint64_t state[LUCKS];
static unsigned counts[CHOICES];
static struct {
	enum choice kind;
	unsigned from, to;
} skips[SKIPS];
static unsigned skip_count;

bool trace_loud;
uint64_t luck_digest;
char luck_failure[400];
jmp_buf luck_back;

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

void luck_start(uint64_t seed)
{
	for (unsigned i = 0; i < LUCKS; i++)
		state[i] = mix(seed * 0x9e3779b97f4a7c15ULL + (i + 1) * 0xd1342543de82ef95ULL);
	memset(counts, 0, sizeof(counts));
	luck_digest = 0;
}

uint64_t luck_bits(unsigned stream)
{
	state[stream] += 0x9e3779b97f4a7c15ULL;
	luck_digest = mix(luck_digest * 31 + stream + sim_ms);
	return mix(state[stream]);
}

unsigned luck_any(unsigned stream, unsigned n)
{
	return (unsigned)((luck_bits(stream) >> 32) * n >> 32);
}

bool luck_chance(unsigned stream, unsigned per_mille)
{
	return luck_any(stream, 1000) < per_mille;
}

bool choice_made(enum choice kind)
{
	unsigned n = counts[kind]++;

	for (unsigned i = 0; i < skip_count; i++)
		if (skips[i].kind == kind && n >= skips[i].from && n < skips[i].to)
			return false;
	return true;
}

void choice_skip(enum choice kind, unsigned from, unsigned to)
{
	if (skip_count == SKIPS)
		return;
	skips[skip_count].kind = kind;
	skips[skip_count].from = from;
	skips[skip_count++].to = to;
}

void choice_skip_clear(void)
{
	skip_count = 0;
}

unsigned choice_count(enum choice kind)
{
	return counts[kind];
}

void trace(const char *fmt, ...)
{
	char line[400];
	va_list ap;

	if (!trace_loud)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%7llu %10.3f %s\n", (unsigned long long)sim_steps,
		(double)(sim_ms % 100000000) / 1000, line);
}

void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(luck_failure, sizeof(luck_failure), fmt, ap);
	va_end(ap);
	trace("WRONG: %s", luck_failure);
	longjmp(luck_back, 1);
}

/* ---- the product's log: without its lock, so that a trace changes nothing ---- */

static void say(const char *fmt, va_list ap)
{
	char line[300];

	vsnprintf(line, sizeof(line), fmt, ap);
	trace("log: %s", line);
}

__attribute__((format(printf, 2, 3))) void __wrap_log_msg(int level, const char *fmt, ...)
{
	va_list ap;

	(void)level;
	if (!trace_loud)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

struct log_field;

__attribute__((format(printf, 4, 5))) void __wrap_log_event(int level,
							    const struct log_field *fields,
							    size_t count, const char *fmt, ...)
{
	va_list ap;

	(void)level, (void)fields, (void)count;
	if (!trace_loud)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}
