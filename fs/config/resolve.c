/* The rest of a configuration: environment, key, paths, defaults. */
#include "fs/config/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/config/draft.h"
#include "fs/config/file.h"
#include "fs/config/key.h"
#include "fs/config/network.h"
#include "fs/config/say.h"
#include "fs/config/source.h"
#include "fs/config/value.h"
#include "fs/host/mountpoint.h"
#include "fs/host/mounts.h"
#include "fs/host/real.h"
#include "fs/host/place.h"
#include "fs/host/statedir.h"
#include "net/http/url.h"

#define STATE_ROOT "/var/lib/uploadfs"
#define STATE_NAME_MAX 96 /* bytes of the mountpoint that are seen in a state directory's name */

static char *join(const char *dir, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", strcmp(dir, "/") ? dir : "", name) < 0)
		return NULL;
	return path;
}

/*
 * The absolute path, links resolved as far as it exists. Only its last
 * components may be missing. NULL and errno on failure.
 */
static char *absolute(const char *path)
{
	char *real = real_path(path), *parent, *slash, *up;
	size_t len = strlen(path);

	if (real || errno != ENOENT)
		return real;
	parent = strdup(path);
	if (!parent)
		return NULL;
	while (len > 1 && parent[len - 1] == '/')
		parent[--len] = '\0';
	slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	/* "missing/.." can't be resolved. */
	if (!len || !strcmp(slash ? slash + 1 : parent, "..")) {
		errno = ENOENT;
	} else {
		up = absolute(!slash ? "." : slash == parent ? "/" : parent);
		real = up ? join(up, slash ? slash + 1 : parent) : NULL;
		free(up);
	}
	free(parent);
	return real;
}

/* The absolute path with its links: one may lead elsewhere when the file is read again. */
static char *with_links(const char *path)
{
	char *here, *abs;

	if (*path == '/')
		return strdup(path);
	here = realpath(".", NULL);
	abs = here ? join(here, path) : NULL;
	free(here);
	return abs;
}

static int no_answer(const char *path, const char *what)
{
	return opts_fail("%s %s: its file system does not answer; is its server down? wait for it, "
			 "or name another place",
			 what, path);
}

/* Replace *path by its absolute form; `what` names it in messages. */
static int make_absolute(char **path, const char *what, bool keep_links)
{
	char *abs;

	if (!*path)
		return 0;
	abs = keep_links ? with_links(*path) : absolute(*path);
	if (!abs && errno == ETIMEDOUT)
		return no_answer(*path, what);
	if (!abs)
		return opts_fail("%s %s: %s; give a path that can be reached", what, *path,
				 strerror(errno));
	free(*path);
	*path = abs;
	return 0;
}

static int mountpoint_fail(const char *path, int err)
{
	if (mountpoint_is_dead(err))
		return opts_fail("mountpoint %s is a mount of another file system, and nobody "
				 "answers for it; run fusermount3 -u %s",
				 path, path);
	if (err == ENOENT)
		return opts_fail("mountpoint %s does not exist; create it with mkdir -p %s", path,
				 path);
	if (err == ENOTDIR)
		return opts_fail("mountpoint %s is not a directory; name an empty directory", path);
	return opts_fail("mountpoint %s: %s; name a directory that you can reach", path,
			 strerror(err));
}

/*
 * One of our mounts whose daemon is dead or hangs, or which is of another user: its path can't be
 * asked for, but that of the directory it is in can. The absolute path, or NULL when it is no such
 * thing.
 */
static char *mount_at(const char *path)
{
	char *parent = strdup(path), *slash, *dir, *abs = NULL;
	struct mount_list list = { 0 };
	size_t len = strlen(path);

	while (parent && len > 1 && parent[len - 1] == '/')
		parent[--len] = '\0';
	slash = parent ? strrchr(parent, '/') : NULL;
	if (slash)
		*slash = '\0';
	dir = real_path(!slash ? "." : slash == parent ? "/" : parent);
	if (parent && dir)
		abs = join(dir, slash ? slash + 1 : parent);
	free(parent);
	free(dir);
	if (abs && (mounts_read(&list) || !mounts_find(&list, abs))) {
		free(abs);
		abs = NULL;
	}
	mounts_free(&list);
	return abs;
}

static int resolve_mountpoint(struct opts *o)
{
	int err, fd = mountpoint_fd(o->mountpoint);
	struct stat st;
	char *abs;

	if (fd >= 0) {
		if (mountpoint_take_fd(fd) == 0)
			return 0;
		return opts_fail("%s is not /dev/fuse; have the parent open it, mount it, and "
				 "leave it open under a number above 2",
				 o->mountpoint);
	}
	err = -real_stat(o->mountpoint, &st);
	if (err) {
		abs = mountpoint_is_dead(err) || err == EACCES || err == ETIMEDOUT
			      ? mount_at(o->mountpoint)
			      : NULL;
		if (!abs && err == ETIMEDOUT)
			return no_answer(o->mountpoint, "mountpoint");
		if (!abs)
			return mountpoint_fail(o->mountpoint, err);
		if (err == EACCES) {
			free(abs);
			return opts_fail("mountpoint %s is mounted by another user, without "
					 "allow_other; name a directory of your own",
					 o->mountpoint);
		}
		free(o->mountpoint);
		o->mountpoint = abs;
		return 0;
	}
	if (!S_ISDIR(st.st_mode))
		return mountpoint_fail(o->mountpoint, ENOTDIR);
	abs = real_path(o->mountpoint);
	if (!abs)
		return mountpoint_fail(o->mountpoint, errno);
	free(o->mountpoint);
	o->mountpoint = abs;
	if (!strcmp(abs, "/"))
		return opts_fail("the root directory can't be the mountpoint; name an empty "
				 "directory");
	return 0;
}

/* Our own files must not lie below the mountpoint: the mount hides them. */
static int check_outside(const struct opts *o, const char *path, const char *what)
{
	size_t len = o->mountpoint ? strlen(o->mountpoint) : 0;

	if (!path || !len || strncmp(path, o->mountpoint, len) || (path[len] && path[len] != '/'))
		return 0;
	return opts_fail("%s %s lies under the mountpoint %s; choose a place outside of it", what,
			 path, o->mountpoint);
}

/* The same for a path whose links are kept; one that leads nowhere yet is told at its reading. */
static int check_target_outside(const struct opts *o, const char *path, const char *what)
{
	char *real = path ? real_path(path) : NULL;
	int rc;

	if (path && !real && errno == ETIMEDOUT)
		return no_answer(path, what);
	rc = check_outside(o, real ? real : path, what);

	free(real);
	return rc;
}

/* A socket under the mountpoint would be hidden, and its removal would ask the ending daemon. */
static int check_socket(const struct opts *o)
{
	char *real;
	int rc;

	if (!o->metrics_text || *o->metrics_text != '/')
		return 0;
	real = absolute(o->metrics_text);
	if (!real && errno == ETIMEDOUT)
		return no_answer(o->metrics_text, "metrics_listen");
	rc = check_outside(o, real ? real : o->metrics_text, "metrics_listen");
	free(real);
	return rc;
}

/*
 * The file server of shared_cache may hang: that is no error here, and the directory itself is
 * looked at by a thread that may hang, too.
 */
static int resolve_shared(struct opts *o)
{
	int rc = make_absolute(&o->shared_cache, "shared_cache", true);
	char *real = !rc && o->shared_cache ? real_path(o->shared_cache) : NULL;

	if (!rc && o->shared_cache)
		rc = check_outside(o, real ? real : o->shared_cache, "shared_cache");
	free(real);
	return rc;
}

static int resolve_paths(struct opts_draft *d)
{
	struct opts *o = d->o;
	const struct {
		char **path;
		const char *what;
		bool keep_links;
	} paths[] = { { &o->local_dir, "local directory", false },
		      { &o->state_dir, "state_dir", false },
		      { &o->key_file, "api_key_file", true },
		      { &o->log_file, "log_file", false },
		      { &o->proxy_auth_file, "proxy_auth_file", true },
		      { &o->network.ca_file, "ca_file", true },
		      { &o->network.client_cert, "client_cert", true },
		      { &o->network.client_key, "client_key", true } };
	size_t i, count = sizeof(paths) / sizeof(paths[0]);
	int rc = o->mountpoint ? resolve_mountpoint(o) : 0;

	for (i = 0; !rc && i < count; i++)
		rc = opts_say_origin(d->origins, paths[i].what,
				     make_absolute(paths[i].path, paths[i].what,
						   paths[i].keep_links));
	for (i = 0; !rc && i < count; i++)
		rc = opts_say_origin(d->origins, paths[i].what,
				     check_target_outside(o, *paths[i].path, paths[i].what));
	if (!rc)
		rc = opts_say_origin(d->origins, "shared_cache", resolve_shared(o));
	if (!rc)
		rc = opts_say_origin(d->origins, "metrics_listen", check_socket(o));
	/* SSL_CERT_DIR may be a list. */
	if (!rc && o->network.ca_dir && !strchr(o->network.ca_dir, ':'))
		rc = make_absolute(&o->network.ca_dir, "SSL_CERT_DIR", false);
	return rc;
}

/* Never send the key of one service to the other. */
static struct opts_env_key *env_key(struct opts_draft *d)
{
	return d->o->azure ? &d->azure_key : &d->openai_key;
}

/*
 * A key file named in OPTS_HOST_FILE that this user can't read gives way to the key in the user's
 * environment. Any other unreadable key file is an error: this user named it.
 */
static void drop_hosts_key(struct opts_draft *d)
{
	const char *from = opts_origin(d->origins, "api_key_file");
	struct opts *o = d->o;

	if (!from || strncmp(from, OPTS_HOST_FILE ",", strlen(OPTS_HOST_FILE ",")) ||
	    (!o->local_dir && !env_key(d)->key))
		return;
	if (faccessat(AT_FDCWD, o->key_file, R_OK, AT_EACCESS) == 0 || errno != EACCES)
		return;
	free(o->key_file);
	o->key_file = NULL;
}

static int resolve_key(struct opts_draft *d)
{
	struct opts *o = d->o;
	struct opts_env_key *from = env_key(d);
	const char *name = o->azure ? "AZURE_OPENAI_API_KEY" : "OPENAI_API_KEY";
	int rc;

	if (o->local_dir)
		return 0;
	if (o->key_file) {
		rc = opts_read_key_file(o->key_file, o->key_any, &o->key);
		if (rc)
			rc = opts_key_file_fail("key file", o->key_file, rc, "the key alone");
		return opts_say_origin(d->origins, "api_key_file", rc);
	}
	if (from->rc == -EINVAL)
		return opts_fail("%s holds blanks or control bytes; set it to the key alone", name);
	if (from->rc)
		return from->rc;
	o->key = from->key;
	from->key = NULL;
	if (!o->key && !url_is_loopback(o->base_url))
		return opts_fail("there is no key for %s; set %s, or use -o api_key_file=FILE",
				 o->base_url, name);
	return 0;
}

/* A header's value: from the option, else from the environment, which applies to OpenAI only. */
static int resolve_header(const struct opts *o, char **value, const char *name, const char *what)
{
	const char *c;

	if (!*value && !o->azure && opts_env(name)) {
		*value = strdup(opts_env(name));
		if (!*value)
			return -ENOMEM;
	}
	for (c = *value ? *value : ""; *c; c++) {
		if (*c <= ' ' || *c > '~')
			return opts_fail("the %s holds blanks or control bytes; correct %s", what,
					 name);
	}
	return 0;
}

/* FNV-1a, each text with its NUL, so that "a" "b" isn't "ab" "". */
static uint64_t hash_text(uint64_t h, const char *text)
{
	do {
		h ^= (unsigned char)*text;
		h *= 0x100000001b3ULL;
	} while (*text++);
	return h;
}

/*
 * "srv-data-1a2b3c4d": the mountpoint to be recognised by, and a hash of it
 * and of where its Files live, so that neither a mountpoint used with two
 * services mixes them, nor two mountpoints that are cut alike.
 */
static void state_name(const struct opts *o, struct buf *b)
{
	const char *c = o->mountpoint ? o->mountpoint + 1 : "";
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *c && b->len < STATE_NAME_MAX; c++) {
		if (*c == '/')
			buf_addc(b, '-');
		else if (*c == '-' || *c == '%' || (unsigned char)*c <= ' ' || *c == 0x7f ||
			 (*c == '.' && !b->len))
			buf_addf(b, "%%%02X", (unsigned)(unsigned char)*c);
		else
			buf_addc(b, *c);
	}
	h = hash_text(h, o->mountpoint);
	h = hash_text(h, o->local_dir ? o->local_dir : "");
	/* Hash the URL without the API version: the Files are the same. */
	h = hash_text(h, o->azure ? o->azure : o->base_url ? o->base_url : "");
	h = hash_text(h, o->organization ? o->organization : "");
	h = hash_text(h, o->project ? o->project : "");
	buf_addf(b, "-%08x", (unsigned)(h ^ h >> 32));
}

static const char *home(void)
{
	const char *dir = opts_env("HOME");
	struct passwd *pw;

	if (dir && *dir == '/')
		return dir;
	pw = getpwuid(geteuid());
	return pw && pw->pw_dir && *pw->pw_dir == '/' ? pw->pw_dir : NULL;
}

/* True if files may wait in a state directory: it stays in use as long as that works. */
static bool is_in_use(const char *state_dir)
{
	char *db = join(state_dir, "state.db");
	bool there = db && access(db, F_OK) == 0;

	free(db);
	return there;
}

/* Homes often lie on a file server or on FUSE: a default there gives way to /var/tmp. */
static int leave_network(struct opts *o, const char *name)
{
	struct place place, tmp;
	char *moved;

	place_look(o->state_dir, &place);
	if (place.kind != PLACE_NETWORK && place.kind != PLACE_FUSE)
		return 0;
	place_look(statedir_tmp(), &tmp);
	if (tmp.kind == PLACE_NETWORK || tmp.kind == PLACE_FUSE ||
	    (place.kind == PLACE_NETWORK && is_in_use(o->state_dir)))
		return 0;
	moved = join(statedir_tmp(), name);
	if (!moved)
		return -ENOMEM;
	o->state_dir_not = o->state_dir;
	o->state_dir = moved;
	return 0;
}

static int resolve_state_dir(struct opts *o)
{
	const char *xdg = opts_env("XDG_STATE_HOME"), *dir = home();
	struct buf b, name;
	int rc;

	if (o->state_dir)
		return 0;
	buf_init(&b, PATH_MAX);
	buf_init(&name, 2 * STATE_NAME_MAX);
	if (geteuid() == 0)
		buf_adds(&b, STATE_ROOT "/");
	else if (xdg && *xdg == '/')
		buf_addf(&b, "%s/uploadfs/", xdg);
	else if (dir)
		buf_addf(&b, "%s/.local/state/uploadfs/", dir);
	else
		return opts_fail("there is no home directory to keep state in; use "
				 "-o state_dir=DIR");
	if (o->mountpoint)
		state_name(o, &name);
	rc = name.err ? name.err : buf_adds(&b, buf_str(&name));
	if (rc) {
		buf_release(&b);
	} else {
		o->state_dir = b.data;
		rc = make_absolute(&o->state_dir, "state directory", false);
	}
	if (!rc)
		rc = leave_network(o, buf_str(&name));
	buf_release(&name);
	return rc;
}

static int resolve_fsname(struct opts *o)
{
	const char *prefix = o->local_dir ? "local:" : o->azure ? "azure:" : "";
	const char *name = o->local_dir ? o->local_dir : o->azure ? o->azure : o->base_url;

	if (o->fsname)
		return 0;
	if (asprintf(&o->fsname, "%s%s", prefix, name) < 0) {
		o->fsname = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int make_fuse_opts(struct opts_draft *d)
{
	struct opts *o = d->o;
	struct buf b;
	int rc = resolve_fsname(o);

	if (rc)
		return rc;
	buf_init(&b, 1 << 16);
	buf_adds(&b, "fsname=");
	opts_escape(&b, o->fsname);
	buf_adds(&b, ",subtype=uploadfs,default_permissions");
	buf_adds(&b, o->ro ? ",ro" : "");
	buf_adds(&b, o->allow_other ? ",allow_other" : "");
	buf_adds(&b, o->allow_root ? ",allow_root" : "");
	rc = buf_adds(&b, buf_str(&d->mount));
	if (rc) {
		buf_release(&b);
		return rc;
	}
	o->fuse_opts = b.data;
	return 0;
}

int opts_resolve(struct opts_draft *d)
{
	struct opts *o = d->o;
	int rc = opts_resolve_source(d);

	if (!rc)
		rc = opts_network_env(o);
	if (!rc)
		drop_hosts_key(d);
	if (!rc)
		rc = resolve_paths(d);
	if (!rc)
		rc = opts_network_files(d);
	if (!rc) {
		rc = resolve_key(d);
		if (rc == -EINVAL && d->keyless)
			rc = 0;
	}
	if (!rc)
		rc = resolve_header(o, &o->organization, "OPENAI_ORG_ID", "organization");
	if (!rc)
		rc = resolve_header(o, &o->project, "OPENAI_PROJECT_ID", "project");
	if (!rc)
		rc = resolve_state_dir(o);
	if (!rc)
		rc = check_outside(o, o->state_dir, "state directory");
	return rc ? rc : make_fuse_opts(d);
}
