/* The loop over requests, with libfuse of any 3.x. */
#include <errno.h>

#include "fs/fuse/ops.h"

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 12)

int ops_loop(struct fuse_session *session, unsigned threads)
{
	struct fuse_loop_config *lc = fuse_loop_cfg_create();
	int r;

	if (!lc)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(lc, threads);
	fuse_loop_cfg_set_idle_threads(lc, threads);
	fuse_loop_cfg_set_clone_fd(lc, 0);
	r = fuse_session_loop_mt(session, lc);
	fuse_loop_cfg_destroy(lc);
	return r < 0 ? r : 0;
}

#else

/* Older ones start a thread whenever all are busy; the requests bound their number. */
int ops_loop(struct fuse_session *session, unsigned threads)
{
	struct fuse_loop_config lc = { .clone_fd = 0, .max_idle_threads = threads };
	int r = fuse_session_loop_mt(session, &lc);

	return r < 0 ? r : 0;
}

#endif
