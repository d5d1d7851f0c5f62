#include "fs/vfs/file_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/remote/errmap.h"
#include "fs/tree/inode.h"
#include "fs/vfs/vfs.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/log.h"

#define FRESH_MS 1000

/* Under lock. */
static void note(struct vfs *s, struct inode *i, const struct api_file *f, uint64_t asked_ms)
{
	char *details = f->details ? log_redacted(f->details) : NULL;

	if (inode_set_state(i, f->status, details, asked_ms))
		log_warn("out of memory: the state of %s is not known", f->id);
	free(details);
	if (f->failed)
		s->has_unusable = true;
}

void vfs_note_state(struct vfs *s, struct inode *i, const struct api_file *f)
{
	/* Nearly all are processed: those cost nothing. */
	if (!i->state && (!f->status || !strcmp(f->status, "processed")))
		return;
	if (!f->status || (i->state && !f->failed && !strcmp(i->state->word, f->status)))
		return;
	/* The list has no words where the details are an object. */
	if (i->state && f->failed && !f->details && !strcmp(i->state->word, "error"))
		return;
	note(s, i, f, 0);
}

struct asking {
	struct vfs *s;
	uint64_t ino;
	char *id;
	void (*done)(void *arg, int err);
	void *arg;
};

static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	struct asking *a = arg;
	int r = errmap(err, ERRMAP_READ);
	struct inode *i;

	pthread_mutex_lock(&a->s->lock);
	i = inode_get(a->s->table, a->ino);
	if (!i || !i->file_id || strcmp(i->file_id, a->id))
		i = NULL;
	if (i && file)
		note(a->s, i, file, clock_mono_ms());
	else if (i && err->kind == API_ERR_HTTP && err->http_status == 404)
		inode_set_state(i, NULL, NULL, 0);
	pthread_mutex_unlock(&a->s->lock);
	a->done(a->arg, r);
	free(a->id);
	free(a);
}

/* The File to ask about, or NULL. Under lock. */
static char *id_to_ask(struct vfs *s, uint64_t ino)
{
	struct inode *i = inode_get(s->table, ino);

	if (!i || !i->file_id || i->kind != INODE_FILE ||
	    (i->state && i->state->asked_ms && clock_mono_ms() - i->state->asked_ms < FRESH_MS))
		return NULL;
	return strdup(i->file_id);
}

bool vfs_ask_state(struct vfs *s, uint64_t ino, void (*done)(void *arg, int err), void *arg)
{
	struct asking *a = malloc(sizeof(*a));
	struct api_req *req;

	if (!a)
		return false;
	*a = (struct asking){ .s = s, .ino = ino, .done = done, .arg = arg };
	pthread_mutex_lock(&s->lock);
	a->id = id_to_ask(s, ino);
	pthread_mutex_unlock(&s->lock);
	req = a->id ? api_file_get(s->cfg.api, a->id, on_file, a) : NULL;
	if (!req) {
		free(a->id);
		free(a);
		return false;
	}
	api_req_unref(req);
	return true;
}

struct unusable {
	struct unusable *next;
	char *label, *file_id, *details;
};

static void unusable_free(struct unusable *u)
{
	if (!u)
		return;
	free(u->label);
	free(u->file_id);
	free(u->details);
	free(u);
}

/* The words about a File that could not be processed; NULL: it could, or that is not known. */
static const char *words_of(const struct inode *i)
{
	if (i->kind != INODE_FILE || i->special || !i->file_id || i->side)
		return NULL;
	if (!i->state)
		return i->published ? i->published->error : NULL;
	if (strcmp(i->state->word, "error"))
		return NULL;
	return i->state->details ? i->state->details : "";
}

/* Put a copy before list. -ENOMEM: the list is as it was. */
static int take_unusable(struct inode *i, const char *words, struct unusable **list)
{
	struct unusable *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->label = inode_label(i);
	u->file_id = strdup(i->file_id);
	u->details = strdup(words);
	if (!u->label || !u->file_id || !u->details) {
		unusable_free(u);
		return -ENOMEM;
	}
	u->next = *list;
	*list = u;
	return 0;
}

int vfs_each_unusable(struct vfs *s,
		      int (*fn)(void *arg, const char *label, const char *file_id,
				const char *details),
		      void *arg)
{
	struct unusable *list = NULL, *next;
	struct inode *root, *i;
	const char *words;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	root = inode_root(s->table);
	for (i = root; !r && s->has_unusable && (i = inode_next_below(root, i)) != NULL;) {
		words = words_of(i);
		r = words ? take_unusable(i, words, &list) : 0;
	}
	pthread_mutex_unlock(&s->lock);
	for (; list; list = next) {
		next = list->next;
		if (!r)
			r = fn(arg, list->label, list->file_id, list->details);
		unusable_free(list);
	}
	return r;
}
