/*
 * The parts of a daemon, bottom to top, and their end in the reverse order.
 */
#include "fs/daemon/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/content/cache.h"
#include "fs/content/fetch.h"
#include "fs/content/shared.h"
#include "fs/work/pool.h"
#include "fs/publish/part_layout.h"
#include "fs/config/key.h"
#include "fs/config/opts.h"
#include "fs/host/place.h"
#include "fs/host/process.h"
#include "fs/publish/publisher.h"
#include "fs/publish/budget.h"
#include "fs/daemon/recover.h"
#include "fs/daemon/tenant.h"
#include "fs/stage/area.h"
#include "fs/state/attrs.h"
#include "fs/state/data.h"
#include "fs/state/store.h"
#include "fs/host/statedir.h"
#include "fs/status/json.h"
#include "fs/status/listen.h"
#include "fs/vfs/vfs.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/digest.h"
#include "net/base/log.h"
#include "net/server/server.h"

#define LOCK_WAIT_MS 5000     /* for the daemon of an earlier mount to end */
#define PROBE_AFTER_S 60      /* without a request */
#define RETRY_DELAY_MAX_S 600 /* between two background tries */

static int fail(const char *what, int err)
{
	log_error("%s: %s", what, strerror(-err));
	return err;
}

static int start_server(struct core *c, char **ret_key)
{
	struct server_opts so = { .dir = c->opts->local_dir };
	unsigned char raw[24];
	char *key = malloc(2 * sizeof(raw) + 1);
	int r;

	if (!key)
		return -ENOMEM;
	/* A random key keeps other users of this host out. */
	r = digest_random(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(key + 2 * i, 3, "%02x", raw[i]);
	so.key = key;
	if (!r)
		r = server_start(&so, &c->server);
	if (r)
		free(key);
	else
		*ret_key = key;
	return r;
}

static int start_api(struct core *c)
{
	const struct opts *o = c->opts;
	char *local_key = NULL;
	struct api_config ac;
	int r = 0;

	opts_api_config(o, &ac);
	if (o->local_dir) {
		r = start_server(c, &local_key);
		if (r)
			return r;
		ac.base_url = server_url(c->server);
		ac.key = local_key;
		ac.network = NULL;
	}
	log_secret(ac.key);
	r = api_new(&ac, &c->api);
	free(local_key);
	return r;
}

/* A close waits for the MD5 last: start its threads before the priority is lowered. */
static int start_md5(struct core *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct digest_choice choice;
	int r;

	digest_choose(&choice);
	log_debug(
		"MD5: %s for up to %u files at once, %s for one (1 MiB: %.2f ms; OpenSSL %.2f ms)",
		choice.many, digest_lanes(), choice.one, choice.own_ms, choice.openssl_ms);
	r = pool_new(cores < 1 ? 1 : cores > 8 ? 8 : (unsigned)cores, &c->md5);

	if (r)
		return fail("the threads of MD5", r);
	process_give_way();
	return 0;
}

static int refuse_place(const char *dir, const struct place *place, const char *what, int err)
{
	log_error("state directory %s lies on %s, where %s%s%s; use -o state_dir= on a local disk, "
		  "as below /var/tmp",
		  dir, place->name, what, err ? ": " : "", err ? strerror(-err) : "");
	return err ? err : -EOPNOTSUPP;
}

void core_tell_place(const struct core *c)
{
	const struct opts *o = c->opts;
	char *db;

	if (!o->state_dir_not)
		return;
	log_info("the default state directory %s lies on a file server or a FUSE file system; %s "
		 "is used",
		 o->state_dir_not, o->state_dir);
	if (asprintf(&db, "%s/state.db", o->state_dir_not) < 0)
		return;
	if (access(db, F_OK) == 0)
		log_warn("%s may hold files that are not published: see uploadfs recover list",
			 o->state_dir_not);
	free(db);
}

static int take_state_dir(struct core *c)
{
	const char *dir = c->opts->state_dir, *what;
	struct place place;
	int pid, r;

	place_look(dir, &place);
	if (place.kind == PLACE_FUSE)
		return refuse_place(dir, &place, "a program has to answer for each byte", 0);
	r = statedir_open(dir, LOCK_WAIT_MS, &c->lock_fd, &pid);
	if ((r == -ENOLCK || r == -ENOSYS || r == -EOPNOTSUPP) && place.kind == PLACE_NETWORK)
		return refuse_place(dir, &place, "it can't be locked", r);
	if (!r && place.kind == PLACE_NETWORK && (r = place_try(dir, &what)) != 0)
		return refuse_place(dir, &place, what, r);
	if (r == -EWOULDBLOCK)
		log_error("%s is in use by another uploadfs (pid %d); unmount that one, or give "
			  "this one a state_dir of its own",
			  c->opts->state_dir, pid);
	else if (r)
		log_error("state directory %s: %s; choose another or an empty one: -o state_dir=",
			  c->opts->state_dir, strerror(-r));
	return r;
}

static char *below_state_dir(const struct core *c, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", c->opts->state_dir, name) < 0 ? NULL : path;
}

/* After the fork, and in this process only once: see store.h. */
static int start_store(struct core *c)
{
	char *former = below_state_dir(c, "meta");
	int r = statedb_open(c->opts->state_dir, &c->statedb);

	if (!r) {
		statedb_grow(c->statedb);
		r = attrs_open(c->statedb, &c->attrs);
	}
	if (r == -EBUSY)
		log_error("%s/state.db is in use by another program; close that one",
			  c->opts->state_dir);
	else if (r)
		fail("state.db", r);
	/* Modes and times of a former version; see docs/semantics.md. */
	if (!r && former)
		unlink(former);
	free(former);
	return r;
}

/* Under key_lock, or before the threads start. "": no key, or no print of it. */
static void print_key(const struct core *c, char ret[DIGEST_HEX_SIZE])
{
	const char *key = c->opts->key;

	if (!key || digest_keyed(statedb_uuid(c->statedb), key, ret))
		*ret = '\0';
}

static int start_storage(struct core *c)
{
	const struct opts *o = c->opts;
	struct staging_config sc = { .part_size = layout_block(o->part_size, o->parallel),
				     .size_max = o->staging_size,
				     .reserve = o->staging_reserve };
	char print[DIGEST_HEX_SIZE] = "";
	const struct daemon_tenant tenant = { o->state_dir, c->service, c->tenant,
					      o->adopt,	    o,		print };
	int r = pool_new(2, &c->disk);

	if (!r)
		r = start_store(c);
	if (!r && (r = datadir_open(o->state_dir, c->statedb, &c->data)) != 0)
		fail(DATA_DIR, r);
	if (!r)
		datadir_set_worker(c->data, c->disk);
	sc.pool = c->md5;
	sc.db = c->statedb;
	sc.data = c->data;
	if (!r && (r = staging_open(&sc, &c->staging)) != 0)
		fail("staged files", r);
	if (!r && (r = cache_open(c->data, c->statedb, o->cache_size, &c->cache)) != 0)
		fail("the cache", r);
	if (!r)
		cache_set_worker(c->cache, c->disk);
	if (!r && (o->close_async || o->sync_always))
		staging_set_worker(c->staging, c->disk);
	if (!r)
		print_key(c, print);
	return r ? r : daemon_check_tenant(c->statedb, &tenant);
}

static void tell_key(struct core *c)
{
	char print[DIGEST_HEX_SIZE];

	print_key(c, print);
	if (c->publisher)
		publisher_set_key(c->publisher, print);
}

bool core_read_key(void *arg)
{
	struct core *c = arg;
	char *key = NULL;
	bool changed = false;
	int r;

	if (!c->opts->key_file)
		return false;
	r = opts_read_key_file(c->opts->key_file, c->opts->key_any, &key);
	if (r) {
		log_error("%s: %s; the key in use stays", c->opts->key_file, strerror(-r));
		return false;
	}
	log_secret(key);
	pthread_mutex_lock(&c->key_lock);
	if (!c->opts->key || strcmp(key, c->opts->key)) {
		changed = api_set_key(c->api, key) == 0;
		if (changed) {
			char *old = c->opts->key;

			c->opts->key = key;
			key = old;
			log_info("the key was read again");
			tell_key(c);
		}
	}
	pthread_mutex_unlock(&c->key_lock);
	if (key)
		explicit_bzero(key, strlen(key));
	free(key);
	return changed;
}

static int each_unusable(void *arg, status_unusable_fn *fn, void *fn_arg)
{
	struct core *c = arg;

	return vfs_each_unusable(c->vfs, fn, fn_arg);
}

void core_status(struct core *c, struct status_source *ret)
{
	const struct opts *o = c->opts;
	struct vfs_listing list;

	vfs_get_listing(c->vfs, &list);
	*ret = (struct status_source){ .mountpoint = o->mountpoint,
				       .service = c->service,
				       .purpose = o->purpose,
				       .state_dir = o->state_dir,
				       .started = c->started,
				       .drain_timeout_s = o->drain_timeout_s,
				       .cache_max = o->cache_size,
				       .staging_max = o->staging_size,
				       .api = c->api,
				       .publisher = c->publisher,
				       .staging = c->staging,
				       .cache = c->cache,
				       .md5 = c->md5,
				       .disk = c->disk,
				       .each_unusable = each_unusable,
				       .each_arg = c,
				       .listing = { list.under_way, list.known, list.pages,
						    list.files, list.seconds } };
}

static void probed(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct core *c = arg;

	(void)err, (void)page;
	atomic_store(&c->probing, false);
}

/*
 * Ask the service anew if nothing was asked for a while: an idle mount's health would be that of
 * its last use. The answer shows in the next status.
 */
static void probe_service(struct core *c)
{
	int64_t last = c->started;
	struct api_req *req;
	struct api_health h;

	api_get_health(c->api, &h);
	if (last < h.last_answer_s)
		last = h.last_answer_s;
	if (last < h.last_failure_s)
		last = h.last_failure_s;
	if (clock_wall_s() - last < PROBE_AFTER_S || atomic_exchange(&c->probing, true))
		return;
	req = api_file_list(c->api, NULL, NULL, 1, false, probed, c);
	if (!req)
		atomic_store(&c->probing, false);
	api_req_unref(req);
}

static int make_text(void *arg, enum vfs_control which, struct buf *ret)
{
	struct status_source src;

	probe_service(arg);
	core_status(arg, &src);
	return which == VFS_METRICS ? status_metrics(&src, ret) : status_json(&src, ret);
}

static int metrics_text(void *arg, struct buf *ret)
{
	return make_text(arg, VFS_METRICS, ret);
}

static bool service_fails(void *arg)
{
	struct core *c = arg;
	struct api_health h;

	probe_service(c);
	api_get_health(c->api, &h);
	return h.failing_since_s != 0;
}

static int start_listener(struct core *c)
{
	const struct listen_source src = { metrics_text, service_fails, c };

	if (!c->opts->metrics_text)
		return 0;
	return listen_start(&c->opts->metrics_at, c->opts->metrics_text, &src, &c->listener);
}

static bool knows_file(void *arg, const char *file_id)
{
	struct core *c = arg;

	return vfs_knows_file(c->vfs, file_id);
}

static uint64_t mark_files(void *arg)
{
	struct core *c = arg;

	return vfs_mark(c->vfs);
}

static bool was_listed(void *arg, const char *file_id, uint64_t mark)
{
	struct core *c = arg;

	return vfs_was_listed(c->vfs, file_id, mark);
}

static void each_listed(void *arg, const char *purpose, const char *filename, uint64_t bytes,
			void (*fn)(void *fn_arg, const char *file_id), void *fn_arg)
{
	struct core *c = arg;

	vfs_each_listed(c->vfs, purpose, filename, bytes, fn, fn_arg);
}

static int start_shared(struct core *c)
{
	const char *dir = c->opts->shared_cache;
	int r = dir ? shared_open(dir, c->service, &c->shared) : 0;

	if (r == -EPERM)
		log_error("shared_cache=%s: every user of this host may write there, and so "
			  "change what is read; chmod o-w, or name another directory",
			  dir);
	else if (r)
		log_error("shared_cache=%s: %s; name a directory that this host can reach", dir,
			  strerror(-r));
	return r;
}

static int start_fetcher(struct core *c)
{
	int r = fetcher_new(c->api, c->cache, c->opts->parallel, &c->fetcher);

	if (r)
		return r;
	fetcher_set_worker(c->fetcher, c->disk);
	r = start_shared(c);
	if (!r)
		fetcher_set_shared(c->fetcher, c->shared);
	return r;
}

static int start_super(struct core *c, bool ending)
{
	const struct opts *o = c->opts;
	char print[DIGEST_HEX_SIZE];
	struct publisher_config pc = { .api = c->api,
				       .disk = c->disk,
				       .parallel = o->parallel,
				       .part_size = o->part_size,
				       .keep_old = o->keep_old || o->no_delete,
				       .no_delete = o->no_delete,
				       .sync_always = o->sync_always,
				       .resend = o->resend,
				       .retry_budget_ms =
					       BUDGET_RETRY_TIMEOUTS * 1000ULL * o->retry_timeout_s,
				       .complete_ms = 1000ULL * o->retry_timeout_s,
				       .retry_first_s = o->retry_delay_s,
				       .retry_max_s = RETRY_DELAY_MAX_S,
				       .ending = ending,
				       .renew_key = core_read_key,
				       .renew_key_arg = c,
				       .db = c->statedb,
				       .service = c->service,
				       .tenant = c->tenant,
				       .key_print = print,
				       .is_known = knows_file,
				       .mark = mark_files,
				       .is_before = was_listed,
				       .each_listed = each_listed,
				       .is_known_arg = c };
	struct vfs_config sc = {
		.api = c->api,
		.staging = c->staging,
		.cache = c->cache,
		.disk = c->disk,
		.purpose = o->purpose,
		.close_async = o->close_async,
		.sync_always = o->sync_always,
		.keep_old = o->keep_old || o->no_delete,
		.no_delete = o->no_delete,
		.no_overwrite = o->no_delete && !o->keep_old,
		.list_ttl_s = o->list_ttl_s,
		.check_jsonl = o->check_jsonl,
		.expires_after = o->expires_after_s,
		.hold_timeout_s = o->hold_timeout_s,
		.cache_size = o->cache_size,
		.uid = o->has_uid ? o->uid : getuid(),
		.gid = o->has_gid ? o->gid : getgid(),
		.file_mode = o->file_mode,
		.dir_mode = o->dir_mode,
		.umask = o->has_umask ? o->umask : 0,
		.allow_other = o->allow_other,
		.control = make_text,
		.control_arg = c,
	};
	int r = start_fetcher(c);

	print_key(c, print);
	if (!r)
		r = publisher_new(&pc, &c->publisher);
	sc.fetcher = c->fetcher;
	sc.attrs = c->attrs;
	sc.db = c->statedb;
	sc.publisher = c->publisher;
	if (!r)
		r = vfs_new(&sc, &c->vfs);
	if (!r)
		r = recover_all(c->staging, c->vfs);
	return r;
}

static int name_service(struct core *c)
{
	const struct opts *o = c->opts;

	if (asprintf(&c->service, "%s%s",
		     o->local_dir ? "local:"
		     : o->azure	  ? "azure:"
				  : "",
		     o->local_dir ? o->local_dir
		     : o->azure	  ? o->azure
				  : o->base_url) < 0) {
		c->service = NULL;
		return fail("starting", -ENOMEM);
	}
	if (asprintf(&c->tenant, "organization %s, project %s",
		     o->organization ? o->organization : "none",
		     o->project ? o->project : "none") < 0) {
		c->tenant = NULL;
		return fail("starting", -ENOMEM);
	}
	return 0;
}

int core_start(struct opts *opts, bool ending, struct core *c)
{
	int r;

	memset(c, 0, sizeof(*c));
	c->opts = opts;
	c->lock_fd = -1;
	c->started = clock_wall_s();
	pthread_mutex_init(&c->key_lock, NULL);
	r = name_service(c);
	if (!r)
		r = take_state_dir(c);
	if (!r)
		r = start_md5(c);
	if (!r)
		r = start_api(c);
	if (!r)
		r = start_storage(c);
	if (!r)
		r = start_super(c, ending);
	return r || ending ? r : start_listener(c);
}

bool core_finish(struct core *c, unsigned drain_s)
{
	unsigned left = 0, unclosed = 0;

	if (c->publisher) {
		left = publisher_drain(c->publisher, drain_s);
		unclosed = vfs_count_unclosed(c->vfs);
		listen_stop(c->listener);
		c->listener = NULL;
		/* Answers waiters here; api_free() answers calls still under way. */
		publisher_stop(c->publisher, true);
	}
	vfs_stop(c->vfs);
	/* Its answers start requests. */
	shared_stop(c->shared);
	api_free(c->api);
	c->api = NULL;
	if (left)
		log_error("%u file(s) could not be published; they are kept in %s, and the "
			  "next mount tries again what was not refused",
			  left, c->opts->state_dir);
	if (unclosed)
		log_error("%u file(s) were still being written; what was written is kept, and at "
			  "the next mount they are there as aborted",
			  unclosed);
	return !left && !unclosed;
}

void core_free(struct core *c)
{
	if (c->cache)
		cache_set_worker(c->cache, NULL);
	if (c->staging)
		staging_set_worker(c->staging, NULL);
	if (c->fetcher)
		fetcher_set_worker(c->fetcher, NULL);
	if (c->data)
		datadir_set_worker(c->data, NULL);
	pool_free(c->disk);
	/* A copy that was made after the publisher's end went on to wait for it. */
	if (c->publisher)
		publisher_end_waits(c->publisher);
	vfs_free(c->vfs);
	fetcher_free(c->fetcher);
	shared_close(c->shared);
	publisher_free(c->publisher);
	attrs_close(c->attrs);
	cache_close(c->cache);
	staging_close(c->staging);
	datadir_close(c->data);
	statedb_close(c->statedb);
	pool_free(c->md5);
	server_stop(c->server);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	free(c->service);
	free(c->tenant);
	pthread_mutex_destroy(&c->key_lock);
}
