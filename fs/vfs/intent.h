/*
 * intent: a rename that needs a new File. Neither entry changes before that File exists.
 *
 * Under vfs.lock.
 */
#ifndef UPLOADFS_FS_VFS_INTENT_H
#define UPLOADFS_FS_VFS_INTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inode;
struct staged_side;
struct vfs;

/*
 * A recovered one is freed with its name by intent_close(). Any other is its maker's, and outlives
 * the publication's end.
 */
struct rename_intent {
	struct rename_intent *next, **pprev; /* list vfs.intents, while open */
	struct staged_side *side;	     /* of the source; NULL: not open */
	uint64_t dir;			     /* inode number of the new directory */
	const char *name;		     /* new name in dir */
	bool noreplace;
	bool recovered; /* an earlier daemon's: what was written since at the target stays */
	bool taken;	/* a File came to the target of a noreplace intent, in time to give it up */
	bool done;	/* true after the name has moved */
	char **victims; /* Files at the target that the new File supersedes */
	size_t victim_count;
};

/* side, which has none, publishes under the intent's name from now on. */
void intent_open(struct vfs *s, struct rename_intent *t, struct staged_side *side);
/* Under its own name again. NULL, and one not open, is a no-op. */
void intent_close(struct rename_intent *t);
/* The open intent whose target is `name` in dir; NULL: none. */
struct rename_intent *intent_at(struct vfs *s, const struct inode *dir, const char *name);
/* Free a recovered one that is not open, and its name. */
void intent_free(struct rename_intent *t);
/* Delete File file_id once t's File is complete. 0 or -ENOMEM. */
int intent_doom(struct rename_intent *t, const char *file_id);
/* The same where the publication knows it already. */
int intent_note(struct rename_intent *t, const char *file_id);
bool intent_dooms(const struct rename_intent *t, const char *file_id);
/* A File of others has the target's name: give a noreplace intent up, unless its File may exist. */
void intent_target_taken(struct rename_intent *t);
/* Free the victims, not t. */
void intent_release(struct rename_intent *t);

#endif
