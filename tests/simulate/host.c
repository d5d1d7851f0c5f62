#include "tests/simulate/host.h"

#include <stdio.h>
#include <string.h>

#include "fs/config/opts.h"
#include "fs/daemon/core.h"
#include "fs/fuse/ops.h"
#include "fs/vfs/vfs.h"
#include "tests/simulate/disk.h"
#include "tests/simulate/kernel.h"
#include "tests/simulate/service.h"
#include "tests/simulate/sim.h"
#include "tests/simulate/sys.h"

#define DRAIN_S 4000

static struct host {
	enum host_state state;
	unsigned life;
	bool drained;
	char dir[16];
	struct opts opts;
	struct core core;
	struct ops_context ops;
} hosts[HOSTS];

void host_reset(void)
{
	memset(hosts, 0, sizeof(hosts));
}

enum host_state host_state(unsigned host)
{
	return hosts[host].state;
}

bool host_is_up(unsigned host)
{
	return hosts[host].state == HOST_UP || hosts[host].state == HOST_ENDING;
}

bool host_drained(unsigned host)
{
	return hosts[host].drained;
}

unsigned host_life(unsigned host)
{
	return hosts[host].life;
}

void *host_context(unsigned host)
{
	return &hosts[host].ops;
}

static void set_opts(struct host *h)
{
	static char url[] = "https://sim/v1", mountpoint[] = "/mnt", purpose[] = "user_data";
	struct opts *o = &h->opts;

	memset(o, 0, sizeof(*o));
	o->base_url = url;
	o->mountpoint = mountpoint;
	o->purpose = purpose;
	o->state_dir = h->dir;
	o->part_size = conf.part_size;
	o->parallel = 2;
	o->cache_size = 1 << 20;
	o->close_async = conf.close_async;
	o->sync_always = conf.sync_always;
	o->keep_old = conf.keep_old;
	o->list_ttl_s = 30;
	o->hold_timeout_s = 60;
	o->retry_timeout_s = 120;
	o->retry_delay_s = 30;
	o->connect_timeout_s = 10;
	o->idle_timeout_s = 60;
	o->drain_timeout_s = 60;
	o->file_mode = 0644;
	o->dir_mode = 0755;
}

static void *start_main(void *arg)
{
	struct host *h = arg;
	int r;

	set_opts(h);
	r = core_start(&h->opts, false, &h->core);
	if (!r) {
		h->ops = (struct ops_context){ .vfs = h->core.vfs };
		h->state = HOST_UP;
		co_wake(h);
		return NULL;
	}
	trace("host %u does not start: %s", (unsigned)(h - hosts), strerror(-r));
	if (!disk_has_failed((unsigned)(h - hosts)))
		wrong("a daemon does not start: %s", strerror(-r));
	core_finish(&h->core, 0);
	core_free(&h->core);
	h->state = HOST_DOWN;
	return NULL;
}

void host_start(unsigned host)
{
	struct host *h = &hosts[host];

	trace("host %u starts", host);
	snprintf(h->dir, sizeof(h->dir), "/sim/%u", host);
	h->state = HOST_STARTING;
	h->life++;
	co_detach(co_start(ARENA_HOST + host, "main", start_main, h));
}

static void *end_main(void *arg)
{
	struct host *h = arg;

	h->drained = core_finish(&h->core, DRAIN_S);
	core_free(&h->core);
	h->state = HOST_ENDED;
	return NULL;
}

void host_end(unsigned host)
{
	struct host *h = &hosts[host];

	trace("host %u ends", host);
	h->state = HOST_ENDING;
	co_detach(co_start(ARENA_HOST + host, "end", end_main, h));
}

void host_kill(unsigned host, bool cut)
{
	struct host *h = &hosts[host];

	trace("host %u %s", host, cut ? "has no power" : "is killed");
	h->state = HOST_DOWN;
	co_kill(ARENA_HOST + host);
	service_forget(host);
	sys_close_all(host);
	dbfile_forget(host);
	disk_forgive(host);
	if (cut) {
		disk_cut_power(host);
		sys_new_boot(host);
	}
	kernel_died(host);
	arena_reset(ARENA_HOST + host);
}
