/*
 * build/simulate: runs seeds until the time is over; a failure is shrunk and printed with its seed.
 *
 *	simulate [--seconds S] [--first N] [--regressions FILE]   many
 *	simulate --seed N [--trace] [--skip K:FROM-TO,...]        one
 */
#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fs/vfs/purpose.h"
#include "net/base/digest.h"
#include "net/base/log.h"
#include "net/base/strhash.h"
#include "tests/simulate/client.h"
#include "tests/simulate/disk.h"
#include "tests/simulate/host.h"
#include "tests/simulate/kernel.h"
#include "tests/simulate/luck.h"
#include "tests/simulate/model.h"
#include "tests/simulate/sched.h"
#include "tests/simulate/service.h"
#include "tests/simulate/sim.h"
#include "tests/simulate/stranger.h"
#include "tests/simulate/sys.h"

#define STEPS_MAX 3000000 /* of a run */
#define CALM_MS (20ULL * 86400000)

struct sim_conf conf;
static bool digests, lying_disk, alone;

static struct totals {
	uint64_t seeds, steps, kills, cuts;
} totals;

/* ---- the world ---- */

static void configure(uint64_t seed)
{
	static const uint64_t lags[] = { 0, 0, 0, 2000, 30000 };

	memset(&conf, 0, sizeof(conf));
	conf.seed = seed;
	conf.hosts = 1;
	conf.lying_disk = lying_disk;
	conf.clients = 1 + luck_any(LUCK_WORLD, CLIENTS);
	conf.ops = 20 + luck_any(LUCK_WORLD, 60);
	conf.kills = luck_chance(LUCK_WORLD, 600) ? 1 + luck_any(LUCK_WORLD, 8) : 0;
	conf.cuts = luck_chance(LUCK_WORLD, 500) ? luck_any(LUCK_WORLD, 1000) : 0;
	conf.net_faults = luck_chance(LUCK_WORLD, 600) ? luck_any(LUCK_WORLD, 300) : 0;
	conf.disk_faults = luck_chance(LUCK_WORLD, 300) ? 1 + luck_any(LUCK_WORLD, 20) : 0;
	conf.preempt = luck_chance(LUCK_WORLD, 700) ? luck_any(LUCK_WORLD, 400) : 0;
	conf.lag_ms = lags[luck_any(LUCK_WORLD, 5)];
	conf.part_size = luck_chance(LUCK_WORLD, 500) ? 1024 : 65536;
	conf.signals = luck_chance(LUCK_WORLD, 500);
	conf.list_faults = luck_chance(LUCK_WORLD, 300);
	conf.race = luck_chance(LUCK_WORLD, 200);
	conf.refuse = luck_chance(LUCK_WORLD, 200);
	conf.with_upload = luck_chance(LUCK_WORLD, 750);
	conf.keep_old = luck_chance(LUCK_WORLD, 100);
	conf.close_async = luck_chance(LUCK_WORLD, 150);
	conf.sync_always = luck_chance(LUCK_WORLD, 150);
	if (!alone && luck_chance(LUCK_STRANGER, 600))
		conf.stranger = 20 + luck_any(LUCK_STRANGER, 300);
	if (!alone && luck_chance(LUCK_STRANGER, 300)) {
		conf.hosts = HOSTS;
		conf.clients = (conf.clients + 1) / 2;
	}
}

static void strike(void)
{
	unsigned host = luck_any(LUCK_WORLD, conf.hosts);
	bool cut = luck_chance(LUCK_WORLD, conf.cuts);

	if (host_state(host) == HOST_DOWN || host_state(host) == HOST_ENDED ||
	    !choice_made(CHOICE_KILL))
		return;
	host_kill(host, cut);
	clients_host_died(host, cut);
	totals.kills += !cut;
	totals.cuts += cut;
}

/* Time goes on to what somebody waits for. False: nobody does. */
static bool pass_time(void)
{
	uint64_t next = co_next_timer();

	if (next == UINT64_MAX)
		return false;
	if (next > sim_ms)
		sim_ms = next;
	sim_steps++;
	return true;
}

static void start_hosts(void)
{
	for (unsigned h = 0; h < conf.hosts; h++)
		if (host_state(h) == HOST_DOWN)
			host_start(h);
}

static void step(bool calm)
{
	unsigned roll = luck_any(LUCK_WORLD, 10000);

	if (!calm) {
		if (roll < conf.kills) {
			strike();
			return;
		}
		if (roll < 10 + conf.kills && conf.signals) {
			kernel_kill_one();
			return;
		}
		if (roll > 9990 && !service_busy() && !co_ready())
			sim_ms += luck_any(LUCK_WORLD, roll > 9998 ? 4000000 : 3000);
	}
	if (roll % 8 == 0 && service_step()) {
		sim_steps++;
		return;
	}
	if (co_run_one())
		return;
	/* Nothing is left but to start, to answer, or to let time pass. */
	start_hosts();
	if (!service_step() && !co_ready() && !pass_time()) {
		sched_dump();
		wrong("nothing goes on, and %u requests of host 0 wait", kernel_waiting(0));
	}
	sim_steps++;
}

static void limit(uint64_t from, uint64_t from_ms)
{
	if (sim_steps - from > STEPS_MAX || sim_ms - from_ms > CALM_MS) {
		sched_dump();
		wrong("it does not come to an end");
	}
}

static void live(void)
{
	uint64_t from = sim_steps;

	disk_set_faults(conf.disk_faults);
	co_set_preempt(conf.preempt);
	clients_start();
	while (!clients_ended()) {
		step(false);
		limit(from, 0);
	}
	trace("the storm is over");
	disk_set_faults(0);
	service_calm();
}

static bool all_are(enum host_state state)
{
	for (unsigned h = 0; h < conf.hosts; h++)
		if (host_state(h) != state)
			return false;
	return true;
}

static void end(void)
{
	uint64_t from = sim_steps, from_ms = sim_ms;

	while (!all_are(HOST_UP)) {
		step(true);
		limit(from, from_ms);
	}
	/* One whose disk has failed starts anew. */
	for (unsigned h = 0; h < conf.hosts; h++)
		if (disk_has_failed(h)) {
			host_kill(h, false);
			host_start(h);
		}
	while (!all_are(HOST_UP)) {
		step(true);
		limit(from, from_ms);
	}
	for (unsigned h = 0; h < conf.hosts; h++)
		host_end(h);
	while (!all_are(HOST_ENDED)) {
		step(true);
		limit(from, from_ms);
	}
	for (unsigned h = 0; h < conf.hosts; h++)
		if (sys_open_count(h))
			wrong("host %u leaves %u descriptors open", h, sys_open_count(h));
	clients_check_end();
}

static void reset(void)
{
	co_reset();
	arena_enter(ARENA_WORLD);
	for (unsigned a = ARENA_WORLD; a < ARENA_HOST + HOSTS; a++)
		arena_reset(a);
	disk_reset();
	sys_reset();
	dbfile_reset();
	service_reset();
	kernel_reset();
	host_reset();
	clients_reset();
	model_reset();
	stranger_reset();
}

/* True: all was well. */
static bool run(uint64_t seed)
{
	sim_ms = 1000000;
	luck_start(seed);
	reset();
	configure(seed);
	trace("seed %llu: hosts %u, clients %u, ops %u, kills %u, cuts %u, net %u, disk %u",
	      (unsigned long long)seed, conf.hosts, conf.clients, conf.ops, conf.kills, conf.cuts,
	      conf.net_faults, conf.disk_faults);
	trace("preempt %u, lag %llu, part %llu, race %d, refuse %d, with_upload %d, keep_old %d, "
	      "async %d, always %d, stranger %u",
	      conf.preempt, (unsigned long long)conf.lag_ms, (unsigned long long)conf.part_size,
	      conf.race, conf.refuse, conf.with_upload, conf.keep_old, conf.close_async,
	      conf.sync_always, conf.stranger);
	if (setjmp(luck_back)) {
		co_reset();
		arena_enter(ARENA_BASE);
		return false;
	}
	live();
	end();
	arena_enter(ARENA_BASE);
	return true;
}

/* ---- failures ---- */

/* The words of a failure without its numbers. */
static void kind_of(const char *text, char *ret, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size && n < 40; text++)
		if ((*text < '0' || *text > '9') && *text != '"')
			ret[n++] = *text;
	ret[n] = '\0';
}

static const char *const kinds = "ondks"; /* of choices, as --skip names them */

struct kept {
	unsigned from, to;
};

static void print_skips(unsigned kind, const struct kept *v, unsigned n, bool *first)
{
	for (unsigned i = 0; i < n; i++, *first = false)
		printf("%s%c:%u-%u", *first ? " --skip " : ",", kinds[kind], v[i].from, v[i].to);
}

/* Leaves out choices as long as the same failure comes. */
static void shrink(uint64_t seed)
{
	static struct kept skips[CHOICES][64];
	unsigned n[CHOICES] = { 0 };
	char want[64], got[64], last[400];
	bool first = true;

	kind_of(luck_failure, want, sizeof(want));
	snprintf(last, sizeof(last), "%s", luck_failure);
	choice_skip_clear();
	run(seed);
	for (unsigned kind = 0; kind < CHOICES; kind++) {
		unsigned count = choice_count(kind), size = count ? count : 1;

		for (; size; size /= 2) {
			for (unsigned at = 0; at < count && n[kind] < 60; at += size) {
				unsigned to = at + size < count ? at + size : count;

				choice_skip_clear();
				for (unsigned k = 0; k < CHOICES; k++)
					for (unsigned i = 0; i < n[k]; i++)
						choice_skip(k, skips[k][i].from, skips[k][i].to);
				choice_skip(kind, at, to);
				if (run(seed))
					continue;
				kind_of(luck_failure, got, sizeof(got));
				if (strcmp(want, got))
					continue;
				skips[kind][n[kind]++] = (struct kept){ at, to };
				snprintf(last, sizeof(last), "%s", luck_failure);
			}
		}
	}
	choice_skip_clear();
	for (unsigned k = 0; k < CHOICES; k++)
		for (unsigned i = 0; i < n[k]; i++)
			choice_skip(k, skips[k][i].from, skips[k][i].to);
	trace_loud = true;
	run(seed);
	trace_loud = false;
	printf("again: build/simulate --trace --seed %llu", (unsigned long long)seed);
	for (unsigned k = 0; k < CHOICES; k++)
		print_skips(k, skips[k], n[k], &first);
	printf("\n%s\n", last);
	choice_skip_clear();
}

static bool skip_from(const char *text)
{
	unsigned from, to;
	const char *at;
	char kind;

	while (*text) {
		if (sscanf(text, "%c:%u-%u", &kind, &from, &to) != 3)
			return false;
		at = strchr(kinds, kind);
		if (!at)
			return false;
		choice_skip((enum choice)(at - kinds), from, to);
		text = strchr(text, ',');
		if (!text)
			return true;
		text++;
	}
	return true;
}

/* ---- the program ---- */

static double now_s(void)
{
	struct timespec ts;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool run_seed(uint64_t seed, bool shrinks)
{
	uint64_t from = sim_steps;
	bool ok = run(seed);

	totals.seeds++;
	totals.steps += sim_steps - from;
	if (digests)
		printf("seed %llu: %016llx\n", (unsigned long long)seed,
		       (unsigned long long)luck_digest);
	if (ok)
		return true;
	printf("seed %llu fails: %s\n", (unsigned long long)seed, luck_failure);
	fflush(stdout);
	if (shrinks)
		shrink(seed);
	return false;
}

/* A seed a line, "alone" behind it: without other hosts; '#' begins a comment. */
static bool run_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[300];
	bool ok = true;

	if (!f) {
		perror(path);
		return false;
	}
	while (fgets(line, sizeof(line), f)) {
		if (line[0] < '0' || line[0] > '9')
			continue;
		line[strcspn(line, "#")] = '\0';
		alone = strstr(line, "alone");
		ok &= run_seed(strtoull(line, NULL, 10), false);
	}
	alone = false;
	fclose(f);
	return ok;
}

static void warm_up(void)
{
	struct digest *d = digest_new();
	char hex[DIGEST_HEX_SIZE];
	bool quiet;

	luck_start(1);
	if (digest_update(d, "", 0) || digest_hex(d, hex) || digest_keyed("a", "b", hex))
		abort();
	digest_free(d);
	/* What the product makes once in a process must not lie in a daemon's memory. */
	strhash("");
	vfs_purpose_word("user_data");
	dbfile_init();
	log_set_level(LOG_LVL_DEBUG);
	/* The libraries make some things once: the first run must not differ from a later one. */
	quiet = trace_loud;
	trace_loud = false;
	run(1);
	trace_loud = quiet;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, count = UINT64_MAX;
	double seconds = 10, start = now_s();
	bool ok = true, keep_on = false;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		const char *v = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--trace"))
			trace_loud = true;
		else if (!strcmp(argv[i], "--lying-disk"))
			lying_disk = true;
		else if (!strcmp(argv[i], "--alone"))
			alone = true;
		else if (!strcmp(argv[i], "--digests"))
			digests = true;
		else if (!strcmp(argv[i], "--keep-on"))
			keep_on = true;
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(v, NULL, 10), count = 1, i++;
		else if (!strcmp(argv[i], "--first"))
			seed = strtoull(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--count"))
			count = strtoull(v, NULL, 10), i++;
		else if (!strcmp(argv[i], "--seconds"))
			seconds = strtod(v, NULL), i++;
		else if (!strcmp(argv[i], "--skip"))
			ok = skip_from(v), i++;
		else if (!strcmp(argv[i], "--regressions"))
			warm_up(), ok &= run_file(v), i++;
		else
			ok = false;
		if (!ok) {
			fprintf(stderr, "usage: simulate [--seed N] [--first N] [--count N] "
					"[--seconds S] [--regressions FILE] [--trace] "
					"[--keep-on] [--digests] [--lying-disk] [--alone] "
					"[--skip K:FROM-TO,...]\n");
			return 2;
		}
	}
	if (!totals.seeds)
		warm_up();
	for (; count && now_s() - start < seconds && (ok || keep_on); count--, seed++)
		ok &= run_seed(seed, !trace_loud && !keep_on);
	seconds = now_s() - start;
	printf("%llu seeds, %llu steps, %llu operations, %llu kills, %llu power cuts in %.1f s; "
	       "%.0f steps a minute\n",
	       (unsigned long long)totals.seeds, (unsigned long long)totals.steps,
	       (unsigned long long)clients_operations(), (unsigned long long)totals.kills,
	       (unsigned long long)totals.cuts, seconds, (double)totals.steps / seconds * 60);
	return ok ? 0 : 1;
}
