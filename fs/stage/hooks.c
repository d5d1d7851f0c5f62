/*
 * The hooks of a staged file: set them, and call one without the lock.
 */
#include "fs/stage/hooks.h"

#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"

void staged_set_hooks(struct staged *st, const struct staged_hooks *hooks)
{
	static const struct staged_hooks none;

	pthread_mutex_lock(&st->lock);
	st->hooks = hooks ? *hooks : none;
	while (st->hooks_running)
		pthread_cond_wait(&st->hooks_idle, &st->lock);
	pthread_mutex_unlock(&st->lock);
}

void staged_call_hook(struct staged *st, enum staged_hook which)
{
	void (*fn)(void *arg) = NULL;
	void *arg = st->hooks.arg;

	switch (which) {
	case HOOK_FILL:
		fn = st->hooks.on_fill;
		break;
	case HOOK_QUIET:
		fn = st->hooks.on_quiet;
		break;
	case HOOK_DIGEST:
		fn = st->hooks.on_digest;
		break;
	}
	if (!fn)
		return;
	st->hooks_running++;
	pthread_mutex_unlock(&st->lock);
	fn(arg);
	pthread_mutex_lock(&st->lock);
	if (!--st->hooks_running)
		pthread_cond_broadcast(&st->hooks_idle);
}
