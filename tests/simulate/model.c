#include "tests/simulate/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulate/sim.h"

static struct version **versions;
static unsigned version_count;

void model_reset(void)
{
	versions = NULL;
	version_count = 0;
}

struct version *version_at(unsigned nr)
{
	return versions[nr];
}

static struct version *add_version(void)
{
	if (version_count % 64 == 0)
		versions = realloc(versions, (version_count + 64) * sizeof(*versions));
	versions[version_count] = calloc(1, sizeof(**versions));
	versions[version_count]->nr = version_count;
	return versions[version_count++];
}

struct version *version_new(unsigned host, const struct version *base, size_t more)
{
	size_t at = base ? base->len : 0;
	struct version *v;
	char name[16];

	if (!version_count)
		add_version();
	v = add_version();
	v->host = host;
	v->base = at;
	v->len = at + more;
	v->data = malloc(v->len + 1);
	if (at)
		memcpy(v->data, base->data, at);
	for (size_t i = at; i < v->len; i++)
		v->data[i] = (unsigned char)('a' + (i * 7 + v->nr * 13) % 26);
	snprintf(name, sizeof(name), "<%07u>", v->nr);
	memcpy(v->data + at, name, more < 9 ? more : 9);
	return v;
}

struct version *version_of(const unsigned char *data, size_t len)
{
	for (unsigned i = version_count; i-- > 1;)
		if (versions[i]->len == len && !memcmp(versions[i]->data, data, len))
			return versions[i];
	return NULL;
}

void mays_only(struct mays *m, unsigned nr, size_t min, size_t max, bool loose)
{
	m->n = 0;
	m->all = false;
	mays_add(m, nr, min, max, loose);
}

void mays_add(struct mays *m, unsigned nr, size_t min, size_t max, bool loose)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct may *e = &m->v[i];

		if (e->nr != nr)
			continue;
		e->min = e->min < min ? e->min : min;
		e->max = e->max > max ? e->max : max;
		e->loose |= loose;
		return;
	}
	if (m->n == MAYS) {
		m->all = true;
		return;
	}
	m->v[m->n++] = (struct may){ nr, min, max, loose };
}

void mays_join(struct mays *m, const struct mays *more)
{
	m->all |= more->all;
	for (unsigned i = 0; i < more->n; i++)
		mays_add(m, more->v[i].nr, more->v[i].min, more->v[i].max, more->v[i].loose);
}

void mays_add_files(struct mays *m, const char *filename, unsigned but)
{
	for (const struct sim_file *f = service_files(); f; f = f->next) {
		const struct version *v = version_of(f->data, f->len);

		if (!f->deleted && v && v->nr != but && !strcmp(f->filename, filename))
			mays_add(m, v->nr, v->len, v->len, false);
	}
}

bool mays_has(const struct mays *m, unsigned nr)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->v[i].nr == nr)
			return true;
	return m->all;
}

int mays_find(const struct mays *m, const unsigned char *data, size_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct may *e = &m->v[i];
		const struct version *v = version_at(e->nr);

		if (!e->nr || !data) {
			if (!e->nr && !data)
				return (int)i;
			continue;
		}
		if (e->loose && len >= e->min && !memcmp(v->data, data, e->min))
			return (int)i;
		if (len >= e->min && len <= e->max && !memcmp(v->data, data, len))
			return (int)i;
		/* Not a byte of it is promised. */
		if (e->loose && !e->min)
			return (int)i;
	}
	return m->all ? 0 : -1;
}

void mays_text(const struct mays *m, char *ret, size_t size)
{
	size_t at = 0;

	*ret = '\0';
	for (unsigned i = 0; i < m->n && at < size; i++)
		at += (size_t)snprintf(ret + at, size - at, "%sv%u[%zu..%zu%s]", i ? " " : "",
				       m->v[i].nr, m->v[i].min, m->v[i].max,
				       m->v[i].loose ? " loose" : "");
}
