/*
 * cli: the subcommands, `uploadfs status` and the others. Each has a file
 * cli_NAME.c with its help and its main function. They run in a process of
 * their own, talk to a daemon through its mount (.uploadfs/status) and signals,
 * and exit with one of enum cli_exit. One thread.
 */
#ifndef UPLOADFS_FS_CLI_CLI_H
#define UPLOADFS_FS_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/host/mounts.h"
#include "net/base/buf.h"

struct helper_call;
struct json;

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	  /* something is not published, or not in order */
	CLI_USAGE = 2,	  /* the command line */
	CLI_TIMEOUT = 3,  /* --timeout is over */
	CLI_NO_MOUNT = 4, /* there is no such mount, or it does not answer */
};

/* A subcommand's name, and nothing that could be meant as a mountpoint. */
bool cli_selects(const char *word);
/* argv[0] is the name. Returns the exit status. */
int cli_run(int argc, char **argv);

int cli_status(int argc, char **argv);
int cli_wait(int argc, char **argv);
int cli_umount(int argc, char **argv);
int cli_mounts(int argc, char **argv);
int cli_recover(int argc, char **argv);
int cli_doctor(int argc, char **argv);
/* For umount(8): as it says, then waits for what is closed. Returns a status of helper.h. */
int cli_umount_helper(const struct helper_call *call);

/* ---- what they share ---- */

/* The name of the subcommand that runs, for messages. */
extern const char *cli_name;
/* "uploadfs NAME: text" to stderr, made of printable characters. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* text without control characters, which a terminal would obey; valid until the fourth call. */
const char *cli_clean(const char *text);
/* "12.3 MiB"; valid until the fourth call */
const char *cli_size(uint64_t bytes);

struct cli_option {
	const char *name; /* "--timeout" */
	bool *flag;	  /* set to true, or */
	unsigned *number; /* takes a number of seconds */
};
/*
 * Takes argv apart: options (up to one without a name) anywhere, at most max other words, into
 * words. --help prints help. 0: go on, with the number of words in *ret_count; 1: it was --help;
 * -1: a message was printed.
 */
int cli_args(int argc, char **argv, const char *help, const struct cli_option *options,
	     const char **words, size_t max, size_t *ret_count);

/*
 * The mount that path names, or with NULL the only one (of this user, else at all). *ret_path: to
 * be freed. CLI_OK, or an exit status after a message. *ret_uid: who mounted it.
 */
int cli_find_mount(const char *path, char **ret_path, uid_t *ret_uid);
/*
 * Reads MOUNT/.uploadfs/status within timeout_s seconds, in a child process, which can be killed
 * when the mount hangs. 0 and the document, to be freed, and its text in *ret_text if that isn't
 * NULL (initialised); -ETIMEDOUT, -ENOTCONN (the daemon is dead), -EACCES, -EBADMSG or another
 * errno.
 */
int cli_read_status(const char *mount, unsigned timeout_s, struct json **ret, struct buf *ret_text);
/* Says why cli_read_status() failed and what to do. Returns CLI_NO_MOUNT. */
int cli_no_status(const char *mount, int err);

/*
 * Whether mount is no mount within two seconds, for a daemon that does not answer any more: one
 * that ends as it should closes its side a moment before it unmounts.
 */
bool cli_gone_soon(const char *mount);

/* Numbers and texts of a document; what is missing is 0 or "". */
uint64_t cli_number(const struct json *obj, const char *key);
const char *cli_text(const struct json *obj, const char *key);
uint64_t cli_total(const struct json *doc, const char *key);

/*
 * Names on stderr, with reason and next step, what the state directory dir holds that is not
 * published: ten of each kind, and how many. closed: also what its writer closed. 0: there is
 * nothing, 1: there is, or was to be named by others; a negative errno. Blocks on the local disk.
 */
int cli_tell_left(const char *dir, bool closed);
/* What is to be done about an aborted file of a mount, and why it is that. */
#define CLI_NOT_CLOSED \
	"not closed by its writer; write it again, remove it, or set user.upload.publish to 1"

/*
 * Unmounts what a dead daemon has left, also where it is in use: nobody answers there any more. 0,
 * or a negative errno after a message.
 */
int cli_detach(const char *mount);
void cli_sleep_ms(unsigned ms); /* returns early at a signal */

#endif
