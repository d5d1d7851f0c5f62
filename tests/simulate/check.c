/* The oracle of Files: what may come to be at the service, and what may go. */
#include <string.h>

#include "tests/simulate/client.h"
#include "tests/simulate/model.h"
#include "tests/simulate/service.h"
#include "tests/simulate/sim.h"
#include "tests/simulate/stranger.h"

void check_made(const struct sim_file *f)
{
	struct version *v = version_of(f->data, f->len);

	if (!v)
		wrong("%s \"%s\" has bytes that nobody wrote", f->id, f->filename);
	if (!v->closing)
		wrong("%s \"%s\" is v%u, which nobody closed", f->id, f->filename, v->nr);
	if (v->host != f->maker && !names_can_move(v, f->maker))
		wrong("host %u makes %s of v%u of host %u", f->maker, f->id, v->nr, v->host);
	for (const struct sim_file *g = service_files(); g; g = g->next)
		if (g != f && !g->deleted && g->maker == f->maker &&
		    !strcmp(g->filename, f->filename) && g->len == f->len &&
		    !memcmp(g->data, f->data, f->len) && !conf.race &&
		    !(v->renamed && (conf.net_faults || conf.kills || conf.signals)))
			wrong("%s and %s are the same v%u \"%s\"", g->id, f->id, v->nr,
			      f->filename);
	clients_stranger_came(f);
}

void check_deleted(struct sim_file *f)
{
	if (f->maker != f->deleter && !names_can_doom(f, f->deleter))
		wrong("host %u deletes %s \"%s\" of host %u", f->deleter, f->id, f->filename,
		      f->maker);
	if (!names_can_lose(f, f->deleter))
		wrong("host %u deletes %s \"%s\", which a name is", f->deleter, f->id, f->filename);
	clients_stranger_came(f);
}
