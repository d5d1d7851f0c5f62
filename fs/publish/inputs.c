/*
 * The inputs of a publication, set by other threads: copied, extended, freed.
 */
#include "fs/publish/inputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void free_strings(char **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
}

void publish_inputs_release(struct publish_inputs *in)
{
	free(in->purpose);
	free(in->path);
	free(in->hold_name);
	free(in->mime);
	free_strings(in->superseded, in->superseded_count);
	memset(in, 0, sizeof(*in));
}

char *publish_dup(const char *s, bool *failed)
{
	char *d = s ? strdup(s) : NULL;

	if (s && !d)
		*failed = true;
	return d;
}

int publish_inputs_copy(struct publish_inputs *dst, const struct publish_inputs *src)
{
	struct publish_inputs n = *src;
	bool failed = false;

	n.purpose = publish_dup(src->purpose, &failed);
	n.path = publish_dup(src->path, &failed);
	n.hold_name = publish_dup(src->hold_name, &failed);
	n.mime = publish_dup(src->mime, &failed);
	n.superseded = calloc(src->superseded_count + 1, sizeof(*n.superseded));
	n.superseded_count = 0;
	if (!n.superseded)
		failed = true;
	for (size_t i = 0; !failed && i < src->superseded_count; i++)
		n.superseded[n.superseded_count++] = publish_dup(src->superseded[i], &failed);
	if (failed) {
		publish_inputs_release(&n);
		return -ENOMEM;
	}
	publish_inputs_release(dst);
	*dst = n;
	return 0;
}

int publish_inputs_supersede(struct publish_inputs *in, const char *file_id)
{
	char **grown;

	for (size_t i = 0; i < in->superseded_count; i++)
		if (!strcmp(in->superseded[i], file_id))
			return 0;
	grown = realloc(in->superseded, (in->superseded_count + 2) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	in->superseded = grown;
	grown[in->superseded_count] = strdup(file_id);
	if (!grown[in->superseded_count])
		return -ENOMEM;
	in->superseded_count++;
	in->choices++;
	return 0;
}

bool publish_inputs_has(const struct publish_inputs *in, const char *file_id)
{
	for (size_t i = 0; i < in->superseded_count; i++)
		if (!strcmp(in->superseded[i], file_id))
			return true;
	return false;
}

void publish_inputs_spare(struct publish_inputs *in, const char *file_id)
{
	for (size_t i = 0; i < in->superseded_count; i++) {
		if (strcmp(in->superseded[i], file_id))
			continue;
		free(in->superseded[i]);
		in->superseded[i] = in->superseded[--in->superseded_count];
		in->choices++;
		return;
	}
}
