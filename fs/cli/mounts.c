/*
 * uploadfs mounts: the mounts and their state.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/health.h"
#include "fs/cli/mount.h"
#include "fs/host/mounts.h"
#include "net/base/buf.h"
#include "net/base/json.h"

#define ANSWER_S 3

#define NAMED_MAX 64

static const char help[] =
	"usage: uploadfs mounts [MOUNTPOINT...]\n"
	"Lists all mounts of uploadfs, or the named ones: mountpoint, service, state.\n"
	"Exit status: 0 all answer, or there are none; 1 one does not answer; 2 wrong\n"
	"  usage; 4 a named MOUNTPOINT is no mount.\n";

static void show_state(const struct json *doc)
{
	struct buf text;

	buf_init(&text, 4096);
	cli_health(doc, &text);
	printf("pid %llu, %llu under way, %llu failed%s%s\n",
	       (unsigned long long)cli_number(doc, "pid"),
	       (unsigned long long)(cli_total(doc, "publishing") + cli_total(doc, "held")),
	       (unsigned long long)cli_total(doc, "failed"), text.len ? ", " : "", buf_str(&text));
	buf_release(&text);
}

/* True if the mount needs no action. */
static bool show(const struct mount_entry *e)
{
	struct json *doc = NULL;
	int r = cli_read_status(e->path, ANSWER_S, &doc, NULL);

	/* The source may be "none" or "uploadfs", the default in fstab. */
	printf("%s  %s  ", cli_clean(e->path),
	       cli_clean(r ? e->source : cli_text(doc, "service_url")));
	if (!r)
		show_state(doc);
	else if (r == -EACCES)
		printf("of user %u\n", (unsigned)e->uid);
	else if (r == -ENOTCONN)
		printf("its daemon is dead: uploadfs umount %s\n", cli_clean(e->path));
	else if (r == -ETIMEDOUT)
		printf("does not answer\n");
	else
		printf("%s\n", r == -EBADMSG || r == -ENOENT ? "of another version" : strerror(-r));
	json_free(doc);
	return !r || r == -EACCES;
}

static int show_named(const char *path, bool *good)
{
	struct mount_list list;
	const struct mount_entry *e;
	char *mount = NULL;
	uid_t uid;
	int r = cli_find_mount(path, &mount, &uid);

	if (r != CLI_OK)
		return r;
	if (mounts_read(&list) == 0) {
		e = mounts_find(&list, mount);
		*good &= !e || show(e);
		mounts_free(&list);
	}
	free(mount);
	return CLI_OK;
}

static int show_all(bool *good)
{
	struct mount_list list;
	int r = mounts_read(&list);

	if (r) {
		cli_error("/proc/self/mountinfo: %s", strerror(-r));
		return CLI_FAILED;
	}
	for (size_t i = 0; i < list.count; i++)
		*good &= show(&list.v[i]);
	mounts_free(&list);
	return CLI_OK;
}

int cli_mounts(int argc, char **argv)
{
	const char *paths[NAMED_MAX];
	bool good = true;
	size_t n;
	int r = cli_args(argc, argv, help, NULL, paths, NAMED_MAX, &n);

	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (!n)
		r = show_all(&good);
	for (size_t i = 0; r == CLI_OK && i < n; i++)
		r = show_named(paths[i], &good);
	if (r != CLI_OK)
		return r;
	return good ? CLI_OK : CLI_FAILED;
}
