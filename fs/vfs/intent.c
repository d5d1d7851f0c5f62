/*
 * Renames that wait for their File: found by their target, with the Files they replace.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/intent.h"
#include "fs/publish/publisher.h"
#include "fs/tree/inode.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"

void intent_open(struct vfs *s, struct rename_intent *t, struct staged_side *side)
{
	t->side = side;
	side->intent = t;
	t->next = s->intents;
	if (t->next)
		t->next->pprev = &t->next;
	t->pprev = &s->intents;
	s->intents = t;
}

void intent_close(struct rename_intent *t)
{
	if (!t || !t->side)
		return;
	t->side->intent = NULL;
	t->side = NULL;
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
	if (t->recovered)
		intent_free(t);
}

void intent_free(struct rename_intent *t)
{
	intent_release(t);
	free((char *)t->name);
	free(t);
}

struct rename_intent *intent_at(struct vfs *s, const struct inode *dir, const char *name)
{
	struct rename_intent *t = s->intents;

	while (t && (t->dir != dir->ino || strcmp(t->name, name) != 0))
		t = t->next;
	return t;
}

int intent_note(struct rename_intent *t, const char *file_id)
{
	char **grown = realloc(t->victims, (t->victim_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	t->victims = grown;
	grown[t->victim_count] = strdup(file_id);
	if (!grown[t->victim_count])
		return -ENOMEM;
	t->victim_count++;
	return 0;
}

int intent_doom(struct rename_intent *t, const char *file_id)
{
	int r = intent_note(t, file_id);

	if (!r)
		r = publish_supersede(t->side->pub, file_id);
	return r;
}

bool intent_dooms(const struct rename_intent *t, const char *file_id)
{
	for (size_t k = 0; k < t->victim_count; k++)
		if (!strcmp(t->victims[k], file_id))
			return true;
	return false;
}

void intent_target_taken(struct rename_intent *t)
{
	if (t->noreplace && publish_withdraw(t->side->pub))
		t->taken = true;
}

void intent_release(struct rename_intent *t)
{
	while (t->victim_count)
		free(t->victims[--t->victim_count]);
	free(t->victims);
	t->victims = NULL;
}
