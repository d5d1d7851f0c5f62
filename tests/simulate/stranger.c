#include "tests/simulate/stranger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "tests/simulate/client.h"
#include "tests/simulate/model.h"
#include "tests/simulate/service.h"

#define UPLOADS 3  /* that it has open at once */
#define PER_NAME 6 /* Files that it makes of a name */

static struct own_upload {
	char *filename;
	size_t len;
	int64_t created_at;
	bool used;
} own[UPLOADS];

void stranger_reset(void)
{
	memset(own, 0, sizeof(own));
}

static unsigned any(unsigned n)
{
	return luck_any(LUCK_STRANGER, n);
}

static unsigned made_of(const char *filename)
{
	unsigned n = 0;

	for (const struct sim_file *f = service_files(); f; f = f->next)
		n += f->maker == STRANGER && !strcmp(f->filename, filename);
	return n;
}

/* A File that is there and that fits; NULL: none. whose: HOSTS + 1 is anybody's. */
static struct sim_file *pick_file(unsigned whose)
{
	struct sim_file *f;
	unsigned n = 0, k;

	for (f = service_files(); f; f = f->next)
		n += !f->deleted && (whose > HOSTS || f->maker == whose);
	if (!n)
		return NULL;
	k = any(n);
	for (f = service_files(); f->deleted || (whose <= HOSTS && f->maker != whose) || k--;)
		f = f->next;
	return f;
}

/* Most often what a daemon is about to make; else of the name and size of some File. */
static void begin(void)
{
	struct own_upload *up = own;
	const char *filename = NULL;
	const struct sim_file *f;
	size_t len = 12;

	while (up < own + UPLOADS && up->used)
		up++;
	if (up == own + UPLOADS)
		return;
	if (any(100) < 70)
		filename = service_upload_at(any(64), &len);
	f = filename ? NULL : pick_file(HOSTS + 1);
	if (f) {
		filename = f->filename;
		len = any(3) ? f->len : 12;
	}
	if (!filename || len < 12 || made_of(filename) >= PER_NAME)
		return;
	*up = (struct own_upload){ strdup(filename), len, clock_wall_s(), true };
	trace("stranger: begins \"%s\", %zu bytes", filename, len);
}

static void finish(struct own_upload *up)
{
	struct sim_file *f;
	struct version *v;

	if (!up->used)
		return;
	up->used = false;
	v = version_new(STRANGER, NULL, up->len);
	v->closing = v->closed = true;
	f = service_add_file(up->filename, v->data, v->len, STRANGER);
	if (conf.with_upload)
		f->created_at = up->created_at;
	trace("stranger: makes %s \"%s\" v%u, %zu bytes", f->id, f->filename, v->nr, f->len);
	clients_stranger_came(f);
}

static void delete (void)
{
	struct sim_file *f = pick_file(any(100) < 60 ? STRANGER : any(conf.hosts));

	if (!f || !service_shows(f))
		return;
	trace("stranger: deletes %s \"%s\"", f->id, f->filename);
	f->deleted = true;
	f->deleter = STRANGER;
	clients_stranger_came(f);
}

void stranger_races(const char *filename, size_t len)
{
	struct own_upload *up = &own[0];

	if (!conf.stranger || luck_chance(LUCK_STRANGER, 700) || !choice_made(CHOICE_STRANGER))
		return;
	if (len < 12 || made_of(filename) >= PER_NAME)
		return;
	while (up < own + UPLOADS - 1 && up->used)
		up++;
	*up = (struct own_upload){ strdup(filename), len, clock_wall_s(), true };
	trace("stranger: races for \"%s\", %zu bytes", filename, len);
	if (any(3) == 0)
		finish(up);
}

void stranger_step(void)
{
	unsigned what = any(100);

	if (!choice_made(CHOICE_STRANGER))
		return;
	if (what < 40)
		begin();
	else if (what < 85)
		finish(&own[any(UPLOADS)]);
	else
		delete ();
}
