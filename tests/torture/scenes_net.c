/* The scenes of net: the client library and uploads-server, each with a plain peer. */
#include "tests/torture/net.h"
#include "tests/torture/torture.h"

#define MEMORY (1U << INJECT_ALLOC)
#define THREADS (1U << INJECT_THREAD)
#define READS (1U << INJECT_EIO | 1U << INJECT_SHORT)
#define BUT_THREADS ((1U << INJECT_THREAD) - 1)

const struct scene torture_scenes[] = {
	{ "api", scene_api, MEMORY | READS | THREADS },
	{ "server", scene_server, BUT_THREADS },
	{ 0 },
};
