/*
 * malloc() by owner: what a daemon took is given back all at once when it is killed. Addresses are
 * the same in each run, and what was not written yet has the same bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <sys/mman.h>

#include "tests/simulate/sim.h"

#define ARENAS (ARENA_HOST + HOSTS)
#define AREA (4ULL << 30) /* of addresses */
#define BASE 0x100000000000ULL
#define SMALL 1024
#define CLASSES (SMALL / 16 + 32)
#define FILL_MAX 512

struct chunk {
	uint32_t class, pad; /* pad: bytes from the chunk's begin to this header */
	uint64_t size;
	struct chunk *next; /* where the caller's bytes begin: only of what is free */
};
#define HEAD 16

static struct area {
	unsigned char *at, *end;
	struct chunk *free[CLASSES];
} areas[ARENAS];
static unsigned current;

static unsigned char *begin_of(unsigned arena)
{
	return (unsigned char *)(BASE + arena * AREA);
}

static void map(unsigned arena)
{
	void *p = mmap(begin_of(arena), AREA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != begin_of(arena))
		abort();
	areas[arena].at = p;
	areas[arena].end = areas[arena].at + AREA;
}

static unsigned class_of(size_t size, size_t *ret_room)
{
	unsigned c = SMALL / 16;

	if (size <= SMALL) {
		*ret_room = size ? (size + 15) / 16 * 16 : 16;
		return (unsigned)(*ret_room / 16) - 1;
	}
	for (*ret_room = 2 * SMALL; *ret_room < size; *ret_room *= 2)
		c++;
	return c;
}

static void *take(size_t size)
{
	struct area *a = &areas[current];
	size_t room;
	unsigned class;
	struct chunk *c;

	if (size > AREA / 8) {
		errno = ENOMEM;
		return NULL;
	}
	class = class_of(size, &room);
	if (!a->at)
		map(current);
	c = a->free[class];
	if (c) {
		a->free[class] = c->next;
	} else {
		if (a->at + HEAD + room > a->end)
			abort();
		c = (struct chunk *)a->at;
		a->at += HEAD + room;
	}
	c->class = class;
	c->pad = 0;
	c->size = size;
	return (unsigned char *)c + HEAD;
}

static struct chunk *head_of(void *p)
{
	return (struct chunk *)((unsigned char *)p - HEAD);
}

static void *take_zeroed(size_t size)
{
	void *p = take(size);

	if (p)
		memset(p, 0, size);
	return p;
}

void *malloc(size_t size)
{
	void *p = take(size);

	if (p)
		memset(p, 0xa5, size < FILL_MAX ? size : FILL_MAX);
	return p;
}

void free(void *p)
{
	struct chunk *c;
	unsigned arena;

	if (!p)
		return;
	c = head_of(p);
	c = (struct chunk *)((unsigned char *)c - c->pad);
	arena = (unsigned)(((uint64_t)p - BASE) / AREA);
	c->next = areas[arena].free[c->class];
	areas[arena].free[c->class] = c;
}

void *calloc(size_t n, size_t size)
{
	if (size && n > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return take_zeroed(n * size);
}

void *realloc(void *p, size_t size)
{
	struct chunk *c;
	size_t room;
	void *q;

	if (!p)
		return malloc(size);
	if (!size) {
		free(p);
		return NULL;
	}
	c = head_of(p);
	if (!c->pad && class_of(size, &room) == c->class) {
		c->size = size;
		return p;
	}
	q = malloc(size);
	if (q) {
		memcpy(q, p, c->size < size ? c->size : size);
		free(p);
	}
	return q;
}

void *memalign(size_t align, size_t size)
{
	unsigned char *p, *q;
	struct chunk *c;

	if (align <= 16)
		return malloc(size);
	p = malloc(size + align + HEAD);
	if (!p)
		return NULL;
	q = (unsigned char *)(((uintptr_t)p + align - 1) / align * align);
	if (q == p)
		return p;
	c = head_of(q);
	c->pad = (uint32_t)(q - p);
	c->class = head_of(p)->class;
	c->size = size;
	return q;
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	*ret = memalign(align, size);
	return *ret ? 0 : ENOMEM;
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

size_t malloc_usable_size(void *p)
{
	return p ? head_of(p)->size : 0;
}

unsigned arena_enter(unsigned arena)
{
	unsigned was = current;

	current = arena;
	return was;
}

void arena_reset(unsigned arena)
{
	struct area *a = &areas[arena];

	if (!a->at)
		return;
	a->at = begin_of(arena);
	memset(a->free, 0, sizeof(a->free));
}
