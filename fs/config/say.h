/*
 * say: messages about options, and the place each option's value was read from.
 *
 * Start-up only, one thread.
 */
#ifndef UPLOADFS_FS_CONFIG_SAY_H
#define UPLOADFS_FS_CONFIG_SAY_H

struct buf;

/*
 * Print "uploadfs: MESSAGE" to stderr, or append it to the buffer of opts_say_to(). Control bytes
 * become "?". MESSAGE has the form "what is wrong; what to do". Returns -EINVAL.
 */
int opts_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Collect the messages of opts_fail() in text, "; " between them, until NULL is given. */
void opts_say_to(struct buf *text);

#define OPTS_ORIGINS_MAX 64 /* entries of a list of origins, the empty last one included */

/* One entry; an entry without a name ends the list. */
struct opts_origin {
	const char *name; /* of an option; static */
	char *where;	  /* "FILE, line 3"; NULL: the command line. Owned */
};

/* Record where the value of option name was read; where is copied. 0 or -ENOMEM. */
int opts_note_origin(struct opts_origin *origins, const char *name, const char *where);
/* "FILE, line 3", or NULL for the command line and for an option that was not given. */
const char *opts_origin(const struct opts_origin *origins, const char *name);
/* If rc is -EINVAL, print that place after the message already printed. Returns rc. */
int opts_say_origin(const struct opts_origin *origins, const char *name, int rc);
void opts_forget_origins(struct opts_origin *origins); /* frees and empties the list */

#endif
