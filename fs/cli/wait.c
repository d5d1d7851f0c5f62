/*
 * uploadfs wait: waits until closed files are published. For close=async, and for files
 * whose last close did not wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/cli/cli.h"
#include "fs/cli/commands.h"
#include "fs/cli/left.h"
#include "fs/cli/mount.h"
#include "fs/cli/tree.h"
#include "fs/host/mounts.h"
#include "fs/host/real.h"
#include "net/base/clock.h"
#include "net/base/json.h"

#define ANSWER_S 10
#define LOOK_MS 200

static const char help[] =
	"usage: uploadfs wait [--timeout SECONDS] [--processed] MOUNTPOINT|FILE\n"
	"MOUNTPOINT: waits until no closed file is on its way, files held for a rename\n"
	"  included. Names failed files, which are tried again by themselves, and aborted\n"
	"  ones, which are not. Does not wait for open files.\n"
	"FILE: waits until it is closed and published, then prints its File ID.\n"
	"  --processed: waits until the service has processed it, too.\n"
	"Exit status: 0 published; 1 failed or aborted, the reason is on stderr;\n"
	"  2 wrong usage; 3 the time is over; 4 no such mount, or no answer.\n";

static bool is_over(uint64_t end_ms)
{
	return end_ms && clock_mono_ms() >= end_ms;
}

static int time_over(const char *path)
{
	cli_error("%s: the time is over; what is under way goes on", path);
	return CLI_TIMEOUT;
}

/* ---- a mount ---- */

static int report(const struct json *doc)
{
	for (const struct json *f = json_first(json_get(doc, "files")); f; f = json_next(f)) {
		const char *status = cli_text(f, "status"), *error = cli_text(f, "error");

		if (!strcmp(status, "failed"))
			cli_error("%s: not published: %s", cli_text(f, "path"), error);
		else if (!strcmp(status, "aborted"))
			cli_error("%s: aborted: %s", cli_text(f, "path"),
				  *error ? error : CLI_NOT_CLOSED);
	}
	return cli_total(doc, "failed") || cli_total(doc, "aborted") ? CLI_FAILED : CLI_OK;
}

static int wait_mount(const char *mount, uint64_t end_ms)
{
	for (;;) {
		struct json *doc = NULL;
		int r = cli_read_status(mount, ANSWER_S, &doc, NULL);

		if (r)
			return cli_no_status(mount, r);
		if (cli_total(doc, "publishing") + cli_total(doc, "held") == 0) {
			r = report(doc);
			json_free(doc);
			return r;
		}
		json_free(doc);
		if (is_over(end_ms))
			return time_over(mount);
		cli_sleep_ms(LOOK_MS);
	}
}

/* ---- a file ---- */

static bool ends(const char *status)
{
	return strcmp(status, "publishing") && strcmp(status, "writing") &&
	       strcmp(status, "streaming") && strcmp(status, "held");
}

static int file_ended(const char *path, const char *status)
{
	char text[1024];

	if (!strcmp(status, "completed")) {
		int r = cli_attribute(path, "file_id", text, sizeof(text));

		if (r)
			return cli_no_attribute(path, r);
		printf("%s\n", cli_clean(text));
		return CLI_OK;
	}
	if (cli_attribute(path, "error", text, sizeof(text)))
		snprintf(text, sizeof(text), "%s",
			 strcmp(status, "empty") ? CLI_NOT_CLOSED : "an empty file stays local");
	cli_error("%s: %s: %s", path, status, text);
	return CLI_FAILED;
}

/* The service's status of a File: asked for at each look. */
static int wait_processed(const char *path, uint64_t end_ms)
{
	char status[64], details[CLI_ATTRIBUTE_MAX];

	for (;;) {
		int r = cli_attribute(path, "file_status", status, sizeof(status));

		if (r == -ENODATA) {
			cli_error("%s: the service does not tell whether it is processed", path);
			return CLI_FAILED;
		}
		if (r)
			return cli_no_attribute(path, r);
		if (!strcmp(status, "processed"))
			return CLI_OK;
		if (!strcmp(status, "error")) {
			if (cli_attribute(path, "status_details", details, sizeof(details)))
				snprintf(details, sizeof(details), "it does not say why");
			cli_error("%s: the service could not process it: %s", path, details);
			return CLI_FAILED;
		}
		if (is_over(end_ms))
			return time_over(path);
		cli_sleep_ms(LOOK_MS);
	}
}

static int wait_file(const char *path, bool processed, uint64_t end_ms)
{
	char status[64];

	for (;;) {
		int r = cli_reach(path);

		if (r)
			return r;
		r = cli_attribute(path, "status", status, sizeof(status));

		if (r)
			return cli_no_attribute(path, r);
		if (ends(status)) {
			r = processed && !strcmp(status, "completed") ? wait_processed(path, end_ms)
								      : CLI_OK;
			return r ? r : file_ended(path, status);
		}
		if (is_over(end_ms))
			return time_over(path);
		cli_sleep_ms(LOOK_MS);
	}
}

/* Use the path only: stat() fails on a dead mount, and waits for one that hangs. */
static bool is_mountpoint(const char *path)
{
	struct mount_list list;
	char *real = NULL;
	bool found;

	if (mounts_read(&list))
		return false;
	found = mounts_find(&list, path) != NULL;
	if (!found)
		real = real_path(path);
	found = found || (real && mounts_find(&list, real));
	mounts_free(&list);
	free(real);
	return found;
}

int cli_wait(int argc, char **argv)
{
	unsigned timeout_s = UINT32_MAX;
	bool processed = false;
	const struct cli_option options[] = { { "--timeout", NULL, &timeout_s },
					      { "--processed", &processed, NULL },
					      { NULL, NULL, NULL } };
	const char *path = NULL;
	uint64_t end_ms = 0;
	char *mount = NULL;
	struct stat st;
	size_t n;
	uid_t uid;
	int r = cli_args(argc, argv, help, options, &path, 1, &n);

	if (r)
		return r < 0 ? CLI_USAGE : CLI_OK;
	if (timeout_s != UINT32_MAX)
		end_ms = clock_mono_ms() + timeout_s * 1000ULL;
	if (!path) {
		cli_error("name a MOUNTPOINT or a FILE; see uploadfs wait --help");
		return CLI_USAGE;
	}
	if (!is_mountpoint(path)) {
		r = cli_reach(path);
		if (r)
			return r;
		if (real_stat(path, &st) || !S_ISDIR(st.st_mode))
			return wait_file(path, processed, end_ms);
	}
	if (processed) {
		cli_error("--processed: name a FILE; %s is a directory", path);
		return CLI_USAGE;
	}
	r = cli_find_mount(path, &mount, &uid);
	if (r == CLI_OK)
		r = wait_mount(mount, end_ms);
	free(mount);
	return r;
}
