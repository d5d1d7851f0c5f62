/*
 * Names the unpublished files of a state directory at the end of umount and of recover publish.
 */
#include <stdio.h>
#include <string.h>

#include "fs/cli/cli.h"
#include "fs/cli/left.h"
#include "fs/stage/offline.h"
#include "fs/state/data.h"

#define NAMED_MAX 10 /* files named, of each kind */

enum kind { CLOSED, OPEN, DAMAGED, KINDS, NOTHING };

struct left {
	const char *dir;
	unsigned count[KINDS];
	enum kind tell; /* KINDS: count only */
	unsigned told;
};

/* Skip empty files (nothing to lose) and removed ones. */
static enum kind kind_of(const struct kept *k)
{
	if (kept_is_closed(k))
		return CLOSED;
	if (kept_is_open(k))
		return OPEN;
	return (k->err || k->set_aside) && k->size ? DAMAGED : NOTHING;
}

static const char *why(const struct kept *k)
{
	static const char twice[] = "not published: ";
	const char *error = k->r.error ? k->r.error : "";

	if (!strncmp(error, twice, strlen(twice)))
		error += strlen(twice);
	if (*error)
		return error;
	if (kept_is_open(k))
		return "not closed by its writer";
	if (k->r.state == RECORD_HELD)
		return "it is held for its rename (see hold_timeout); the next mount publishes it "
		       "under this name";
	return "the time for it (drain_timeout) was over; the next mount goes on with it";
}

static void tell(const struct left *left, const struct kept *k)
{
	bool whole = left->tell == OPEN && k->size;

	if (left->tell == DAMAGED)
		cli_error("%s/" DATA_DIR "/%s%s" DATA_END
			  " is not published: its record can't be used",
			  left->dir, k->set_aside ? DATA_DAMAGED "/" : "", k->id);
	else
		cli_error("%s/%s is not published: %s%s%s%s%s", k->r.purpose, k->r.path, why(k),
			  whole ? "; as it stands: uploadfs recover publish " : "",
			  whole ? left->dir : "", whole ? " " : "", whole ? k->id : "");
}

static int look_at(void *arg, const struct kept *k)
{
	struct left *left = arg;
	enum kind kind = kind_of(k);

	if (kind == NOTHING)
		return 0;
	if (left->tell == KINDS)
		left->count[kind]++;
	else if (kind == left->tell && left->told++ < NAMED_MAX)
		tell(left, k);
	return 0;
}

static void tell_count(const char *dir, enum kind kind, unsigned count)
{
	if (kind == CLOSED)
		cli_error("%u not published; kept in %s, and tried again by the next mount", count,
			  dir);
	else if (kind == OPEN)
		cli_error("%u not closed; kept in %s, aborted; write again or remove it after the "
			  "next mount",
			  count, dir);
	else
		cli_error("%u damaged; see uploadfs recover list %s", count, dir);
}

int cli_tell_left(const char *dir, bool closed)
{
	struct left left = { .dir = dir, .tell = KINDS };
	int r = kept_scan(dir, look_at, &left);

	for (enum kind kind = closed ? CLOSED : OPEN; !r && kind < KINDS; kind++) {
		if (!left.count[kind])
			continue;
		left.tell = kind;
		left.told = 0;
		r = kept_scan(dir, look_at, &left);
		tell_count(dir, kind, left.count[kind]);
	}
	return r ? r : left.count[CLOSED] || left.count[OPEN] || left.count[DAMAGED];
}
